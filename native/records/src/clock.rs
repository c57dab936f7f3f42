//! Dots and version vectors: who knew what when a write was made.
//!
//! Preguiça et al., "Dotted Version Vectors" (2010); Almeida et al., "Scalable and Accurate
//! Causality Tracking for Eventually Consistent Stores" (DAIS 2014).

use std::cmp::Ordering;
use std::collections::HashMap;

use bytes::Bytes;

use crate::pack::{Malformed, Pack, Reader};

/// Of a clock that has more entries, each is looked for in a table while it is read.
const FEW: usize = 32;

/// The name of one write: the storage node's incarnation that took it, and its count there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// UTF-8.
    pub actor: Bytes,
    pub counter: u64,
}

/// Actor -> greatest counter. An entry (a, n) says that every write with a dot (a, m), m <= n, is
/// known: it is at hand, or was replaced.
///
/// Entries stay in the order in which they came, so that the bytes of a clock don't change without
/// need; clocks are equal in any order.
#[derive(Clone, Debug, Default)]
pub struct Clock(Vec<(Bytes, u64)>);

impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().all(|(actor, counter)| other.find(actor) == Some(*counter))
    }
}

impl Eq for Clock {}

impl FromIterator<(Bytes, u64)> for Clock {
    fn from_iter<T: IntoIterator<Item = (Bytes, u64)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Clock {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Bytes, u64)> {
        self.0.iter()
    }

    /// The greatest counter of an actor; 0 where there is none.
    pub fn get(&self, actor: &[u8]) -> u64 {
        self.find(actor).unwrap_or(0)
    }

    /// Whether it knows the write of that name.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.get(&dot.actor) >= dot.counter
    }

    /// Whether it knows all that `other` knows.
    pub fn descends(&self, other: &Self) -> bool {
        other.0.iter().all(|(actor, counter)| self.get(actor) >= *counter)
    }

    /// How it stands to `other`: later, earlier, equal, or none of these. An entry of 0 is none.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self.descends(other), other.descends(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }

    /// The least clock that knows what either knows.
    pub fn join(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        let mut joined = self.clone();
        for (actor, counter) in &other.0 {
            joined.raise(actor, *counter);
        }
        joined
    }

    /// The next dot of `actor`: above the clock's and above `floor`, the greatest counter that it
    /// may have used in records that it has forgotten. Gaps are harmless, a counter used twice is
    /// not.
    pub fn next(&self, actor: &Bytes, floor: u64) -> Dot {
        Dot { actor: actor.clone(), counter: self.get(actor).max(floor).saturating_add(1) }
    }

    /// Makes one write known, and all of its actor's before it.
    pub fn know(&mut self, dot: &Dot) {
        self.raise(&dot.actor, dot.counter);
    }

    /// Only the entries of these actors.
    pub fn only(&self, stays: impl Fn(&[u8]) -> bool) -> Self {
        self.0.iter().filter(|(actor, _)| stays(actor)).cloned().collect()
    }

    pub fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let count = reader.map()?;
        let mut clock = Self(Vec::with_capacity(count.min(FEW)));
        let mut places: HashMap<Bytes, usize> = HashMap::new();
        for _ in 0..count {
            let (actor, counter) = (reader.utf8()?, reader.uint()?);
            // Of an actor that is there twice the last holds, as in any map.
            let before = if clock.0.len() <= FEW {
                clock.0.iter().position(|(other, _)| *other == actor)
            } else {
                if places.is_empty() {
                    let known = clock.0.iter().enumerate();
                    places = known.map(|(at, (actor, _))| (actor.clone(), at)).collect();
                }
                places.get(&actor).copied()
            };
            if let Some(at) = before {
                clock.0[at].1 = counter;
                continue;
            }
            if !places.is_empty() {
                places.insert(actor.clone(), clock.0.len());
            }
            clock.0.push((actor, counter));
        }
        Ok(clock)
    }

    pub fn write(&self, to: &mut Vec<u8>) {
        to.map(self.0.len());
        for (actor, counter) in &self.0 {
            to.utf8(actor).uint(*counter);
        }
    }

    fn find(&self, actor: &[u8]) -> Option<u64> {
        self.0.iter().find(|(other, _)| other == actor).map(|(_, counter)| *counter)
    }

    fn raise(&mut self, actor: &Bytes, counter: u64) {
        match self.0.iter_mut().find(|(other, _)| other == actor) {
            Some((_, held)) => *held = counter.max(*held),
            None if counter > 0 => self.0.push((actor.clone(), counter)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(entries: &[(&'static str, u64)]) -> Clock {
        entries
            .iter()
            .map(|(actor, counter)| (Bytes::from_static(actor.as_bytes()), *counter))
            .collect()
    }

    #[test]
    fn clocks_are_ordered_by_what_they_know() {
        let (one, two) = (clock(&[("a", 1)]), clock(&[("b", 1), ("a", 1)]));
        assert_eq!(one.compare(&two), Some(Ordering::Less));
        assert_eq!(two.compare(&one), Some(Ordering::Greater));
        assert_eq!(two.compare(&clock(&[("a", 1), ("b", 1)])), Some(Ordering::Equal));
        assert_eq!(two.compare(&clock(&[("a", 2)])), None);
        assert_eq!(clock(&[("a", 0)]).compare(&Clock::default()), Some(Ordering::Equal));
    }

    #[test]
    fn a_join_knows_what_either_knows() {
        let joined = clock(&[("a", 1), ("b", 3)]).join(&clock(&[("b", 2), ("c", 1), ("d", 0)]));
        assert_eq!(joined, clock(&[("a", 1), ("b", 3), ("c", 1)]));
    }

    #[test]
    fn the_next_dot_is_above_all_that_were() {
        let actor = Bytes::from_static(b"a");
        assert_eq!(clock(&[("a", 3)]).next(&actor, 0).counter, 4);
        assert_eq!(clock(&[("a", 3)]).next(&actor, 7).counter, 8);
        assert_eq!(Clock::default().next(&actor, 0).counter, 1);
    }

    #[test]
    fn what_is_written_is_read_and_of_two_entries_the_last_holds() {
        let many: Clock = (0..100_u64).map(|at| (Bytes::from(format!("n#{at}")), at + 1)).collect();
        let mut data = Vec::new();
        many.write(&mut data);
        assert_eq!(Clock::read(&mut Reader::new(data.into())), Ok(many));
        for names in [vec!["a"; 2], vec!["a"; 200]] {
            let mut data = Vec::new();
            data.map(names.len() + 40);
            for at in 0..40 {
                data.text(&format!("b{at}")).uint(1);
            }
            for (at, name) in names.iter().enumerate() {
                data.text(name).uint(at as u64 + 5);
            }
            let found = Clock::read(&mut Reader::new(data.into())).unwrap();
            assert_eq!((found.len(), found.get(b"a")), (41, names.len() as u64 + 4));
        }
    }
}
