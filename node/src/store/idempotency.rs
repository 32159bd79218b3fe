//! What was answered under which idempotency key: keyed digests of keys and bodies, and the ids of the reports.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError, int};

/// Keeps an answer under a key that was taken.
pub(super) const KEEP_ANSWER: &str = "UPDATE idempotency SET answer = ?2 WHERE key = ?1";

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The body that it came with.
    pub body: [u8; 32],
    /// What was answered, once it was.
    pub answer: Option<Vec<u8>>,
}

impl Store {
    /// Takes a key for a body, and forgets keys from before `since_ms`; gives what the key stands for by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn take_key(
        &self,
        key: &[u8; 32],
        body: &[u8; 32],
        now_ms: u64,
        since_ms: u64,
    ) -> Result<Remembered, StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        t.execute("DELETE FROM idempotency WHERE at_ms < ?1", [int(since_ms)])?;
        let known = t
            .query_row("SELECT body, answer FROM idempotency WHERE key = ?1", [key], |row| {
                Ok(Remembered { body: row.get(0)?, answer: row.get(1)? })
            })
            .optional()?;
        let remembered = match known {
            Some(known) => known,
            None => {
                t.execute(
                    "INSERT INTO idempotency VALUES (?1, ?2, ?3, NULL)",
                    params![key, body, int(now_ms)],
                )?;
                Remembered { body: *body, answer: None }
            }
        };
        t.commit()?;
        Ok(remembered)
    }

    /// Keeps what was answered under a key, where nothing else is to be kept of the call.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep_answer(&self, key: &[u8; 32], answer: &[u8]) -> Result<(), StoreError> {
        self.lock().execute(KEEP_ANSWER, params![key, answer])?;
        Ok(())
    }
}
