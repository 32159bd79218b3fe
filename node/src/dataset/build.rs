//! Turns a staging file into an encrypted table under an epoch's keys.
//!
//! An interrupted build is begun anew: what it left is removed, and the next one runs under a fresh
//! publication id, so no (key, nonce) ever seals two labels whatever changed in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rand_core::CryptoRng;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use windvane_keys::files::FileError;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::identity::{Encoded, Family, IDENTITY_VERSION};
use windvane_protocols::limits::PAGE_BYTES;
use windvane_protocols::lookup::manifest::{Manifest, Publication};
use windvane_protocols::lookup::provider::EpochKeys;
use windvane_protocols::lookup::row::{PublicationId, RowKeys, Table};
use windvane_protocols::lookup::snapshot::{CrowdedLocator, PageBuilder};
use windvane_protocols::lookup::{KeyGroup, carries_label};
use windvane_protocols::oprf::{Context, PrivateKey};
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::Record as _;

use super::DataSetDir;
use super::changes::{ChangesError, Content, ContentChunk};
use super::config::DataSetConfig;
use super::progress::{Position, Progress};
use super::quality::ImportReport;
use super::rejects::{Reject, RejectFile};
use super::row::StagedRecord;
use super::sort::{Sorted, Sorter};
use super::stage::FullStage;
use super::staging::StagingError;
use crate::snapshot::disk;
use crate::snapshot::writer::{PageWriter, Written};
use crate::spill::SpillError;
use crate::store::{IdError, KnownIds};

mod record;

use record::{BuildRecord, EXTRA_BYTES, extra, visit};

/// The manifest of a built table, without its end and its signature.
pub(super) const DRAFT: &str = "draft";

/// Chunks of 512 records decrypted while as many are evaluated.
const BATCH_CHUNKS: usize = 128;

/// The publication index of a snapshot; deltas follow it.
const SNAPSHOT_INDEX: u16 = 0;

/// One build.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The node's data directory.
    pub data_dir: &'a Path,
    /// The data set.
    pub config: &'a DataSetConfig,
    /// Who publishes it.
    pub provider: &'a PartyId,
    /// The key that the staging file is sealed under.
    pub storage: &'a StorageKey,
    /// The epoch, which must not be published yet.
    pub epoch: u64,
    /// The epoch's keys.
    pub keys: &'a EpochKeys,
    /// Publication ids that the provider has used.
    pub ids: &'a dyn KnownIds,
    /// Now, milliseconds of Unix time.
    pub now_ms: u64,
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildReport {
    /// The epoch.
    pub epoch: u64,
    /// Rows in the table, all families together.
    pub rows: u64,
    /// Pages of 4,096 bytes.
    pub pages: u64,
    /// Bytes of all pages.
    pub bytes: u64,
    /// Rows that were equal to another and stand once.
    pub collapsed: u64,
    /// Lines of the operator's file that were refused because their keys have differing labels.
    pub rejected: u64,
}

/// Why a table is not built. What was published before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The staging file cannot be used.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// The change files cannot be used.
    #[error(transparent)]
    Changes(#[from] ChangesError),
    /// What does not fit in memory cannot be put away or read back.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// No publication id can be drawn.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Another import, build or publication of the data set is running.
    #[error("another import, build or publication of this data set is running; wait for it to end")]
    Busy,
    /// The epoch is published already.
    #[error("epoch {epoch} is published already; create the next epoch's keys and build that")]
    Published {
        /// The epoch.
        epoch: u64,
    },
    /// The epoch has no key for a group of families.
    #[error("the epoch has no {group} key; create the epoch's keys again with every group of the families")]
    KeyMissing {
        /// The group's name.
        group: &'static str,
    },
    /// The file was imported under another schema, other families or other identity rules.
    #[error("the {what} changed since the import; import the file again")]
    ConfigurationChanged {
        /// What changed.
        what: &'static str,
    },
    /// More rows share a locator than a lookup tries, which no honest file does.
    #[error("{0}, more than a lookup tries; create the next epoch's keys and build that")]
    Crowded(#[from] CrowdedLocator),
    /// Every line was refused.
    #[error("no row is left of {lines} lines, all refused; read {rejects}", rejects = rejects.display())]
    NoRows {
        /// Lines refused.
        lines: u64,
        /// The reject file.
        rejects: PathBuf,
    },
}

impl BuildError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Staging(error) => error.code(),
            Self::Changes(error) => error.code(),
            Self::Spill(error) => error.code(),
            Self::Id(error) => error.code(),
            Self::Busy => "DATASET_BUSY",
            Self::Published { .. } => "EPOCH_PUBLISHED",
            Self::KeyMissing { .. } => "KEY_MISSING",
            Self::ConfigurationChanged { .. } => "CONFIGURATION_CHANGED",
            Self::Crowded(_) => "LOCATOR_CROWDED",
            Self::NoRows { .. } => "NO_ROWS",
        }
    }
}

