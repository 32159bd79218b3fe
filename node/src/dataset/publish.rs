//! Signs a built table's manifest and puts the table in place; lists and removes published epochs.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windvane_keys::files::{FileError, read_public};
use windvane_keys::signing::ReceiptKey;
use windvane_protocols::audit::merkle::{Frontier, leaf_hash};
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, MAX_PAGES_PER_CHUNK, PAGE_BYTES};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::transcript::{Record as _, Signed};

use super::DataSetDir;
use super::build::DRAFT;
use super::changes::{ChangeReport, ChangesError, unchecked};
use super::quality::ImportReport;
use super::stage::FullStage;
use super::staging::{StagingError, unchecked_report};
use crate::clock::Clock;
use crate::snapshot::disk::{self, DirectoryLock, at};
use crate::snapshot::{MANIFEST, PageFile, Snapshot, SnapshotError};

/// A published epoch: the signed manifest and the pages. Its signature is checked by whoever has the key.
pub type PublishedEpoch = Snapshot;

/// One publication.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The node's data directory.
    pub data_dir: &'a Path,
    /// The data set.
    pub data_set: &'a DataSet,
    /// The epoch that was built.
    pub epoch: u64,
    /// Hours until the epoch ends.
    pub epoch_hours: u32,
    /// The provider's key for receipts, which signs the manifest.
    pub key: &'a ReceiptKey,
    /// Tells the time of publication, which is when the table was checked.
    pub clock: &'a dyn Clock,
}

/// Why a table is not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The built or a published table cannot be opened.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The staging file cannot be read.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// The change files cannot be read.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// Another import, build or publication of the data set is running.
    #[error("another import, build or publication of this data set is running; wait for it to end")]
    Busy,
    /// The epoch was not built, or its build did not complete.
    #[error("epoch {epoch} is not built; run: windvane dataset build")]
    NotBuilt {
        /// The epoch.
        epoch: u64,
    },
    /// The epoch is published already.
    #[error("epoch {epoch} is published already; create the next epoch's keys and build that")]
    Published {
        /// The epoch.
        epoch: u64,
    },
    /// A later epoch is published, with which the keys of this one ended.
    #[error(
        "the table of epoch {epoch} is older than epoch {published}, which is published; run: windvane dataset build"
    )]
    Superseded {
        /// The epoch.
        epoch: u64,
        /// The epoch that was published last.
        published: u64,
    },
    /// The built table is not what the build wrote.
    #[error("the table of epoch {epoch} is damaged; build it again")]
    Damaged {
        /// The epoch.
        epoch: u64,
    },
    /// A published manifest is not what was signed. While it stands there, nobody knows what the epoch was.
    #[error(
        "the manifest of epoch {epoch} of {data_set}, which is published, is damaged; run: windvane retire epoch \
         {data_set} {epoch} --yes-destroy PARTY with this node's name, then windvane dataset build, windvane dataset publish"
    )]
    PublishedDamaged {
        /// The data set.
        data_set: DataSet,
        /// The epoch.
        epoch: u64,
    },
}

impl PublishError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Staging(error) => error.code(),
            Self::Changes(error) => error.code(),
            Self::Busy => "DATASET_BUSY",
            Self::NotBuilt { .. } => "EPOCH_NOT_BUILT",
            Self::Published { .. } => "EPOCH_PUBLISHED",
            Self::Superseded { .. } => "EPOCH_SUPERSEDED",
            Self::Damaged { .. } => "BUILD_DAMAGED",
            Self::PublishedDamaged { .. } => "EPOCH_DAMAGED",
        }
    }
}

