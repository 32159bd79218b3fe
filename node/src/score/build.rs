//! A provider makes its table of an epoch and publishes it.
//!
//! **Promised**: the order on the disk is the whole table, then the ledger's note, then the manifest, then the
//! table in its place; before the last step nobody can read a byte of it, and a second table under one context
//! ends at the ledger with nothing replaced. A killed build goes on where it was with the same parts, and begins
//! anew with others. **Disk**: 320 KB a segment, twice while a table is published again.

use std::ops::Range;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use rayon::prelude::*;
use windvane_keys::files::{FileError, write_private};
use windvane_protocols::kdf;
use windvane_protocols::score::epoch::Member;
use windvane_protocols::score::ledger::{LedgerError, TableRoot};
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::parts::{Coverage, PartTerms, PartsError as TermsError};
use windvane_protocols::score::table::{Row, Sealer};
use windvane_protocols::score::universe::{NUMBERS_PER_SEGMENT, Universe};
use windvane_protocols::transcript::{Hash, Reader, Record, Signed, Transcript, TranscriptError, commit};
use zeroize::Zeroizing;

use super::folder::{EpochFolder, FolderError, ScoreFolder, read_record};
use super::parts::DenseParts;
use super::segments::{Kept, SegmentWriter, as_segment};
use super::table::{OwnTable, ScoreTableError, TABLE, read_manifest, write_manifest};
use super::table_stage::TableStage;
use crate::dataset::{Position, Progress};
use crate::snapshot::disk::{DirectoryLock, create_directory, put_in_place, remove_file};

/// The table until it is complete and noted.
pub(super) const TEMPORARY: &str = "table.tmp";

/// What stands of the table, and of which parts it is made.
pub(super) const RECORD: &str = "table.record";

/// Bytes of [`BuildRecord`].
const MAX_RECORD_BYTES: usize = 1 << 10;

/// Segments between two syncs: about a second's work of one core.
const KEEP_EVERY: u64 = 16;

/// Segments that a core makes while as many are written.
const SEGMENTS_PER_THREAD: u64 = 4;

/// One publication.
#[derive(Debug, Clone, Copy)]
pub struct PublishTable<'a> {
    /// The provider in the epoch, with its table key.
    pub member: &'a Member,
    /// The epoch's universe.
    pub universe: &'a Universe,
    /// A part for every position.
    pub parts: &'a DenseParts,
    /// Who else holds parts.
    pub coverage: Coverage,
    /// Of 1,000 numbers with a part other than the default, how many another provider holds one for.
    pub overlap_permille: u16,
    /// The epoch's folder.
    pub folder: &'a EpochFolder,
    /// Where the ledger is.
    pub ledger: &'a ScoreFolder,
    /// The provider's identity key, which signs the manifest.
    pub key: &'a SigningKey,
    /// Now, milliseconds of Unix time.
    pub now_ms: u64,
}

/// Why a table is not published. One that was published before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreBuildError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder or the ledger; `SCORE_SECOND_TABLE` among its codes.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The table or manifest that stands there.
    #[error(transparent)]
    Table(#[from] ScoreTableError),
    /// The parts must not be published as declared.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// The parts, the universe, the keys and the folder are not of one epoch.
    #[error("the {what} is not that of epoch {epoch}; set the group up, or import the parts, again")]
    Foreign {
        /// What does not fit.
        what: &'static str,
        /// The epoch.
        epoch: u64,
    },
    /// A group of one provider that says that others overlap it.
    #[error("a group of one provider has nobody to overlap its parts; declare it alone")]
    SingleProvider,
    /// The table's key was destroyed.
    #[error("the table key of epoch {epoch} was destroyed; publish in a new epoch")]
    KeyForgotten {
        /// The epoch.
        epoch: u64,
    },
    /// The epoch serves nobody any more.
    #[error("epoch {epoch} is retired; publish in a new epoch")]
    Retired {
        /// The epoch.
        epoch: u64,
    },
    /// The same table is published with another declaration.
    #[error(
        "this table of epoch {epoch} is published with another coverage or default; publish in a new epoch"
    )]
    Declared {
        /// The epoch.
        epoch: u64,
    },
    /// The same epoch's table is being built or fetched.
    #[error("another command builds or fetches this epoch's table; wait for it to end")]
    Busy,
}

