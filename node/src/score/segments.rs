//! A file of segments: written in order, hashed on the way, and taken up again after an interruption.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use windvane_keys::files::FileError;
use windvane_protocols::score::ledger::TableRoot;
use windvane_protocols::score::table::{SEGMENT_BYTES, TableHasher};

use crate::snapshot::disk::{at, create_file};

/// Segments that stand on the disk for certain, and their root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) segments: u64,
    pub(super) root: TableRoot,
}

/// Segments on their way to the disk.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    path: PathBuf,
    file: File,
    hasher: TableHasher,
}

impl SegmentWriter {
    /// Begins an empty file; one that stands there is replaced.
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        Ok(Self { path: path.to_owned(), file: create_file(path)?, hasher: TableHasher::new() })
    }

    /// Goes on behind what was kept, and cuts off what a crash left behind that. `None` when there is no file
    /// or it does not begin with what was kept.
    pub(super) fn resume(path: &Path, kept: &Kept) -> Result<Option<Self>, FileError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(at(path))?,
        };
        let end = kept.segments * SEGMENT_BYTES as u64;
        if file.metadata().map_err(at(path))?.len() < end {
            return Ok(None);
        }
        let hasher = hash(&file, kept.segments).map_err(at(path))?;
        if hasher.root() != kept.root {
            return Ok(None);
        }
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(at(path))?;
        Ok(Some(Self { path: path.to_owned(), file, hasher }))
    }

    /// Writes the rows of the next segment.
    pub(super) fn append(&mut self, rows: &[u8; SEGMENT_BYTES]) -> Result<(), FileError> {
        self.file.write_all(rows).map_err(at(&self.path))?;
        self.hasher.push(rows);
        Ok(())
    }

    /// Segments so far.
    pub(super) fn segments(&self) -> u64 {
        self.hasher.frontier().size()
    }

    /// The root of the segments so far.
    pub(super) fn root(&self) -> TableRoot {
        self.hasher.root()
    }

    /// Waits until everything so far is on the disk.
    pub(super) fn keep(&self) -> Result<Kept, FileError> {
        self.file.sync_data().map_err(at(&self.path))?;
        Ok(Kept { segments: self.segments(), root: self.root() })
    }
}

/// Hashes the first segments of a file.
pub(super) fn hash(mut file: &File, segments: u64) -> io::Result<TableHasher> {
    let (mut hasher, mut rows) = (TableHasher::new(), buffer());
    file.seek(SeekFrom::Start(0))?;
    for _ in 0..segments {
        file.read_exact(&mut rows)?;
        hasher.push(as_segment(&rows));
    }
    Ok(hasher)
}

/// Reads one segment.
pub(super) fn read(file: &File, index: u64) -> io::Result<Vec<u8>> {
    let mut rows = buffer();
    file.read_exact_at(&mut rows, index * SEGMENT_BYTES as u64)?;
    Ok(rows)
}

/// The rows of a segment, where there are as many.
pub(super) fn as_segment(rows: &[u8]) -> &[u8; SEGMENT_BYTES] {
    rows.try_into().expect("a segment's rows are always as many")
}

fn buffer() -> Vec<u8> {
    vec![0; SEGMENT_BYTES]
}
