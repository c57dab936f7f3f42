//! The connection to one storage node: made, kept, and made again whenever it is lost.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::TlsConnector;

use super::hello::{self, Challenge, Identity, MAX_HELLO_BYTES, NONCE_BYTES};
use super::Storage;
use crate::race::{race, Either};
use muster_records::frames::{self, frame, kind, MAX_FRAME_BYTES};
use muster_records::messages;
use muster_records::pack::{Malformed, Pack, Reader};

const CONNECT: Duration = Duration::from_secs(2);
/// Nothing heard for so long: the connection is given up.
const SILENCE: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_secs(1);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 * 1024;

/// How nodes are met.
pub struct Manners {
    pub identity: Identity,
    pub tls: Option<Arc<ClientConfig>>,
}

/// Where a node listens.
pub struct Place {
    pub node: usize,
    pub host: String,
    pub port: u16,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Keeps the connection for ever.
pub async fn keep(storage: Arc<Storage>, place: Place, wake: Arc<Notify>) {
    let mut wait = FIRST_WAIT;
    loop {
        let reason = match timeout(CONNECT, connect(&storage, &place)).await {
            Ok(Ok((stream, read))) => {
                wait = FIRST_WAIT;
                storage.enter(|hub, _| hub.link(place.node));
                serve(&storage, place.node, stream, read, &wake).await
            }
            Ok(Err(reason)) => reason,
            Err(_) => "it does not answer".into(),
        };
        storage.enter(|hub, _| hub.unlink(place.node, reason));
        // Half of each wait is random, to spread those that were cut off together.
        let spread = f64::from(random::<1>()[0]) / 256.0;
        sleep(wait.mul_f64(0.5 + spread / 2.0)).await;
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}

async fn connect(storage: &Storage, place: &Place) -> Result<(Box<dyn Stream>, BytesMut), String> {
    let said = |error: io::Error| error.to_string();
    let socket = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(said)?;
    let _slower_without = socket.set_nodelay(true);
    let mut stream: Box<dyn Stream> = match &storage.manners.tls {
        None => Box::new(socket),
        Some(tls) => {
            let name =
                ServerName::try_from(place.host.clone()).map_err(|error| error.to_string())?;
            let connector = TlsConnector::from(Arc::clone(tls));
            Box::new(connector.connect(name, socket).await.map_err(said)?)
        }
    };
    let mut read = BytesMut::with_capacity(READ_BYTES);
    shake_hands(storage, &mut stream, &mut read).await?;
    Ok((stream, read))
}

async fn shake_hands(
    storage: &Storage,
    stream: &mut Box<dyn Stream>,
    read: &mut BytesMut,
) -> Result<(), String> {
    let identity = &storage.manners.identity;
    let nonce = random::<NONCE_BYTES>();
    let hello = hello::hello(identity, &nonce, storage.micros(Instant::now()));
    write(stream, &frame(kind::HELLO, &hello)).await?;
    let asked = expect(stream, read, kind::CHALLENGE).await?;
    let asked = Challenge::read(asked).map_err(|Malformed(why)| why)?;
    let proof = hello::answer(identity, &nonce, &asked)?;
    write(stream, &frame(kind::PROOF, &proof)).await?;
    expect(stream, read, kind::WELCOME).await.map(|_| ())
}

async fn write(stream: &mut Box<dyn Stream>, data: &[u8]) -> Result<(), String> {
    stream.write_all(data).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())
}

/// The body of the next frame, which is to be of this kind.
async fn expect(
    stream: &mut Box<dyn Stream>,
    read: &mut BytesMut,
    wanted: u8,
) -> Result<Bytes, String> {
    loop {
        if let Some((found, body)) = frames::cut(read, MAX_HELLO_BYTES)? {
            if found == kind::REFUSED {
                let mut reader = Reader::new(body);
                let reason = reader.array().and_then(|_| reader.text());
                let reason = reason.map_err(|Malformed(why)| why)?;
                return Err(String::from_utf8_lossy(&reason).into_owned());
            }
            if found != wanted {
                return Err(format!("frame {found} in the handshake"));
            }
            return Ok(body);
        }
        more(stream, read).await?;
    }
}

async fn more(stream: &mut (impl AsyncRead + Unpin), read: &mut BytesMut) -> Result<(), String> {
    read.reserve(READ_BYTES / 4);
    match stream.read_buf(read).await {
        Ok(0) => Err("closed by the other end".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Sends and receives until the connection is lost; why it is.
async fn serve(
    storage: &Storage,
    node: usize,
    stream: Box<dyn Stream>,
    read: BytesMut,
    wake: &Notify,
) -> String {
    let (from, to) = tokio::io::split(stream);
    let heard = AtomicU64::new(storage.micros(Instant::now()));
    let beat = AtomicBool::new(true);
    let receiving = receive(storage, node, from, read, &heard);
    let watching = watch(storage, wake, &heard, &beat);
    let sending = race(send(storage, node, to, wake, &beat), watching);
    match race(receiving, sending).await {
        Either::First(reason) => reason,
        Either::Second(Either::First(reason) | Either::Second(reason)) => reason,
    }
}

async fn receive(
    storage: &Storage,
    node: usize,
    mut from: impl AsyncRead + Unpin,
    mut read: BytesMut,
    heard: &AtomicU64,
) -> String {
    loop {
        loop {
            match frames::cut(&mut read, MAX_FRAME_BYTES) {
                Ok(Some((kind::REPLIES, body))) => match messages::replies(body) {
                    Ok(replies) => storage.enter(|hub, now| {
                        for (number, packed) in replies {
                            hub.reply(node, number, packed, now);
                        }
                    }),
                    Err(Malformed(why)) => return format!("replies: {why}"),
                },
                Ok(Some((kind::PONG, _))) => {}
                Ok(Some((other, _))) => return format!("frame {other} from a server"),
                Ok(None) => break,
                Err(reason) => return reason,
            }
        }
        if let Err(reason) = more(&mut from, &mut read).await {
            return reason;
        }
        heard.store(storage.micros(Instant::now()), Ordering::Relaxed);
    }
}

/// Sends whatever there is, all of it at once.
async fn send(
    storage: &Storage,
    node: usize,
    mut to: impl AsyncWrite + Unpin,
    wake: &Notify,
    beat: &AtomicBool,
) -> String {
    loop {
        let mut frames = storage.enter(|hub, now| hub.nodes[node].frames(storage.micros(now)));
        if beat.swap(false, Ordering::Relaxed) {
            let mut body = Vec::new();
            body.array(1).uint(storage.micros(Instant::now()));
            frames.push(frame(kind::PING, &body));
        }
        if frames.is_empty() {
            wake.notified().await;
            continue;
        }
        for data in frames {
            if let Err(error) = to.write_all(&data).await {
                return error.to_string();
            }
        }
        // TLS holds back what is not flushed.
        if let Err(error) = to.flush().await {
            return error.to_string();
        }
    }
}

/// Has signs of life asked for; ends where none came for too long.
async fn watch(storage: &Storage, wake: &Notify, heard: &AtomicU64, beat: &AtomicBool) -> String {
    loop {
        sleep(PING_EVERY).await;
        let silent = storage.micros(Instant::now()).saturating_sub(heard.load(Ordering::Relaxed));
        if Duration::from_micros(silent) > SILENCE {
            return format!(
                "nothing heard for {:.1} s",
                Duration::from_micros(silent).as_secs_f64()
            );
        }
        beat.store(true, Ordering::Relaxed);
        wake.notify_one();
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut found = [0; N];
    // The kernel's randomness does not fail once it is there.
    let _filled = SystemRandom::new().fill(&mut found);
    found
}
