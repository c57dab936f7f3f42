//! All storage nodes, and all that is asked of them. Nothing here waits or reads or writes.
//!
//! Answers are handed to whatever asked for them; what it submits then is never answered before it
//! has returned, so nothing is entered twice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::asking::{Answers, Asking};
use super::node::{micros, Node, Outbox};
use super::spread::{Ending, Spread};
use super::wheel::Wheel;
use muster_records::messages::{code, Body, Failure};

/// Who gets the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Whoever asked one node, by the number that he was given.
    Alone(u64),
    /// What asks several: its number, and which of its replicas this is.
    Part { number: u64, place: usize },
}

/// Who is told how something ended.
pub enum Listener {
    /// Whoever reads the events.
    Events,
    /// A call that waits for it.
    Call(oneshot::Sender<Ended>),
}

/// How something ended that was asked of several.
#[derive(Debug)]
pub enum Ended {
    Asked(Answers),
    Spread(Ending),
}

/// What is told to whoever reads the events.
#[derive(Debug)]
pub enum Event {
    Replied {
        number: u64,
        packed: Bytes,
    },
    Ended {
        number: u64,
        ended: Ended,
    },
    /// `target` misses a record that `holder` has.
    Missed {
        target: Arc<str>,
        holder: Arc<str>,
        slot: Bytes,
        record: Bytes,
    },
    /// So many replicas were asked because others were slow.
    Hedged {
        count: u64,
    },
    /// A connection is there or lost, and why.
    Link {
        node: usize,
        up: bool,
        error: String,
    },
}

/// What comes with time.
#[derive(Debug, Clone, Copy)]
enum Due {
    Request { node: usize, number: u64 },
    Slow(u64),
    Fence(u64),
}

enum Work {
    Asking(Box<Asking>),
    Spread(Box<Spread>),
}

pub struct Hub {
    pub nodes: Vec<Node>,
    names: HashMap<Arc<str>, usize>,
    works: HashMap<u64, Work>,
    /// The number of what was asked last.
    last: u64,
    /// From where stamps count.
    begun: Instant,
    wheel: Wheel<Due>,
    /// Answers that nodes have not given, for what could not be sent.
    refused: VecDeque<(Target, Bytes)>,
    pub events: Vec<Event>,
    /// Nodes to which there is something new to send.
    pub woken: Vec<usize>,
    /// How long a replica may take to answer before another is asked.
    pub hedge: Duration,
}

impl Hub {
    pub fn new(begun: Instant, hedge: Duration) -> Self {
        Self {
            nodes: Vec::new(),
            names: HashMap::new(),
            works: HashMap::new(),
            last: 0,
            begun,
            wheel: Wheel::new(begun),
            refused: VecDeque::new(),
            events: Vec::new(),
            woken: Vec::new(),
            hedge,
        }
    }

    /// Whether nothing will come with time.
    pub fn is_idle(&self) -> bool {
        self.wheel.is_empty()
    }

