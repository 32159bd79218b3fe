//! A machine's clock: the runtime's virtual time, from a fixed moment on, and moved when the clock is said to jump.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;
use windvane::clock::Clock;

/// One machine's clock. It outlives the machine's runs, as a clock does.
#[derive(Debug)]
pub struct MachineClock {
    began: Instant,
    began_ms: u64,
    ahead_ms: AtomicI64,
}

impl MachineClock {
    /// A clock that shows `began_ms` now.
    pub fn new(began_ms: u64) -> Self {
        Self { began: Instant::now(), began_ms, ahead_ms: AtomicI64::new(0) }
    }

    /// Moves the clock, forward or back.
    pub fn jump_ms(&self, by: i64) {
        self.ahead_ms.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for MachineClock {
    fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.began_ms + passed).saturating_add_signed(self.ahead_ms.load(Ordering::SeqCst))
    }
}
