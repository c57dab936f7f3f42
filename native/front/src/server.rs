//! Listening, connections, and how they end.

use std::future::{pending, poll_fn, Future};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::server::Builder;
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::call::{self, Service};
use crate::race::{race, Either};
use crate::tls::{self, Door};

const BACKLOG: u32 = 1024;
const WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const HEADER_BYTES: u32 = 16 * 1024;
/// For a client to say that it speaks HTTP/2, and before that for TLS.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How often a client is asked whether it is there, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(300);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// After an error of `accept`, most often that there is no descriptor left.
const PAUSE: Duration = Duration::from_millis(50);

/// When to stop: not yet, or how long calls under way may still take.
pub type Stop = Option<Duration>;

/// A server that listens, and does not serve yet.
pub struct Server {
    listener: StdTcpListener,
    door: Option<Arc<Door>>,
}

impl Server {
    /// Listens on an address, with TLS where there is a door; a port that is taken is an error.
    pub fn bind(address: SocketAddr, door: Option<Arc<Door>>) -> io::Result<Self> {
        // Sockets are made within a runtime; not the one that this is served on.
        let runtime = runtime()?;
        let listener = {
            let _entered = runtime.enter();
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?.into_std()?
        };
        Ok(Self { listener, door })
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Serves until told to stop, and until calls under way have ended or their time is over.
    pub async fn run(self, service: Arc<Service>, stop: watch::Receiver<Stop>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let served = serve(listener, self.door.as_deref(), &service, stop);
        race(served, service.exchange.deliver()).await;
        Ok(())
    }
}

/// What a thread of its own runs.
pub fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn serve(
    listener: TcpListener,
    door: Option<&Door>,
    service: &Arc<Service>,
    mut stop: watch::Receiver<Stop>,
) {
    let mut connections = JoinSet::new();
    let grace = loop {
        // Those that have ended are forgotten as others come.
        while connections.try_join_next().is_some() {}
        match race(stopped(&mut stop), listener.accept()).await {
            Either::First(grace) => break grace,
            Either::Second(Ok((socket, _))) => {
                let _slower_without = socket.set_nodelay(true);
                let (service, stop) = (Arc::clone(service), stop.clone());
                match door {
                    None => connections.spawn(connection(socket, None, service, stop)),
                    Some(door) => {
                        connections.spawn(encrypted(socket, door.acceptor(), service, stop))
                    }
                };
            }
            Either::Second(Err(_)) => sleep(PAUSE).await,
        }
    };
    drop(listener);
    let _cut_off = timeout(grace, async { while connections.join_next().await.is_some() {} }).await;
}

/// Waits until it is time to stop; whoever could say so being gone says it too.
async fn stopped(stop: &mut watch::Receiver<Stop>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(told) => told.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

async fn encrypted(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    service: Arc<Service>,
    mut stop: watch::Receiver<Stop>,
) {
    let handshake = timeout(HANDSHAKE, acceptor.accept(socket));
    if let Either::Second(Ok(Ok(stream))) = race(stopped(&mut stop), handshake).await {
        let name = if service.names { tls::name(stream.get_ref().1) } else { None };
        connection(stream, name.map(Arc::from), service, stop).await;
    }
}

/// Serves a connection to its end; `name` is what its client is called, where that is known.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    name: Option<Arc<str>>,
    service: Arc<Service>,
    mut stop: watch::Receiver<Stop>,
) {
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_BYTES);
    let handshake = timeout(HANDSHAKE, builder.handshake(socket));
    let Either::Second(Ok(Ok(mut connection))) = race(stopped(&mut stop), handshake).await else {
        return;
    };
    let mut silent = pin!(silence(connection.ping_pong()));
    let mut stopped = pin!(stopped(&mut stop));
    let mut leaving = false;
    // Calls end with their connection, also where it is cut off.
    let mut calls = JoinSet::new();
    loop {
        let next = poll_fn(|cx| {
            if !leaving && stopped.as_mut().poll(cx).is_ready() {
                leaving = true;
                connection.graceful_shutdown();
            }
            if silent.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            connection.poll_accept(cx)
        });
        let Some(Ok((request, respond))) = next.await else { return };
        while calls.try_join_next().is_some() {}
        calls.spawn(call::serve(Arc::clone(&service), name.clone(), request, respond));
    }
}

/// Ends when a client does not answer any more.
async fn silence(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return pending().await };
    loop {
        sleep(KEEPALIVE).await;
        match timeout(KEEPALIVE_TIMEOUT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::io::{duplex, DuplexStream};
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;
    use crate::exchange::Exchange;
    use crate::relay::Relay;
    use crate::streams::Streams;

    const PIPE_BYTES: usize = 64 * 1024;

    async fn served(socket: DuplexStream) {
        let service = Service {
            exchange: Arc::new(Exchange::new().unwrap()),
            methods: HashMap::new(),
            streams: Arc::new(Streams::new().unwrap()),
            streamed: String::new(),
            plain: None,
            kinds: Vec::new(),
            relay: Relay::new("nobody").unwrap(),
            seats: Semaphore::new(1),
            largest: PIPE_BYTES,
            authorization: false,
            names: false,
        };
        let (_never, stop) = watch::channel(None);
        connection(socket, None, Arc::new(service), stop).await;
    }

    /// Runs a test whose clock goes on only while everybody waits.
    fn run(test: impl Future) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn a_client_that_says_nothing_is_let_go() {
        run(async {
            let (_silent, socket) = duplex(PIPE_BYTES);
            let begun = Instant::now();
            served(socket).await;
            assert_eq!(begun.elapsed().as_secs(), HANDSHAKE.as_secs());
        });
    }

    #[test]
    fn a_client_that_answers_no_ping_is_let_go() {
        run(async {
            let (client, socket) = duplex(PIPE_BYTES);
            let begun = Instant::now();
            let serving = tokio::spawn(served(socket));
            // Nobody reads what comes.
            let _client = h2::client::handshake(client).await.unwrap();
            serving.await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), (KEEPALIVE + KEEPALIVE_TIMEOUT).as_secs());
        });
    }
}
