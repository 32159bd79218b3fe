//! A machine's clock: the runtime's virtual time, from a fixed moment on, and moved when the clock is said to jump.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use windvane::clock::Clock;

/// One machine's clock. It outlives the machine's runs, as a clock does.
#[derive(Debug)]
pub struct MachineClock {
    began: Instant,
    began_ms: u64,
    hand: Mutex<Hand>,
}

#[derive(Debug, Default)]
struct Hand {
    ahead_ms: i64,
    read_at: Option<Instant>,
}

/// A clock that somebody is about to move; who would read it waits.
#[derive(Debug)]
pub struct Held<'a>(MutexGuard<'a, Hand>);

impl Held<'_> {
    /// Whether nobody has read it at this instant of the virtual time. Threads of the blocking pool run beside the
    /// runtime while an instant lasts, and may not yet have written down what they read; of earlier instants they have,
    /// because the virtual time waits for them.
    pub fn is_unread(&self) -> bool {
        self.0.read_at != Some(Instant::now())
    }

    /// Moves the clock, forward or back.
    pub fn jump_ms(&mut self, by: i64) {
        self.0.ahead_ms += by;
    }
}

impl MachineClock {
    /// A clock that shows `began_ms` now.
    pub fn new(began_ms: u64) -> Self {
        Self { began: Instant::now(), began_ms, hand: Mutex::default() }
    }

    /// Keeps everybody from reading it.
    pub fn hold(&self) -> Held<'_> {
        Held(self.hand.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves the clock, forward or back, whoever has read it.
    pub fn jump_ms(&self, by: i64) {
        self.hold().jump_ms(by);
    }
}

impl Clock for MachineClock {
    fn now_ms(&self) -> u64 {
        let Held(mut hand) = self.hold();
        let now = Instant::now();
        hand.read_at = Some(now);
        let passed = u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX);
        (self.began_ms + passed).saturating_add_signed(hand.ahead_ms)
    }
}
