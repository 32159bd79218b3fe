//! What a restore takes over from the log into a state that is older. Nothing of it is queued for the log, which has it.

use std::collections::HashSet;

use rusqlite::{OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::trust::{Enrolled, PUT_AUTHORITY, REMOVE_AUTHORITY};
use super::{Store, StoreError, int};

impl Store {
    /// Takes over a partner's enrolment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_partner(
        &self,
        party: &str,
        enrolment: &str,
        enrolled: Enrolled,
        at_ms: u64,
    ) -> Result<(), StoreError> {
        enrolled.keep(&self.lock(), party, enrolment, at_ms)?;
        Ok(())
    }

    /// Takes over that a partner was retired, or its enrolment ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_departure(&self, party: &str) -> Result<(), StoreError> {
        let connection = self.lock();
        connection.execute("DELETE FROM partner_before WHERE party = ?1", [party])?;
        connection.execute("DELETE FROM partner WHERE party = ?1", [party])?;
        Ok(())
    }

    /// Takes over that an authority was bound to parties, or, without them, that it was released.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_authority(
        &self,
        sha256: &[u8; 32],
        certificate: &[u8],
        parties: Option<&str>,
    ) -> Result<(), StoreError> {
        let connection = self.lock();
        match parties {
            Some(parties) => connection.execute(PUT_AUTHORITY, params![sha256, certificate, parties])?,
            None => connection.execute(REMOVE_AUTHORITY, [sha256])?,
        };
        Ok(())
    }

    /// Whether a revocation list of this content is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn has_revocation_list(&self, sha256: &[u8]) -> Result<bool, StoreError> {
        let lists = self.revocation_lists()?;
        Ok(lists.iter().any(|(_, list)| Sha256::digest(list)[..] == *sha256))
    }

    /// Whether a partner is enrolled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn has_partner(&self, party: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM partner WHERE party = ?1";
        Ok(self.lock().query_row(sql, [party], |_| Ok(())).optional()?.is_some())
    }

    /// Takes over a grant, unless it is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_grant(&self, id: &[u8; 16], issued: bool, signed: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO permit VALUES (?1, ?2, ?3, NULL)";
        self.lock().execute(sql, params![id, issued, signed])?;
        Ok(())
    }

    /// Takes over a grant's end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_grant_end(&self, id: &[u8; 16], at_ms: u64) -> Result<(), StoreError> {
        let sql = "UPDATE permit SET ended_at_ms = ?2 WHERE id = ?1 AND ended_at_ms IS NULL";
        self.lock().execute(sql, params![id, int(at_ms)])?;
        Ok(())
    }

    /// Takes over that a caller was dismissed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_dismissal(&self, name: &str) -> Result<(), StoreError> {
        self.lock().execute("DELETE FROM caller WHERE name = ?1", [name])?;
        Ok(())
    }

    /// Whether a caller is admitted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn has_caller(&self, name: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM caller WHERE name = ?1";
        Ok(self.lock().query_row(sql, [name], |_| Ok(())).optional()?.is_some())
    }

    /// Whether a verification's details are kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn has_verification(&self, id: &[u8; 16]) -> Result<bool, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT 1 FROM verification WHERE id = ?1")?;
        Ok(statement.query_row([id], |_| Ok(())).optional()?.is_some())
    }

    /// Forgets entries that wait for the log and that the log has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn forget_logged(&self, is_logged: &HashSet<[u8; 64]>) -> Result<(), StoreError> {
        for (id, entry) in self.outbox()? {
            if is_logged.contains(&windvane_protocols::transcript::digest(&entry)) {
                self.lock().execute("DELETE FROM outbox WHERE id = ?1", [id])?;
            }
        }
        Ok(())
    }
}
