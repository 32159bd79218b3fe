//! Publication ids: what every one that this party published, or installed, names.

use rand_core::CryptoRng;
use rusqlite::{OptionalExtension as _, params};
use windvane_protocols::lookup::delta::{DeltaError, check_id, fresh_id};
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::transcript::Hash;

use super::{Store, StoreError};

/// Came with deltas, so it is added to files that lack it.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS publication (id BLOB PRIMARY KEY, digest BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// Which publication ids were used: what fresh ones are drawn against.
pub trait KnownIds: std::fmt::Debug + Sync {
    /// Whether an id names a publication already.
    ///
    /// # Errors
    /// [`StoreError`].
    fn is_known(&self, id: &PublicationId) -> Result<bool, StoreError>;

    /// An id that a deliberate bug draws again.
    #[cfg(feature = "faults")]
    fn repeated(&self) -> Option<PublicationId> {
        None
    }
}

impl KnownIds for Store {
    fn is_known(&self, id: &PublicationId) -> Result<bool, StoreError> {
        Ok(self.publication(id)?.is_some())
    }
}

/// Knows none: for a directory that publishes nothing.
impl KnownIds for () {
    fn is_known(&self, _: &PublicationId) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// Why no publication id can be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The generator repeated itself.
    #[error(transparent)]
    Reused(#[from] DeltaError),
}

impl IdError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::State(error) => error.code(),
            Self::Reused(error) => error.code(),
        }
    }
}

impl dyn KnownIds + '_ {
    /// Draws the id of a new publication.
    ///
    /// # Errors
    /// [`IdError`].
    pub fn draw(&self, rng: &mut impl CryptoRng) -> Result<PublicationId, IdError> {
        #[cfg(feature = "faults")]
        if let Some(id) = self.repeated() {
            return Ok(id);
        }
        let mut failure = None;
        let known = |id: &PublicationId| {
            self.is_known(id).unwrap_or_else(|error| {
                failure = Some(error);
                false
            })
        };
        let id = fresh_id(rng, known)?;
        failure.map_or(Ok(id), |error| Err(error.into()))
    }
}

impl Store {
    /// The digest of the signed record that named a publication id first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn publication(&self, id: &PublicationId) -> Result<Option<Hash>, StoreError> {
        let sql = "SELECT digest FROM publication WHERE id = ?1";
        Ok(self.lock().query_row(sql, [id], |row| row.get(0)).optional()?)
    }

    /// An id that names none of these records, for a deliberate bug.
    ///
    /// # Errors
    /// [`StoreError`].
    #[cfg(feature = "faults")]
    pub(crate) fn other_publication(
        &self,
        than: &[PublicationId],
    ) -> Result<Option<PublicationId>, StoreError> {
        let ids: Vec<PublicationId> = self.rows("SELECT id FROM publication", |row| row.get(0))?;
        Ok(ids.into_iter().find(|id| !than.contains(id)))
    }

    /// Keeps an id whatever it named before, for a deliberate bug.
    ///
    /// # Errors
    /// [`StoreError`].
    #[cfg(feature = "faults")]
    pub(crate) fn replace_publication(
        &self,
        id: &PublicationId,
        digest: &Hash,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        t.execute("INSERT OR REPLACE INTO publication VALUES (?1, ?2)", params![id, digest])?;
        t.execute("INSERT INTO outbox (entry) VALUES (?1)", [entry])?;
        Ok(t.commit()?)
    }

    /// Takes over an id from the log, unless it is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_publication(&self, id: &PublicationId, digest: &Hash) -> Result<(), StoreError> {
        self.lock().execute("INSERT OR IGNORE INTO publication VALUES (?1, ?2)", params![id, digest])?;
        Ok(())
    }

    /// Keeps ids of one signed record together with the entry that tells of it; once more, it changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when an id names another record.
    pub fn put_publications(
        &self,
        ids: &[PublicationId],
        digest: &Hash,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        let mut fresh = 0;
        for id in ids {
            fresh += t.execute("INSERT OR IGNORE INTO publication VALUES (?1, ?2)", params![id, digest])?;
            let known =
                t.query_row("SELECT digest FROM publication WHERE id = ?1", [id], |row| row.get(0))?;
            let reused = |_| StoreError::Exists { what: "a publication of this id".into() };
            check_id(digest, Some(known)).map_err(reused)?;
        }
        if fresh > 0 {
            t.execute("INSERT INTO outbox (entry) VALUES (?1)", [entry])?;
        }
        Ok(t.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_record_and_its_entry_is_queued_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let put = |ids: &[PublicationId], byte| store.put_publications(ids, &[byte; 64], b"entry");
        put(&[[1; 16]], 7).unwrap();
        put(&[[1; 16]], 7).unwrap();
        assert_eq!(store.outbox().unwrap().len(), 1);
        assert_eq!(put(&[[2; 16], [1; 16]], 8).unwrap_err().code(), "ALREADY_EXISTS");
        assert_eq!(
            (store.publication(&[1; 16]).unwrap(), store.publication(&[2; 16]).unwrap()),
            (Some([7; 64]), None)
        );
        assert_eq!(store.outbox().unwrap().len(), 1, "what was refused left nothing");
    }
}
