//! The end of verifications' details.

use rusqlite::params;

use super::{Store, StoreError, int};

/// Rows that are destroyed in one transaction, so that calls do not wait long for their turn.
const BATCH: i64 = 2_048;

/// How often the write-ahead log is truncated again while somebody reads it.
const TRUNCATIONS: u32 = 50;

impl Store {
    /// How many verifications are from before a time, and the bytes of their details.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn verifications_before(&self, before_ms: u64) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT count(*), coalesce(sum(length(sealed)), 0) FROM verification WHERE at_ms < ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64));
        Ok(self.lock().query_row(sql, [int(before_ms)], read)?)
    }

    /// Destroys the details of verifications from before a time: rows are overwritten, and no copy of them stays in the
    /// write-ahead log. `gone` is told each id with the bytes of its details.
    ///
    /// # Errors
    /// [`StoreError`]; `STATE_CLOSED` when readers kept the write-ahead log from being truncated.
    pub(crate) fn destroy_verifications(
        &self,
        before_ms: u64,
        mut gone: impl FnMut(&[u8], u64),
    ) -> Result<(), StoreError> {
        loop {
            let mut connection = self.lock();
            // As every connection to the file has it; once more, because what is destroyed here depends on it.
            connection.pragma_update(None, "secure_delete", true)?;
            let t = connection.transaction()?;
            let rows: Vec<(i64, Vec<u8>, i64)> = {
                let mut statement = t.prepare_cached(
                    "SELECT rowid, id, length(sealed) FROM verification WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2",
                )?;
                let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                statement.query_map(params![int(before_ms), BATCH], read)?.collect::<Result<_, _>>()?
            };
            for (rowid, _, _) in &rows {
                t.prepare_cached("DELETE FROM verification WHERE rowid = ?1")?.execute([rowid])?;
            }
            t.commit()?;
            drop(connection);
            if rows.is_empty() {
                return self.truncate_log();
            }
            rows.iter().for_each(|(_, id, bytes)| gone(id, *bytes as u64));
        }
    }

    /// Moves the write-ahead log into the file and empties it.
    fn truncate_log(&self) -> Result<(), StoreError> {
        for _ in 0..TRUNCATIONS {
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            let busy: i64 = self.lock().query_row(sql, [], |row| row.get(0))?;
            if busy == 0 {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(StoreError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{VerificationRow, VerificationWriter};

    #[tokio::test]
    async fn destroyed_details_are_in_no_file_of_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).unwrap();
        let writer = VerificationWriter::start(&path).unwrap();
        let mark = |i: u8| format!("details-of-{i:03}").repeat(40).into_bytes();
        let rows = (0..100).map(|i| VerificationRow {
            id: [i; 16],
            person: [i; 32],
            at_ms: i.into(),
            sealed: mark(i),
        });
        writer.write(rows.collect(), Vec::new()).await.unwrap();
        let found = |i: u8| {
            let files =
                std::fs::read_dir(dir.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()));
            files.flatten().any(|bytes| bytes.windows(14).any(|window| *window == mark(i)[..14]))
        };
        assert!((0..100).all(found));
        let mut gone = Vec::new();
        store.destroy_verifications(60, |id, bytes| gone.push((id[0], bytes))).unwrap();
        assert_eq!(gone, (0..60).map(|i| (i, 560)).collect::<Vec<_>>());
        assert_eq!(store.verifications_before(60).unwrap(), (0, 0));
        assert_eq!(store.verifications_before(100).unwrap(), (40, 40 * 560));
        assert!(!(0..60).any(found));
        assert!((60..100).all(found));
        drop(writer);
    }
}
