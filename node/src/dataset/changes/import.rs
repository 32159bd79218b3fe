//! Reads an operator's change file.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use csv::StringRecord;
use rand_core::CryptoRng;
use rayon::prelude::*;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::lookup::DataSet;

use super::current::{self, Records};
use super::index::{Index, IndexBuilder};
use super::journal::{ChangeEntry, ChangeReport, Journal, MAX_BEFORE};
use super::subject::{Print, Subjects};
use super::{ChangesError, MAX_CHANGE_ROWS, check_families};
use crate::dataset::DataSetDir;
use crate::dataset::build::check_unchanged;
use crate::dataset::config::{ChangeKind, Changes, DataSetConfig};
use crate::dataset::fields::{day_of_ms, iso};
use crate::dataset::progress::{Position, Progress};
use crate::dataset::quality::{Tally, failed};
use crate::dataset::rejects::{Reject, RejectFile};
use crate::dataset::row::{Findings, Refusal, RowParser, StagedRecord};
use crate::dataset::stage::Stage;
use crate::dataset::staging::StagingReader;
use crate::table::{TableOptions, TableReader};

/// Rows that are read and then parsed together.
const BATCH_ROWS: usize = 16_384;

/// A change file.
#[derive(Debug, Clone, Copy)]
pub struct ChangeImport<'a> {
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

/// Takes a change file: it is kept when, and only when, the whole file was read and passes the quality gates. The
/// reject file is written in any case.
///
/// # Errors
/// [`ChangesError`].
pub fn change(
    job: &ChangeImport<'_>,
    rng: &mut impl CryptoRng,
    progress: &dyn Progress,
) -> Result<ChangeReport, ChangesError> {
    let (config, name) = (job.config, job.config.name());
    let described = config.changes().ok_or(ChangesError::NotDescribed)?;
    check_families(config)?;
    let dir = DataSetDir::new(job.data_dir, name);
    let _lock = dir.lock()?.ok_or(ChangesError::Busy)?;
    let label_bytes = config.schema().label_bytes();
    let mut staging = StagingReader::open_file(&dir.staging(), name, label_bytes, job.key)?;
    check_unchanged(config, staging.report()).map_err(|what| ChangesError::ConfigurationChanged { what })?;
    let import = staging.report().import.clone();
    let journal = Journal::open(&dir.changes(), name, label_bytes, job.key, &import)?;
    let subjects = Subjects::new(job.key, name);
    let read = Reading { job, described, subjects: &subjects }.read(progress)?;
    let rejects = dir.change_rejects();
    write_rejects(&rejects, &read.rejects)?;
    if read.rows.is_empty() {
        return Err(ChangesError::NoRows { rejects });
    }
    let mut report = read.report(job, &journal);
    let index = staging_index(&dir, name, &mut staging, &subjects, rng)?;
    let prints: Vec<Print> = read.rows.keys().copied().collect();
    let mut now = current::find(&prints, &journal, &staging, &index, &subjects, job.key)?;
    let entries = entries(read.rows, &mut now, &mut report)?;
    check(job, &report, rejects)?;
    Stage::ChangeRead.reached();
    let mut writer = journal.begin(job.key, rng)?;
    report.id = hex::encode(writer.id());
    entries.iter().try_for_each(|entry| writer.add(entry))?;
    Ok(writer.finish(report)?)
}

/// Makes the index of the staging file, if it has none yet, so that the first change file need not.
///
/// # Errors
/// [`ChangesError`].
pub fn index_staging(
    data_dir: &Path,
    config: &DataSetConfig,
    key: &StorageKey,
    rng: &mut impl CryptoRng,
) -> Result<(), ChangesError> {
    let (name, label_bytes) = (config.name(), config.schema().label_bytes());
    let dir = DataSetDir::new(data_dir, name);
    let _lock = dir.lock()?.ok_or(ChangesError::Busy)?;
    let mut staging = StagingReader::open_file(&dir.staging(), name, label_bytes, key)?;
    staging_index(&dir, name, &mut staging, &Subjects::new(key, name), rng).map(drop)
}

fn staging_index(
    dir: &DataSetDir,
    data_set: &DataSet,
    staging: &mut StagingReader,
    subjects: &Subjects,
    rng: &mut impl CryptoRng,
) -> Result<Index, ChangesError> {
    let path = dir.staging_index();
    let id = *staging.id();
    if let Some(index) = Index::open(&path, &id)? {
        return Ok(index);
    }
    tracing::info!(%data_set, "indexing the staging file for changes");
    let mut builder = IndexBuilder::new(dir.path(), rng);
    loop {
        let place = staging.position()?;
        let Some(chunk) = staging.next_chunk()? else { break };
        builder.chunk(place);
        let records = chunk.records()?;
        let prints: Vec<_> = records.par_iter().filter_map(|record| subjects.print(&record.person)).collect();
        prints.iter().try_for_each(|print| builder.add(print))?;
    }
    builder.write(&path, &id)?;
    Index::open(&path, &id)?.ok_or(ChangesError::Index { path })
}

