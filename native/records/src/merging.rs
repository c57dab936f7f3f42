//! How replicas' records join, and how a replica takes a write.
//!
//! `merge` is the join of a semilattice: commutative, associative, idempotent. A version lives on in
//! a join if both sides have it, or if one has it and the other's context does not cover its dot;
//! and if its operation is not dead. An operation is dead when any version of it was replaced. That
//! is for one that two replicas took (the first did not answer in time): a writer that saw one of
//! the two copies replaced the operation, not only that copy.

use bytes::Bytes;

use crate::clock::{Clock, Dot};
use crate::memory::{self, death_of_op, Memory};
use crate::pack::{Malformed, Pack, Reader};
use crate::record::{op, Applied, Op, Record, Version};

/// A write as its taker gets it; `muster_kv.merging.Intent` says what the fields mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub op: Op,
    /// None deletes.
    pub value: Option<Bytes>,
    pub timestamp_us: u64,
    /// What the writer has seen and replaces; None is whatever the taker has at that moment.
    pub context: Option<Clock>,
    pub expires_at_us: u64,
    /// Empty where the client gave no idempotency key.
    pub digest: Bytes,
    /// 0 unless the operation must be remembered.
    pub remember_until_us: u64,
}

impl Intent {
    /// Reads the array; elements at its end may be missing.
    pub fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let fields = reader.fields(3)?;
        let mut intent = Self {
            op: op(&reader.bin()?)?,
            value: reader.bin_or_nil()?,
            timestamp_us: reader.uint()?,
            context: None,
            expires_at_us: 0,
            digest: Bytes::new(),
            remember_until_us: 0,
        };
        if fields > 3 && !reader.nil() {
            intent.context = Some(Clock::read(reader)?);
        }
        if fields > 4 {
            intent.expires_at_us = reader.uint()?;
        }
        if fields > 5 {
            intent.digest = reader.bin()?;
        }
        if fields > 6 {
            intent.remember_until_us = reader.uint()?;
        }
        reader.rest(fields, 7)?;
        Ok(intent)
    }

    /// Writes the array.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.array(7).bin(&self.op);
        match &self.value {
            Some(value) => to.bin(value),
            None => to.nil(),
        };
        to.uint(self.timestamp_us);
        match &self.context {
            Some(context) => context.write(to),
            None => _ = to.nil(),
        }
        to.uint(self.expires_at_us).bin(&self.digest).uint(self.remember_until_us);
    }
}

/// What became of an intent, or what is known of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken now; or: never seen here.
    New = 0,
    /// Happened before, nothing changed.
    Duplicate = 1,
    /// The same idempotency key came with another value before.
    Conflict = 2,
}

/// What became of a take.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The record afterwards; nothing where it is what it was.
    pub record: Option<Record>,
    pub outcome: Outcome,
    /// What to tell the writer.
    pub clock: Clock,
}

/// A writer's context names writes of this replica that it has never made.
#[derive(Debug, PartialEq, Eq)]
pub struct Overclaim(pub String);

/// What a join is.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    Ours,
    Theirs,
    Another(Record),
}

impl Joined {
    /// The record that it is.
    pub fn record(self, ours: Record, theirs: Record) -> Record {
        match self {
            Self::Ours => ours,
            Self::Theirs => theirs,
            Self::Another(record) => record,
        }
    }
}

/// Applies a write at the replica `actor`, which makes its dot.
///
/// `floor` is the greatest counter that the replica may have used in records it has forgotten. The
/// write is stamped later than all that it replaces.
pub fn take(
    record: &Record,
    intent: &Intent,
    actor: &Bytes,
    floor: u64,
) -> Result<Taken, Overclaim> {
    let known = knows(record, intent);
    if known != Outcome::New {
        let clock = clock_of(record, &intent.op);
        return Ok(Taken { record: None, outcome: known, clock });
    }
    let context = intent.context.as_ref().unwrap_or(&record.context);
    let made = record.context.get(actor).max(floor);
    let claimed = context.get(actor);
    if claimed > made {
        let actor = String::from_utf8_lossy(actor);
        return Err(Overclaim(format!(
            "context: {actor} has counter {claimed}; allowed: at most {made}, the last one made"
        )));
    }
    let covered = |version: &&Version| context.covers(&version.dot);
    let (replaced, kept): (Vec<&Version>, Vec<&Version>) =
        record.versions.iter().partition(covered);
    let later = replaced.iter().map(|version| version.timestamp_us.saturating_add(1));
    let timestamp_us = later.fold(intent.timestamp_us, u64::max);
    let dot = record.context.next(actor, floor);
    let mut versions: Vec<Version> = kept.into_iter().cloned().collect();
    versions.push(Version {
        dot: dot.clone(),
        value: intent.value.clone(),
        timestamp_us,
        op: intent.op,
        expires_at_us: intent.expires_at_us,
    });
    let mut clock = record.context.join(context);
    clock.know(&dot);
    let told = written_clock(&versions, &dot, &clock, context);
    let mut memory = Memory::of(record);
    if intent.remember_until_us != 0 {
        memory.remember(Applied {
            op: intent.op,
            digest: intent.digest.clone(),
            dot,
            clock: told.clone(),
            expires_at_us: intent.remember_until_us,
            superseded_us: 0,
        });
    }
    memory.bury(replaced, timestamp_us);
    let record = Some(settle(versions, memory, clock));
    Ok(Taken { record, outcome: Outcome::New, clock: told })
}

