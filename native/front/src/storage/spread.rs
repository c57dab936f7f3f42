//! One write on its way to its replicas.
//!
//! A write of a tenant that keeps siblings is taken by one replica, which makes its dot, and merged
//! by the others. A take has a deadline of its own, which its node keeps to. It is short, since
//! nobody else may take the write before it has passed: a late take would replace what came after
//! it. A write where the last one wins is merged by all at once.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::hub::{Ended, Event, Hub, Listener, Target};
use super::quorum::{one, Quorum, Set, State};
use muster_records::messages::{code, outcome, Body, Failure, Reply, Took};
use muster_records::plain as record;

const LEAST: Duration = Duration::from_millis(1);

/// Where a write goes.
pub struct Way {
    pub ring_version: u64,
    /// All nodes that get it, in the order of preference; at most `quorum::MOST`.
    pub writers: Vec<usize>,
    /// How many of these, from the first, hold the key now: one of them takes it.
    pub natural: usize,
    pub quorum: Quorum,
    pub slot: Bytes,
    /// When replicas must have answered.
    pub end: Instant,
    /// Whether replicas may answer before it is on their disks.
    pub unsynced: bool,
}

/// How a write ended, as far as its client goes.
#[derive(Debug)]
pub struct Ending {
    pub verdict: Verdict,
    pub outcome: u64,
    /// What its writer may claim to know from now on: a packed map.
    pub clock: Bytes,
    /// How many replicas of those that are read have it.
    pub answered: u32,
    /// Versions that live there now.
    pub siblings: usize,
    /// What replicas were or are to be brought; empty where nobody has taken it.
    pub record: Bytes,
    /// Those that have it.
    pub acked: Vec<usize>,
    pub failures: Vec<Failure>,
    /// Whether it may have happened although it failed.
    pub unsure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Reached,
    /// Its idempotency key came with another value before.
    Conflict,
    /// The last failure says why nobody will ever take it.
    Refused,
    /// A replica holds a newer ring; the record goes on, where there is one.
    Stale,
    /// This node may have taken it, or not, and will not from now on.
    Unsure(usize),
    /// Too few replicas are left.
    Short,
}

/// `tell`s once how it ended; what comes after that only makes hints.
pub struct Spread {
    way: Way,
    listener: Option<Listener>,
    intent: Bytes,
    /// Whether it replaces whatever its taker holds.
    blind: bool,
    base: Bytes,
    /// The last is asked first.
    takers: Vec<usize>,
    taking: Option<Taking>,
    /// How it ends when the fence of its last take has passed.
    fenced: Option<Verdict>,
    failures: Vec<Failure>,
    unsure: bool,
    record: Bytes,
    told: (u64, Bytes),
    siblings: usize,
    kept: Option<usize>,
    unmerged: Vec<usize>,
    out: usize,
}

#[derive(Clone, Copy)]
struct Taking {
    begun: Instant,
    fence: Instant,
}

impl Spread {
    pub fn new(way: Way, listener: Listener) -> Self {
        Self {
            way,
            listener: Some(listener),
            intent: Bytes::new(),
            blind: false,
            base: Bytes::new(),
            takers: Vec::new(),
            taking: None,
            fenced: None,
            failures: Vec::new(),
            unsure: false,
            record: Bytes::new(),
            told: (outcome::NEW, Bytes::from_static(&[0x80])),
            siblings: 1,
            kept: None,
            unmerged: Vec::new(),
            out: 0,
        }
    }

    /// Begins with one replica that takes the write, a healthy one if there is any.
    ///
    /// `base` is a record that it joins before; the places `late` were asked before, and did not
    /// say in time: they come last, and one of them may have taken it, whatever others say now.
    pub fn take(
        &mut self,
        hub: &mut Hub,
        number: u64,
        (intent, blind): (Bytes, bool),
        base: Bytes,
        late: Set,
        now: Instant,
    ) {
        self.unsure = late != 0;
        (self.intent, self.blind, self.base) = (intent, blind, base);
        self.takers = (0..self.way.natural).collect();
        let nodes = &hub.nodes;
        let sick = |node: usize| nodes[node].patience.suspects(now) || !nodes[node].well();
        self.takers.sort_by_key(|place| (late & one(*place) != 0, sick(self.way.writers[*place])));
        self.takers.reverse();
        self.ask(hub, number, now);
    }

