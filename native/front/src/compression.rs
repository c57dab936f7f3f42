//! Messages that clients have compressed.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http::HeaderValue;

use crate::status::{code, Status};

/// How the compressed ones among a call's messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    /// What `grpc-encoding` names.
    pub fn of(header: Option<&HeaderValue>) -> Result<Self, Status> {
        match header.map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(b"deflate") => Ok(Self::Deflate),
            Some(other) => {
                let shown = String::from_utf8_lossy(other);
                let allowed = "allowed: identity, gzip or deflate";
                let text = format!("grpc-encoding: got {shown:?}; {allowed}");
                Err(Status::new(code::UNIMPLEMENTED, text))
            }
        }
    }

    /// A message as it was before it was compressed; fails where that is above `largest` bytes.
    pub fn unpacked(self, data: &[u8], largest: usize) -> Result<Bytes, Status> {
        let mut plain = Vec::new();
        let most = largest as u64 + 1;
        let read = match self {
            Self::Identity => {
                let text = "the message is compressed, and no grpc-encoding says how";
                return Err(Status::new(code::INTERNAL, text));
            }
            Self::Gzip => GzDecoder::new(data).take(most).read_to_end(&mut plain),
            Self::Deflate => ZlibDecoder::new(data).take(most).read_to_end(&mut plain),
        };
        let damaged = |error| Status::new(code::INTERNAL, format!("the message: {error}"));
        if read.map_err(damaged)? > largest {
            let text = format!("Received message larger than max (above {largest})");
            return Err(Status::new(code::RESOURCE_EXHAUSTED, text));
        }
        Ok(plain.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::{GzEncoder, ZlibEncoder};
    use flate2::Compression;

    use super::*;

    #[test]
    fn messages_are_what_they_were_and_not_too_large() {
        let text = b"abc".repeat(100);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).unwrap();
        let packed =
            [(Encoding::Gzip, gzip.finish().unwrap()), (Encoding::Deflate, zlib.finish().unwrap())];
        for (encoding, data) in packed {
            assert_eq!(encoding.unpacked(&data, 300).unwrap(), text);
            let code = |found: Result<Bytes, Status>| found.unwrap_err().code;
            assert_eq!(code(encoding.unpacked(&data, 299)), code::RESOURCE_EXHAUSTED);
            assert_eq!(code(encoding.unpacked(b"abc", 300)), code::INTERNAL);
            assert_eq!(code(Encoding::Identity.unpacked(&data, 300)), code::INTERNAL);
        }
    }

    #[test]
    fn an_encoding_is_known_or_refused() {
        let of = |name| Encoding::of(Some(&HeaderValue::from_static(name)));
        assert_eq!(Encoding::of(None), Ok(Encoding::Identity));
        assert_eq!(of("gzip"), Ok(Encoding::Gzip));
        assert_eq!(of("br").unwrap_err().code, code::UNIMPLEMENTED);
    }
}