/// The least record that knows what either knows.
pub fn merge(ours: &Record, theirs: &Record) -> Joined {
    if theirs.is_absent() {
        return Joined::Ours;
    }
    if ours.is_absent() || includes(theirs, ours) {
        return Joined::Theirs;
    }
    if includes(ours, theirs) {
        return Joined::Ours;
    }
    let versions = join_versions(ours, theirs);
    let mut memory = Memory::of(ours).join(theirs);
    // The other side may know its dot only from a writer that had seen it elsewhere.
    let both = ours.versions.iter().chain(&theirs.versions);
    let lost = both.filter(|version| !versions.iter().any(|alive| alive.dot == version.dot));
    memory.bury(lost, 0);
    Joined::Another(settle(versions, memory, ours.context.join(&theirs.context)))
}

/// Whether the intent's operation has happened here.
///
/// With an idempotency key until its entry expires, by the intent's timestamp, so that all replicas
/// judge alike.
pub fn knows(record: &Record, intent: &Intent) -> Outcome {
    let mut conflict = false;
    for entry in &record.applied {
        if entry.op == intent.op && intent.timestamp_us < entry.expires_at_us {
            if entry.digest == intent.digest {
                return Outcome::Duplicate;
            }
            conflict = true;
        }
    }
    if conflict {
        return Outcome::Conflict;
    }
    let seen = || {
        record.versions.iter().any(|version| version.op == intent.op)
            || death_of_op(&record.dead, &intent.op) != 0
    };
    if intent.digest.is_empty() && seen() {
        return Outcome::Duplicate;
    }
    Outcome::New
}

/// The clock that the writer of `op` was told, or the most that it may be told now.
pub fn clock_of(record: &Record, op: &Op) -> Clock {
    if let Some(entry) = record.applied.iter().find(|entry| entry.op == *op) {
        return entry.clock.clone();
    }
    match record.versions.iter().find(|version| version.op == *op) {
        Some(version) => {
            written_clock(&record.versions, &version.dot, &record.context, &Clock::default())
        }
        None => Clock::default(),
    }
}

/// The clock to tell the writer of the version `dot`: what it may claim to have seen.
///
/// `clock` is the record's, `context` the writer's. Where siblings stay that the writer has not
/// seen, its next write must not cover them; a clock can't name a dot without all below it, so the
/// writer's own is left out where a sibling lies below.
pub fn written_clock(versions: &[Version], dot: &Dot, clock: &Clock, context: &Clock) -> Clock {
    let mut others = versions.iter().filter(|version| version.dot != *dot).peekable();
    if others.peek().is_none() {
        return clock.clone();
    }
    let mut told = context.clone();
    if !others.any(|version| version.dot.actor == dot.actor) {
        told.know(dot);
    }
    told
}

/// Whether joining would only give `large` again; cheap, and may miss it.
///
/// It is what nearly every merge finds: the record of a write that replaced what is here.
fn includes(large: &Record, small: &Record) -> bool {
    if !large.context.descends(&small.context) {
        return false;
    }
    if !small.applied.is_empty() && small.applied != large.applied {
        return false;
    }
    if !memory::includes(&large.dead, &small.dead) {
        return false;
    }
    let there = small.versions.iter().all(|version| {
        match large.versions.iter().find(|kept| kept.dot == version.dot) {
            Some(kept) => kept.op == version.op,
            None => death_of_op(&large.dead, &version.op) > version.timestamp_us,
        }
    });
    let only_large = |kept: &&Version| !small.versions.iter().any(|one| one.dot == kept.dot);
    there && !large.versions.iter().filter(only_large).any(|kept| small.context.covers(&kept.dot))
}

fn join_versions(ours: &Record, theirs: &Record) -> Vec<Version> {
    let mut joined = Vec::with_capacity(ours.versions.len() + theirs.versions.len());
    for version in &theirs.versions {
        match ours.versions.iter().find(|one| one.dot == version.dot) {
            // They differ only where two writes that win by time have the same microsecond.
            Some(same) => joined.push(if version.op > same.op { version } else { same }.clone()),
            None if !ours.context.covers(&version.dot) => joined.push(version.clone()),
            None => {}
        }
    }
    let only_ours = ours
        .versions
        .iter()
        .filter(|one| !theirs.versions.iter().any(|other| other.dot == one.dot));
    joined.extend(only_ours.filter(|one| !theirs.context.covers(&one.dot)).cloned());
    joined
}

/// The record of these parts, without versions of dead operations.
fn settle(mut versions: Vec<Version>, mut memory: Memory, context: Clock) -> Record {
    loop {
        let (dead, alive): (Vec<_>, Vec<_>) =
            versions.into_iter().partition(|version| memory.is_dead(version));
        versions = alive;
        if dead.is_empty() {
            break;
        }
        memory.bury(&dead, 0);
    }
    versions.sort_by(|one, other| one.dot.cmp(&other.dot));
    Record { versions, context, applied: memory.applied, dead: memory.dead }
}
