//! Change files as they are kept: one directory each, numbered from 1 since the full file.
//!
//! A sealed file of chunks like the staging file's; an entry is `print(16) ‖ count(1) ‖ that many records ‖
//! present(1) ‖ record`: what the subject was before the file, and what it is since. Its report names the full
//! file and the change file before it by their random ids, so that none can be left out or come from elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::lookup::DataSet;
use zeroize::Zeroizing;

use super::index::{Index, IndexBuilder};
use super::subject::Print;
use super::{ChangesError, MAX_CHANGE_FILES};
use crate::dataset::row::{Records, StagedRecord, write_record};
use crate::dataset::stage::Stage;
use crate::dataset::staging::{Sealed, StagingWriter, unchecked_report};
use crate::snapshot::disk;
use crate::spill::SpillError;

const SEALED: &str = "sealed";
const INDEX: &str = "index";

/// Bytes at which a chunk is closed; an entry has at most 256 records of at most four fields and a label.
const CHUNK_BYTES: usize = 64 << 10;

/// Records that a subject may have had; a change of one with more is refused.
pub(super) const MAX_BEFORE: usize = u8::MAX as usize;

/// What a change file holds. It has counts only, no identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeReport {
    /// The data set.
    pub data_set: String,
    /// Its number since the full file, from 1.
    pub change: u64,
    /// Its own random id: 32 hexadecimal digits.
    pub id: String,
    /// The id of the full file's import.
    pub import: String,
    /// The id of the change file before it; empty for the first.
    pub after: String,
    /// The file's encoding: `utf-8` or `gb18030`.
    pub encoding: String,
    /// The file's size.
    pub source_bytes: u64,
    /// When it was imported, milliseconds of Unix time.
    pub imported_at_ms: u64,
    /// Data rows of the file.
    pub rows: u64,
    /// Rows that were accepted.
    pub accepted: u64,
    /// Rows that went to the reject file.
    pub rejected: u64,
    /// Rejected rows by rule.
    pub rejected_by_rule: BTreeMap<String, u64>,
    /// Rows that a later row of the same subject overtook.
    pub superseded: u64,
    /// Subjects that came.
    pub inserted: u64,
    /// Subjects that changed.
    pub changed: u64,
    /// Subjects that went.
    pub deleted: u64,
    /// Subjects that are as they were.
    pub unchanged: u64,
    /// Rows that did not fit what was there, by rule: `SUBJECT_EXISTS`, `SUBJECT_MISSING`.
    pub unexpected: BTreeMap<String, u64>,
    /// Rows with an empty cell that should not be empty.
    pub missing: u64,
    /// Rows whose data date is too old or in the future.
    pub out_of_date: u64,
    /// The oldest data date, ISO 8601.
    pub oldest: Option<String>,
    /// The newest data date, ISO 8601.
    pub newest: Option<String>,
    /// Sealed chunks of the file.
    pub chunks: u64,
}

/// What a change file did to one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dataset) struct ChangeEntry {
    pub(in crate::dataset) print: Print,
    /// Its records before the file.
    pub(in crate::dataset) before: Vec<StagedRecord>,
    /// Its one record since, if it has one.
    pub(in crate::dataset) after: Option<StagedRecord>,
}

impl ChangeEntry {
    fn write(&self, into: &mut Vec<u8>) {
        let count = u8::try_from(self.before.len()).expect("whoever makes entries holds to the limit");
        into.extend_from_slice(&self.print);
        into.push(count);
        self.before.iter().for_each(|record| write_record(record, into));
        into.push(u8::from(self.after.is_some()));
        self.after.iter().for_each(|record| write_record(record, into));
    }

    fn read(records: &mut Records<'_>) -> Option<Self> {
        let print = records.take(16)?.try_into().ok()?;
        let count = records.take(1)?[0];
        let before = (0..count).map(|_| records.record()).collect::<Option<_>>()?;
        let after = match records.take(1)? {
            [0] => None,
            [1] => Some(records.record()?),
            _ => return None,
        };
        Some(Self { print, before, after })
    }
}

/// One change file, open.
pub(in crate::dataset) struct ChangeFile {
    sealed: Sealed,
    report: ChangeReport,
    index: PathBuf,
    label_bytes: usize,
}

impl ChangeFile {
    fn open(
        dir: &Path,
        data_set: &DataSet,
        label_bytes: usize,
        key: &StorageKey,
    ) -> Result<Self, ChangesError> {
        let chunks = |report: &ChangeReport| report.chunks;
        let (sealed, report) = Sealed::open(&dir.join(SEALED), data_set, key, chunks)?;
        Ok(Self { sealed, report, index: dir.join(INDEX), label_bytes })
    }

    /// The next entries, in the order of the file; `None` behind the last.
    pub(in crate::dataset) fn next_entries(&mut self) -> Result<Option<Vec<ChangeEntry>>, ChangesError> {
        let Some(plain) = self.sealed.next_chunk()? else { return Ok(None) };
        self.entries(&plain).map(Some)
    }

    pub(super) fn index(&self) -> Result<Index, ChangesError> {
        let damaged = || ChangesError::Index { path: self.index.clone() };
        Index::open(&self.index, self.sealed.id())?.ok_or_else(damaged)
    }

    pub(super) fn entries_at(&self, chunk: u32, place: u64) -> Result<Vec<ChangeEntry>, ChangesError> {
        let plain = self.sealed.chunk_at(chunk.into(), place)?;
        self.entries(&plain)
    }

