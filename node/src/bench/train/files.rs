//! The parties' files of one fold, and the scores of its rows.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;
use windvane_protocols::score::universe::{NUMBERS_PER_SEGMENT, Segment};
use windvane_protocols::train::binning::Edges;
use windvane_protocols::train::tree::Tree;

use super::data::{Data, Side};
use crate::demo::DemoError;
use crate::fleet::training::{NUMBER, UnitFiles};
use crate::train::metrics::{Ranking, Scored};
use crate::train::run::TrainedTrees;

/// The column of labels.
pub(super) const LABEL: &str = "label";

/// The first of the segments.
const FIRST_SEGMENT: u32 = 1_380_000;

/// Bins of a feature's values.
const VALUE_BINS: usize = 32;

/// The files of one fold.
#[derive(Debug)]
pub(super) struct FoldFiles {
    pub(super) segments: Vec<Segment>,
    pub(super) sample: PathBuf,
    pub(super) features: PathBuf,
    pub(super) units: Vec<UnitFiles>,
    /// Rows to test.
    test: Vec<usize>,
    /// The label holder first, and then every unit: features, and the rows of the data that its bins are fitted on.
    sides: Vec<(Side, Vec<usize>)>,
}

impl FoldFiles {
    /// Writes the files. The universe has room for all rows and their decoys; each of its other numbers has the features
    /// of a row drawn from the whole data.
    pub(super) fn write(
        data: &Data,
        fold: u8,
        carriers: usize,
        decoys: u64,
        seed: u64,
        dir: &Path,
    ) -> Result<Self, DemoError> {
        let (train, test) = data.split(fold);
        let wanted = train.len() * (1 + decoys as usize);
        let segments = wanted.div_ceil(NUMBERS_PER_SEGMENT).max(1);
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ (u64::from(fold) << 32));
        let mut numbers: Vec<_> = (0..segments * NUMBERS_PER_SEGMENT).map(number).collect();
        numbers.shuffle(&mut rng);
        let drawn = |_| (rng.next_u64() % data.rows() as u64) as usize;
        let rows: Vec<_> = train.iter().copied().chain((train.len()..numbers.len()).map(drawn)).collect();
        let (own, others) = (&data.parties[0], &data.parties[1..]);
        let own_rows: Vec<_> = numbers.iter().zip(rows.iter().copied()).take(train.len()).collect();
        let sample = dir.join("sample.csv");
        let mut text = format!("{NUMBER},{LABEL}\n");
        for (number, row) in &own_rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{number},{}", u8::from(data.labels[*row]));
        }
        write(&sample, &text)?;
        let features = dir.join("features.csv");
        write(&features, &csv(own, &own_rows))?;
        let all: Vec<_> = numbers.iter().zip(rows.iter().copied()).collect();
        let mut sides = vec![(own.clone(), train.clone())];
        let mut units = Vec::new();
        if carriers > 1 {
            let side = Side::joined(others);
            let mut unit = Vec::new();
            for carrier in 0..carriers {
                let held: Vec<_> = all.iter().copied().skip(carrier).step_by(carriers).collect();
                unit.push(provider(dir, carrier, &side, &held)?);
            }
            // The first carrier fits the schema.
            sides.push((side, rows.iter().copied().step_by(carriers).collect()));
            units.push(unit);
        } else {
            for (index, side) in others.iter().enumerate() {
                units.push(vec![provider(dir, index, side, &all)?]);
                sides.push((side.clone(), rows.clone()));
            }
        }
        let segment = |i| Segment::try_from(FIRST_SEGMENT + i).expect("seven digits that begin with 1");
        let segments = (0..segments as u32).map(segment).collect();
        Ok(Self { segments, sample, features, units, test, sides })
    }

    /// The area under the curve of the fold's rows, all parties' contributions added up.
    pub(super) fn auc(&self, data: &Data, trees: &TrainedTrees) -> Result<f64, DemoError> {
        let all = std::iter::once(&trees.own).chain(&trees.units);
        let mut scores = vec![0_i64; self.test.len()];
        for ((side, fitted), trees) in self.sides.iter().zip(all) {
            let edges = edges(side, fitted);
            for (score, row) in scores.iter_mut().zip(&self.test) {
                *score += value(trees, side, &edges, *row);
            }
        }
        auc(data, &self.test, &scores)
    }
}

/// The edges of a side's features on some rows.
pub(super) fn edges(side: &Side, rows: &[usize]) -> Vec<Edges> {
    let edges = |column: &Vec<Option<f64>>| Edges::quantiles(rows.iter().map(|row| column[*row]), VALUE_BINS);
    side.columns.iter().map(edges).collect()
}

/// What trees add to a row.
pub(super) fn value(trees: &[Tree], side: &Side, edges: &[Edges], row: usize) -> i64 {
    let bin = |feature: u16| {
        let feature = usize::from(feature);
        edges.get(feature).map(|edges| edges.bin(side.columns[feature][row]))
    };
    trees.iter().map(|tree| i64::from(tree.apply(bin))).sum()
}

/// The area under the curve of some rows.
pub(super) fn auc(data: &Data, rows: &[usize], scores: &[i64]) -> Result<f64, DemoError> {
    let scored: Vec<_> = rows
        .iter()
        .zip(scores)
        .map(|(row, score)| Scored { score: *score, label: data.labels[*row] })
        .collect();
    let one = || DemoError::Wrong("a fold has rows of one label only".into());
    Ok(Ranking::new(&scored).ok_or_else(one)?.auc())
}

fn provider(
    dir: &Path,
    index: usize,
    side: &Side,
    rows: &[(&String, usize)],
) -> Result<(String, PathBuf), DemoError> {
    let name = format!("provider-{}", char::from(b'a' + index as u8));
    let path = dir.join(format!("{name}.csv"));
    write(&path, &csv(side, rows))?;
    Ok((name, path))
}

fn csv(side: &Side, rows: &[(&String, usize)]) -> String {
    let mut text = format!("{NUMBER},{}\n", side.names.join(","));
    for (number, row) in rows {
        text.push_str(number);
        for column in &side.columns {
            text.push(',');
            if let Some(value) = column[*row] {
                // Writing to a string cannot fail.
                let _ = write!(text, "{value}");
            }
        }
        text.push('\n');
    }
    text
}

fn number(index: usize) -> String {
    let segment = FIRST_SEGMENT as usize + index / NUMBERS_PER_SEGMENT;
    format!("{segment}{:04}", index % NUMBERS_PER_SEGMENT)
}

fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    std::fs::write(path, text).map_err(DemoError::io(path.display().to_string()))
}
