//! How full token buckets were, so that a restart does not fill them.

use rusqlite::{Transaction, params};

use super::{Store, StoreError, int};

/// A token bucket of a grant, or of a peer and a purpose, for one key group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBucket {
    /// A grant's id, or what stands for a peer and a purpose.
    pub subject: [u8; 16],
    /// The key group's code.
    pub group: u8,
    /// What was left, or owed where it is negative.
    pub tokens: i64,
    /// When that was so, milliseconds of Unix time.
    pub at_ms: u64,
}

impl Store {
    /// All token buckets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn buckets(&self) -> Result<Vec<StoredBucket>, StoreError> {
        self.rows("SELECT subject, key_group, tokens, at_ms FROM bucket", |row| {
            Ok(StoredBucket {
                subject: row.get(0)?,
                group: row.get(1)?,
                tokens: row.get(2)?,
                at_ms: row.get::<_, i64>(3)? as u64,
            })
        })
    }
}

pub(super) fn put(t: &Transaction<'_>, buckets: &[StoredBucket]) -> rusqlite::Result<()> {
    for bucket in buckets {
        t.execute(
            "INSERT INTO bucket VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET tokens = ?3, at_ms = ?4 WHERE tokens <> ?3 OR at_ms <> ?4",
            params![bucket.subject, bucket.group, bucket.tokens, int(bucket.at_ms)],
        )?;
    }
    Ok(())
}
