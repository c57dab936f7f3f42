//! What coordinators ask of a node: frames taken apart, judged, done in batches, and answered.
//!
//! Takes, merges, reads and look-ups of operations, each of a single record, are nearly all that a
//! node is asked; they are *plain*, and nobody but this module looks into them. Others stay packed, for Python.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::clock::Clock;
use crate::frames::{head, kind, FULL_FRAME_BYTES, MAX_BODY_BYTES};
use crate::merging::{clock_of, knows, Intent, Outcome};
use crate::messages::{self, cause, code, tag, Failure, ENVELOPE_BYTES};
use crate::pack::{Malformed, Pack, Reader};
use crate::record::{check, decode, op, Corrupt, Record};
use crate::replica::Replica;

/// A plain request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// Take a write; `base` is a record to join first, or empty.
    Take { slot: Bytes, intent: Intent, base: Bytes, unsynced: bool },
    /// Join a record into the replica's own.
    Merge { slot: Bytes, record: Bytes, cause: u64, unsynced: bool },
    /// Read a record.
    Get { slot: Bytes },
    /// Ask what is known of an operation, as if it were to be taken.
    Lookup { slot: Bytes, intent: Intent },
}

/// A request with what surrounds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<B> {
    pub number: u64,
    /// On the sender's clock, in microseconds.
    pub deadline_us: i64,
    /// The sender's; 0 where it does not depend on the ring.
    pub ring_version: u64,
    pub body: B,
}

/// The body of a REQUESTS frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The sender's clock when the frame was closed, in microseconds.
    pub sent_us: i64,
    pub writes: Vec<Asked<Plain>>,
    pub reads: Vec<Asked<Plain>>,
    /// All others, packed.
    pub others: Vec<Asked<Bytes>>,
}

impl Plain {
    pub fn slot(&self) -> &Bytes {
        match self {
            Self::Take { slot, .. }
            | Self::Merge { slot, .. }
            | Self::Get { slot }
            | Self::Lookup { slot, .. } => slot,
        }
    }

    /// About how many bytes it has on the wire.
    pub fn weight(&self) -> usize {
        ENVELOPE_BYTES
            + match self {
                Self::Take { slot, intent, base, .. } => {
                    slot.len() + intent.value.as_ref().map_or(0, Bytes::len) + base.len()
                }
                Self::Merge { slot, record, .. } => slot.len() + record.len(),
                Self::Get { slot } | Self::Lookup { slot, .. } => slot.len(),
            }
    }

    /// Whether its answer has to wait for the disk.
    fn synced(&self) -> bool {
        match self {
            Self::Take { unsynced, .. } | Self::Merge { unsynced, .. } => !unsynced,
            Self::Get { .. } | Self::Lookup { .. } => false,
        }
    }

    /// Whether it changes nothing.
    fn reads(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::Lookup { .. })
    }

    /// Reads what is plain; nothing where it is something else.
    fn read(packed: &Bytes) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(packed.clone());
        let fields = reader.fields(1)?;
        Ok(Some(match reader.uint()? {
            tag::TAKE if fields >= 3 => Self::Take {
                slot: reader.bin()?,
                intent: Intent::read(&mut reader)?,
                base: if fields > 3 { reader.bin()? } else { Bytes::new() },
                unsynced: fields > 4 && reader.flag()?,
            },
            tag::MERGE if fields >= 3 => Self::Merge {
                slot: reader.bin()?,
                record: reader.bin()?,
                cause: if fields > 3 { reader.uint()? } else { cause::WRITE },
                unsynced: fields > 4 && reader.flag()?,
            },
            tag::GET if fields >= 2 => Self::Get { slot: reader.bin()? },
            tag::LOOKUP if fields >= 5 => {
                Self::Lookup { slot: reader.bin()?, intent: looked_up(&mut reader)? }
            }
            _ => return Ok(None),
        }))
    }
}

/// Op, digest and timestamp of a look-up.
fn looked_up(reader: &mut Reader) -> Result<Intent, Malformed> {
    Ok(Intent {
        op: op(&reader.bin()?)?,
        value: None,
        digest: reader.bin()?,
        timestamp_us: reader.uint()?,
        context: None,
        expires_at_us: 0,
        remember_until_us: 0,
    })
}

