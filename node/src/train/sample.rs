//! The bank's sample and the decoys around it: which positions of the universe a training lists.
//!
//! **Promised**: decoys are drawn from the whole universe without those of the sample, as many for each of its rows as
//! the factor says, and listed among them by ascending position, so that nothing in the list tells which is which;
//! which rows are held out follows from a secret key and the position; an error names the file, the line, the column
//! and the rule, never a value. **Not promised**: that a provider that knows some of the bank's customers does not find
//! them in the list; it finds as many strangers beside them as the factor says.

use std::path::{Path, PathBuf};

use windvane_protocols::identity::Phone;
use windvane_protocols::limits::MAX_TRAINING_ROWS;
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::binning::{Binned, BinningError};
use windvane_protocols::train::boosting::Row;
use windvane_protocols::train::draw::{HeldOut, decoys};
use windvane_protocols::train::tree::ABSENT;
use windvane_protocols::transcript::{Reader, Record, Transcript, TranscriptError};

use super::features::Features;
use crate::dataset::{Position, Progress};
use crate::table::{TableError, TableOptions, TableReader};

/// Lines between two reports of progress.
const REPORT_ROWS: u64 = 1 << 16;

/// A table of numbers and labels, CSV or Parquet.
#[derive(Debug, Clone, Copy)]
pub struct SampleFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// The column of telephone numbers.
    pub number: &'a str,
    /// The column of labels, 0 or 1.
    pub label: &'a str,
}

/// Why a sample cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
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
    /// Rows of one label only, or none at all.
    #[error("{path} has {positive} rows with label 1 and {negative} with label 0; a training needs both")]
    Labels {
        /// The file.
        path: PathBuf,
        /// Rows with label 1.
        positive: usize,
        /// Rows with label 0.
        negative: usize,
    },
    /// Rows of one label only are left to train on.
    #[error(
        "of the rows that are not held out {positive} have label 1 and {negative} label 0, and a training needs both; \
         hold out a smaller share with held_out in the plan, or none with held_out = 0"
    )]
    Trained {
        /// Rows with label 1.
        positive: usize,
        /// Rows with label 0.
        negative: usize,
    },
    /// Rows of one label only are held out.
    #[error(
        "of the rows that are held out {positive} have label 1 and {negative} label 0, and a model is judged by both; \
         hold out a larger share with held_out in the plan, or none with held_out = 0"
    )]
    HeldOut {
        /// Rows with label 1.
        positive: usize,
        /// Rows with label 0.
        negative: usize,
    },
    /// Sample and decoys are more rows than a training takes.
    #[error(
        "the sample has {sample} rows, {listed} with {factor} decoys for each, and a training lists at most \
         {MAX_TRAINING_ROWS}; take fewer rows"
    )]
    Rows {
        /// Rows of the sample.
        sample: usize,
        /// Rows with decoys.
        listed: u64,
        /// Decoys for each row.
        factor: u64,
    },
    /// The universe has too few other numbers.
    #[error(
        "{wanted} decoys are to be drawn, and the universe has {others} numbers outside of the sample; it needs \
         more segments"
    )]
    Universe {
        /// Decoys that are needed.
        wanted: u64,
        /// Numbers that can be.
        others: u64,
    },
}

impl SampleError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Table(error) => error.code(),
            Self::Cell { .. } => "TRAIN_CELL",
            Self::Labels { .. } | Self::Trained { .. } | Self::HeldOut { .. } => "TRAIN_LABELS",
            Self::Rows { .. } => "TRAIN_ROWS",
            Self::Universe { .. } => "TRAIN_UNIVERSE_SMALL",
        }
    }
}

/// Positions with labels, ascending.
#[derive(Clone, PartialEq, Eq)]
pub struct Sample(Vec<(u64, bool)>);

