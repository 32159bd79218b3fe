//! What a bank has room for, before a page of it is fetched.

use std::path::Path;

use windvane_protocols::limits::PAGE_BYTES;
use windvane_protocols::lookup::row::LOCATOR_BYTES;

use super::InstallError;
use super::disk;

/// What a page takes on the disk: its bytes, and its first locator in the index.
const BYTES_PER_PAGE: u64 = (PAGE_BYTES + LOCATOR_BYTES) as u64;

/// How much a provider's publication may take of the bank's disk. A manifest is signed by the provider alone, and may name
/// a terabyte; the log and the state file are on the same disk.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The largest publication, MiB.
    pub largest_mb: u64,
    /// What has to stay free, MiB.
    pub kept_free_mb: u64,
}

impl Room {
    /// Whether a publication may be fetched to the disk of `dir`, of which `had` pages are there.
    ///
    /// # Errors
    /// [`InstallError::TooLarge`], [`InstallError::NoRoom`], or when the disk cannot be asked.
    pub fn admits(&self, dir: &Path, pages: u64, had: u64) -> Result<(), InstallError> {
        let mb = |pages: u64| pages.saturating_mul(BYTES_PER_PAGE).div_ceil(1 << 20);
        let (all, more) = (mb(pages), mb(pages.saturating_sub(had)));
        if all > self.largest_mb {
            return Err(InstallError::TooLarge { mb: all, limit_mb: self.largest_mb });
        }
        let free_mb = disk::free_bytes(dir)? >> 20;
        // What is there already needs no room, so that a download which is through is not kept from being installed.
        if more > 0 && more.saturating_add(self.kept_free_mb) > free_mb {
            return Err(InstallError::NoRoom { mb: more, free_mb, kept_mb: self.kept_free_mb });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_would_fill_the_disk_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let free_mb = disk::free_bytes(dir.path()).unwrap() >> 20;
        let code = |room: Room, pages, had| room.admits(dir.path(), pages, had).map_err(|error| error.code());
        let room = Room { largest_mb: 64 << 10, kept_free_mb: 0 };
        // What a manifest may name at most.
        assert_eq!(code(room, 1 << 28, 0), Err("SNAPSHOT_TOO_LARGE"));
        assert_eq!(code(Room { largest_mb: u64::MAX, ..room }, free_mb << 9, 0), Err("SNAPSHOT_NO_ROOM"));
        assert_eq!(code(Room { kept_free_mb: 2 * free_mb, ..room }, 1, 0), Err("SNAPSHOT_NO_ROOM"));
        assert_eq!(code(Room { kept_free_mb: 2 * free_mb, ..room }, 1, 1), Ok(()));
        assert_eq!(code(Room { kept_free_mb: free_mb / 2, ..room }, 1, 0), Ok(()));
    }
}
