//! Set intersections: runs that count against a grant, and receipts that wait for a countersignature.

use rusqlite::params;

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

    /// Leaves a receipt to whoever countersigns next; once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn queue_receipt(&self, provider: &str, receipt: &[u8; 64]) -> Result<(), StoreError> {
        let sql = "INSERT INTO uncountersigned (provider, receipt) SELECT ?1, ?2 WHERE NOT EXISTS
            (SELECT 1 FROM uncountersigned WHERE provider = ?1 AND receipt = ?2)";
        self.lock().execute(sql, params![provider, receipt])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_waits_once_however_often_it_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        for receipt in [1, 2, 1] {
            store.queue_receipt("p", &[receipt; 64]).unwrap();
        }
        let waiting: Vec<_> = store.uncountersigned("p", 9).unwrap().iter().map(|r| r.receipt[0]).collect();
        assert_eq!(waiting, [1, 2]);
        assert!(store.uncountersigned("q", 9).unwrap().is_empty());
    }
}
