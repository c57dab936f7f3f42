//! One call: read, answered through the exchange, written; or passed on.

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

use crate::exchange::{Arrival, Exchange, Reply};
use crate::framing::{self, Message};
use crate::race::{race, Either};
use crate::relay::{send, Relay};
use crate::status::{self, code, Status};

/// What every call of a server shares.
pub struct Service {
    pub exchange: Arc<Exchange>,
    /// The unary calls that are answered through the exchange, by their paths.
    pub methods: HashMap<String, usize>,
    /// Where all others go.
    pub relay: Relay,
    /// How many calls there may be at once.
    pub seats: Semaphore,
    /// Bytes of a message.
    pub largest: usize,
    /// Whether calls are handed over with what they show.
    pub authorization: bool,
}

/// Sees one call to its end.
pub async fn serve(
    service: Arc<Service>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let Ok(_seat) = service.seats.try_acquire() else {
        let text = "Concurrent RPC limit exceeded!";
        Status::new(code::RESOURCE_EXHAUSTED, text).send(&mut respond);
        return;
    };
    match unary(&service, &request) {
        None => service.relay.pass(request, respond).await,
        Some(method) => {
            let reply = match patient(&service, method, request, &mut respond).await {
                Either::First(reply) => reply,
                Either::Second(()) => return,
            };
            answer(reply, service.largest, respond).await;
        }
    }
}

/// The place of a method that is answered here; calls in another encoding are not.
fn unary(service: &Service, request: &Request<RecvStream>) -> Option<usize> {
    let plain = |name| request.headers().get(name).is_none_or(|value| value == "identity");
    let grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    let ours = request.method() == Method::POST
        && request.headers().get(CONTENT_TYPE).is_some_and(grpc)
        && plain("grpc-encoding");
    service.methods.get(request.uri().path()).copied().filter(|_| ours)
}

/// The reply to a call, within its deadline; nothing where its client has given it up.
async fn patient(
    service: &Service,
    method: usize,
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Either<Reply, ()> {
    let deadline = match request.headers().get("grpc-timeout").map(HeaderValue::as_bytes) {
        None => None,
        Some(value) => match framing::timeout(value) {
            Ok(limit) => Instant::now().checked_add(limit),
            Err(status) => return Either::First(Err(status)),
        },
    };
    let reset = poll_fn(|cx| respond.poll_reset(cx).map(|_| ()));
    let replied = async {
        let reply = ask(service, method, request, deadline);
        let Some(end) = deadline else { return reply.await };
        let late = || Err(Status::new(code::DEADLINE_EXCEEDED, "Deadline Exceeded"));
        tokio::time::timeout_at(end.into(), reply).await.unwrap_or_else(|_| late())
    };
    race(replied, reset).await
}

async fn ask(
    service: &Service,
    method: usize,
    request: Request<RecvStream>,
    deadline: Option<Instant>,
) -> Reply {
    let (parts, mut body) = request.into_parts();
    let mut message = Message::new(service.largest);
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| Status::new(code::INTERNAL, error.to_string()))?;
        message.push(&piece)?;
        let _ended = body.flow_control().release_capacity(piece.len());
    }
    let message = message.end()?;
    let authorization = if service.authorization { shown(&parts.headers) } else { None };
    let arrival = Arrival { number: 0, method, message, deadline, authorization };
    service.exchange.ask(arrival).await
}

/// The last one, where a client shows several.
fn shown(headers: &HeaderMap) -> Option<String> {
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
