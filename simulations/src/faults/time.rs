//! Virtual time, and what it waits for.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::{Builder, Runtime};
use windvane::bank::Bank;

use super::panics::inherited;

/// Threads outside of the runtime that work for it: each bank's, which keeps records.
#[derive(Debug, Default)]
pub struct Outside(Mutex<Vec<Weak<Bank>>>);

impl Outside {
    /// Waits for this bank's thread from now on.
    pub fn add(&self, bank: &Arc<Bank>) {
        let mut banks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        banks.retain(|bank| bank.strong_count() > 0);
        banks.push(Arc::downgrade(bank));
    }

    /// Returns when nothing is being worked at.
    fn wait(&self) {
        let banks = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for bank in banks.iter().filter_map(Weak::upgrade) {
            while bank.records_waiting() > 0 {
                std::thread::yield_now();
            }
        }
    }
}

/// A runtime of one thread whose time is virtual: it stands while there is work, here or outside. Its blocking threads are
/// of the seed that this thread is of.
///
/// # Errors
/// The system's.
pub fn virtual_time(outside: &Arc<Outside>) -> io::Result<Runtime> {
    let outside = outside.clone();
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_start(inherited())
        // The runtime looks for work once more before it sleeps, and so before its time jumps.
        .on_thread_park(move || outside.wait())
        .build()
}
