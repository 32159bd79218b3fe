//! The real data of `shared/data`, split by feature between the parties.

use std::ops::RangeInclusive;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::TrainSet;
use crate::demo::DemoError;

/// Folds of the one rule: the first byte of SHA-256 of the id, modulo this.
const FOLDS: u8 = 5;

/// A party's features, row by row.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) names: Vec<String>,
    /// By feature.
    pub(super) columns: Vec<Vec<Option<f64>>>,
}

/// Rows of people with a label, and their features at each party.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) folds: Vec<u8>,
    pub(super) labels: Vec<bool>,
    /// The label holder first.
    pub(super) parties: Vec<Side>,
}

impl Data {
    pub(super) fn read(folder: &Path, set: TrainSet) -> Result<Self, DemoError> {
        match set {
            TrainSet::Sichuan => {
                let table = Table::read(&folder.join("sichuan/all_feat_with_label.csv"))?;
                let ends = [
                    ("arpu_mean", "arpu_quantile"),
                    ("opposite_count", "voc_day_nunique"),
                    ("sms_count", "flow_month"),
                ];
                let side = |(first, last)| Ok(table.side(table.at(first)?..=table.at(last)?));
                let parties = ends.into_iter().map(side).collect::<Result<_, DemoError>>()?;
                Ok(Self { folds: table.folds(), labels: table.labels("label")?, parties })
            }
            TrainSet::DefaultCredit => {
                let folder = folder.join("default_credit");
                let guest = Table::read(&folder.join("default_credit_hetero_guest.csv"))?;
                let host = Table::read(&folder.join("default_credit_hetero_host.csv"))?;
                if !guest.ids().eq(host.ids()) {
                    return Err(DemoError::Wrong("the two files of default_credit have other rows".into()));
                }
                let last = |table: &Table| table.header.len() - 1;
                let parties = vec![guest.side(2..=last(&guest)), host.side(1..=last(&host))];
                Ok(Self { folds: guest.folds(), labels: guest.labels("y")?, parties })
            }
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The rows to train on, and those of the fold.
    pub(super) fn split(&self, fold: u8) -> (Vec<usize>, Vec<usize>) {
        (0..self.rows()).partition(|row| self.folds[*row] != fold)
    }
}

impl Side {
    /// The features of several parties.
    pub(super) fn joined(sides: &[Self]) -> Self {
        let names = sides.iter().flat_map(|side| side.names.clone()).collect();
        Self { names, columns: sides.iter().flat_map(|side| side.columns.clone()).collect() }
    }
}

struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, DemoError> {
        let text = std::fs::read_to_string(path).map_err(DemoError::io(path.display().to_string()))?;
        let mut lines = text.lines().map(|line| line.split(',').map(|cell| cell.trim().to_owned()).collect());
        let header: Vec<String> = lines.next().unwrap_or_default();
        let rows: Vec<Vec<String>> = lines.collect();
        if rows.iter().any(|row| row.len() != header.len()) {
            return Err(DemoError::Wrong(format!("{} has rows of other lengths", path.display())));
        }
        Ok(Self { header, rows })
    }

    fn at(&self, name: &str) -> Result<usize, DemoError> {
        let missing = || DemoError::Wrong(format!("the data have no column {name}"));
        self.header.iter().position(|column| column == name).ok_or_else(missing)
    }

    fn ids(&self) -> impl Iterator<Item = &String> {
        self.rows.iter().map(|row| &row[0])
    }

    fn folds(&self) -> Vec<u8> {
        self.ids().map(|id| Sha256::digest(id)[0] % FOLDS).collect()
    }

    fn labels(&self, name: &str) -> Result<Vec<bool>, DemoError> {
        let at = self.at(name)?;
        Ok(self.rows.iter().map(|row| row[at] == "1").collect())
    }

    fn side(&self, range: RangeInclusive<usize>) -> Side {
        let column = |at: usize| self.rows.iter().map(|row| row[at].parse().ok()).collect();
        Side { names: self.header[range.clone()].to_vec(), columns: range.map(column).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_split_by_columns_and_folds_follow_from_ids() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "id,a,b,label\nx,1,,1\ny,2.5,7,0\n").unwrap();
        let table = Table::read(&path).unwrap();
        let side = table.side(1..=2);
        assert_eq!(side.names, ["a", "b"]);
        assert_eq!(side.columns, [vec![Some(1.0), Some(2.5)], vec![None, Some(7.0)]]);
        assert_eq!(table.labels("label").unwrap(), [true, false]);
        assert!(table.at("c").is_err());
        assert_eq!(table.folds()[0], Sha256::digest("x")[0] % 5);
    }
}
