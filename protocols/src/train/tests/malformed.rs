//! Cells, groups and decisions of somebody who does not keep to the protocol.

use std::sync::Arc;

use super::world::{BINS, NUMBERS, World, parameters};
use crate::limits::{MAX_RESIDUAL, MAX_TRAIN_FEATURES, MAX_TRAIN_ROWS};
use crate::train::boosting::clear_cells;
use crate::train::growth::{Bound, Growth, GrowthError, Step};
use crate::train::histogram::{Cell, Child, Groups, GroupsError, NodeCells};
use crate::train::partition::{Applied, Partition, PartitionError, Proposal, Root, Settled, agree};
use crate::train::tree::{Decision, Split};

/// The label holder and the unit before the cells of a level, and the cells that are due.
struct Before {
    growth: Growth,
    settled: Settled,
    cells: Vec<NodeCells>,
}

fn before(level: usize) -> Before {
    let (world, hyperparameters) = (World::new(1, 900), parameters(|_| ()));
    let binned = Arc::new(world.held(|_| true));
    let root = Arc::new(Root::new(Arc::clone(&binned), &hyperparameters, 1).unwrap());
    let (mut growth, mut partition) = (world.growth(&hyperparameters), Partition::new(&root));
    for _ in 0..level {
        let settled = partition.settle_alone();
        let cells = settled.due().map(|due| clear_cells(&binned, &due, &world.rows)).collect();
        let Step::Deeper { growth: next, decisions } = growth.on_cells(cells).unwrap() else { panic!() };
        let Applied::Deeper(deeper) = settled.apply(&decisions).unwrap() else { panic!() };
        (growth, partition) = (next, deeper);
    }
    let settled = partition.settle_alone();
    let cells = settled.due().map(|due| clear_cells(&binned, &due, &world.rows)).collect();
    Before { growth, settled, cells }
}

fn refused(level: usize, change: impl FnOnce(&mut Vec<NodeCells>)) -> GrowthError {
    let Before { growth, mut cells, .. } = before(level);
    change(&mut cells);
    growth.on_cells(cells).unwrap_err()
}

/// A feature that shows cells in the first node.
fn shown(cells: &[NodeCells]) -> usize {
    cells[0].features.iter().rposition(|feature| !feature.cells.is_empty()).unwrap()
}

#[test]
fn cells_as_the_protocol_has_them_are_taken() {
    for level in 0..3 {
        let Before { growth, cells, .. } = before(level);
        assert!(growth.on_cells(cells).is_ok());
    }
}

#[test]
fn cells_of_more_or_fewer_nodes_or_features_are_refused() {
    for level in 0..2 {
        let more = refused(level, |cells| cells.push(cells[0].clone()));
        assert_eq!(more, GrowthError::Nodes { found: 2, expected: 1 });
        assert_eq!(refused(level, Vec::clear), GrowthError::Nodes { found: 0, expected: 1 });
        let few = refused(level, |cells| drop(cells[0].features.pop()));
        assert_eq!(few, GrowthError::Node { node: 0 });
        let many = refused(level, |cells| cells[0].features.extend_from_within(..1));
        assert_eq!(many, GrowthError::Node { node: 0 });
    }
    assert_eq!(refused(0, |cells| cells[0].child = Child::Right), GrowthError::Node { node: 0 });
}

#[test]
fn a_cell_too_many_or_too_few_is_refused() {
    for level in 0..3 {
        for change in [0, 1] {
            let found = refused(level, |cells| {
                let feature = shown(cells);
                let shown = &mut cells[0].features[feature].cells;
                shown.resize(shown.len() + 2 * change - 1, Cell::default());
            });
            assert!(matches!(found, GrowthError::Groups { node: 0, .. }), "{found:?}");
        }
        // A whole feature shows none.
        let found = refused(level, |cells| cells[0].features[3].cells.push(Cell::default()));
        assert_eq!(found, GrowthError::Groups { node: 0, feature: 3 });
    }
}

#[test]
fn groups_that_the_node_above_does_not_have_are_refused() {
    let root = refused(0, |cells| cells[0].features[0].groups = Groups::new(vec![0, 1, 2]).unwrap());
    assert_eq!(root, GrowthError::Groups { node: 0, feature: 0 });
    for lasts in [(0..33).collect(), vec![31], vec![1, 2, 3]] {
        let groups = Groups::new(lasts).unwrap();
        let found = refused(1, |cells| {
            cells[0].features[1].cells = vec![Cell::default(); groups.cells()];
            cells[0].features[1].groups = groups;
        });
        assert_eq!(found, GrowthError::Groups { node: 0, feature: 1 });
    }
}