/// What a record knows of an operation, for who looks it up.
fn known(record: &Record, intent: &Intent) -> Bytes {
    let outcome = knows(record, intent);
    let told =
        if outcome == Outcome::New { Clock::default() } else { clock_of(record, &intent.op) };
    messages::known(outcome as u64, &told, &record.context)
}

impl Frame {
    /// Takes the body of a frame apart.
    pub fn read(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.fields(2)?;
        let mut frame = Self { sent_us: reader.int()?, ..Self::default() };
        for _ in 0..reader.array()? {
            let fields = reader.fields(4)?;
            let (number, deadline_us) = (reader.uint()?, reader.int()?);
            let (ring_version, packed) = (reader.uint()?, reader.value()?);
            reader.rest(fields, 4)?;
            match Plain::read(&packed)? {
                Some(body) => {
                    let lane = if body.reads() { &mut frame.reads } else { &mut frame.writes };
                    lane.push(Asked { number, deadline_us, ring_version, body });
                }
                None => {
                    frame.others.push(Asked { number, deadline_us, ring_version, body: packed });
                }
            }
        }
        Ok(frame)
    }
}

/// What a node does not do at the moment, each with the sentence that says why.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Anything.
    pub not_ready: Option<String>,
    /// Older rings than this.
    pub ring_version: u64,
    /// What only a node can do that has all that it should.
    pub unfilled: Option<String>,
    /// Any write, as the disk is full.
    pub full: Option<String>,
    /// Writes of so many bytes or more, and what could be had from others later.
    pub large: Option<(usize, String)>,
}

/// What of a request rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// The sender's ring; 0 where the request does not depend on it.
    pub ring_version: u64,
    /// What it takes to see to a node that does not serve.
    pub always: bool,
    /// What only a node can do that has all that it should.
    pub of_whole: bool,
    /// How large a write is, and whether it could be had from others later.
    pub write: Option<(usize, bool)>,
}

impl Rules {
    /// Why a request is not even begun with.
    pub fn refusal(&self, what: Traits) -> Option<Failure> {
        if let Some(why) = self.not_ready.as_ref().filter(|_| !what.always) {
            return Some(Failure::new(code::NOT_READY, why));
        }
        let (theirs, ours) = (what.ring_version, self.ring_version);
        if theirs > 0 && theirs < ours {
            let why = format!("ring version {theirs}; the node has {ours}");
            return Some(Failure::of_ring(code::STALE_RING, &why, ours));
        }
        if let Some(why) = self.unfilled.as_ref().filter(|_| theirs > 0 && what.of_whole) {
            return Some(Failure::new(code::NOT_READY, why));
        }
        let (size, spare) = what.write?;
        if let Some(why) = &self.full {
            return Some(Failure::new(code::DISK_FULL, why));
        }
        let (_, why) = self.large.as_ref().filter(|(most, _)| spare || size >= *most)?;
        Some(Failure::new(code::DISK_FULL, why))
    }
}

impl Asked<Plain> {
    fn traits(&self) -> Traits {
        Traits {
            ring_version: self.ring_version,
            always: false,
            of_whole: !matches!(self.body, Plain::Merge { .. }),
            write: match &self.body {
                Plain::Take { intent, .. } => {
                    Some((intent.value.as_ref().map_or(0, Bytes::len), false))
                }
                Plain::Merge { record, cause, .. } => Some((record.len(), *cause == cause::STREAM)),
                Plain::Get { .. } | Plain::Lookup { .. } => None,
            },
        }
    }
}

/// Plain requests of one lane, of any connections, and their answers.
#[derive(Default)]
pub struct Batch {
    requests: Vec<Request>,
    weight: usize,
    /// How many were refused or failed, by code.
    failures: BTreeMap<i64, u64>,
}

struct Request {
    connection: u64,
    expires_us: i64,
    asked: Asked<Plain>,
    answer: Option<Answer>,
}

struct Answer {
    packed: Bytes,
    failed: bool,
}

