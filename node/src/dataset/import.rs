//! Reads an operator's CSV or Parquet file into the sealed staging file.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use rand_core::CryptoRng;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use windvane_keys::files::FileError;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::identity::{Document, Family, IDENTITY_VERSION, Person, Phone};
use zeroize::Zeroizing;

use super::DataSetDir;
use super::config::DataSetConfig;
use super::fields::{day_of_ms, iso};
use super::progress::{Position, Progress};
use super::quality::{GateFailure, ImportReport, Print, Tally, repetitions};
use super::rejects::{Reject, RejectFile};
use super::row::{RowParser, write_record};
use super::sort::Sorter;
use super::stage::FullStage;
use super::staging::{StagingError, StagingWriter};
use crate::snapshot::disk;
use crate::spill::SpillError;
use crate::table::{TableError, TableOptions, TableReader};

/// Rows read while the batch before them is parsed.
const BATCH_ROWS: usize = 16_384;

/// Rows of one sealed chunk, and of one task.
const CHUNK_ROWS: usize = 512;

/// Bytes of a typical staged record, to size buffers.
const RECORD_BYTES: usize = 80;

/// One import.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// The node's data directory.
    pub data_dir: &'a Path,
    /// The data set.
    pub config: &'a DataSetConfig,
    /// The operator's file, CSV or Parquet.
    pub source: &'a Path,
    /// The key that staging files are sealed under.
    pub key: &'a StorageKey,
    /// Now, milliseconds of Unix time.
    pub now_ms: u64,
}

/// Why a file is not imported. What was imported before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another import, build or publication of the data set is running.
    #[error("another import, build or publication of this data set is running; wait for it to end")]
    Busy,
    /// The operator's file cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// More lines than a reject file can name.
    #[error("the file has more than {} lines; split the data set", u32::MAX)]
    TooManyLines,
    /// The file has a header only, or every row was refused.
    #[error("no row of the file was accepted; read {rejects}", rejects = rejects.display())]
    NoRows {
        /// The reject file.
        rejects: PathBuf,
    },
    /// The file is not good enough.
    #[error("the file fails its quality gates ({}); read {rejects}", list(failures), rejects = rejects.display())]
    QualityGate {
        /// The gates it fails.
        failures: Vec<GateFailure>,
        /// The reject file.
        rejects: PathBuf,
        /// Everything that was counted.
        report: Box<ImportReport>,
    },
    /// What does not fit in memory cannot be put away or read back.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The staging file cannot be written.
    #[error(transparent)]
    Staging(#[from] StagingError),
}

impl ImportError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Busy => "DATASET_BUSY",
            Self::Table(error) => error.code(),
            Self::TooManyLines => "TOO_MANY_LINES",
            Self::NoRows { .. } => "NO_ROWS",
            Self::QualityGate { .. } => "QUALITY_GATE",
            Self::Spill(error) => error.code(),
            Self::Staging(error) => error.code(),
        }
    }
}

