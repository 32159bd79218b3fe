//! Where time comes from, so that a test can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall-clock time.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Milliseconds of Unix time.
    fn now_ms(&self) -> u64;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The system's clock, moved by a settable amount: for rehearsing what happens when a grant or an epoch ends.
#[derive(Debug, Clone, Default)]
pub struct ShiftedClock {
    ahead_ms: Arc<AtomicU64>,
}

impl ShiftedClock {
    /// Moves the clock forward.
    pub fn advance_ms(&self, by: u64) {
        self.ahead_ms.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.ahead_ms.load(Ordering::SeqCst)
    }
}

/// How far the clocks of two parties may be apart at most: what a node can be told to tolerate
/// (`service.clock_tolerance_ms`), and what an audit takes for granted.
pub(crate) const MAX_TOLERANCE_MS: u64 = 300_000;

/// Whether an acceptance names a moment before its request's by more than clocks may be apart. A provider accepts a request
/// that is no younger and no older than its tolerance, and what it does first takes time: later it may be, earlier not. By
/// this moment it is held against the grant, which may have ended since.
pub(crate) const fn is_before(accepted_ms: u64, requested_ms: u64) -> bool {
    accepted_ms.saturating_add(MAX_TOLERANCE_MS) < requested_ms
}

/// A moment as RFC 3339 text, UTC.
pub fn rfc3339(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{ms} ms"), |at| at.to_string())
}