/// Room for all that there is.
pub const ALL: (usize, usize) = (usize::MAX, usize::MAX);

const LATE: &str = "the deadline passed before the request was begun";
const FAILED: &str = "the request failed for a reason in the node's log";

impl Batch {
    /// Moves requests here of a connection whose clock is `offset_us` behind ours: the first so
    /// many, and none behind one that goes beyond so many bytes.
    pub fn add(
        &mut self,
        connection: u64,
        offset_us: i64,
        asked: &mut Vec<Asked<Plain>>,
        (most, most_bytes): (usize, usize),
    ) {
        let mut bytes = 0;
        let fits = |one: &Asked<Plain>| {
            let begun = bytes <= most_bytes;
            bytes += one.body.weight();
            begun
        };
        let count = asked.iter().take(most).map(fits).take_while(|fits| *fits).count();
        for asked in asked.drain(..count) {
            self.weight += asked.body.weight();
            let expires_us = asked.deadline_us.saturating_add(offset_us);
            self.requests.push(Request { connection, expires_us, asked, answer: None });
        }
    }

    /// Takes off the first so many; all where there are fewer.
    pub fn first(&mut self, most: usize) -> Self {
        let rest = self.requests.split_off(most.min(self.requests.len()));
        let requests = std::mem::replace(&mut self.requests, rest);
        let weight = requests.iter().map(|one| one.asked.body.weight()).sum();
        self.weight -= weight;
        Self { requests, weight, failures: BTreeMap::new() }
    }

    pub fn len(&self) -> usize {
        self.requests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// About how many bytes the requests have on the wire.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Where the requests came from.
    pub fn connections(&self) -> impl Iterator<Item = u64> + '_ {
        self.requests.iter().map(|request| request.connection)
    }

    /// How many takes, merges, reads and look-ups of operations there are.
    pub fn kinds(&self) -> (u64, u64, u64, u64) {
        let mut kinds = (0, 0, 0, 0);
        for request in &self.requests {
            match request.asked.body {
                Plain::Take { .. } => kinds.0 += 1,
                Plain::Merge { .. } => kinds.1 += 1,
                Plain::Get { .. } => kinds.2 += 1,
                Plain::Lookup { .. } => kinds.3 += 1,
            }
        }
        kinds
    }

    /// How many were refused or failed, by code.
    pub fn failures(&self) -> &BTreeMap<i64, u64> {
        &self.failures
    }

    /// Whether an answer has to wait for the disk.
    pub fn synced(&self) -> bool {
        self.open().any(|request| request.asked.body.synced())
    }

    /// Drops what nobody waits for any more, since its connection is over.
    pub fn leave(&mut self, over: &[u64]) {
        self.requests.retain(|request| !over.contains(&request.connection));
        self.weight = self.requests.iter().map(|one| one.asked.body.weight()).sum();
    }

    /// Answers what is late or against the rules.
    pub fn judge(&mut self, rules: &Rules, now_us: i64) {
        self.answer(|asked, expires_us| {
            if expires_us <= now_us {
                return Some(Err(Failure::new(code::DEADLINE, LATE)));
            }
            rules.refusal(asked.traits()).map(Err)
        });
    }

    /// The slots of what is not answered, as they come.
    pub fn slots(&self) -> impl Iterator<Item = &Bytes> {
        self.open().map(|request| request.asked.body.slot())
    }

    /// Does the writes, whose records the replica has loaded. The answers hold once its changes are
    /// durable.
    pub fn apply(&mut self, replica: &mut Replica, now_us: i64) {
        self.answer(|asked, expires_us| {
            // It may have waited for the batch before.
            if expires_us < now_us {
                return Some(Err(Failure::new(code::DEADLINE, LATE)));
            }
            match &asked.body {
                Plain::Take { slot, intent, base, .. } => Some(replica.take(slot, intent, base)),
                Plain::Merge { slot, record, .. } => Some(match replica.join(slot, record) {
                    Ok(news) => Ok(messages::merged(u64::from(news))),
                    Err(Corrupt(why)) => Err(Failure::new(code::CORRUPT, &why)),
                }),
                Plain::Get { .. } | Plain::Lookup { .. } => None,
            }
        });
    }

