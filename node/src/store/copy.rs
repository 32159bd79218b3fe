//! SQLite's online copy of the state.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{Store, StoreError, connect, make_private};

/// How often a copy that finds the state locked is tried again.
const TRIES: u32 = 200;

/// How long between tries.
const PAUSE: Duration = Duration::from_millis(50);

impl Store {
    /// Copies the state as it is at one moment into a file that only its owner may read. Other processes may go on
    /// writing.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`]; `Missing` for a state that is in memory alone.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        // The copy is one read, and the node's calls do not wait for it.
        let source = self.beside()?;
        make_private(path);
        let mut target = Connection::open(path)?;
        let copy = Backup::new(&source, &mut target)?;
        for _ in 0..TRIES {
            // All pages in one step: a copy in several begins again after every write.
            match copy.step(-1)? {
                StepResult::Done => return Ok(()),
                _ => std::thread::sleep(PAUSE),
            }
        }
        Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
            .into())
    }

    /// Another connection to the file, for work that the node's calls must not wait for.
    pub(super) fn beside(&self) -> Result<Connection, StoreError> {
        let own = self.lock().path().map(std::path::PathBuf::from);
        connect(&own.ok_or_else(|| StoreError::Missing { what: "state file".into() })?)
    }
}
