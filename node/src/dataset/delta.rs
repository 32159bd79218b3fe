//! The delta of what change files changed since the current epoch's last publication.
//!
//! For every subject that changed, the keys of what it was and of what it is are evaluated and looked up in the
//! provider's own table, and a row is sealed where the table says something else than the data set: so snapshot and
//! deltas together always say what a full build would say. Cost and memory grow with the changes; the snapshot is
//! read a page a key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use windvane_keys::files::FileError;
use windvane_keys::signing::ReceiptKey;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::identity::IDENTITY_VERSION;
use windvane_protocols::limits::{MAX_DELTAS, PAGE_BYTES};
use windvane_protocols::lookup::delta::{Delta, DeltaError};
use windvane_protocols::lookup::manifest::{Manifest, Publication};
use windvane_protocols::lookup::provider::EpochKeys;
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::lookup::snapshot::CrowdedLocator;
use windvane_protocols::transcript::Signed;

use super::DataSetDir;
use super::changes::{ChangeEntry, ChangesError, Journal, Mark, Print, check_families};
use super::config::DataSetConfig;
use super::progress::Progress;
use super::publish::{published_dir, published_epochs};
use super::row::StagedRecord;
use super::stage::Stage;
use super::staging::{StagingError, StagingReader};
use crate::snapshot::delta::{DELTA, place, prepared};
use crate::snapshot::writer::Written;
use crate::snapshot::{Snapshot, SnapshotError, disk};
use crate::store::{IdError, KnownIds};

mod rows;

use rows::{Counts, Sealing};

/// One delta to be made.
#[derive(Debug, Clone, Copy)]
pub struct DeltaBuild<'a> {
    /// The node's data directory.
    pub data_dir: &'a Path,
    /// The data set.
    pub config: &'a DataSetConfig,
    /// The key that staging and change files are sealed under.
    pub storage: &'a StorageKey,
    /// The current epoch's keys; a delta is sealed only under those that the published manifest names.
    pub keys: &'a EpochKeys,
    /// The provider's key for receipts, which signs the delta.
    pub receipt: &'a ReceiptKey,
    /// Publication ids that the provider has used.
    pub ids: &'a dyn KnownIds,
    /// Now, milliseconds of Unix time.
    pub now_ms: u64,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaReport {
    /// The delta as banks will get it.
    pub delta: Signed<Delta>,
    /// Bytes of its pages.
    pub bytes: u64,
    /// Deltas that the epoch may still have.
    pub deltas_left: usize,
    /// Rows that they may have together.
    pub rows_left: u64,
}

/// Why a delta is not made. What was published before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaBuildError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The published table cannot be opened.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The staging file cannot be used.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// The change files cannot be used.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// No publication id can be drawn.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Another import, build or publication of the data set is running.
    #[error("another import, build or publication of this data set is running; wait for it to end")]
    Busy,
    /// Nothing is published.
    #[error("no epoch of this data set is published; run: windvane dataset build, windvane dataset publish")]
    NotPublished,
    /// The epoch has ended.
    #[error(
        "epoch {epoch} has ended; a full publication is due: windvane dataset build, windvane dataset publish"
    )]
    Ended {
        /// The epoch.
        epoch: u64,
    },
    /// The published table was not made from the full file that is imported now.
    #[error(
        "a full file was imported since epoch {epoch} was built; a full publication is due: windvane dataset \
         build, windvane dataset publish"
    )]
    Replaced {
        /// The epoch.
        epoch: u64,
    },
    /// The configuration is not that of the published table.
    #[error(
        "the {what} changed since epoch {epoch} was built; a full publication is due: windvane dataset build"
    )]
    ConfigurationChanged {
        /// What changed.
        what: &'static str,
        /// The epoch.
        epoch: u64,
    },
    /// The epoch has no key for a group of families.
    #[error("the epoch has no {group} key; a full publication is due: windvane dataset build")]
    KeyMissing {
        /// The group's name.
        group: &'static str,
    },
    /// Another epoch was published since the keys were loaded.
    #[error("epoch {epoch} was published while its delta was prepared; run again: windvane dataset delta")]
    Overtaken {
        /// The epoch.
        epoch: u64,
    },
    /// The table says what the data set says.
    #[error(
        "epoch {epoch} holds every change that was imported; import a change file first: windvane dataset change"
    )]
    Nothing {
        /// The epoch.
        epoch: u64,
    },
    /// More rows share a locator than a lookup tries, which no honest file does.
    #[error("{0}, more than a lookup tries; a full publication is due: windvane dataset build")]
    Crowded(#[from] CrowdedLocator),
    /// The delta breaks a rule of the chain: most likely it is one too many, or too large.
    #[error("{0}; run: windvane dataset build, windvane dataset publish")]
    Rule(#[from] DeltaError),
}

impl DeltaBuildError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Staging(error) => error.code(),
            Self::Changes(error) => error.code(),
            Self::Id(error) => error.code(),
            Self::Busy => "DATASET_BUSY",
            Self::NotPublished => "EPOCH_NOT_PUBLISHED",
            Self::Ended { .. } => "EPOCH_EXPIRED",
            Self::Replaced { .. } => "DELTA_FILE_REPLACED",
            Self::ConfigurationChanged { .. } => "CONFIGURATION_CHANGED",
            Self::KeyMissing { .. } => "KEY_MISSING",
            Self::Overtaken { .. } => "DELTA_OVERTAKEN",
            Self::Nothing { .. } => "DELTA_NOTHING_NEW",
            Self::Crowded(_) => "LOCATOR_CROWDED",
            Self::Rule(error) => error.code(),
        }
    }
}