/// What a row expected and was not so.
const EXISTS: &str = "SUBJECT_EXISTS";
const MISSING: &str = "SUBJECT_MISSING";

/// One subject's last row.
struct Row {
    /// What its first row in the file expects of what was there before.
    first: ChangeKind,
    record: Option<StagedRecord>,
}

/// What a row of this kind finds wrong with what is there.
const fn unexpected(kind: ChangeKind, is_there: bool) -> Option<&'static str> {
    match (kind, is_there) {
        (ChangeKind::Insert, true) => Some(EXISTS),
        (ChangeKind::Change | ChangeKind::Delete, false) => Some(MISSING),
        _ => None,
    }
}

/// What a file says.
struct Read {
    rows: HashMap<Print, Row>,
    superseded: u64,
    unexpected: BTreeMap<String, u64>,
    rejects: Vec<Reject>,
    tally: Tally,
    encoding: &'static str,
    source_bytes: u64,
}

/// What is needed to read one.
struct Reading<'a> {
    job: &'a ChangeImport<'a>,
    described: &'a Changes,
    subjects: &'a Subjects,
}

type Parsed<'a> = Result<(Print, Row, Option<Findings>), Refusal<'a>>;

impl Reading<'_> {
    fn read(&self, progress: &dyn Progress) -> Result<Read, ChangesError> {
        let config = self.job.config;
        let mut columns = config.recipe().column_names();
        columns.push(&self.described.operation);
        let options = TableOptions { encoding: config.encoding(), ragged: true, ..TableOptions::default() };
        let mut reader = TableReader::open(self.job.source, options)?.choose(&columns)?;
        let parser = RowParser::new(config.recipe(), config.schema());
        let mut read = Read {
            rows: HashMap::new(),
            superseded: 0,
            unexpected: BTreeMap::new(),
            rejects: Vec::new(),
            tally: Tally::default(),
            encoding: reader.encoding(),
            source_bytes: reader.size(),
        };
        loop {
            let batch = batch(&mut reader)?;
            if batch.is_empty() {
                return Ok(read);
            }
            let parsed: Vec<_> =
                batch.par_iter().map(|(line, row, word)| self.parse(&parser, *line, row, word)).collect();
            for ((line, _, _), parsed) in batch.iter().zip(parsed) {
                self.take(*line, parsed, &mut read);
            }
            if read.tally.rows > MAX_CHANGE_ROWS as u64 {
                return Err(ChangesError::TooManyRows);
            }
            let (done, total) = reader.progress();
            progress.at(Position { rows: read.tally.rows, done, total });
        }
    }

    fn parse<'a>(&self, parser: &RowParser<'a>, line: u64, row: &StringRecord, word: &str) -> Parsed<'a> {
        let refuse = |rule| Refusal { field: "operation", rule };
        let kind = match (row.is_empty(), self.described.words.get(word)) {
            (true, _) => return Err(Refusal { field: "row", rule: "ROW_LENGTH" }),
            (_, Some(kind)) => *kind,
            (_, None) if word.is_empty() => return Err(refuse("OPERATION_EMPTY")),
            (_, None) => return Err(refuse("OPERATION_UNKNOWN")),
        };
        let missing = Refusal { field: "row", rule: "SUBJECT_EMPTY" };
        if kind == ChangeKind::Delete {
            let print = self.subjects.print(&parser.subject(row)?).ok_or(missing)?;
            return Ok((print, Row { first: kind, record: None }, None));
        }
        let (record, findings) = parser.parse(row, u32::try_from(line).unwrap_or(u32::MAX))?;
        let print = self.subjects.print(&record.person).ok_or(missing)?;
        Ok((print, Row { first: kind, record: Some(record) }, Some(findings)))
    }

    fn take(&self, line: u64, parsed: Parsed<'_>, read: &mut Read) {
        read.tally.rows += 1;
        match parsed {
            Ok((print, row, findings)) => {
                read.tally.accepted += 1;
                if let Some(Findings { missing, data_date }) = findings {
                    read.tally.missing += u64::from(missing);
                    self.judge_date(data_date, &mut read.tally);
                }
                match read.rows.entry(print) {
                    Entry::Vacant(fresh) => drop(fresh.insert_entry(row)),
                    Entry::Occupied(mut known) => {
                        read.superseded += 1;
                        let rule = unexpected(row.first, known.get().record.is_some());
                        rule.into_iter().for_each(|rule| add(&mut read.unexpected, rule));
                        known.get_mut().record = row.record;
                    }
                }
            }
            Err(refusal) => {
                read.tally.missing += u64::from(refusal.is_missing());
                *read.tally.rules.entry(refusal.rule).or_default() += 1;
                read.rejects.push(Reject { line, field: refusal.field.to_owned(), rule: refusal.rule });
            }
        }
    }

    fn judge_date(&self, day: Option<i32>, tally: &mut Tally) {
        let today = day_of_ms(self.job.now_ms);
        let oldest = today - i32::try_from(self.job.config.quality().max_age_days).unwrap_or(i32::MAX);
        if let Some(day) = day {
            tally.saw_date(day);
            tally.out_of_date += u64::from(!(oldest..=today + 1).contains(&day));
        }
    }
}

