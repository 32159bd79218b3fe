//! How good a file is, and how good it must be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::ConfigError;
use super::sort::Sorted;
use crate::spill::SpillError;

/// Limits in percent of all data rows, beyond which an import is refused as a whole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quality {
    /// Rows with an empty cell that the configuration gives no meaning.
    pub missing_percent: f64,
    /// Rows that repeat an earlier row's identity and label.
    pub duplicate_percent: f64,
    /// Rows of a subject (phone, else document) that has differing records.
    pub inconsistent_percent: f64,
    /// Rows in the reject file.
    pub rejected_percent: f64,
    /// Rows whose data date is older than `max_age_days`, or more than a day in the future.
    pub out_of_date_percent: f64,
    /// Rows of a change file that insert a subject which is there, or change or delete one which is not: beyond
    /// it, a day's file is missing or came twice.
    pub unexpected_percent: f64,
    /// Days that a data date may lie before the import.
    pub max_age_days: u32,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            missing_percent: 1.0,
            duplicate_percent: 1.0,
            inconsistent_percent: 0.1,
            rejected_percent: 1.0,
            out_of_date_percent: 5.0,
            unexpected_percent: 1.0,
            max_age_days: 35,
        }
    }
}

impl Quality {
    /// Limits that no file exceeds.
    pub const fn anything() -> Self {
        Self {
            missing_percent: 100.0,
            duplicate_percent: 100.0,
            inconsistent_percent: 100.0,
            rejected_percent: 100.0,
            out_of_date_percent: 100.0,
            unexpected_percent: 100.0,
            max_age_days: 35,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("quality.missing_percent", self.missing_percent),
            ("quality.duplicate_percent", self.duplicate_percent),
            ("quality.inconsistent_percent", self.inconsistent_percent),
            ("quality.rejected_percent", self.rejected_percent),
            ("quality.out_of_date_percent", self.out_of_date_percent),
            ("quality.unexpected_percent", self.unexpected_percent),
        ];
        match limits.into_iter().find(|(_, limit)| !(0.0..=100.0).contains(limit)) {
            Some((field, _)) => Err(ConfigError::field(field, "is 0 to 100")),
            None => Ok(()),
        }
    }

    /// The gates that a file fails.
    pub(super) fn failures(&self, report: &ImportReport) -> Vec<GateFailure> {
        let gates = [
            ("missing", report.missing, self.missing_percent),
            ("duplicate", report.duplicate, self.duplicate_percent),
            ("inconsistent", report.inconsistent, self.inconsistent_percent),
            ("rejected", report.rejected, self.rejected_percent),
            ("out_of_date", report.out_of_date, self.out_of_date_percent),
        ];
        failed(report.rows, &gates)
    }
}

/// The gates, each with a count and its limit in percent of all rows, that a file fails.
pub(super) fn failed(rows: u64, gates: &[(&'static str, u64, f64)]) -> Vec<GateFailure> {
    let share = |count: u64| count as f64 * 100.0 / rows.max(1) as f64;
    gates
        .iter()
        .filter(|(_, count, limit)| share(*count) > *limit)
        .map(|&(gate, rows, limit)| GateFailure { gate, rows, percent: share(rows), limit })
        .collect()
}

/// A quality gate that a file fails.
#[derive(Debug, Clone, PartialEq)]
pub struct GateFailure {
    /// `missing`, `duplicate`, `inconsistent`, `rejected`, `out_of_date` or `unexpected`.
    pub gate: &'static str,
    /// Rows found.
    pub rows: u64,
    /// Their share in percent.
    pub percent: f64,
    /// The limit in percent.
    pub limit: f64,
}

impl std::fmt::Display for GateFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { gate, rows, percent, limit } = self;
        write!(f, "{gate}: {rows} rows are {percent:.3} %, limit {limit} %")
    }
}