/// Seals and signs the delta of what changed since the current epoch's last publication, and puts it in place.
/// Telling the log is the caller's; the node serves it once the state knows its id.
///
/// # Errors
/// [`DeltaBuildError`].
pub fn delta(
    job: &DeltaBuild<'_>,
    rng: &mut impl CryptoRng,
    progress: &dyn Progress,
) -> Result<DeltaReport, DeltaBuildError> {
    let (config, name) = (job.config, job.config.name());
    check_families(config)?;
    let dir = DataSetDir::new(job.data_dir, name);
    let _lock = dir.lock()?.ok_or(DeltaBuildError::Busy)?;
    let epoch = *published_epochs(job.data_dir, name)?.last().ok_or(DeltaBuildError::NotPublished)?;
    let published = published_dir(job.data_dir, name, epoch);
    disk::sweep(&published, disk::BUILDING)?;
    let snapshot = Snapshot::open(&published)?;
    let manifest = snapshot.manifest().body();
    check_same(config, manifest)?;
    if job.now_ms > manifest.not_after_ms {
        return Err(DeltaBuildError::Ended { epoch });
    }
    let index = snapshot.chain().next_index()?;
    let (changes, mark) = changes(job, &dir, &published, &snapshot)?;
    let id = job.ids.draw(rng)?;
    let sealing = Sealing { snapshot: &snapshot, keys: job.keys, index, id };
    let (rows, counts) = sealing.seal(&changes, progress)?;
    if counts.subjects() == 0 {
        return Err(DeltaBuildError::Nothing { epoch });
    }
    let building = Building::create(&published, &id)?;
    let written = rows.lay_out(&building.0, snapshot.pages().table())?;
    mark.write(&building.0)?;
    let signed = Signed::sign(record(job, &snapshot, index, id, written, counts), job.receipt.signing_key());
    let mut chain = snapshot.chain().clone();
    chain.restore(signed.clone())?;
    disk::write_file(&building.0.join(DELTA), signed.as_bytes())?;
    Stage::DeltaSealed.reached();
    disk::put_in_place(&building.0, &prepared(&published, index)?)?;
    Stage::DeltaPlaced.reached();
    let bytes = written.pages * PAGE_BYTES as u64;
    let deltas_left = MAX_DELTAS - chain.deltas().len();
    Ok(DeltaReport { delta: signed, bytes, deltas_left, rows_left: chain.room() })
}

/// A delta's rows are bound to the table's schema and families.
fn check_same(config: &DataSetConfig, manifest: &Manifest) -> Result<(), DeltaBuildError> {
    let what = if config.schema().text() != manifest.schema.text() {
        "label schema"
    } else if manifest.identity_version != IDENTITY_VERSION {
        "identity rules"
    } else if config.families() != manifest.families {
        "families"
    } else {
        return Ok(());
    };
    Err(DeltaBuildError::ConfigurationChanged { what, epoch: manifest.epoch })
}

/// What a subject was at the last publication, and what it is.
struct Change {
    before: Vec<StagedRecord>,
    after: Option<StagedRecord>,
}

/// Every subject that the table does not know as it is, and what the data set is made of now.
fn changes(
    job: &DeltaBuild<'_>,
    dir: &DataSetDir,
    published: &Path,
    snapshot: &Snapshot,
) -> Result<(Vec<Change>, Mark), DeltaBuildError> {
    let (name, label_bytes) = (job.config.name(), job.config.schema().label_bytes());
    let epoch = snapshot.manifest().body().epoch;
    let last = snapshot.chain().deltas().last().map(|last| place(published, last.body().index));
    let known = Mark::read(&last.unwrap_or_else(|| published.to_owned()));
    let staging = StagingReader::open_file(&dir.staging(), name, label_bytes, job.storage)?;
    let import = &staging.report().import;
    let journal = Journal::open(&dir.changes(), name, label_bytes, job.storage, import)?;
    let known = known.filter(|known| known.import == *import && known.change <= journal.last());
    let known = known.ok_or(DeltaBuildError::Replaced { epoch })?;
    let pending = known.change + 1..=journal.last();
    if pending.is_empty() {
        return Err(DeltaBuildError::Nothing { epoch });
    }
    let mut changes: HashMap<Print, Change> = HashMap::new();
    for number in pending {
        let mut file = journal.file(number, job.storage)?;
        while let Some(entries) = file.next_entries()? {
            for ChangeEntry { print, before, after } in entries {
                match changes.get_mut(&print) {
                    Some(known) => known.after = after,
                    None => {
                        changes.insert(print, Change { before, after });
                    }
                }
            }
        }
    }
    let mark = Mark { import: import.clone(), change: journal.last() };
    Ok((changes.into_values().collect(), mark))
}

fn record(
    job: &DeltaBuild<'_>,
    snapshot: &Snapshot,
    index: u16,
    id: PublicationId,
    written: Written,
    counts: Counts,
) -> Delta {
    let (chain, manifest) = (snapshot.chain(), snapshot.manifest().body());
    let Written { rows, pages, root } = written;
    Delta {
        provider: manifest.provider.clone(),
        data_set: manifest.data_set.clone(),
        epoch: manifest.epoch,
        index,
        base: chain.head(),
        publication: Publication { id, rows, pages, root },
        carried: counts.carried,
        inserted: counts.inserted,
        changed: counts.changed,
        deleted: counts.deleted,
        sealed_at_ms: job.now_ms,
    }
}

/// The directory of a delta that is made; dropped before it is in place, it disappears.
struct Building(PathBuf);

impl Building {
    fn create(published: &Path, id: &PublicationId) -> Result<Self, FileError> {
        let place = Self(published.join(format!("{}{}", disk::BUILDING, hex::encode(id))));
        disk::create_directory(&place.0)?;
        Ok(place)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // Gone already when the delta is in place; else the next one's sweep tries again.
        let _ = disk::remove_directory(&self.0);
    }
}
