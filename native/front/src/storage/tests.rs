//! Writes and questions, with replicas that say what each test wants.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::asking::{Answers, Asking};
use super::hub::{Ended, Event, Hub, Listener};
use super::quorum::{Group, Quorum, Set};
use super::spread::{Ending, Spread, Verdict, Way};
use muster_records::clock::Dot;
use muster_records::frames::{cut, MAX_FRAME_BYTES};
use muster_records::messages::{code, Body, Failure};
use muster_records::pack::{Pack, Reader};
use muster_records::record::{encode, Record, Version};

const HEDGE: Duration = Duration::from_millis(50);
const SLOT: &[u8] = b"slot";
const TAKE: u64 = 1;
const MERGE: u64 = 2;
const GET: u64 = 4;

struct World {
    hub: Hub,
    now: Instant,
    events: Vec<Event>,
}

impl World {
    /// Nodes that are connected and serve.
    fn new(nodes: usize) -> Self {
        let now = Instant::now();
        let mut world = Self { hub: Hub::new(now, HEDGE), now, events: Vec::new() };
        for node in 0..nodes {
            world.hub.open(&format!("s-{node}"), String::new());
            world.hub.link(node);
            world.hub.nodes[node].healthy = true;
        }
        world.hub.events.clear();
        world
    }

    fn way(&self, writers: usize, second: Option<Group>) -> Way {
        let first = Group { members: 0b111, needed: 2 };
        Way {
            ring_version: 1,
            writers: (0..writers).collect(),
            natural: 3,
            quorum: Quorum::new(first, second),
            slot: Bytes::from_static(SLOT),
            end: self.now + Duration::from_secs(5),
            unsynced: false,
        }
    }

    fn take(&mut self, way: Way, blind: bool, late: Set) -> u64 {
        let (spread, now) = (Spread::new(way, Listener::Events), self.now);
        let number = self.hub.spread(spread, |spread, hub, number| {
            let intent = Bytes::from_static(&[0x90]);
            spread.take(hub, number, (intent, blind), Bytes::new(), late, now);
        });
        self.settle();
        number
    }

    fn ask(&mut self, least: usize) -> u64 {
        let body = Body::Get { slot: Bytes::from_static(SLOT) };
        let (end, to) = (self.now + Duration::from_secs(5), Listener::Events);
        let asking = Asking::new(&self.hub, vec![0, 1, 2], body, 1, least, end, to);
        let number = self.hub.ask(asking, self.now);
        self.settle();
        number
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hub.tick(self.now);
        self.settle();
    }

    fn settle(&mut self) {
        self.hub.settle(self.now);
        self.events.append(&mut self.hub.events);
    }

    /// The numbers and kinds of the requests that have been sent to a node by now.
    fn sent(&mut self, node: usize) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for frame in self.hub.nodes[node].frames(0) {
            let mut data = BytesMut::from(&frame[..]);
            let (_, body) = cut(&mut data, MAX_FRAME_BYTES).unwrap().unwrap();
            let mut reader = Reader::new(body);
            reader.array().unwrap();
            reader.skip().unwrap();
            for _ in 0..reader.array().unwrap() {
                let mut request = Reader::new(reader.value().unwrap());
                request.array().unwrap();
                let number = request.uint().unwrap();
                request.skip().unwrap();
                request.skip().unwrap();
                request.array().unwrap();
                found.push((number, request.uint().unwrap()));
            }
        }
        found
    }

    /// Answers the one request that has been sent to a node, which is of a kind.
    fn says(&mut self, node: usize, kind: u64, packed: Bytes) {
        let [(number, found)] = self.sent(node)[..] else { panic!("s-{node} is asked once") };
        assert_eq!(found, kind);
        self.hub.reply(node, number, packed, self.now);
        self.settle();
    }

    fn ending(&mut self, number: u64) -> Option<Ending> {
        let at = self.events.iter().position(
            |event| matches!(event, Event::Ended { number: other, .. } if *other == number),
        )?;
        match self.events.remove(at) {
            Event::Ended { ended: Ended::Spread(ending), .. } => Some(ending),
            _ => None,
        }
    }

    fn answers(&mut self, number: u64) -> Option<Answers> {
        let at = self.events.iter().position(
            |event| matches!(event, Event::Ended { number: other, .. } if *other == number),
        )?;
        match self.events.remove(at) {
            Event::Ended { ended: Ended::Asked(answers), .. } => Some(answers),
            _ => None,
        }
    }

    /// Who misses what who has.
    fn missed(&self) -> Vec<(&str, &str)> {
        let missed = |event: &'_ Event| matches!(event, Event::Missed { .. });
        let found = self.events.iter().filter(|event| missed(event));
        found
            .filter_map(|event| match event {
                Event::Missed { target, holder, .. } => Some((&**target, &**holder)),
                _ => None,
            })
            .collect()
    }
}

