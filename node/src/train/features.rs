//! A provider's table as bins by universe position.
//!
//! **Promised**: edges are fitted on the provider's whole file, or come from a signed schema, never from what a bank
//! lists; an error names the file, the line, the column and the rule, never a value. **Not promised**: that a table
//! larger than memory can be used: while edges are fitted, eight bytes a cell are held, and one byte after that.

use std::path::{Path, PathBuf};

use windvane_protocols::identity::Phone;
use windvane_protocols::limits::{
    MAX_NODE_CELLS, MAX_TRAIN_FEATURES, MAX_TRAIN_NAME_BYTES, MAX_TRAIN_NAMES_BYTES,
};
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::binning::{Binned, BinningError, Edges, MISSING};
use windvane_protocols::train::schema::{SchemaFeature, TrainSchema};
use windvane_protocols::train::tree::{ABSENT, Tree};

use crate::dataset::{Position, Progress};
use crate::table::{TableError, TableOptions, TableReader};

/// Numbers of a table, at most: while edges are fitted they take 1 GiB.
const MAX_CELLS: usize = 1 << 27;

/// Bins of a feature's values.
const VALUE_BINS: usize = 32;

/// Lines between two reports of progress.
const REPORT_ROWS: u64 = 1 << 16;

/// A table of numbers and features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureFile {
    /// The file, CSV or Parquet.
    pub path: PathBuf,
    /// The column of telephone numbers.
    pub number: String,
    /// The columns of features; empty for every other one.
    pub features: Vec<String>,
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No feature, or too many.
    #[error(
        "{path} has {found} features, expected 1 to {MAX_TRAIN_FEATURES}; name them in the configuration"
    )]
    Features {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// More bins than the sums of one node may have.
    #[error("the features of {path} have {found} bins in all, at most {MAX_NODE_CELLS}; name fewer features")]
    Bins {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// A feature's name, or all of them together, are too long to be told.
    #[error(
        "column {column} of {path}: names have up to {MAX_TRAIN_NAME_BYTES} bytes, {MAX_TRAIN_NAMES_BYTES} in all"
    )]
    Name {
        /// The file.
        path: PathBuf,
        /// The column.
        column: usize,
    },
    /// A cell breaks a rule.
    #[error("{path}, line {line}, column {column}: {rule}")]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line; the header is line 1.
        line: u64,
        /// The column.
        column: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// More numbers than memory is planned for.
    #[error("{path} has more than {MAX_CELLS} numbers; name fewer features, or give fewer rows")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// No row.
    #[error("{path} has no row below its header")]
    NoRows {
        /// The file.
        path: PathBuf,
    },
}

impl FeatureError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Table(error) => error.code(),
            Self::Features { .. } => "TRAIN_FEATURES",
            Self::Bins { .. } => "TRAIN_BINS",
            Self::Name { .. } => "TRAIN_FEATURE_NAME",
            Self::Cell { .. } => "TRAIN_CELL",
            Self::TooLarge { .. } => "TRAIN_TABLE_TOO_LARGE",
            Self::NoRows { .. } => "NO_ROWS",
        }
    }
}

/// A table's rows by bins, ascending by universe position.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    features: Vec<SchemaFeature>,
    bins: Vec<u8>,
    positions: Vec<u64>,
    columns: Vec<Vec<u8>>,
    digest: [u8; 32],
}

/// A table as it was read.
struct Values {
    names: Vec<String>,
    /// Universe position, line, and the row's place in every column.
    rows: Vec<(u64, u64, u32)>,
    /// By feature; not a number where a cell is empty.
    columns: Vec<Vec<f64>>,
    digest: [u8; 32],
}

impl Features {
    /// Reads a table and fits the edges of its bins on all of it.
    ///
    /// # Errors
    /// [`FeatureError`].
    pub fn fit(
        file: &FeatureFile,
        universe: &Universe,
        progress: &dyn Progress,
    ) -> Result<Self, FeatureError> {
        let mut values = Values::read(file, &file.features, Some(universe), progress)?;
        let features = values.fit();
        Ok(values.binned(features))
    }