impl Sample {
    /// Reads numbers and labels.
    ///
    /// # Errors
    /// [`SampleError`].
    pub fn read(
        file: &SampleFile<'_>,
        universe: &Universe,
        progress: &dyn Progress,
    ) -> Result<Self, SampleError> {
        let mut reader =
            TableReader::open(file.path, TableOptions::default())?.choose(&[file.number, file.label])?;
        let mut rows = Vec::new();
        while reader.advance()? {
            let row = reader.row();
            let refuse = |column: &str, rule| cell(file.path, row.line(), column, rule);
            let phone = Phone::parse(row.text(0)).map_err(|error| refuse(file.number, error.rule()))?;
            let position =
                universe.position(&phone).ok_or_else(|| refuse(file.number, "OUTSIDE_UNIVERSE"))?;
            let label = match row.text(1).trim() {
                "0" => false,
                "1" => true,
                _ => return Err(refuse(file.label, "LABEL_0_OR_1")),
            };
            rows.push((position, row.line(), label));
            let count = rows.len() as u64;
            if count.is_multiple_of(REPORT_ROWS) {
                let (done, total) = reader.progress();
                progress.at(Position { rows: count, done, total });
            }
        }
        Self::sorted(rows, file)
    }

    fn sorted(mut rows: Vec<(u64, u64, bool)>, file: &SampleFile<'_>) -> Result<Self, SampleError> {
        rows.sort_unstable();
        if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(cell(file.path, pair[1].1, file.number, "REPEATED_NUMBER"));
        }
        let (positive, negative) = by_label(rows.iter().map(|row| row.2));
        if positive == 0 || negative == 0 {
            return Err(SampleError::Labels { path: file.path.to_owned(), positive, negative });
        }
        Ok(Self(rows.into_iter().map(|(position, _, label)| (position, label)).collect()))
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sample({} rows)", self.rows())
    }
}

fn cell(path: &Path, line: u64, column: &str, rule: &'static str) -> SampleError {
    SampleError::Cell { path: path.to_owned(), line, column: column.to_owned(), rule }
}

/// How many have label 1, and how many label 0.
fn by_label(labels: impl Iterator<Item = bool>) -> (usize, usize) {
    labels.fold(
        (0, 0),
        |(positive, negative), label| {
            if label { (positive + 1, negative) } else { (positive, negative + 1) }
        },
    )
}

/// What the bank alone knows of a listed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: a decoy.
    Decoy,
    /// A row to train on, with its label.
    Training(bool),
    /// A row to judge the model by, with its label. For the training itself it is as a decoy.
    HeldOut(bool),
}

/// Listed positions, ascending, and what each of them is.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    positions: Vec<u64>,
    kinds: Vec<Kind>,
}

impl Listed {
    /// Lists a sample with `factor` decoys for each of its rows, of a universe with so many `rows`; `held_out` hundredths
    /// of the sample, about, are held out.
    ///
    /// # Errors
    /// [`SampleError::Rows`], [`SampleError::Universe`], [`SampleError::Trained`], [`SampleError::HeldOut`].
    pub fn draw(
        sample: &Sample,
        rows: u64,
        factor: u64,
        held_out: u64,
        seed: &[u8; 32],
    ) -> Result<Self, SampleError> {
        let known = sample.rows() as u64;
        let wanted = known.saturating_mul(factor);
        let listed = known.saturating_add(wanted);
        if listed > MAX_TRAINING_ROWS as u64 {
            return Err(SampleError::Rows { sample: sample.rows(), listed, factor });
        }
        let others = rows - known;
        if wanted > others {
            return Err(SampleError::Universe { wanted, others });
        }
        let own: Vec<_> = sample.0.iter().map(|(at, _)| *at).collect();
        let drawn = decoys(seed, &own, rows, wanted).into_iter();
        let mut all: Vec<_> = drawn.map(|at| (at, Kind::Decoy)).collect();
        let held_out = HeldOut::new(seed, held_out);
        all.extend(sample.0.iter().map(|&(at, label)| {
            (at, if held_out.has(at) { Kind::HeldOut(label) } else { Kind::Training(label) })
        }));
        all.sort_unstable_by_key(|(position, _)| *position);
        let (positions, kinds) = all.into_iter().unzip();
        let listed = Self { positions, kinds };
        let (positive, negative) = by_label(listed.labels().into_iter().flatten());
        if positive == 0 || negative == 0 {
            return Err(SampleError::Trained { positive, negative });
        }
        let (positive, negative) = by_label(listed.judged().map(|(_, label)| label));
        if positive == 0 || negative == 0 {
            return Err(SampleError::HeldOut { positive, negative });
        }
        Ok(listed)
    }

