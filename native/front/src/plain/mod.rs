//! Plain calls, which are answered right here: a read, a write or a deletion of a tenant that is
//! known, and that none of its rules is against.
//!
//! Whether a call is plain is decided; that it is wrong never is. All that is not plain goes to whoever
//! answers all other calls, and says what is wrong with it. So does a call that was begun and turned
//! out not to be plain, together with what has become of it so far.

pub mod answers;
pub mod catalogue;
#[cfg(feature = "python")]
pub mod face;
pub mod intent;
pub mod proto;
pub mod rates;
pub mod request;
pub mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::exchange::Reply;
use crate::status::{code, Status};
use crate::storage::asking::{Answers, Asking};
use crate::storage::hub::{Ended, Listener};
use crate::storage::quorum::{Group, Quorum};
use crate::storage::spread::{Ending, Spread, Verdict, Way};
use crate::storage::Storage;
use answers::{found, replaced, written};
use catalogue::{Catalogue, Level, Tenant};
use intent::{intent, packed, unix_us};
use muster_records::merging::Intent;
use muster_records::messages::{outcome, Body};
use rates::Rates;
use request::Request;
use tally::Tally;

/// Above this size a read is better done in another way, and a write is no longer cheap anyway.
const LARGE_BYTES: usize = 16 * 1024;

/// Calls that can be plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Write,
    Read,
    Delete,
}

pub const KINDS: [(Kind, &str); 3] = [
    (Kind::Write, "WriteKeyValue"),
    (Kind::Read, "ReadKeyValue"),
    (Kind::Delete, "DeleteKeyValue"),
];

/// A call that is answered, or what has become of it by when it must end; nothing where it was not
/// begun.
pub enum Plainly {
    Answered(Reply),
    Begun(Begun, Instant),
    Not,
}

/// What has become of a call.
#[derive(Debug)]
pub enum Begun {
    /// `intent` is what replicas were asked for, packed.
    Written { intent: Bytes, ending: Ending },
    /// What replicas said to a read, or of an operation.
    Asked { ring_version: u64, answers: Answers },
}

pub struct Plain {
    pub storage: Arc<Storage>,
    catalogue: Mutex<Catalogue>,
    rates: Mutex<Rates>,
    tallies: Mutex<[Tally; 3]>,
}

impl Plain {
    /// `bounds` are the upper ends of the buckets that times are counted in, seconds.
    pub fn new(storage: Arc<Storage>, bounds: &[f64]) -> Self {
        let tally = || Tally::new(bounds.to_vec());
        Self {
            storage,
            catalogue: Mutex::default(),
            rates: Mutex::new(Rates::new(Instant::now())),
            tallies: Mutex::new([tally(), tally(), tally()]),
        }
    }