    /// Reads a table whose edges are agreed on.
    ///
    /// # Errors
    /// [`FeatureError`]; a column of the schema that the table lacks is [`TableError::ColumnMissing`].
    pub fn with_schema(
        file: &FeatureFile,
        universe: &Universe,
        schema: &TrainSchema,
        progress: &dyn Progress,
    ) -> Result<Self, FeatureError> {
        let names: Vec<_> = schema.features().iter().map(|feature| feature.name.clone()).collect();
        let values = Values::read(file, &names, Some(universe), progress)?;
        Ok(values.binned(schema.features().to_vec()))
    }

    /// The features' names, by their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| feature.name.as_str())
    }

    /// How many bins each feature has.
    pub fn bins(&self) -> &[u8] {
        &self.bins
    }

    /// Whether sums by bin of all features fit an answer: a provider's must.
    ///
    /// # Errors
    /// [`FeatureError::Bins`].
    pub fn check_bins(self, file: &FeatureFile) -> Result<Self, FeatureError> {
        match self.bins.iter().map(|bins| usize::from(*bins)).sum() {
            found if found > MAX_NODE_CELLS => Err(FeatureError::Bins { path: file.path.clone(), found }),
            _ => Ok(self),
        }
    }

    /// Where the bins of a feature end.
    ///
    /// # Panics
    /// Where there is no such feature.
    pub fn edges(&self, feature: usize) -> &[f64] {
        self.features[feature].edges.as_slice()
    }

    /// SHA-256 of the file.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The positions that the table has, ascending.
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// The bins of listed positions, which ascend. One that the table does not have counts, for a provider that is
    /// `alone` in its unit, as a row whose features are all missing; a carrier does not hold it.
    ///
    /// # Errors
    /// [`BinningError`].
    pub fn listed(&self, positions: &[u64], alone: bool) -> Result<Binned, BinningError> {
        let without = if alone { MISSING } else { ABSENT };
        let places = self.places(positions);
        let column = |column: &Vec<u8>| {
            places.iter().map(|place| place.map_or(without, |place| column[place])).collect()
        };
        Binned::new(self.columns.iter().map(column).collect(), self.bins.clone())
    }

    /// Where listed positions, which ascend, stand among the table's, if they do.
    pub(super) fn places(&self, positions: &[u64]) -> Vec<Option<usize>> {
        let mut own = self.positions.iter().enumerate().peekable();
        let place = |position| {
            while own.next_if(|(_, held)| *held < position).is_some() {}
            own.next_if(|(_, held)| *held == position).map(|(place, _)| place)
        };
        positions.iter().map(place).collect()
    }

    /// What trees add to the row of every position that the table has, in their order.
    pub fn apply(&self, trees: &[Tree]) -> Vec<i64> {
        let row = |row: usize| {
            let bin = |feature: u16| self.columns.get(usize::from(feature)).map(|column| column[row]);
            trees.iter().map(|tree| i64::from(tree.apply(bin))).sum()
        };
        (0..self.positions.len()).map(row).collect()
    }

    /// What trees add to a position that the table does not have: for a provider that is `alone` in its unit, to a row
    /// whose features are all missing, and nothing for a carrier.
    pub fn apply_elsewhere(&self, trees: &[Tree], alone: bool) -> i64 {
        let missing = |feature: u16| (usize::from(feature) < self.columns.len()).then_some(MISSING);
        if alone { trees.iter().map(|tree| i64::from(tree.apply(missing))).sum() } else { 0 }
    }
}

/// Fits the edges of a schema on a table, whose numbers need be of no universe.
///
/// # Errors
/// [`FeatureError`].
pub fn fit_schema(file: &FeatureFile, progress: &dyn Progress) -> Result<Vec<SchemaFeature>, FeatureError> {
    Ok(Values::read(file, &file.features, None, progress)?.fit())
}

impl Values {
    fn read(
        file: &FeatureFile,
        features: &[String],
        universe: Option<&Universe>,
        progress: &dyn Progress,
    ) -> Result<Self, FeatureError> {
        let reader = TableReader::open(&file.path, TableOptions { digest: true, ..TableOptions::default() })?;
        let names = names(&reader, file, features)?;
        let chosen: Vec<_> = std::iter::once(&file.number).chain(&names).collect();
        let mut reader = reader.choose(&chosen)?;
        let mut values =
            Self { rows: Vec::new(), columns: vec![Vec::new(); names.len()], names, digest: [0; 32] };
        while reader.advance()? {
            values.take(&reader, file, universe)?;
            let rows = values.rows.len() as u64;
            if rows.is_multiple_of(REPORT_ROWS) {
                let (done, total) = reader.progress();
                progress.at(Position { rows, done, total });
            }
        }
        values.digest = reader.digest()?.expect("it was asked for, and the last row was read");
        values.sort(file)?;
        Ok(values)
    }

