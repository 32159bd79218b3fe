//! Set intersections: runs that count against a grant.

use rusqlite::{OptionalExtension as _, params};

use super::{PsiRun, Store, StoreError};

impl Store {
    /// Keeps that a set intersection was accepted; once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_psi_run(
        &self,
        session: &[u8; 16],
        grant: &[u8; 16],
        input: &[u8; 32],
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO psi_run VALUES (?1, ?2, ?3)";
        self.lock().execute(sql, params![session, grant, input])?;
        Ok(())
    }

    /// Whether a job was accepted, under whichever grant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn has_psi_run(&self, session: &[u8; 16]) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM psi_run WHERE session = ?1";
        Ok(self.lock().query_row(sql, [session], |_| Ok(())).optional()?.is_some())
    }

    /// The jobs that were accepted under a grant, with their input commitments.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn psi_runs(&self, grant: &[u8; 16]) -> Result<Vec<PsiRun>, StoreError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT session, input FROM psi_run WHERE permit = ?1")?;
        let runs = statement.query_map([grant], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(runs.collect::<Result<_, _>>()?)
    }
}
