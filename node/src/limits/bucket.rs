//! Token buckets: on the wall clock for what is kept over a restart, on the monotonic one for what is not.

use tokio::time::Instant;

/// A clock that is back by less is no clock that was set: calls that arrived together are counted one after the other.
const SETBACK_MS: u64 = 10_000;

/// A bucket whose level is kept. It never fills faster than its rate, whatever the clock does: a step back gives
/// nothing, and a jump forward fills it once. A full one may be asked for more than it holds; what is owed then is paid
/// at its rate before anything else is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// What is left, or owed where it is negative.
    pub(crate) tokens: i64,
    /// When that was so, milliseconds of Unix time.
    pub(crate) at_ms: u64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn full(capacity: u64, now_ms: u64) -> Self {
        Self { tokens: signed(capacity), at_ms: now_ms }
    }

    /// The bucket as it is now; `rate` is a second's.
    pub(crate) fn at(self, now_ms: u64, rate: u64, capacity: u64) -> Self {
        let capacity = signed(capacity);
        let tokens = self.tokens.min(capacity);
        let Some(elapsed) = now_ms.checked_sub(self.at_ms) else {
            // It goes on from where the clock is now, with what there is.
            let was_set = self.at_ms - now_ms > SETBACK_MS;
            return Self { tokens, at_ms: if was_set { now_ms } else { self.at_ms } };
        };
        let gained = elapsed.saturating_mul(rate) / 1_000;
        if gained == 0 {
            return Self { tokens, ..self };
        }
        // What is not yet a whole token is kept as time.
        let used_ms = gained.saturating_mul(1_000).div_ceil(rate.max(1)).min(elapsed);
        let tokens = tokens.saturating_add(signed(gained));
        let full = tokens >= capacity;
        Self { tokens: tokens.min(capacity), at_ms: if full { now_ms } else { self.at_ms + used_ms } }
    }

    /// Takes so many, whether there are or not.
    pub(crate) fn less(self, count: u64) -> Self {
        Self { tokens: self.tokens.saturating_sub(signed(count)), ..self }
    }

    /// Milliseconds until there are `count`, at most a bucket's worth, and nothing is owed; `None` where that is so.
    pub(crate) fn wait_ms(self, count: u64, rate: u64) -> Option<u64> {
        let missing = u64::try_from(signed(count).saturating_sub(self.tokens)).unwrap_or(0);
        (missing > 0).then(|| missing.saturating_mul(1_000).div_ceil(rate.max(1)))
    }
}

/// Rates come from configurations and grants, and may be anything.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A bucket that lives as long as the process.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    rate: u64,
    capacity: u64,
    bucket: Bucket,
}

impl Pace {
    pub(crate) fn new(rate: u64, capacity: u64) -> Self {
        Self { begun: Instant::now(), rate, capacity, bucket: Bucket::full(capacity, 0) }
    }

    /// Takes a token; where there is none, gives the milliseconds until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        self.take_worth(1, now)
    }

    /// The same of several, at most a bucket's worth.
    pub(crate) fn take_worth(&mut self, tokens: u64, now: Instant) -> Option<u64> {
        let wait = self.wait_for(tokens, now);
        if wait.is_none() {
            self.bucket = self.bucket.less(tokens);
        }
        wait
    }

    /// Whether it is full, and so nothing but a new one.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.wait(now).is_none() && self.bucket.wait_ms(self.capacity, self.rate).is_none()
    }

    /// Milliseconds until there is a token, where there is none.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<u64> {
        self.wait_for(1, now)
    }

    fn wait_for(&mut self, tokens: u64, now: Instant) -> Option<u64> {
        let now_ms = now.saturating_duration_since(self.begun).as_millis() as u64;
        self.bucket = self.bucket.at(now_ms, self.rate, self.capacity);
        self.bucket.wait_ms(tokens, self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_at_its_rate_and_no_further_than_full() {
        let empty = Bucket { tokens: 0, at_ms: 10_000 };
        assert_eq!(empty.at(10_500, 100, 200).tokens, 50);
        assert_eq!(empty.at(60_000, 100, 200).tokens, 200);
        assert_eq!(empty.wait_ms(50, 100), Some(500));
        assert_eq!(empty.at(10_500, 100, 200).wait_ms(50, 100), None);
    }

    #[test]
    fn what_is_owed_is_paid_at_the_rate() {
        let owing = Bucket::full(100, 10_000).less(1_100);
        assert_eq!((owing.tokens, owing.wait_ms(1, 100)), (-1_000, Some(10_010)));
        assert_eq!(owing.at(19_000, 100, 100).tokens, -100);
        assert_eq!(owing.at(1_000_000, 100, 100).tokens, 100);
        let most = Bucket::full(u64::MAX, 0);
        assert_eq!(most.less(u64::MAX).tokens, 0);
        assert_eq!(Bucket { tokens: i64::MIN, at_ms: 0 }.wait_ms(u64::MAX, 1), Some(u64::MAX));
    }

    #[test]
    fn many_short_looks_gain_no_more_than_the_rate_and_hardly_less() {
        let mut bucket = Bucket { tokens: 0, at_ms: 0 };
        for now_ms in 1..=1_001 {
            bucket = bucket.at(now_ms, 7, 100);
        }
        assert_eq!(bucket.tokens, 7);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_one_that_jumps_fills_it_once() {
        let empty = Bucket { tokens: 0, at_ms: 1_000_000 };
        let back = empty.at(1_000, 100, 200);
        assert_eq!(back, Bucket { tokens: 0, at_ms: 1_000 });
        let jumped = back.at(u64::MAX, 100, 200);
        assert_eq!(jumped, Bucket { tokens: 200, at_ms: u64::MAX });
        assert_eq!(Bucket { tokens: 0, ..jumped }.at(u64::MAX, 100, 200).tokens, 0);
        assert_eq!(
            empty.at(999_990, 100, 200),
            empty,
            "a call that came a moment earlier gives no moment twice"
        );
    }
}
