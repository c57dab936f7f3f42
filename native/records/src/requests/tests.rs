//! Frames in, batches done, frames out.

use bytes::BytesMut;

use super::*;
use crate::frames::{cut, MAX_FRAME_BYTES};
use crate::messages::{outcome, Body, Reply};
use crate::replica::Whom;

const SLOT: Bytes = Bytes::from_static(b"\0\0\0\0\0\0\0\x01t\0k");

fn packed(body: &Body) -> Vec<u8> {
    let mut packed = Vec::new();
    body.write(&mut packed);
    packed
}

fn take(number: u8) -> Vec<u8> {
    let mut intent = Vec::new();
    intent.array(7).bin(&[number; 16]).bin(b"v").uint(5).nil().uint(0).bin(b"").uint(0);
    let (slot, base) = (SLOT, Bytes::new());
    packed(&Body::Take { slot, intent: intent.into(), base, unsynced: false })
}

/// A take of an operation that its client named, with the digest `digest`.
fn keyed(number: u8) -> Vec<u8> {
    let mut intent = Vec::new();
    intent.array(7).bin(&[number; 16]).bin(b"w").uint(5).nil().uint(0).bin(b"digest").uint(9);
    let (slot, base) = (SLOT, Bytes::new());
    packed(&Body::Take { slot, intent: intent.into(), base, unsynced: false })
}

/// A frame sent at 1000, of requests numbered from 0 that may take until 2000.
fn frame(bodies: &[Vec<u8>], ring_version: u64) -> Frame {
    let mut data = Vec::new();
    data.array(2).uint(1000).array(bodies.len());
    for (number, body) in bodies.iter().enumerate() {
        data.array(4).uint(number as u64).uint(2000).uint(ring_version).packed(body);
    }
    Frame::read(data.into()).unwrap()
}

fn writes(bodies: &[Vec<u8>], ring_version: u64) -> Batch {
    let mut batch = Batch::default();
    batch.add(7, 100, &mut frame(bodies, ring_version).writes, ALL);
    batch
}

fn replica() -> Replica {
    let horizon = vec![(0, 0)];
    let (actor, spare) = ("n#1".into(), "n#2".into());
    let mut replica = Replica::new(Whom { actor, spare, floor: 0, horizon });
    replica.load(SLOT, None);
    replica
}

/// Numbers and answers in the frames of a batch.
fn answers(batch: &mut Batch) -> Vec<(u64, Reply)> {
    let mut found = Vec::new();
    for (connection, frame) in batch.frames() {
        assert_eq!(connection, 7);
        let mut data = BytesMut::from(&frame[..]);
        let (kind, body) = cut(&mut data, MAX_FRAME_BYTES).unwrap().unwrap();
        assert!(kind == kind::REPLIES && data.is_empty());
        let replies = messages::replies(body).unwrap().into_iter();
        found.extend(replies.map(|(number, packed)| (number, Reply::read(&packed).unwrap())));
    }
    found
}

fn codes(batch: &mut Batch) -> Vec<i64> {
    let failed = |(_, reply): (u64, Reply)| match reply {
        Reply::Failure(failure) => failure.code,
        _ => 0,
    };
    answers(batch).into_iter().map(failed).collect()
}

#[test]
fn frames_are_taken_apart_by_what_they_ask() {
    let (slot, record) = (SLOT, Bytes::from("r"));
    let merge = packed(&Body::Merge { slot, record, unsynced: true });
    let stat = vec![0x91, 11];
    let found = frame(&[take(1), packed(&Body::Get { slot: SLOT }), stat.clone(), merge], 3);
    assert_eq!((found.sent_us, found.writes.len(), found.reads.len()), (1000, 2, 1));
    assert_eq!((found.others[0].number, &found.others[0].body[..]), (2, &stat[..]));
    let asked = &found.writes[1];
    assert_eq!((asked.number, asked.deadline_us, asked.ring_version), (3, 2000, 3));
    assert!(!asked.body.synced() && found.writes[0].body.synced());
    let old = Plain::read(&vec![0x93, 2, 0xc4, 0, 0xc4, 0].into()).unwrap();
    assert!(matches!(old, Some(Plain::Merge { cause: cause::WRITE, unsynced: false, .. })));
    assert!(Frame::read(Bytes::from_static(&[0x92, 1, 0x91, 0x94, 1, 1, 1, 0x91, 1])).is_ok());
    assert!(Frame::read(Bytes::from_static(&[0x91, 1])).is_err());
}

#[test]
fn a_batch_is_done_and_answered() {
    let mut batch = writes(&[take(1), take(2)], 0);
    let mut replica = replica();
    batch.judge(&Rules::default(), 1500);
    assert_eq!((batch.slots().count(), batch.synced(), batch.kinds()), (2, true, (2, 0, 0, 0)));
    batch.apply(&mut replica, 1500);
    assert!(batch.failures().is_empty());
    assert_eq!(codes(&mut batch), [0, 0]);
    assert_eq!(replica.changes().count(), 1);
}

#[test]
fn what_comes_late_is_not_done() {
    let mut batch = writes(&[take(1)], 0);
    batch.judge(&Rules::default(), 2100);
    assert_eq!(codes(&mut batch), [code::DEADLINE]);
    let mut batch = writes(&[take(1)], 0);
    batch.judge(&Rules::default(), 2099);
    batch.apply(&mut replica(), 2101);
    assert_eq!(codes(&mut batch), [code::DEADLINE]);
}

