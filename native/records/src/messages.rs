//! What storage nodes are asked and what they say; all of it is in `muster_kv.wire.messages`.

use bytes::Bytes;

use crate::clock::Clock;
use crate::pack::{Malformed, Pack, Reader};
use crate::record::Op;

pub(crate) mod tag {
    pub const TAKE: u64 = 1;
    pub const MERGE: u64 = 2;
    pub const GET: u64 = 4;
    pub const LOOKUP: u64 = 6;
    pub const FAILURE: u64 = 101;
    pub const TOOK: u64 = 102;
    pub const MERGED: u64 = 103;
    pub const FOUND: u64 = 104;
    pub const KNOWN: u64 = 106;
}

/// Why something was not done, or nobody knows; see `muster_kv.errors`.
pub mod code {
    pub const INTERNAL: i64 = 1;
    pub const STALE_RING: i64 = 2;
    pub const NOT_READY: i64 = 3;
    pub const DISK_FULL: i64 = 4;
    pub const TOO_LARGE: i64 = 5;
    pub const CORRUPT: i64 = 6;
    pub const OVERLOADED: i64 = 7;
    pub const INVALID: i64 = 8;
    pub const DEADLINE: i64 = 9;
    pub const UNAVAILABLE: i64 = 10;
    pub const BROKEN: i64 = 11;
    pub const TIMEOUT: i64 = 12;
}

/// What became of a write, as nodes number it.
pub mod outcome {
    pub const NEW: u64 = 0;
    pub const DUPLICATE: u64 = 1;
    pub const CONFLICT: u64 = 2;
}

/// Why records are merged; see `muster_kv.wire.messages.Cause`.
pub mod cause {
    /// They are client writes, which come before others.
    pub const WRITE: u64 = 0;
    pub const STREAM: u64 = 3;
}

/// What a request or an answer counts for beside what it carries.
pub const ENVELOPE_BYTES: usize = 64;

/// A request, but for its number, deadline and ring.
#[derive(Debug, Clone)]
pub enum Body {
    /// `intent` is packed already; `base` is a record to join first, or empty.
    Take {
        slot: Bytes,
        intent: Bytes,
        base: Bytes,
        unsynced: bool,
    },
    Merge {
        slot: Bytes,
        record: Bytes,
        unsynced: bool,
    },
    Get {
        slot: Bytes,
    },
    /// What is known of an operation that is asked for at a time.
    Lookup {
        slot: Bytes,
        op: Op,
        digest: Bytes,
        timestamp_us: u64,
    },
    /// Any other, packed already.
    Packed(Bytes),
}

impl Body {
    /// About how many bytes it has on the wire.
    pub fn weight(&self) -> usize {
        ENVELOPE_BYTES
            + match self {
                Self::Take { slot, intent, base, .. } => slot.len() + intent.len() + base.len(),
                Self::Merge { slot, record, .. } => slot.len() + record.len(),
                Self::Get { slot } | Self::Lookup { slot, .. } => slot.len(),
                Self::Packed(body) => body.len(),
            }
    }

    pub fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Take { slot, intent, base, unsynced } => {
                to.array(5).uint(tag::TAKE).bin(slot).packed(intent).bin(base).flag(*unsynced)
            }
            Self::Merge { slot, record, unsynced } => to
                .array(5)
                .uint(tag::MERGE)
                .bin(slot)
                .bin(record)
                .uint(cause::WRITE)
                .flag(*unsynced),
            Self::Get { slot } => to.array(2).uint(tag::GET).bin(slot),
            Self::Lookup { slot, op, digest, timestamp_us } => {
                to.array(5).uint(tag::LOOKUP).bin(slot).bin(op).bin(digest).uint(*timestamp_us)
            }
            Self::Packed(body) => to.packed(body),
        };
    }
}

/// What was not done; `packed` is all of it.
#[derive(Debug, Clone)]
pub struct Failure {
    pub code: i64,
    pub ring_version: u64,
    pub packed: Bytes,
}

impl Failure {
    pub fn new(code: i64, detail: &str) -> Self {
        Self::of_ring(code, detail, 0)
    }

    /// One that says which ring the node has.
    pub fn of_ring(code: i64, detail: &str, ring_version: u64) -> Self {
        let mut packed = Vec::with_capacity(detail.len() + 16);
        packed
            .array(4)
            .uint(tag::FAILURE)
            .uint(code.unsigned_abs())
            .text(detail)
            .uint(ring_version);
        Self { code, ring_version, packed: packed.into() }
    }

    /// Whether the request may have been done.
    pub fn unknown(&self) -> bool {
        matches!(self.code, code::BROKEN | code::TIMEOUT | code::INTERNAL)
    }
}

