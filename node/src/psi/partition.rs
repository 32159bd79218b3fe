//! A table's items by their salted hashes, so that any bucket can be loaded.
//!
//! The number of buckets is known only when both parties have counted their rows, so records are kept by the
//! top 10 bits of their hashes: in memory up to a budget, and beyond it in one sealed file without a name.
//! [`Partition::load`] gives the records of one of 2^bits buckets, in file order, an item once.
//!
//! **Promised**: rows that are no items stand in the reject file with row, line, field and rule, and are
//! counted; a repeated item keeps its first row; memory is the budget, one bucket and a few MiB. A record is
//! a salted hash, which whoever has the salt can try telephone numbers against, so what reaches the disk is
//! sealed under a key that lives in memory only; the file is gone when the process is. **Not promised**: that
//! memory is wiped. A job that is resumed reads its table again.

use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use windvane_protocols::psi::item::{ItemHasher, MAX_BUCKET_BITS, PreparedItem};

use super::key::{Items, KeyKind, Refusal};
use crate::dataset::{Position, Progress};
use crate::spill::SpillError;
use crate::table::{Row, TableError, TableReader, TableWriter};

mod bucket;
mod store;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Duplicate};
use store::{PART_BITS, Store};

/// Rows of a table: a record has 32 bits for the row, and a job's failure budget is stated for this many.
pub const MAX_ROWS: u64 = 1 << 30;

/// Memory for records, where a configuration does not say.
pub const DEFAULT_MEMORY_BYTES: usize = 512 << 20;

/// Items hashed together: 6 KiB, so that they stay in the nearest cache.
const BATCH_ITEMS: usize = 64;

/// Rows between two reports of progress.
const REPORT_ROWS: u64 = 1 << 16;

/// Why a table is not partitioned, or a bucket not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The table cannot be read, or the reject file not written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// What does not fit in memory cannot be put away or read back.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// More rows than a job takes.
    #[error("{path} has more than {MAX_ROWS} rows; split it")]
    TooManyRows {
        /// The table.
        path: PathBuf,
    },
}

impl PartitionError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Table(error) => error.code(),
            Self::Spill(error) => error.code(),
            Self::TooManyRows { .. } => "TOO_MANY_ROWS",
        }
    }
}

/// How a table is partitioned.
#[derive(Debug, Clone, Copy)]
pub struct PartitionOptions<'a> {
    /// What names a row.
    pub kind: KeyKind,
    /// Memory for records; 12 MiB are needed in any case.
    pub memory_bytes: usize,
    /// The work folder, for what does not fit in memory.
    pub folder: &'a Path,
    /// The reject file: CSV, or Parquet by its extension.
    pub rejects: &'a Path,
}

/// A partitioned table.
#[derive(Debug)]
pub struct Partition {
    store: Store,
    rows: u64,
    rejected: u64,
}

impl Partition {
    /// Reads a table to its end. The reader's first chosen columns are the key's fields.
    ///
    /// # Errors
    /// [`PartitionError`]; the reject file appears only when the whole table was read.
    pub fn read(
        reader: &mut TableReader,
        hasher: &ItemHasher,
        options: &PartitionOptions<'_>,
        rng: &mut impl CryptoRng,
        progress: &dyn Progress,
    ) -> Result<Self, PartitionError> {
        Self::read_with(reader, hasher, options, rng, progress, |_| Ok(()))
    }

    /// As [`Self::read`]; every row is shown to `visit` on the way, those that are no items too.
    ///
    /// # Errors
    /// As [`Self::read`], and what `visit` says.
    pub(super) fn read_with<E: From<PartitionError>>(
        reader: &mut TableReader,
        hasher: &ItemHasher,
        options: &PartitionOptions<'_>,
        rng: &mut impl CryptoRng,
        progress: &dyn Progress,
        mut visit: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let failed = PartitionError::from;
        let mut store = Store::new(options.memory_bytes, options.folder, rng);
        let mut rejects = Rejects::create(options.rejects).map_err(failed)?;
        let (mut batch, mut rows) = (Batch::new(options.kind, hasher), 0);
        while reader.advance().map_err(failed)? {
            if rows == MAX_ROWS {
                return Err(PartitionError::TooManyRows { path: reader.path().to_owned() }.into());
            }
            let row = reader.row();
            visit(&row)?;
            match batch.add(&row, rows as u32) {
                Ok(()) if batch.is_full() => batch.empty_into(&mut store)?,
                Ok(()) => {}
                Err(refusal) => rejects.add(row.number(), row.line(), refusal).map_err(failed)?,
            }
            rows += 1;
            if rows.is_multiple_of(REPORT_ROWS) {
                report(reader, rows, progress);
            }
        }
        batch.empty_into(&mut store)?;
        report(reader, rows, progress);
        let rejected = rejects.file.finish().map_err(failed)?;
        Ok(Self { store, rows, rejected })
    }