/// Publishes a built epoch: reads every page again, signs the manifest, and renames the table to its place.
/// It is valid from now on for `epoch_hours`. An epoch that is behind the last one published is refused. Logging the
/// manifest is the caller's.
///
/// # Errors
/// [`PublishError`].
pub fn publish(job: &Publish<'_>) -> Result<Signed<Manifest>, PublishError> {
    let epoch = job.epoch;
    let dir = DataSetDir::new(job.data_dir, job.data_set);
    let _lock = dir.lock()?.ok_or(PublishError::Busy)?;
    let built = dir.built().join(epoch.to_string());
    let target = dir.epochs().join(epoch.to_string());
    match published_epochs(job.data_dir, job.data_set)?.last() {
        Some(&published) if published > epoch => return Err(PublishError::Superseded { epoch, published }),
        Some(&published) if published == epoch => return Err(PublishError::Published { epoch }),
        _ => {}
    }
    if !built.exists() {
        return Err(PublishError::NotBuilt { epoch });
    }
    let mut manifest = read_draft(&built, epoch)?;
    check(&built, &manifest)?;
    let now_ms = job.clock.now_ms();
    manifest.published_at_ms = now_ms;
    manifest.not_after_ms = now_ms.saturating_add(u64::from(job.epoch_hours) * 3_600_000);
    let manifest = Signed::sign(manifest, job.key.signing_key());
    disk::write_file(&built.join(MANIFEST), manifest.as_bytes())?;
    FullStage::PublishSigned.reached();
    disk::remove_file(&built.join(DRAFT))?;
    disk::create_directory(&dir.epochs())?;
    disk::put_in_place(&built, &target)?;
    FullStage::PublishPlaced.reached();
    Ok(manifest)
}

/// The draft; a publication that was interrupted has left a signed manifest in its place.
fn read_draft(built: &Path, epoch: u64) -> Result<Manifest, PublishError> {
    let damaged = || PublishError::Damaged { epoch };
    let draft = built.join(DRAFT);
    if draft.exists() {
        let bytes = read_public(&draft, MAX_DOCUMENT_BYTES)?;
        return Manifest::decode(&bytes).map_err(|_| damaged());
    }
    let bytes = read_public(&built.join(MANIFEST), MAX_DOCUMENT_BYTES)?;
    let signed: Signed<Manifest> = Signed::from_bytes_unverified(bytes).map_err(|_| damaged())?;
    Ok(signed.body().clone())
}

/// Whether the pages are those that the build wrote.
fn check(built: &Path, manifest: &Manifest) -> Result<(), PublishError> {
    let damaged = || PublishError::Damaged { epoch: manifest.epoch };
    let pages = PageFile::open(built, manifest.table())?;
    let mut frontier = Frontier::new();
    while frontier.size() < pages.pages() {
        let bytes = pages.read_pages(frontier.size(), MAX_PAGES_PER_CHUNK).map_err(at(built))?;
        bytes.as_chunks::<PAGE_BYTES>().0.iter().for_each(|page| frontier.append(leaf_hash(page)));
    }
    let found = (pages.rows(), pages.pages(), frontier.root());
    match manifest.publications.as_slice() {
        [only] if (only.rows, only.pages, only.root) == found => Ok(()),
        _ => Err(damaged()),
    }
}

/// The signed manifest of a published epoch; its signature is not checked.
///
/// # Errors
/// [`PublishError::PublishedDamaged`], or when it cannot be read.
pub fn published_manifest(
    data_dir: &Path,
    data_set: &DataSet,
    epoch: u64,
) -> Result<Signed<Manifest>, PublishError> {
    let path = published_dir(data_dir, data_set, epoch).join(MANIFEST);
    let bytes = read_public(&path, MAX_DOCUMENT_BYTES)?;
    let damaged = |_| PublishError::PublishedDamaged { data_set: data_set.clone(), epoch };
    Signed::from_bytes_unverified(bytes).map_err(damaged)
}

/// Where a published epoch stands, for [`PublishedEpoch::open`].
pub fn published_dir(data_dir: &Path, data_set: &DataSet, epoch: u64) -> PathBuf {
    DataSetDir::new(data_dir, data_set).epochs().join(epoch.to_string())
}

/// The published epochs of a data set, ascending.
///
/// # Errors
/// [`FileError::Io`].
pub fn published_epochs(data_dir: &Path, data_set: &DataSet) -> Result<Vec<u64>, FileError> {
    disk::numbered(&DataSetDir::new(data_dir, data_set).epochs())
}

/// The epochs of a data set of which a table waits for publication, ascending.
///
/// # Errors
/// [`FileError::Io`].
pub fn built_epochs(data_dir: &Path, data_set: &DataSet) -> Result<Vec<u64>, FileError> {
    disk::numbered(&DataSetDir::new(data_dir, data_set).built())
}

