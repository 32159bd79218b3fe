//! One fold of each data set, with the gates that all folds hold; `examples/train_accuracy.rs` measures all.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so, and the others show their figures")]

use super::data::{self, Data};
use super::fold::{Outcome, Setting, run};
use super::world::NUMBERS;
use crate::train::parameters::{Hyperparameters, Numbers};

/// Boosted trees as they are meant to be used: 10 blocks of 5 trees a party.
const BOOSTED: Numbers = Numbers {
    blocks: 10,
    trees: 5,
    rate_micros: 100_000,
    lambda: 0,
    minimum_rows: 20,
    minimum_count: 50,
    ..NUMBERS
};

/// A scorecard: trees of a single split.
const SCORECARD: Numbers = Numbers { trees: 20, depth: 1, rate_micros: 150_000, ..BOOSTED };

/// Decoys for every real row.
const DECOYS: usize = 2;

fn fold(data: &Data, setting: Setting, numbers: Numbers) -> Outcome {
    run(data, 0, setting, &Hyperparameters::new(numbers).unwrap()).unwrap()
}

fn holds(data: Option<Data>, numbers: Numbers, least: f64) {
    let Some(data) = data else {
        eprintln!("skipped: no data at {}", data::folder().display());
        return;
    };
    let joint = fold(&data, Setting::Parties(DECOYS), numbers);
    let pooled = fold(&data, Setting::Pooled, Numbers { trees: 3 * numbers.trees, ..numbers });
    let alone = fold(&data, Setting::Alone, Numbers { trees: 3 * numbers.trees, ..numbers });
    eprintln!("{}, {:.2} s: joint {joint:?}, pooled {pooled:?}, alone {alone:?}", data.name, joint.seconds);
    assert!(joint.auc >= least, "{joint:?}");
    assert!(joint.auc >= pooled.auc - 0.005, "{joint:?} {pooled:?}");
    assert!(joint.auc >= alone.auc + 0.03, "{joint:?} {alone:?}");
    assert!(joint.fine >= joint.auc - 0.001 && joint.coarse >= joint.auc - 0.005, "{joint:?}");
}

#[test]
fn boosted_trees_rank_telecom_fraud_as_well_as_pooled_ones() {
    holds(data::sichuan(&data::folder()), BOOSTED, 0.950);
}

#[test]
fn a_scorecard_ranks_telecom_fraud_as_well_as_a_pooled_one() {
    holds(data::sichuan(&data::folder()), SCORECARD, 0.948);
}

#[test]
fn boosted_trees_rank_credit_defaults_as_well_as_pooled_ones() {
    holds(data::default_credit(&data::folder()), BOOSTED, 0.777);
}

#[test]
fn a_scorecard_ranks_credit_defaults_as_well_as_a_pooled_one() {
    holds(data::default_credit(&data::folder()), SCORECARD, 0.774);
}

#[test]
fn three_carriers_rank_as_well_as_one_provider_of_all_their_rows() {
    let Some(data) = data::sichuan(&data::folder()) else {
        eprintln!("skipped: no data at {}", data::folder().display());
        return;
    };
    let [one, three] = [1, 3].map(|carriers| fold(&data, Setting::Carriers(carriers, DECOYS), BOOSTED));
    eprintln!("one {one:?}, three {three:?}");
    assert!(three.auc >= one.auc - 0.005 && three.auc >= 0.950, "{one:?} {three:?}");
}
