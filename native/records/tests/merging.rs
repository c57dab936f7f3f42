//! Joining records is a join, and taking a write keeps what its writer did not know of.
//!
//! `packages/muster-kv/tests` has more of this, with a model of whole clusters.

use bytes::Bytes;
use muster_records::clock::{Clock, Dot};
use muster_records::memory::LWW;
use muster_records::merging::{clock_of, knows, merge, take, Intent, Outcome};
use muster_records::pack::Reader;
use muster_records::record::{value_digest, Op, Record, Version};

const ACTORS: [&str; 3] = ["a", "b", "c"];

/// Numbers that look random and are the same each time (Knuth's MMIX constants).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn op(number: u64, keyed: bool) -> Op {
    let mut op = [number as u8; 16];
    op[0] = if keyed { 0x80 } else { 0 };
    op
}

fn intent(number: u64, timestamp_us: u64, context: Option<Clock>) -> Intent {
    Intent {
        op: op(number, false),
        value: Some(Bytes::from(vec![number as u8])),
        timestamp_us,
        context,
        expires_at_us: 0,
        digest: Bytes::new(),
        remember_until_us: 0,
    }
}

fn keyed(number: u64, timestamp_us: u64) -> Intent {
    let value = Some(Bytes::from(vec![number as u8]));
    let digest = Bytes::copy_from_slice(&value_digest(value.as_deref()));
    let remember_until_us = timestamp_us + 1000;
    Intent { op: op(number, true), digest, remember_until_us, ..intent(number, timestamp_us, None) }
}

fn taken(record: &Record, intent: &Intent, actor: &str) -> Record {
    let taken = take(record, intent, &Bytes::copy_from_slice(actor.as_bytes()), 0).unwrap();
    taken.record.unwrap_or_else(|| record.clone())
}

fn joined(ours: &Record, theirs: &Record) -> Record {
    merge(ours, theirs).record(ours.clone(), theirs.clone())
}

/// What three replicas hold after a history: each step takes an operation, again perhaps, or joins.
fn replay(numbers: &mut Numbers) -> Vec<Record> {
    let mut replicas = vec![Record::default(); ACTORS.len()];
    for at in 1..=25 {
        let (one, other) = (numbers.below(3) as usize, numbers.below(3) as usize);
        let number = numbers.below(8);
        replicas[one] = match numbers.below(4) {
            0 => joined(&replicas[one], &replicas[other]),
            1 if number % 2 == 0 => taken(&replicas[one], &keyed(number, at), ACTORS[one]),
            1 => taken(&replicas[one], &intent(number, at, None), ACTORS[one]),
            2 => {
                // What the other had seen of this one's is no more than it made.
                let context = Some(replicas[other].context.clone());
                taken(&replicas[one], &intent(number, at, context), ACTORS[one])
            }
            _ => taken(&replicas[one], &intent(number, at, Some(Clock::default())), ACTORS[one]),
        };
    }
    replicas
}

#[test]
fn joining_is_a_join_whatever_the_history() {
    let mut numbers = Numbers(1);
    for _ in 0..2000 {
        let replicas = replay(&mut numbers);
        let [a, b, c] = &replicas[..] else { panic!("three replicas") };
        assert_eq!(joined(a, a), *a);
        let ab = joined(a, b);
        assert_eq!(ab, joined(b, a));
        assert_eq!(joined(&ab, b), ab);
        assert_eq!(joined(&ab, c), joined(a, &joined(b, c)));
        assert!(ab.context.descends(&a.context) && ab.context.descends(&b.context));
    }
}

#[test]
fn writers_who_did_not_know_of_each_other_stay_side_by_side() {
    let empty = Record::default();
    let (a, b) = (
        taken(&empty, &intent(1, 5, Some(Clock::default())), "a"),
        taken(&empty, &intent(2, 6, Some(Clock::default())), "b"),
    );
    let both = joined(&a, &b);
    assert_eq!(both.versions.len(), 2);
    let after = taken(&both, &intent(3, 1, Some(both.context.clone())), "a");
    // Later than all that it replaces.
    assert_eq!((after.versions.len(), after.versions[0].timestamp_us), (1, 7));
    assert_eq!(joined(&after, &b), after);
}

#[test]
fn an_operation_that_two_took_dies_as_one() {
    let a = taken(&Record::default(), &intent(1, 5, None), "a");
    let b = taken(&Record::default(), &intent(1, 5, None), "b");
    let gone = taken(&a, &intent(2, 9, None), "a");
    let all = joined(&gone, &b);
    assert_eq!(all.versions.len(), 1);
    assert_eq!(all.versions[0].op, op(2, false));
}

#[test]
fn an_operation_is_known_again_and_another_value_is_not_it() {
    let first = keyed(1, 5);
    let record = taken(&Record::default(), &first, "a");
    assert_eq!(knows(&record, &first), Outcome::Duplicate);
    let other = Intent { digest: Bytes::from_static(&[1; 16]), ..first.clone() };
    assert_eq!(knows(&record, &other), Outcome::Conflict);
    let late = Intent { timestamp_us: first.remember_until_us, ..first.clone() };
    assert_eq!(knows(&record, &late), Outcome::New);
    let again = take(&record, &first, &Bytes::from("b"), 0).unwrap();
    assert_eq!((again.outcome, again.record), (Outcome::Duplicate, None));
    assert_eq!(again.clock, clock_of(&record, &first.op));
}

#[test]
fn a_context_can_not_name_what_was_never_made() {
    let record = taken(&Record::default(), &intent(1, 5, None), "a");
    let claimed = |counter| [(Bytes::from("a"), counter)].into_iter().collect();
    let wanted = |counter| intent(2, 6, Some(claimed(counter)));
    assert!(take(&record, &wanted(1), &Bytes::from("a"), 0).is_ok());
    let refused = take(&record, &wanted(2), &Bytes::from("a"), 0).unwrap_err();
    assert_eq!(refused.0, "context: a has counter 2; allowed: at most 1, the last one made");
    assert!(take(&record, &wanted(2), &Bytes::from("a"), 2).is_ok());
}

#[test]
fn an_intent_that_is_written_is_read() {
    let context = Some([(Bytes::from("a"), 300)].into_iter().collect());
    let deletion = Intent { value: None, expires_at_us: 9, context, ..keyed(1, 1 << 50) };
    for intent in [intent(1, 5, None), intent(1, 5, Some(Clock::default())), deletion] {
        let mut data = Vec::new();
        intent.write(&mut data);
        assert_eq!(Intent::read(&mut Reader::new(data.into())), Ok(intent));
    }
}

#[test]
fn of_two_writes_in_one_microsecond_the_greater_operation_wins() {
    let written = |number: u64| {
        let actor = Bytes::from_static(LWW);
        let version = Version {
            dot: Dot { actor: actor.clone(), counter: 5 },
            value: Some(Bytes::from(vec![number as u8])),
            timestamp_us: 5,
            op: op(number, false),
            expires_at_us: 0,
        };
        let context = [(actor, 5)].into_iter().collect();
        Record { versions: vec![version], context, ..Record::default() }
    };
    let (one, two) = (written(1), written(2));
    assert_eq!(joined(&one, &two), two);
    assert_eq!(joined(&two, &one), two);
}
