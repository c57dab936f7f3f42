//! How calls end, and the headers that say so.

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The status codes that are given here; others come from whoever answers.
pub mod code {
    pub const OK: u8 = 0;
    pub const DEADLINE_EXCEEDED: u8 = 4;
    pub const RESOURCE_EXHAUSTED: u8 = 8;
    pub const UNIMPLEMENTED: u8 = 12;
    pub const INTERNAL: u8 = 13;
    pub const UNAVAILABLE: u8 = 14;
}

/// A status that is not OK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub code: u8,
    pub message: String,
}

impl Status {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Answers a call with nothing but this; a client that is gone needs no answer.
    pub fn send(&self, respond: &mut SendResponse<Bytes>) {
        let mut response = headers();
        response.headers_mut().extend(self.trailers());
        let _gone = respond.send_response(response, true);
    }

    /// What follows the messages of a call that ends with this.
    pub fn trailers(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(2);
        fields.insert(GRPC_STATUS, HeaderValue::from(u16::from(self.code)));
        if let Ok(text) = HeaderValue::from_str(&percent_encoded(&self.message)) {
            fields.insert(GRPC_MESSAGE, text);
        }
        fields
    }
}

/// What the headers of every answer say.
pub fn headers() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(http::header::CONTENT_TYPE, APPLICATION_GRPC);
    response
}

/// What follows the message of a call that went well.
pub fn ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code::OK)));
    trailers
}

/// A text as `grpc-message` carries it.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_kinds_fit_into_a_header() {
        assert_eq!(percent_encoded("key: got 'a b'"), "key: got 'a b'");
        assert_eq!(percent_encoded("100%\n\u{fc}"), "100%25%0A%C3%BC");
    }
}
