//! Features to bins: bin 0 for missing values, then up to 32 bins by quantiles, ascending.

use super::tree::ABSENT;
use crate::limits::{MAX_BINS, MAX_TRAIN_FEATURES, MAX_TRAIN_ROWS};
use crate::transcript::{Reader, Record, Transcript, TranscriptError};

/// The bin of a missing value.
pub const MISSING: u8 = 0;

/// Edges between the bins of values.
const MAX_EDGES: usize = MAX_BINS - 2;

/// Where the bins of a feature end: a value belongs to the first bin whose edge is not below it, and to the last bin
/// where all edges are. Ascending, finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Edges(Vec<f64>);

/// A unit's rows by bins, feature after feature; which rows they are is settled elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binned {
    rows: usize,
    columns: Vec<Vec<u8>>,
    bins: Vec<u8>,
}

/// Why edges or binned rows are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BinningError {
    /// Too many edges, or ones that do not ascend or are not finite.
    #[error("a feature has at most {MAX_EDGES} edges, ascending and finite")]
    Edges,
    /// No feature, too many, or not as many numbers of bins.
    #[error("a unit has 1 to {MAX_TRAIN_FEATURES} features, each with its bins; found {columns} and {bins}")]
    Features {
        /// Features.
        columns: usize,
        /// Numbers of bins.
        bins: usize,
    },
    /// Too many rows, or not as many as the first feature has.
    #[error("feature {feature} has {found} rows; the first has as many, at most {MAX_TRAIN_ROWS}")]
    Rows {
        /// The feature.
        feature: usize,
        /// Its rows.
        found: usize,
    },
    /// A bin that the feature does not have, a feature with no bins or too many, or a row that one feature has and
    /// another has not.
    #[error("row {row} of feature {feature} has a bin that is not there, or is there in other features only")]
    Bin {
        /// The feature.
        feature: usize,
        /// The row; 0 where the number of bins is wrong.
        row: usize,
    },
}

impl Edges {
    /// Edges that are already known, for example from a schema that several carriers signed.
    ///
    /// # Errors
    /// [`BinningError::Edges`].
    pub fn new(edges: Vec<f64>) -> Result<Self, BinningError> {
        let good = edges.len() <= MAX_EDGES && edges.iter().all(|edge| edge.is_finite());
        if !good || !edges.is_sorted_by(|a, b| a < b) {
            return Err(BinningError::Edges);
        }
        // Adding 0 makes 0 of −0, so that equal edges have equal bytes.
        Ok(Self(edges.into_iter().map(|edge| edge + 0.0).collect()))
    }

    /// Edges of at most `bins` bins (32 at most) with about as many values each. Equal values stay together: one
    /// that fills a bin alone has it alone, and the others share the bins that are left. Missing values and those
    /// that are not finite are left out.
    pub fn quantiles(values: impl IntoIterator<Item = Option<f64>>, bins: usize) -> Self {
        let mut values: Vec<_> = values.into_iter().flatten().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let runs: Vec<_> = values.chunk_by(|a, b| a == b).map(|run| (run[0] + 0.0, run.len())).collect();
        let mut edges = Vec::new();
        let (mut bins, mut rest, mut filled) = (bins.clamp(1, MAX_EDGES + 1), values.len(), 0);
        for (index, (value, count)) in runs.iter().enumerate() {
            filled += count;
            let next = runs.get(index + 1).map_or(0, |(_, count)| *count);
            let spare = runs.len() - index - 1;
            // A bin ends at its share of what is left, or nearer to it than it would with the next value, or where
            // every other value can have a bin of its own.
            if spare > 0 && bins > 1 && (2 * filled + next > 2 * rest.div_ceil(bins) || spare < bins) {
                edges.push(*value);
                (bins, rest, filled) = (bins - 1, rest - filled, 0);
            }
        }
        Self(edges)
    }

    /// The bin of a value.
    pub fn bin(&self, value: Option<f64>) -> u8 {
        match value.filter(|value| !value.is_nan()) {
            None => MISSING,
            Some(value) => self.0.partition_point(|edge| *edge < value) as u8 + 1,
        }
    }

    /// How many bins there are, that of missing values among them.
    pub fn bins(&self) -> u8 {
        self.0.len() as u8 + 2
    }

    /// The edges, ascending.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }
}

impl Binned {
    /// Rows by bins. `columns` has the bin of every row for each feature, [`ABSENT`] where the row is not held; `bins`
    /// how many bins each feature has, that of missing values among them.
    ///
    /// # Errors
    /// [`BinningError`].
    pub fn new(columns: Vec<Vec<u8>>, bins: Vec<u8>) -> Result<Self, BinningError> {
        if !(1..=MAX_TRAIN_FEATURES).contains(&columns.len()) || columns.len() != bins.len() {
            return Err(BinningError::Features { columns: columns.len(), bins: bins.len() });
        }
        let rows = columns[0].len();
        for (feature, (column, bins)) in columns.iter().zip(&bins).enumerate() {
            if column.len() != rows || rows > MAX_TRAIN_ROWS {
                return Err(BinningError::Rows { feature, found: column.len() });
            }
            if !(1..=MAX_BINS).contains(&usize::from(*bins)) {
                return Err(BinningError::Bin { feature, row: 0 });
            }
            let good = |(bin, first): (&u8, &u8)| {
                (*bin == ABSENT) == (*first == ABSENT) && (bin < bins || *bin == ABSENT)
            };
            if let Some(row) = column.iter().zip(&columns[0]).position(|pair| !good(pair)) {
                return Err(BinningError::Bin { feature, row });
            }
        }
        Ok(Self { rows, columns, bins })
    }

