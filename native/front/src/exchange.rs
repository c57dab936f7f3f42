//! Where calls wait for whoever answers them, and answers for their calls.

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{oneshot, Notify};

use crate::bell::Bell;
use crate::plain::Begun;
use crate::status::{code, Status};

/// A whole unary call.
#[derive(Debug)]
pub struct Arrival {
    pub number: u64,
    /// Which method, by its place in the list that the server was started with.
    pub method: usize,
    pub message: Bytes,
    pub deadline: Option<Instant>,
    pub authorization: Option<String>,
    /// What the certificate of its client is called.
    pub name: Option<Arc<str>>,
    /// What has become of it already, where it was begun as a plain one.
    pub begun: Option<Begun>,
}

/// A framed message, or how else the call ends.
pub type Reply = Result<Bytes, Status>;

/// What has happened since somebody looked.
#[derive(Debug, Default)]
pub struct News {
    pub arrived: Vec<Arrival>,
    /// Calls that nobody waits for any more; others among them may be unknown to who reads this.
    pub given_up: Vec<u64>,
    /// Nothing will come after this.
    pub ended: bool,
}

#[derive(Default)]
struct Waiting {
    news: News,
    rung: bool,
}

/// Between the server's thread and the one that answers.
pub struct Exchange {
    waiting: Mutex<Waiting>,
    replies: Mutex<Vec<(u64, Reply)>>,
    replied: Notify,
    expected: Mutex<Expected>,
    bell: Bell,
}

#[derive(Default)]
struct Expected {
    last: u64,
    calls: HashMap<u64, oneshot::Sender<Reply>>,
}

impl Exchange {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            waiting: Mutex::default(),
            replies: Mutex::default(),
            replied: Notify::new(),
            expected: Mutex::default(),
            bell: Bell::new()?,
        })
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

    /// Answers calls; those that were given up are passed over.
    pub fn reply(&self, replies: impl IntoIterator<Item = (u64, Reply)>) {
        held(&self.replies).extend(replies);
        self.replied.notify_one();
    }

    /// Says that nothing will come any more.
    pub fn end(&self) {
        self.tell(|news| news.ended = true);
    }

    /// Hands replies to the calls that wait for them, for ever.
    pub async fn deliver(&self) {
        loop {
            self.replied.notified().await;
            let replies = std::mem::take(&mut *held(&self.replies));
            let mut expected = held(&self.expected);
            for (number, reply) in replies {
                if let Some(call) = expected.calls.remove(&number) {
                    let _given_up = call.send(reply);
                }
            }
        }
    }

    /// Hands a call over and waits for its reply; dropping this gives the call up.
    pub async fn ask(self: &Arc<Self>, mut arrival: Arrival) -> Reply {
        let (sender, receiver) = oneshot::channel();
        let number = {
            let mut expected = held(&self.expected);
            expected.last += 1;
            let number = expected.last;
            expected.calls.insert(number, sender);
            number
        };
        arrival.number = number;
        let _open = Open { exchange: Arc::clone(self), number };
        self.tell(|news| news.arrived.push(arrival));
        receiver
            .await
            .unwrap_or_else(|_| Err(Status::new(code::UNAVAILABLE, "the server has stopped")))
    }

    fn tell(&self, what: impl FnOnce(&mut News)) {
        let mut waiting = held(&self.waiting);
        what(&mut waiting.news);
        self.bell.ring(&mut waiting.rung);
    }
}

/// A call that somebody waits for.
struct Open {
    exchange: Arc<Exchange>,
    number: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        let expected = held(&self.exchange.expected).calls.remove(&self.number);
        if expected.is_some() {
            self.exchange.tell(|news| news.given_up.push(self.number));
        }
    }
}

/// What is locked is never left half-changed, so a panic elsewhere does not spoil it.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::{race, Either};

    fn arrival(message: &'static str) -> Arrival {
        Arrival {
            number: 0,
            method: 0,
            message: Bytes::from_static(message.as_bytes()),
            deadline: None,
            authorization: None,
            name: None,
            begun: None,
        }
    }

    fn run(test: impl std::future::Future) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    #[test]
    fn each_call_gets_its_own_reply() {
        run(async {
            let exchange = Arc::new(Exchange::new().unwrap());
            let calls: Vec<_> = ["a", "b"]
                .map(|text| {
                    let exchange = Arc::clone(&exchange);
                    tokio::spawn(async move { exchange.ask(arrival(text)).await })
                })
                .into();
            tokio::task::yield_now().await;
            let news = exchange.take();
            let replies: Vec<_> = news
                .arrived
                .into_iter()
                .rev()
                .map(|call| (call.number, Ok(call.message)))
                .collect();
            assert_eq!(replies.len(), 2);
            exchange.reply(replies);
            let answered = async {
                let mut texts = Vec::new();
                for call in calls {
                    texts.push(call.await.unwrap().unwrap());
                }
                texts
            };
            let Either::Second(texts) = race(exchange.deliver(), answered).await else {
                panic!("delivering never ends")
            };
            assert_eq!(texts, ["a", "b"]);
            assert!(exchange.take().given_up.is_empty());
        });
    }

    #[test]
    fn a_call_that_is_dropped_is_given_up_and_its_reply_passed_over() {
        run(async {
            let exchange = Arc::new(Exchange::new().unwrap());
            let asked = exchange.ask(arrival("a"));
            race(asked, tokio::task::yield_now()).await;
            let news = exchange.take();
            assert_eq!(news.given_up, [news.arrived[0].number]);
            exchange.reply([(1, Ok(Bytes::new()))]);
            race(exchange.deliver(), tokio::task::yield_now()).await;
        });
    }
}
