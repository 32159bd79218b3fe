//! The same with real subscribers of a carrier, 1,962 of 6,106 of them known to be fraud: bills at the bank, calls at one
//! provider, messages and data at another. The data are `../shared/data/sichuan` seen from the workspace's root, or in
//! the folder that `WINDVANE_DATA` names; the test says so and skips where they are absent.
//!
//! Trained are folds 0 to 3 of the data's fold rule (SHA-256 of `phone_no_m`, first byte modulo 5), of which the training
//! holds out a fifth by itself; fold 4 takes no part and is served too.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::sichuan::feature_file;

const UNITS: Units = &[&["carrier-a"], &["carrier-b"]];

/// Of the numbers' order and of decoys' rows.
const SEED: u64 = 6_106;

/// Two segments of numbers, each with somebody's features.
const NUMBERS: usize = 20_000;

/// The fold that takes no part in the training.
const TEST: u8 = 4;

/// The published rows under numbers.
struct Real {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// By universe position, whose row a number has; the first ones in `places` are the rows' own.
    row_of: Vec<usize>,
    /// By row, its own position.
    places: Vec<u64>,
}

impl Real {
    fn read(text: &str) -> Self {
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let rows: Vec<_> = lines.collect();
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let mut places: Vec<_> = (0..NUMBERS as u64).collect();
        places.shuffle(&mut rng);
        let mut row_of: Vec<_> = (0..NUMBERS).map(|_| rng.random_range(0..rows.len())).collect();
        places.truncate(rows.len());
        places.iter().enumerate().for_each(|(row, place)| row_of[*place as usize] = row);
        Self { header, rows, row_of, places }
    }

    fn columns(&self, first: &str, last: &str) -> RangeInclusive<usize> {
        let at = |name: &str| self.header.iter().position(|column| column == name).unwrap();
        at(first)..=at(last)
    }

    fn fold(&self, row: usize) -> u8 {
        Sha256::digest(&self.rows[row][0])[0] % 5
    }

    fn label(&self, row: usize) -> bool {
        self.rows[row].last().unwrap() == "1"
    }

    /// A table of some positions.
    fn table(&self, path: &Path, positions: impl Iterator<Item = u64>, columns: RangeInclusive<usize>) {
        let mut text = format!("number,{}\n", self.header[columns.clone()].join(","));
        for position in positions {
            let row = &self.rows[self.row_of[position as usize]];
            writeln!(text, "{},{}", 13_800_130_000 + position, row[columns.clone()].join(",")).unwrap();
        }
        std::fs::write(path, text).unwrap();
    }

    fn write(&self, dir: &Path) {
        assert_eq!(self.header.last().unwrap(), "label");
        let everybody = || 0..NUMBERS as u64;
        let voice = self.columns("opposite_count", "voc_day_nunique");
        self.table(&dir.join("carrier-a.csv"), everybody(), voice);
        self.table(&dir.join("carrier-b.csv"), everybody(), self.columns("sms_count", "flow_month"));
        let bills = self.columns("arpu_mean", "arpu_quantile");
        self.table(&dir.join("bank.csv"), self.places.iter().copied(), bills);
        let mut sample = "number,label\n".to_owned();
        for row in (0..self.rows.len()).filter(|row| self.fold(*row) != TEST) {
            let (position, label) = (self.places[row], u8::from(self.label(row)));
            writeln!(sample, "{},{label}", 13_800_130_000 + position).unwrap();
        }
        std::fs::write(dir.join("sample.csv"), sample).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "the figures are wanted in the test's output")]
async fn real_subscribers_are_served_with_the_figures_of_the_report() {
    let Some(text) = feature_file() else { return };
    let begun = Instant::now();
    let real = Real::read(&text);
    let mut world = World::of(UNITS, &["1380013", "1380014"], |dir| real.write(dir)).await;
    let plan =
        TrainPlan { bands: bands(), model: ModelPlan::usual(ModelKind::Boosted), ..world.plan("served-3") };
    let training = world.begun(&plan);
    let report = world.go_on(training).await.unwrap();
    let trained = begun.elapsed();
    let rows = world.known(training, "served-3");
    let node = world.serve("served-3").await;
    world.check(&node, &rows, &report).await;
    // The fold that took no part is served as the registries have it, and found.
    let all: Vec<_> = world.running().map(|(party, _)| party).chain([&world.bank]).collect();
    let parts: Vec<_> = all.iter().map(|party| kept(party, &world.universe, "served-3")).collect();
    let test: Vec<_> = (0..real.rows.len()).filter(|row| real.fold(*row) == TEST).collect();
    let positions: Vec<_> = test.iter().map(|row| real.places[*row]).collect();
    let mut scored = Vec::new();
    for ((row, position), score) in test.iter().zip(&positions).zip(served(&node, &positions).await) {
        let sum: u16 = parts.iter().map(|parts| u16::from(parts.as_slice()[*position as usize])).sum();
        assert_eq!(score.sum, Some(sum));
        scored.push(Scored { score: sum.into(), label: real.label(*row) });
    }
    let fold = Ranking::new(&scored).unwrap().auc();
    eprintln!(
        "held out: {} rows, AUC {} served and reported, {} of contributions; fold {TEST}: {} rows, AUC {fold:.4} \
         served; {:.1} s trained, {:.1} s in all",
        report.held_out,
        report.auc,
        report.auc_of_contributions,
        test.len(),
        trained.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    assert!(fold > 0.93 && report.auc > 0.93, "{fold}, {}", report.auc);
    node.stop().await.unwrap();
    world.stopped().await;
}