    /// Listed rows, held or not.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// How many bins each feature has.
    pub fn bins(&self) -> &[u8] {
        &self.bins
    }

    /// A feature's bin of every row.
    ///
    /// # Panics
    /// Where there is no such feature.
    pub fn column(&self, feature: usize) -> &[u8] {
        &self.columns[feature]
    }

    /// The bin of a row, `None` where there is no such feature.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn bin(&self, row: usize, feature: u16) -> Option<u8> {
        self.columns.get(usize::from(feature)).map(|column| column[row])
    }

    /// Whether a row is held.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn holds(&self, row: usize) -> bool {
        self.columns[0][row] != ABSENT
    }
}

/// An edge is the eight big-endian bytes of its IEEE 754 double.
impl Record for Edges {
    const DOMAIN: &'static str = "windvane/train-edges/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.list("edge", self.0.iter().map(|edge| edge.to_be_bytes()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "edge", expected: "ascending, finite numbers" };
        let edge = |item: &[u8]| Some(f64::from_be_bytes(item.try_into().ok()?)).filter(canonical);
        let edges: Option<_> = r.list("edge", MAX_EDGES)?.into_iter().map(edge).collect();
        edges.and_then(|edges| Self::new(edges).ok()).ok_or(form)
    }
}

/// −0 equals 0 but has other bytes.
fn canonical(edge: &f64) -> bool {
    edge.to_bits() != (-0.0f64).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantiles(values: &[f64], bins: usize) -> Vec<f64> {
        Edges::quantiles(values.iter().map(|value| Some(*value)), bins).0
    }

    #[test]
    fn values_have_bins_of_about_equal_size() {
        let values: Vec<_> = (0..1_000).rev().map(f64::from).collect();
        let edges = Edges::new(quantiles(&values, 32)).unwrap();
        assert_eq!(edges.bins(), 33);
        let mut counts = [0; 33];
        values.iter().for_each(|value| counts[usize::from(edges.bin(Some(*value)))] += 1);
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|count| (31..=32).contains(count)), "{counts:?}");
    }

    #[test]
    fn few_values_have_a_bin_each_and_a_frequent_one_costs_others_no_bin() {
        assert_eq!(quantiles(&[3.0, 1.0, 2.0, 1.0], 32), [1.0, 2.0]);
        assert_eq!(quantiles(&[5.0], 32), [0.0; 0]);
        assert_eq!(quantiles(&[], 32), [0.0; 0]);
        let zeros = std::iter::repeat_n(0.0, 900).chain((1..=93).map(f64::from));
        let edges = quantiles(&zeros.collect::<Vec<_>>(), 32);
        assert_eq!((edges.len(), edges[0], edges[1]), (31, 0.0, 3.0));
        let many: Vec<_> = (0..40).map(f64::from).collect();
        assert_eq!(quantiles(&many, 32).len(), 31);
        assert_eq!(quantiles(&many, 1_000).len(), 31);
    }

    #[test]
    fn missing_values_have_bin_zero_and_others_the_first_bin_whose_edge_is_not_below() {
        let edges = Edges::new(vec![-1.0, 0.0, 2.5]).unwrap();
        let values = [None, Some(f64::NAN), Some(f64::NEG_INFINITY), Some(-1.0), Some(-0.0), Some(2.6)];
        assert_eq!(values.map(|value| edges.bin(value)), [0, 0, 1, 1, 2, 4]);
    }

    #[test]
    fn edges_have_one_encoding() {
        let edges = Edges::new(vec![-0.0, 1.5]).unwrap();
        assert_eq!(Edges::decode(edges.encode().as_bytes()), Ok(edges));
        for wrong in [vec![1.0, 1.0], vec![f64::NAN], vec![f64::INFINITY], (0..32).map(f64::from).collect()] {
            assert_eq!(Edges::new(wrong.clone()), Err(BinningError::Edges));
            assert!(Edges::decode(Edges(wrong).encode().as_bytes()).is_err());
        }
        assert!(Edges::decode(Edges(vec![-0.0]).encode().as_bytes()).is_err());
    }

    #[test]
    fn rows_have_bins_that_are_there_in_all_features_or_in_none() {
        assert!(Binned::new(vec![vec![0, ABSENT], vec![2, ABSENT]], vec![1, 3]).is_ok());
        let wrong = |columns, bins| Binned::new(columns, bins).unwrap_err();
        assert_eq!(wrong(vec![], vec![]), BinningError::Features { columns: 0, bins: 0 });
        assert_eq!(wrong(vec![vec![0]], vec![1, 1]), BinningError::Features { columns: 1, bins: 2 });
        assert_eq!(wrong(vec![vec![0], vec![]], vec![1, 1]), BinningError::Rows { feature: 1, found: 0 });
        assert_eq!(wrong(vec![vec![0, 3]], vec![3]), BinningError::Bin { feature: 0, row: 1 });
        assert_eq!(wrong(vec![vec![0], vec![ABSENT]], vec![1, 1]), BinningError::Bin { feature: 1, row: 0 });
        assert_eq!(wrong(vec![vec![0]], vec![34]), BinningError::Bin { feature: 0, row: 0 });
    }
}