    /// Rows of the table.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that are no items.
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Rows that are items, repeated ones included.
    pub const fn items(&self) -> u64 {
        self.rows - self.rejected
    }

    /// Bytes of records on the disk.
    pub fn spilled_bytes(&self) -> u64 {
        self.store.spilled_bytes()
    }

    /// The items of bucket `bucket` among 2^`bits`. With more than 1,024 buckets, the records of 2^(`bits` - 10)
    /// buckets are looked through.
    ///
    /// # Errors
    /// [`PartitionError::Spill`].
    ///
    /// # Panics
    /// When `bits` is over [`MAX_BUCKET_BITS`], or there is no such bucket.
    pub fn load(&self, bucket: u32, bits: u32) -> Result<Bucket, PartitionError> {
        assert!(bits <= MAX_BUCKET_BITS && u64::from(bucket) < 1 << bits, "bucket {bucket} of 2^{bits}");
        let (first, parts) = match PART_BITS.checked_sub(bits) {
            Some(more) => (bucket << more, 1 << more),
            None => (bucket >> (bits - PART_BITS), 1),
        };
        let records = (first..first + parts).map(|part| self.store.records_in(part)).sum::<usize>();
        let mut found = Bucket::with_capacity(records >> bits.saturating_sub(PART_BITS));
        for part in first..first + parts {
            self.store.visit(part, |record| {
                if record.bucket(bits) == bucket {
                    found.push(record.key(), record.row());
                }
            })?;
        }
        Ok(found.without_repeats())
    }

    /// Every repeated row of the table, in file order.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn duplicates(&self) -> Result<Vec<Duplicate>, PartitionError> {
        let mut all = Vec::new();
        for part in 0..1 << PART_BITS {
            all.append(&mut self.load(part, PART_BITS)?.duplicates);
        }
        all.sort_unstable();
        Ok(all)
    }
}

fn report(reader: &TableReader, rows: u64, progress: &dyn Progress) {
    let (done, total) = reader.progress();
    progress.at(Position { rows, done, total });
}

/// Items that are hashed together.
struct Batch<'a> {
    items: Items<'a>,
    prepared: Vec<PreparedItem>,
    rows: Vec<u32>,
}

impl<'a> Batch<'a> {
    fn new(kind: KeyKind, hasher: &'a ItemHasher) -> Self {
        let (prepared, rows) = (Vec::with_capacity(BATCH_ITEMS), Vec::with_capacity(BATCH_ITEMS));
        Self { items: Items::new(kind, hasher), prepared, rows }
    }

    #[inline]
    fn add(&mut self, row: &Row<'_>, number: u32) -> Result<(), Refusal> {
        self.items.prepare(row, &mut self.prepared)?;
        self.rows.push(number);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.len() == BATCH_ITEMS
    }

    fn empty_into(&mut self, store: &mut Store) -> Result<(), PartitionError> {
        for (item, row) in self.prepared.drain(..).zip(self.rows.drain(..)) {
            store.push(&item.finish(), row)?;
        }
        Ok(())
    }
}

/// The reject file.
struct Rejects {
    file: TableWriter,
}

impl Rejects {
    fn create(path: &Path) -> Result<Self, TableError> {
        Ok(Self { file: TableWriter::create(path, &["row", "line", "field", "rule"])? })
    }

    #[cold]
    fn add(&mut self, row: u64, line: u64, refusal: Refusal) -> Result<(), TableError> {
        let (row, line) = (row.to_string(), line.to_string());
        self.file.row([row.as_str(), &line, refusal.field, refusal.rule].map(str::as_bytes))
    }
}
