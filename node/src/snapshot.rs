//! Encrypted tables on disk, at both ends: what a provider publishes and what a bank has downloaded.
//!
//! A directory holds `pages` (4,096 bytes each), `index` (the first locator of every page, 8 bytes each),
//! `record.json` (counts and the index's digest) and `manifest` (signed by the provider). Under `deltas/<index>`
//! stand the epoch's deltas, each with `delta` (its signed record) in the manifest's place.
//!
//! **Promised**: a directory under its epoch's number, or a delta's index, is complete, and appears by one rename,
//! so that a table is always the snapshot and some first deltas of the chain, whatever was killed when; opening
//! one finds a damaged index, a truncated file, a manifest or delta that does not belong to it, and a delta that
//! does not follow the one before it; a lookup reads one page of the snapshot, and of each delta, and nothing else.
//! **Not promised**: that the pages still are what they were when they were written. A changed row does not
//! open, which the caller sees as `ROW_CORRUPT`. Signatures are the caller's to verify ([`Snapshot::verify`]).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use windvane_keys::files::{FileError, read_public};
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, MAX_PAGES, MAX_PAGES_PER_CHUNK, PAGE_BYTES};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::delta::{Chain, Delta};
use windvane_protocols::lookup::manifest::{Manifest, Publication};
use windvane_protocols::lookup::row::{LOCATOR_BYTES, Locator, PublicationId, Table};
use windvane_protocols::lookup::snapshot::{Page, find};
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::{Signed, SignedError};

use disk::at;

pub(crate) mod delta;
pub(crate) mod disk;
mod install;
mod room;
pub mod stage;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

pub use delta::DeltaDownload;
pub use install::{Download, InstallError};
pub use room::Room;

pub(crate) const PAGES: &str = "pages";
pub(crate) const INDEX: &str = "index";
pub(crate) const RECORD: &str = "record.json";
pub(crate) const MANIFEST: &str = "manifest";

/// Bytes of `record.json`: two numbers and a digest.
const MAX_RECORD_BYTES: usize = 4 << 10;

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not what was written there.
    #[error("{path} is damaged, expected {expected}; remove the directory and fetch or build it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What should stand there.
        expected: &'static str,
    },
    /// The manifest does not decode.
    #[error("{path}: {source}; remove the directory and fetch or build it again")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SignedError,
    },
}

impl SnapshotError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Damaged { .. } => "SNAPSHOT_DAMAGED",
            Self::Manifest { .. } => "MANIFEST_INVALID",
        }
    }
}

/// `record.json`: what was written, so that opening finds damage.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Installation {
    /// Pages in `pages`.
    pub(crate) pages: u64,
    /// Rows in all pages.
    pub(crate) rows: u64,
    /// SHA-256 of `index`, hexadecimal.
    pub(crate) index_sha256: String,
}

/// An open file of pages, with the first locator of every page in memory.
#[derive(Debug)]
pub struct PageFile {
    file: File,
    firsts: Vec<Locator>,
    rows: u64,
    table: Table,
}

impl PageFile {
    /// Opens the pages in `dir`.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] when counts, lengths or the index's digest disagree.
    pub fn open(dir: &Path, table: Table) -> Result<Self, SnapshotError> {
        let damaged = |name, expected| SnapshotError::Damaged { path: dir.join(name), expected };
        let record = read_public(&dir.join(RECORD), MAX_RECORD_BYTES)?;
        let record: Installation =
            serde_json::from_slice(&record).map_err(|_| damaged(RECORD, "counts and a digest"))?;
        if record.pages > MAX_PAGES {
            return Err(damaged(RECORD, "no more pages than the limit"));
        }
        let path = dir.join(PAGES);
        let file = File::open(&path).map_err(at(&path))?;
        let length = file.metadata().map_err(at(&path))?.len();
        if length != record.pages * PAGE_BYTES as u64 {
            return Err(damaged(PAGES, "the recorded number of pages"));
        }
        let firsts = read_index(dir, &record)?;
        fadvise(&file, 0, None, Advice::Random).map_err(|error| at(&path)(error.into()))?;
        Ok(Self { file, firsts, rows: record.rows, table })
    }

