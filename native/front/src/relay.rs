//! Calls that another server answers, stream by stream over one connection to it.

use std::future::poll_fn;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream as StdUnixStream};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::race::{race, Either};
use crate::status::{code, Status};

/// Up to this many bytes are left to the connection at once, whether or not there is room.
const SMALL_BYTES: usize = 16 * 1024;
const WINDOW_BYTES: u32 = 1024 * 1024;

/// The way to the server behind this one, which listens on an abstract Unix socket.
pub struct Relay {
    address: SocketAddr,
    connection: Mutex<Option<SendRequest<Bytes>>>,
}

impl Relay {
    pub fn new(name: &str) -> io::Result<Self> {
        let address = SocketAddr::from_abstract_name(name)?;
        Ok(Self { address, connection: Mutex::new(None) })
    }

    /// Passes a call on, and back what comes of it.
    pub async fn pass(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let ended = body.is_end_stream();
        let sent = match self.ready().await {
            Ok(mut there) => there.send_request(Request::from_parts(parts, ()), ended),
            Err(error) => Err(error),
        };
        let (response, outgoing) = match sent {
            Ok(both) => both,
            Err(error) => {
                let text = format!("the server behind is away: {error}");
                Status::new(code::UNAVAILABLE, text).send(&mut respond);
                return;
            }
        };
        let _forward = (!ended).then(|| Task(tokio::spawn(forward(body, outgoing))));
        let reset = poll_fn(|cx| respond.poll_reset(cx));
        let response = match race(response, reset).await {
            Either::First(Ok(response)) => response,
            Either::First(Err(error)) => {
                respond.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
                return;
            }
            // What is dropped here is reset there.
            Either::Second(_) => return,
        };
        back(response, respond).await;
    }

    async fn ready(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        let mut connection = self.connection.lock().await;
        if let Some(there) = connection.as_ref() {
            if let Ok(ready) = there.clone().ready().await {
                return Ok(ready);
            }
        }
        let there = self.connect().await?;
        *connection = Some(there.clone());
        there.ready().await
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        let unlike = |_| h2::Error::from(Reason::CONNECT_ERROR);
        let socket = StdUnixStream::connect_addr(&self.address).map_err(unlike)?;
        socket.set_nonblocking(true).map_err(unlike)?;
        let socket = UnixStream::from_std(socket).map_err(unlike)?;
        let mut builder = client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(16 * WINDOW_BYTES);
        let (there, connection) = builder.handshake(socket).await?;
        tokio::spawn(async move {
            // The next call finds out and connects anew.
            let _closed = connection.await;
        });
        Ok(there)
    }
}

/// Ends with whoever holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn forward(body: RecvStream, mut outgoing: SendStream<Bytes>) {
    if pump(body, &mut outgoing).await.is_err() {
        outgoing.send_reset(Reason::CANCEL);
    }
}

async fn back(response: Response<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, body) = response.into_parts();
    let ended = body.is_end_stream();
    let Ok(mut stream) = respond.send_response(Response::from_parts(parts, ()), ended) else {
        return;
    };
    if !ended {
        if let Err(error) = pump(body, &mut stream).await {
            stream.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
        }
    }
}

/// Carries what comes in to where it goes, no faster than there is room.
async fn pump(mut body: RecvStream, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    loop {
        let gone = poll_fn(|cx| stream.poll_reset(cx));
        let piece = match race(body.data(), gone).await {
            Either::First(Some(piece)) => piece?,
            Either::First(None) => break,
            Either::Second(reason) => return Err(h2::Error::from(reason?)),
        };
        let length = piece.len();
        send(stream, piece).await?;
        body.flow_control().release_capacity(length)?;
    }
    match body.trailers().await? {
        Some(trailers) => stream.send_trailers(trailers),
        None => stream.send_data(Bytes::new(), true),
    }
}

/// Sends data; what is large waits for room.
pub async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    if data.len() <= SMALL_BYTES {
        return stream.send_data(data, false);
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room.unwrap_or(Err(Reason::CANCEL.into()))?;
        stream.send_data(data.split_to(room.min(data.len())), false)?;
    }
    Ok(())
}