/// A write that was taken.
#[derive(Debug, Clone)]
pub struct Took {
    pub record: Bytes,
    pub outcome: u64,
    /// A packed map.
    pub clock: Bytes,
}

/// The packed answer to a take; `clock` is for its writer.
pub fn took(record: &[u8], outcome: u64, clock: &Clock) -> Bytes {
    let mut packed = Vec::with_capacity(record.len() + 64);
    packed.array(4).uint(tag::TOOK).bin(record).uint(outcome);
    clock.write(&mut packed);
    packed.into()
}

/// The packed answer to a merge: how many records were news.
pub fn merged(changed: u64) -> Bytes {
    let mut packed = Vec::with_capacity(4);
    packed.array(2).uint(tag::MERGED).uint(changed);
    packed.into()
}

/// The packed answer to a question for a record; empty where there is none.
pub fn found(record: &[u8]) -> Bytes {
    let mut packed = Vec::with_capacity(record.len() + 8);
    packed.array(2).uint(tag::FOUND).bin(record);
    packed.into()
}

/// The packed answer to a look-up of an operation; `clock` is what its writer was told.
pub fn known(outcome: u64, clock: &Clock, context: &Clock) -> Bytes {
    let mut packed = Vec::with_capacity(64);
    packed.array(4).uint(tag::KNOWN).uint(outcome);
    clock.write(&mut packed);
    context.write(&mut packed);
    packed.into()
}

/// An answer; what nobody here looks into stays packed.
#[derive(Debug, Clone)]
pub enum Reply {
    Failure(Failure),
    Took(Took),
    Merged,
    Found(Bytes),
    /// An operation's outcome, and the context of its key's record: a packed map.
    Known(u64, Bytes),
    Other,
}

impl Reply {
    /// Reads a packed answer. Elements that are not known follow those that are.
    pub fn read(packed: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(packed.clone());
        reader.array()?;
        Ok(match reader.uint()? {
            tag::FAILURE => {
                let code = reader.int()?;
                reader.skip()?;
                let ring_version = reader.uint()?;
                Self::Failure(Failure { code, ring_version, packed: packed.clone() })
            }
            tag::TOOK => Self::Took(Took {
                record: reader.bin()?,
                outcome: reader.uint()?,
                clock: reader.value()?,
            }),
            tag::MERGED => Self::Merged,
            tag::FOUND => Self::Found(reader.bin()?),
            tag::KNOWN => {
                let outcome = reader.uint()?;
                reader.skip()?;
                Self::Known(outcome, reader.value()?)
            }
            _ => Self::Other,
        })
    }

    /// The failure that this is where something else was asked for.
    pub fn unexpected(self) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            _ => Failure::new(code::INTERNAL, "an answer to something else"),
        }
    }
}

/// Whether a packed answer is a failure; what can't be read is one.
pub fn failed(packed: &Bytes) -> Option<Failure> {
    match Reply::read(packed) {
        Ok(Reply::Failure(failure)) => Some(failure),
        Ok(_) => None,
        Err(error) => Some(Failure::new(code::INTERNAL, &error.0)),
    }
}

/// The numbers and the packed answers of a frame.
pub fn replies(body: Bytes) -> Result<Vec<(u64, Bytes)>, Malformed> {
    let mut reader = Reader::new(body);
    let count = reader.array()?;
    // A frame that lies about it must not have us reserve for all that it names.
    let mut found = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        reader.array()?;
        found.push((reader.uint()?, reader.value()?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_and_may_be_longer_than_is_known() {
        let mut packed = Vec::new();
        packed.array(5).uint(102).bin(b"record").uint(1).packed(&[0x81, 0xa1, b'a', 7]).uint(9);
        let Ok(Reply::Took(took)) = Reply::read(&packed.into()) else { panic!("it took") };
        assert_eq!((took.record, took.outcome), ("record".into(), 1));
        assert_eq!(took.clock, [0x81, 0xa1, b'a', 7][..]);
        let failure = Failure::new(code::BROKEN, "why");
        assert!(failure.unknown());
        assert_eq!(failed(&failure.packed).map(|found| found.code), Some(code::BROKEN));
        assert!(failed(&Bytes::from_static(&[0x91, 103])).is_none());
        assert!(failed(&Bytes::from_static(&[0x91])).is_some());
    }

    #[test]
    fn a_frame_of_answers_is_cut() {
        let mut body = Vec::new();
        body.array(2).array(2).uint(4).packed(&[0x91, 103]).array(2).uint(5).packed(&[0x91, 112]);
        let found = replies(body.into()).unwrap();
        assert_eq!(found[0], (4, Bytes::from_static(&[0x91, 103])));
        assert_eq!(found[1].0, 5);
        assert!(replies(Bytes::from_static(&[0xdd, 0xff, 0xff, 0xff, 0xff])).is_err());
    }
}
