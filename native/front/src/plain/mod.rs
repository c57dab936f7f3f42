//! Plain calls, which are answered right here: a read, a write or a deletion of a tenant that is
//! known, without anything that asks for a rule.
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
use answers::{found, written};
use catalogue::{Catalogue, Level, Tenant};
use intent::{intent, packed, unix_us};
use muster_records::messages::Body;
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
    Read { ring_version: u64, answers: Answers },
}

pub struct Plain {
    pub storage: Arc<Storage>,
    catalogue: Mutex<Catalogue>,
    tallies: Mutex<[Tally; 3]>,
}

impl Plain {
    /// `bounds` are the upper ends of the buckets that times are counted in, seconds.
    pub fn new(storage: Arc<Storage>, bounds: &[f64]) -> Self {
        let tally = || Tally::new(bounds.to_vec());
        Self {
            storage,
            catalogue: Mutex::default(),
            tallies: Mutex::new([tally(), tally(), tally()]),
        }
    }

    pub fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In the order of `KINDS`.
    pub fn tallies(&self) -> [Tally; 3] {
        self.held().clone()
    }

    fn held(&self) -> MutexGuard<'_, [Tally; 3]> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.held()[kind as usize].add(begun.elapsed());
        }
        done
    }

    async fn write(&self, request: &Request, now: Instant, deadline: Option<Instant>) -> Plainly {
        let Some((tenant, way, level)) = self.way(request, now, deadline) else {
            return Plainly::Not;
        };
        if !tenant.writes {
            return Plainly::Not;
        }
        let Some(intent) = intent(request, unix_us()) else { return Plainly::Not };
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
        if ending.verdict == Verdict::Reached {
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
        if !tenant.reads || self.catalogue().is_large(&way.slot) {
            return Plainly::Not;
        }
        let (sender, receiver) = oneshot::channel();
        let (slot, ring_version, end) = (way.slot.clone(), way.ring_version, way.end);
        let least = level.needs(tenant.factor) as usize;
        self.storage.enter(|hub, now| {
            let body = Body::Get { slot: way.slot };
            let to = Listener::Call(sender);
            let asking = Asking::new(hub, way.writers, body, ring_version, least, end, to);
            hub.ask(asking, now);
        });
        let Ok(Ended::Asked(answers)) = receiver.await else { return stopped() };
        match found(request, &answers, least, &slot) {
            Some(frame) => Plainly::Answered(Ok(frame)),
            None => {
                if answers.all.iter().any(|(_, packed)| packed.len() > LARGE_BYTES) {
                    self.catalogue().note_large(slot);
                }
                Plainly::Begun(Begun::Read { ring_version, answers }, end)
            }
        }
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

/// Nobody knows what became of a call whose end nobody tells.
fn stopped() -> Plainly {
    Plainly::Answered(Err(Status::new(code::UNAVAILABLE, "the server has stopped")))
}
