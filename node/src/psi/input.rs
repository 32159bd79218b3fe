//! A party's table, bucket by bucket.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::limits::MAX_PSI_PAYLOAD_BYTES;
use windvane_protocols::psi::item::ItemHasher;
use windvane_protocols::psi::{PSI_SALT_BYTES, Parameters};
use windvane_protocols::transcript::{Transcript, commit};

use super::PsiError;
use super::key::KeyKind;
use super::partition::{Duplicate, Partition, PartitionOptions};
use super::payload::{PayloadError, encode_payload};
use super::side::BucketItems;
use crate::dataset::Progress;
use crate::identity::NodeKeys;
use crate::table::{Row, TableOptions, TableReader};

/// A table that is partitioned under a job's salt.
pub(super) trait Buckets: Send + Sync {
    /// The items of a bucket, all different.
    ///
    /// # Errors
    /// [`PsiError`].
    fn bucket(&self, bucket: u32, parameters: &Parameters) -> Result<BucketItems, PsiError>;
}

/// A table and what of it takes part.
#[derive(Debug, Clone)]
pub(super) struct InputFile {
    /// The file: CSV or Parquet.
    pub(super) path: PathBuf,
    /// What its items are.
    pub(super) key: KeyKind,
    /// The columns of the key, in the order of its fields.
    pub(super) key_columns: Vec<String>,
    /// Columns that travel with matches.
    pub(super) payload_columns: Vec<String>,
    /// Memory for the table's records; more is spilled to the disk.
    pub(super) memory_bytes: usize,
}

/// What one pass over a table tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    /// Its rows.
    pub(super) rows: u64,
    /// SHA-256 of the file.
    pub(super) digest: [u8; 32],
    /// The longest payload.
    pub(super) payload_bytes: usize,
}

/// A partitioned table. Payloads are held in memory, as long as they are and eight bytes a row.
#[derive(Debug)]
pub(super) struct PartitionedTable {
    partition: Partition,
    payloads: Option<Payloads>,
    /// Repeated rows of the buckets that were loaded.
    duplicates: Mutex<Vec<Duplicate>>,
}

/// The payloads of all rows, one after another.
#[derive(Debug, Default)]
struct Payloads {
    bytes: Vec<u8>,
    ends: Vec<u64>,
}

impl InputFile {
    /// Reads the table once, for what must be known before a job's salt is.
    ///
    /// # Errors
    /// [`PsiError`]: the table cannot be read, or a payload is too long.
    pub(super) fn scan(&self, progress: &dyn Progress) -> Result<Scan, PsiError> {
        let mut reader = self.reader()?;
        let (mut rows, mut payload_bytes, mut payload) = (0, 0, Vec::new());
        while reader.advance()? {
            rows += 1;
            if !self.payload_columns.is_empty() {
                payload.clear();
                self.payload(&reader.row(), &mut payload)?;
                payload_bytes = payload_bytes.max(payload.len());
            }
            report(&reader, rows, progress);
        }
        Ok(Scan { rows, digest: self.digest(&reader)?, payload_bytes })
    }

    /// Partitions the table, which must still be the one that was scanned. `folder` is for what does not fit in
    /// memory, and for the report of rows that are no items.
    ///
    /// # Errors
    /// [`PsiError::InputChanged`], and as for [`Self::scan`].
    pub(super) fn partition(
        &self,
        scan: &Scan,
        salt: &[u8; PSI_SALT_BYTES],
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<PartitionedTable, PsiError> {
        let mut reader = self.reader()?;
        let rejects = folder.join("rejects.csv");
        let options =
            PartitionOptions { kind: self.key, memory_bytes: self.memory_bytes, folder, rejects: &rejects };
        let hasher = ItemHasher::new(salt);
        let mut payloads = (!self.payload_columns.is_empty()).then(Payloads::default);
        let visit = |row: &Row<'_>| match &mut payloads {
            Some(payloads) => self.add_payload(row, payloads),
            None => Ok(()),
        };
        let partition =
            Partition::read_with(&mut reader, &hasher, &options, &mut rand::rng(), progress, visit)?;
        if partition.rows() != scan.rows || self.digest(&reader)? != scan.digest {
            return Err(PsiError::InputChanged { path: self.path.clone() });
        }
        Ok(PartitionedTable { partition, payloads, duplicates: Mutex::default() })
    }

