//! The node's state: one SQLite file beside the log.
//!
//! Promised: a change of state and the log entry that tells of it commit together (the entry waits in the
//! outbox until the log has it); identities are sealed, and found only through a keyed index. **The log is
//! the truth**: counters here are a shortcut that is brought up to date from the log at every start, so the
//! hot path needs no second `fsync`.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

mod buckets;
mod condition;
mod copy;
mod idempotency;
mod psi;
mod publications;
mod replay;
mod retention;
mod retiring;
mod switches;
mod train;
mod trust;
mod verifications;

pub use buckets::StoredBucket;
pub use condition::StoreCondition;
pub use idempotency::Remembered;
pub use publications::{IdError, KnownIds};
pub(crate) use retiring::ENDING;
pub(crate) use trust::Enrolled;
pub use trust::{Issuer, StoredAuthority, TrustVersion};
pub use verifications::{KeyedAnswer, PendingReceipt, VerificationRow, VerificationWriter};

const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE partner (party TEXT PRIMARY KEY, enrolment TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE permit (id BLOB PRIMARY KEY, issued INTEGER NOT NULL, signed BLOB NOT NULL,
        ended_at_ms INTEGER) STRICT;
    CREATE TABLE caller (name TEXT PRIMARY KEY, token_sha256 BLOB NOT NULL UNIQUE, at_ms INTEGER NOT NULL)
        STRICT;
    CREATE TABLE outbox (id INTEGER PRIMARY KEY, entry BLOB NOT NULL) STRICT;
    CREATE TABLE counter (subject BLOB NOT NULL, key_group INTEGER NOT NULL, day INTEGER NOT NULL,
        used INTEGER NOT NULL, PRIMARY KEY (subject, key_group, day)) STRICT, WITHOUT ROWID;
    CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TABLE verification (id BLOB PRIMARY KEY, person BLOB NOT NULL, at_ms INTEGER NOT NULL,
        sealed BLOB NOT NULL) STRICT;
    CREATE INDEX verification_person ON verification (person);
    CREATE TABLE uncountersigned (id INTEGER PRIMARY KEY, provider TEXT NOT NULL, receipt BLOB NOT NULL)
        STRICT;
";

/// Came after the first files were made, so it is added to those that lack it.
const PSI_SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS psi_run (session BLOB PRIMARY KEY, permit BLOB NOT NULL, input BLOB NOT NULL)
        STRICT;
    CREATE INDEX IF NOT EXISTS psi_run_permit ON psi_run (permit);
";

/// Came later still.
const TRAIN_SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS train_run (session BLOB PRIMARY KEY, permit BLOB NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS train_run_permit ON train_run (permit);
";

/// For what is looked for by its age.
const AGE_SCHEMA: &str = "CREATE INDEX IF NOT EXISTS verification_at ON verification (at_ms);";

/// And this after it: what is switched off, how full token buckets were, and what was answered under which key.
const LIMITS_SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS switched_off (subject TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS bucket (subject BLOB NOT NULL, key_group INTEGER NOT NULL, tokens INTEGER NOT NULL,
        at_ms INTEGER NOT NULL, PRIMARY KEY (subject, key_group)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS idempotency (key BLOB PRIMARY KEY, body BLOB NOT NULL, at_ms INTEGER NOT NULL,
        answer BLOB) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at_ms);
";

/// The state file.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite says so.
    #[error("the state file: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was made by another version.
    #[error("the state file has version {found}, this node reads version {SCHEMA_VERSION}")]
    Version {
        /// The file's version.
        found: i64,
    },
    /// The writer has stopped.
    #[error("the state file's writer has stopped")]
    Closed,
    /// Somebody reads an earlier state, so the write-ahead log cannot be emptied.
    #[error(
        "readers of the state file, a backup for example, kept its write-ahead log from being emptied of what was \
         destroyed; the next run tries again, so let them end first"
    )]
    LogHeld,
    /// There is one already under this name.
    #[error("{what} is there already")]
    Exists {
        /// What.
        what: String,
    },
    /// There is none under this name.
    #[error("there is no {what}")]
    Missing {
        /// What.
        what: String,
    },
}