/// What an import found. It holds counts only, no identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportReport {
    /// The data set.
    pub data_set: String,
    /// The import's id: 32 hexadecimal digits.
    pub import: String,
    /// SHA-256 of the schema's text by which labels are packed, hexadecimal.
    pub schema_sha256: String,
    /// The identity rules that were applied.
    pub identity_version: String,
    /// Families whose fields every record has, by number.
    pub families: Vec<u8>,
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
    /// Rows with an empty cell that should not be empty.
    pub missing: u64,
    /// Rows that repeat an earlier row.
    pub duplicate: u64,
    /// Rows of subjects with differing records.
    pub inconsistent: u64,
    /// Rows whose data date is too old or in the future.
    pub out_of_date: u64,
    /// The oldest data date, ISO 8601.
    pub oldest: Option<String>,
    /// The newest data date, ISO 8601.
    pub newest: Option<String>,
    /// Sealed chunks of the staging file.
    pub chunks: u64,
}

impl ImportReport {
    /// The gates of `quality` that the file fails.
    pub fn failures(&self, quality: &Quality) -> Vec<GateFailure> {
        quality.failures(self)
    }
}

/// Counts of one batch of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) accepted: u64,
    pub(super) missing: u64,
    pub(super) out_of_date: u64,
    pub(super) rules: BTreeMap<&'static str, u64>,
    /// Oldest and newest data date, in days since 2000-01-01.
    pub(super) dates: Option<(i32, i32)>,
}

impl Tally {
    pub(super) fn saw_date(&mut self, day: i32) {
        let (oldest, newest) = self.dates.unwrap_or((day, day));
        self.dates = Some((oldest.min(day), newest.max(day)));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.accepted += other.accepted;
        self.missing += other.missing;
        self.out_of_date += other.out_of_date;
        for (rule, count) in &other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
        if let Some((oldest, newest)) = other.dates {
            self.saw_date(oldest);
            self.saw_date(newest);
        }
    }
}

/// A row's subject and its whole record: eight bytes of each as hashes under a key that lives as long as the import.
pub(super) type Print = [u8; 16];

/// Rows that repeat an earlier one, and rows of subjects with differing records; of all rows' [`Print`]s.
pub(super) fn repetitions(prints: &Sorted) -> Result<(u64, u64), SpillError> {
    let mut prints = prints.records()?;
    let (mut duplicate, mut inconsistent) = (0, 0);
    // Of the subject at hand: its last record, its rows, its differing records.
    let mut last = Print::default();
    let (mut rows, mut records) = (0_u64, 0_u64);
    loop {
        let next = prints.next()?;
        if next.is_none_or(|print| print[..8] != last[..8]) {
            duplicate += rows - records;
            inconsistent += if records > 1 { rows } else { 0 };
            (rows, records) = (0, 0);
        }
        let Some(print) = next else { return Ok((duplicate, inconsistent)) };
        records += u64::from(rows == 0 || *print != last);
        rows += 1;
        last.copy_from_slice(print);
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::dataset::sort::Sorter;

    #[test]
    fn duplicates_and_inconsistent_subjects_are_told_apart() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut sorter = Sorter::new(size_of::<Print>(), &std::env::temp_dir(), &mut rng);
        for (subject, record) in
            [(1_u64, 7_u64), (2, 7), (1, 7), (3, 8), (3, 9), (3, 9), (4, 1), (0, 0), (0, 0)]
        {
            sorter.push(&[subject.to_be_bytes(), record.to_be_bytes()].concat()).unwrap();
        }
        assert_eq!(repetitions(&sorter.finish().unwrap()).unwrap(), (3, 3));
    }

    #[test]
    fn tallies_add_up_and_keep_the_extremes_of_dates() {
        let day = |day| Tally { rows: 1, dates: Some((day, day)), ..Tally::default() };
        let mut sum = Tally::default();
        [day(5), day(-3), Tally::default(), day(4)].iter().for_each(|tally| sum.add(tally));
        assert_eq!((sum.rows, sum.dates), (3, Some((-3, 5))));
    }
}
