//! What clients are answered.

use bytes::Bytes;
use muster_records::messages;
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
    answer.message(4, &clock(&ending.clock).ok()?);
    answer.number(5, u64::from(ending.answered));
    answer.bytes(6, level.name().as_bytes());
    answer.number(10, ending.siblings as u64);
    framed(&answer)
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

    #[test]
    fn an_answer_to_a_write() {
        let asked = Request::read(Kind::Write, &Bytes::from_static(b"\x0a\x01t\x12\x01k")).unwrap();
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
            (4, Field::Bytes(entry)),
            (5, Field::Varint(2)),
            (6, Field::Bytes("quorum".into())),
            (10, Field::Varint(1)),
        ];
        assert_eq!(told, expected);
    }
}