fn record() -> Bytes {
    let version = Version {
        dot: Dot { actor: "n#1".into(), counter: 1 },
        value: Some("v".into()),
        timestamp_us: 5,
        op: [7; 16],
        expires_at_us: 0,
    };
    encode(&Record { versions: vec![version], ..Record::default() }, SLOT)
}

fn took(outcome: u64) -> Bytes {
    let mut packed = Vec::new();
    packed.array(4).uint(102).bin(&record()).uint(outcome).packed(&[0x80]);
    packed.into()
}

fn merged() -> Bytes {
    Bytes::from_static(&[0x92, 103, 1])
}

fn found() -> Bytes {
    Bytes::from_static(&[0x92, 104, 0xc4, 0])
}

/// A reason for which a node did not do it.
fn refusal(code: i64) -> Bytes {
    Failure::new(code, "as the test wants").packed
}

const NOT_READY: i64 = 3;

#[test]
fn one_replica_takes_a_write_and_the_others_merge_it() {
    let mut world = World::new(3);
    let number = world.take(world.way(3, None), true, 0);
    assert!(world.sent(1).is_empty() && world.sent(2).is_empty());
    world.says(0, TAKE, took(0));
    assert!(world.ending(number).is_none());
    world.says(1, MERGE, merged());
    let ending = world.ending(number).unwrap();
    assert_eq!((ending.verdict, ending.answered, ending.siblings), (Verdict::Reached, 2, 1));
    assert_eq!(ending.acked, [0, 1]);
    // What comes after it makes hints.
    world.says(2, MERGE, refusal(NOT_READY));
    assert_eq!(world.missed(), [("s-2", "s-0")]);
    assert!(world.ending(number).is_none());
}

#[test]
fn a_write_that_all_refuse_did_not_happen() {
    for (late, unsure) in [(0, false), (0b1, true)] {
        let mut world = World::new(3);
        let number = world.take(world.way(3, None), true, late);
        for node in if late == 0 { [0, 1, 2] } else { [1, 2, 0] } {
            world.says(node, TAKE, refusal(NOT_READY));
        }
        let ending = world.ending(number).unwrap();
        assert_eq!((ending.verdict, ending.unsure), (Verdict::Short, unsure));
        assert_eq!(ending.failures.len(), 3);
    }
}

#[test]
fn nothing_is_done_after_a_blind_take_before_its_fence_has_passed() {
    let mut world = World::new(3);
    let number = world.take(world.way(3, None), true, 0);
    assert_eq!(world.sent(0).len(), 1);
    world.hub.unlink(0, "cut".into());
    world.settle();
    world.pass(Duration::from_millis(240));
    assert!(world.ending(number).is_none());
    world.pass(Duration::from_millis(20));
    let ending = world.ending(number).unwrap();
    assert_eq!((ending.verdict, ending.unsure), (Verdict::Unsure(0), true));
    assert!(world.sent(1).is_empty() && world.sent(2).is_empty());
}

#[test]
fn a_take_that_says_what_it_replaces_need_not_wait() {
    let mut world = World::new(3);
    let number = world.take(world.way(3, None), false, 0);
    world.says(0, TAKE, refusal(code::INTERNAL));
    assert_eq!(world.ending(number).unwrap().verdict, Verdict::Unsure(0));
}

#[test]
fn a_taker_that_is_late_is_asked_last_for_a_while() {
    let mut world = World::new(3);
    let number = world.take(world.way(3, None), true, 0);
    assert_eq!(world.sent(0).len(), 1);
    world.pass(Duration::from_millis(260));
    assert_eq!(world.ending(number).unwrap().verdict, Verdict::Unsure(0));
    world.take(world.way(3, None), true, 0);
    assert!(world.sent(0).is_empty());
    assert_eq!(world.sent(1).len(), 1);
}

#[test]
fn what_was_never_sent_is_taken_by_another_at_once() {
    let mut world = World::new(3);
    world.take(world.way(3, None), true, 0);
    world.hub.unlink(0, "cut".into());
    world.settle();
    assert_eq!(world.sent(1).len(), 1);
}

#[test]
fn a_newer_ring_ends_it_and_what_is_made_goes_on() {
    let mut world = World::new(3);
    let number = world.take(world.way(3, None), true, 0);
    world.says(0, TAKE, refusal(code::STALE_RING));
    let ending = world.ending(number).unwrap();
    assert_eq!((ending.verdict, ending.unsure), (Verdict::Stale, false));
    assert!(ending.record.is_empty());
    let number = world.take(world.way(3, None), true, 0);
    world.says(0, TAKE, took(0));
    world.says(1, MERGE, refusal(code::STALE_RING));
    world.says(2, MERGE, refusal(NOT_READY));
    let ending = world.ending(number).unwrap();
    assert_eq!((ending.verdict, ending.unsure), (Verdict::Stale, true));
    assert_eq!(ending.record, record());
}

