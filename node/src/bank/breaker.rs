//! A circuit breaker for each provider: one that does not answer is not asked for a while, so that no decision waits for
//! it and it can recover.
//!
//! Closed, every call is made and its outcome noted. Enough failures within a window open it: calls are refused at once.
//! After a time, which has some chance in it so that banks do not come back together, one call is let through; if it is
//! answered the breaker closes, otherwise it stays open twice as long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::config::BreakerConfig;

/// The code of an answer that was not asked for.
pub(super) const CIRCUIT_OPEN: &str = "CIRCUIT_OPEN";

/// Outcomes that are remembered, however many there are within the window.
const MAX_OUTCOMES: usize = 4_096;

/// Doublings of the time that it stays open; the configured maximum is reached long before.
const MAX_DOUBLINGS: u32 = 16;

/// The breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// When, and whether it failed.
    outcomes: VecDeque<(Instant, bool)>,
    /// How often in a row it was opened.
    opened: u32,
    last_failure: Option<String>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// One call was let through.
    HalfOpen {
        since: Instant,
    },
}

/// How a provider is asked at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakerSnapshot {
    /// The provider.
    pub provider: String,
    /// `closed`: it is asked; `open`: it is not; `half_open`: one call finds out.
    pub state: &'static str,
    /// When one call will find out, milliseconds from now.
    pub retry_in_ms: u64,
    /// The stable code of its last failure.
    pub last_failure: Option<String>,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, inner: Mutex::default() }
    }

    /// Whether a call may be made now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        match inner.state {
            State::Closed => true,
            State::Open { until } if now < until => false,
            // A call whose outcome never came does not keep others from finding out.
            State::HalfOpen { since } if now < since + self.open_for(inner.opened) => false,
            State::Open { .. } | State::HalfOpen { .. } => {
                inner.state = State::HalfOpen { since: now };
                true
            }
        }
    }

    /// Notes that a call was answered, be it by a refusal.
    pub(super) fn answered(&self, now: Instant) {
        let mut inner = self.lock();
        match inner.state {
            State::Closed => self.note(&mut inner, now, false),
            // What was asked before it opened and is answered late says that the provider lives, too.
            State::HalfOpen { .. } | State::Open { .. } => {
                *inner = Inner { last_failure: inner.last_failure.take(), ..Inner::default() };
            }
        }
    }

    /// Notes that a call failed or took too long; whether this opened the breaker.
    pub(super) fn failed(&self, now: Instant, code: &str) -> bool {
        let mut inner = self.lock();
        inner.last_failure = Some(code.to_owned());
        let opens = match inner.state {
            State::Closed => {
                self.note(&mut inner, now, true);
                let failures = inner.outcomes.iter().filter(|(_, failed)| *failed).count();
                let share = failures as f64 / inner.outcomes.len() as f64;
                failures >= self.config.failures && share >= self.config.share
            }
            State::HalfOpen { .. } => true,
            State::Open { .. } => false,
        };
        if opens {
            let jitter = rand::random_range(0.9..1.1);
            inner.state = State::Open { until: now + self.open_for(inner.opened).mul_f64(jitter) };
            inner.opened = (inner.opened + 1).min(MAX_DOUBLINGS);
            inner.outcomes.clear();
        }
        opens
    }

    /// How it stands.
    pub(super) fn snapshot(&self, provider: &str, now: Instant) -> BreakerSnapshot {
        let inner = self.lock();
        let (state, wait) = match inner.state {
            State::Closed => ("closed", Duration::ZERO),
            State::Open { until } => ("open", until.saturating_duration_since(now)),
            State::HalfOpen { .. } => ("half_open", Duration::ZERO),
        };
        BreakerSnapshot {
            provider: provider.to_owned(),
            state,
            retry_in_ms: wait.as_millis() as u64,
            last_failure: inner.last_failure.clone(),
        }
    }

    fn note(&self, inner: &mut Inner, now: Instant, failed: bool) {
        let window = Duration::from_millis(self.config.window_ms);
        while inner.outcomes.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > window) {
            inner.outcomes.pop_front();
        }
        if inner.outcomes.len() == MAX_OUTCOMES {
            inner.outcomes.pop_front();
        }
        inner.outcomes.push_back((now, failed));
    }

    fn open_for(&self, opened: u32) -> Duration {
        let longer = self.config.open_ms.saturating_mul(1 << opened.min(MAX_DOUBLINGS));
        Duration::from_millis(longer.min(self.config.max_open_ms))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig {
            window_ms: 1_000,
            failures: 3,
            share: 0.5,
            open_ms: 100,
            max_open_ms: 300,
        })
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = breaker();
        let opens: Vec<_> = (0..3).map(|_| breaker.failed(now, "PEER_UNAVAILABLE")).collect();
        assert_eq!(opens, [false, false, true]);
        breaker
    }

    #[test]
    fn enough_failures_open_it_and_the_reason_is_known() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(!breaker.admits(now + ms(89)));
        let snapshot = breaker.snapshot("carrier-a", now);
        assert_eq!((snapshot.state, snapshot.last_failure.as_deref()), ("open", Some("PEER_UNAVAILABLE")));
        assert!((89..=110).contains(&snapshot.retry_in_ms), "{snapshot:?}");
    }

    #[test]
    fn failures_that_are_few_or_long_ago_do_not() {
        let (now, breaker) = (Instant::now(), breaker());
        (0..4).for_each(|_| breaker.answered(now));
        assert!((0..3).all(|_| !breaker.failed(now, "X")), "three of seven");
        assert!((0..2).all(|_| !breaker.failed(now + ms(1_001), "X")), "the others are forgotten");
        assert!(breaker.failed(now + ms(1_001), "X"));
    }

    #[test]
    fn one_call_finds_out_and_closes_it() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + ms(111);
        assert!(breaker.admits(later) && !breaker.admits(later), "one call only");
        breaker.answered(later);
        assert!(breaker.admits(later));
        assert_eq!(breaker.snapshot("carrier-a", later).state, "closed");
    }

    #[test]
    fn each_failed_attempt_doubles_the_time_up_to_its_maximum() {
        let mut now = Instant::now();
        let breaker = opened(now);
        for longest in [110, 220, 330, 330] {
            assert!(!breaker.admits(now + ms(longest * 8 / 10)));
            now += ms(longest);
            assert!(breaker.admits(now));
            assert!(breaker.failed(now, "DEADLINE_EXCEEDED"));
        }
    }

    #[test]
    fn an_attempt_without_an_outcome_is_followed_by_another() {
        let now = Instant::now();
        let breaker = opened(now);
        assert!(breaker.admits(now + ms(111)) && !breaker.admits(now + ms(200)));
        assert!(breaker.admits(now + ms(312)));
    }
}
