//! How often tenants may write and read: token buckets, from which calls take that are answered
//! here and calls that others answer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// In which an empty bucket becomes full, evenly.
const MINUTE: Duration = Duration::from_secs(60);

/// What a tenant has left after one request.
#[derive(Debug, PartialEq)]
pub struct Allowance {
    /// Whole tokens.
    pub remaining: u64,
    /// Until the bucket is full again.
    pub reset_seconds: f64,
    /// Until there are tokens enough; nothing where this request had them.
    pub retry_seconds: Option<f64>,
}

/// So many tokens were gone at that time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    gone: f64,
    at: Instant,
}

/// The buckets of all tenants, one for writes and one for reads; full ones are forgotten.
pub struct Rates {
    buckets: HashMap<Bytes, [Bucket; 2]>,
    swept: Instant,
}

impl Rates {
    pub fn new(now: Instant) -> Self {
        Self { buckets: HashMap::new(), swept: now }
    }

    /// Takes tokens from a tenant's bucket of `limit`, if it has that many; else none.
    pub fn take(
        &mut self,
        tenant: &[u8],
        writes: bool,
        limit: u64,
        tokens: u64,
        now: Instant,
    ) -> Allowance {
        self.forget(now);
        let buckets = match self.buckets.get_mut(tenant) {
            Some(buckets) => buckets,
            None => {
                let full = [Bucket { gone: 0.0, at: now }; 2];
                self.buckets.entry(Bytes::copy_from_slice(tenant)).or_insert(full)
            }
        };
        buckets[usize::from(writes)].take(limit as f64, tokens as f64, now)
    }

    fn forget(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < MINUTE {
            return;
        }
        self.swept = now;
        let used = |bucket: &Bucket| now.saturating_duration_since(bucket.at) < MINUTE;
        self.buckets.retain(|_, buckets| buckets.iter().any(used));
    }
}

impl Bucket {
    fn take(&mut self, limit: f64, tokens: f64, now: Instant) -> Allowance {
        let per_second = limit / MINUTE.as_secs_f64();
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.gone = (self.gone - passed * per_second).max(0.0);
        self.at = self.at.max(now);
        let over = self.gone + tokens - limit;
        if over <= 0.0 {
            self.gone += tokens;
        }
        Allowance {
            remaining: (limit - self.gone).max(0.0) as u64,
            reset_seconds: self.gone / per_second,
            retry_seconds: (over > 0.0).then(|| over / per_second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn buckets() -> (Rates, Instant) {
        let now = Instant::now();
        (Rates::new(now), now)
    }

    #[test]
    fn a_minutes_worth_at_once_and_then_one_by_one() {
        let (mut rates, now) = buckets();
        let mut taken = |now| rates.take(b"t", true, 60, 1, now);
        for left in (0..60).rev() {
            let allowance = taken(now);
            assert_eq!((allowance.remaining, allowance.retry_seconds), (left, None));
        }
        let refused = taken(now);
        let expected = Allowance { remaining: 0, reset_seconds: 60.0, retry_seconds: Some(1.0) };
        assert_eq!(refused, expected);
        assert_eq!(taken(now + SECOND).retry_seconds, None);
        assert!(taken(now + SECOND).retry_seconds.is_some());
    }

    #[test]
    fn tenants_and_kinds_do_not_slow_each_other() {
        let (mut rates, now) = buckets();
        let mut taken = |tenant: &[u8], writes, tokens| {
            rates.take(tenant, writes, 60, tokens, now).retry_seconds.is_none()
        };
        assert!(taken(b"t", true, 60) && !taken(b"t", true, 1));
        assert!(taken(b"t", false, 1) && taken(b"u", true, 1));
    }

    #[test]
    fn a_batch_is_let_in_whole_or_not_at_all() {
        let (mut rates, now) = buckets();
        let mut taken = |tokens| rates.take(b"t", true, 60, tokens, now);
        assert_eq!(taken(50).retry_seconds, None);
        let refused = taken(20);
        assert_eq!((refused.remaining, refused.retry_seconds), (10, Some(10.0)));
        assert_eq!(taken(10).retry_seconds, None);
    }

    #[test]
    fn what_is_left_and_when_it_is_full_again() {
        let (mut rates, now) = buckets();
        let mut taken = |now| rates.take(b"t", true, 60, 1, now);
        let first = taken(now);
        assert_eq!((first.remaining, first.reset_seconds), (59, 1.0));
        let second = taken(now + SECOND / 2);
        assert_eq!((second.remaining, second.reset_seconds), (58, 1.5));
    }

    #[test]
    fn another_rate_counts_at_once() {
        let (mut rates, now) = buckets();
        assert_eq!(rates.take(b"t", true, 1000, 1, now).remaining, 999);
        assert_eq!(rates.take(b"t", true, 10, 1, now).remaining, 8);
    }

    #[test]
    fn a_clock_that_goes_back_refills_nothing() {
        let (mut rates, now) = buckets();
        let mut taken = |now| rates.take(b"t", true, 1, 1, now).retry_seconds.is_none();
        assert!(taken(now + 60 * SECOND));
        assert!(!taken(now) && !taken(now + 60 * SECOND));
        assert!(taken(now + 120 * SECOND));
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let (mut rates, now) = buckets();
        for tenant in 0..100_u8 {
            rates.take(&[tenant], true, 60, 1, now + SECOND);
        }
        rates.take(b"used", true, 60, 1, now + 60 * SECOND);
        assert_eq!(rates.buckets.len(), 101);
        rates.take(b"t", true, 60, 1, now + 120 * SECOND);
        assert_eq!(rates.buckets.len(), 1);
    }
}
