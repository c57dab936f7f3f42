//! Storage nodes: one connection to each, and what is asked of several of them at once.
//!
//! All of it happens on one thread, but what is asked may be asked from any. `hub` knows who waits
//! for what and is entered by one at a time; `link` reads and writes. Requests that are made while
//! a connection is busy go in one frame. The other end is `muster_kv.wire.server`; what is said is in
//! `muster_records`.

pub mod asking;
#[cfg(feature = "python")]
pub mod face;
pub mod hello;
pub mod hub;
pub mod link;
pub mod node;
pub mod patience;
pub mod quorum;
pub mod spread;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wheel;

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::bell::Bell;
use hub::{Event, Hub};
use link::Manners;
use wheel::TICK;

/// What all connections share.
pub struct Storage {
    pub manners: Manners,
    begun: Instant,
    hub: Mutex<(Hub, bool)>,
    bell: Bell,
    timed: Notify,
}

impl Storage {
    /// `hedge` is how long a replica may take to answer before another is asked.
    pub fn new(manners: Manners, hedge: Duration) -> io::Result<Self> {
        let begun = Instant::now();
        Ok(Self {
            manners,
            begun,
            hub: Mutex::new((Hub::new(begun, hedge), false)),
            bell: Bell::new()?,
            timed: Notify::new(),
        })
    }

    /// A descriptor that can be read from when there are events.
    pub fn descriptor(&self) -> RawFd {
        self.bell.descriptor()
    }

    /// Does something with the hub, and sees to all that follows from it.
    pub fn enter<R>(&self, what: impl FnOnce(&mut Hub, Instant) -> R) -> R {
        // What is locked is left whole by all that can panic.
        let mut held = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let (hub, rung) = &mut *held;
        let (now, idle) = (Instant::now(), hub.is_idle());
        let result = what(hub, now);
        hub.settle(now);
        for node in std::mem::take(&mut hub.woken) {
            hub.nodes[node].wake.notify_one();
        }
        if idle && !hub.is_idle() {
            self.timed.notify_one();
        }
        if !hub.events.is_empty() {
            self.bell.ring(rung);
        }
        result
    }

    /// Takes all events.
    pub fn take(&self) -> Vec<Event> {
        let mut held = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        let (hub, rung) = &mut *held;
        self.bell.hear(rung);
        std::mem::take(&mut hub.events)
    }

    /// What a node is called.
    pub fn name(&self, node: usize) -> String {
        self.enter(|hub, _| hub.nodes[node].id.to_string())
    }

    /// Lets time pass, for ever.
    pub async fn tick(&self) {
        loop {
            if self.enter(|hub, _| hub.is_idle()) {
                self.timed.notified().await;
            }
            sleep(TICK).await;
            self.enter(Hub::tick);
        }
    }

    /// Microseconds since the moment that stamps count from.
    pub fn micros(&self, moment: Instant) -> u64 {
        node::micros(self.begun, moment)
    }
}

/// What is started on the thread of a `Storage`.
pub fn keep(
    storage: &Arc<Storage>,
    place: link::Place,
) -> impl std::future::Future<Output = ()> + Send + 'static {
    let wake = storage.enter(|hub, _| Arc::clone(&hub.nodes[place.node].wake));
    link::keep(Arc::clone(storage), place, wake)
}