    /// Begins with a record that is made already, and that the places `holders` have.
    pub fn merge(
        &mut self,
        hub: &mut Hub,
        number: u64,
        record: Bytes,
        told: (u64, Bytes),
        holders: Set,
    ) {
        self.told = told;
        // Whoever made it has looked at it.
        self.siblings = record::versions(&record, &self.way.slot).unwrap_or(1);
        for place in (0..self.way.writers.len()).filter(|place| holders & one(*place) != 0) {
            self.way.quorum.ack(place);
        }
        self.begin(hub, number, record);
    }

    pub fn over(&self) -> bool {
        self.listener.is_none() && self.out == 0
    }

    pub fn answered(
        &mut self,
        hub: &mut Hub,
        number: u64,
        place: usize,
        packed: &Bytes,
        now: Instant,
    ) {
        self.out -= 1;
        let reply = Reply::read(packed)
            .unwrap_or_else(|error| Reply::Failure(Failure::new(code::INTERNAL, &error.0)));
        match self.taking.take() {
            Some(taking) => self.took(hub, number, place, taking, reply, now),
            None => self.merged(hub, number, place, reply),
        }
    }

    /// The fence of a take that nobody knows the end of has passed.
    pub fn fence(&mut self, hub: &mut Hub, number: u64) {
        if let Some(verdict) = self.fenced.take() {
            self.end(hub, number, verdict);
        }
    }

    fn ask(&mut self, hub: &mut Hub, number: u64, now: Instant) {
        let Some(place) = self.takers.pop() else {
            self.end(hub, number, Verdict::Short);
            return;
        };
        let node = self.way.writers[place];
        // There must be time for another.
        let left = self.way.end.saturating_duration_since(now).max(LEAST);
        let fence = now + (left / 3).min(hub.nodes[node].patience.now(hub.hedge));
        self.taking = Some(Taking { begun: now, fence });
        self.out += 1;
        let body = Body::Take {
            slot: self.way.slot.clone(),
            intent: self.intent.clone(),
            base: self.base.clone(),
            unsynced: self.way.unsynced,
        };
        hub.submit(node, &body, self.way.ring_version, fence, Target::Part { number, place });
    }

    fn took(
        &mut self,
        hub: &mut Hub,
        number: u64,
        place: usize,
        taking: Taking,
        reply: Reply,
        now: Instant,
    ) {
        let seconds = now.saturating_duration_since(taking.begun);
        let node = self.way.writers[place];
        let failure = match reply {
            Reply::Took(took) => {
                hub.nodes[node].patience.answered(seconds);
                match self.keep(place, took) {
                    Ok(Some(record)) => return self.begin(hub, number, record),
                    Ok(None) => return self.end(hub, number, Verdict::Conflict),
                    // It was taken, and can't be spread.
                    Err(failure) => failure,
                }
            }
            other => other.unexpected(),
        };
        if failure.code == code::TIMEOUT {
            hub.nodes[node].patience.late(seconds, now);
        }
        let (code, unknown) = (failure.code, failure.unknown());
        self.failures.push(failure);
        match code {
            code::INVALID | code::TOO_LARGE => self.end(hub, number, Verdict::Refused),
            code::STALE_RING => self.end(hub, number, Verdict::Stale),
            // Its request may still be read: a blind one must not be done after another.
            _ if unknown && self.blind && now < taking.fence => {
                self.fenced = Some(Verdict::Unsure(node));
                hub.fence_at(number, taking.fence);
            }
            _ if unknown => self.end(hub, number, Verdict::Unsure(node)),
            _ => self.ask(hub, number, now),
        }
    }