    pub fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        held(&self.catalogue)
    }

    pub fn rates(&self) -> MutexGuard<'_, Rates> {
        held(&self.rates)
    }

    /// In the order of `KINDS`.
    pub fn tallies(&self) -> [Tally; 3] {
        held(&self.tallies).clone()
    }

    /// Answers a call if it is plain and goes well.
    pub async fn answer(&self, kind: Kind, message: &Bytes, deadline: Option<Instant>) -> Plainly {
        let begun = Instant::now();
        let Some(request) = Request::read(kind, message) else { return Plainly::Not };
        let done = match kind {
            Kind::Read => self.read(&request, begun, deadline).await,
            Kind::Write | Kind::Delete => self.write(&request, begun, deadline).await,
        };
        if let Plainly::Answered(Ok(_)) = done {
            held(&self.tallies)[kind as usize].add(begun.elapsed());
        }
        done
    }

    async fn write(&self, request: &Request, now: Instant, deadline: Option<Instant>) -> Plainly {
        let Some((tenant, way, level)) = self.way(request, now, deadline) else {
            return Plainly::Not;
        };
        if !tenant.writes || request.is_keyed() && !tenant.keyed {
            return Plainly::Not;
        }
        let Some(mut intent) = intent(request, unix_us()) else { return Plainly::Not };
        if !self.admits(request, tenant.writes_per_minute, now) {
            return Plainly::Not;
        }
        if request.is_keyed() {
            if let Err(ended) = self.inform(&mut intent, &way, tenant.factor).await {
                return ended;
            }
        }
        let (blind, intent, end) = (intent.context.is_none(), packed(&intent), way.end);
        let (sender, receiver) = oneshot::channel();
        let asked = (intent.clone(), blind);
        self.storage.enter(|hub, now| {
            let spread = Spread::new(way, Listener::Call(sender));
            hub.spread(spread, |spread, hub, number| {
                spread.take(hub, number, asked, Bytes::new(), 0, now);
            });
        });
        let Ok(Ended::Spread(ending)) = receiver.await else { return stopped() };
        // Another may have been first with the same idempotency key.
        let first = !request.is_keyed() || ending.outcome == outcome::NEW;
        if ending.verdict == Verdict::Reached && first {
            if let Some(frame) = written(request, &ending, level) {
                return Plainly::Answered(Ok(frame));
            }
        }
        Plainly::Begun(Begun::Written { intent, ending }, end)
    }

    async fn read(&self, request: &Request, now: Instant, deadline: Option<Instant>) -> Plainly {
        let Some((tenant, way, level)) = self.way(request, now, deadline) else {
            return Plainly::Not;
        };
        if self.catalogue().is_large(&way.slot)
            || !self.admits(request, tenant.reads_per_minute, now)
        {
            return Plainly::Not;
        }
        let least = level.needs(tenant.factor) as usize;
        let body = Body::Get { slot: way.slot.clone() };
        let Some(answers) = self.ask(&way, body, least).await else { return stopped() };
        match found(request, &answers, least, &way.slot) {
            Some(frame) => Plainly::Answered(Ok(frame)),
            None => {
                if answers.all.iter().any(|(_, packed)| packed.len() > LARGE_BYTES) {
                    self.catalogue().note_large(way.slot);
                }
                let ring_version = way.ring_version;
                Plainly::Begun(Begun::Asked { ring_version, answers }, way.end)
            }
        }
    }

    /// Has a write that its client may ask for again say what it replaces, where it is new: a blind
    /// one must not be done after another, and nobody else knows when this one's time is over.
    async fn inform(&self, intent: &mut Intent, way: &Way, factor: u32) -> Result<(), Plainly> {
        let body = Body::Lookup {
            slot: way.slot.clone(),
            op: intent.op,
            digest: intent.digest.clone(),
            timestamp_us: intent.timestamp_us,
        };
        // One of so many took it if a quorum did.
        let overlapping = factor - Level::Quorum.needs(factor) + 1;
        let least = way.writers.len().min(overlapping as usize);
        let Some(answers) = self.ask(way, body, least).await else { return Err(stopped()) };
        intent.context = replaced(&answers, least, intent.context.take());
        if intent.context.is_some() {
            return Ok(());
        }
        let ring_version = way.ring_version;
        Err(Plainly::Begun(Begun::Asked { ring_version, answers }, way.end))
    }

    /// What so many replicas say; nothing where nobody tells any more.
    async fn ask(&self, way: &Way, body: Body, least: usize) -> Option<Answers> {
        let (sender, receiver) = oneshot::channel();
        let (replicas, to) = (way.writers.clone(), Listener::Call(sender));
        self.storage.enter(|hub, now| {
            let asking = Asking::new(hub, replicas, body, way.ring_version, least, way.end, to);
            hub.ask(asking, now);
        });
        match receiver.await {
            Ok(Ended::Asked(answers)) => Some(answers),
            _ => None,
        }
    }

    /// Counts a call that is about to be begun. One too many is not counted here, but by whoever
    /// says so.
    fn admits(&self, request: &Request, per_minute: Option<u64>, now: Instant) -> bool {
        per_minute.is_none_or(|limit| {
            let left = self.rates().take(&request.tenant, !request.reads, limit, 1, now);
            left.retry_seconds.is_none()
        })
    }

    /// Where a request goes; nothing where that takes more than is known here.
    fn way(
        &self,
        request: &Request,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Option<(Tenant, Way, Level)> {
        let mut catalogue = self.catalogue();
        let defaults = catalogue.defaults()?;
        let tenant = catalogue.tenant(&request.tenant, now)?;
        let (slot, token) = request.slot();
        let (ring_version, nodes) = catalogue.nodes(&tenant, token)?;
        let level = match &*request.level {
            b"" => defaults.level,
            name => Level::named(name)?,
        };
        let seconds = if request.reads { defaults.reading } else { defaults.writing };
        let latest = now + seconds;
        let members = (1 << nodes.len()) - 1;
        let needed = level.needs(tenant.factor);
        let way = Way {
            ring_version,
            writers: nodes.to_vec(),
            natural: nodes.len(),
            quorum: Quorum::new(Group { members, needed }, None),
            slot,
            end: deadline.map_or(latest, |end| end.min(latest)),
            unsynced: tenant.unsynced,
        };
        Some((tenant, way, level))
    }
}

/// What is locked is left whole by all that can panic.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody knows what became of a call whose end nobody tells.
fn stopped() -> Plainly {
    Plainly::Answered(Err(Status::new(code::UNAVAILABLE, "the server has stopped")))
}