#[test]
fn sums_that_cannot_be_are_refused() {
    let far = i64::from(MAX_RESIDUAL) * MAX_TRAIN_ROWS as i64;
    let changes: [fn(&mut Cell); 7] = [
        |cell| cell.count += 1,
        |cell| cell.count = u64::MAX,
        |cell| cell.sum += 1,
        |cell| cell.sum = i64::MIN,
        |cell| cell.sum = i64::MAX,
        |cell| *cell = Cell { sum: 1, count: 0 },
        |cell| cell.count = 0,
    ];
    for level in 0..3 {
        for (i, change) in changes.iter().enumerate() {
            let found = refused(level, |cells| {
                let feature = shown(cells);
                change(&mut cells[0].features[feature].cells[1]);
            });
            assert!(matches!(found, GrowthError::Sums { node: 0, .. }), "change {i}: {found:?}");
        }
    }
    assert_eq!(Bound::new(MAX_TRAIN_ROWS, MAX_RESIDUAL.into()).unwrap().sum(), far as u64);
}

#[test]
fn a_child_with_more_rows_than_its_parent_in_a_group_is_refused() {
    let found = refused(1, |cells| {
        // The total stays what it is, but all of it stands in the first group.
        let feature = shown(cells);
        let shown = &mut cells[0].features[feature].cells;
        let total = Cell::total(shown).unwrap();
        shown.fill(Cell::default());
        shown[0] = total;
    });
    assert!(matches!(found, GrowthError::Sums { node: 0, .. }), "{found:?}");
}

#[test]
fn numbers_beyond_a_trainings_limits_are_refused() {
    let bound = Bound::new(10, 1_024).unwrap();
    for bins in [vec![], vec![0], vec![34], vec![2; MAX_TRAIN_FEATURES + 1]] {
        assert_eq!(Growth::new(&parameters(|_| ()), &bins, bound).unwrap_err(), GrowthError::Features);
    }
    assert_eq!(Bound::new(MAX_TRAIN_ROWS + 1, 1), Err(GrowthError::Bound));
    assert_eq!(Bound::new(1, u64::from(MAX_RESIDUAL) + 1), Err(GrowthError::Bound));
}

fn split(feature: u16, bin: u8) -> Decision {
    Decision::Split(Split { feature, bin })
}

#[test]
fn decisions_that_are_not_one_for_each_node_are_refused() {
    for (level, nodes) in [(0, 1), (1, 2)] {
        for found in [0, nodes - 1, nodes + 1] {
            let decisions = vec![Decision::Leaf(1); found];
            let error = before(level).settled.apply(&decisions).unwrap_err();
            assert_eq!(error, PartitionError::Decisions { found, expected: nodes });
        }
    }
}

#[test]
fn splits_of_what_is_not_there_are_refused() {
    // A feature that the unit does not have, a bin above the last, one behind the last group, and a whole feature.
    for wrong in [split(BINS.len() as u16, 0), split(u16::MAX, 0), split(0, 255), split(0, 3), split(3, 0)] {
        let error = before(0).settled.apply(&[wrong]).unwrap_err();
        assert_eq!(error, PartitionError::Decision { index: 0 });
    }
    // A bin within a group.
    let Before { settled, .. } = before(0);
    let groups = settled.due().next().unwrap().groups[1].clone();
    let inside = (0..32).find(|bin| !groups.splits_at(*bin)).unwrap();
    assert_eq!(settled.apply(&[split(1, inside)]).unwrap_err(), PartitionError::Decision { index: 0 });
    for wrong in [i32::MIN, MAX_RESIDUAL as i32 + 1] {
        let error = before(1).settled.apply(&[Decision::Leaf(0), Decision::Leaf(wrong)]).unwrap_err();
        assert_eq!(error, PartitionError::Decision { index: 1 });
    }
}

#[test]
fn the_greatest_depth_has_leaves_and_as_many_as_its_splits_ask_for() {
    let last = || {
        let Before { growth, settled, cells } = before(2);
        let Step::Grown { decisions, .. } = growth.on_cells(cells).unwrap() else { panic!() };
        (settled, decisions)
    };
    let (settled, decisions) = last();
    assert!(matches!(settled.apply(&decisions), Ok(Applied::Done(_))));
    let (settled, mut decisions) = last();
    let expected = decisions.len();
    decisions.pop();
    let short = PartitionError::Decisions { found: expected - 1, expected };
    assert_eq!(settled.apply(&decisions).unwrap_err(), short);
    let (settled, mut decisions) = last();
    *decisions.last_mut().unwrap() = split(1, 5);
    assert_eq!(settled.apply(&decisions).unwrap_err(), PartitionError::Decision { index: expected - 1 });
}

