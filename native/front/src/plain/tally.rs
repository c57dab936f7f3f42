//! How many plain calls were answered, and how long they took.

use std::time::Duration;

/// Counts by the upper ends of buckets, the last of which has none.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    bounds: Vec<f64>,
    pub counts: Vec<u64>,
    pub seconds: f64,
}

impl Tally {
    pub fn new(bounds: Vec<f64>) -> Self {
        let counts = vec![0; bounds.len() + 1];
        Self { bounds, counts, seconds: 0.0 }
    }

    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.seconds += seconds;
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        if let Some(count) = self.counts.get_mut(bucket.unwrap_or(self.bounds.len())) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_in_the_first_bucket_that_holds_them() {
        let mut tally = Tally::new(vec![0.001, 0.01]);
        for micros in [1, 1000, 1001, 10_001] {
            tally.add(Duration::from_micros(micros));
        }
        assert_eq!(tally.counts, [2, 1, 1]);
        assert!((tally.seconds - 0.012_003).abs() < 1e-9);
        Tally::default().add(Duration::ZERO);
    }
}