/// Builds the table of an epoch from the last import. It waits under `built/<epoch>` for
/// [`publish`](super::publish()); a table that waits there already is replaced.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    job: &Build<'_>,
    rng: &mut impl CryptoRng,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let dir = DataSetDir::new(job.data_dir, job.config.name());
    let _lock = dir.lock()?.ok_or(BuildError::Busy)?;
    disk::sweep(dir.path(), disk::BUILDING)?;
    if dir.epochs().join(job.epoch.to_string()).exists() {
        return Err(BuildError::Published { epoch: job.epoch });
    }
    let label_bytes = job.config.schema().label_bytes();
    let mut content = Content::open(&dir, job.config.name(), label_bytes, job.storage)?;
    check_unchanged(job.config, content.report())
        .map_err(|what| BuildError::ConfigurationChanged { what })?;
    let sealer = Sealer::new(job, rng)?;
    let place = BuildingDir::create(dir.path(), &sealer.publication)?;
    let imported = content.report().rejected;
    let sorter = Sorter::new(sealer.table.row_bytes() + EXTRA_BYTES, dir.path(), rng);
    let sorted = sealer.seal_all(&mut content, sorter, progress)?;
    let conflicts = conflicts(&sorted)?;
    reject(&dir.build_rejects(), &conflicts)?;
    let (written, collapsed) = lay_out(&sorted, &conflicts, &place.0, &sealer.table)?;
    let rejected = conflicts.len() as u64;
    if written.rows == 0 {
        return Err(BuildError::NoRows { lines: rejected, rejects: dir.build_rejects() });
    }
    FullStage::BuildWritten.reached();
    let draft = draft(job, &sealer, written, imported + rejected);
    disk::write_file(&place.0.join(DRAFT), draft.encode().as_bytes())?;
    content.mark().write(&place.0)?;
    place.complete(&dir.built(), job.epoch)?;
    FullStage::BuildPlaced.reached();
    let (rows, pages) = (written.rows, written.pages);
    Ok(BuildReport { epoch: job.epoch, rows, pages, bytes: pages * PAGE_BYTES as u64, collapsed, rejected })
}

/// Whether a file was imported under this configuration; if not, what changed.
pub(super) fn check_unchanged(config: &DataSetConfig, report: &ImportReport) -> Result<(), &'static str> {
    let families = config.families().iter().all(|family| report.families.contains(&family.code()));
    let what = if report.schema_sha256 != hex::encode(Sha256::digest(config.schema().text())) {
        "label schema"
    } else if report.identity_version != IDENTITY_VERSION {
        "identity rules"
    } else if !families {
        "families"
    } else {
        return Ok(());
    };
    Err(what)
}

