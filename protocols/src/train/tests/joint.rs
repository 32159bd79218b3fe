//! Whole trainings of several units.

use super::world::{NUMBERS, World, parameters};
use crate::train::boosting::{Trained, TrainingError, Unit, base, train_clear};
use crate::train::partition::PartitionError;

fn train(world: &World, carriers: &[usize], minimum_count: u32) -> Trained {
    let hyperparameters = parameters(|n| n.minimum_count = minimum_count);
    let holder = Unit::label_holder(world.held(|row| world.labels[row].is_some()), &hyperparameters);
    let others = carriers.iter().map(|k| Unit::providers(world.carriers(*k), &hyperparameters).unwrap());
    train_clear(&holder, &others.collect::<Vec<_>>(), &world.labels, &hyperparameters).unwrap()
}

#[test]
fn every_unit_grows_its_trees_in_every_block() {
    let trained = train(&World::new(1, 900), &[1, 1], 25);
    let trees = usize::from(NUMBERS.blocks * NUMBERS.trees);
    assert_eq!(trained.trees.iter().map(Vec::len).collect::<Vec<_>>(), [trees; 3]);
    // Both start every block from the same residuals.
    assert_eq!(trained.trees[1], trained.trees[2]);
    assert_ne!(trained.trees[0], trained.trees[1]);
}

#[test]
fn several_carriers_grow_trees_as_one() {
    let world = World::new(2, 900);
    let (alone, together) = (train(&world, &[1], 25), train(&world, &[3], 25));
    // The label holder begins, before anything of the others reaches it.
    let first = ..usize::from(NUMBERS.trees);
    assert_eq!(alone.trees[0][first], together.trees[0][first]);
    assert!(together.trees[1].iter().all(|tree| tree.reach() > 0));
    assert_eq!(together, train(&world, &[3], 25));
}

#[test]
fn decoys_count_for_the_minimum_and_add_nothing_to_any_sum() {
    let mut world = World::new(3, 900);
    let real: Vec<_> = (0..900).filter(|row| world.labels[*row].is_some()).collect();
    let labels: Vec<_> = real.iter().map(|row| world.labels[*row]).collect();
    // Each real row stands there once, and with two decoys of the same bins: as many groups reach three times the
    // minimum.
    let mut listed = |times: usize| {
        let bins = |column: &Vec<u8>| real.iter().map(|row| column[*row]).collect::<Vec<_>>().repeat(times);
        world = World::new(3, 900);
        world.columns = world.columns.iter().map(bins).collect();
        world.labels = [labels.clone(), vec![None; labels.len() * (times - 1)]].concat();
        train(&world, &[1], 9 * times as u32)
    };
    let (with, without) = (listed(3), listed(1));
    assert!(with.trees[1].iter().all(|tree| tree.reach() > 0));
    assert_eq!(with, without);
}

#[test]
fn residuals_shrink_with_every_block() {
    let world = World::new(4, 900);
    let error = |blocks| {
        let hyperparameters = parameters(|n| n.blocks = blocks);
        let holder = Unit::label_holder(world.held(|row| world.labels[row].is_some()), &hyperparameters);
        let provider = Unit::providers(world.carriers(1), &hyperparameters).unwrap();
        let trained = train_clear(&holder, &[provider], &world.labels, &hyperparameters).unwrap();
        let value = |row: usize| -> i64 {
            let bin = |f: u16| world.columns.get(usize::from(f)).map(|column| column[row]);
            trained.trees.iter().flatten().map(|tree| i64::from(tree.apply(bin))).sum()
        };
        let off = |(row, label): (usize, &Option<bool>)| {
            label.map(|label| (i64::from(label) * 1_024 - trained.base - value(row)).pow(2))
        };
        world.labels.iter().enumerate().filter_map(off).sum::<i64>()
    };
    let errors = [1, 2, 4, 8].map(error);
    assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
}

#[test]
fn the_first_prediction_is_the_mean_label() {
    let labels = |positive, negative, decoys| {
        let real = [vec![Some(true); positive], vec![Some(false); negative]].concat();
        [real, vec![None; decoys]].concat()
    };
    assert_eq!(base(&labels(1, 2, 9)), Ok(341));
    assert_eq!(base(&labels(1, 2_047, 0)), Ok(1));
    assert_eq!(base(&labels(0, 0, 5)), Err(TrainingError::Labels));
}

#[test]
fn units_of_other_rows_or_features_are_refused() {
    let (hyperparameters, world, other) = (parameters(|_| ()), World::new(5, 90), World::new(5, 91));
    let holder = Unit::label_holder(world.held(|_| true), &hyperparameters);
    let wrong = Unit::providers(vec![other.held(|_| true)], &hyperparameters).unwrap();
    let refused = train_clear(&holder, &[wrong], &world.labels, &hyperparameters);
    assert_eq!(refused, Err(TrainingError::Shape { expected: 91 }));
    let mixed = Unit::providers(vec![world.held(|_| true), other.held(|_| true)], &hyperparameters);
    assert_eq!(mixed.unwrap_err(), TrainingError::Shape { expected: 90 });
    let none = Unit::providers(Vec::new(), &hyperparameters);
    assert_eq!(none.unwrap_err(), PartitionError::Carriers { found: 0 }.into());
}
