//! How long a replica may take over a write before somebody else is asked.

use std::time::{Duration, Instant};

const MOST_SECONDS: f64 = 1.0;
const FIRST_SUSPICION: Duration = Duration::from_millis(100);
const LONGEST_SUSPICION: Duration = Duration::from_secs(5);

/// Learns from answers: mean and mean deviation, as timers of retransmission do (RFC 6298).
#[derive(Debug, Default)]
pub struct Patience {
    seen: Option<(f64, f64)>,
    failures: u32,
    suspect_until: Option<Instant>,
}

impl Patience {
    /// How long the replica may take now: `least` at least, and no more than that or a second.
    pub fn now(&self, least: Duration) -> Duration {
        let least = least.as_secs_f64();
        Duration::from_secs_f64(match self.seen {
            None => least.max(MOST_SECONDS / 4.0),
            Some((mean, deviation)) => (mean + 4.0 * deviation).min(MOST_SECONDS).max(least),
        })
    }

    /// The replica took so long.
    pub fn answered(&mut self, took: Duration) {
        self.failures = 0;
        self.suspect_until = None;
        self.observe(took.as_secs_f64());
    }

    /// It had not answered after so long: next time it may take longer.
    ///
    /// Until then others are asked first: for 0.1 s, for twice as long with each time, up to 5 s.
    pub fn late(&mut self, took: Duration, now: Instant) {
        let wait = FIRST_SUSPICION.saturating_mul(1 << self.failures.min(10));
        self.failures += 1;
        self.suspect_until = Some(now + wait.min(LONGEST_SUSPICION));
        self.observe(2.0 * took.as_secs_f64());
    }

    /// Whether others should be asked first.
    pub fn suspects(&self, now: Instant) -> bool {
        self.suspect_until.is_some_and(|until| now < until)
    }

    fn observe(&mut self, seconds: f64) {
        self.seen = Some(match self.seen {
            None => (seconds, seconds / 2.0),
            Some((mean, deviation)) => {
                (0.875 * mean + 0.125 * seconds, 0.75 * deviation + 0.25 * (seconds - mean).abs())
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(50);

    #[test]
    fn an_unknown_replica_gets_a_quarter_of_a_second() {
        assert_eq!(Patience::default().now(LEAST), Duration::from_millis(250));
    }

    #[test]
    fn a_fast_one_gets_little_and_never_less_than_the_least() {
        let mut patience = Patience::default();
        for _ in 0..50 {
            patience.answered(Duration::from_millis(1));
        }
        assert_eq!(patience.now(LEAST), LEAST);
    }

    #[test]
    fn one_that_is_late_gets_more_up_to_a_second() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let first = patience.now(LEAST);
        patience.late(first, now);
        assert!(patience.now(LEAST) > first);
        for _ in 0..7 {
            patience.late(patience.now(LEAST), now);
        }
        assert_eq!(patience.now(LEAST), Duration::from_secs(1));
    }

    #[test]
    fn whoever_is_patient_by_choice_stays_so() {
        let (mut patience, least) = (Patience::default(), Duration::from_secs(20));
        assert_eq!(patience.now(least), least);
        patience.answered(Duration::from_millis(1));
        assert_eq!(patience.now(least), least);
        patience.late(Duration::from_secs(60), Instant::now());
        assert_eq!(patience.now(least), least);
    }

    #[test]
    fn one_that_is_late_comes_after_the_others_for_a_while() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        patience.late(Duration::from_millis(100), now);
        assert!(patience.suspects(after(50)));
        assert!(!patience.suspects(after(200)));
        patience.late(Duration::from_millis(100), after(200));
        assert!(patience.suspects(after(350)));
        patience.answered(Duration::from_millis(100));
        assert!(!patience.suspects(after(350)));
    }
}
