//! What tables' last scans told, so that a table which is as it was is not read again for the same.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use windvane_protocols::psi::PSI_SALT_BYTES;

use super::PsiError;
use super::input::{InputFile, PartitionedTable, Scan};
use crate::dataset::Progress;

/// Scans by file and payload columns, in whatever order these are asked for: it makes no difference to what a scan tells.
/// Partitioning holds its table against the scan's digest; a scan of which it makes no
/// table is forgotten, so that one which is out of date harms one job at most.
#[derive(Debug, Default)]
pub(super) struct Scans(Mutex<BTreeMap<Name, Scanned>>);

type Name = (PathBuf, Vec<String>);

/// A scan, and the file as it was.
#[derive(Debug, Clone)]
struct Scanned {
    scan: Scan,
    file: Version,
}

/// What tells a file from one that took its place, and from itself after a change, whatever date a copy gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    /// When the system last changed anything of it: seconds and nanoseconds.
    changed: (i64, i64),
}

impl Version {
    fn of(file: &Metadata) -> Self {
        let changed = (file.ctime(), file.ctime_nsec());
        Self { device: file.dev(), inode: file.ino(), length: file.len(), changed }
    }
}

impl Scans {
    /// What the table's last scan told, or a new one. Blocks on the file.
    ///
    /// # Errors
    /// As [`InputFile::scan`].
    pub(super) fn scan(&self, input: &InputFile, progress: &dyn Progress) -> Result<Scan, PsiError> {
        let file = std::fs::metadata(&input.path).map_err(PsiError::io(&input.path))?;
        let file = Version::of(&file);
        let known = self.lock().get(&name(input)).cloned();
        if let Some(known) = known.filter(|known| known.file == file) {
            return Ok(known.scan);
        }
        let scan = input.scan(progress)?;
        self.lock().insert(name(input), Scanned { scan, file });
        Ok(scan)
    }

    /// Partitions a table that was scanned. Blocks on the file.
    ///
    /// # Errors
    /// As [`InputFile::partition`].
    pub(super) fn partition(
        &self,
        input: &InputFile,
        scan: &Scan,
        salt: &[u8; PSI_SALT_BYTES],
        folder: &Path,
    ) -> Result<PartitionedTable, PsiError> {
        let table = input.partition(scan, salt, folder, &());
        if table.is_err() {
            self.lock().remove(&name(input));
        }
        table
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Scanned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(input: &InputFile) -> Name {
    let mut columns = input.payload_columns.clone();
    columns.sort_unstable();
    (input.path.clone(), columns)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::psi::key::KeyKind;

    fn input(folder: &Path) -> InputFile {
        let path = folder.join("list.csv");
        fs::write(&path, "phone\n13800138000\n").unwrap();
        let key_columns = vec!["phone".to_owned()];
        InputFile { path, key: KeyKind::Phone, key_columns, payload_columns: vec![], memory_bytes: 0 }
    }

    #[test]
    fn a_file_of_the_same_size_and_date_in_its_place_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (scans, input) = (Scans::default(), input(dir.path()));
        let before = scans.scan(&input, &()).unwrap();
        assert_eq!(scans.scan(&input, &()).unwrap(), before);
        let (copy, date) = (dir.path().join("copy.csv"), input.path.metadata().unwrap().modified().unwrap());
        fs::write(&copy, "phone\n13900139000\n").unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(date).unwrap();
        fs::rename(&copy, &input.path).unwrap();
        assert_ne!(scans.scan(&input, &()).unwrap().digest, before.digest);
    }

    #[test]
    fn columns_in_another_order_are_no_reason_to_read_a_table_again() {
        let dir = tempfile::tempdir().unwrap();
        let (scans, mut input) = (Scans::default(), input(dir.path()));
        fs::write(&input.path, "phone,tag,note\n13800138000,risk,seen\n13900139000,,twice\n").unwrap();
        let mut told = Vec::new();
        for columns in [["tag", "note"], ["note", "tag"]] {
            input.payload_columns = columns.map(str::to_owned).to_vec();
            told.push((scans.scan(&input, &()).unwrap(), input.scan(&()).unwrap()));
        }
        assert!(told.iter().all(|(kept, read)| kept == read && *kept == told[0].0));
        assert_eq!(scans.lock().len(), 1);
    }

    #[test]
    fn a_scan_that_is_out_of_date_fails_one_job() {
        let dir = tempfile::tempdir().unwrap();
        let (scans, input) = (Scans::default(), input(dir.path()));
        let scan = scans.scan(&input, &()).unwrap();
        let partition = |scan: &Scan| scans.partition(&input, scan, &[1; PSI_SALT_BYTES], dir.path());
        partition(&scan).unwrap();
        assert_eq!(scans.lock().len(), 1);
        let error = partition(&Scan { digest: [0; 32], ..scan }).unwrap_err();
        assert_eq!(error.code(), "INPUT_CHANGED");
        assert!(scans.lock().is_empty());
    }
}
