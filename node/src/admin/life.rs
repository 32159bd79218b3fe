//! Backups, retention, and the end of what leaves service.

use std::path::Path;

use super::Admin;
use crate::backup::{Backup, Made, Watch};
use crate::error::NodeError;

impl Admin {
    /// Makes a backup into a repository; the node may be running.
    ///
    /// # Errors
    /// [`NodeError`]: nothing that looks like a backup was left.
    pub fn back_up(&self, to: &Path, keep: Option<usize>, watch: Watch<'_>) -> Result<Made, NodeError> {
        let backup = Backup { config: &self.config, keys: &self.keys, store: &self.store, to, keep };
        backup.make(self.clock.as_ref(), watch)
    }
}
