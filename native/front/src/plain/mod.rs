//! Plain calls, which are answered right here: a read, a write or a deletion of a tenant that is
//! known, without anything that asks for a rule.
//!
//! Whether a call is plain is decided; that it is wrong never is. All that is not plain goes to whoever
//! answers all other calls, and says what is wrong with it. So does a call that was begun and turned
//! out not to be plain, together with what has become of it so far.

pub mod catalogue;
#[cfg(feature = "python")]
pub mod face;
pub mod proto;
pub mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use ring::digest::{digest, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

use crate::exchange::Reply;
use crate::framing::framed;
use crate::status::{code, Status};
use crate::storage::asking::{Answers, Asking};
use crate::storage::hub::{Ended, Listener};
use crate::storage::quorum::{Group, Quorum};
use crate::storage::spread::{Ending, Spread, Verdict, Way};
use crate::storage::Storage;
use catalogue::{Catalogue, Level, Tenant};
use muster_records::messages::{self, Body};
use muster_records::pack::{Malformed, Pack, Reader};
use muster_records::plain as record;
use proto::{Field, Write};
use tally::Tally;

const KEY_BYTES: usize = 1024;
/// Above this size a read is better done in another way, and a write is no longer cheap anyway.
const LARGE_BYTES: usize = 16 * 1024;
const TOKEN_BYTES: usize = 8;
const OP_BYTES: usize = 16;
/// Of the first byte of an operation's name: its client gave it a name of its own.
const REMEMBERED: u8 = 0x80;
const EMPTY: Bytes = Bytes::new();

/// Calls that can be plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Write,
    Read,
    Delete,
}

pub const KINDS: [(Kind, &str); 3] = [
    (Kind::Write, "WriteKeyValue"),
    (Kind::Read, "ReadKeyValue"),
    (Kind::Delete, "DeleteKeyValue"),
];

/// A call that is answered, or what has become of it by when it must end; nothing where it was not
/// begun.
pub enum Plainly {
    Answered(Reply),
    Begun(Begun, Instant),
    Not,
}

/// What has become of a call.
#[derive(Debug)]
pub enum Begun {
    Written { op: [u8; OP_BYTES], timestamp_us: u64, ending: Ending },
    Read { ring_version: u64, answers: Answers },
}

/// The parts of a request that can be plain.
struct Request {
    reads: bool,
    tenant: Bytes,
    key: Bytes,
    value: Option<Bytes>,
    level: Bytes,
}

pub struct Plain {
    pub storage: Arc<Storage>,
    catalogue: Mutex<Catalogue>,
    tallies: Mutex<[Tally; 3]>,
}

impl Plain {
    /// `bounds` are the upper ends of the buckets that times are counted in, seconds.
    pub fn new(storage: Arc<Storage>, bounds: &[f64]) -> Self {
        let tally = || Tally::new(bounds.to_vec());
        Self {
            storage,
            catalogue: Mutex::default(),
            tallies: Mutex::new([tally(), tally(), tally()]),
        }
    }

    pub fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In the order of `KINDS`.
    pub fn tallies(&self) -> [Tally; 3] {
        self.held().clone()
    }

    fn held(&self) -> MutexGuard<'_, [Tally; 3]> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a call if it is plain and goes well.
    pub async fn answer(&self, kind: Kind, message: &Bytes, deadline: Option<Instant>) -> Plainly {
        let begun = Instant::now();
        let Some(request) = Request::read(kind, message) else { return Plainly::Not };
        let done = match kind {
            Kind::Read => self.read(&request, begun, deadline).await,
            Kind::Write | Kind::Delete => self.write(&request, begun, deadline).await,
        };
        if let Plainly::Answered(Ok(_)) = done {
            self.held()[kind as usize].add(begun.elapsed());
        }
        done
    }

    async fn write(&self, request: &Request, now: Instant, deadline: Option<Instant>) -> Plainly {
        let Some((tenant, way, level)) = self.way(request, now, deadline) else {
            return Plainly::Not;
        };
        if !tenant.writes {
            return Plainly::Not;
        }
        let Some(op) = fresh_op() else { return Plainly::Not };
        let (sender, receiver) = oneshot::channel();
        let (timestamp_us, end) = (unix_us(), way.end);
        let intent = intent(&op, request.value.as_deref(), timestamp_us);
        self.storage.enter(|hub, now| {
            let spread = Spread::new(way, Listener::Call(sender));
            hub.spread(spread, |spread, hub, number| {
                spread.take(hub, number, (intent, true), EMPTY, 0, now);
            });
        });
        let Ok(Ended::Spread(ending)) = receiver.await else { return stopped() };
        if ending.verdict == Verdict::Reached {
            if let Some(frame) = written(request, &ending, level) {
                return Plainly::Answered(Ok(frame));
            }
        }
        Plainly::Begun(Begun::Written { op, timestamp_us, ending }, end)
    }