impl ScoreBuildError {
    /// Whether another table was published under the context.
    pub const fn is_second_table(&self) -> bool {
        matches!(self, Self::Folder(FolderError::Ledger(LedgerError::SecondTable)))
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Folder(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Terms(TermsError::Values { .. }) => "SCORE_PARTS_VALUES",
            Self::Terms(_) | Self::SingleProvider => "SCORE_PARTS_TERMS",
            Self::Foreign { .. } => "SCORE_EPOCH_MISMATCH",
            Self::KeyForgotten { .. } => "SCORE_KEY_FORGOTTEN",
            Self::Retired { .. } => "SCORE_EPOCH_RETIRED",
            Self::Declared { .. } => "SCORE_DECLARATION_CHANGED",
            Self::Busy => "SCORE_BUSY",
        }
    }
}

/// Builds a table, notes it in the ledger and signs its manifest. Nobody can read it before
/// [`PreparedTable::place`]; in between the caller tells its log.
///
/// The same parts give the same table: publishing them again succeeds and gives the first manifest.
///
/// # Errors
/// [`ScoreBuildError`]; `SCORE_SECOND_TABLE` when another table was published under this context.
pub fn prepare(job: &PublishTable<'_>, progress: &dyn Progress) -> Result<PreparedTable, ScoreBuildError> {
    prepare_keeping(job, progress, KEEP_EVERY)
}

/// [`prepare`] with a sync every `keep_every` segments.
pub(super) fn prepare_keeping(
    job: &PublishTable<'_>,
    progress: &dyn Progress,
    keep_every: u64,
) -> Result<PreparedTable, ScoreBuildError> {
    job.check()?;
    let terms = job.parts.tally().declare(job.coverage, job.overlap_permille)?;
    create_directory(job.folder.path())?;
    let lock = DirectoryLock::try_acquire(job.folder.path())?.ok_or(ScoreBuildError::Busy)?;
    // Again, under the lock that who retires takes too.
    job.check_running()?;
    let commitment = job.commitment();
    let (root, temporary) = match job.placed(&commitment)? {
        Some(root) => (root, None),
        None => job.build(commitment, progress, keep_every)?,
    };
    TableStage::TableBuilt.reached();
    job.check_signed(&root)?;
    job.note(&root)?;
    TableStage::TableNoted.reached();
    let manifest = job.sign(root, terms)?;
    TableStage::ManifestWritten.reached();
    Ok(PreparedTable { manifest, temporary, place: job.folder.join(TABLE), _lock: lock })
}

/// A table that is complete, noted and signed, but not in its place.
#[derive(Debug)]
pub struct PreparedTable {
    manifest: Signed<TableManifest>,
    /// `None` when the table is in its place already.
    temporary: Option<PathBuf>,
    place: PathBuf,
    _lock: DirectoryLock,
}

impl PreparedTable {
    /// The manifest.
    pub const fn manifest(&self) -> &Signed<TableManifest> {
        &self.manifest
    }

    /// Whether the very table was in its place before.
    pub const fn was_placed(&self) -> bool {
        self.temporary.is_none()
    }

    /// Puts the table in its place, where it is served from.
    ///
    /// # Errors
    /// [`ScoreBuildError::File`].
    pub fn place(self) -> Result<Signed<TableManifest>, ScoreBuildError> {
        if let Some(temporary) = &self.temporary {
            put_in_place(temporary, &self.place)?;
        }
        TableStage::TablePlaced.reached();
        Ok(self.manifest)
    }
}