    /// A node by a new number; another of that name is forgotten.
    pub fn open(&mut self, id: &str, address: String) -> usize {
        let id: Arc<str> = id.into();
        self.nodes.push(Node::new(Arc::clone(&id), address));
        self.names.insert(id, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// A node by its name; one that is not there is away.
    pub fn node(&mut self, id: &str) -> usize {
        match self.names.get(id) {
            Some(node) => *node,
            None => self.open(id, format!("{id}, which has left the ring,")),
        }
    }

    /// A connection to a node is there.
    pub fn link(&mut self, node: usize) {
        self.nodes[node].outbox = Some(Outbox::default());
        self.events.push(Event::Link { node, up: true, error: String::new() });
    }

    /// The connection to a node is lost: all that is in flight fails.
    pub fn unlink(&mut self, node: usize, reason: String) {
        let lost = self.nodes[node].lose(&reason);
        self.refused.extend(lost.into_iter().map(|(target, failure)| (target, failure.packed)));
        self.events.push(Event::Link { node, up: false, error: reason });
    }

    /// Asks a node; never answered before this returns.
    pub fn submit(
        &mut self,
        node: usize,
        body: &Body,
        ring_version: u64,
        deadline: Instant,
        target: Target,
    ) {
        let deadline_us = micros(self.begun, deadline);
        match self.nodes[node].push(body, ring_version, deadline_us, target) {
            Ok(number) => {
                self.wheel.add(Due::Request { node, number }, deadline);
                self.woken.push(node);
            }
            Err(failure) => self.refused.push_back((target, failure.packed)),
        }
    }

    /// A number for something that is asked.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub fn ask(&mut self, mut asking: Asking, now: Instant) -> u64 {
        let number = self.number();
        asking.begin(self, number, now);
        self.keep(number, Work::Asking(Box::new(asking)));
        number
    }

    pub fn spread(
        &mut self,
        mut spread: Spread,
        begin: impl FnOnce(&mut Spread, &mut Self, u64),
    ) -> u64 {
        let number = self.number();
        begin(&mut spread, self, number);
        self.keep(number, Work::Spread(Box::new(spread)));
        number
    }

    /// Has `slow` or `fence` called of what has this number, then or a moment later.
    pub fn slow_at(&mut self, number: u64, due: Instant) {
        self.wheel.add(Due::Slow(number), due);
    }

    pub fn fence_at(&mut self, number: u64, due: Instant) {
        self.wheel.add(Due::Fence(number), due);
    }

    pub fn tell(&mut self, listener: Listener, number: u64, ended: Ended) {
        match listener {
            Listener::Events => self.events.push(Event::Ended { number, ended }),
            Listener::Call(call) => {
                // Its client may have given it up.
                let _given_up = call.send(ended);
            }
        }
    }

    /// Takes in what a node says to a request.
    pub fn reply(&mut self, node: usize, number: u64, packed: Bytes, now: Instant) {
        // Nobody waits for what came too late.
        if let Some(target) = self.nodes[node].settle(number) {
            self.deliver(target, packed, now);
        }
    }

    /// Hands out what could not be sent; until nothing is left.
    pub fn settle(&mut self, now: Instant) {
        while let Some((target, packed)) = self.refused.pop_front() {
            self.deliver(target, packed, now);
        }
    }

    /// Does what has come with time.
    pub fn tick(&mut self, now: Instant) {
        for due in self.wheel.due(now) {
            match due {
                Due::Request { node, number } => {
                    if let Some(target) = self.nodes[node].settle(number) {
                        let late = Failure::new(code::TIMEOUT, "no answer within the deadline");
                        self.deliver(target, late.packed, now);
                    }
                }
                Due::Slow(number) => self.work(number, |work, hub| {
                    if let Work::Asking(asking) = work {
                        asking.slow(hub, number, now);
                    }
                }),
                Due::Fence(number) => self.work(number, |work, hub| {
                    if let Work::Spread(spread) = work {
                        spread.fence(hub, number);
                    }
                }),
            }
        }
    }

    fn deliver(&mut self, target: Target, packed: Bytes, now: Instant) {
        match target {
            Target::Alone(number) => self.events.push(Event::Replied { number, packed }),
            Target::Part { number, place } => self.work(number, |work, hub| match work {
                Work::Asking(asking) => asking.answered(hub, number, place, packed),
                Work::Spread(spread) => spread.answered(hub, number, place, &packed, now),
            }),
        }
    }

    fn work(&mut self, number: u64, what: impl FnOnce(&mut Work, &mut Self)) {
        let Some(mut work) = self.works.remove(&number) else { return };
        what(&mut work, self);
        self.keep(number, work);
    }

    /// Remembers what goes on.
    fn keep(&mut self, number: u64, work: Work) {
        let over = match &work {
            Work::Asking(asking) => asking.over(),
            Work::Spread(spread) => spread.over(),
        };
        if !over {
            self.works.insert(number, work);
        }
    }
}
