//! Calls with many messages either way, as somebody else reads and answers them.
//!
//! What comes in waits until it is taken, that of all calls at once. Who answers says how much of it
//! has been begun with, and hears how much of the answers has left: so neither a client that
//! sends faster than it is served nor one that does not read fills the memory.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::Semaphore;
use tokio::time::sleep_until;

use crate::bell::Bell;
use crate::framing::{self, Messages};
use crate::race::{race, Either};
use crate::status::{self, code, Status};

/// Bytes of a call's messages that may wait to be begun with; a larger one waits alone.
const AHEAD_BYTES: usize = 1024 * 1024;
/// After so many bytes of answers it is said that they have left.
const TOLD_BYTES: usize = 256 * 1024;

/// What has happened since somebody looked; of one call, in the order of these fields.
#[derive(Debug, Default)]
pub struct News {
    /// Calls that have begun.
    pub opened: Vec<Opened>,
    pub messages: Vec<(u64, Bytes)>,
    /// Calls whose clients send no more.
    pub ended: Vec<u64>,
    /// Bytes of answers that have left.
    pub sent: Vec<(u64, usize)>,
    /// Calls that nobody waits for any more.
    pub over: Vec<u64>,
}

/// A call that has begun.
#[derive(Debug)]
pub struct Opened {
    pub number: u64,
    pub authorization: Option<String>,
    /// What the certificate of its client is called.
    pub name: Option<Arc<str>>,
}

/// Between the server's thread and the one that answers.
pub struct Streams {
    waiting: Mutex<Waiting>,
    open: Mutex<Calls>,
    bell: Bell,
}

#[derive(Default)]
struct Waiting {
    news: News,
    rung: bool,
}

#[derive(Default)]
struct Calls {
    last: u64,
    ways: HashMap<u64, Way>,
}

/// To one call.
struct Way {
    answers: UnboundedSender<Answer>,
    room: Arc<Semaphore>,
}

enum Answer {
    /// With what goes before a message.
    Message(Bytes),
    End(HeaderMap),
}

impl Streams {
    pub fn new() -> io::Result<Self> {
        Ok(Self { waiting: Mutex::default(), open: Mutex::default(), bell: Bell::new()? })
    }

    /// A descriptor that can be read from when there are news.
    pub fn descriptor(&self) -> RawFd {
        self.bell.descriptor()
    }

    /// Takes all news.
    pub fn take(&self) -> News {
        let mut waiting = held(&self.waiting);
        self.bell.hear(&mut waiting.rung);
        std::mem::take(&mut waiting.news)
    }

    /// So many bytes of a call's messages have been begun with.
    pub fn begun(&self, number: u64, bytes: usize) {
        if let Some(way) = held(&self.open).ways.get(&number) {
            way.room.add_permits(bytes.min(AHEAD_BYTES));
        }
    }

    /// Sends a framed message; a call that is over is passed over.
    pub fn send(&self, number: u64, frame: Bytes) {
        if let Some(way) = held(&self.open).ways.get(&number) {
            let _over = way.answers.send(Answer::Message(frame));
        }
    }

    /// Ends a call after what was sent.
    pub fn end(&self, number: u64, how: Result<(), Status>) {
        if let Some(way) = held(&self.open).ways.remove(&number) {
            let _over = way.answers.send(Answer::End(trailers(how)));
        }
    }

    fn tell(&self, what: impl FnOnce(&mut News)) {
        let mut waiting = held(&self.waiting);
        what(&mut waiting.news);
        self.bell.ring(&mut waiting.rung);
    }

    fn open(
        self: &Arc<Self>,
        authorization: Option<String>,
        name: Option<Arc<str>>,
    ) -> (Open, UnboundedReceiver<Answer>) {
        let (answers, answered) = unbounded_channel();
        let room = Arc::new(Semaphore::new(AHEAD_BYTES));
        let number = {
            let mut calls = held(&self.open);
            calls.last += 1;
            let number = calls.last;
            calls.ways.insert(number, Way { answers, room: Arc::clone(&room) });
            number
        };
        self.tell(|news| news.opened.push(Opened { number, authorization, name }));
        (Open { streams: Arc::clone(self), number, room }, answered)
    }
}

