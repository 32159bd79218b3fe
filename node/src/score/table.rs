//! Tables in their places: a provider's own, and at the bank the sum of all.
//!
//! **Promised**: a table is there only with its manifests, all rows and a length that fits; rows are read one by
//! one. **Not promised**: that the rows still are what they were; [`SummedTable::verify`] and
//! [`OwnTable::verify`] read everything for that. A changed row decodes to nothing, which a call reports.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use windvane_keys::files::{FileError, write_private};
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, MAX_SCORE_PROVIDERS};
use windvane_protocols::oprf::ELEMENT_BYTES;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::ledger::TableRoot;
use windvane_protocols::score::table::manifest::{ManifestError, TableManifest, check};
use windvane_protocols::score::table::{Row, SEGMENT_BYTES};
use windvane_protocols::transcript::{
    Hash, Reader, Record, Signed, SignedError, Transcript, TranscriptError,
};

use super::folder::{EpochFolder, FolderError, read_if_there, read_record};
use super::segments;
use crate::snapshot::disk::{at, create_directory};

/// The file of rows.
pub(super) const TABLE: &str = "table";

/// What the sum was made of, and its root.
pub(super) const SUM_ROOT: &str = "sum-root";

/// Bytes of [`SumRoot`].
const MAX_SUM_ROOT_BYTES: usize = 4 << 10;

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreTableError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record of the epoch's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no whole table.
    #[error(
        "epoch {epoch} has no whole table here; `score publish` (a provider) or `score fetch` (the bank)"
    )]
    Missing {
        /// The epoch.
        epoch: u64,
    },
    /// A manifest does not decode.
    #[error("{path} is damaged: {source}; remove it, and publish or fetch the table again")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SignedError,
    },
    /// The manifests are not those of the epoch.
    #[error(transparent)]
    Manifests(#[from] ManifestError),
    /// The table is not the one that was put there.
    #[error("{path} is damaged, expected {expected}; remove it, and publish or fetch the table again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What should stand there.
        expected: &'static str,
    },
}

impl ScoreTableError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Folder(error) => error.code(),
            Self::Missing { .. } => "SCORE_TABLE_MISSING",
            Self::Manifest { .. } | Self::Manifests(_) => "SCORE_MANIFEST_INVALID",
            Self::Damaged { .. } => "SCORE_TABLE_DAMAGED",
        }
    }
}

/// A provider's own table, as it is served.
#[derive(Debug)]
pub struct OwnTable {
    manifest: Signed<TableManifest>,
    path: PathBuf,
    file: File,
}

impl OwnTable {
    /// Opens the table that a provider published in an epoch.
    ///
    /// # Errors
    /// [`ScoreTableError`]; [`ScoreTableError::Missing`] until it is in its place.
    pub fn open(folder: &EpochFolder, provider: &PartyId) -> Result<Self, ScoreTableError> {
        let missing = || ScoreTableError::Missing { epoch: folder.epoch() };
        let manifest = read_manifest(folder, provider)?.ok_or_else(missing)?;
        let (path, file) = open_rows(folder, manifest.body().segments)?;
        Ok(Self { manifest, path, file })
    }

    /// The manifest as it was signed.
    pub const fn manifest(&self) -> &Signed<TableManifest> {
        &self.manifest
    }

    /// Segments of the table.
    pub fn segments(&self) -> u64 {
        self.manifest.body().segments
    }

    /// The rows of one segment.
    ///
    /// # Errors
    /// Those of reading.
    pub fn segment(&self, index: u64) -> io::Result<Vec<u8>> {
        segments::read(&self.file, index)
    }

    /// Reads the whole table and compares it with its manifest.
    ///
    /// # Errors
    /// [`ScoreTableError::Damaged`].
    pub fn verify(&self) -> Result<(), ScoreTableError> {
        verify(&self.path, &self.file, self.segments(), &self.manifest.body().root)
    }
}

/// The bank's table: in every row the sum of all providers' rows.
#[derive(Debug)]
pub struct SummedTable {
    manifests: Vec<Signed<TableManifest>>,
    root: SumRoot,
    path: PathBuf,
    file: File,
}

impl SummedTable {
    /// Opens an epoch's sum. The manifests' signatures are checked; the rows are not read.
    ///
    /// # Errors
    /// [`ScoreTableError`]; [`ScoreTableError::Missing`] until it is in its place.
    pub fn open(folder: &EpochFolder, epoch: &Epoch) -> Result<Self, ScoreTableError> {
        let missing = || ScoreTableError::Missing { epoch: folder.epoch() };
        let path = folder.join(SUM_ROOT);
        let root: SumRoot = read_record(&path, MAX_SUM_ROOT_BYTES)?.ok_or_else(missing)?;
        let manifests = epoch
            .charter()
            .providers()
            .iter()
            .map(|provider| read_manifest(folder, &provider.party)?.ok_or_else(missing))
            .collect::<Result<Vec<_>, _>>()?;
        let manifests = check(epoch, root.segments, &manifests)?;
        if root != SumRoot::of(epoch, &manifests, root.sum) {
            return Err(ScoreTableError::Damaged { path, expected: "the root of these tables' sum" });
        }
        let (path, file) = open_rows(folder, root.segments)?;
        fadvise(&file, 0, None, Advice::Random).map_err(|error| at(&path)(error.into()))?;
        Ok(Self { manifests, root, path, file })
    }

