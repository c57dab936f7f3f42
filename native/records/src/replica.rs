//! What a batch does to a replica's records, request by request.
//!
//! Nothing of it lasts unless its changes are written.

use std::collections::HashMap;

use bytes::Bytes;

use crate::merging::{merge, take, Intent, Joined, Outcome, Overclaim};
use crate::messages::{self, code, Failure};
use crate::record::{decode, encode, Corrupt, Record};
use crate::tombstones::is_dead;

/// As `muster_kv.limits` has them.
const VALUE_BYTES: usize = 10 * 1024 * 1024;
const SIBLINGS: usize = 100;
/// Of all values of a key, where there are several: what reads them all must still be a message.
const SIBLING_BYTES: usize = 2 * VALUE_BYTES;
const TOKEN_BYTES: usize = 8;

/// Somebody asked for a record that was not loaded.
#[derive(Debug, PartialEq, Eq)]
pub struct Unloaded;

/// As whom a replica makes dots, and what it knows of what it has forgotten.
pub struct Whom {
    pub actor: Bytes,
    /// The actor that it becomes where dots that it has made may be lost.
    pub spare: Bytes,
    /// The greatest counter of its own dots in any record that it has forgotten.
    pub floor: u64,
    /// What died before the moment of a token may be forgotten: pairs of a token and the moment
    /// (µs) from there to the next; the first token is 0.
    pub horizon: Vec<(u64, u64)>,
}

/// The records that a batch may touch, as they become.
pub struct Replica {
    whom: Whom,
    renewed: bool,
    corrupted: u64,
    entries: HashMap<Bytes, Entry>,
    /// Slots of changed records, each once, in the order of their first change.
    changed: Vec<Bytes>,
}

struct Entry {
    /// How many bytes it had before the batch; None where there was none.
    before: Option<usize>,
    data: Option<Bytes>,
    record: Option<Record>,
    changed: bool,
}

impl Replica {
    pub fn new(whom: Whom) -> Self {
        Self { whom, renewed: false, corrupted: 0, entries: HashMap::new(), changed: Vec::new() }
    }

    /// Takes in what is held at `slot`; what is loaded already stays.
    pub fn load(&mut self, slot: Bytes, data: Option<Bytes>) {
        let before = data.as_ref().map(Bytes::len);
        let entry = Entry { before, data, record: None, changed: false };
        self.entries.entry(slot).or_insert(entry);
    }

    pub fn has(&self, slot: &[u8]) -> bool {
        self.entries.contains_key(slot)
    }

    /// The bytes of a record as they are now, whole or not; None where there is none.
    pub fn data(&self, slot: &[u8]) -> Result<Option<&Bytes>, Unloaded> {
        self.entries.get(slot).map(|entry| entry.data.as_ref()).ok_or(Unloaded)
    }

    pub fn actor(&self) -> &Bytes {
        if self.renewed {
            &self.whom.spare
        } else {
            &self.whom.actor
        }
    }

    /// Whether it has become another actor.
    pub fn renewed(&self) -> bool {
        self.renewed
    }

    pub fn floor(&self) -> u64 {
        self.whom.floor
    }

    /// How many damaged records it has met.
    pub fn corrupted(&self) -> u64 {
        self.corrupted
    }

    /// From now on, what died before other moments may be forgotten.
    pub fn forget_before(&mut self, horizon: Vec<(u64, u64)>) {
        self.whom.horizon = horizon;
    }

    /// Becomes another actor, as dots that this one has made may be lost; once a batch.
    pub fn renew(&mut self) {
        self.renewed = true;
    }

    /// Takes a write, and answers; `base` is a record to join first, or empty.
    pub fn take(&mut self, slot: &Bytes, intent: &Intent, base: &Bytes) -> Result<Bytes, Failure> {
        let size = intent.value.as_ref().map_or(0, Bytes::len);
        if size > VALUE_BYTES {
            let why = format!("value: {size} bytes; allowed: at most {VALUE_BYTES}");
            return Err(Failure::new(code::TOO_LARGE, &why));
        }
        let based = self.based(slot, base)?;
        let (actor, floor) = (self.actor().clone(), self.whom.floor);
        let held = self.record(slot).map_err(corrupt)?;
        let record = based.as_ref().unwrap_or(held);
        let taken = take(record, intent, &actor, floor)
            .map_err(|Overclaim(why)| Failure::new(code::INVALID, &why))?;
        let outcome = taken.outcome as u64;
        if taken.outcome != Outcome::New {
            // What is answered must know the operation, which perhaps only `base` does.
            let news = based.filter(|record| record != held);
            let data = match news {
                Some(record) => self.put(slot, record),
                None => self.entries[slot].data.clone().unwrap_or_default(),
            };
            return Ok(messages::took(&data, outcome, &taken.clock));
        }
        let record = taken.record.unwrap_or_default();
        if record.versions.len() > SIBLINGS {
            let why = format!(
                "the key has {SIBLINGS} siblings; allowed: a write that replaces some of them"
            );
            return Err(Failure::new(code::TOO_LARGE, &why));
        }
        let sizes = record.versions.iter().filter_map(|one| one.value.as_ref().map(Bytes::len));
        let size: usize = sizes.sum();
        if size > SIBLING_BYTES {
            let why = format!(
                "the key's siblings would have {size} bytes; allowed: {SIBLING_BYTES}, or a write \
                 that replaces some of them"
            );
            return Err(Failure::new(code::TOO_LARGE, &why));
        }
        let data = self.put(slot, record);
        Ok(messages::took(&data, outcome, &taken.clock))
    }

