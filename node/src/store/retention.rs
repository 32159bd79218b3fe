//! The end of verifications' details, and of what was retired.
//!
//! What is retired is counted before anything of it is destroyed, until the transaction that queues the entry about it.
//! What was destroyed of verifications is counted in the transaction that deletes it, until that of its entry:
//! as long as the count stands there, the write-ahead log may hold copies and is to be emptied.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{Store, StoreError, int};
use crate::retention::class;
use crate::retention::destroy::Inventory;

/// Came after the first files were made.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS untold_verification (one INTEGER PRIMARY KEY CHECK (one = 1), items INTEGER NOT NULL,
        bytes INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS untold_retirement (class TEXT NOT NULL, subject TEXT NOT NULL, items INTEGER NOT NULL,
        bytes INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (class, subject)) STRICT;
";

const FORGET_RETIREMENT: &str = "DELETE FROM untold_retirement WHERE class = ?1 AND subject = ?2";

/// Rows that are destroyed in one transaction, so that calls do not wait long for their turn.
const BATCH: i64 = 2_048;

/// How often the write-ahead log is truncated again while somebody reads or writes it.
const TRUNCATIONS: u32 = 25;

/// How long between them.
const PAUSE: Duration = Duration::from_millis(20);

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

    /// Destroys the details of verifications from before a time: rows are overwritten. Copies of them stay in the
    /// write-ahead log until [`Self::truncate_log`], and what is gone is counted until [`Self::tell_verifications`].
    ///
    /// # Errors
    /// [`StoreError`]; the batches before it are gone and counted.
    pub(crate) fn destroy_verifications(&self, before_ms: u64) -> Result<(), StoreError> {
        while self.destroy_batch(before_ms)? > 0 {}
        Ok(())
    }

    fn destroy_batch(&self, before_ms: u64) -> Result<usize, StoreError> {
        let mut connection = self.lock();
        // As every connection to the file has it; once more, because what is destroyed here depends on it.
        connection.pragma_update(None, "secure_delete", true)?;
        let t = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows: Vec<(i64, Vec<u8>, i64)> = {
            let mut statement = t.prepare_cached(
                "SELECT rowid, id, length(sealed) FROM verification WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2",
            )?;
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            statement.query_map(params![int(before_ms), BATCH], read)?.collect::<Result<_, _>>()?
        };
        if rows.is_empty() {
            return Ok(0);
        }
        let mut untold = untold(&t)?;
        for (rowid, id, bytes) in &rows {
            t.prepare_cached("DELETE FROM verification WHERE rowid = ?1")?.execute([rowid])?;
            untold.take(id, *bytes as u64);
        }
        t.execute(
            "INSERT OR REPLACE INTO untold_verification VALUES (1, ?1, ?2, ?3)",
            params![int(untold.items), int(untold.bytes), untold.digest],
        )?;
        t.commit()?;
        Ok(rows.len())
    }

    /// Verifications' details that are destroyed and of which no entry is queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn untold_verifications(&self) -> Result<Inventory, StoreError> {
        Ok(untold(&self.lock())?)
    }

    /// Queues the entry about exactly these. Whether it did: another process may have told of them, or have destroyed
    /// more, of which it tells.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn tell_verifications(&self, gone: &Inventory, entry: &[u8]) -> Result<bool, StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let told = t.execute("DELETE FROM untold_verification WHERE digest = ?1", [gone.digest])?;
        if told > 0 {
            t.execute("INSERT INTO outbox (entry) VALUES (?1)", [entry])?;
        }
        t.commit()?;
        Ok(told > 0)
    }

    /// Forgets those that the log was told of.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_destruction(&self, digest: &[u8; 64]) -> Result<(), StoreError> {
        self.lock().execute("DELETE FROM untold_verification WHERE digest = ?1", [digest])?;
        Ok(())
    }

    /// What was counted of something that is being retired.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn retirement(&self, class: &str, subject: &str) -> Result<Option<Inventory>, StoreError> {
        let sql = "SELECT items, bytes, digest FROM untold_retirement WHERE class = ?1 AND subject = ?2";
        Ok(self.lock().query_row(sql, [class, subject], inventory).optional()?)
    }

    /// Keeps what was counted, unless an earlier count stands there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn begin_retirement(
        &self,
        class: &str,
        subject: &str,
        counted: &Inventory,
    ) -> Result<(), StoreError> {
        let Inventory { items, bytes, digest } = counted;
        let sql = "INSERT OR IGNORE INTO untold_retirement VALUES (?1, ?2, ?3, ?4, ?5)";
        self.lock().execute(sql, params![class, subject, int(*items), int(*bytes), digest])?;
        Ok(())
    }

    /// Queues the entry about something that was retired, and forgets the count; a partner's enrolment goes with it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn end_retirement(&self, class: &str, subject: &str, entry: &[u8]) -> Result<(), StoreError> {
        self.change(entry, |t| {
            if class == class::PARTNER {
                t.execute("DELETE FROM partner_before WHERE party = ?1", [subject])?;
                t.execute("DELETE FROM partner WHERE party = ?1", [subject])?;
            }
            t.execute(FORGET_RETIREMENT, [class, subject])
        })
    }

    /// Forgets the count of something of which the log was told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn replay_retirement(&self, class: &str, subject: &str) -> Result<(), StoreError> {
        self.lock().execute(FORGET_RETIREMENT, [class, subject])?;
        Ok(())
    }

    /// Moves the write-ahead log into the file and empties it. Nobody waits for that: it gives way to readers, and does
    /// not keep writers while it waits for these.
    ///
    /// # Errors
    /// [`StoreError::LogHeld`] while somebody reads an earlier state.
    pub(crate) fn truncate_log(&self) -> Result<(), StoreError> {
        let connection = self.beside()?;
        connection.busy_timeout(Duration::ZERO)?;
        for attempt in 0..TRUNCATIONS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            let busy: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            if busy == 0 {
                return Ok(());
            }
        }
        Err(StoreError::LogHeld)
    }
}