fn draft(job: &Build<'_>, sealer: &Sealer<'_>, written: Written, rejected: u64) -> Manifest {
    let Written { rows, pages, root } = written;
    Manifest {
        provider: job.provider.clone(),
        data_set: job.config.name().clone(),
        epoch: job.epoch,
        identity_version: IDENTITY_VERSION.to_owned(),
        schema: job.config.schema().clone(),
        families: job.config.families().to_vec(),
        keys: sealer.groups.iter().map(|(group, key, _)| (*group, key.public().clone())).collect(),
        publications: vec![Publication { id: sealer.publication, rows, pages, root }],
        rejected,
        built_at_ms: job.now_ms,
        published_at_ms: 0,
        not_after_ms: 0,
    }
}

/// The directory of a running build; dropped before it is complete, it disappears.
struct BuildingDir(PathBuf);

impl BuildingDir {
    fn create(dir: &Path, publication: &PublicationId) -> Result<Self, FileError> {
        let place = Self(dir.join(format!("{}{}", disk::BUILDING, hex::encode(publication))));
        disk::create_directory(&place.0)?;
        Ok(place)
    }

    fn complete(self, built: &Path, epoch: u64) -> Result<(), FileError> {
        disk::create_directory(built)?;
        let target = built.join(epoch.to_string());
        if target.exists() {
            disk::remove_whole(&target)?;
        }
        disk::put_in_place(&self.0, &target)
    }
}

impl Drop for BuildingDir {
    fn drop(&mut self) {
        // Gone already when the build completed; else the next build's sweep tries again.
        let _ = disk::remove_directory(&self.0);
    }
}

/// Everything that makes a record's rows.
struct Sealer<'a> {
    table: Table,
    publication: PublicationId,
    groups: Vec<(KeyGroup, &'a PrivateKey, Vec<Family>)>,
    presence: Vec<u8>,
}

impl<'a> Sealer<'a> {
    fn new(job: &Build<'a>, rng: &mut impl CryptoRng) -> Result<Self, BuildError> {
        let mut groups = Vec::new();
        for (group, families) in KeyGroup::partition(job.config.families()) {
            let key = job.keys.get(&group).ok_or(BuildError::KeyMissing { group: group.name() })?;
            groups.push((group, key, families));
        }
        let publication = job.ids.draw(rng)?;
        let schema = job.config.schema();
        let table = Table {
            data_set: job.config.name().clone(),
            epoch: job.epoch,
            schema_version: schema.version(),
            label_bytes: schema.label_bytes(),
        };
        Ok(Self { presence: vec![0; table.label_bytes], table, publication, groups })
    }

    /// Decrypts a batch while the one before it is evaluated.
    fn seal_all(
        &self,
        content: &mut Content,
        mut sorter: Sorter,
        progress: &dyn Progress,
    ) -> Result<Sorted, BuildError> {
        let families: usize = self.groups.iter().map(|(_, _, families)| families.len()).sum();
        let total = content.records() * families as u64;
        let done = Done { rows: AtomicU64::new(0), keys: AtomicU64::new(0), total, progress };
        let mut batch = read_batch(content)?;
        while !batch.is_empty() {
            let (next, sealed) = rayon::join(
                || read_batch(content),
                || batch.par_iter().map(|chunk| self.seal_chunk(chunk, &done)).collect::<Result<Vec<_>, _>>(),
            );
            sealed?.iter().try_for_each(|records| sorter.push(records))?;
            batch = next?;
        }
        Ok(sorter.finish()?)
    }

    fn seal_chunk(&self, chunk: &ContentChunk, done: &Done<'_>) -> Result<Vec<u8>, StagingError> {
        let records = chunk.records()?;
        let mut sealed = Vec::new();
        let mut count = 0;
        for (_, key, families) in &self.groups {
            count += self.seal_group(key, families, &records, &mut sealed);
        }
        done.add(records.len(), count);
        Ok(sealed)
    }

