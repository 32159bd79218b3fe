//! What tables' last scans told, so that a table which is as it was is not read again for the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::PsiError;
use super::input::{InputFile, Scan};
use crate::dataset::Progress;

/// Scans by file and payload columns. One that is out of date does no harm: partitioning holds its table
/// against the scan's digest.
#[derive(Debug, Default)]
pub(super) struct Scans(Mutex<BTreeMap<(PathBuf, Vec<String>), Scanned>>);

/// A scan, and the file as it was.
#[derive(Debug, Clone)]
struct Scanned {
    scan: Scan,
    modified: Option<SystemTime>,
    length: u64,
}

impl Scans {
    /// What the table's last scan told, or a new one. Blocks on the file.
    ///
    /// # Errors
    /// As [`InputFile::scan`].
    pub(super) fn scan(&self, input: &InputFile, progress: &dyn Progress) -> Result<Scan, PsiError> {
        let file = std::fs::metadata(&input.path).map_err(PsiError::io(&input.path))?;
        let (modified, length) = (file.modified().ok(), file.len());
        let name = (input.path.clone(), input.payload_columns.clone());
        let known = self.lock().get(&name).cloned();
        if let Some(known) = known.filter(|k| k.modified == modified && k.length == length) {
            return Ok(known.scan);
        }
        let scan = input.scan(progress)?;
        self.lock().insert(name, Scanned { scan, modified, length });
        Ok(scan)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(PathBuf, Vec<String>), Scanned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