impl PublishTable<'_> {
    /// Whether member, universe, parts and folder belong together.
    fn check(&self) -> Result<(), ScoreBuildError> {
        let epoch = self.member.epoch();
        let universe = &epoch.charter().terms().universe;
        let foreign = |what| Err(ScoreBuildError::Foreign { what, epoch: epoch.number() });
        if self.folder.epoch() != epoch.number() {
            return foreign("folder");
        }
        if self.universe.digest() != universe {
            return foreign("universe");
        }
        if self.parts.universe() != universe || self.parts.rows() != self.universe.rows() {
            return foreign("parts' universe");
        }
        let pinned = epoch.charter().providers().iter().find(|pinned| pinned.party == *self.member.party());
        if pinned.is_none_or(|pinned| pinned.key != self.key.verifying_key()) {
            return foreign("identity key");
        }
        self.check_running()?;
        if epoch.charter().providers().len() == 1 && self.coverage == Coverage::Overlapped {
            return Err(ScoreBuildError::SingleProvider);
        }
        Ok(())
    }

    fn check_running(&self) -> Result<(), ScoreBuildError> {
        if self.folder.is_retired() {
            return Err(ScoreBuildError::Retired { epoch: self.folder.epoch() });
        }
        Ok(())
    }

    fn segments(&self) -> u64 {
        self.universe.segments().len() as u64
    }

    /// The root of the table that stands in its place, if it is whole and of these very parts.
    fn placed(&self, commitment: &[u8; 32]) -> Result<Option<TableRoot>, ScoreBuildError> {
        let Ok(table) = OwnTable::open(self.folder, self.member.party()) else { return Ok(None) };
        let ours = self.kept(commitment)?.is_some_and(|kept| {
            kept.segments == self.segments() && kept.root == table.manifest().body().root
        });
        Ok((ours && table.verify().is_ok()).then(|| table.manifest().body().root))
    }

    /// What is known of earlier work with the same parts.
    fn kept(&self, commitment: &[u8; 32]) -> Result<Option<Kept>, ScoreBuildError> {
        let record = match read_record::<BuildRecord>(&self.folder.join(RECORD), MAX_RECORD_BYTES) {
            // It only saves work.
            Err(FolderError::Damaged { .. }) => None,
            read => read?,
        };
        let ours = record
            .filter(|record| record.context == *self.member.epoch().context() && record.parts == *commitment);
        Ok(ours.map(|record| record.kept).filter(|kept| kept.segments <= self.segments()))
    }

    /// Tells whether parts are the same, and nothing to anybody who lacks the member's keys. Reads all parts.
    fn commitment(&self) -> [u8; 32] {
        let terms = self.member.epoch().charter().terms();
        let info = kdf::info("score-build", terms.group.as_str(), terms.epoch);
        let mut salt = Zeroizing::new([0; 32]);
        kdf::extract(self.member.keys().to_bytes().expose())
            .expand(&info, salt.as_mut_slice())
            .expect("32 bytes are a valid length");
        commit(&salt, self.parts.as_slice())
    }

    /// Makes the whole table, or what is missing of it.
    fn build(
        &self,
        commitment: [u8; 32],
        progress: &dyn Progress,
        keep_every: u64,
    ) -> Result<(TableRoot, Option<PathBuf>), ScoreBuildError> {
        let epoch = self.member.epoch().number();
        let sealer = self.member.sealer().ok_or(ScoreBuildError::KeyForgotten { epoch })?;
        let temporary = self.folder.join(TEMPORARY);
        let resumed = match self.kept(&commitment)? {
            Some(kept) => SegmentWriter::resume(&temporary, &kept)?,
            None => None,
        };
        let writer = match resumed {
            Some(writer) => writer,
            None => SegmentWriter::create(&temporary)?,
        };
        let mut work = Work { job: self, sealer, commitment, writer, kept: 0, keep_every };
        TableStage::TableBegun.reached();
        work.fill(progress)?;
        Ok((work.writer.root(), Some(temporary)))
    }

    /// The ledger's word, durable. What was built is of no use under a context that has another table.
    fn note(&self, root: &TableRoot) -> Result<(), ScoreBuildError> {
        let context = self.member.epoch().context();
        let noted = self.ledger.ledger().and_then(|mut ledger| ledger.publish(context, root));
        self.discarding_a_second(noted)
    }

    /// A manifest that was signed speaks where the ledger does not, because it was lost or is an old copy.
    fn check_signed(&self, root: &TableRoot) -> Result<(), ScoreBuildError> {
        let context = self.member.epoch().context();
        match self.signed()? {
            Some(there) if there.body().context == *context && there.body().root != *root => {
                self.discarding_a_second(Err(LedgerError::SecondTable.into()))
            }
            _ => Ok(()),
        }
    }

    fn discarding_a_second(&self, noted: Result<(), FolderError>) -> Result<(), ScoreBuildError> {
        let noted = noted.map_err(ScoreBuildError::from);
        if noted.as_ref().is_err_and(ScoreBuildError::is_second_table) {
            remove_file(&self.folder.join(TEMPORARY))?;
            remove_file(&self.folder.join(RECORD))?;
        }
        noted
    }

    /// The manifest that stands there, if it is this provider's.
    fn signed(&self) -> Result<Option<Signed<TableManifest>>, ScoreBuildError> {
        let there = read_manifest(self.folder, self.member.party())?;
        Ok(there.filter(|there| there.verify(&self.key.verifying_key())))
    }

    /// The manifest that stands there, if it says the same, or a new one.
    fn sign(&self, root: TableRoot, parts: PartTerms) -> Result<Signed<TableManifest>, ScoreBuildError> {
        let (epoch, provider) = (self.member.epoch(), self.member.party());
        let manifest = TableManifest {
            provider: provider.clone(),
            group: epoch.charter().terms().group.clone(),
            epoch: epoch.number(),
            context: *epoch.context(),
            segments: self.segments(),
            root,
            parts,
            built_at_ms: self.now_ms,
        };
        if let Some(there) = self.signed()? {
            let body = there.body();
            if *body == (TableManifest { built_at_ms: body.built_at_ms, ..manifest.clone() }) {
                return Ok(there);
            }
            if body.root == root {
                return Err(ScoreBuildError::Declared { epoch: epoch.number() });
            }
        }
        let signed = Signed::sign(manifest, self.key);
        write_manifest(self.folder, &signed)?;
        Ok(signed)
    }
}

