//! The bank's download: pages are checked as they come, resumed after a break, and installed when the root
//! is the manifest's. [`Incoming`] does so for any publication, a snapshot or a delta.
//!
//! **Promised**: nothing stands under an epoch's number before every page was checked and synced. A break
//! keeps the pages so far; a root that is not the manifest's discards them. Calls block on file I/O.

use std::fs::OpenOptions;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use windvane_keys::files::{FileError, read_public};
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, PAGE_BYTES};
use windvane_protocols::lookup::delta::DeltaError;
use windvane_protocols::lookup::manifest::{Manifest, Publication};
use windvane_protocols::lookup::row::Table;
use windvane_protocols::lookup::snapshot::{first_locator, is_well_formed};
use windvane_protocols::transcript::Signed;

use super::disk::{self, DirectoryLock, at};
use super::writer::{PageWriter, Written};
use super::{MANIFEST, PAGES, Snapshot, SnapshotError, installed_dir};

/// Why a download does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The installed snapshot cannot be opened.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The epoch is installed already.
    #[error("epoch {epoch} is installed already")]
    Installed {
        /// The epoch.
        epoch: u64,
    },
    /// The epoch is installed already, from another manifest.
    #[error(
        "epoch {epoch} is installed already from another manifest, and an epoch's number is used once; \
             what is installed stays, ask the provider to publish a new epoch"
    )]
    EpochReused {
        /// The epoch.
        epoch: u64,
    },
    /// The manifest says that it was published later than now, so that its epoch would seem shorter than it is.
    #[error(
        "the manifest of epoch {epoch} says that it was published {ahead_ms} ms from now; keep both clocks with a time \
         service, and ask the provider to publish a new epoch if it stays so"
    )]
    PublishedAhead {
        /// The epoch.
        epoch: u64,
        /// How far ahead of the own clock, milliseconds.
        ahead_ms: u64,
    },
    /// Another download of the same epoch is running.
    #[error("another download of this epoch is running; wait for it to end")]
    Busy,
    /// The peer's manifest, a delta, or a delta's row breaks a rule.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// The peer sent a page that is no page of the table.
    #[error("page {page} is {problem}; fetch again, and tell the provider if it stays so")]
    PageInvalid {
        /// Number of the page, from 0.
        page: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The peer sent more pages than its manifest says.
    #[error("more pages than the manifest's {expected} were sent; fetch again")]
    TooLong {
        /// Pages of the manifest.
        expected: u64,
    },
    /// Pages are missing. What came is kept.
    #[error("{found} of {expected} pages have arrived; fetch again to go on from there")]
    Truncated {
        /// Pages so far.
        found: u64,
        /// Pages of the manifest.
        expected: u64,
    },
    /// The publication is larger than this bank permits.
    #[error(
        "the publication takes {mb} MiB, and max_snapshot_mb of the [[provider]] section permits {limit_mb}; raise it if the \
         contract is about so large a table, or else tell the provider"
    )]
    TooLarge {
        /// What it takes on the disk, MiB.
        mb: u64,
        /// What is permitted.
        limit_mb: u64,
    },
    /// The disk has no room for the publication.
    #[error(
        "the publication takes {mb} MiB more, and of the {free_mb} MiB that are free on the disk of data_dir \
         observability.min_free_disk_mb keeps {kept_mb}; make room there, or move it to a larger one"
    )]
    NoRoom {
        /// What it still takes, MiB.
        mb: u64,
        /// What is free.
        free_mb: u64,
        /// What has to stay free.
        kept_mb: u64,
    },
    /// The pages are not those of the manifest. They were discarded.
    #[error("the pages are not those that the manifest names, and were discarded; fetch again")]
    RootMismatch,
}

impl InstallError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Installed { .. } => "SNAPSHOT_INSTALLED",
            Self::EpochReused { .. } => "EPOCH_REUSED",
            Self::PublishedAhead { .. } => "MANIFEST_TIME",
            Self::Busy => "SNAPSHOT_BUSY",
            Self::Delta(error) => error.code(),
            Self::PageInvalid { .. } => "SNAPSHOT_PAGE_INVALID",
            Self::TooLong { .. } => "SNAPSHOT_TOO_LONG",
            Self::Truncated { .. } => "SNAPSHOT_TRUNCATED",
            Self::TooLarge { .. } => "SNAPSHOT_TOO_LARGE",
            Self::NoRoom { .. } => "SNAPSHOT_NO_ROOM",
            Self::RootMismatch => "SNAPSHOT_ROOT_MISMATCH",
        }
    }
}

/// A snapshot on its way in.
#[derive(Debug)]
pub struct Download(Incoming);

impl Download {
    /// Begins the download that a manifest describes, or goes on with it. The caller has verified the
    /// manifest's signature.
    ///
    /// # Errors
    /// [`InstallError::Installed`], [`InstallError::EpochReused`], [`InstallError::Busy`],
    /// [`InstallError::Delta`] when the manifest lists other publications than one snapshot, or when a file
    /// cannot be read or written.
    pub fn resume(data_dir: &Path, manifest: &Signed<Manifest>) -> Result<Self, InstallError> {
        let body = manifest.body();
        let &[publication] = body.publications.as_slice() else {
            return Err(DeltaError::Publications { found: body.publications.len() }.into());
        };
        let (target, epoch) =
            (installed_dir(data_dir, &body.provider, &body.data_set, body.epoch), body.epoch);
        if target.exists() {
            let installed = read_public(&target.join(MANIFEST), MAX_DOCUMENT_BYTES)?;
            let same = installed == manifest.as_bytes();
            return Err(if same {
                InstallError::Installed { epoch }
            } else {
                InstallError::EpochReused { epoch }
            });
        }
        let partial = target.with_file_name(format!("{}{epoch}", disk::PARTIAL));
        let document = Document { name: MANIFEST, bytes: manifest.as_bytes().to_vec() };
        let incoming = Incoming::resume(partial, target, document, publication, body.table())?;
        // Downloads of other epochs that nobody goes on with.
        disk::sweep(incoming.partial.parent().expect("an epoch's directory has a parent"), disk::PARTIAL)?;
        Ok(Self(incoming))
    }