    /// Answers reads and look-ups from what is held at their slots; how many records are damaged.
    pub fn find(&mut self, held: &HashMap<Bytes, Option<Bytes>>) -> u64 {
        let (mut corrupted, nothing) = (0, Bytes::new());
        self.answer(|asked, _| {
            let slot = asked.body.slot();
            let said = match (&asked.body, held.get(slot).and_then(Option::as_ref)) {
                (Plain::Lookup { intent, .. }, data) => {
                    decode(data.unwrap_or(&nothing), slot).map(|record| known(&record, intent))
                }
                (_, Some(data)) => check(data, slot).map(|_| messages::found(data)),
                (_, None) => Ok(messages::found(b"")),
            };
            Some(said.map_err(|Corrupt(why)| {
                corrupted += 1;
                Failure::new(code::CORRUPT, &why)
            }))
        });
        corrupted
    }

    /// Answers all that was not refused with a failure: what was done did not become durable.
    pub fn fail(&mut self, code: i64, why: &str) {
        for request in &mut self.requests {
            if request.answer.as_ref().is_some_and(|answer| !answer.failed) {
                request.answer = None;
            }
        }
        self.answer(|_, _| Some(Err(Failure::new(code, why))));
    }

    /// REPLIES frames with all answers, each with its connection.
    pub fn frames(&mut self) -> Vec<(u64, Vec<u8>)> {
        // Whoever handles the batch has logged why.
        self.answer(|_, _| Some(Err(Failure::new(code::INTERNAL, FAILED))));
        let mut by_connection: BTreeMap<u64, Vec<(u64, Bytes)>> = BTreeMap::new();
        for request in self.requests.drain(..) {
            let Some(answer) = request.answer else { continue };
            let answers = by_connection.entry(request.connection).or_default();
            answers.push((request.asked.number, answer.packed));
        }
        let mut frames = Vec::with_capacity(by_connection.len());
        for (connection, answers) in by_connection {
            let mut open: Vec<(u64, Bytes)> = Vec::new();
            let mut size = 0;
            for (number, answer) in answers {
                if size + answer.len() > FULL_FRAME_BYTES && !open.is_empty() {
                    frames.push((connection, replies(&open)));
                    (open, size) = (Vec::new(), 0);
                }
                size += answer.len() + ENVELOPE_BYTES;
                open.push((number, answer));
            }
            if !open.is_empty() {
                frames.push((connection, replies(&open)));
            }
        }
        frames
    }

    fn open(&self) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(|request| request.answer.is_none())
    }

    /// Has what is not answered yet answered, or not.
    fn answer(
        &mut self,
        mut say: impl FnMut(&Asked<Plain>, i64) -> Option<Result<Bytes, Failure>>,
    ) {
        for request in self.requests.iter_mut().filter(|request| request.answer.is_none()) {
            let Some(said) = say(&request.asked, request.expires_us) else { continue };
            let said = said.and_then(|packed| {
                if packed.len() <= MAX_BODY_BYTES {
                    return Ok(packed);
                }
                let size = packed.len();
                let why = format!("the answer has {size} bytes; allowed: at most {MAX_BODY_BYTES}");
                Err(Failure::new(code::TOO_LARGE, &why))
            });
            request.answer = Some(match said {
                Ok(packed) => Answer { packed, failed: false },
                Err(Failure { code, packed, .. }) => {
                    *self.failures.entry(code).or_default() += 1;
                    Answer { packed, failed: true }
                }
            });
        }
    }
}

fn replies(answers: &[(u64, Bytes)]) -> Vec<u8> {
    let mut start = Vec::with_capacity(8);
    start.array(answers.len());
    let mut body = Vec::with_capacity(answers.iter().map(|(_, answer)| answer.len() + 10).sum());
    for (number, answer) in answers {
        body.array(2).uint(*number).packed(answer);
    }
    let mut frame = Vec::with_capacity(body.len() + 16);
    frame.extend_from_slice(&head(kind::REPLIES, start.len() + body.len()));
    frame.packed(&start).packed(&body);
    frame
}

#[cfg(test)]
mod tests;
