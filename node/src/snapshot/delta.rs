//! An epoch's deltas on disk, and a delta on its way into a bank's table.
//!
//! A delta is applied by the rename that puts its complete directory under its index, so a kill leaves the table
//! before it or the table after it. Nothing of the snapshot is written again: a lookup asks the newest publication
//! first ([`Snapshot::rows`]).

use std::path::{Path, PathBuf};

use windvane_keys::files::read_public;
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, PAGE_BYTES};
use windvane_protocols::lookup::delta::{Delta, DeltaError, check_rows};
use windvane_protocols::lookup::snapshot::groups;
use windvane_protocols::transcript::Signed;

use super::disk::{self, at};
use super::install::{Document, Incoming, InstallError};
use super::{PageFile, Snapshot, SnapshotError};

/// A delta's signed record.
pub(crate) const DELTA: &str = "delta";

/// Where an epoch's deltas stand, by index.
const DELTAS: &str = "deltas";

/// A delta that is downloaded; there is one at a time.
const PARTIAL: &str = ".partial-delta";

/// Where a delta of the epoch in `dir` stands.
pub(crate) fn place(dir: &Path, index: u16) -> PathBuf {
    dir.join(DELTAS).join(index.to_string())
}

/// The indices of an epoch's deltas, from 1 without a gap.
pub(crate) fn indices(dir: &Path) -> Result<Vec<u16>, SnapshotError> {
    let path = dir.join(DELTAS);
    let found = disk::numbered(&path)?;
    let indices: Vec<u16> = (1..).take(found.len()).collect();
    if found.iter().copied().eq(indices.iter().map(|index| u64::from(*index))) {
        Ok(indices)
    } else {
        Err(SnapshotError::Damaged { path, expected: "every delta from the first to the last" })
    }
}

/// Reads a delta's record; its signature is not checked.
pub(crate) fn read(dir: &Path, index: u16) -> Result<Signed<Delta>, SnapshotError> {
    let path = place(dir, index).join(DELTA);
    let bytes = read_public(&path, MAX_DOCUMENT_BYTES)?;
    Signed::from_bytes_unverified(bytes).map_err(|source| SnapshotError::Manifest { path, source })
}

/// Makes the place into which deltas of the epoch in `dir` are renamed; gives that of one of them.
pub(crate) fn prepared(dir: &Path, index: u16) -> Result<PathBuf, SnapshotError> {
    disk::create_directory(&dir.join(DELTAS))?;
    Ok(place(dir, index))
}

/// Takes the newest deltas off again, down to the first `kept`; each step leaves an earlier table of the chain.
pub(crate) fn drop_after(dir: &Path, kept: u16) -> Result<(), SnapshotError> {
    for index in indices(dir)?.into_iter().rev().take_while(|index| *index > kept) {
        disk::remove_whole(&place(dir, index))?;
    }
    Ok(())
}

/// A delta on its way in.
#[derive(Debug)]
pub struct DeltaDownload {
    incoming: Incoming,
    delta: Signed<Delta>,
}

impl DeltaDownload {
    /// Begins the download of a delta that the chain of the epoch in `dir` admitted, or goes on with it.
    ///
    /// # Errors
    /// [`InstallError::Busy`], or when a file cannot be read or written.
    pub fn resume(dir: &Path, snapshot: &Snapshot, delta: &Signed<Delta>) -> Result<Self, InstallError> {
        let document = Document { name: DELTA, bytes: delta.as_bytes().to_vec() };
        let target = prepared(dir, delta.body().index)?;
        let (publication, table) = (delta.body().publication, snapshot.pages().table().clone());
        let incoming = Incoming::resume(dir.join(PARTIAL), target, document, publication, table)?;
        Ok(Self { incoming, delta: delta.clone() })
    }

    /// Number of the page to ask for next, from 0.
    pub fn next_page(&self) -> u64 {
        self.incoming.next_page()
    }

    /// Whether every page is there.
    pub fn is_complete(&self) -> bool {
        self.incoming.is_complete()
    }

    /// Checks and writes pages that follow those so far.
    ///
    /// # Errors
    /// [`InstallError::TooLong`], [`InstallError::PageInvalid`]: the pages before the bad one are kept.
    pub fn append(&mut self, pages: &[[u8; PAGE_BYTES]]) -> Result<(), InstallError> {
        self.incoming.append(pages)
    }

    /// Compares the root with the record's, holds every row against the table before the delta, and applies it.
    ///
    /// # Errors
    /// [`InstallError::Truncated`] keeps what came; [`InstallError::RootMismatch`] and [`InstallError::Delta`]
    /// discard it.
    pub fn finish(self, before: &Snapshot) -> Result<(), InstallError> {
        let body = self.delta.body();
        self.incoming.finish(|complete| {
            let carried = carried(complete, body.index, before)?;
            if carried == body.carried {
                super::stage::Stage::Complete.reached();
                Ok(())
            } else {
                Err(DeltaError::Counts { what: "carried rows" }.into())
            }
        })?;
        super::stage::Stage::Applied.reached();
        Ok(())
    }
}

/// Holds a delta's rows against the table before it; gives how many of them are carried.
fn carried(complete: &Path, index: u16, before: &Snapshot) -> Result<u64, InstallError> {
    let pages = PageFile::open(complete, before.pages().table().clone())?;
    let row_bytes = pages.table().row_bytes();
    let (mut carried, mut at_page) = (0, 0);
    while at_page < pages.pages() {
        let bytes = pages.read_pages(at_page, usize::MAX).map_err(at(complete))?;
        for page in bytes.as_chunks::<PAGE_BYTES>().0 {
            for rows in groups(page, pages.table()) {
                // What stands there now is read only where a row may be carried: hardly ever.
                let alone = rows.len() == row_bytes;
                let locator = rows.first_chunk().expect("a row begins with its locator");
                let present = if alone { Vec::new() } else { before.rows(locator).map_err(at(complete))? };
                carried += check_rows(index, pages.table(), rows, &present)?;
            }
        }
        at_page += bytes.as_chunks::<PAGE_BYTES>().0.len() as u64;
    }
    Ok(carried)
}