impl StoreError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "STATE_UNAVAILABLE",
            Self::Version { .. } => "STATE_VERSION",
            Self::Closed => "STATE_CLOSED",
            Self::LogHeld => "STATE_LOG_HELD",
            Self::Exists { .. } => "ALREADY_EXISTS",
            Self::Missing { .. } => "NOT_FOUND",
        }
    }
}

/// A grant as it is kept.
#[derive(Debug, Clone)]
pub struct StoredGrant {
    /// Its id.
    pub id: [u8; 16],
    /// Whether this node issued it, or accepted it.
    pub issued: bool,
    /// The signed grant.
    pub signed: Vec<u8>,
    /// When it was ended before its time.
    pub ended_at_ms: Option<u64>,
}

/// How far a provider's shortcuts go; the log is read from there at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Log entries that the counters cover.
    pub counted: u64,
    /// Log entries before the first receipt without a countersignature.
    pub countersigned: u64,
}

/// An accepted set intersection: its job, and the commitment to the requester's input.
pub type PsiRun = ([u8; 16], [u8; 32]);

const COUNTED: &str = "counted entries";
const COUNTERSIGNED: &str = "countersigned entries";
const EXPLAINED: &str = "explained entries";
const SEALED: &str = "sealed entries";

/// Keeps a fact that only grows, where it has grown.
const GROW_FACT: &str =
    "INSERT INTO fact VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2 WHERE value < ?2";

/// A counter of one grant or key, key group and day (0 stands for the whole life).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// A grant's id, or a key's.
    pub subject: [u8; 16],
    /// The key group's code.
    pub group: u8,
    /// Days since 1970-01-01, or 0 for all days.
    pub day: u64,
    /// Elements evaluated.
    pub used: u64,
}

/// What a counter counts: a grant or key, a key group and a day, as [`Counter`] has them.
pub type Counted = ([u8; 16], u8, u64);

/// What is to be kept of counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Counters that changed.
    pub changed: Vec<Counter>,
    /// What is no longer counted.
    pub forgotten: Vec<Counted>,
}