    /// Reads the one page that may hold a locator's rows; `None` when it sorts before every row.
    /// [`windvane_protocols::lookup::snapshot::find`] finds them in it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn find(&self, locator: &Locator) -> io::Result<Option<Page>> {
        match self.firsts.partition_point(|first| first <= locator) {
            0 => Ok(None),
            after => {
                let mut page: Page = Box::new([0; PAGE_BYTES]);
                self.file.read_exact_at(&mut *page, offset(after as u64 - 1))?;
                Ok(Some(page))
            }
        }
    }

    /// Up to [`MAX_PAGES_PER_CHUNK`] pages from a page on, to serve a download; empty past the last.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read_pages(&self, from: u64, count: usize) -> io::Result<Vec<u8>> {
        let left = self.pages().saturating_sub(from);
        let count = left.min(count.min(MAX_PAGES_PER_CHUNK) as u64) as usize;
        let mut pages = vec![0; count * PAGE_BYTES];
        if count > 0 {
            self.file.read_exact_at(&mut pages, offset(from))?;
        }
        Ok(pages)
    }

    /// Pages in the file.
    pub const fn pages(&self) -> u64 {
        self.firsts.len() as u64
    }

    /// Rows in all pages.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The table that the rows are bound to.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    fn is_of(&self, publication: &Publication) -> bool {
        (publication.pages, publication.rows) == (self.pages(), self.rows())
    }

    /// Bytes of pages and index on the disk.
    fn bytes(&self) -> u64 {
        self.pages() * (PAGE_BYTES + LOCATOR_BYTES) as u64
    }
}

fn offset(page: u64) -> u64 {
    page * PAGE_BYTES as u64
}

fn read_index(dir: &Path, record: &Installation) -> Result<Vec<Locator>, SnapshotError> {
    let path = dir.join(INDEX);
    let expected = record.pages as usize * LOCATOR_BYTES;
    let bytes = read_public(&path, expected)?;
    let (firsts, rest) = bytes.as_chunks::<LOCATOR_BYTES>();
    let whole = rest.is_empty() && bytes.len() == expected;
    if !whole || hex::encode(Sha256::digest(&bytes)) != record.index_sha256 {
        return Err(SnapshotError::Damaged { path, expected: "the recorded digest" });
    }
    Ok(firsts.to_vec())
}

/// A complete epoch: its signed manifest, its open pages, and those of its deltas.
#[derive(Debug)]
pub struct Snapshot {
    chain: Chain,
    pages: PageFile,
    deltas: Vec<PageFile>,
    bytes: u64,
}

