//! Forgetting: what may go from a record, and when.
//!
//! A tombstone may go only when every replica has it, or what it deleted comes back from one that
//! was away. So `before_us` is the start of the last anti-entropy round that all replicas of the
//! range took part in, and never later than now minus the grace.

use crate::clock::Clock;
use crate::memory::{stamp, LWW};
use crate::record::{Record, Version, DEAD_BYTES};

/// A context is pruned of actors that are gone only when it has more entries than this.
pub const CLOCK_LIMIT: usize = 32;

/// When the version stopped being shown (µs), None while it has no end.
///
/// A value with an end dies then, also where that is in the future.
pub fn died_at(version: &Version) -> Option<u64> {
    if version.value.is_none() {
        return Some(version.timestamp_us);
    }
    (version.expires_at_us != 0).then_some(version.expires_at_us)
}

/// Whether all of the record died before `before_us`, so that it may go whole.
///
/// A replica that has purged up to `before_us` need not take such a record in again.
pub fn is_dead(record: &Record, before_us: u64) -> bool {
    !record.versions.iter().any(|version| stays(version, before_us))
        && record.applied.iter().all(|entry| entry.expires_at_us < before_us)
        && remembered(&record.dead, before_us) == 0
}

/// The record without what died before `before_us`; None where nothing is left.
///
/// A context with more than `CLOCK_LIMIT` entries loses those whose actor does not `belong`: to the
/// incarnations of all members since before that time. Every replica has seen the writes of others
/// by now. The caller raises its counter floor to its own entry of a context that goes.
pub fn purge(record: &Record, before_us: u64, belongs: impl Fn(&[u8]) -> bool) -> Option<Record> {
    if is_dead(record, before_us) {
        return None;
    }
    let versions = record.versions.iter().filter(|version| stays(version, before_us));
    let versions: Vec<Version> = versions.cloned().collect();
    let applied = record.applied.iter().filter(|entry| entry.expires_at_us >= before_us);
    Some(Record {
        context: prune(&record.context, &versions, belongs),
        versions,
        applied: applied.cloned().collect(),
        dead: record.dead.slice(..remembered(&record.dead, before_us)),
    })
}

fn stays(version: &Version, before_us: u64) -> bool {
    died_at(version).is_none_or(|end| end >= before_us)
}

/// How many bytes of `Record::dead` are not to be forgotten yet.
fn remembered(dead: &[u8], before_us: u64) -> usize {
    // Greatest timestamp first, so what is forgotten is a tail.
    DEAD_BYTES * dead.chunks_exact(DEAD_BYTES).take_while(|one| stamp(one) >= before_us).count()
}

fn prune(context: &Clock, versions: &[Version], belongs: impl Fn(&[u8]) -> bool) -> Clock {
    if context.len() <= CLOCK_LIMIT {
        return context.clone();
    }
    context.only(|actor| {
        actor == LWW || belongs(actor) || versions.iter().any(|version| version.dot.actor == actor)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::Dot;

    fn version(value: Option<&'static str>, timestamp_us: u64, expires_at_us: u64) -> Version {
        let dot = Dot { actor: "a".into(), counter: timestamp_us };
        let value = value.map(Bytes::from);
        Version { dot, value, timestamp_us, op: [1; 16], expires_at_us }
    }

    fn record(versions: Vec<Version>, actors: usize) -> Record {
        let gone = (0..actors).map(|at| (Bytes::from(format!("gone#{at}")), 1));
        let context = gone.chain([(Bytes::from("a"), 9)]).collect();
        Record { versions, context, ..Record::default() }
    }

    #[test]
    fn what_died_goes_and_what_lives_stays() {
        let all = vec![version(None, 5, 0), version(Some("v"), 6, 7), version(Some("w"), 8, 0)];
        let left = purge(&record(all.clone(), 0), 10, |_| true).unwrap();
        assert_eq!(left.versions, all[2..]);
        let left = purge(&record(all.clone(), 0), 5, |_| true).unwrap();
        assert_eq!(left.versions, all);
        assert!(purge(&record(all[..2].to_vec(), 0), 10, |_| true).is_none());
        assert!(is_dead(&record(vec![], 3), 0));
    }

    #[test]
    fn only_long_contexts_lose_those_who_are_gone() {
        let live = vec![version(Some("v"), 8, 0)];
        let left = |actors| purge(&record(live.clone(), actors), 10, |_| false).unwrap().context;
        assert_eq!(left(CLOCK_LIMIT - 1).len(), CLOCK_LIMIT);
        assert_eq!(left(CLOCK_LIMIT).len(), 1);
    }
}