    /// Number of the page to ask for next, from 0.
    pub fn next_page(&self) -> u64 {
        self.0.next_page()
    }

    /// Whether every page is there.
    pub fn is_complete(&self) -> bool {
        self.0.is_complete()
    }

    /// Checks and writes pages that follow those so far.
    ///
    /// # Errors
    /// [`InstallError::TooLong`], [`InstallError::PageInvalid`]: the pages before the bad one are kept.
    pub fn append(&mut self, pages: &[[u8; PAGE_BYTES]]) -> Result<(), InstallError> {
        self.0.append(pages)
    }

    /// Compares the root with the manifest's and puts the snapshot in place.
    ///
    /// # Errors
    /// [`InstallError::Truncated`] keeps what came; [`InstallError::RootMismatch`] discards it.
    pub fn finish(self) -> Result<Snapshot, InstallError> {
        let target = self.0.finish(|_| Ok(()))?;
        Ok(Snapshot::open(&target)?)
    }
}

/// The signed record that describes a publication, as it stands beside its pages.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// A publication on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    partial: PathBuf,
    target: PathBuf,
    document: Document,
    publication: Publication,
    table: Table,
    writer: PageWriter,
    _lock: DirectoryLock,
}

impl Incoming {
    /// Begins, or goes on with what an earlier attempt left in `partial` under the same record.
    pub(super) fn resume(
        partial: PathBuf,
        target: PathBuf,
        document: Document,
        publication: Publication,
        table: Table,
    ) -> Result<Self, InstallError> {
        disk::create_directory(&partial)?;
        let lock = DirectoryLock::try_acquire(&partial)?.ok_or(InstallError::Busy)?;
        if !is_of(&partial, &document) {
            disk::create_file(&partial.join(PAGES))?;
            disk::write_file(&partial.join(document.name), &document.bytes)?;
        }
        let writer = reopen(&partial, &table, &publication)?;
        Ok(Self { partial, target, document, publication, table, writer, _lock: lock })
    }

    pub(super) fn next_page(&self) -> u64 {
        self.writer.written().pages
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next_page() == self.publication.pages
    }

    pub(super) fn append(&mut self, pages: &[[u8; PAGE_BYTES]]) -> Result<(), InstallError> {
        for page in pages {
            let expected = self.publication.pages;
            let number = self.next_page();
            if number >= expected {
                return Err(InstallError::TooLong { expected });
            }
            check(&self.writer, &self.table, page)
                .map_err(|problem| InstallError::PageInvalid { page: number, problem })?;
            self.writer.append(page)?;
        }
        Ok(())
    }

    /// Puts the publication in place if its root is right and `holds` has nothing against its complete directory;
    /// gives the place.
    pub(super) fn finish(
        self,
        holds: impl FnOnce(&Path) -> Result<(), InstallError>,
    ) -> Result<PathBuf, InstallError> {
        let Publication { rows, pages, root, .. } = self.publication;
        let found = self.writer.written();
        if found.pages < pages {
            return Err(InstallError::Truncated { found: found.pages, expected: pages });
        }
        if found != (Written { rows, pages, root }) {
            drop(self.writer);
            disk::remove_directory(&self.partial)?;
            return Err(InstallError::RootMismatch);
        }
        self.writer.finish()?;
        disk::write_file(&self.partial.join(self.document.name), &self.document.bytes)?;
        if let Err(error) = holds(&self.partial) {
            disk::remove_directory(&self.partial)?;
            return Err(error);
        }
        disk::put_in_place(&self.partial, &self.target)?;
        Ok(self.target)
    }
}

/// Whether a partial download is of this very record.
fn is_of(partial: &Path, document: &Document) -> bool {
    let found = read_public(&partial.join(document.name), MAX_DOCUMENT_BYTES);
    partial.join(PAGES).exists() && found.is_ok_and(|bytes| bytes == document.bytes)
}

/// Reads the pages that are there again, and cuts off what a crash left behind them.
fn reopen(partial: &Path, table: &Table, publication: &Publication) -> Result<PageWriter, InstallError> {
    let path = partial.join(PAGES);
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
    let known = file.try_clone().map_err(at(&path))?;
    let mut known = BufReader::with_capacity(1 << 20, known.take(publication.pages * PAGE_BYTES as u64));
    let mut writer = PageWriter::onto(partial, table, file.try_clone().map_err(at(&path))?);
    let mut page = [0; PAGE_BYTES];
    while known.read_exact(&mut page).is_ok() && check(&writer, table, &page).is_ok() {
        writer.admit(&page);
    }
    let end = writer.written().pages * PAGE_BYTES as u64;
    file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(at(&path))?;
    Ok(writer)
}

fn check(writer: &PageWriter, table: &Table, page: &[u8; PAGE_BYTES]) -> Result<(), &'static str> {
    if !is_well_formed(page, table) {
        Err("not of whole, sorted rows with a zero tail")
    } else if writer.last().is_some_and(|last| first_locator(page) <= *last) {
        Err("not sorted behind the page before it")
    } else {
        Ok(())
    }
}
