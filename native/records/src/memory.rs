//! What a record remembers of operations, beyond the versions that are alive.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::clock::Dot;
use crate::record::{value_digest, Applied, Op, Record, Version, DEAD_BYTES};

/// How many replaced operations a record remembers; of those with an `Applied` entry, all.
pub const DEAD_LIMIT: usize = 32;
/// The actor of tenants for whom the last write wins; its counter is the timestamp.
pub const LWW: &[u8] = b"lww";

const STAMP_BYTES: usize = 8;

/// Whether the operation has an idempotency key; see `muster_kv.ops`.
pub fn is_remembered(op: &Op) -> bool {
    op[0] >= 0x80
}

/// The fields of a record that remember: they only grow, until they are purged.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub applied: Vec<Applied>,
    pub dead: Bytes,
}

impl Memory {
    pub fn of(record: &Record) -> Self {
        Self { applied: record.applied.clone(), dead: record.dead.clone() }
    }

    /// What either remembers.
    pub fn join(self, other: &Record) -> Self {
        Self {
            applied: join_applied(self.applied, &other.applied),
            dead: join_dead(&self.dead, &other.dead),
        }
    }

    /// Adds one more take.
    pub fn remember(&mut self, entry: Applied) {
        self.applied = join_applied(std::mem::take(&mut self.applied), &[entry]);
    }

    /// Adds the operations of replaced versions as dead.
    ///
    /// `died_us` is the timestamp of what replaced them, 0 where it is not known. Where the last
    /// write wins nothing is remembered: there the later write covers the earlier.
    pub fn bury<'a>(&mut self, replaced: impl IntoIterator<Item = &'a Version>, died_us: u64) {
        for version in replaced {
            if version.dot.actor == LWW {
                continue;
            }
            let died = died_us.max(version.timestamp_us.saturating_add(1));
            for entry in self.applied.iter_mut().filter(|entry| entry.dot == version.dot) {
                entry.superseded_us = entry.superseded_us.max(died);
            }
            if !is_remembered(&version.op) {
                let mut entry = [0; DEAD_BYTES];
                entry[..STAMP_BYTES].copy_from_slice(&died.to_be_bytes());
                entry[STAMP_BYTES..].copy_from_slice(&version.op);
                self.dead = join_dead(&self.dead, &Bytes::copy_from_slice(&entry));
            }
        }
    }

    /// Whether the version's operation was replaced, under this dot or another.
    ///
    /// A take of the operation that is stamped later than what replaced it stands: it replaced,
    /// perhaps, what replaced the other take, and of the two one must stay. One that has replaced
    /// nothing goes.
    pub fn is_dead(&self, version: &Version) -> bool {
        if version.dot.actor == LWW {
            return false;
        }
        death_of_op(&self.dead, &version.op) > version.timestamp_us
            || self.applied.iter().any(|entry| {
                entry.superseded_us != 0
                    && same_operation(entry, version)
                    && (entry.superseded_us > version.timestamp_us
                        || self.replaced_nothing(version))
            })
    }

    /// Whether a version is known to have replaced nothing: its writer had seen nothing that another
    /// than its taker took, and nothing died when it was written.
    fn replaced_nothing(&self, version: &Version) -> bool {
        let (taker, died) = (&version.dot.actor, version.timestamp_us);
        let own = self.applied.iter().find(|entry| entry.dot == version.dot);
        own.is_some_and(|entry| entry.clock.iter().all(|(actor, _)| actor == taker))
            && !self.dead.chunks_exact(DEAD_BYTES).any(|entry| stamp(entry) == died)
            && !self.applied.iter().any(|entry| entry.superseded_us == died)
    }
}

/// When `Record::dead` has the operation replaced, 0 where it does not have it.
pub fn death_of_op(dead: &[u8], op: &Op) -> u64 {
    // The greatest comes first.
    dead.chunks_exact(DEAD_BYTES).find(|entry| entry[STAMP_BYTES..] == op[..]).map_or(0, stamp)
}

