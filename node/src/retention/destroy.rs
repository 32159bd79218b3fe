//! Destroys, and looks whether it is gone.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha512};
use windvane_protocols::transcript::Hash;

use crate::error::NodeError;
use crate::snapshot::disk::{self, at};
use crate::store::Store;

/// How many there are of what is destroyed, and which, without their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// How many.
    pub(crate) items: u64,
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// Digest over names and lengths: over that of all before, and the last one's.
    pub(crate) digest: Hash,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { items: 0, bytes: 0, digest: [0; 64] }
    }
}

impl Inventory {
    /// Takes one thing by its name and length.
    pub(crate) fn take(&mut self, name: &[u8], bytes: u64) {
        self.items += 1;
        self.bytes += bytes;
        let mut digest = Sha512::new();
        digest.update(self.digest);
        digest.update((name.len() as u64).to_be_bytes());
        digest.update(name);
        digest.update(bytes.to_be_bytes());
        self.digest = digest.finalize().into();
    }

    /// With a file or a folder as one thing more, whatever is in it.
    pub(crate) fn and(mut self, root: &Path, path: &Path) -> Result<Self, NodeError> {
        let items = self.items + 1;
        self.add(root, path)?;
        Ok(Self { items, ..self })
    }

    /// Takes a file, or every file below a folder, by its path below `root`. The order of names makes the digest the
    /// same for the same files.
    pub(crate) fn add(&mut self, root: &Path, path: &Path) -> Result<(), NodeError> {
        if path.is_dir() {
            let entries =
                fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(at(path))?;
            let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
            paths.sort_unstable();
            return paths.iter().try_for_each(|path| self.add(root, path));
        }
        let bytes = fs::symlink_metadata(path).map_or(0, |metadata| metadata.len());
        let name = path.strip_prefix(root).unwrap_or(path);
        self.take(name.as_os_str().as_encoded_bytes(), bytes);
        Ok(())
    }
}

/// Removes a file or a folder so that it is never seen half removed, and looks whether it is gone.
pub(crate) fn remove(path: &Path) -> Result<(), NodeError> {
    if path.is_dir() {
        disk::remove_whole(path)?;
    } else {
        disk::remove_file(path)?;
        path.parent().map_or(Ok(()), disk::sync_directory)?;
    }
    is_gone(path)
}

/// Looks whether a file or a folder is gone.
pub(crate) fn is_gone(path: &Path) -> Result<(), NodeError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(still_there(&path.display().to_string())),
        Err(_) => Ok(()),
    }
}

/// Destroys the details of verifications from before a time, and looks whether any is left; gives what is gone since the
/// log was last told.
pub(crate) fn verifications(store: &Store, before_ms: u64) -> Result<Inventory, NodeError> {
    store.destroy_verifications(before_ms)?;
    let gone = store.untold_verifications()?;
    if gone.items > 0 {
        store.truncate_log()?;
    }
    let left = store.verifications_before(before_ms)?.0;
    if left > 0 {
        return Err(still_there(&format!("{left} verifications")));
    }
    Ok(gone)
}

/// What should be gone is not.
pub(crate) fn still_there(what: &str) -> NodeError {
    let message =
        format!("{what} should be gone and is still there; find out what holds it, then run it again");
    NodeError::Given { code: "NOT_DESTROYED", message }
}
