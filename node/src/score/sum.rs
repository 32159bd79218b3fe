//! The bank adds the tables of all providers, segment by segment, and keeps the sum alone.
//!
//! **Promised**: nothing is in its place before every table has the root that its provider signed and the sum is
//! on the disk; a wrong table discards the sum; after an interruption the sum goes on where it was, with the
//! state of every table's hash. **Disk**: 320 KB a segment, whatever the number of providers; with a table of
//! the same epoch in its place, twice. **Memory**: that of one batch of segments a provider.

use rayon::prelude::*;
use windvane_keys::files::{FileError, write_private};
use windvane_proto::convert::SegmentRows;
use windvane_protocols::audit::merkle::{Frontier, TreeHash};
use windvane_protocols::limits::MAX_SCORE_PROVIDERS;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::ledger::TableRoot;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::sum::{SumError, add};
use windvane_protocols::score::table::{Row, TableHasher};
use windvane_protocols::score::universe::NUMBERS_PER_SEGMENT;
use windvane_protocols::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError};

use super::folder::{EpochFolder, FolderError, read_record};
use super::segments::{Kept, SegmentWriter, as_segment};
use super::table::{SUM_ROOT, SumRoot, TABLE, write_manifest};
use super::table_stage::TableStage;
use crate::snapshot::disk::{DirectoryLock, create_directory, put_in_place, remove_file};

/// The sum until it is complete and checked.
pub(super) const TEMPORARY: &str = "sum.tmp";

/// What stands of the sum, and the hashes of what it is made of.
pub(super) const RECORD: &str = "sum.record";

/// Bytes of [`SumRecord`]: 16 roots and 16 times up to 20 hashes.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// Segments between two syncs.
const KEEP_EVERY: u64 = 16;

/// Why tables do not become a sum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SummationError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record of the epoch's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The same epoch's table is being built or fetched.
    #[error("another command builds or fetches this epoch's table; wait for it to end")]
    Busy,
    /// A provider sent a row that is no element. What came before is kept.
    #[error("row {row} of the table of {party} is not an element; tell the provider, and fetch again")]
    Row {
        /// Whose row it is.
        party: PartyId,
        /// Its position.
        row: u64,
    },
    /// The tables cannot be added.
    #[error(transparent)]
    Sum(SumError),
    /// A provider's rows are not those that it signed. The sum was discarded.
    #[error(
        "the table of {party} is not the one that it signed, and was discarded; tell the provider, and fetch again"
    )]
    Root {
        /// Whose table it is.
        party: PartyId,
    },
    /// Segments are missing. What came is kept.
    #[error("{found} of {expected} segments have arrived; fetch again to go on from there")]
    Incomplete {
        /// Segments so far.
        found: u64,
        /// Segments of the table.
        expected: u64,
    },
}

impl SummationError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Folder(error) => error.code(),
            Self::Busy => "SCORE_BUSY",
            Self::Row { .. } | Self::Sum(_) => "SCORE_ROW_INVALID",
            Self::Root { .. } => "SCORE_ROOT_MISMATCH",
            Self::Incomplete { .. } => "SCORE_TABLE_TRUNCATED",
        }
    }
}

/// The same segment of every provider, in their order.
pub(super) type Stretch = Vec<SegmentRows>;

/// A sum that is being made.
#[derive(Debug)]
pub(super) struct Summation {
    folder: EpochFolder,
    epoch: Epoch,
    manifests: Vec<Signed<TableManifest>>,
    hashers: Vec<TableHasher>,
    writer: SegmentWriter,
    kept: u64,
    lock: DirectoryLock,
}

impl Summation {
    /// Begins, or goes on with what was kept of the very same tables. The manifests are checked, of all
    /// providers, and in their order.
    pub(super) fn begin(
        folder: &EpochFolder,
        epoch: &Epoch,
        manifests: Vec<Signed<TableManifest>>,
    ) -> Result<Self, SummationError> {
        create_directory(folder.path())?;
        let lock = DirectoryLock::try_acquire(folder.path())?.ok_or(SummationError::Busy)?;
        let path = folder.join(TEMPORARY);
        let mut resumed = None;
        if let Some(record) = SumRecord::read_for(folder, epoch, &manifests)? {
            resumed = SegmentWriter::resume(&path, &record.kept)?.zip(record.hashers());
        }
        let (writer, hashers) = match resumed {
            Some(resumed) => resumed,
            None => (SegmentWriter::create(&path)?, vec![TableHasher::new(); manifests.len()]),
        };
        let (folder, epoch, kept) = (folder.clone(), epoch.clone(), writer.segments());
        TableStage::FetchBegun.reached();
        Ok(Self { folder, epoch, manifests, hashers, writer, kept, lock })
    }

    /// Segments so far, which is the number of the next.
    pub(super) fn done(&self) -> u64 {
        self.writer.segments()
    }

    /// Segments in all.
    pub(super) fn total(&self) -> u64 {
        self.manifests.first().map_or(0, |manifest| manifest.body().segments)
    }

    /// Adds the next segments, on all cores. Those before a wrong one are taken in.
    pub(super) fn add(&mut self, stretches: &[Stretch]) -> Result<(), SummationError> {
        let sum = |stretch: &Stretch| {
            let rows: Vec<_> = stretch.iter().map(|rows| rows.as_array().as_slice()).collect();
            add(&self.epoch, &rows)
        };
        let sums: Vec<Result<Vec<Row>, SumError>> = stretches.par_iter().map(sum).collect();
        for (stretch, sum) in stretches.iter().zip(sums) {
            let sum = sum.map_err(|error| self.wrong(error))?;
            self.writer.append(as_segment(sum.as_flattened()))?;
            self.hashers.iter_mut().zip(stretch).for_each(|(hasher, rows)| hasher.push(rows.as_array()));
        }
        if self.done() - self.kept >= KEEP_EVERY {
            self.keep()?;
            TableStage::FetchPart.reached();
        }
        Ok(())
    }

