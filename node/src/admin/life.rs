//! Backups, retention, and the end of what leaves service.

use std::path::Path;

use super::Admin;
use crate::backup::{Backup, Made, Watch};
use crate::error::NodeError;
use crate::retention::{Due, Outcome, Retention};
use crate::retire::node::retire_node;
use crate::retire::{Retire, Retired, What};

impl Admin {
    /// Makes a backup into a repository; the node may be running.
    ///
    /// # Errors
    /// [`NodeError`]: nothing that looks like a backup was left.
    pub fn back_up(&self, to: &Path, keep: Option<usize>, watch: Watch<'_>) -> Result<Made, NodeError> {
        let backup = Backup { config: &self.config, keys: &self.keys, store: &self.store, to, keep };
        backup.make(self.clock.as_ref(), watch)
    }

    /// What retention would destroy now.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn retention_plan(&self) -> Result<Vec<Due>, NodeError> {
        self.retention().plan()
    }

    /// Destroys what is due and tells the log.
    ///
    /// # Errors
    /// [`NodeError`] when the log cannot be told; what could not be destroyed is in its outcome.
    pub fn retain(&self) -> Result<Vec<Outcome>, NodeError> {
        let outcomes = self.retention().run();
        self.flush()?;
        Ok(outcomes)
    }

    /// Destroys what leaves service, with a signed protocol in the log; or shows what would go.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn retire(&self, what: &What, dry_run: bool) -> Result<Retired, NodeError> {
        let retired = Retire { retention: self.retention(), dry_run }.run(what)?;
        self.flush()?;
        Ok(retired)
    }

    /// Ends the node, which must not be running: log and documents are archived, everything else is destroyed.
    ///
    /// # Errors
    /// [`NodeError`]; the keys stay until the archive was found whole.
    pub fn retire_node(self, archive: &Path, dry_run: bool) -> Result<Retired, NodeError> {
        self.flush()?;
        let Self { config, keys, store, layout, clock, .. } = self;
        retire_node(&config, keys, store, &layout, archive, (clock.now_ms(), dry_run))
    }

    pub(crate) fn retention(&self) -> Retention<'_> {
        Retention {
            config: &self.config.retention,
            keys: &self.keys,
            store: &self.store,
            layout: &self.layout,
            now_ms: self.clock.now_ms(),
        }
    }
}