    /// Takes in what the taker made; nothing where the operation came with another value before.
    fn keep(&mut self, place: usize, took: Took) -> Result<Option<Bytes>, Failure> {
        if took.outcome == outcome::CONFLICT {
            return Ok(None);
        }
        self.siblings = record::versions(&took.record, &self.way.slot)
            .map_err(|error| Failure::new(code::INTERNAL, &error.0))?;
        self.way.quorum.ack(place);
        self.told = (took.outcome, took.clock);
        self.kept = Some(place);
        Ok(Some(took.record))
    }

    fn begin(&mut self, hub: &mut Hub, number: u64, record: Bytes) {
        self.record = record;
        let mut sick: Set = 0;
        for place in 0..self.way.writers.len() {
            if self.way.quorum.acked & one(place) != 0 {
                continue;
            }
            if hub.nodes[self.way.writers[place]].well() {
                self.merge_to(hub, number, place);
            } else {
                sick |= one(place);
            }
        }
        // Nothing is expected of the sick, so they are not asked, unless nobody else is left.
        let needed = self.needs(sick);
        for place in (0..self.way.writers.len()).filter(|place| sick & one(*place) != 0) {
            if needed {
                self.merge_to(hub, number, place);
            } else {
                self.missed(hub, place);
            }
        }
        self.judge(hub, number);
    }

    fn needs(&self, sick: Set) -> bool {
        let mut without = self.way.quorum.clone();
        without.failed |= sick;
        without.state() == State::Impossible
    }

    fn merge_to(&mut self, hub: &mut Hub, number: u64, place: usize) {
        let body = Body::Merge {
            slot: self.way.slot.clone(),
            record: self.record.clone(),
            unsynced: self.way.unsynced,
        };
        self.out += 1;
        let (node, way) = (self.way.writers[place], &self.way);
        hub.submit(node, &body, way.ring_version, way.end, Target::Part { number, place });
    }

    fn merged(&mut self, hub: &mut Hub, number: u64, place: usize, reply: Reply) {
        if let Reply::Merged = reply {
            self.way.quorum.ack(place);
            if self.kept.is_none() {
                self.kept = Some(place);
                self.tell_missed(hub);
            }
        } else {
            self.failures.push(reply.unexpected());
            self.missed(hub, place);
        }
        self.judge(hub, number);
    }

    /// A replica does not have the record: another keeps it for that one.
    fn missed(&mut self, hub: &mut Hub, place: usize) {
        self.way.quorum.fail(place);
        self.unmerged.push(place);
        self.tell_missed(hub);
    }

    fn tell_missed(&mut self, hub: &mut Hub) {
        let Some(kept) = self.kept else { return };
        let name = |hub: &Hub, place: usize| hub.nodes[self.way.writers[place]].id.clone();
        for place in std::mem::take(&mut self.unmerged) {
            hub.events.push(Event::Missed {
                target: name(hub, place),
                holder: name(hub, kept),
                slot: self.way.slot.clone(),
                record: self.record.clone(),
            });
        }
    }

    fn judge(&mut self, hub: &mut Hub, number: u64) {
        match self.way.quorum.state() {
            State::Pending => {}
            State::Reached => self.end(hub, number, Verdict::Reached),
            State::Impossible => {
                let stale = self.failures.iter().any(|one| one.code == code::STALE_RING);
                let verdict = if stale { Verdict::Stale } else { Verdict::Short };
                self.end(hub, number, verdict);
            }
        }
    }

    fn end(&mut self, hub: &mut Hub, number: u64, verdict: Verdict) {
        let Some(listener) = self.listener.take() else { return };
        let taken = self.unsure || !self.record.is_empty();
        let places = 0..self.way.writers.len();
        let acked = places.filter(|place| self.way.quorum.acked & one(*place) != 0);
        let ending = Ending {
            verdict,
            outcome: self.told.0,
            clock: self.told.1.clone(),
            answered: self.way.quorum.answered(),
            siblings: self.siblings,
            record: self.record.clone(),
            acked: acked.map(|place| self.way.writers[place]).collect(),
            unsure: taken || self.failures.iter().any(Failure::unknown),
            failures: self.failures.clone(),
        };
        hub.tell(listener, number, Ended::Spread(ending));
    }
}