    /// Appends the rows of one key's families; a record that lacks a family's fields has no row there.
    fn seal_group(
        &self,
        key: &PrivateKey,
        families: &[Family],
        records: &[StagedRecord],
        sealed: &mut Vec<u8>,
    ) -> usize {
        let data_set = self.table.data_set.as_str();
        let encoded = |family: Family| {
            records.iter().filter_map(move |r| Some((family, r, family.encode(data_set, &r.person)?)))
        };
        let inputs: Vec<(Family, &StagedRecord, Encoded)> =
            families.iter().flat_map(|family| encoded(*family)).collect();
        let bytes: Vec<&[u8]> = inputs.iter().map(|(_, _, encoded)| encoded.as_bytes()).collect();
        let row_bytes = self.table.row_bytes();
        sealed.reserve(inputs.len() * (row_bytes + EXTRA_BYTES));
        let keys = RowKeys::each(&self.table, key.evaluate(&Context::LOOKUP, &bytes).iter());
        let sealers = RowKeys::sealers(&keys, &self.table, &self.publication);
        for ((family, record, _), (keys, sealer)) in inputs.iter().zip(keys.iter().zip(&sealers)) {
            let label = if carries_label(*family) { record.label.as_bytes() } else { &self.presence };
            let start = sealed.len();
            sealed.resize(start + row_bytes, 0);
            sealer.seal(SNAPSHOT_INDEX, label, &mut sealed[start..]);
            sealed.extend_from_slice(&extra(keys.check(), record.line));
        }
        inputs.len()
    }
}

fn read_batch(content: &mut Content) -> Result<Vec<ContentChunk>, ChangesError> {
    let mut batch = Vec::with_capacity(BATCH_CHUNKS);
    while batch.len() < BATCH_CHUNKS {
        match content.next_chunk()? {
            Some(chunk) => batch.push(chunk),
            None => break,
        }
    }
    Ok(batch)
}

/// Work done by all tasks.
struct Done<'a> {
    rows: AtomicU64,
    keys: AtomicU64,
    total: u64,
    progress: &'a dyn Progress,
}

impl Done<'_> {
    fn add(&self, rows: usize, keys: usize) {
        let rows = self.rows.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let done = self.keys.fetch_add(keys as u64, Ordering::Relaxed) + keys as u64;
        self.progress.at(Position { rows, done, total: self.total });
    }
}

/// Lines of which some key has differing labels. Under one key and the zero nonce, equal labels give equal
/// rows and differing labels differing ones. A refused line loses its rows of every family: presence without
/// attributes would read as a match.
fn conflicts(sorted: &Sorted) -> Result<BTreeSet<u32>, SpillError> {
    let mut lines = BTreeSet::new();
    visit(sorted, |group| {
        for key in group.chunk_by(|a, b| a.check() == b.check()) {
            if key.iter().any(|record| record.row() != key[0].row()) {
                lines.extend(key.iter().map(BuildRecord::line));
            }
        }
        Ok::<_, SpillError>(())
    })?;
    Ok(lines)
}

fn reject(path: &Path, lines: &BTreeSet<u32>) -> Result<(), FileError> {
    let mut file = RejectFile::create(path)?;
    for &line in lines {
        file.add(&Reject { line: line.into(), field: "key".to_owned(), rule: "DUPLICATE_KEY" })?;
    }
    file.finish()
}

/// Writes the pages; gives what was written and how many rows were equal to another.
fn lay_out(
    sorted: &Sorted,
    refused: &BTreeSet<u32>,
    place: &Path,
    table: &Table,
) -> Result<(Written, u64), BuildError> {
    let mut writer = PageWriter::create(place, table)?;
    let mut builder = PageBuilder::new(table);
    let mut rows = Vec::new();
    let mut collapsed = 0;
    visit(sorted, |group| {
        let mut last = None;
        rows.clear();
        for record in group.iter().filter(|record| !refused.contains(&record.line())) {
            if last.replace(record.check()) == Some(record.check()) {
                collapsed += 1;
            } else {
                rows.extend_from_slice(record.row());
            }
        }
        match builder.push(&rows)? {
            Some(page) => Ok(writer.append(&page)?),
            None => Ok::<_, BuildError>(()),
        }
    })?;
    if let Some(page) = builder.finish() {
        writer.append(&page)?;
    }
    Ok((writer.finish()?, collapsed))
}