    /// Everything so far on the disk, and then that it is.
    pub(super) fn keep(&mut self) -> Result<(), SummationError> {
        let kept = self.writer.keep()?;
        let frontiers = self.hashers.iter().map(|hasher| hasher.frontier().peaks().to_vec()).collect();
        let tables = roots(&self.manifests);
        let record = SumRecord { context: *self.epoch.context(), tables, kept, frontiers };
        write_private(&self.folder.join(RECORD), record.encode().as_bytes())?;
        self.kept = kept.segments;
        Ok(())
    }

    /// Compares every table's root with its manifest's.
    pub(super) fn finish(mut self) -> Result<SummedTables, SummationError> {
        let (found, expected) = (self.done(), self.total());
        if found < expected {
            self.keep()?;
            return Err(SummationError::Incomplete { found, expected });
        }
        TableStage::Fetched.reached();
        let mut tables = self.manifests.iter().zip(&self.hashers);
        if let Some((manifest, _)) = tables.find(|(manifest, hasher)| manifest.body().root != hasher.root()) {
            remove_file(&self.folder.join(RECORD))?;
            remove_file(&self.folder.join(TEMPORARY))?;
            return Err(SummationError::Root { party: manifest.body().provider.clone() });
        }
        self.keep()?;
        TableStage::Summed.reached();
        let root = SumRoot::of(&self.epoch, &self.manifests, self.writer.root());
        let Self { folder, manifests, lock, .. } = self;
        Ok(SummedTables { folder, manifests, root, _lock: lock })
    }

    fn wrong(&self, error: SumError) -> SummationError {
        match error {
            SumError::Row { party, row } => {
                let row = self.done() * NUMBERS_PER_SEGMENT as u64 + row as u64;
                SummationError::Row { party, row }
            }
            error => SummationError::Sum(error),
        }
    }
}

/// A sum that is whole and checked, but not in its place.
#[derive(Debug)]
pub struct SummedTables {
    folder: EpochFolder,
    manifests: Vec<Signed<TableManifest>>,
    root: SumRoot,
    _lock: DirectoryLock,
}

impl SummedTables {
    /// The manifests of all providers, in their order.
    pub fn manifests(&self) -> &[Signed<TableManifest>] {
        &self.manifests
    }

    /// Puts manifests, root and sum in their places; the sum comes last.
    ///
    /// # Errors
    /// [`SummationError`].
    pub fn install(self) -> Result<Vec<Signed<TableManifest>>, SummationError> {
        for manifest in &self.manifests {
            write_manifest(&self.folder, manifest)?;
        }
        write_private(&self.folder.join(SUM_ROOT), self.root.encode().as_bytes())?;
        put_in_place(&self.folder.join(TEMPORARY), &self.folder.join(TABLE))?;
        TableStage::Installed.reached();
        remove_file(&self.folder.join(RECORD))?;
        Ok(self.manifests)
    }
}

fn roots(manifests: &[Signed<TableManifest>]) -> Vec<TableRoot> {
    manifests.iter().map(|manifest| manifest.body().root).collect()
}

/// Which segments of the sum stand on the disk, and the hashes of the tables up to there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SumRecord {
    context: Hash,
    tables: Vec<TableRoot>,
    kept: Kept,
    frontiers: Vec<Vec<TreeHash>>,
}

impl SumRecord {
    /// What was kept of the sum of these very tables.
    fn read_for(
        folder: &EpochFolder,
        epoch: &Epoch,
        manifests: &[Signed<TableManifest>],
    ) -> Result<Option<Self>, FolderError> {
        let record = match read_record::<Self>(&folder.join(RECORD), MAX_RECORD_BYTES) {
            // It only saves work.
            Err(FolderError::Damaged { .. }) => None,
            read => read?,
        };
        let segments = manifests.first().map_or(0, |manifest| manifest.body().segments);
        Ok(record.filter(|record| {
            record.context == *epoch.context()
                && record.tables == roots(manifests)
                && record.frontiers.len() == manifests.len()
                && record.kept.segments <= segments
        }))
    }

    fn hashers(self) -> Option<Vec<TableHasher>> {
        let hasher = |peaks| Frontier::from_peaks(self.kept.segments, peaks).map(TableHasher::resume);
        self.frontiers.into_iter().map(hasher).collect()
    }
}

impl Record for SumRecord {
    const DOMAIN: &'static str = "windvane/score-sum-record/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("context", &self.context)
            .list("table", self.tables.iter())
            .u64("segments", self.kept.segments)
            .bytes("root", &self.kept.root)
            .list("frontier", self.frontiers.iter().map(|peaks| peaks.as_flattened()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = |label| TranscriptError::Form { label, expected: "whole hashes" };
        let context = r.array("context")?;
        let tables = r.list("table", MAX_SCORE_PROVIDERS)?.into_iter();
        let tables =
            tables.map(|root| root.try_into().map_err(|_| form("table"))).collect::<Result<_, _>>()?;
        let kept = Kept { segments: r.u64("segments")?, root: r.array("root")? };
        let peaks = |bytes: &[u8]| match bytes.as_chunks() {
            (peaks, []) => Ok(peaks.to_vec()),
            _ => Err(form("frontier")),
        };
        let frontiers = r.list("frontier", MAX_SCORE_PROVIDERS)?.into_iter().map(peaks);
        Ok(Self { context, tables, kept, frontiers: frontiers.collect::<Result<_, _>>()? })
    }
}