impl Snapshot {
    /// Opens a published or installed epoch with all its deltas. Signatures are **not** checked here.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open(dir: &Path) -> Result<Self, SnapshotError> {
        Self::open_while(dir, |_| Ok::<_, SnapshotError>(true))
    }

    /// As [`Self::open`], with the deltas before the first that is not `wanted`.
    pub(crate) fn open_while<E: From<SnapshotError>>(
        dir: &Path,
        wanted: impl Fn(&Signed<Delta>) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let mut snapshot = Self::open_base(dir)?;
        for index in delta::indices(dir)? {
            let signed = delta::read(dir, index)?;
            if !wanted(&signed)? {
                break;
            }
            snapshot.extend(dir, signed)?;
        }
        Ok(snapshot)
    }

    fn open_base(dir: &Path) -> Result<Self, SnapshotError> {
        let path = dir.join(MANIFEST);
        let bytes = read_public(&path, MAX_DOCUMENT_BYTES)?;
        let manifest: Signed<Manifest> = Signed::from_bytes_unverified(bytes)
            .map_err(|source| SnapshotError::Manifest { path: path.clone(), source })?;
        let pages = PageFile::open(dir, manifest.body().table())?;
        let damaged =
            |_| SnapshotError::Damaged { path: path.clone(), expected: "a manifest of one snapshot" };
        let chain = Chain::new(manifest).map_err(damaged)?;
        if !chain.manifest().body().publications.iter().all(|publication| pages.is_of(publication)) {
            return Err(SnapshotError::Damaged { path, expected: "the manifest of these pages" });
        }
        let bytes = pages.bytes();
        Ok(Self { chain, pages, deltas: Vec::new(), bytes })
    }

    fn extend(&mut self, dir: &Path, signed: Signed<Delta>) -> Result<(), SnapshotError> {
        let place = delta::place(dir, signed.body().index);
        let pages = PageFile::open(&place, self.pages.table().clone())?;
        let damaged = |expected| SnapshotError::Damaged { path: place.join(delta::DELTA), expected };
        if !pages.is_of(&signed.body().publication) {
            return Err(damaged("the delta of these pages"));
        }
        self.chain.restore(signed).map_err(|_| damaged("a delta that follows the publication before it"))?;
        self.bytes += pages.bytes();
        self.deltas.push(pages);
        Ok(())
    }

    /// The manifest as its provider signed it.
    pub const fn manifest(&self) -> &Signed<Manifest> {
        self.chain.manifest()
    }

    /// The epoch's publications.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Whether manifest and deltas are signed by the provider.
    pub fn verify(&self, provider: &VerifyingKey) -> bool {
        self.chain.verify(provider)
    }

    /// The snapshot's own pages, without those of deltas.
    pub const fn pages(&self) -> &PageFile {
        &self.pages
    }

    /// The pages of a publication.
    pub fn publication(&self, id: &PublicationId) -> Option<&PageFile> {
        let index = (0..).map_while(|index| self.chain.publication(index)).position(|other| other == *id)?;
        index.checked_sub(1).map_or(Some(&self.pages), |delta| self.deltas.get(delta))
    }

    /// All rows of a locator, one after another: those of the newest publication that has it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn rows(&self, locator: &Locator) -> io::Result<Vec<u8>> {
        for pages in self.deltas.iter().rev().chain([&self.pages]) {
            let Some(page) = pages.find(locator)? else { continue };
            let rows = find(&page, pages.table(), locator);
            if !rows.is_empty() {
                return Ok(rows.concat());
            }
        }
        Ok(Vec::new())
    }

    /// Bytes of pages and indices on the disk.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the directory still holds exactly what is open here: another publication of the same epoch has another
    /// manifest.
    pub(crate) fn is_current(&self, dir: &Path) -> bool {
        let manifest = read_public(&dir.join(MANIFEST), MAX_DOCUMENT_BYTES);
        if !manifest.is_ok_and(|bytes| bytes == self.manifest().as_bytes()) {
            return false;
        }
        let open = self.chain.deltas();
        let there = delta::indices(dir).unwrap_or_default();
        there.len() == open.len()
            && there.last().zip(open.last()).is_none_or(|(index, last)| {
                read_public(&delta::place(dir, *index).join(delta::DELTA), MAX_DOCUMENT_BYTES)
                    .is_ok_and(|bytes| bytes == last.as_bytes())
            })
    }
}

/// Where the bank keeps an installed epoch: `<data>/snapshots/<provider>/<data set>/<epoch>`.
pub fn installed_dir(data_dir: &Path, provider: &PartyId, data_set: &DataSet, epoch: u64) -> PathBuf {
    snapshots_dir(data_dir, provider, data_set).join(epoch.to_string())
}

/// The installed epochs of a data set, ascending.
///
/// # Errors
/// [`FileError::Io`].
pub fn installed_epochs(
    data_dir: &Path,
    provider: &PartyId,
    data_set: &DataSet,
) -> Result<Vec<u64>, FileError> {
    disk::numbered(&snapshots_dir(data_dir, provider, data_set))
}

/// Removes an installed epoch, when its keys are gone or a newer one is in use.
///
/// # Errors
/// [`FileError::Io`], also when the epoch is not installed.
pub fn remove_installed(
    data_dir: &Path,
    provider: &PartyId,
    data_set: &DataSet,
    epoch: u64,
) -> Result<(), FileError> {
    disk::remove_whole(&installed_dir(data_dir, provider, data_set, epoch))
}

fn snapshots_dir(data_dir: &Path, provider: &PartyId, data_set: &DataSet) -> PathBuf {
    data_dir.join("snapshots").join(provider.as_str()).join(data_set.as_str())
}