    /// The bank's sample, decoys taken away.
    pub fn sample(&self) -> Sample {
        let known = self.positions.iter().zip(&self.kinds).filter_map(|(at, kind)| match kind {
            Kind::Training(label) | Kind::HeldOut(label) => Some((*at, *label)),
            Kind::Decoy => None,
        });
        Sample(known.collect())
    }

    /// How many rows are listed.
    pub fn rows(&self) -> usize {
        self.positions.len()
    }

    /// The listed positions, ascending.
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// What each row is.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// How many rows are trained on.
    pub fn real(&self) -> usize {
        self.kinds.iter().filter(|kind| matches!(kind, Kind::Training(_))).count()
    }

    /// How many rows are held out.
    pub fn held_out(&self) -> usize {
        self.kinds.iter().filter(|kind| matches!(kind, Kind::HeldOut(_))).count()
    }

    /// The rows by which a model is judged, with their labels: those that are held out, or that are trained on where none
    /// are.
    pub fn judged(&self) -> impl Iterator<Item = (usize, bool)> {
        let any = self.held_out() > 0;
        self.kinds.iter().enumerate().filter_map(move |(row, kind)| match kind {
            Kind::HeldOut(label) => Some((row, *label)),
            Kind::Training(label) if !any => Some((row, *label)),
            _ => None,
        })
    }

    /// The labels of rows to train on; nothing of any other row.
    pub fn labels(&self) -> Vec<Option<bool>> {
        let label = |kind: &Kind| match kind {
            Kind::Training(label) => Some(*label),
            Kind::Decoy | Kind::HeldOut(_) => None,
        };
        self.kinds.iter().map(label).collect()
    }

    /// The rows before the first tree.
    pub fn begin(&self, base: i64) -> Vec<Row> {
        self.labels().into_iter().map(|label| Row::new(label, base)).collect()
    }

    /// The bank's own features of the listed rows: of decoys it holds none, and customers that its table does not have
    /// count as rows whose features are all missing.
    ///
    /// # Errors
    /// [`BinningError`].
    pub fn own(&self, features: &Features) -> Result<Binned, BinningError> {
        let all = features.listed(&self.positions, true)?;
        let column = |feature: usize| {
            let bins = all.column(feature).iter().zip(&self.kinds);
            bins.map(|(bin, kind)| if *kind == Kind::Decoy { ABSENT } else { *bin }).collect()
        };
        Binned::new((0..all.bins().len()).map(column).collect(), all.bins().to_vec())
    }
}

impl std::fmt::Debug for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listed({} rows)", self.rows())
    }
}

/// Positions as eight big-endian bytes, kinds as one: 0 a decoy, 1 and 2 to train on, 3 and 4 held out, by label.
impl Record for Listed {
    // What v1 names was drawn by another procedure, which nobody has any more to hold a list against.
    const DOMAIN: &'static str = "windvane/train-listed/v2";

    fn write(&self, t: Transcript) -> Transcript {
        let positions: Vec<_> = self.positions.iter().flat_map(|at| at.to_be_bytes()).collect();
        let kind = |kind: &Kind| match kind {
            Kind::Decoy => 0,
            Kind::Training(label) => 1 + u8::from(*label),
            Kind::HeldOut(label) => 3 + u8::from(*label),
        };
        t.bytes("positions", &positions).bytes("kinds", &self.kinds.iter().map(kind).collect::<Vec<_>>())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "positions", expected: "ascending, each of a known kind" };
        let (positions, []) = r.bytes("positions")?.as_chunks() else { return Err(form) };
        let positions: Vec<_> = positions.iter().map(|at| u64::from_be_bytes(*at)).collect();
        let kind = |kind: &u8| match kind {
            0 => Some(Kind::Decoy),
            1 | 2 => Some(Kind::Training(*kind == 2)),
            3 | 4 => Some(Kind::HeldOut(*kind == 4)),
            _ => None,
        };
        let kinds: Option<Vec<_>> = r.bytes("kinds")?.iter().map(kind).collect();
        let kinds = kinds.filter(|kinds| kinds.len() == positions.len()).ok_or(form.clone())?;
        if positions.is_sorted_by(|a, b| a < b) { Ok(Self { positions, kinds }) } else { Err(form) }
    }
}

#[cfg(test)]
mod tests;