/// Line, cells of the data set's columns (none of a ragged row), and the word of the operation.
type BatchRow = (u64, StringRecord, String);

fn batch(reader: &mut TableReader) -> Result<Vec<BatchRow>, ChangesError> {
    let mut batch = Vec::new();
    while batch.len() < BATCH_ROWS {
        let Some(row) = reader.next_row()? else { break };
        let mut record = StringRecord::new();
        let word = match row.width().checked_sub(1) {
            Some(last) => {
                (0..last).for_each(|column| record.push_field(row.text(column)));
                row.text(last).trim().to_owned()
            }
            None => String::new(),
        };
        batch.push((row.line(), record, word));
    }
    Ok(batch)
}

impl Read {
    fn report(&self, job: &ChangeImport<'_>, journal: &Journal) -> ChangeReport {
        let tally = &self.tally;
        ChangeReport {
            data_set: job.config.name().to_string(),
            change: journal.last() + 1,
            id: String::new(),
            import: journal.import().to_owned(),
            after: journal.last_id().to_owned(),
            encoding: self.encoding.to_owned(),
            source_bytes: self.source_bytes,
            imported_at_ms: job.now_ms,
            rows: tally.rows,
            accepted: tally.accepted,
            rejected: tally.rows - tally.accepted,
            rejected_by_rule: tally.rules.iter().map(|(rule, n)| ((*rule).to_owned(), *n)).collect(),
            superseded: self.superseded,
            inserted: 0,
            changed: 0,
            deleted: 0,
            unchanged: 0,
            unexpected: self.unexpected.clone(),
            missing: tally.missing,
            out_of_date: tally.out_of_date,
            oldest: tally.dates.map(|(oldest, _)| iso(oldest)),
            newest: tally.dates.map(|(_, newest)| iso(newest)),
            chunks: 0,
        }
    }
}

fn add(counts: &mut BTreeMap<String, u64>, rule: &str) {
    *counts.entry(rule.to_owned()).or_default() += 1;
}

/// What the file does to each subject, counted; subjects that are as they were are left out.
fn entries(
    rows: HashMap<Print, Row>,
    now: &mut Records,
    report: &mut ChangeReport,
) -> Result<Vec<ChangeEntry>, ChangesError> {
    let mut entries = Vec::with_capacity(rows.len());
    for (print, row) in rows {
        let before = now.remove(&print).unwrap_or_default();
        if before.len() > MAX_BEFORE {
            // Those that were left out would go on answering until the epoch ends.
            return Err(ChangesError::TooManyRecords);
        }
        let rule = unexpected(row.first, !before.is_empty());
        rule.into_iter().for_each(|rule| add(&mut report.unexpected, rule));
        let same = |a: &StagedRecord, b: &StagedRecord| a.person == b.person && a.label == b.label;
        let unchanged = match (before.as_slice(), &row.record) {
            ([], None) => true,
            ([one], Some(record)) => same(one, record),
            _ => false,
        };
        let count = match (before.as_slice(), &row.record) {
            _ if unchanged => &mut report.unchanged,
            ([], _) => &mut report.inserted,
            (_, None) => &mut report.deleted,
            (_, Some(_)) => &mut report.changed,
        };
        *count += 1;
        if !unchanged {
            entries.push(ChangeEntry { print, before, after: row.record });
        }
    }
    // The order of the map is another every time; that of the file should not be.
    entries.sort_unstable_by_key(|entry| entry.print);
    Ok(entries)
}

fn check(
    job: &ChangeImport<'_>,
    report: &ChangeReport,
    rejects: std::path::PathBuf,
) -> Result<(), ChangesError> {
    let quality = job.config.quality();
    let gates = [
        ("missing", report.missing, quality.missing_percent),
        ("rejected", report.rejected, quality.rejected_percent),
        ("out_of_date", report.out_of_date, quality.out_of_date_percent),
        ("unexpected", report.unexpected.values().sum(), quality.unexpected_percent),
    ];
    let failures = failed(report.rows, &gates);
    if failures.is_empty() {
        return Ok(());
    }
    Err(ChangesError::QualityGate { failures, rejects, report: Box::new(report.clone()) })
}

fn write_rejects(path: &Path, rejects: &[Reject]) -> Result<(), ChangesError> {
    let mut file = RejectFile::create(path)?;
    rejects.iter().try_for_each(|reject| file.add(reject))?;
    Ok(file.finish()?)
}
