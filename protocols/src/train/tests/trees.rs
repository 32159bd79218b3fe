//! One tree between a unit and the label holder.

use super::naive::{self, Holders};
use super::world::{Level, NUMBERS, Run, World, parameters};
use crate::train::binning::Binned;
use crate::train::boosting::Row;
use crate::train::histogram::Child;
use crate::train::partition::Settled;
use crate::train::tree::{ABSENT, Decision, Split};

fn run(world: &World, carriers: usize) -> Run {
    Run { carriers: world.carriers(carriers), forced: None }
}

#[test]
fn a_tree_is_the_one_that_a_slow_reference_grows() {
    for seed in 0..20 {
        let world = World::new(seed, 900);
        for (depth, count, carriers) in [(1, 25, 1), (3, 25, 1), (4, 1, 1), (4, 10, 2), (3, 25, 3)] {
            let hyperparameters = parameters(|n| (n.depth, n.minimum_count) = (depth, count));
            let holders = Holders { count: carriers, minimum: count.div_ceil(carriers as u32) as usize };
            let (tree, values) = run(&world, carriers).tree(&world, &hyperparameters, |_| ());
            assert_eq!(tree, naive::tree(&world, &holders, &hyperparameters), "seed {seed}, depth {depth}");
            let apply = |row: usize| tree.apply(|f| world.columns.get(usize::from(f)).map(|c| c[row]));
            assert!(values.iter().enumerate().all(|(row, value)| *value == apply(row)));
        }
    }
}

#[test]
fn trees_are_deep_and_split_a_feature_more_than_once() {
    let (mut depth_three, mut again) = (0, 0);
    for seed in 0..20 {
        let world = World::new(seed, 900);
        let (tree, _) = run(&world, 1).tree(&world, &parameters(|_| ()), |_| ());
        depth_three += usize::from(tree.nodes().len() > 7);
        let of = |node: usize| match tree.nodes().get(node) {
            Some(Decision::Split(split)) => Some(split.feature),
            _ => None,
        };
        again += usize::from(of(0).is_some() && (of(1) == of(0) || of(2) == of(0)));
    }
    assert!(depth_three > 10 && again > 5, "{depth_three} {again}");
}

#[test]
fn a_sibling_by_subtraction_is_the_sibling_itself() {
    for seed in 0..10 {
        let world = World::new(seed, 900);
        let trees = [None, Some(Child::Left), Some(Child::Right)].map(|forced| {
            let run = Run { carriers: world.carriers(2), forced };
            run.tree(&world, &parameters(|n| n.depth = 4), |_| ())
        });
        assert!(trees.iter().all(|tree| *tree == trees[0]));
    }
}

#[test]
fn the_smaller_child_is_sent() {
    let world = World::new(1, 900);
    let mut sent = 0;
    let see = |level: &Level<'_>| sent += level.settled[0].due().map(|due| due.rows.len()).sum::<usize>();
    run(&world, 1).tree(&world, &parameters(|_| ()), see);
    assert!(sent <= 900 + 450 + 450, "{sent}");
}

/// Listed rows of every group of every feature that shows any.
fn shown<'a>(binned: &'a Binned, settled: &'a Settled) -> impl Iterator<Item = usize> + 'a {
    settled.due().flat_map(move |due| {
        let features = due.groups.iter().enumerate().filter(|(_, groups)| !groups.is_whole());
        features.flat_map(move |(f, groups)| {
            let of_bins = groups.of_bins();
            let group = |row: &u32| usize::from(of_bins[usize::from(binned.column(f)[*row as usize])]);
            let mut counts = vec![0; groups.len()];
            due.rows.iter().for_each(|row| counts[group(row)] += 1);
            counts
        })
    })
}

#[test]
fn no_cell_of_either_child_is_about_fewer_rows_than_the_minimum() {
    let (mut cells, mut tight) = (0, 0);
    for seed in 0..10 {
        let world = World::new(seed, 900);
        for (carriers, forced) in [(1, Child::Left), (1, Child::Right), (3, Child::Left), (3, Child::Right)] {
            let run = Run { carriers: world.carriers(carriers), forced: Some(forced) };
            run.tree(&world, &parameters(|n| n.minimum_count = 40), |level| {
                let own = run.carriers.iter().zip(level.settled);
                let counts: Vec<Vec<_>> =
                    own.map(|(binned, settled)| shown(binned, settled).collect()).collect();
                // Each carrier's share is at least a third, and all together have the minimum.
                let minimum = 40_usize.div_ceil(carriers);
                assert!(counts.iter().flatten().all(|count| *count >= minimum), "{counts:?}");
                for cell in 0..counts[0].len() {
                    let all: usize = counts.iter().map(|counts| counts[cell]).sum();
                    assert!(all >= 40);
                    (cells, tight) = (cells + 1, tight + usize::from(all < 60));
                }
                let shown = level.cells.iter().flat_map(|node| &node.features).flat_map(|f| &f.cells).count();
                assert_eq!(shown, counts[0].len());
            });
        }
    }
    assert!(cells > 1_000 && tight > 100, "{cells} {tight}");
}

#[test]
fn of_equal_gains_the_lowest_feature_and_then_the_lowest_bin_wins() {
    let mut world = World::new(3, 300);
    // Three bins with residuals −9, 0, −9 gain as much by either boundary; the feature stands there twice.
    let bins: Vec<u8> = (0..300).map(|row| row as u8 % 3).collect();
    world.rows =
        bins.iter().map(|bin| Row { residual: [-9, 0, -9][usize::from(*bin)], indicator: 1 }).collect();
    world.columns = vec![vec![0; 300], bins.clone(), vec![0; 300], vec![0; 300], bins];
    let hyperparameters = parameters(|n| n.depth = 1);
    let (tree, _) = run(&world, 1).tree(&world, &hyperparameters, |_| ());
    assert_eq!(tree.nodes()[0], Decision::Split(Split { feature: 1, bin: 0 }));
}

#[test]
fn a_split_that_gains_nothing_is_not_made() {
    let mut world = World::new(4, 300);
    world.rows.iter_mut().for_each(|row| *row = Row { residual: 10, indicator: 1 });
    let (tree, values) = run(&world, 1).tree(&world, &parameters(|n| n.lambda = 0), |_| ());
    assert_eq!(tree.nodes(), [Decision::Leaf(3)]);
    assert!(values.iter().all(|value| *value == 3));
}

#[test]
fn a_unit_with_fewer_rows_than_the_minimum_shows_nothing_and_adds_nothing() {
    let world = World::new(5, 300);
    let run =
        Run { carriers: vec![world.held(|row| row < NUMBERS.minimum_count as usize - 1)], forced: None };
    let (tree, values) = run.tree(&world, &parameters(|_| ()), |level| {
        assert!(level.cells.iter().flat_map(|node| &node.features).all(|f| f.cells.is_empty()));
    });
    assert_eq!(tree.nodes(), [Decision::Leaf(0)]);
    assert!(values.iter().all(|value| *value == 0));
}

#[test]
fn rows_that_are_not_held_have_no_leaf() {
    let world = World::new(6, 900);
    let binned = world.held(|row| row % 4 != 0);
    assert_eq!(binned.column(2)[8], ABSENT);
    let (tree, values) =
        Run { carriers: vec![binned], forced: None }.tree(&world, &parameters(|_| ()), |_| ());
    assert!(tree.reach() > 0);
    assert!(values.iter().step_by(4).all(|value| *value == 0));
    assert!(
        values
            .iter()
            .enumerate()
            .all(|(row, value)| row % 4 == 0 || tree.leaves().any(|leaf| leaf == *value))
    );
}
