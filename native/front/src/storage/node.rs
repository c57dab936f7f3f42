//! One storage node: what waits to be sent to it, and who waits for its answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use super::hub::Target;
use super::patience::Patience;
use muster_records::frames::{self, kind, FULL_FRAME_BYTES, HEAD_BYTES};
use muster_records::messages::{code, Body, Failure};
use muster_records::pack::Pack;

const MOST_IN_FLIGHT: usize = 8192;
const MOST_BYTES_IN_FLIGHT: usize = 128 * 1024 * 1024;
/// Room for what goes before a frame's requests: its head, two arrays and a time.
const ROOM_BYTES: usize = HEAD_BYTES + 1 + 9 + 5;

/// A storage node as this coordinator sees it.
pub struct Node {
    pub id: Arc<str>,
    pub address: String,
    /// Whether it says that it serves.
    pub healthy: bool,
    pub patience: Patience,
    /// While there is a connection.
    pub outbox: Option<Outbox>,
    /// Told when there is something to send.
    pub wake: Arc<Notify>,
    /// The last request's; it goes on over all connections.
    number: u64,
}

/// What goes out on one connection, and who waits for what comes in.
#[derive(Default)]
pub struct Outbox {
    unsent: Vec<Requests>,
    waiting: HashMap<u64, Waiting>,
    bytes: usize,
    sent: u64,
}

struct Waiting {
    target: Target,
    weight: usize,
}

/// Requests that go in one frame, with room before them.
struct Requests {
    data: Vec<u8>,
    count: usize,
    weight: usize,
    last: u64,
}

impl Node {
    pub fn new(id: Arc<str>, address: String) -> Self {
        Self {
            id,
            address,
            healthy: false,
            patience: Patience::default(),
            outbox: None,
            wake: Arc::default(),
            number: 0,
        }
    }

    /// Whether it can be asked, and says that it serves.
    pub fn well(&self) -> bool {
        self.healthy && self.outbox.is_some()
    }

    /// Puts a request into the next frame; its number, or why it can't be sent.
    pub fn push(
        &mut self,
        body: &Body,
        ring_version: u64,
        deadline_us: u64,
        target: Target,
    ) -> Result<u64, Failure> {
        let refused = |code, detail: String| Err(Failure::new(code, &detail));
        let address = &self.address;
        let Some(outbox) = self.outbox.as_mut() else {
            return refused(code::UNAVAILABLE, format!("{address} is not connected"));
        };
        let weight = body.weight();
        let most = frames::MAX_BODY_BYTES;
        if weight > most {
            let text = format!("request has {weight} bytes; allowed: at most {most}");
            return refused(code::TOO_LARGE, text);
        }
        let (count, bytes) = (outbox.waiting.len(), outbox.bytes);
        if count >= MOST_IN_FLIGHT || bytes >= MOST_BYTES_IN_FLIGHT {
            let text = format!(
                "{address} has {count} requests of {bytes} bytes in flight; \
                 allowed: {MOST_IN_FLIGHT} of {MOST_BYTES_IN_FLIGHT}"
            );
            return refused(code::OVERLOADED, text);
        }
        self.number += 1;
        let number = self.number;
        let requests = outbox.room(weight);
        requests.data.array(4).uint(number).uint(deadline_us).uint(ring_version);
        body.write(&mut requests.data);
        requests.count += 1;
        requests.weight += weight;
        requests.last = number;
        outbox.waiting.insert(number, Waiting { target, weight });
        outbox.bytes += weight;
        Ok(number)
    }

    /// Frames of all that is unsent, stamped; from now on it may be done.
    pub fn frames(&mut self, sent_us: u64) -> Vec<Vec<u8>> {
        let Some(outbox) = self.outbox.as_mut() else { return Vec::new() };
        let unsent = std::mem::take(&mut outbox.unsent);
        if let Some(requests) = unsent.last() {
            outbox.sent = requests.last;
        }
        unsent.into_iter().map(|requests| requests.frame(sent_us)).collect()
    }

    /// Who waits for the answer to a request; nobody where it came too late.
    pub fn settle(&mut self, number: u64) -> Option<Target> {
        let outbox = self.outbox.as_mut()?;
        let waiting = outbox.waiting.remove(&number)?;
        outbox.bytes -= waiting.weight;
        Some(waiting.target)
    }