impl Store {
    /// Opens the file, or makes it, for its owner alone; SQLite gives its write-ahead log the same mode.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Version`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path);
        let connection = connect(path)?;
        // An operator was told that a grant is ended before the log has it: that must outlast a cut of power.
        connection.execute_batch("PRAGMA synchronous = FULL;")?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            0 => connection
                .execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?,
            SCHEMA_VERSION => {}
            found => return Err(StoreError::Version { found }),
        }
        connection.execute_batch(PSI_SCHEMA)?;
        connection.execute_batch(TRAIN_SCHEMA)?;
        connection.execute_batch(AGE_SCHEMA)?;
        connection.execute_batch(LIMITS_SCHEMA)?;
        connection.execute_batch(publications::SCHEMA)?;
        connection.execute_batch(trust::SCHEMA)?;
        connection.execute_batch(retiring::SCHEMA)?;
        connection.execute_batch(retention::SCHEMA)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Parts from a partner; the log keeps its enrolment.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn remove_partner(&self, party: &str, entry: &[u8]) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { what: format!("partner {party}") };
        self.change_one(entry, missing, |t| {
            t.execute("DELETE FROM partner_before WHERE party = ?1", [party])?;
            t.execute("DELETE FROM partner WHERE party = ?1", [party])
        })
    }

    /// The enrolments of all partners.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn partners(&self) -> Result<Vec<String>, StoreError> {
        self.rows("SELECT enrolment FROM partner ORDER BY party", |row| row.get(0))
    }

    /// Keeps a grant.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it is there already.
    pub fn put_grant(
        &self,
        id: &[u8; 16],
        issued: bool,
        signed: &[u8],
        entry: &[u8],
    ) -> Result<(), StoreError> {
        let exists = || StoreError::Exists { what: "this grant".into() };
        self.change_one(entry, exists, |t| {
            t.execute("INSERT OR IGNORE INTO permit VALUES (?1, ?2, ?3, NULL)", params![id, issued, signed])
        })
    }

    /// Ends a grant before its time.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, or it has been ended.
    pub fn end_grant(&self, id: &[u8; 16], at_ms: u64, entry: &[u8]) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { what: "running grant of this id".into() };
        self.change_one(entry, missing, |t| {
            t.execute(
                "UPDATE permit SET ended_at_ms = ?2 WHERE id = ?1 AND ended_at_ms IS NULL",
                params![id, int(at_ms)],
            )
        })
    }

    /// All grants.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn grants(&self) -> Result<Vec<StoredGrant>, StoreError> {
        self.rows("SELECT id, issued, signed, ended_at_ms FROM permit ORDER BY rowid", |row| {
            Ok(StoredGrant {
                id: row.get(0)?,
                issued: row.get(1)?,
                signed: row.get(2)?,
                ended_at_ms: row.get::<_, Option<i64>>(3)?.map(|ms| ms as u64),
            })
        })
    }

    /// Admits a caller of the REST interface.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken.
    pub fn admit(&self, name: &str, token: &[u8; 32], at_ms: u64, entry: &[u8]) -> Result<(), StoreError> {
        let exists = || StoreError::Exists { what: format!("a caller named {name}") };
        self.change_one(entry, exists, |t| {
            t.execute("INSERT OR IGNORE INTO caller VALUES (?1, ?2, ?3)", params![name, token, int(at_ms)])
        })
    }

    /// Dismisses a caller.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn dismiss(&self, name: &str, entry: &[u8]) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { what: format!("caller named {name}") };
        self.change_one(entry, missing, |t| t.execute("DELETE FROM caller WHERE name = ?1", [name]))
    }

    /// Names and token digests of all callers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn callers(&self) -> Result<Vec<([u8; 32], String)>, StoreError> {
        self.rows("SELECT token_sha256, name FROM caller", |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Queues an entry that goes with no other change of state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn queue_entry(&self, entry: &[u8]) -> Result<(), StoreError> {
        self.queue_entries(&[entry])
    }

    /// Queues entries that go with no other change of this state, in order: all of them, or none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn queue_entries(&self, entries: &[impl AsRef<[u8]>]) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        queue(&t, entries)?;
        Ok(t.commit()?)
    }

    /// Entries that wait for the log, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outbox(&self) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.rows("SELECT id, entry FROM outbox ORDER BY id", |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Forgets entries that the log has, up to and including `last`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn clear_outbox(&self, last: i64) -> Result<(), StoreError> {
        self.lock().execute("DELETE FROM outbox WHERE id <= ?1", [last])?;
        Ok(())
    }

    /// All counters, and up to which log entries they and the receipts' countersignatures are settled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn counters(&self) -> Result<(Settled, Vec<Counter>), StoreError> {
        let settled = Settled { counted: self.fact(COUNTED)?, countersigned: self.fact(COUNTERSIGNED)? };
        let counters = self.rows("SELECT subject, key_group, day, used FROM counter", |row| {
            Ok(Counter {
                subject: row.get(0)?,
                group: row.get(1)?,
                day: row.get::<_, i64>(2)? as u64,
                used: row.get::<_, i64>(3)? as u64,
            })
        })?;
        Ok((settled, counters))
    }

    /// Keeps what changed of the counters, which only grow, and the levels of the token buckets. Where nothing is new,
    /// nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_counters(
        &self,
        settled: Settled,
        counters: &Counters,
        buckets: &[StoredBucket],
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        for (subject, group, day) in &counters.forgotten {
            let sql = "DELETE FROM counter WHERE subject = ?1 AND key_group = ?2 AND day = ?3";
            t.execute(sql, params![subject, group, int(*day)])?;
        }
        for c in &counters.changed {
            t.execute(
                "INSERT INTO counter VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET used = ?4 WHERE used < ?4",
                params![c.subject, c.group, int(c.day), int(c.used)],
            )?;
        }
        buckets::put(&t, buckets)?;
        for (name, value) in [(COUNTED, settled.counted), (COUNTERSIGNED, settled.countersigned)] {
            t.execute(GROW_FACT, params![name, int(value)])?;
        }
        Ok(t.commit()?)
    }

    /// Log entries among which every request has its end, or its explanation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn explained(&self) -> Result<u64, StoreError> {
        self.fact(EXPLAINED)
    }

    /// Entries that the log had for certain, by the last look.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn known_entries(&self) -> Result<u64, StoreError> {
        Ok(self.fact(COUNTED)?.max(self.explained()?).max(self.fact(SEALED)?))
    }

    /// Keeps how many entries the log had when somebody closed it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn put_sealed(&self, entries: u64) -> Result<(), StoreError> {
        self.lock().execute(GROW_FACT, params![SEALED, int(entries)])?;
        Ok(())
    }

    /// Keeps that; it only grows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_explained(&self, entries: u64) -> Result<(), StoreError> {
        self.lock().execute(GROW_FACT, params![EXPLAINED, int(entries)])?;
        Ok(())
    }

    fn fact(&self, name: &str) -> Result<u64, StoreError> {
        let sql = "SELECT value FROM fact WHERE name = ?1";
        let value: Option<i64> = self.lock().query_row(sql, [name], |row| row.get(0)).optional()?;
        Ok(value.unwrap_or(0) as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held leaves no half-done transaction: SQLite rolls it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change that holds whatever was there before, and its entry.
    fn change(
        &self,
        entry: &[u8],
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        act(&t)?;
        t.execute("INSERT INTO outbox (entry) VALUES (?1)", [entry])?;
        Ok(t.commit()?)
    }

    /// A change that depends on what is there: where it changes nothing, nothing is written, the entry neither.
    fn change_one(
        &self,
        entry: &[u8],
        unchanged: impl FnOnce() -> StoreError,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let t = connection.transaction()?;
        if act(&t)? == 0 {
            return Err(unchanged());
        }
        t.execute("INSERT INTO outbox (entry) VALUES (?1)", [entry])?;
        Ok(t.commit()?)
    }

    fn rows<T>(
        &self,
        sql: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([], read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

/// Queues entries for the log, in order, with whatever else a transaction does.
fn queue(t: &Transaction<'_>, entries: &[impl AsRef<[u8]>]) -> rusqlite::Result<()> {
    for entry in entries {
        t.execute("INSERT INTO outbox (entry) VALUES (?1)", [entry.as_ref()])?;
    }
    Ok(())
}

/// Write-ahead logging without an `fsync` per commit, for records of verifications: a cut of power may lose the last
/// moments, of which the log still tells; a killed process loses nothing.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;",
    )?;
    Ok(connection)
}

/// Makes an empty file for its owner alone, where there is none: SQLite would make it as the umask permits. That it cannot be
/// made is SQLite's to say.
fn make_private(path: &Path) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

/// SQLite's integers are signed; ours are times and counts, far below the border.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        (dir, store)
    }

    #[test]
    fn nobody_but_its_owner_reaches_the_file() {
        let (dir, store) = store();
        store.switch_off("function/batches", 1, b"entry").unwrap();
        for name in ["state.db", "state.db-wal"] {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let copy = dir.path().join("copy.db");
        store.copy_to(&copy).unwrap();
        assert_eq!(std::fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_change_and_its_entry_commit_together() {
        let (_dir, store) = store();
        store.put_partner("bank", "enrolment", Enrolled::Anew, 1, b"entry").unwrap();
        assert_eq!(store.partners().unwrap(), ["enrolment"]);
        let outbox = store.outbox().unwrap();
        assert_eq!(outbox, [(1, b"entry".to_vec())]);
        store.clear_outbox(1).unwrap();
        assert!(store.outbox().unwrap().is_empty());
    }

    #[test]
    fn counters_never_go_back() {
        let (_dir, store) = store();
        let counter = |used| Counter { subject: [1; 16], group: 2, day: 3, used };
        let counters = |used| Counters { changed: vec![counter(used)], ..Counters::default() };
        let settled = |counted| Settled { counted, countersigned: 1 };
        store.put_counters(settled(10), &counters(5), &[]).unwrap();
        store.put_counters(settled(8), &counters(4), &[]).unwrap();
        assert_eq!(store.counters().unwrap(), (settled(10), vec![counter(5)]));
    }

    #[test]
    fn counters_that_did_not_change_cost_no_write_and_forgotten_ones_are_gone() {
        let (dir, store) = store();
        let counter = |day| Counter { subject: [1; 16], group: 2, day, used: 7 };
        let counters = |days: &[u64], forgotten: &[u64]| Counters {
            changed: days.iter().map(|day| counter(*day)).collect(),
            forgotten: forgotten.iter().map(|day| ([1; 16], 2, *day)).collect(),
        };
        let bucket = StoredBucket { subject: [1; 16], group: 2, tokens: -3, at_ms: 4 };
        let settled = Settled { counted: 9, countersigned: 8 };
        let put = |counters: &Counters| store.put_counters(settled, counters, &[bucket]).unwrap();
        put(&counters(&[0, 3], &[]));
        store.put_explained(5).unwrap();
        let written = || std::fs::metadata(dir.path().join("state.db-wal")).unwrap().len();
        let before = written();
        put(&counters(&[0, 3], &[]));
        store.put_explained(5).unwrap();
        put(&Counters::default());
        assert_eq!(written(), before);
        put(&counters(&[4], &[3]));
        let days: Vec<_> = store.counters().unwrap().1.iter().map(|counter| counter.day).collect();
        assert_eq!(days, [0, 4]);
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let (dir, store) = store();
        store.lock().execute_batch("PRAGMA user_version = 99").unwrap();
        let reopened = Store::open(&dir.path().join("state.db"));
        assert!(matches!(reopened, Err(StoreError::Version { found: 99 })));
    }

    #[test]
    fn what_did_not_happen_has_no_entry() {
        let (_dir, store) = store();
        store.admit("teller", &[2; 32], 1, b"admitted").unwrap();
        assert!(store.admit("teller", &[3; 32], 2, b"admitted again").is_err());
        assert!(store.dismiss("nobody", b"dismissed").is_err());
        assert!(store.end_grant(&[1; 16], 3, b"ended").is_err());
        store.put_grant(&[1; 16], false, b"grant", b"granted").unwrap();
        assert!(store.put_grant(&[1; 16], false, b"another", b"granted again").is_err());
        let entries: Vec<_> = store.outbox().unwrap().into_iter().map(|(_, entry)| entry).collect();
        assert_eq!(entries, [b"admitted".to_vec(), b"granted".to_vec()]);
    }

    #[test]
    fn a_grant_ends_once() {
        let (_dir, store) = store();
        store.put_grant(&[1; 16], true, b"grant", b"e").unwrap();
        assert!(matches!(store.put_grant(&[1; 16], true, b"grant", b"e"), Err(StoreError::Exists { .. })));
        store.end_grant(&[1; 16], 7, b"e").unwrap();
        assert_eq!(store.grants().unwrap()[0].ended_at_ms, Some(7));
        assert!(store.end_grant(&[1; 16], 8, b"e").is_err());
    }
}