    fn entries(&self, plain: &[u8]) -> Result<Vec<ChangeEntry>, ChangesError> {
        let mut records = Records::new(plain, self.label_bytes);
        let mut entries = Vec::new();
        while !records.is_empty() {
            let damaged = || self.sealed.damaged(self.report.chunks);
            entries.push(ChangeEntry::read(&mut records).ok_or_else(damaged)?);
        }
        Ok(entries)
    }
}

/// The reports of the change files that follow the full file `import`, without a key and so without a check.
pub(in crate::dataset) fn unchecked(
    dir: &Path,
    data_set: &DataSet,
    import: &str,
) -> Result<Vec<ChangeReport>, ChangesError> {
    let mut reports = Vec::new();
    for number in disk::numbered(dir)? {
        let report: Option<ChangeReport> =
            unchecked_report(&dir.join(number.to_string()).join(SEALED), data_set)?;
        reports.extend(report.filter(|report| report.import == import));
    }
    Ok(reports)
}

/// All change files since the full file.
pub(in crate::dataset) struct Journal {
    dir: PathBuf,
    data_set: DataSet,
    label_bytes: usize,
    import: String,
    reports: Vec<ChangeReport>,
}

impl Journal {
    /// Reads the reports of the change files that follow the full file `import`; those of an earlier full file
    /// are as good as gone.
    pub(in crate::dataset) fn open(
        dir: &Path,
        data_set: &DataSet,
        label_bytes: usize,
        key: &StorageKey,
        import: &str,
    ) -> Result<Self, ChangesError> {
        let mut journal = Self {
            dir: dir.to_owned(),
            data_set: data_set.clone(),
            label_bytes,
            import: import.to_owned(),
            reports: Vec::new(),
        };
        for (expected, number) in (1..).zip(disk::numbered(dir)?) {
            let series = ChangesError::Series { number: expected };
            if number != expected {
                return Err(series);
            }
            let report = journal.file(number, key)?.report;
            if report.import != import && journal.reports.is_empty() {
                return Ok(journal);
            }
            let follows = report.import == import && report.after == journal.last_id();
            if !follows || report.change != number {
                return Err(series);
            }
            journal.reports.push(report);
        }
        Ok(journal)
    }

    /// The id of the full file's import.
    pub(in crate::dataset) fn import(&self) -> &str {
        &self.import
    }

    /// The number of the last change file, 0 without one.
    pub(in crate::dataset) const fn last(&self) -> u64 {
        self.reports.len() as u64
    }

    /// Opens a change file.
    pub(in crate::dataset) fn file(&self, number: u64, key: &StorageKey) -> Result<ChangeFile, ChangesError> {
        ChangeFile::open(&self.dir.join(number.to_string()), &self.data_set, self.label_bytes, key)
    }

    pub(super) fn last_id(&self) -> &str {
        self.reports.last().map_or("", |report| &report.id)
    }

    /// Begins the next change file.
    pub(super) fn begin(
        &self,
        key: &StorageKey,
        rng: &mut impl CryptoRng,
    ) -> Result<ChangeWriter, ChangesError> {
        if self.reports.len() >= MAX_CHANGE_FILES {
            return Err(ChangesError::TooManyFiles);
        }
        disk::create_directory(&self.dir)?;
        disk::sweep(&self.dir, disk::BUILDING)?;
        if self.reports.is_empty() {
            // Those that followed an earlier full file.
            for stale in disk::numbered(&self.dir)?.into_iter().rev() {
                disk::remove_whole(&self.dir.join(stale.to_string()))?;
            }
        }
        let number = self.last() + 1;
        let place = self.dir.join(format!("{}{number}", disk::BUILDING));
        disk::create_directory(&place)?;
        let staging = StagingWriter::create(&place.join(SEALED), &self.data_set, key, rng)?;
        let target = self.dir.join(number.to_string());
        let index = IndexBuilder::new(&place, rng);
        let (chunk, prints) = (Zeroizing::default(), Vec::new());
        Ok(ChangeWriter { place, target, staging, index, chunk, prints })
    }
}

/// A change file being written; dropped unfinished, the next one sweeps it.
pub(super) struct ChangeWriter {
    place: PathBuf,
    target: PathBuf,
    staging: StagingWriter,
    index: IndexBuilder,
    chunk: Zeroizing<Vec<u8>>,
    prints: Vec<Print>,
}

impl ChangeWriter {
    /// The file's random id.
    pub(super) const fn id(&self) -> &[u8; 16] {
        self.staging.import()
    }

    pub(super) fn add(&mut self, entry: &ChangeEntry) -> Result<(), SpillError> {
        entry.write(&mut self.chunk);
        self.prints.push(entry.print);
        if self.chunk.len() >= CHUNK_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), SpillError> {
        self.index.chunk(self.staging.position());
        self.prints.drain(..).try_for_each(|print| self.index.add(&print))?;
        Ok(self.staging.append(std::mem::take(&mut self.chunk))?)
    }

    /// Writes everything out and puts the file in place.
    pub(super) fn finish(mut self, mut report: ChangeReport) -> Result<ChangeReport, SpillError> {
        if !self.chunk.is_empty() {
            self.close()?;
        }
        report.chunks = self.staging.chunks();
        let id = *self.id();
        self.staging.finish(&report)?;
        self.index.write(&self.place.join(INDEX), &id)?;
        Stage::ChangeSealed.reached();
        disk::put_in_place(&self.place, &self.target)?;
        Stage::ChangePlaced.reached();
        Ok(report)
    }
}
