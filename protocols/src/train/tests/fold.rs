//! One fold of real data: who lists what, who holds what, and how well the model that they train ranks the rest. The
//! example `train_accuracy` runs all folds with this file too.

use super::data::{Data, auc};
use super::engine::{
    ABSENT, Binned, Edges, Hyperparameters, Scale, Span, Trained, TrainingError, Tree, Unit, Values,
    train_clear,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Who trains with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// The label holder, with its own features.
    Alone,
    /// The label holder with everybody's features.
    Pooled,
    /// Each party a unit; decoys for every real row.
    Parties(usize),
    /// All providers' features in the hands of so many carriers, each with as many rows; decoys for every real row.
    Carriers(usize, usize),
}

/// How well the model ranks the rows of its fold, in clear numbers and as sums of parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) auc: f64,
    pub(crate) fine: f64,
    pub(crate) coarse: f64,
    /// Of processor time, for training alone.
    pub(crate) seconds: f64,
}

/// One party's columns in a setting: which features, by bins of the listed and of the tested rows.
struct Side {
    listed: Vec<Vec<u8>>,
    tested: Vec<Vec<u8>>,
    bins: Vec<u8>,
}

/// Trains on four folds and tests on the fifth.
pub(crate) fn run(
    data: &Data,
    fold: u8,
    setting: Setting,
    hyperparameters: &Hyperparameters,
) -> Result<Outcome, TrainingError> {
    let (test, train): (Vec<_>, Vec<_>) = (0..data.labels.len()).partition(|row| data.folds[*row] == fold);
    let (decoys, parties) = match setting {
        Setting::Alone => (0, vec![data.parties[0].clone()]),
        Setting::Pooled => (0, vec![data.parties.concat()]),
        Setting::Parties(decoys) => (decoys, data.parties.clone()),
        Setting::Carriers(_, decoys) => (decoys, vec![data.parties[0].clone(), data.parties[1..].concat()]),
    };
    let listed = list(&train, decoys, data.labels.len(), fold);
    let sides: Vec<_> = (0..).zip(&parties).map(|(i, party)| side(party, &listed, &test, i == 0)).collect();
    let labels: Vec<_> = listed.iter().map(|(row, real)| real.then(|| data.labels[*row])).collect();
    let holder = Unit::label_holder(binned(&sides[0], |_| true), hyperparameters);
    let others = sides[1..].iter().map(|side| {
        let carriers = if let Setting::Carriers(carriers, _) = setting { carriers } else { 1 };
        let held = |carrier| binned(side, move |place| place % carriers == carrier);
        Unit::providers((0..carriers).map(held).collect(), hyperparameters)
    });
    let others: Vec<_> = others.collect::<Result<_, _>>()?;
    let start = now();
    let trained = train_clear(&holder, &others, &labels, hyperparameters)?;
    let seconds = now() - start;
    let truth: Vec<_> = test.iter().map(|row| data.labels[*row]).collect();
    Ok(outcome(&trained, &sides, &truth, seconds))
}

/// Seconds of processor time, which other processes disturb less than they do wall time.
fn now() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The listed rows, and whether they are real: those to train on, and decoys drawn from all.
fn list(train: &[usize], decoys: usize, all: usize, fold: u8) -> Vec<(usize, bool)> {
    let mut rng = ChaCha20Rng::seed_from_u64(fold.into());
    let drawn = (0..decoys * train.len()).map(|_| ((rng.next_u64() % all as u64) as usize, false));
    train.iter().map(|row| (*row, true)).chain(drawn).collect()
}

/// Bins by quantiles of the rows that a party can see: of all that are listed, or of real ones at the label holder.
fn side(party: &[Vec<Option<f64>>], listed: &[(usize, bool)], test: &[usize], holder: bool) -> Side {
    let mut side = Side { listed: Vec::new(), tested: Vec::new(), bins: Vec::new() };
    for column in party {
        let seen = listed.iter().filter(|(_, real)| *real || !holder);
        let edges = Edges::quantiles(seen.map(|(row, _)| column[*row]), 32);
        let bin =
            |&(row, real): &(usize, bool)| if real || !holder { edges.bin(column[row]) } else { ABSENT };
        side.listed.push(listed.iter().map(bin).collect());
        side.tested.push(test.iter().map(|row| edges.bin(column[*row])).collect());
        side.bins.push(edges.bins());
    }
    side
}

/// A side's listed rows as far as somebody holds them.
fn binned(side: &Side, holds: impl Fn(usize) -> bool) -> Binned {
    let held = |(place, bin): (usize, &u8)| if holds(place) { *bin } else { ABSENT };
    let columns = side.listed.iter().map(|column| column.iter().enumerate().map(held).collect()).collect();
    Binned::new(columns, side.bins.clone()).expect("bins come from edges")
}

fn outcome(trained: &Trained, sides: &[Side], truth: &[bool], seconds: f64) -> Outcome {
    let value = |trees: &[Tree], side: &Side, row: usize| -> i64 {
        let bin = |feature: u16| side.tested.get(usize::from(feature)).map(|column| column[row]);
        trees.iter().map(|tree| i64::from(tree.apply(bin))).sum()
    };
    let values: Vec<Vec<_>> = trained
        .trees
        .iter()
        .zip(sides)
        .map(|(trees, side)| (0..truth.len()).map(|row| value(trees, side, row)).collect())
        .collect();
    let spans: Vec<_> =
        values.iter().map(|values| Span::of(values.iter().copied()).expect("few trees")).collect();
    let scale = Scale::new(&spans).expect("few parties");
    let ranked = |part: &dyn Fn(usize, i64) -> i64| {
        let sum = |row| {
            values.iter().enumerate().map(|(party, values): (_, &Vec<i64>)| part(party, values[row])).sum()
        };
        auc(&(0..truth.len()).map(sum).collect::<Vec<_>>(), truth)
    };
    let parts = |kind| ranked(&|party, value| scale.part(spans[party], kind, value).into());
    Outcome {
        auc: ranked(&|_, value| value),
        fine: parts(Values::Fine),
        coarse: parts(Values::Coarse),
        seconds,
    }
}
