//! Sessions that a provider has seen: a retry gets the stored answer, other bytes are refused.
//!
//! Sessions are remembered for as long as their requests could be accepted by the clock, and their number and
//! the bytes of their answers are bounded. A session whose answer had to be forgotten, or was given before a
//! restart, cannot be retried; the caller takes a fresh one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use windvane_proto::lookup::v1::EvaluateResponse;
use windvane_protocols::party::SessionId;
use windvane_protocols::transcript::Hash;

use crate::error::Refusal;

/// Sessions remembered at most; beyond it new ones are refused until old ones pass.
const MAX_SESSIONS: usize = 1 << 20;

/// One session's answer, computed once.
#[derive(Debug, Default)]
pub struct Slot {
    /// The answer, once there is one. Whoever comes while it is being made waits for it.
    pub answer: OnceCell<Arc<EvaluateResponse>>,
}

#[derive(Debug)]
struct Seen {
    request: Option<Hash>,
    slot: Option<Arc<Slot>>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: HashMap<SessionId, Seen>,
    by_age: VecDeque<(u64, SessionId)>,
    answers: VecDeque<(SessionId, usize)>,
    answer_bytes: usize,
}

/// The provider's memory of sessions.
#[derive(Debug)]
pub struct Sessions {
    inner: Mutex<Inner>,
    remember_ms: u64,
    max_answer_bytes: usize,
}

impl Sessions {
    /// An empty memory.
    pub fn new(remember_ms: u64, max_answer_bytes: usize) -> Self {
        Self { inner: Mutex::default(), remember_ms, max_answer_bytes }
    }

    /// Marks a session as used before this start.
    pub fn mark_used(&self, session: SessionId, at_ms: u64) {
        let mut inner = self.lock();
        if inner.seen.insert(session, Seen { request: None, slot: None }).is_none() {
            inner.by_age.push_back((at_ms, session));
        }
    }

    /// The slot of a session for exactly these request bytes.
    ///
    /// # Errors
    /// [`Refusal::SessionReplayed`]; [`Refusal::QuotaExhausted`] when too many sessions are remembered.
    pub fn slot(&self, session: SessionId, request: Hash, now_ms: u64) -> Result<Arc<Slot>, Refusal> {
        let mut inner = self.lock();
        inner.forget_older_than(now_ms.saturating_sub(self.remember_ms));
        if let Some(seen) = inner.seen.get(&session) {
            let same = seen.request == Some(request);
            return seen.slot.clone().filter(|_| same).ok_or(Refusal::SessionReplayed);
        }
        if inner.seen.len() >= MAX_SESSIONS {
            return Err(Refusal::QuotaExhausted { quota: "of sessions", retry_after_ms: Some(1_000) });
        }
        let slot = Arc::new(Slot::default());
        inner.seen.insert(session, Seen { request: Some(request), slot: Some(slot.clone()) });
        inner.by_age.push_back((now_ms, session));
        Ok(slot)
    }

    /// Accounts for an answer that was stored, and forgets the oldest answers beyond the limit.
    pub fn stored(&self, session: SessionId, bytes: usize) {
        let mut inner = self.lock();
        inner.answers.push_back((session, bytes));
        inner.answer_bytes += bytes;
        while inner.answer_bytes > self.max_answer_bytes {
            let Some((oldest, bytes)) = inner.answers.pop_front() else { break };
            inner.answer_bytes -= bytes;
            if let Some(seen) = inner.seen.get_mut(&oldest) {
                seen.slot = None;
            }
        }
    }

    /// How many sessions are remembered.
    pub fn remembered(&self) -> usize {
        self.lock().seen.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_older_than(&mut self, at_ms: u64) {
        while self.by_age.front().is_some_and(|(seen, _)| *seen < at_ms) {
            if let Some((_, session)) = self.by_age.pop_front() {
                self.seen.remove(&session);
            }
        }
        while self.answers.front().is_some_and(|(session, _)| !self.seen.contains_key(session)) {
            if let Some((_, bytes)) = self.answers.pop_front() {
                self.answer_bytes -= bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId::from_bytes([1; 16]);

    fn sessions() -> Sessions {
        Sessions::new(100, 1_000)
    }

    #[tokio::test]
    async fn the_same_bytes_get_the_stored_answer_and_other_bytes_are_refused() {
        let sessions = sessions();
        let slot = sessions.slot(SESSION, [1; 64], 0).unwrap();
        slot.answer.get_or_init(|| async { Arc::default() }).await;
        assert!(sessions.slot(SESSION, [1; 64], 1).unwrap().answer.initialized());
        assert_eq!(sessions.slot(SESSION, [2; 64], 1).err(), Some(Refusal::SessionReplayed));
    }

    #[test]
    fn a_session_from_before_a_restart_is_refused() {
        let sessions = sessions();
        sessions.mark_used(SESSION, 0);
        assert_eq!(sessions.slot(SESSION, [1; 64], 1).err(), Some(Refusal::SessionReplayed));
    }

    #[test]
    fn answers_beyond_the_limit_are_forgotten_oldest_first_but_never_the_session() {
        let sessions = sessions();
        for i in 0..3 {
            let session = SessionId::from_bytes([i; 16]);
            sessions.slot(session, [i; 64], 0).unwrap();
            sessions.stored(session, 400);
        }
        let again = |i| sessions.slot(SessionId::from_bytes([i; 16]), [i; 64], 0);
        assert_eq!(again(0).err(), Some(Refusal::SessionReplayed));
        assert!(again(1).is_ok() && again(2).is_ok());
    }

    #[test]
    fn sessions_pass_with_time() {
        let sessions = sessions();
        sessions.slot(SESSION, [1; 64], 0).unwrap();
        sessions.stored(SESSION, 10);
        assert!(sessions.slot(SESSION, [2; 64], 101).is_ok());
        assert_eq!(sessions.lock().answer_bytes, 0);
    }
}