/// What comes with a call.
pub struct Incoming {
    pub messages: Messages,
    pub body: RecvStream,
    pub deadline: Option<Instant>,
    pub authorization: Option<String>,
    pub name: Option<Arc<str>>,
}

/// Sees one call to its end.
pub async fn serve(streams: &Arc<Streams>, call: Incoming, mut respond: SendResponse<Bytes>) {
    // An error means that the client is gone.
    let Ok(outgoing) = respond.send_response(status::headers(), false) else { return };
    let (open, answered) = streams.open(call.authorization, call.name);
    let reading = read(&open, call.messages, call.body);
    race(write(&open, outgoing, answered, call.deadline), reading).await;
}

/// Hands messages over; ends where the client is gone.
async fn read(open: &Open, mut messages: Messages, mut body: RecvStream) {
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return };
        messages.push(&piece);
        loop {
            match messages.take() {
                Ok(None) => break,
                Ok(Some(message)) => open.hand_over(message).await,
                Err(status) => return open.refuse(status).await,
            }
        }
        let _ended = body.flow_control().release_capacity(piece.len());
    }
    if !messages.is_empty() {
        return open.refuse(framing::cut_off()).await;
    }
    open.streams.tell(|news| news.ended.push(open.number));
    pending().await
}

/// Sends answers until the last, or until the client is gone or the deadline has passed.
async fn write(
    open: &Open,
    mut outgoing: SendStream<Bytes>,
    mut answered: UnboundedReceiver<Answer>,
    deadline: Option<Instant>,
) {
    let mut unsaid = 0;
    loop {
        let gone = poll_fn(|cx| outgoing.poll_reset(cx));
        let answer = match race(race(answered.recv(), passed(deadline)), gone).await {
            Either::Second(_) | Either::First(Either::First(None)) => return,
            Either::First(Either::First(Some(answer))) => answer,
            Either::First(Either::Second(())) => {
                let late = Status::new(code::DEADLINE_EXCEEDED, "Deadline Exceeded");
                Answer::End(trailers(Err(late)))
            }
        };
        match answer {
            Answer::End(trailers) => {
                let _gone = outgoing.send_trailers(trailers);
                return;
            }
            Answer::Message(frame) => {
                unsaid += frame.len();
                match race(send(&mut outgoing, frame), passed(deadline)).await {
                    Either::First(Ok(())) => {}
                    Either::First(Err(_)) => return,
                    // In the middle of a message no trailers can follow.
                    Either::Second(()) => return outgoing.send_reset(Reason::CANCEL),
                }
                if unsaid >= TOLD_BYTES {
                    open.streams.tell(|news| news.sent.push((open.number, unsaid)));
                    unsaid = 0;
                }
            }
        }
    }
}

/// Sends data as there is room for it: a client that reads nothing must not fill the memory.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let room = room.unwrap_or(Err(Reason::CANCEL.into()))?;
        stream.send_data(data.split_to(room.min(data.len())), false)?;
    }
    Ok(())
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        None => pending().await,
        Some(end) => sleep_until(end.into()).await,
    }
}

fn trailers(how: Result<(), Status>) -> HeaderMap {
    match how {
        Ok(()) => status::ok(),
        Err(status) => status.trailers(),
    }
}

/// A call that somebody waits for.
struct Open {
    streams: Arc<Streams>,
    number: u64,
    room: Arc<Semaphore>,
}

impl Open {
    async fn hand_over(&self, message: Bytes) {
        // At most a mebibyte, so it fits.
        let bytes = message.len().min(AHEAD_BYTES) as u32;
        if let Ok(permits) = self.room.acquire_many(bytes).await {
            permits.forget();
        }
        self.streams.tell(|news| news.messages.push((self.number, message)));
    }

    /// Ends the call for what its client has sent; who writes ends it.
    async fn refuse(&self, status: Status) {
        let way = held(&self.streams.open).ways.remove(&self.number);
        if let Some(way) = way {
            self.streams.tell(|news| news.over.push(self.number));
            let _over = way.answers.send(Answer::End(trailers(Err(status))));
        }
        pending().await
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if held(&self.streams.open).ways.remove(&self.number).is_some() {
            self.streams.tell(|news| news.over.push(self.number));
        }
    }
}

/// What is locked is never left half-changed, so a panic elsewhere does not spoil it.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