/// An epoch's tables, whether published or waiting for that; while they are held, nothing else is imported, built or
/// published in the data set, so that none comes either.
#[derive(Debug)]
pub struct EpochTables {
    paths: Vec<PathBuf>,
    _lock: Option<DirectoryLock>,
}

impl EpochTables {
    /// Finds and holds them.
    ///
    /// # Errors
    /// [`PublishError::Busy`].
    pub fn hold(data_dir: &Path, data_set: &DataSet, epoch: u64) -> Result<Self, PublishError> {
        let dir = DataSetDir::new(data_dir, data_set);
        let mut paths = [dir.epochs(), dir.built()].map(|kind| kind.join(epoch.to_string())).to_vec();
        // Also without a table: the one of a build that runs is in no place yet.
        let lock = if dir.path().exists() {
            Some(DirectoryLock::try_acquire(dir.path())?.ok_or(PublishError::Busy)?)
        } else {
            None
        };
        paths.retain(|table| table.exists());
        Ok(Self { paths, _lock: lock })
    }

    /// Removes them. A process that has one open keeps reading it.
    ///
    /// # Errors
    /// [`PublishError::File`].
    pub fn remove(self) -> Result<(), PublishError> {
        Ok(self.paths.iter().try_for_each(|table| disk::remove_whole(table))?)
    }
}

/// What stands in a data set's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataSetStatus {
    /// The last import; its counts are not checked against the storage key here.
    pub imported: Option<ImportReport>,
    /// The change files since then; not checked either.
    pub changes: Vec<ChangeReport>,
    /// Tables that wait for publication.
    pub built: Vec<EpochSummary>,
    /// Published tables.
    pub published: Vec<EpochSummary>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochSummary {
    /// The epoch.
    pub epoch: u64,
    /// Rows, all families together.
    pub rows: u64,
    /// Pages of 4,096 bytes.
    pub pages: u64,
    /// Bytes of pages.
    pub bytes: u64,
    /// Deltas after the snapshot.
    pub deltas: u64,
    /// Rows of all deltas.
    pub delta_rows: u64,
    /// Rows refused by import and build.
    pub rejected: u64,
    /// When it was built, milliseconds of Unix time.
    pub built_at_ms: u64,
    /// When it ends, milliseconds of Unix time; `None` before publication.
    pub not_after_ms: Option<u64>,
}

impl EpochSummary {
    fn of(manifest: &Manifest, published: bool) -> Self {
        let sum = |of: fn(&(u64, u64)) -> u64| {
            manifest.publications.iter().map(|p| of(&(p.rows, p.pages))).sum::<u64>()
        };
        let pages = sum(|(_, pages)| *pages);
        Self {
            epoch: manifest.epoch,
            rows: sum(|(rows, _)| *rows),
            pages,
            bytes: pages * PAGE_BYTES as u64,
            deltas: 0,
            delta_rows: 0,
            rejected: manifest.rejected,
            built_at_ms: manifest.built_at_ms,
            not_after_ms: published.then_some(manifest.not_after_ms),
        }
    }
}

/// Reads what stands in a data set's directory, without any key.
///
/// # Errors
/// [`PublishError`] when something there is damaged.
pub fn status(data_dir: &Path, data_set: &DataSet) -> Result<DataSetStatus, PublishError> {
    let dir = DataSetDir::new(data_dir, data_set);
    let mut built = Vec::new();
    for epoch in built_epochs(data_dir, data_set)? {
        built.push(EpochSummary::of(&read_draft(&dir.built().join(epoch.to_string()), epoch)?, false));
    }
    let mut published = Vec::new();
    for epoch in published_epochs(data_dir, data_set)? {
        let open = PublishedEpoch::open(&dir.epochs().join(epoch.to_string()))?;
        let deltas = open.chain().deltas();
        let delta_rows = deltas.iter().map(|delta| delta.body().publication.rows).sum();
        let summary = EpochSummary::of(open.manifest().body(), true);
        published.push(EpochSummary { deltas: deltas.len() as u64, delta_rows, ..summary });
    }
    let imported: Option<ImportReport> = unchecked_report(&dir.staging(), data_set)?;
    let import = imported.as_ref().map_or("", |report| &report.import);
    let changes = unchecked(&dir.changes(), data_set, import)?;
    Ok(DataSetStatus { imported, changes, built, published })
}
