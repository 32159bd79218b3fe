//! Until when an epoch answers after its successor was published, and which epochs are ending.

use rusqlite::params;

use super::{Store, StoreError, int, queue};

/// Where the time would be of an epoch whose end was begun: it is over, whatever its time was.
pub(crate) const ENDING: u64 = 0;

/// Came after the first files were made.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS retiring_epoch (data_set TEXT NOT NULL, epoch INTEGER NOT NULL,
        until_ms INTEGER NOT NULL, PRIMARY KEY (data_set, epoch)) STRICT, WITHOUT ROWID;
";

impl Store {
    /// Notes until when published epochs, ascending, answer once another is published. The last of them is the
    /// current one, whose time begins anew; earlier ones keep theirs, and one whose end was begun stays over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn announce_retiring(&self, data_set: &str, epochs: &[u64], until_ms: u64) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        for (i, epoch) in epochs.iter().enumerate() {
            let known = match i + 1 == epochs.len() {
                true => format!("UPDATE SET until_ms = ?3 WHERE until_ms <> {ENDING}"),
                false => "NOTHING".to_owned(),
            };
            t.execute(
                &format!("INSERT INTO retiring_epoch VALUES (?1, ?2, ?3) ON CONFLICT DO {known}"),
                params![data_set, int(*epoch), int(until_ms)],
            )?;
        }
        Ok(t.commit()?)
    }

    /// Notes that the end of epochs is begun: what it destroys, the log is to be told of.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_end(&self, data_set: &str, epochs: &[u64]) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        for epoch in epochs {
            let sql = "INSERT OR REPLACE INTO retiring_epoch VALUES (?1, ?2, ?3)";
            t.execute(sql, params![data_set, int(*epoch), int(ENDING)])?;
        }
        Ok(t.commit()?)
    }

    /// Data set, epoch and time of every epoch that is ending, retires, or will when its successor is published.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn retiring(&self) -> Result<Vec<(String, u64, u64)>, StoreError> {
        self.rows("SELECT data_set, epoch, until_ms FROM retiring_epoch", |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64))
        })
    }

    /// Forgets an epoch that has ended, together with the entries that tell of its keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn complete_end(
        &self,
        data_set: &str,
        epoch: u64,
        entries: &[impl AsRef<[u8]>],
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        queue(&t, entries)?;
        let sql = "DELETE FROM retiring_epoch WHERE data_set = ?1 AND epoch = ?2";
        t.execute(sql, params![data_set, int(epoch)])?;
        Ok(t.commit()?)
    }
}