    /// The manifests of all providers, in their order.
    pub fn manifests(&self) -> &[Signed<TableManifest>] {
        &self.manifests
    }

    /// Rows of the table.
    pub const fn len(&self) -> u64 {
        self.root.segments * (SEGMENT_BYTES / ELEMENT_BYTES) as u64
    }

    /// Whether the table has no rows, which none has.
    pub const fn is_empty(&self) -> bool {
        self.root.segments == 0
    }

    /// The rows of some positions, in the order given; each is one positioned read of 32 bytes.
    ///
    /// # Errors
    /// Those of reading, also when a position is not below [`Self::len`].
    pub fn rows(&self, positions: &[u64]) -> io::Result<Vec<Row>> {
        let mut rows = vec![[0; ELEMENT_BYTES]; positions.len()];
        for (row, position) in rows.iter_mut().zip(positions) {
            if *position >= self.len() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a position outside of the table"));
            }
            self.file.read_exact_at(row, position * ELEMENT_BYTES as u64)?;
        }
        Ok(rows)
    }

    /// Whether another file stands in the place of the one that is open here, as after a repair. One that is not there is
    /// no other one: what is open goes on being read.
    pub(crate) fn is_replaced(&self) -> bool {
        let file = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let (open, there) = (self.file.metadata().map(file), self.path.metadata().map(file));
        matches!((open, there), (Ok(open), Ok(there)) if open != there)
    }

    /// Reads the whole sum and compares it with the root that was stored when it was installed.
    ///
    /// # Errors
    /// [`ScoreTableError::Damaged`].
    pub fn verify(&self) -> Result<(), ScoreTableError> {
        verify(&self.path, &self.file, self.root.segments, &self.root.sum)
    }
}

/// What a sum is of, and its own root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SumRoot {
    context: Hash,
    segments: u64,
    tables: Vec<TableRoot>,
    sum: TableRoot,
}

impl SumRoot {
    /// The record of a sum; there is at least one manifest.
    pub(super) fn of(epoch: &Epoch, manifests: &[Signed<TableManifest>], sum: TableRoot) -> Self {
        Self {
            context: *epoch.context(),
            segments: manifests.first().map_or(0, |manifest| manifest.body().segments),
            tables: manifests.iter().map(|manifest| manifest.body().root).collect(),
            sum,
        }
    }
}

impl Record for SumRoot {
    const DOMAIN: &'static str = "windvane/score-sum/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("context", &self.context)
            .u64("segments", self.segments)
            .list("table", self.tables.iter())
            .bytes("sum", &self.sum)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = |_| TranscriptError::Form { label: "table", expected: "a root" };
        let (context, segments) = (r.array("context")?, r.u64("segments")?);
        let tables = r.list("table", MAX_SCORE_PROVIDERS)?.into_iter();
        let tables = tables.map(|root| root.try_into().map_err(form)).collect::<Result<_, _>>()?;
        Ok(Self { context, segments, tables, sum: r.array("sum")? })
    }
}

/// Where a provider's manifest stands in an epoch's folder.
fn manifest_path(folder: &EpochFolder, provider: &PartyId) -> PathBuf {
    folder.join("manifests").join(provider.as_str())
}

/// A provider's manifest, if it is there; its signature is not checked.
pub(super) fn read_manifest(
    folder: &EpochFolder,
    provider: &PartyId,
) -> Result<Option<Signed<TableManifest>>, ScoreTableError> {
    let path = manifest_path(folder, provider);
    let Some(bytes) = read_if_there(&path, MAX_DOCUMENT_BYTES)? else { return Ok(None) };
    let signed = Signed::from_bytes_unverified(bytes);
    signed.map(Some).map_err(|source| ScoreTableError::Manifest { path, source })
}

/// Keeps a manifest in an epoch's folder.
pub(super) fn write_manifest(folder: &EpochFolder, signed: &Signed<TableManifest>) -> Result<(), FileError> {
    let path = manifest_path(folder, &signed.body().provider);
    create_directory(path.parent().expect("a manifest stands in a folder"))?;
    write_private(&path, signed.as_bytes())
}

fn open_rows(folder: &EpochFolder, segments: u64) -> Result<(PathBuf, File), ScoreTableError> {
    let path = folder.join(TABLE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ScoreTableError::Missing { epoch: folder.epoch() });
        }
        opened => opened.map_err(at(&path))?,
    };
    if file.metadata().map_err(at(&path))?.len() == segments * SEGMENT_BYTES as u64 {
        Ok((path, file))
    } else {
        Err(ScoreTableError::Damaged { path, expected: "as many rows as its manifest says" })
    }
}

fn verify(path: &Path, file: &File, segments: u64, root: &TableRoot) -> Result<(), ScoreTableError> {
    if segments::hash(file, segments).map_err(at(path))?.root() == *root {
        Ok(())
    } else {
        Err(ScoreTableError::Damaged { path: path.to_owned(), expected: "the rows that were put there" })
    }
}
