//! Asking several replicas the same: as many as are needed at first, others when those are slow.

use std::time::Instant;

use bytes::Bytes;

use super::hub::{Ended, Event, Hub, Listener, Target};
use muster_records::messages::{code, failed, Body};

/// Who said what, in the order in which it came, and how many of them said what was asked for.
#[derive(Debug, Default)]
pub struct Answers {
    pub all: Vec<(usize, Bytes)>,
    pub good: usize,
}

/// One question. Ends when `least` have answered, when one knows of a newer ring, or when nobody is
/// left.
pub struct Asking {
    body: Body,
    ring_version: u64,
    least: usize,
    end: Instant,
    listener: Option<Listener>,
    /// The last is asked first.
    rest: Vec<usize>,
    /// By the places of their requests.
    asked: Vec<usize>,
    answers: Answers,
    out: usize,
    stale: bool,
    waits_for_slow: bool,
}

impl Asking {
    /// Healthy replicas are asked first.
    pub fn new(
        hub: &Hub,
        mut replicas: Vec<usize>,
        body: Body,
        ring_version: u64,
        least: usize,
        end: Instant,
        listener: Listener,
    ) -> Self {
        replicas.sort_by_key(|node| !hub.nodes[*node].well());
        replicas.reverse();
        Self {
            body,
            ring_version,
            least,
            end,
            listener: Some(listener),
            asked: Vec::with_capacity(replicas.len()),
            rest: replicas,
            answers: Answers::default(),
            out: 0,
            stale: false,
            waits_for_slow: false,
        }
    }

    pub fn begin(&mut self, hub: &mut Hub, number: u64, now: Instant) {
        for _ in 0..self.least {
            self.ask(hub, number);
        }
        self.wait_for_slow(hub, number, now);
        self.judge(hub, number);
    }

    /// Time for those that were asked is over: another is asked.
    pub fn slow(&mut self, hub: &mut Hub, number: u64, now: Instant) {
        self.waits_for_slow = false;
        // Those that failed meanwhile may have been replaced by all that were left.
        if !self.rest.is_empty() {
            hub.events.push(Event::Hedged { count: 1 });
            self.ask(hub, number);
            self.wait_for_slow(hub, number, now);
        }
    }

    pub fn answered(&mut self, hub: &mut Hub, number: u64, place: usize, packed: Bytes) {
        self.out -= 1;
        match failed(&packed) {
            None => self.answers.good += 1,
            Some(failure) if failure.code == code::STALE_RING => self.stale = true,
            Some(_) => self.ask(hub, number),
        }
        self.answers.all.push((self.asked[place], packed));
        self.judge(hub, number);
    }

    pub fn over(&self) -> bool {
        self.listener.is_none()
    }

    fn ask(&mut self, hub: &mut Hub, number: u64) {
        let Some(node) = self.rest.pop() else { return };
        let target = Target::Part { number, place: self.asked.len() };
        self.asked.push(node);
        self.out += 1;
        hub.submit(node, &self.body, self.ring_version, self.end, target);
    }

    fn wait_for_slow(&mut self, hub: &mut Hub, number: u64, now: Instant) {
        if !self.rest.is_empty() && !self.waits_for_slow {
            self.waits_for_slow = true;
            hub.slow_at(number, now + hub.hedge);
        }
    }

    fn judge(&mut self, hub: &mut Hub, number: u64) {
        if self.answers.good >= self.least || self.stale || self.out == 0 {
            if let Some(listener) = self.listener.take() {
                hub.tell(listener, number, Ended::Asked(std::mem::take(&mut self.answers)));
            }
        }
    }
}