#[test]
fn what_is_against_the_rules_is_refused() {
    let why = || Some(String::from("why"));
    let of = |rules: Rules, ring_version| {
        let (slot, record) = (SLOT, Bytes::from_static(&[0; 9]));
        let merge = packed(&Body::Merge { slot, record, unsynced: false });
        let mut batch = writes(&[take(1), merge], ring_version);
        batch.judge(&rules, 0);
        batch.apply(&mut replica(), 0);
        codes(&mut batch)
    };
    let damaged = code::CORRUPT;
    assert_eq!(of(Rules::default(), 0), [0, damaged]);
    assert_eq!(of(Rules { not_ready: why(), ..Rules::default() }, 0), [code::NOT_READY; 2]);
    let ring = Rules { ring_version: 4, ..Rules::default() };
    assert_eq!(of(ring.clone(), 3), [code::STALE_RING; 2]);
    assert_eq!(of(ring, 0), [0, damaged]);
    let unfilled = Rules { unfilled: why(), ..Rules::default() };
    assert_eq!(of(unfilled.clone(), 3), [code::NOT_READY, damaged]);
    assert_eq!(of(unfilled, 0), [0, damaged]);
    assert_eq!(of(Rules { full: why(), ..Rules::default() }, 0), [code::DISK_FULL; 2]);
    let large = Rules { large: why().map(|why| (9, why)), ..Rules::default() };
    assert_eq!(of(large, 0), [0, code::DISK_FULL]);
}

#[test]
fn what_did_not_become_durable_fails() {
    let mut batch = writes(&[take(1), vec![0x93, 2, 0xc4, 0, 0xc4, 0]], 0);
    let mut replica = replica();
    replica.load(Bytes::new(), None);
    batch.apply(&mut replica, 0);
    batch.fail(code::DISK_FULL, "no space");
    let failures: Vec<_> = batch.failures().clone().into_iter().collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(codes(&mut batch), [code::DISK_FULL; 2]);
}

#[test]
fn look_ups_are_answered_and_damage_is_not_shown() {
    let get = packed(&Body::Get { slot: SLOT });
    let mut batch = Batch::default();
    batch.add(7, 0, &mut frame(&[get.clone(), get], 0).reads, ALL);
    let mut first = batch.first(1);
    let held = HashMap::from([(SLOT, Some(Bytes::from_static(b"\xff")))]);
    assert_eq!(first.find(&held), 1);
    assert_eq!(codes(&mut first), [code::CORRUPT]);
    assert_eq!((batch.len(), batch.find(&HashMap::from([(SLOT, None)]))), (1, 0));
    assert!(matches!(&answers(&mut batch)[..], [(1, Reply::Found(data))] if data.is_empty()));
}

#[test]
fn an_operation_is_looked_up_in_what_is_held() {
    let mut batch = writes(&[take(1), keyed(7)], 0);
    let mut replica = replica();
    batch.apply(&mut replica, 0);
    let held: HashMap<_, _> =
        replica.changes().map(|(slot, data)| (slot.clone(), data.cloned())).collect();
    let context: Clock = [(Bytes::from("n#1"), 2)].into_iter().collect();
    let told = |number: u8, digest: &'static [u8], held: &HashMap<_, _>| {
        let (op, digest) = ([number; 16], Bytes::from_static(digest));
        let lookup = packed(&Body::Lookup { slot: SLOT, op, digest, timestamp_us: 6 });
        let mut batch = Batch::default();
        batch.add(7, 0, &mut frame(&[lookup], 0).reads, ALL);
        assert_eq!((batch.kinds(), batch.synced()), ((0, 0, 0, 1), false));
        let corrupted = batch.find(held);
        match answers(&mut batch).remove(0).1 {
            Reply::Known(outcome, packed) => {
                Ok((outcome, Clock::read(&mut Reader::new(packed)).unwrap()))
            }
            _ => Err(corrupted),
        }
    };
    assert_eq!(told(7, b"digest", &held), Ok((outcome::DUPLICATE, context.clone())));
    assert_eq!(told(7, b"other", &held), Ok((outcome::CONFLICT, context.clone())));
    assert_eq!(told(8, b"digest", &held), Ok((outcome::NEW, context)));
    let nothing = HashMap::from([(SLOT, None)]);
    assert_eq!(told(7, b"digest", &nothing), Ok((outcome::NEW, Clock::default())));
    let damaged = HashMap::from([(SLOT, Some(Bytes::from_static(b"\xff")))]);
    assert_eq!(told(7, b"digest", &damaged), Err(1));
}

#[test]
fn answers_fill_frames_and_those_who_left_get_none() {
    let mut batch = writes(&[take(1), take(2), take(3)], 0);
    batch.add(8, 0, &mut frame(&[take(4)], 0).writes, ALL);
    batch.leave(&[8]);
    assert_eq!(batch.len(), 3);
    assert_eq!(batch.first(2).len(), 2);
    assert_eq!(batch.weight(), 64 + SLOT.len() + 1);
    // Nobody answered them.
    assert_eq!(codes(&mut batch), [code::INTERNAL]);
}

#[test]
fn what_there_is_no_room_for_stays() {
    let mut asked = frame(&[take(1), take(2), take(3), take(4)], 0).writes;
    let weight = asked[0].body.weight();
    let mut batch = Batch::default();
    batch.add(7, 0, &mut asked, (0, 9 * weight));
    assert_eq!((batch.len(), asked.len()), (0, 4));
    batch.add(7, 0, &mut asked, (1, 9 * weight));
    assert_eq!((batch.len(), batch.weight(), asked[0].number), (1, weight, 1));
    // The one that goes beyond it is still taken.
    batch.add(7, 0, &mut asked, (9, weight));
    assert_eq!((batch.len(), batch.weight(), asked.len()), (3, 3 * weight, 1));
    batch.add(7, 0, &mut asked, ALL);
    assert_eq!((batch.len(), asked.len()), (4, 0));
}