#[test]
fn conflicts_and_refusals_end_it() {
    for (said, verdict) in [
        (took(2), Verdict::Conflict),
        (refusal(code::INVALID), Verdict::Refused),
        (refusal(code::TOO_LARGE), Verdict::Refused),
    ] {
        let mut world = World::new(3);
        let number = world.take(world.way(3, None), true, 0);
        world.says(0, TAKE, said);
        let ending = world.ending(number).unwrap();
        assert_eq!((ending.verdict, ending.unsure), (verdict, false));
    }
}

#[test]
fn a_record_that_is_damaged_is_not_spread() {
    let mut world = World::new(3);
    let number = world.take(world.way(3, None), false, 0);
    let mut packed = Vec::new();
    packed.array(4).uint(102).bin(b"damaged").uint(0).packed(&[0x80]);
    world.says(0, TAKE, packed.into());
    assert_eq!(world.ending(number).unwrap().verdict, Verdict::Unsure(0));
    assert!(world.sent(1).is_empty());
}

#[test]
fn the_sick_are_asked_only_where_nobody_else_is_left() {
    let mut world = World::new(3);
    world.hub.nodes[1].healthy = false;
    world.take(world.way(3, None), true, 0);
    world.says(0, TAKE, took(0));
    assert!(world.sent(1).is_empty());
    assert_eq!(world.missed(), [("s-1", "s-0")]);
    world.hub.nodes[2].healthy = false;
    world.take(world.way(3, None), true, 0);
    world.hub.nodes[2].frames(0);
    world.says(0, TAKE, took(0));
    assert_eq!((world.sent(1).len(), world.sent(2).len()), (1, 1));
}

#[test]
fn while_owners_change_a_quorum_of_both_is_needed() {
    let mut world = World::new(4);
    let second = Group { members: 0b1110, needed: 2 };
    let number = world.take(world.way(4, Some(second)), true, 0);
    world.says(0, TAKE, took(0));
    world.says(1, MERGE, merged());
    assert!(world.ending(number).is_none());
    world.says(3, MERGE, merged());
    let ending = world.ending(number).unwrap();
    assert_eq!((ending.verdict, ending.answered), (Verdict::Reached, 2));
}

#[test]
fn a_record_that_is_made_already_is_merged_by_all_that_have_it_not() {
    let mut world = World::new(3);
    let spread = Spread::new(world.way(3, None), Listener::Events);
    let number = world.hub.spread(spread, |spread, hub, number| {
        spread.merge(hub, number, record(), (0, Bytes::from_static(&[0x80])), 0b1);
    });
    assert!(world.sent(0).is_empty());
    world.says(2, MERGE, refusal(NOT_READY));
    // Nobody that answered has it yet.
    assert!(world.missed().is_empty());
    world.says(1, MERGE, merged());
    assert_eq!(world.ending(number).unwrap().verdict, Verdict::Reached);
    assert_eq!(world.missed(), [("s-2", "s-1")]);
}

#[test]
fn where_nobody_is_left_nobody_more_is_asked_for_those_that_are_slow() {
    let mut world = World::new(3);
    let number = world.ask(2);
    assert!(world.sent(2).is_empty());
    // One fails before any is slow: the last has been asked when the time of slow ones comes.
    world.says(0, GET, refusal(NOT_READY));
    world.pass(2 * HEDGE);
    assert!(!world.events.iter().any(|event| matches!(event, Event::Hedged { .. })));
    world.says(1, GET, found());
    assert!(world.answers(number).is_none());
    world.says(2, GET, found());
    let answers = world.answers(number).unwrap();
    let who: Vec<_> = answers.all.iter().map(|(node, _)| *node).collect();
    assert_eq!((who, answers.good), (vec![0, 1, 2], 2));
}

#[test]
fn another_is_asked_where_one_is_slow() {
    let mut world = World::new(3);
    let number = world.ask(2);
    world.says(0, GET, found());
    world.pass(2 * HEDGE);
    assert!(world.events.iter().any(|event| matches!(event, Event::Hedged { count: 1 })));
    world.says(2, GET, found());
    assert_eq!(world.answers(number).unwrap().good, 2);
    // The slow one answers in the end, and nobody waits for it.
    world.says(1, GET, found());
    assert!(world.answers(number).is_none());
}

#[test]
fn a_question_ends_where_a_ring_is_newer_and_where_nobody_answers() {
    let mut world = World::new(3);
    let number = world.ask(2);
    world.says(1, GET, refusal(code::STALE_RING));
    assert_eq!(world.answers(number).unwrap().good, 0);
    let mut world = World::new(3);
    let number = world.ask(3);
    world.pass(Duration::from_secs(6));
    let answers = world.answers(number).unwrap();
    assert_eq!((answers.good, answers.all.len()), (0, 3));
}

#[test]
fn the_sick_are_asked_last() {
    let mut world = World::new(3);
    world.hub.nodes[0].healthy = false;
    world.ask(2);
    assert_eq!([0, 1, 2].map(|node| world.sent(node).len()), [0, 1, 1]);
}
