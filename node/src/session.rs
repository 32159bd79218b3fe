//! Sessions that a provider has seen: a retry gets the stored answer, other bytes are refused.
//!
//! A session begins with the date of its request, which the request repeats and its requester signed. So memory and age
//! are one: sessions up to a date are forgotten together, and from then on every request of such a date is refused, even
//! when the clock goes back and would take it again. A session is forgotten when its request is older than the clock
//! tolerates by as much again, so that a clock that is put right within the tolerance refuses nobody.
//!
//! A session that was refused before it counted is forgotten at once: nothing came of it, so that nothing can be repeated,
//! and whoever may ask for nothing takes no room.
//!
//! The number of sessions and the bytes of their answers are bounded. A session whose answer had to be forgotten, or
//! was given before a restart, cannot be retried; the caller takes a fresh one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Whether it counted, so that there may be a receipt though there is no answer.
    pub counted: AtomicBool,
}

#[derive(Debug)]
struct Seen {
    request: Option<Hash>,
    slot: Option<Arc<Slot>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In the order of their dates.
    seen: BTreeMap<SessionId, Seen>,
    /// Sessions before this date are forgotten. It never goes back.
    remembers_from_ms: u64,
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
    pub fn mark_used(&self, session: SessionId) {
        self.lock().seen.insert(session, Seen { request: None, slot: None });
    }

    /// The slot of a session for exactly these request bytes. The session is of the request's date, which was checked.
    ///
    /// # Errors
    /// [`Refusal::RequestStale`], [`Refusal::SessionReplayed`]; [`Refusal::QuotaExhausted`] when too many sessions are
    /// remembered.
    pub fn slot(&self, session: SessionId, request: Hash, now_ms: u64) -> Result<Arc<Slot>, Refusal> {
        let mut inner = self.lock();
        inner.forget_before(now_ms.saturating_sub(self.remember_ms));
        if let Some(off_ms) =
            inner.remembers_from_ms.checked_sub(session.date_ms()).filter(|off_ms| *off_ms > 0)
        {
            return Err(Refusal::RequestStale { off_ms });
        }
        if let Some(seen) = inner.seen.get(&session) {
            let same = seen.request == Some(request);
            return seen.slot.clone().filter(|_| same).ok_or(Refusal::SessionReplayed);
        }
        if inner.seen.len() >= MAX_SESSIONS {
            return Err(Refusal::QuotaExhausted { quota: "of sessions", retry_after_ms: Some(1_000) });
        }
        let slot = Arc::new(Slot::default());
        inner.seen.insert(session, Seen { request: Some(request), slot: Some(slot.clone()) });
        Ok(slot)
    }

    /// Forgets a session that was refused and never counted, unless another call has it too.
    pub fn refused(&self, session: SessionId, slot: &Arc<Slot>) {
        let mut inner = self.lock();
        let known = inner.seen.get(&session).and_then(|seen| seen.slot.as_ref());
        let is_known = known.is_some_and(|known| Arc::ptr_eq(known, slot));
        // One owner is the memory, the other one the call that was refused.
        if is_known && Arc::strong_count(slot) <= 2 && !slot.counted.load(Ordering::Relaxed) {
            inner.seen.remove(&session);
        }
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
    fn forget_before(&mut self, at_ms: u64) {
        self.remembers_from_ms = self.remembers_from_ms.max(at_ms);
        let from = self.remembers_from_ms;
        while let Some(oldest) = self.seen.first_entry().filter(|oldest| oldest.key().date_ms() < from) {
            oldest.remove();
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

    /// A session of a date.
    fn session(at_ms: u64, number: u8) -> SessionId {
        let mut bytes = [number; 16];
        bytes[..6].copy_from_slice(&at_ms.to_be_bytes()[2..]);
        SessionId::from_bytes(bytes)
    }

    fn sessions() -> Sessions {
        Sessions::new(100, 1_000)
    }

    #[tokio::test]
    async fn the_same_bytes_get_the_stored_answer_and_other_bytes_are_refused() {
        let (sessions, session) = (sessions(), session(0, 1));
        let slot = sessions.slot(session, [1; 64], 0).unwrap();
        slot.answer.get_or_init(|| async { Arc::default() }).await;
        assert!(sessions.slot(session, [1; 64], 1).unwrap().answer.initialized());
        assert_eq!(sessions.slot(session, [2; 64], 1).err(), Some(Refusal::SessionReplayed));
    }

    #[test]
    fn a_session_that_was_refused_before_it_counted_is_forgotten_once_no_other_call_has_it() {
        let (sessions, session) = (sessions(), session(0, 1));
        let [first, second] = [0, 0].map(|now_ms| sessions.slot(session, [1; 64], now_ms).unwrap());
        sessions.refused(session, &first);
        drop(first);
        assert_eq!(sessions.slot(session, [2; 64], 1).err(), Some(Refusal::SessionReplayed));
        sessions.refused(session, &second);
        assert_eq!(sessions.remembered(), 0);
        let fresh = sessions.slot(session, [2; 64], 1).unwrap();
        sessions.refused(session, &second);
        assert_eq!(sessions.remembered(), 1);
        // One that counted may be in the log, whatever a retry is refused for.
        fresh.counted.store(true, Ordering::Relaxed);
        sessions.refused(session, &fresh);
        assert_eq!(sessions.remembered(), 1);
    }

    #[test]
    fn a_session_from_before_a_restart_is_refused() {
        let (sessions, session) = (sessions(), session(0, 1));
        sessions.mark_used(session);
        assert_eq!(sessions.slot(session, [1; 64], 1).err(), Some(Refusal::SessionReplayed));
    }

    #[test]
    fn answers_beyond_the_limit_are_forgotten_oldest_first_but_never_the_session() {
        let sessions = sessions();
        for i in 0..3 {
            sessions.slot(session(0, i), [i; 64], 0).unwrap();
            sessions.stored(session(0, i), 400);
        }
        let again = |i| sessions.slot(session(0, i), [i; 64], 0);
        assert_eq!(again(0).err(), Some(Refusal::SessionReplayed));
        assert!(again(1).is_ok() && again(2).is_ok());
    }

    #[test]
    fn a_session_is_remembered_or_refused_for_its_age_and_never_answered_again() {
        let (sessions, first) = (sessions(), session(50, 1));
        sessions.slot(first, [1; 64], 50).unwrap();
        sessions.stored(first, 10);
        assert_eq!(sessions.slot(first, [2; 64], 150).err(), Some(Refusal::SessionReplayed));
        assert_eq!(sessions.slot(first, [2; 64], 151).err(), Some(Refusal::RequestStale { off_ms: 1 }));
        assert_eq!((sessions.remembered(), sessions.lock().answer_bytes), (0, 0));
        assert_eq!(sessions.slot(first, [1; 64], 50).err(), Some(Refusal::RequestStale { off_ms: 1 }));
        assert!(
            sessions.slot(session(51, 1), [1; 64], 50).is_ok(),
            "a clock that was put right refuses nobody"
        );
    }
}
