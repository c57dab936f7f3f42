//! Many timers with one: what is due to the next tick.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub const TICK: Duration = Duration::from_millis(10);

/// Remembers what is due when; adding costs next to nothing, and nothing comes early.
pub struct Wheel<T> {
    begun: Instant,
    slots: BTreeMap<u128, Vec<T>>,
}

impl<T> Wheel<T> {
    pub fn new(begun: Instant) -> Self {
        Self { begun, slots: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn add(&mut self, item: T, due: Instant) {
        self.slots.entry(self.tick(due) + 1).or_default().push(item);
    }

    /// Takes out what is due, the earliest first.
    pub fn due(&mut self, now: Instant) -> Vec<T> {
        let later = self.slots.split_off(&(self.tick(now) + 1));
        let due = std::mem::replace(&mut self.slots, later);
        due.into_values().flatten().collect()
    }

    fn tick(&self, moment: Instant) -> u128 {
        moment.saturating_duration_since(self.begun).as_nanos() / TICK.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_early_and_all_comes_with_the_next_tick() {
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        let mut wheel = Wheel::new(begun);
        wheel.add("b", after(25));
        wheel.add("a", after(12));
        assert!(wheel.due(after(19)).is_empty());
        assert_eq!(wheel.due(after(20)), ["a"]);
        assert!(wheel.due(after(29)).is_empty());
        assert_eq!(wheel.due(after(40)), ["b"]);
        assert!(wheel.is_empty());
    }
}