    fn take(
        &mut self,
        reader: &TableReader,
        file: &FeatureFile,
        universe: Option<&Universe>,
    ) -> Result<(), FeatureError> {
        let row = reader.row();
        let refuse = |column: &str, rule| FeatureError::Cell {
            path: file.path.clone(),
            line: row.line(),
            column: column.to_owned(),
            rule,
        };
        if (self.rows.len() + 1) * self.columns.len() > MAX_CELLS {
            return Err(FeatureError::TooLarge { path: file.path.clone() });
        }
        let place = self.rows.len() as u32;
        let position = match universe {
            // Of a schema only the values count.
            None => u64::from(place),
            Some(universe) => {
                let phone = Phone::parse(row.text(0)).map_err(|error| refuse(&file.number, error.rule()))?;
                universe.position(&phone).ok_or_else(|| refuse(&file.number, "OUTSIDE_UNIVERSE"))?
            }
        };
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value = number(row.text(index + 1));
            column.push(value.ok_or_else(|| refuse(&self.names[index], "NOT_A_NUMBER"))?);
        }
        self.rows.push((position, row.line(), place));
        Ok(())
    }

    /// Sorts by position; a number that stands twice is an error at the later line.
    fn sort(&mut self, file: &FeatureFile) -> Result<(), FeatureError> {
        if self.rows.is_empty() {
            return Err(FeatureError::NoRows { path: file.path.clone() });
        }
        self.rows.sort_unstable();
        match self.rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            None => Ok(()),
            Some(pair) => Err(FeatureError::Cell {
                path: file.path.clone(),
                line: pair[1].1,
                column: file.number.clone(),
                rule: "REPEATED_NUMBER",
            }),
        }
    }

    fn fit(&mut self) -> Vec<SchemaFeature> {
        let value = |value: &f64| (!value.is_nan()).then_some(*value);
        let edges = |column: &Vec<f64>| Edges::quantiles(column.iter().map(value), VALUE_BINS);
        let feature =
            |(name, column): (&String, _)| SchemaFeature { name: name.clone(), edges: edges(column) };
        self.names.iter().zip(&self.columns).map(feature).collect()
    }

    fn binned(self, features: Vec<SchemaFeature>) -> Features {
        let column = |(feature, values): (&SchemaFeature, Vec<f64>)| {
            let bin = |(_, _, place): &(u64, u64, u32)| feature.edges.bin(Some(values[*place as usize]));
            self.rows.iter().map(bin).collect()
        };
        let columns = features.iter().zip(self.columns).map(column).collect();
        Features {
            bins: features.iter().map(|feature| feature.edges.bins()).collect(),
            positions: self.rows.iter().map(|row| row.0).collect(),
            digest: self.digest,
            features,
            columns,
        }
    }
}

/// The chosen features, or all columns but that of numbers.
fn names(reader: &TableReader, file: &FeatureFile, features: &[String]) -> Result<Vec<String>, FeatureError> {
    let names: Vec<_> = if features.is_empty() {
        reader.header().iter().filter(|name| **name != file.number).cloned().collect()
    } else {
        features.to_vec()
    };
    if !(1..=MAX_TRAIN_FEATURES).contains(&names.len()) {
        return Err(FeatureError::Features { path: file.path.clone(), found: names.len() });
    }
    let mut total = 0;
    let long = |name: &String| {
        total += name.len();
        let plain = (1..=MAX_TRAIN_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
        !plain || total > MAX_TRAIN_NAMES_BYTES
    };
    match names.iter().position(long) {
        Some(column) => Err(FeatureError::Name { path: file.path.clone(), column }),
        None => Ok(names),
    }
}

/// A cell's number; not a number where it is empty.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.is_empty() {
        return Some(f64::NAN);
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Where a table of a configuration is.
impl FeatureFile {
    /// A file with its columns.
    pub fn new(path: &Path, number: &str, features: &[String]) -> Self {
        Self { path: path.to_owned(), number: number.to_owned(), features: features.to_vec() }
    }
}

#[cfg(test)]
mod tests;