    async fn read(&self, request: &Request, now: Instant, deadline: Option<Instant>) -> Plainly {
        let Some((tenant, way, level)) = self.way(request, now, deadline) else {
            return Plainly::Not;
        };
        if !tenant.reads || self.catalogue().is_large(&way.slot) {
            return Plainly::Not;
        }
        let (sender, receiver) = oneshot::channel();
        let (slot, ring_version, end) = (way.slot.clone(), way.ring_version, way.end);
        let least = level.needs(tenant.factor) as usize;
        self.storage.enter(|hub, now| {
            let body = Body::Get { slot: way.slot };
            let to = Listener::Call(sender);
            let asking = Asking::new(hub, way.writers, body, ring_version, least, end, to);
            hub.ask(asking, now);
        });
        let Ok(Ended::Asked(answers)) = receiver.await else { return stopped() };
        match found(request, &answers, least, &slot) {
            Some(frame) => Plainly::Answered(Ok(frame)),
            None => {
                if answers.all.iter().any(|(_, packed)| packed.len() > LARGE_BYTES) {
                    self.catalogue().note_large(slot);
                }
                Plainly::Begun(Begun::Read { ring_version, answers }, end)
            }
        }
    }

    /// Where a request goes; nothing where that takes more than is known here.
    fn way(
        &self,
        request: &Request,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Option<(Tenant, Way, Level)> {
        let mut catalogue = self.catalogue();
        let defaults = catalogue.defaults()?;
        let tenant = catalogue.tenant(&request.tenant, now)?;
        let (slot, token) = slot(request);
        let (ring_version, nodes) = catalogue.nodes(&tenant, token)?;
        let level = match &*request.level {
            b"" => defaults.level,
            name => Level::named(name)?,
        };
        let seconds = if request.reads { defaults.reading } else { defaults.writing };
        let latest = now + seconds;
        let members = (1 << nodes.len()) - 1;
        let needed = level.needs(tenant.factor);
        let way = Way {
            ring_version,
            writers: nodes.to_vec(),
            natural: nodes.len(),
            quorum: Quorum::new(Group { members, needed }, None),
            slot,
            end: deadline.map_or(latest, |end| end.min(latest)),
            unsynced: tenant.unsynced,
        };
        Some((tenant, way, level))
    }
}

/// Nobody knows what became of a call whose end nobody tells.
fn stopped() -> Plainly {
    Plainly::Answered(Err(Status::new(code::UNAVAILABLE, "the server has stopped")))
}

impl Request {
    /// Reads a request; nothing where it has anything that is not plain.
    fn read(kind: Kind, message: &Bytes) -> Option<Self> {
        let mut read = Self {
            reads: kind == Kind::Read,
            tenant: EMPTY,
            key: EMPTY,
            value: (kind == Kind::Write).then_some(EMPTY),
            level: EMPTY,
        };
        let consistency = if kind == Kind::Write { 4 } else { 3 };
        for (number, field) in proto::fields(message)? {
            let Field::Bytes(bytes) = field else { return None };
            match number {
                1 => read.tenant = bytes,
                2 => read.key = bytes,
                3 if kind == Kind::Write => read.value = Some(bytes),
                number if number == consistency => read.level = bytes,
                _ => return None,
            }
        }
        let plain = (1..=KEY_BYTES).contains(&read.key.len())
            && read.value.as_ref().is_none_or(|value| value.len() <= LARGE_BYTES)
            && std::str::from_utf8(&read.key).is_ok();
        plain.then_some(read)
    }
}

/// Where storage keeps a key's record, and its token; see `muster_kv.slots`.
fn slot(request: &Request) -> (Bytes, u64) {
    let (tenant, key) = (&request.tenant, &request.key);
    let mut named = Vec::with_capacity(TOKEN_BYTES + tenant.len() + 1 + key.len());
    named.extend_from_slice(tenant);
    named.push(b':');
    named.extend_from_slice(key);
    let hash = digest(&SHA256, &named);
    let mut token = [0; TOKEN_BYTES];
    token.copy_from_slice(&hash.as_ref()[..TOKEN_BYTES]);
    named[tenant.len()] = 0;
    named.splice(..0, token);
    (named.into(), u64::from_be_bytes(token))
}

/// A blind intent; see `muster_kv.merging`.
fn intent(op: &[u8], value: Option<&[u8]>, timestamp_us: u64) -> Bytes {
    let mut packed = Vec::with_capacity(48 + value.map_or(0, <[u8]>::len));
    packed.array(7).bin(op);
    match value {
        Some(value) => packed.bin(value),
        None => packed.nil(),
    };
    packed.uint(timestamp_us).nil().uint(0).bin(b"").uint(0);
    packed.into()
}

/// None where the kernel gave no randomness: two writes of one op would be taken for the same.
fn fresh_op() -> Option<[u8; OP_BYTES]> {
    let mut op = [0; OP_BYTES];
    SystemRandom::new().fill(&mut op).ok()?;
    op[0] &= !REMEMBERED;
    Some(op)
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The answer to a write or a deletion, which are alike.
fn written(request: &Request, ending: &Ending, level: Level) -> Option<Bytes> {
    let mut answer = Vec::with_capacity(96 + request.key.len() + ending.clock.len());
    answer.number(1, 1);
    answer.bytes(2, &request.key);
    answer.message(4, &clock(&ending.clock).ok()?);
    answer.number(5, u64::from(ending.answered));
    answer.bytes(6, level.name().as_bytes());
    answer.number(10, ending.siblings as u64);
    framed(&answer)
}

/// The answer to a read, where so many replicas hold the same, and that is one value.
fn found(request: &Request, answers: &Answers, least: usize, slot: &[u8]) -> Option<Bytes> {
    if answers.good < least || answers.all.len() != answers.good {
        return None;
    }
    let mut held: Option<Bytes> = None;
    for (_, packed) in &answers.all {
        let Ok(messages::Reply::Found(record)) = messages::Reply::read(packed) else { return None };
        if *held.get_or_insert_with(|| record.clone()) != record {
            return None;
        }
    }
    let held = held.filter(|record| record.len() <= LARGE_BYTES)?;
    let single = record::single(&held, slot, unix_us())?;
    let mut answer = Vec::with_capacity(64 + request.key.len() + held.len());
    answer.number(1, 1);
    answer.bytes(2, &request.key);
    answer.bytes(3, &single.value);
    answer.message(4, &clock(&single.context).ok()?);
    answer.number(8, single.expires_at_us);
    framed(&answer)
}

/// A packed clock as clients get it.
fn clock(packed: &Bytes) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(packed.clone());
    let mut message = Vec::with_capacity(2 * packed.len());
    for _ in 0..reader.map()? {
        let (actor, counter) = (reader.text()?, reader.uint()?);
        let mut entry = Vec::with_capacity(actor.len() + 16);
        entry.bytes(1, &actor);
        entry.number(2, counter);
        message.message(1, &entry);
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: Kind, fields: &[(u8, &[u8])]) -> Option<Request> {
        let mut message = Vec::new();
        for (field, bytes) in fields {
            message.message(*field, bytes);
        }
        Request::read(kind, &message.into())
    }

    #[test]
    fn what_asks_for_a_rule_is_not_plain() {
        let plain: &[(u8, &[u8])] = &[(1, b"t"), (2, b"k"), (3, b"v"), (4, b"one")];
        let read = request(Kind::Write, plain).unwrap();
        assert_eq!((read.value.unwrap(), read.level), ("v".into(), "one".into()));
        for (field, bytes) in [(5, &b"idempotency"[..]), (6, b""), (7, b""), (15, b"")] {
            assert!(request(Kind::Write, &[plain, &[(field, bytes)]].concat()).is_none());
        }
        assert!(request(Kind::Read, &[(1, b"t"), (2, b"k"), (3, b"all")]).is_some());
        assert!(request(Kind::Delete, &[(1, b"t"), (2, b"k"), (4, b"idempotency")]).is_none());
        assert!(request(Kind::Delete, &[(1, b"t"), (2, b"k")]).unwrap().value.is_none());
    }

    #[test]
    fn keys_that_can_be_none_and_large_values_are_not_plain() {
        assert!(request(Kind::Read, &[(1, b"t")]).is_none());
        assert!(request(Kind::Read, &[(1, b"t"), (2, &[b'k'; 1025])]).is_none());
        assert!(request(Kind::Read, &[(1, b"t"), (2, b"\xff")]).is_none());
        let large = [0; LARGE_BYTES + 1];
        assert!(request(Kind::Write, &[(1, b"t"), (2, b"k"), (3, &large)]).is_none());
        assert!(request(Kind::Write, &[(1, b"t"), (2, b"k")]).unwrap().value.is_some());
    }

    #[test]
    fn a_slot_is_the_one_that_storage_nodes_know() {
        let asked = request(Kind::Read, &[(1, b"t"), (2, b"key")]).unwrap();
        let (slot, token) = slot(&asked);
        // The first bytes of the SHA-256 of `t:key`.
        assert_eq!(slot[..TOKEN_BYTES], token.to_be_bytes());
        assert_eq!(slot[TOKEN_BYTES..], *b"t\0key");
        assert_eq!(token, 0x2963e02fa306b2da);
    }

    #[test]
    fn an_answer_to_a_write() {
        let asked = request(Kind::Write, &[(1, b"t"), (2, b"k")]).unwrap();
        let ending = Ending {
            verdict: Verdict::Reached,
            outcome: 0,
            clock: Bytes::from_static(&[0x81, 0xa3, b'n', b'#', b'1', 7]),
            answered: 2,
            siblings: 1,
            record: EMPTY,
            acked: Vec::new(),
            failures: Vec::new(),
            unsure: false,
        };
        let frame = written(&asked, &ending, Level::Quorum).unwrap();
        let told = proto::fields(&frame.slice(5..)).unwrap();
        let entry = Bytes::from_static(b"\x0a\x07\x0a\x03n#1\x10\x07");
        let expected = [
            (1, Field::Varint(1)),
            (2, Field::Bytes("k".into())),
            (4, Field::Bytes(entry)),
            (5, Field::Varint(2)),
            (6, Field::Bytes("quorum".into())),
            (10, Field::Varint(1)),
        ];
        assert_eq!(told, expected);
    }
}