#[test]
fn a_carrier_settles_on_nothing_that_it_did_not_propose() {
    let world = World::new(1, 900);
    let hyperparameters = parameters(|_| ());
    let root = Arc::new(Root::new(Arc::new(world.held(|_| true)), &hyperparameters, 1).unwrap());
    let settle = |change: fn(&mut Vec<Proposal>)| {
        let partition = Partition::new(&root);
        let mut agreed = partition.proposals().to_vec();
        change(&mut agreed);
        partition.settle(agreed).map(|_| ())
    };
    assert_eq!(settle(|agreed| agreed[0].groups[1] = Groups::new(vec![32]).unwrap()), Ok(()));
    let finer = settle(|agreed| agreed[0].groups[1] = Groups::new((0..33).collect()).unwrap());
    assert_eq!(finer, Err(PartitionError::Groups { pair: 0, feature: 1 }));
    let other = settle(|agreed| agreed[0].groups[1] = Groups::new(vec![31]).unwrap());
    assert_eq!(other, Err(PartitionError::Groups { pair: 0, feature: 1 }));
    let few = settle(|agreed| drop(agreed[0].groups.pop()));
    assert_eq!(few, Err(PartitionError::Proposals { found: 4, expected: 5 }));
    assert_eq!(settle(Vec::clear), Err(PartitionError::Proposals { found: 0, expected: 1 }));
    assert_eq!(settle(|agreed| agreed[0].child = Child::Right), Err(PartitionError::Root));
}

#[test]
fn proposals_that_do_not_meet_are_refused() {
    let proposal =
        |lasts: Vec<u8>| Proposal { child: Child::Left, groups: vec![Groups::new(lasts).unwrap()] };
    let (a, b) = (proposal(vec![1, 5]), proposal(vec![1, 4]));
    let end = PartitionError::Meeting(GroupsError::End { found: 4, expected: 5 });
    assert_eq!(agree(&[std::slice::from_ref(&a), &[b]]), Err(end));
    assert_eq!(agree(&[]), Err(PartitionError::Carriers { found: 0 }));
    let one: &[Proposal] = std::slice::from_ref(&a);
    assert_eq!(agree(&[one; 17]), Err(PartitionError::Carriers { found: 17 }));
    assert_eq!(agree(&[one, &[]]), Err(PartitionError::Proposals { found: 0, expected: 1 }));
    let none = Proposal { child: Child::Left, groups: Vec::new() };
    assert_eq!(agree(&[one, &[none]]), Err(PartitionError::Proposals { found: 0, expected: 1 }));
}

#[test]
fn most_carriers_choose_the_child_and_all_keep_a_boundary() {
    let proposal =
        |child, lasts: &[u8]| [Proposal { child, groups: vec![Groups::new(lasts.to_vec()).unwrap()] }];
    let (a, b, c) = (
        proposal(Child::Right, &[1, 3, 9]),
        proposal(Child::Left, &[1, 2, 3, 9]),
        proposal(Child::Right, &[2, 3, 9]),
    );
    assert_eq!(agree(&[&a, &b, &c]).unwrap(), proposal(Child::Right, &[3, 9]));
    assert_eq!(agree(&[&a, &b]).unwrap(), proposal(Child::Left, &[1, 3, 9]));
}

#[test]
fn groups_ascend_within_the_bins() {
    assert_eq!(Groups::new(vec![]), Err(GroupsError::Count { found: 0 }));
    assert_eq!(Groups::new(vec![0; 34]), Err(GroupsError::Count { found: 34 }));
    assert_eq!(Groups::new(vec![1, 1]), Err(GroupsError::Order { index: 1 }));
    assert_eq!(Groups::new(vec![33]), Err(GroupsError::Order { index: 0 }));
    assert_eq!(Groups::merge(&[], 1), Err(GroupsError::Count { found: 0 }));
    assert_eq!(Groups::merge(&[1; 300], 1), Err(GroupsError::Count { found: 300 }));
    let merged = Groups::merge(&[3, 0, 4, 5, 5, 1, 2], NUMBERS.minimum_count / 5).unwrap();
    assert_eq!(merged.lasts(), [2, 3, 6]);
}