fn untold(connection: &Connection) -> rusqlite::Result<Inventory> {
    let sql = "SELECT items, bytes, digest FROM untold_verification";
    Ok(connection.query_row(sql, [], inventory).optional()?.unwrap_or_default())
}

fn inventory(row: &rusqlite::Row<'_>) -> rusqlite::Result<Inventory> {
    let (items, bytes) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
    Ok(Inventory { items, bytes, digest: row.get(2)? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::{VerificationRow, VerificationWriter, connect};

    fn mark(i: u8) -> Vec<u8> {
        format!("details-of-{i:03}").repeat(40).into_bytes()
    }

    fn row(i: u8) -> VerificationRow {
        VerificationRow { id: [i; 16], person: [i; 32], at_ms: i.into(), sealed: mark(i) }
    }

    fn found(dir: &Path, i: u8) -> bool {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()));
        files.flatten().any(|bytes| bytes.windows(14).any(|window| *window == mark(i)[..14]))
    }

    /// What is counted of the first rows.
    fn first(rows: u8) -> Inventory {
        let mut inventory = Inventory::default();
        (0..rows).for_each(|i| inventory.take(&[i; 16], 560));
        inventory
    }

    #[tokio::test]
    async fn destroyed_details_are_in_no_file_of_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).unwrap();
        let writer = VerificationWriter::start(&path).unwrap();
        writer.write((0..100).map(row).collect(), Vec::new(), None).await.unwrap();
        assert!((0..100).all(|i| found(dir.path(), i)));
        store.destroy_verifications(60).unwrap();
        store.truncate_log().unwrap();
        assert_eq!(store.verifications_before(60).unwrap(), (0, 0));
        assert_eq!(store.verifications_before(100).unwrap(), (40, 40 * 560));
        assert!(!(0..60).any(|i| found(dir.path(), i)));
        assert!((60..100).all(|i| found(dir.path(), i)));
        drop(writer);
    }

    #[test]
    fn what_is_gone_is_counted_until_its_entry_is_queued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).unwrap();
        let insert = |i: u8| {
            let VerificationRow { id, person, at_ms, sealed } = row(i);
            let row = params![id, person, int(at_ms), sealed];
            store.lock().execute("INSERT INTO verification VALUES (?1, ?2, ?3, ?4)", row).unwrap();
        };
        (0..5).for_each(insert);
        store.destroy_verifications(3).unwrap();
        drop(store);
        // As after a kill: another run goes on, and tells of all.
        let store = Store::open(&path).unwrap();
        assert_eq!(store.untold_verifications().unwrap(), first(3));
        store.destroy_verifications(5).unwrap();
        assert!(!store.tell_verifications(&first(3), b"of three").unwrap());
        assert!(store.tell_verifications(&first(5), b"of five").unwrap());
        assert!(!store.tell_verifications(&first(5), b"of five").unwrap());
        assert_eq!(store.untold_verifications().unwrap(), Inventory::default());
        assert_eq!(store.outbox().unwrap(), [(1, b"of five".to_vec())]);
    }

    #[tokio::test]
    async fn a_reader_of_an_earlier_state_keeps_nobody_from_writing_and_the_next_run_empties_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let store = Store::open(&path).unwrap();
        let writer = VerificationWriter::start(&path).unwrap();
        writer.write((0..10).map(row).collect(), Vec::new(), None).await.unwrap();
        // As a backup's copy.
        let reader = connect(&path).unwrap();
        let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        reader.execute_batch("BEGIN").unwrap();
        assert_eq!(count("SELECT count(*) FROM verification"), 10);
        let run = || crate::retention::destroy::verifications(&store, 6);
        assert_eq!(run().unwrap_err().code(), "STATE_LOG_HELD");
        assert_eq!(store.untold_verifications().unwrap(), first(6));
        writer.write(vec![row(10)], Vec::new(), None).await.unwrap();
        assert_eq!(count("SELECT count(*) FROM verification"), 10);

        reader.execute_batch("COMMIT").unwrap();
        assert_eq!(run().unwrap(), first(6));
        assert!(!(0..6).any(|i| found(dir.path(), i)));
        // With nothing gone there is nothing to empty, whoever reads.
        assert!(store.tell_verifications(&first(6), b"entry").unwrap());
        reader.execute_batch("BEGIN").unwrap();
        count("SELECT count(*) FROM verification");
        assert_eq!(run().unwrap(), Inventory::default());
    }
}
