//! One call: read, answered through the exchange or as a stream, written; or passed on.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::RecvStream;
use http::header::{HeaderMap, HeaderValue, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use tokio::sync::Semaphore;

use crate::compression::Encoding;
use crate::exchange::{Arrival, Exchange, Reply};
use crate::framing::{self, Message, Messages};
use crate::plain::{self, Plain, Plainly};
use crate::race::{race, Either};
use crate::relay::{send, Relay};
use crate::status::{self, code, Status};
use crate::streams::{self, Incoming, Streams};

const GRPC_ENCODING: &str = "grpc-encoding";

/// What every call of a server shares.
pub struct Service {
    pub exchange: Arc<Exchange>,
    /// The unary calls that are answered through the exchange, by their paths.
    pub methods: HashMap<String, usize>,
    pub streams: Arc<Streams>,
    /// The path of the call that is answered through them.
    pub streamed: String,
    /// Answers those of them that are plain, where there is any.
    pub plain: Option<Arc<Plain>>,
    /// Which methods can be plain, by their places.
    pub kinds: Vec<Option<plain::Kind>>,
    /// Where all others go.
    pub relay: Relay,
    /// How many calls there may be at once.
    pub seats: Semaphore,
    /// Bytes of a message.
    pub largest: usize,
    /// Whether calls are handed over with what they show.
    pub authorization: bool,
    /// Whether they are with what the certificates of their clients are called.
    pub names: bool,
}

/// Sees one call to its end; `name` is what the certificate of its client is called.
pub async fn serve(
    service: Arc<Service>,
    name: Option<Arc<str>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let Ok(_seat) = service.seats.try_acquire() else {
        let text = "Concurrent RPC limit exceeded!";
        Status::new(code::RESOURCE_EXHAUSTED, text).send(&mut respond);
        return;
    };
    match kind(&service, &request) {
        Kind::Other => service.relay.pass(request, respond).await,
        Kind::Stream => stream(&service, name, request, respond).await,
        Kind::Unary(method) => {
            let reply = match patient(&service, method, name, request, &mut respond).await {
                Either::First(reply) => reply,
                Either::Second(()) => return,
            };
            answer(reply, service.largest, respond).await;
        }
    }
}

enum Kind {
    /// By the method's place.
    Unary(usize),
    Stream,
    Other,
}

fn kind(service: &Service, request: &Request<RecvStream>) -> Kind {
    let grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    let content = request.headers().get(CONTENT_TYPE);
    if request.method() != Method::POST || !content.is_some_and(grpc) {
        return Kind::Other;
    }
    let path = request.uri().path();
    match service.methods.get(path) {
        Some(&method) => Kind::Unary(method),
        None if path == service.streamed => Kind::Stream,
        None => Kind::Other,
    }
}

async fn stream(
    service: &Service,
    name: Option<Arc<str>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (parts, body) = request.into_parts();
    let asked = deadline(&parts.headers)
        .and_then(|deadline| Ok((deadline, Encoding::of(parts.headers.get(GRPC_ENCODING))?)));
    match asked {
        Err(status) => status.send(&mut respond),
        Ok((deadline, encoding)) => {
            let messages = Messages::new(service.largest, encoding);
            let authorization = shown(service, &parts.headers);
            let call = Incoming { messages, body, deadline, authorization, name };
            streams::serve(&service.streams, call, respond).await;
        }
    }
}

/// When a call's client waits no more.
fn deadline(headers: &HeaderMap) -> Result<Option<Instant>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    Ok(Instant::now().checked_add(framing::timeout(value.as_bytes())?))
}

/// The reply to a call, within its deadline; nothing where its client has given it up.
async fn patient(
    service: &Service,
    method: usize,
    name: Option<Arc<str>>,
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Either<Reply, ()> {
    let deadline = match deadline(request.headers()) {
        Ok(deadline) => deadline,
        Err(status) => return Either::First(Err(status)),
    };
    let reset = poll_fn(|cx| respond.poll_reset(cx).map(|_| ()));
    let replied = async {
        let reply = ask(service, method, name, request, deadline);
        let Some(end) = deadline else { return reply.await };
        let late = || Err(Status::new(code::DEADLINE_EXCEEDED, "Deadline Exceeded"));
        tokio::time::timeout_at(end.into(), reply).await.unwrap_or_else(|_| late())
    };
    race(replied, reset).await
}

async fn ask(
    service: &Service,
    method: usize,
    name: Option<Arc<str>>,
    request: Request<RecvStream>,
    mut deadline: Option<Instant>,
) -> Reply {
    let (parts, mut body) = request.into_parts();
    let encoding = Encoding::of(parts.headers.get(GRPC_ENCODING))?;
    let mut message = Message::new(service.largest, encoding);
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| Status::new(code::INTERNAL, error.to_string()))?;
        message.push(&piece)?;
        let _ended = body.flow_control().release_capacity(piece.len());
    }
    let message = message.end()?;
    let mut begun = None;
    if let (Some(plain), Some(kind)) = (&service.plain, service.kinds[method]) {
        match plain.answer(kind, &message, deadline).await {
            Plainly::Answered(reply) => return reply,
            Plainly::Begun(so_far, end) => (begun, deadline) = (Some(so_far), Some(end)),
            Plainly::Not => {}
        }
    }
    let authorization = shown(service, &parts.headers);
    let arrival = Arrival { number: 0, method, message, deadline, authorization, name, begun };
    service.exchange.ask(arrival).await
}

/// What a client shows, where that is asked for; the last one, where it shows several.
fn shown(service: &Service, headers: &HeaderMap) -> Option<String> {
    if !service.authorization {
        return None;
    }
    let last = headers.get_all(AUTHORIZATION).iter().next_back()?;
    last.to_str().ok().map(str::to_owned)
}

async fn answer(reply: Reply, largest: usize, mut respond: SendResponse<Bytes>) {
    let frame = match reply {
        Ok(frame) if framing::message_bytes(&frame) <= largest => frame,
        Ok(frame) => {
            let length = framing::message_bytes(&frame);
            let text = format!("Sent message larger than max ({length} vs. {largest})");
            Status::new(code::RESOURCE_EXHAUSTED, text).send(&mut respond);
            return;
        }
        Err(status) => {
            status.send(&mut respond);
            return;
        }
    };
    // Errors mean that the client is gone.
    let Ok(mut stream) = respond.send_response(status::headers(), false) else { return };
    if send(&mut stream, frame).await.is_ok() {
        let _gone = stream.send_trailers(status::ok());
    }
}
