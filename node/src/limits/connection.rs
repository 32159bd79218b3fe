//! One peer's connection: what is under way on it, and whether the peer still reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A reader slower than this, bytes a second, is none.
const LEAST_BYTES_PER_S: u64 = 4 << 10;

/// The connection.
#[derive(Debug)]
pub(super) struct Connection(Mutex<State>);

#[derive(Debug)]
struct State {
    active: usize,
    /// When the last call ended.
    idle_since: Instant,
    answers: HashMap<u64, Reading>,
    next: u64,
}

/// How an answer is read.
#[derive(Debug)]
struct Reading {
    begun: Instant,
    /// Since when the peer, and not this node, is waited for.
    unread_since: Option<Instant>,
    /// How long it was waited for before.
    waited: Duration,
    /// Bytes that it took, and that it is given.
    taken: u64,
    given: u64,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Activity(Arc<Connection>);

/// An answer on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    connection: Arc<Connection>,
    number: u64,
}

impl Connection {
    pub(super) fn new() -> Self {
        let (answers, idle_since) = (HashMap::new(), Instant::now());
        Self(Mutex::new(State { active: 0, idle_since, answers, next: 0 }))
    }

    /// How long there has been no call.
    pub(super) fn idle(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        (state.active == 0).then(|| now.saturating_duration_since(state.idle_since))
    }

    /// Whether an answer has been left unread for longer than `patience`, or takes longer than `whole`.
    pub(super) fn is_stalled(&self, now: Instant, patience: Duration, whole: Duration) -> bool {
        self.lock().answers.values().any(|answer| answer.is_stalled(now, patience, whole))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn is_stalled(&self, now: Instant, patience: Duration, whole: Duration) -> bool {
        let waits = self.unread_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let read = Duration::from_millis(self.taken.saturating_mul(1_000) / LEAST_BYTES_PER_S);
        let is_waited_for = self.unread_since.is_some();
        let unread = is_waited_for && self.waited + waits > patience + read;
        unread || now.saturating_duration_since(self.begun) > whole
    }
}

impl Activity {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        connection.lock().active += 1;
        Self(connection.clone())
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.active -= 1;
        state.idle_since = Instant::now();
    }
}

impl Outgoing {
    /// An answer of which nothing is read yet.
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        let mut state = connection.lock();
        let (now, number) = (Instant::now(), state.next);
        state.next += 1;
        let reading =
            Reading { begun: now, unread_since: Some(now), waited: Duration::ZERO, taken: 0, given: 0 };
        state.answers.insert(number, reading);
        drop(state);
        Self { connection: connection.clone(), number }
    }

    /// The peer took what there was.
    pub(super) fn taken(&self, now: Instant) {
        self.change(|reading| {
            reading.taken += std::mem::take(&mut reading.given);
            if let Some(since) = reading.unread_since.take() {
                reading.waited += now.saturating_duration_since(since);
            }
        });
    }

    /// There are more bytes for the peer to take.
    pub(super) fn given(&self, bytes: usize, now: Instant) {
        self.change(|reading| {
            reading.given = bytes as u64;
            reading.unread_since = Some(now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        if let Some(reading) = self.connection.lock().answers.get_mut(&self.number) {
            change(reading);
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.connection.lock().answers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const WHOLE: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_peer_that_does_not_read_stalls_its_connection_and_one_that_we_let_wait_does_not() {
        let (connection, begun) = (Arc::new(Connection::new()), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let stalled = |seconds| connection.is_stalled(at(seconds), PATIENCE, WHOLE);
        let answer = Outgoing::new(&connection);
        answer.taken(at(0));
        assert!(!stalled(3_600), "the answer is not ready");
        answer.given(4 << 10, at(3_600));
        assert!(!stalled(3_630));
        assert!(stalled(3_631));
        answer.taken(at(3_631));
        answer.given(1, at(3_631));
        assert!(!stalled(3_631), "there is a second more for the bytes that it took");
        assert!(stalled(3_633));
        drop(answer);
        assert!(!stalled(3_633));
    }

    #[test]
    fn a_peer_that_reads_in_drips_stalls_too() {
        let (connection, mut now) = (Arc::new(Connection::new()), Instant::now());
        let answer = Outgoing::new(&connection);
        let mut drips = 0;
        while !connection.is_stalled(now, PATIENCE, WHOLE) {
            answer.taken(now);
            answer.given(1, now);
            now += Duration::from_secs(5);
            drips += 1;
        }
        assert!((6..=7).contains(&drips), "{drips}");
    }

    #[test]
    fn a_connection_is_idle_from_the_end_of_its_last_call() {
        let connection = Arc::new(Connection::new());
        let call = Activity::new(&connection);
        let later = Instant::now() + Duration::from_secs(4);
        assert_eq!(connection.idle(later), None);
        drop(call);
        assert!(connection.idle(later).is_some_and(|idle| idle <= Duration::from_secs(4)));
    }
}