/// When an entry of `Record::dead` was replaced.
pub fn stamp(entry: &[u8]) -> u64 {
    entry.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Whether joining two `Record::dead` would only give `large`; cheap, and may miss it.
///
/// New entries come first, so the other is most often the same list from some place on.
pub fn includes(large: &[u8], small: &[u8]) -> bool {
    let Some(first) = small.get(..DEAD_BYTES) else { return true };
    let Some(at) = large.chunks_exact(DEAD_BYTES).position(|entry| entry == first) else {
        return false;
    };
    let tail = &large[at * DEAD_BYTES..];
    let shared = tail.len().min(small.len());
    let full = large.len() == DEAD_LIMIT * DEAD_BYTES;
    tail[..shared] == small[..shared] && (tail.len() >= small.len() || full)
}

fn same_operation(entry: &Applied, version: &Version) -> bool {
    entry.op == version.op
        && version.timestamp_us < entry.expires_at_us
        && (entry.digest.is_empty() || entry.digest == value_digest(version.value.as_deref())[..])
}

fn join_applied(ours: Vec<Applied>, theirs: &[Applied]) -> Vec<Applied> {
    if theirs.is_empty() || ours == theirs {
        return ours;
    }
    if ours.is_empty() {
        return theirs.to_vec();
    }
    let by_take = |entry: &Applied| -> (Op, Bytes, Dot) {
        (entry.op, entry.digest.clone(), entry.dot.clone())
    };
    let mut joined: BTreeMap<_, Applied> =
        ours.into_iter().map(|entry| (by_take(&entry), entry)).collect();
    for entry in theirs {
        let held = joined.entry(by_take(entry)).or_insert_with(|| entry.clone());
        if entry.superseded_us > held.superseded_us {
            *held = entry.clone();
        }
    }
    joined.into_values().collect()
}

fn join_dead(ours: &Bytes, theirs: &Bytes) -> Bytes {
    if theirs.is_empty() || ours == theirs {
        return ours.clone();
    }
    if includes(theirs, ours) {
        return theirs.clone();
    }
    let mut entries: Vec<&[u8]> =
        ours.chunks_exact(DEAD_BYTES).chain(theirs.chunks_exact(DEAD_BYTES)).collect();
    // The greatest first, of each operation only that.
    entries.sort_unstable_by(|one, other| other.cmp(one));
    let mut joined: Vec<u8> = Vec::with_capacity(DEAD_LIMIT * DEAD_BYTES);
    for entry in entries {
        if joined.len() == DEAD_LIMIT * DEAD_BYTES {
            break;
        }
        let op = &entry[STAMP_BYTES..];
        if !joined.chunks_exact(DEAD_BYTES).any(|held| held[STAMP_BYTES..] == *op) {
            joined.extend_from_slice(entry);
        }
    }
    joined.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(died: u64, op: u8) -> Vec<u8> {
        [&died.to_be_bytes()[..], &[op; 16]].concat()
    }

    fn dead(entries: &[(u64, u8)]) -> Bytes {
        entries.iter().flat_map(|(died, op)| entry(*died, *op)).collect()
    }

    fn many(from: u64, count: usize) -> Bytes {
        let entries: Vec<_> =
            (0..count).map(|at| (from - at as u64, (from - at as u64) as u8)).collect();
        dead(&entries)
    }

    fn version(op: u8, timestamp_us: u64) -> Version {
        let dot = Dot { actor: "a".into(), counter: timestamp_us };
        Version { dot, value: Some("v".into()), timestamp_us, op: [op; 16], expires_at_us: 0 }
    }

    #[test]
    fn the_latest_death_of_each_operation_is_kept_the_greatest_first() {
        let joined = join_dead(&dead(&[(9, 1), (5, 2)]), &dead(&[(7, 3), (6, 2)]));
        assert_eq!(joined, dead(&[(9, 1), (7, 3), (6, 2)]));
        assert_eq!(death_of_op(&joined, &[2; 16]), 6);
        assert_eq!(death_of_op(&joined, &[4; 16]), 0);
        let full = join_dead(&many(40, DEAD_LIMIT), &dead(&[(50, 60)]));
        assert_eq!(full, [&entry(50, 60)[..], &many(40, DEAD_LIMIT - 1)[..]].concat());
    }

    #[test]
    fn what_joining_would_change_is_never_called_included() {
        let lists = [
            Bytes::new(),
            dead(&[(5, 2)]),
            dead(&[(9, 1), (5, 2)]),
            dead(&[(9, 1), (5, 2), (4, 3)]),
            dead(&[(9, 1)]),
            dead(&[(9, 2)]),
            many(40, DEAD_LIMIT),
            many(41, DEAD_LIMIT),
            many(38, DEAD_LIMIT),
            many(41, DEAD_LIMIT - 1),
        ];
        for large in &lists {
            for small in &lists {
                let joined = join_dead(large, small);
                assert_eq!(joined, join_dead(small, large));
                if includes(large, small) {
                    assert_eq!(joined, large);
                }
            }
        }
        assert!(includes(&many(41, DEAD_LIMIT), &many(40, DEAD_LIMIT)));
        assert!(includes(&dead(&[(9, 1), (5, 2)]), &dead(&[(5, 2)])));
    }

    #[test]
    fn what_was_replaced_is_dead_unless_it_is_stamped_later() {
        let mut memory = Memory::default();
        memory.bury([&version(1, 5)], 8);
        assert!(memory.is_dead(&version(1, 7)));
        assert!(!memory.is_dead(&version(1, 8)));
        assert!(!memory.is_dead(&version(2, 1)));
        let keyed = version(0x81, 5);
        memory.remember(Applied {
            op: keyed.op,
            digest: Bytes::copy_from_slice(&value_digest(Some(b"v"))),
            dot: keyed.dot.clone(),
            clock: crate::clock::Clock::default(),
            expires_at_us: 100,
            superseded_us: 0,
        });
        assert!(!memory.is_dead(&keyed));
        memory.bury([&keyed], 0);
        assert_eq!((memory.applied[0].superseded_us, memory.dead.len()), (6, DEAD_BYTES));
        assert!(memory.is_dead(&keyed));
        assert!(!memory.is_dead(&Version { value: None, ..keyed }));
    }
}