    /// What is held and `base` together; nothing where there is no `base`.
    fn based(&mut self, slot: &Bytes, base: &Bytes) -> Result<Option<Record>, Failure> {
        let held = self.record(slot);
        if base.is_empty() {
            return held.map(|_| None).map_err(corrupt);
        }
        let held = held.map_err(corrupt)?.clone();
        let theirs = decode(base, slot).inspect_err(|_| self.corrupted += 1);
        let theirs = theirs.map_err(corrupt)?;
        Ok(Some(merge(&held, &theirs).record(held, theirs)))
    }

    /// Joins a record into the one that is held; whether that was news.
    pub fn join(&mut self, slot: &Bytes, data: &Bytes) -> Result<bool, Corrupt> {
        // It must not be taken for a damaged one, which would give way.
        if self.data(slot).map_err(unread)? == Some(data) {
            return Ok(false);
        }
        let theirs = decode(data, slot).inspect_err(|_| self.corrupted += 1)?;
        let moment = self.horizon_at(slot);
        let Ok(ours) = self.record(slot) else {
            // What peers have is all that is left. Dots that only the damaged record knew must not
            // be made again.
            self.renew();
            self.put_whole(slot, theirs, data.clone());
            return Ok(true);
        };
        if ours.is_absent() {
            // Every replica had it, and this one has perhaps forgotten it.
            let news = !is_dead(&theirs, moment);
            if news {
                self.put_whole(slot, theirs, data.clone());
            }
            return Ok(news);
        }
        match merge(ours, &theirs) {
            Joined::Ours => Ok(false),
            Joined::Theirs => {
                self.put_whole(slot, theirs, data.clone());
                Ok(true)
            }
            Joined::Another(record) if record == *ours => Ok(false),
            Joined::Another(record) => {
                self.put(slot, record);
                Ok(true)
            }
        }
    }

    /// Replaces a record by another's bytes.
    pub fn replace(&mut self, slot: &Bytes, data: Bytes) {
        self.change(slot, Some(data), None);
    }

    /// Removes a record whose deletion everybody knows, or that is no longer this node's.
    ///
    /// This node may count on from 0 for the key, so no dot may be made up to those forgotten.
    pub fn forget(&mut self, slot: &Bytes) {
        let actor = self.actor().clone();
        match self.record(slot).map(|record| record.context.get(&actor)) {
            Ok(counter) => self.whom.floor = self.whom.floor.max(counter),
            Err(_) => self.renew(),
        }
        self.change(slot, None, Some(Record::default()));
    }

    /// The records that have changed, and their bytes; None where they are removed.
    pub fn changes(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.changed.iter().map(|slot| (slot, self.entries[slot].data.as_ref()))
    }

    /// By how much the number of records and their bytes have changed.
    pub fn totals(&self) -> (i64, i64) {
        let size = |length: Option<usize>| i64::try_from(length.unwrap_or(0)).unwrap_or(i64::MAX);
        let mut totals = (0, 0);
        for entry in self.changed.iter().map(|slot| &self.entries[slot]) {
            let after = entry.data.as_ref().map(Bytes::len);
            totals.0 += i64::from(after.is_some()) - i64::from(entry.before.is_some());
            totals.1 += size(after) - size(entry.before);
        }
        totals
    }

    /// A record as it is now.
    fn record(&mut self, slot: &Bytes) -> Result<&Record, Corrupt> {
        let entry = self.entries.get_mut(slot).ok_or(Unloaded).map_err(unread)?;
        if entry.record.is_none() {
            let data = entry.data.clone().unwrap_or_default();
            let decoded = decode(&data, slot).inspect_err(|_| self.corrupted += 1);
            entry.record = Some(decoded?);
        }
        entry.record.as_ref().ok_or(Unloaded).map_err(unread)
    }

    fn put(&mut self, slot: &Bytes, record: Record) -> Bytes {
        let data = encode(&record, slot);
        self.change(slot, Some(data.clone()), Some(record));
        data
    }

    fn put_whole(&mut self, slot: &Bytes, record: Record, data: Bytes) {
        self.change(slot, Some(data), Some(record));
    }

    fn change(&mut self, slot: &Bytes, data: Option<Bytes>, record: Option<Record>) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        (entry.data, entry.record) = (data, record);
        if !std::mem::replace(&mut entry.changed, true) {
            self.changed.push(slot.clone());
        }
    }

    fn horizon_at(&self, slot: &[u8]) -> u64 {
        let token = token_of(slot);
        let behind = self.whom.horizon.partition_point(|(first, _)| *first <= token);
        behind.checked_sub(1).map_or(0, |at| self.whom.horizon[at].1)
    }
}

/// The token in a slot.
pub fn token_of(slot: &[u8]) -> u64 {
    slot.first_chunk::<TOKEN_BYTES>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Who loads forgets none; what was not loaded is refused, and never made up.
fn unread(_: Unloaded) -> Corrupt {
    Corrupt("a record that was not read".into())
}

fn corrupt(Corrupt(why): Corrupt) -> Failure {
    Failure::new(code::CORRUPT, &why)
}

#[cfg(test)]
mod tests;
