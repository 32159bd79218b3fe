//! The same tree without any short cut: every node's rows, groups and sums from scratch, gains as exact fractions.

use super::world::{BINS, World};
use crate::train::parameters::{Hyperparameters, ONE};
use crate::train::tree::{Decision, Split, Tree};

/// A node: its rows, and the last bins of its groups by feature.
#[derive(Clone)]
struct Node {
    rows: Vec<usize>,
    groups: Vec<Vec<u8>>,
}

/// Who holds a row, and under which minimum of its own each of them merges.
pub(super) struct Holders {
    pub(super) count: usize,
    pub(super) minimum: usize,
}

pub(super) fn tree(world: &World, holders: &Holders, hyperparameters: &Hyperparameters) -> Tree {
    let all: Vec<_> = (0..world.rows.len()).collect();
    let bins: Vec<Vec<u8>> = BINS.iter().map(|bins| (0..*bins).collect()).collect();
    let groups = (0..BINS.len()).map(|f| common(world, holders, f, &bins[f], &[&all])).collect();
    let mut level = vec![Node { rows: all, groups }];
    let mut nodes = Vec::new();
    for depth in 0..=hyperparameters.depth {
        let mut next = Vec::new();
        for node in level {
            let split =
                if depth < hyperparameters.depth { best(world, &node, hyperparameters) } else { None };
            nodes.push(split.map_or_else(|| leaf(world, &node.rows, hyperparameters), Decision::Split));
            next.extend(split.into_iter().flat_map(|split| children(world, holders, &node, split)));
        }
        level = next;
    }
    Tree::new(nodes).unwrap()
}

/// The boundaries that every holder keeps when it merges, from below, until each group has enough rows in all sets.
fn common(world: &World, holders: &Holders, f: usize, groups: &[u8], sets: &[&[usize]]) -> Vec<u8> {
    let kept = |holder: usize| {
        let mut lasts: Vec<u8> = Vec::new();
        for last in groups {
            let above = lasts.last().copied();
            let inside = |row: &&usize| {
                let bin = world.columns[f][**row];
                **row % holders.count == holder && bin <= *last && above.is_none_or(|above| bin > above)
            };
            if sets.iter().all(|set| set.iter().filter(inside).count() >= holders.minimum) {
                lasts.push(*last);
            }
        }
        let end = *groups.last().unwrap();
        if lasts.last() != Some(&end) {
            lasts.pop();
            lasts.push(end);
        }
        lasts
    };
    let mut common = kept(0);
    (1..holders.count).for_each(|holder| common.retain(|last| kept(holder).contains(last)));
    common
}

fn children(world: &World, holders: &Holders, node: &Node, split: Split) -> [Node; 2] {
    let feature = usize::from(split.feature);
    let (left, right): (Vec<usize>, Vec<usize>) =
        node.rows.iter().partition(|row| world.columns[feature][**row] <= split.bin);
    let groups = |child: usize| {
        let groups = node.groups.iter().enumerate().map(|(f, groups)| {
            if f != feature {
                return common(world, holders, f, groups, &[&left, &right]);
            }
            groups.iter().filter(|last| (**last > split.bin) == (child == 1)).copied().collect()
        });
        groups.collect()
    };
    let groups = [groups(0), groups(1)];
    let [one, other] = groups;
    [Node { rows: left, groups: one }, Node { rows: right, groups: other }]
}

/// Sum of residuals and number of real rows.
fn sums(world: &World, rows: &[usize], keep: impl Fn(usize) -> bool) -> (i128, i128) {
    let rows = rows.iter().filter(|row| keep(**row)).map(|row| world.rows[*row]);
    rows.fold((0, 0), |(s, n), row| (s + i128::from(row.residual), n + i128::from(row.indicator)))
}

fn best(world: &World, node: &Node, hyperparameters: &Hyperparameters) -> Option<Split> {
    let (s, n) = sums(world, &node.rows, |_| true);
    let lambda = i128::from(hyperparameters.lambda);
    // What is to be exceeded, as a fraction.
    let (mut most, mut split) = ((s * s, n + lambda), None);
    for (feature, groups) in node.groups.iter().enumerate() {
        for bin in &groups[..groups.len() - 1] {
            let (sl, nl) = sums(world, &node.rows, |row| world.columns[feature][row] <= *bin);
            let (sr, nr) = (s - sl, n - nl);
            let score = (sl * sl * (nr + lambda) + sr * sr * (nl + lambda), (nl + lambda) * (nr + lambda));
            if nl.min(nr) >= hyperparameters.minimum_rows.into() && score.0 * most.1 > most.0 * score.1 {
                (most, split) = (score, Some(Split { feature: feature as u16, bin: *bin }));
            }
        }
    }
    split
}

fn leaf(world: &World, rows: &[usize], hyperparameters: &Hyperparameters) -> Decision {
    let (s, n) = sums(world, rows, |_| true);
    let exact = s as f64 * f64::from(hyperparameters.rate_micros)
        / f64::from(ONE)
        / (n as f64 + f64::from(hyperparameters.lambda));
    Decision::Leaf(exact.round() as i32)
}
