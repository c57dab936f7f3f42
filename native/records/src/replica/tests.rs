//! Batches on one key.

use super::*;
use crate::clock::Clock;
use crate::messages::{Reply, Took};
use crate::record::Op;

const SLOT: Bytes = Bytes::from_static(b"\x80\0\0\0\0\0\0\0t\0k");

fn replica(held: Option<Bytes>) -> Replica {
    let mut replica = Replica::new(Whom {
        actor: "n#1".into(),
        spare: "n#2".into(),
        floor: 4,
        horizon: vec![(0, 0), (1 << 63, 100)],
    });
    replica.load(SLOT, held);
    replica
}

fn intent(number: u8, context: Option<Clock>) -> Intent {
    Intent {
        op: [number; 16],
        value: Some(Bytes::from(vec![number])),
        timestamp_us: 1000,
        context,
        expires_at_us: 0,
        digest: Bytes::new(),
        remember_until_us: 0,
    }
}

fn took(answer: &Result<Bytes, Failure>) -> Took {
    match answer.as_ref().map(Reply::read) {
        Ok(Ok(Reply::Took(took))) => took,
        other => panic!("{other:?}"),
    }
}

fn refused(answer: &Result<Bytes, Failure>) -> i64 {
    answer.as_ref().expect_err("it is refused").code
}

fn taken(replica: &mut Replica, number: u8) -> Bytes {
    took(&replica.take(&SLOT, &intent(number, None), &Bytes::new())).record
}

#[test]
fn requests_for_one_key_apply_one_after_the_other() {
    let mut replica = replica(None);
    taken(&mut replica, 1);
    let last = taken(&mut replica, 2);
    let changes: Vec<_> = replica.changes().collect();
    assert_eq!(changes, [(&SLOT, Some(&last))]);
    assert_eq!(replica.totals(), (1, last.len() as i64));
    let record = decode(&last, &SLOT).unwrap();
    // The floor is above what the first dot would have been.
    assert_eq!((record.versions.len(), record.context.get(b"n#1")), (1, 6));
    // It happened before: nothing changes.
    let again = took(&replica.take(&SLOT, &intent(1, None), &Bytes::new()));
    assert_eq!((again.record, again.outcome), (last, 1));
}

#[test]
fn a_record_that_replaces_what_is_held_stays_as_it_came() {
    let mut first = replica(None);
    let old = taken(&mut first, 1);
    let new = taken(&mut first, 2);
    let mut other = replica(Some(old.clone()));
    assert_eq!(other.join(&SLOT, &new), Ok(true));
    assert_eq!(other.join(&SLOT, &old), Ok(false));
    assert_eq!(other.data(&SLOT), Ok(Some(&new)));
    assert_eq!(other.totals(), (0, new.len() as i64 - old.len() as i64));
    assert_eq!(other.data(b"another"), Err(Unloaded));
}

#[test]
fn what_died_before_the_horizon_is_not_taken_in() {
    let mut deleting = replica(None);
    let gone = Intent { value: None, timestamp_us: 50, ..intent(1, None) };
    let dead = took(&deleting.take(&SLOT, &gone, &Bytes::new())).record;
    let mut empty = replica(None);
    assert_eq!(empty.join(&SLOT, &dead), Ok(false));
    empty.forget_before(vec![(0, 100), (1 << 63, 0)]);
    assert_eq!(empty.join(&SLOT, &dead), Ok(true));
}

#[test]
fn a_damaged_record_is_mended_by_a_peers_and_another_actor_goes_on() {
    let whole = taken(&mut replica(None), 1);
    let mut damaged = replica(Some(Bytes::from_static(b"\xff")));
    let answer = damaged.take(&SLOT, &intent(2, None), &Bytes::new());
    assert_eq!((refused(&answer), damaged.corrupted()), (code::CORRUPT, 1));
    assert_eq!(damaged.join(&SLOT, &whole), Ok(true));
    assert!(damaged.renewed());
    let record = decode(&taken(&mut damaged, 3), &SLOT).unwrap();
    assert_eq!((record.context.get(b"n#1"), record.context.get(b"n#2")), (5, 5));
    assert!(damaged.join(&SLOT, &Bytes::from_static(b"\xff")).is_err());
}

#[test]
fn a_record_that_goes_raises_the_floor() {
    let mut forgetting = replica(None);
    taken(&mut forgetting, 1);
    forgetting.forget(&SLOT);
    assert_eq!((forgetting.floor(), forgetting.totals()), (5, (0, 0)));
    assert_eq!(forgetting.changes().collect::<Vec<_>>(), [(&SLOT, None)]);
    let again = decode(&taken(&mut forgetting, 1), &SLOT).unwrap();
    assert_eq!(again.context.get(b"n#1"), 6);
}

#[test]
fn what_is_answered_knows_the_operation() {
    let mut elsewhere = replica(None);
    let base = taken(&mut elsewhere, 1);
    let mut empty = replica(None);
    let answer = took(&empty.take(&SLOT, &intent(1, Some(Clock::default())), &base));
    assert_eq!((answer.outcome, &answer.record), (1, &base));
    assert_eq!(empty.changes().count(), 1);
}

#[test]
fn too_many_siblings_and_contexts_that_claim_too_much_are_refused() {
    let mut replica = replica(None);
    for number in 0..=SIBLINGS {
        let op: Op = [number as u8; 16];
        let wanted = Intent { op, ..intent(0, Some(Clock::default())) };
        let answer = replica.take(&SLOT, &wanted, &Bytes::new());
        if number == SIBLINGS {
            assert_eq!(refused(&answer), code::TOO_LARGE);
        } else {
            assert_eq!(took(&answer).outcome, 0);
        }
    }
    let claimed = [(Bytes::from_static(b"n#1"), 1 << 40)].into_iter().collect();
    let answer = replica.take(&SLOT, &intent(0x7f, Some(claimed)), &Bytes::new());
    assert_eq!(refused(&answer), code::INVALID);
    let value = Some(Bytes::from(vec![0; VALUE_BYTES + 1]));
    let large = Intent { value, ..intent(0x7e, None) };
    assert_eq!(refused(&replica.take(&SLOT, &large, &Bytes::new())), code::TOO_LARGE);
}

#[test]
fn siblings_that_no_answer_could_hold_are_refused() {
    let mut replica = replica(None);
    let value = Some(Bytes::from(vec![0; VALUE_BYTES]));
    let large = |number, context| Intent { value: value.clone(), ..intent(number, context) };
    let nothing = || Some(Clock::default());
    for number in 1..3 {
        let answer = replica.take(&SLOT, &large(number, nothing()), &Bytes::new());
        assert_eq!(took(&answer).outcome, 0);
    }
    for answer in [
        replica.take(&SLOT, &large(3, nothing()), &Bytes::new()),
        replica.take(&SLOT, &intent(4, nothing()), &Bytes::new()),
    ] {
        assert_eq!(refused(&answer), code::TOO_LARGE);
    }
    assert_eq!(took(&replica.take(&SLOT, &large(5, None), &Bytes::new())).outcome, 0);
}

#[test]
fn what_was_not_loaded_is_refused() {
    let mut replica = replica(None);
    let slot = Bytes::from_static(b"\x80\0\0\0\0\0\0\0t\0l");
    let theirs = encode(&Record::default(), &slot);
    assert!(replica.join(&slot, &theirs).is_err());
    assert_eq!(refused(&replica.take(&slot, &intent(1, None), &Bytes::new())), code::CORRUPT);
    assert!(replica.changes().next().is_none() && !replica.renewed());
}
