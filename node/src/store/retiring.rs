//! Until when an epoch answers after its successor was published.

use rusqlite::params;

use super::{Store, StoreError, int};

/// Came after the first files were made.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS retiring_epoch (data_set TEXT NOT NULL, epoch INTEGER NOT NULL,
        until_ms INTEGER NOT NULL, PRIMARY KEY (data_set, epoch)) STRICT, WITHOUT ROWID;
";

impl Store {
    /// Notes until when published epochs, ascending, answer once another is published. The last of them is the
    /// current one, whose time begins anew; earlier ones keep theirs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn announce_retiring(&self, data_set: &str, epochs: &[u64], until_ms: u64) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        for (i, epoch) in epochs.iter().enumerate() {
            let how = if i + 1 == epochs.len() { "REPLACE" } else { "IGNORE" };
            t.execute(
                &format!("INSERT OR {how} INTO retiring_epoch VALUES (?1, ?2, ?3)"),
                params![data_set, int(*epoch), int(until_ms)],
            )?;
        }
        Ok(t.commit()?)
    }

    /// Data set, epoch and time of every epoch that retires, or will when its successor is published.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn retiring(&self) -> Result<Vec<(String, u64, u64)>, StoreError> {
        self.rows("SELECT data_set, epoch, until_ms FROM retiring_epoch", |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64))
        })
    }

    /// Forgets an epoch that has ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_retiring(&self, data_set: &str, epoch: u64) -> Result<(), StoreError> {
        let sql = "DELETE FROM retiring_epoch WHERE data_set = ?1 AND epoch = ?2";
        self.lock().execute(sql, params![data_set, int(epoch)])?;
        Ok(())
    }
}
