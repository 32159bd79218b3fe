//! Real data, split by feature between parties, as `../shared/data/README.md` describes it. The example
//! `train_accuracy` reads it with this file too.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Rows of people with a label, and their features at each party.
pub(crate) struct Data {
    /// For tables and messages.
    pub(crate) name: &'static str,
    /// Which of five folds a row is tested in.
    pub(crate) folds: Vec<u8>,
    pub(crate) labels: Vec<bool>,
    /// By party, the label holder first, and by feature: the values of all rows.
    pub(crate) parties: Vec<Vec<Vec<Option<f64>>>>,
}

/// The folder of the real data; it is no part of the project.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")
}

/// Telecom fraud: billing at the label holder, voice, and messages with data at providers.
pub(crate) fn sichuan(folder: &Path) -> Option<Data> {
    let table = Table::read(&folder.join("sichuan/all_feat_with_label.csv"))?;
    let ranges =
        [("arpu_mean", "arpu_quantile"), ("opposite_count", "voc_day_nunique"), ("sms_count", "flow_month")];
    let parties = ranges.map(|(first, last)| table.columns(table.at(first)..=table.at(last))).to_vec();
    Some(Data { name: "sichuan", folds: table.folds(), labels: table.labels("label"), parties })
}

/// Credit card defaults: the label holder's 13 features, and a provider's 10.
pub(crate) fn default_credit(folder: &Path) -> Option<Data> {
    let folder = folder.join("default_credit");
    let guest = Table::read(&folder.join("default_credit_hetero_guest.csv"))?;
    let host = Table::read(&folder.join("default_credit_hetero_host.csv"))?;
    assert!(guest.ids().eq(host.ids()), "both files have the same rows");
    let parties = vec![guest.columns(2..=14), host.columns(1..=10)];
    Some(Data { name: "default_credit", folds: guest.folds(), labels: guest.labels("y"), parties })
}

/// The area under the ROC curve: how often a positive scores above a negative, ties counting half.
pub(crate) fn auc(scores: &[i64], labels: &[bool]) -> f64 {
    let mut pairs: Vec<_> = scores.iter().zip(labels).collect();
    pairs.sort_unstable();
    let (mut below, mut won, mut positives) = (0.0, 0.0, 0.0);
    for ties in pairs.chunk_by(|a, b| a.0 == b.0) {
        let positive = ties.iter().filter(|(_, label)| **label).count() as f64;
        let negative = ties.len() as f64 - positive;
        won += positive * (below + negative / 2.0);
        (below, positives) = (below + negative, positives + positive);
    }
    won / (below * positives)
}

struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect());
        Some(Self { header: lines.next()?, rows: lines.collect() })
    }

    fn at(&self, name: &str) -> usize {
        self.header.iter().position(|column| column == name).expect("the file has its columns")
    }

    fn ids(&self) -> impl Iterator<Item = &String> {
        self.rows.iter().map(|row| &row[0])
    }

    fn folds(&self) -> Vec<u8> {
        self.ids().map(|id| Sha256::digest(id)[0] % 5).collect()
    }

    fn labels(&self, name: &str) -> Vec<bool> {
        let at = self.at(name);
        self.rows.iter().map(|row| row[at] == "1").collect()
    }

    fn columns(&self, range: std::ops::RangeInclusive<usize>) -> Vec<Vec<Option<f64>>> {
        range.map(|at| self.rows.iter().map(|row| row[at].parse().ok()).collect()).collect()
    }
}