    /// Ends the connection: who waits, and whether their request may have been done.
    pub fn lose(&mut self, reason: &str) -> Vec<(Target, Failure)> {
        let Some(outbox) = self.outbox.take() else { return Vec::new() };
        let broken = Failure::new(code::BROKEN, &format!("the connection broke: {reason}"));
        let unsent =
            Failure::new(code::UNAVAILABLE, &format!("the connection broke before: {reason}"));
        let failure = |number| if number <= outbox.sent { &broken } else { &unsent };
        let mut waiting: Vec<_> = outbox.waiting.into_iter().collect();
        waiting.sort_unstable_by_key(|(number, _)| *number);
        waiting.into_iter().map(|(number, one)| (one.target, failure(number).clone())).collect()
    }
}

impl Outbox {
    /// The frame that a request of this weight goes into.
    fn room(&mut self, weight: usize) -> &mut Requests {
        let full = |open: &Requests| open.weight + weight > FULL_FRAME_BYTES;
        if self.unsent.last().is_none_or(full) {
            let data = vec![0; ROOM_BYTES];
            self.unsent.push(Requests { data, count: 0, weight: 0, last: 0 });
        }
        let last = self.unsent.len() - 1;
        &mut self.unsent[last]
    }
}

impl Requests {
    fn frame(mut self, sent_us: u64) -> Vec<u8> {
        let mut before = Vec::with_capacity(ROOM_BYTES);
        before.array(2).uint(sent_us).array(self.count);
        let length = before.len() + self.data.len() - ROOM_BYTES;
        let from = ROOM_BYTES - HEAD_BYTES - before.len();
        self.data[from..from + HEAD_BYTES].copy_from_slice(&frames::head(kind::REQUESTS, length));
        self.data[from + HEAD_BYTES..ROOM_BYTES].copy_from_slice(&before);
        self.data.drain(..from);
        self.data
    }
}

/// Microseconds since the moment that stamps count from.
pub fn micros(begun: Instant, moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(begun).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use muster_records::pack::Reader;

    fn node() -> Node {
        let mut node = Node::new("n".into(), "n:1".into());
        node.outbox = Some(Outbox::default());
        node
    }

    fn get(slot: &[u8]) -> Body {
        Body::Get { slot: Bytes::copy_from_slice(slot) }
    }

    #[test]
    fn what_waits_goes_in_one_frame() {
        let mut node = node();
        for number in 1..=200 {
            let target = Target::Alone(number);
            assert_eq!(node.push(&get(b"slot"), 7, 1000, target).unwrap(), number);
        }
        let frames = node.frames(900);
        assert_eq!(frames.len(), 1);
        let mut data = BytesMut::from(&frames[0][..]);
        let (kind, body) = frames::cut(&mut data, usize::MAX).unwrap().unwrap();
        assert!(data.is_empty() && kind == kind::REQUESTS);
        let mut reader = Reader::new(body);
        assert_eq!((reader.array(), reader.uint(), reader.array()), (Ok(2), Ok(900), Ok(200)));
        assert_eq!((reader.array(), reader.uint()), (Ok(4), Ok(1)));
        assert_eq!((reader.uint(), reader.uint()), (Ok(1000), Ok(7)));
        assert_eq!((reader.array(), reader.uint()), (Ok(2), Ok(4)));
        assert_eq!(reader.bin().unwrap(), "slot");
        assert!(node.frames(901).is_empty());
    }

    #[test]
    fn a_large_request_has_a_frame_of_its_own() {
        let mut node = node();
        for size in [10, FULL_FRAME_BYTES, 10] {
            node.push(&get(&vec![0; size]), 0, 0, Target::Alone(0)).unwrap();
        }
        assert_eq!(node.frames(0).len(), 3);
        let refused = node.push(&get(&vec![0; frames::MAX_BODY_BYTES]), 0, 0, Target::Alone(0));
        assert_eq!(refused.unwrap_err().code, code::TOO_LARGE);
    }

    #[test]
    fn what_was_sent_may_be_done_when_the_connection_breaks() {
        let mut node = node();
        for number in 1..=3 {
            node.push(&get(b""), 0, 0, Target::Alone(number)).unwrap();
            if number == 2 {
                node.frames(0);
            }
        }
        assert!(node.settle(1).is_some());
        assert!(node.settle(1).is_none());
        let lost: Vec<_> = node.lose("why").into_iter().map(|(_, failure)| failure.code).collect();
        assert_eq!(lost, [code::BROKEN, code::UNAVAILABLE]);
        let refused = node.push(&get(b""), 0, 0, Target::Alone(4));
        assert_eq!(refused.unwrap_err().code, code::UNAVAILABLE);
    }
}