fn list(failures: &[GateFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Imports a file: the staging file of the data set is replaced when, and only when, the whole file was read
/// and passes the quality gates. The change files that followed the one before go with it, damaged or not. The reject
/// file is written in any case.
///
/// # Errors
/// [`ImportError`].
pub fn import(
    job: &Import<'_>,
    rng: &mut impl CryptoRng,
    progress: &dyn Progress,
) -> Result<ImportReport, ImportError> {
    let dir = DataSetDir::new(job.data_dir, job.config.name());
    let _lock = dir.lock()?.ok_or(ImportError::Busy)?;
    let mut input = Input::open(job)?;
    let parser = RowParser::new(job.config.recipe(), job.config.schema());
    let mut run = Run::begin(job, &dir, rng)?;
    let (mut batch, mut next) = (Batch::default(), Batch::default());
    input.fill(&mut batch)?;
    while batch.len > 0 {
        let (filled, parsed) =
            rayon::join(|| input.fill(&mut next), || run.context.parse(&parser, batch.rows()));
        run.take(parsed)?;
        filled?;
        let (done, total) = input.reader.progress();
        progress.at(Position { rows: run.tally.rows, done, total });
        std::mem::swap(&mut batch, &mut next);
    }
    run.finish(job, &dir, &input)
}

/// Rows in memory; their buffers are used again.
#[derive(Default)]
struct Batch {
    records: Vec<StringRecord>,
    len: usize,
}

impl Batch {
    fn rows(&self) -> &[StringRecord] {
        &self.records[..self.len]
    }
}

/// The operator's file as rows of the configured columns.
struct Input {
    reader: TableReader,
}

impl Input {
    fn open(job: &Import<'_>) -> Result<Self, ImportError> {
        let options =
            TableOptions { encoding: job.config.encoding(), ragged: true, ..TableOptions::default() };
        let reader = TableReader::open(job.source, options)?.choose(&job.config.recipe().column_names())?;
        Ok(Self { reader })
    }

    /// Reads the next batch; an empty one behind the last row.
    fn fill(&mut self, batch: &mut Batch) -> Result<(), ImportError> {
        batch.records.resize_with(BATCH_ROWS, StringRecord::new);
        batch.len = 0;
        while batch.len < BATCH_ROWS {
            let Some(row) = self.reader.next_row()? else { break };
            if row.line() > u64::from(u32::MAX) {
                return Err(ImportError::TooManyLines);
            }
            let record = &mut batch.records[batch.len];
            record.clear();
            (0..row.width()).for_each(|column| record.push_field(row.text(column)));
            let mut position = csv::Position::new();
            position.set_line(row.line());
            record.set_position(Some(position));
            batch.len += 1;
        }
        Ok(())
    }
}

/// What all tasks of an import share.
struct Context {
    hasher: RandomState,
    /// Data dates outside of these days are out of date.
    dates: std::ops::RangeInclusive<i32>,
}

/// What a task makes of its rows.
#[derive(Default)]
struct Parsed {
    records: Zeroizing<Vec<u8>>,
    prints: Vec<Print>,
    rejects: Vec<Reject>,
    tally: Tally,
}

impl Context {
    fn parse(&self, parser: &RowParser<'_>, rows: &[StringRecord]) -> Vec<Parsed> {
        rows.par_chunks(CHUNK_ROWS).map(|rows| self.parse_chunk(parser, rows)).collect()
    }

    fn parse_chunk(&self, parser: &RowParser<'_>, rows: &[StringRecord]) -> Parsed {
        let mut parsed = Parsed::default();
        parsed.records.reserve(rows.len() * RECORD_BYTES);
        for row in rows {
            let line = row.position().map_or(0, csv::Position::line);
            let line32 = u32::try_from(line).expect("the reader refuses more lines");
            parsed.tally.rows += 1;
            match parser.parse(row, line32) {
                Ok((record, findings)) => {
                    self.accept(&record.person, &mut parsed, |bytes| write_record(&record, bytes));
                    parsed.tally.missing += u64::from(findings.missing);
                    self.judge_date(findings.data_date, &mut parsed.tally);
                }
                Err(refusal) => {
                    parsed.tally.missing += u64::from(refusal.is_missing());
                    *parsed.tally.rules.entry(refusal.rule).or_default() += 1;
                    parsed.rejects.push(Reject { line, field: refusal.field.to_owned(), rule: refusal.rule });
                }
            }
        }
        parsed
    }

    fn accept(&self, person: &Person, parsed: &mut Parsed, write: impl FnOnce(&mut Vec<u8>)) {
        let start = parsed.records.len();
        write(&mut parsed.records);
        // The line, four bytes, differs between rows that are otherwise equal.
        let record = self.hasher.hash_one(&parsed.records[start + 4..]);
        let subject = person.phone.as_ref().map(Phone::as_str);
        let subject = subject.or(person.document.as_ref().map(Document::number)).unwrap_or_default();
        let subject = self.hasher.hash_one(subject);
        parsed.prints.push(print(subject, record));
        parsed.tally.accepted += 1;
    }

    fn judge_date(&self, day: Option<i32>, tally: &mut Tally) {
        if let Some(day) = day {
            tally.saw_date(day);
            tally.out_of_date += u64::from(!self.dates.contains(&day));
        }
    }
}

fn print(subject: u64, record: u64) -> Print {
    let mut print = Print::default();
    print[..8].copy_from_slice(&subject.to_be_bytes());
    print[8..].copy_from_slice(&record.to_be_bytes());
    print
}

/// An import on its way.
struct Run {
    context: Context,
    staging: StagingWriter,
    rejects: RejectFile,
    prints: Sorter,
    tally: Tally,
}

impl Run {
    fn begin(job: &Import<'_>, dir: &DataSetDir, rng: &mut impl CryptoRng) -> Result<Self, ImportError> {
        let today = day_of_ms(job.now_ms);
        let oldest = today - i32::try_from(job.config.quality().max_age_days).unwrap_or(i32::MAX);
        Ok(Self {
            context: Context { hasher: RandomState::new(), dates: oldest..=today + 1 },
            staging: StagingWriter::create(&dir.staging(), job.config.name(), job.key, rng)?,
            rejects: RejectFile::create(&dir.import_rejects())?,
            prints: Sorter::new(size_of::<Print>(), dir.path(), rng),
            tally: Tally::default(),
        })
    }

    fn take(&mut self, parsed: Vec<Parsed>) -> Result<(), ImportError> {
        for part in parsed {
            if !part.records.is_empty() {
                self.staging.append(part.records)?;
            }
            part.rejects.iter().try_for_each(|reject| self.rejects.add(reject))?;
            self.prints.push(part.prints.as_flattened())?;
            self.tally.add(&part.tally);
        }
        Ok(())
    }

    fn finish(self, job: &Import<'_>, dir: &DataSetDir, input: &Input) -> Result<ImportReport, ImportError> {
        self.rejects.finish()?;
        let repeated = repetitions(&self.prints.finish()?)?;
        let report = report(job, input, &self.tally, &self.staging, repeated);
        let rejects = dir.import_rejects();
        let failures = report.failures(job.config.quality());
        if !failures.is_empty() {
            return Err(ImportError::QualityGate { failures, rejects, report: Box::new(report) });
        }
        if report.accepted == 0 {
            return Err(ImportError::NoRows { rejects });
        }
        FullStage::ImportRead.reached();
        self.staging.finish(&report)?;
        FullStage::ImportPlaced.reached();
        // Those that a kill leaves here name another import, by which whoever reads them tells.
        let changes = dir.changes();
        if changes.exists() {
            disk::remove_whole(&changes)?;
        }
        Ok(report)
    }
}

fn report(
    job: &Import<'_>,
    input: &Input,
    tally: &Tally,
    staging: &StagingWriter,
    (duplicate, inconsistent): (u64, u64),
) -> ImportReport {
    ImportReport {
        data_set: job.config.name().to_string(),
        import: hex::encode(staging.import()),
        schema_sha256: hex::encode(Sha256::digest(job.config.schema().text())),
        identity_version: IDENTITY_VERSION.to_owned(),
        families: job.config.families().iter().map(|family| Family::code(*family)).collect(),
        encoding: input.reader.encoding().to_owned(),
        source_bytes: input.reader.size(),
        imported_at_ms: job.now_ms,
        rows: tally.rows,
        accepted: tally.accepted,
        rejected: tally.rows - tally.accepted,
        rejected_by_rule: tally.rules.iter().map(|(rule, n)| ((*rule).to_owned(), *n)).collect(),
        missing: tally.missing,
        duplicate,
        inconsistent,
        out_of_date: tally.out_of_date,
        oldest: tally.dates.map(|(oldest, _)| iso(oldest)),
        newest: tally.dates.map(|(_, newest)| iso(newest)),
        chunks: staging.chunks(),
    }
}