/// A table that is being made.
struct Work<'a> {
    job: &'a PublishTable<'a>,
    sealer: Sealer,
    commitment: [u8; 32],
    writer: SegmentWriter,
    kept: u64,
    keep_every: u64,
}

impl Work<'_> {
    /// Makes segments on all cores while those before them are written, in order.
    fn fill(&mut self, progress: &dyn Progress) -> Result<(), ScoreBuildError> {
        let total = self.job.segments();
        let step = rayon::current_num_threads() as u64 * SEGMENTS_PER_THREAD;
        self.kept = self.writer.segments();
        let mut next = self.kept;
        let mut batch = Vec::new();
        loop {
            let range = next..total.min(next + step);
            next = range.end;
            let (job, sealer) = (self.job, &self.sealer);
            let writer = &mut self.writer;
            let (written, made) =
                rayon::join(|| append(writer, &batch), || make(sealer, job.parts.as_slice(), range));
            written?;
            let done = self.writer.segments();
            progress.at(Position { rows: done * NUMBERS_PER_SEGMENT as u64, done, total });
            if made.is_empty() {
                return self.keep();
            }
            if done - self.kept >= self.keep_every {
                self.keep()?;
                TableStage::TablePart.reached();
            }
            batch = made;
        }
    }

    /// Everything so far on the disk, and then that it is.
    fn keep(&mut self) -> Result<(), ScoreBuildError> {
        let kept = self.writer.keep()?;
        let context = *self.job.member.epoch().context();
        let record = BuildRecord { context, parts: self.commitment, kept };
        write_private(&self.job.folder.join(RECORD), record.encode().as_bytes())?;
        self.kept = kept.segments;
        Ok(())
    }
}

fn append(writer: &mut SegmentWriter, batch: &[Vec<Row>]) -> Result<(), FileError> {
    batch.iter().try_for_each(|rows| writer.append(as_segment(rows.as_flattened())))
}

/// The rows of some segments.
fn make(sealer: &Sealer, parts: &[u8], segments: Range<u64>) -> Vec<Vec<Row>> {
    let rows = |segment| {
        let first = segment * NUMBERS_PER_SEGMENT as u64;
        sealer.rows(first, &parts[first as usize..][..NUMBERS_PER_SEGMENT])
    };
    segments.into_par_iter().map(rows).collect()
}

/// Which segments stand on the disk, of which parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BuildRecord {
    context: Hash,
    /// [`PublishTable::commitment`].
    parts: [u8; 32],
    kept: Kept,
}

impl Record for BuildRecord {
    const DOMAIN: &'static str = "windvane/score-build/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("context", &self.context)
            .bytes("parts", &self.parts)
            .u64("segments", self.kept.segments)
            .bytes("root", &self.kept.root)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let (context, parts) = (r.array("context")?, r.array("parts")?);
        Ok(Self { context, parts, kept: Kept { segments: r.u64("segments")?, root: r.array("root")? } })
    }
}
