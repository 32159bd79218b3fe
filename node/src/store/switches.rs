//! What was switched off: functions and partners by their names in the log.

use rusqlite::params;

use super::{Store, StoreError, int};

impl Store {
    /// Everything that is switched off.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn switched_off(&self) -> Result<Vec<String>, StoreError> {
        self.rows("SELECT subject FROM switched_off ORDER BY subject", |row| row.get(0))
    }

    /// Switches something off.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it is off already.
    pub fn switch_off(&self, subject: &str, at_ms: u64, entry: &[u8]) -> Result<(), StoreError> {
        let exists = || StoreError::Exists { what: format!("a switch for {subject}, which is off,") };
        self.change_one(entry, exists, |t| {
            t.execute("INSERT OR IGNORE INTO switched_off VALUES (?1, ?2)", params![subject, int(at_ms)])
        })
    }

    /// Takes over from the log that something was switched.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_switch(&self, subject: &str, off: bool, at_ms: u64) -> Result<(), StoreError> {
        let connection = self.lock();
        if off {
            let sql = "INSERT OR IGNORE INTO switched_off VALUES (?1, ?2)";
            connection.execute(sql, params![subject, int(at_ms)])?;
        } else {
            connection.execute("DELETE FROM switched_off WHERE subject = ?1", [subject])?;
        }
        Ok(())
    }

    /// Switches something on again.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is not off.
    pub fn switch_on(&self, subject: &str, entry: &[u8]) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { what: format!("switch for {subject} that is off") };
        self.change_one(entry, missing, |t| {
            t.execute("DELETE FROM switched_off WHERE subject = ?1", [subject])
        })
    }
}
