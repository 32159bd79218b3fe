//! What a batch came to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::BatchOptions;
use super::input::Input;
use super::lines::FileEncoding;
use super::output::ResultRow;

/// Counts over all rows of the output. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchSummary {
    /// Rows of the output.
    pub rows: u64,
    /// Rows by verdict.
    pub results: BTreeMap<String, u64>,
    /// Rows by colour.
    pub colours: BTreeMap<String, u64>,
    /// Rows without a verdict, by error code.
    pub errors: BTreeMap<String, u64>,
    /// Rows that an interrupted run had answered already.
    pub resumed_rows: u64,
    /// Wall time of this run.
    pub seconds: f64,
    /// Rows that this run answered, a second.
    pub rows_per_s: f64,
    /// SHA-256 of the input, hexadecimal.
    pub input_sha256: String,
    /// The input's encoding.
    pub input_encoding: FileEncoding,
    /// Columns of the input that were not used.
    pub ignored_columns: Vec<String>,
    /// The file of results.
    pub output: PathBuf,
}

impl BatchSummary {
    pub(super) fn of(input: &Input, options: &BatchOptions, resumed_rows: u64) -> Self {
        Self {
            rows: 0,
            results: BTreeMap::new(),
            colours: BTreeMap::new(),
            errors: BTreeMap::new(),
            resumed_rows,
            seconds: 0.0,
            rows_per_s: 0.0,
            input_sha256: hex::encode(input.digest()),
            input_encoding: input.encoding(),
            ignored_columns: input.columns().ignored.clone(),
            output: options.output.clone(),
        }
    }

    pub(super) fn count(&mut self, row: &ResultRow) {
        self.rows += 1;
        let counted = [
            (&mut self.results, row.result()),
            (&mut self.colours, row.colour()),
            (&mut self.errors, row.error()),
        ];
        for (counts, code) in counted {
            if !code.is_empty() {
                *counts.entry(code.to_owned()).or_default() += 1;
            }
        }
    }

    pub(super) fn finished(self, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        let rows_per_s = (self.rows - self.resumed_rows) as f64 / seconds.max(f64::EPSILON);
        Self { seconds, rows_per_s, ..self }
    }
}

impl fmt::Display for BatchSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rows in {:.1} s ({:.0} a second)", self.rows, self.seconds, self.rows_per_s)?;
        if self.resumed_rows > 0 {
            writeln!(f, "resumed     {} rows were answered before", self.resumed_rows)?;
        }
        for (title, counts) in
            [("results", &self.results), ("colours", &self.colours), ("errors", &self.errors)]
        {
            if !counts.is_empty() {
                writeln!(f, "{title:<11} {}", listed(counts))?;
            }
        }
        if !self.ignored_columns.is_empty() {
            writeln!(f, "ignored     columns {}", self.ignored_columns.join(", "))?;
        }
        write!(f, "output      {}", self.output.display())
    }
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(code, count)| format!("{code} {count}")).collect::<Vec<_>>().join(", ")
}