    fn add_payload(&self, row: &Row<'_>, payloads: &mut Payloads) -> Result<(), PsiError> {
        self.payload(row, &mut payloads.bytes)?;
        payloads.ends.push(payloads.bytes.len() as u64);
        Ok(())
    }

    /// A reader whose chosen columns are the key's, and behind them the payload's.
    fn reader(&self) -> Result<TableReader, PsiError> {
        let options = TableOptions { digest: true, ragged: true, ..TableOptions::default() };
        let columns: Vec<_> = self.key_columns.iter().chain(&self.payload_columns).collect();
        Ok(TableReader::open(&self.path, options)?.choose(&columns)?)
    }

    /// Appends a row's payload; a row of another length than the header has none.
    fn payload(&self, row: &Row<'_>, payload: &mut Vec<u8>) -> Result<(), PsiError> {
        let begin = payload.len();
        let cells = row.cells().skip(self.key_columns.len());
        let encoded = encode_payload(cells, payload);
        let found = payload.len() - begin;
        match encoded {
            Ok(()) if found <= MAX_PSI_PAYLOAD_BYTES => Ok(()),
            Ok(()) | Err(PayloadError::CellTooLong { .. }) => {
                Err(PsiError::PayloadTooLong { path: self.path.clone(), line: row.line() })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn digest(&self, reader: &TableReader) -> Result<[u8; 32], PsiError> {
        reader.digest()?.ok_or_else(|| PsiError::InputChanged { path: self.path.clone() })
    }
}

/// A commitment to a file and its key, the columns of which are named in the order of its fields: the same for the same
/// items of the same file under the same grant, and nothing to anybody who lacks the node's key.
pub(super) fn input_commitment(
    keys: &NodeKeys,
    grant: &GrantId,
    digest: &[u8; 32],
    key: &str,
    key_columns: &[String],
) -> [u8; 32] {
    let salt = Transcript::new("windvane/psi-input-salt/v1").bytes("grant", grant.as_bytes());
    let salt = commit(keys.lookup.secret().expose(), salt.as_bytes());
    let item = Transcript::new("windvane/psi-input/v1")
        .bytes("file", digest)
        .text("key", key)
        .list("key column", key_columns.iter());
    commit(&salt, item.as_bytes())
}

fn report(reader: &TableReader, rows: u64, progress: &dyn Progress) {
    if rows.is_multiple_of(1 << 16) {
        let (done, total) = reader.progress();
        progress.at(crate::dataset::Position { rows, done, total });
    }
}

impl PartitionedTable {
    /// Every repeated row of the table, in file order, when all buckets were loaded but those in `more`.
    pub(super) fn duplicates(
        &self,
        more: &[u32],
        parameters: &Parameters,
    ) -> Result<Vec<Duplicate>, PsiError> {
        for bucket in more {
            self.bucket(*bucket, parameters)?;
        }
        let mut all = std::mem::take(&mut *self.lock());
        all.sort_unstable();
        Ok(all)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Duplicate>> {
        self.duplicates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Payloads {
    fn of(&self, row: u32) -> Vec<u8> {
        let row = row as usize;
        let begin = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        self.bytes[begin..self.ends[row] as usize].to_vec()
    }
}

impl Buckets for PartitionedTable {
    fn bucket(&self, bucket: u32, parameters: &Parameters) -> Result<BucketItems, PsiError> {
        let mut found = self.partition.load(bucket, parameters.buckets().ilog2())?;
        self.lock().append(&mut found.duplicates);
        let payloads = match &self.payloads {
            Some(payloads) => found.rows.iter().map(|row| payloads.of(*row)).collect(),
            None => Vec::new(),
        };
        Ok(BucketItems {
            keys: found.keys.iter().map(|key| key.to_le_bytes()).collect(),
            rows: found.rows.into_iter().map(u64::from).collect(),
            payloads,
        })
    }
}
