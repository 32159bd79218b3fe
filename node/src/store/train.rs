//! Trainings: runs that count against a grant.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError};

impl Store {
    /// Keeps that a training was accepted; once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_train_run(&self, session: &[u8; 16], grant: &[u8; 16]) -> Result<(), StoreError> {
        self.lock().execute("INSERT OR IGNORE INTO train_run VALUES (?1, ?2)", params![session, grant])?;
        Ok(())
    }

    /// The grant under which a training was accepted, if it was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn train_run(&self, session: &[u8; 16]) -> Result<Option<[u8; 16]>, StoreError> {
        let sql = "SELECT permit FROM train_run WHERE session = ?1";
        Ok(self.lock().query_row(sql, [session], |row| row.get(0)).optional()?)
    }

    /// The trainings that were accepted under a grant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn train_runs(&self, grant: &[u8; 16]) -> Result<Vec<[u8; 16]>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT session FROM train_run WHERE permit = ?1")?;
        let runs = statement.query_map([grant], |row| row.get(0))?;
        Ok(runs.collect::<Result<_, _>>()?)
    }
}
