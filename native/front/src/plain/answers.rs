//! What clients are answered.

use bytes::Bytes;
use muster_records::clock::Clock;
use muster_records::messages::{self, outcome};
use muster_records::pack::{Malformed, Reader};
use muster_records::plain as record;

use super::catalogue::Level;
use super::intent::unix_us;
use super::proto::Write;
use super::request::Request;
use super::LARGE_BYTES;
use crate::framing::framed;
use crate::storage::asking::Answers;
use crate::storage::spread::Ending;

/// The answer to a write or a deletion, which are alike.
pub fn written(request: &Request, ending: &Ending, level: Level) -> Option<Bytes> {
    let mut answer = Vec::with_capacity(96 + request.key.len() + ending.clock.len());
    answer.number(1, 1);
    answer.bytes(2, &request.key);
    answer.bytes(3, &request.idempotency_key);
    answer.message(4, &clock(&ending.clock).ok()?);
    answer.number(5, u64::from(ending.answered));
    answer.bytes(6, level.name().as_bytes());
    answer.number(10, ending.siblings as u64);
    framed(&answer)
}

/// What a write replaces that so many replicas have never heard of: what its client has `seen`, or
/// all that they hold. Nothing where any has heard of it, or where they hold different things.
pub fn replaced(answers: &Answers, least: usize, seen: Option<Clock>) -> Option<Clock> {
    if answers.good < least || answers.all.len() != answers.good {
        return None;
    }
    let mut held: Option<Clock> = None;
    for (_, packed) in &answers.all {
        let Ok(messages::Reply::Known(outcome::NEW, context)) = messages::Reply::read(packed)
        else {
            return None;
        };
        let context = Clock::read(&mut Reader::new(context)).ok()?;
        if *held.get_or_insert_with(|| context.clone()) != context && seen.is_none() {
            return None;
        }
    }
    seen.or(held)
}

/// The answer to a read, where so many replicas hold the same, and that is one value.
pub fn found(request: &Request, answers: &Answers, least: usize, slot: &[u8]) -> Option<Bytes> {
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
    use super::super::proto::{self, Field};
    use super::super::Kind;
    use super::*;
    use crate::storage::spread::Verdict;

    fn heard(said: &[(u64, &[(&'static str, u64)])]) -> Answers {
        let told = |(outcome, context): &(u64, &[(&'static str, u64)])| {
            let entries = context.iter().map(|(actor, counter)| (Bytes::from(*actor), *counter));
            (0, messages::known(*outcome, &Clock::default(), &entries.collect()))
        };
        Answers { all: said.iter().map(told).collect(), good: said.len() }
    }

    #[test]
    fn a_write_replaces_what_all_hold_that_have_not_heard_of_it() {
        let (one, other) = (&[("a", 1), ("b", 2)][..], &[("b", 2), ("a", 1)][..]);
        let clock = Clock::from_iter([(Bytes::from("a"), 1), (Bytes::from("b"), 2)]);
        let alike = heard(&[(outcome::NEW, one), (outcome::NEW, other)]);
        assert_eq!(replaced(&alike, 2, None), Some(clock));
        assert_eq!(replaced(&alike, 3, None), None);
        let unlike = heard(&[(outcome::NEW, one), (outcome::NEW, &[])]);
        assert_eq!(replaced(&unlike, 2, None), None);
        let seen = Clock::default();
        assert_eq!(replaced(&unlike, 2, Some(seen.clone())), Some(seen.clone()));
        for known in [outcome::DUPLICATE, outcome::CONFLICT] {
            let known = heard(&[(outcome::NEW, one), (known, one)]);
            assert_eq!(replaced(&known, 2, Some(seen.clone())), None);
        }
        let failure = messages::Failure::new(messages::code::NOT_READY, "why").packed;
        let failed = Answers { all: vec![(0, failure)], good: 0 };
        assert_eq!(replaced(&failed, 0, Some(seen)), None);
    }

    #[test]
    fn an_answer_to_a_write() {
        let message = Bytes::from_static(b"\x0a\x01t\x12\x01k\x2a\x01i");
        let asked = Request::read(Kind::Write, &message).unwrap();
        let ending = Ending {
            verdict: Verdict::Reached,
            outcome: 0,
            clock: Bytes::from_static(&[0x81, 0xa3, b'n', b'#', b'1', 7]),
            answered: 2,
            siblings: 1,
            record: Bytes::new(),
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
            (3, Field::Bytes("i".into())),
            (4, Field::Bytes(entry)),
            (5, Field::Varint(2)),
            (6, Field::Bytes("quorum".into())),
            (10, Field::Varint(1)),
        ];
        assert_eq!(told, expected);
    }
}
