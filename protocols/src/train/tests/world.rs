//! Seeded rows: bins that are unevenly filled, and residuals that depend on some of them.

use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::train::binning::Binned;
use crate::train::boosting::{Row, bound, clear_cells};
use crate::train::growth::{Growth, Step};
use crate::train::histogram::{Child, NodeCells};
use crate::train::parameters::{Hyperparameters, Numbers};
use crate::train::partition::{Applied, Partition, Root, Settled, agree};
use crate::train::tree::{ABSENT, Tree};

/// Bins of the features: few, all that there can be, two, and one, which cannot be split.
pub(super) const BINS: [u8; 5] = [4, 33, 2, 1, 12];

pub(super) const NUMBERS: Numbers = Numbers {
    blocks: 3,
    trees: 2,
    depth: 3,
    rate_micros: 300_000,
    lambda: 1,
    minimum_rows: 7,
    minimum_count: 25,
};

pub(super) fn parameters(change: impl FnOnce(&mut Numbers)) -> Hyperparameters {
    let mut numbers = NUMBERS;
    change(&mut numbers);
    Hyperparameters::new(numbers).unwrap()
}

/// Listed rows: their bins by feature, and every third with a residual.
pub(super) struct World {
    pub(super) columns: Vec<Vec<u8>>,
    pub(super) labels: Vec<Option<bool>>,
    pub(super) rows: Vec<Row>,
}

impl World {
    pub(super) fn new(seed: u64, rows: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut world = Self { columns: vec![Vec::new(); BINS.len()], labels: Vec::new(), rows: Vec::new() };
        for row in 0..rows {
            let bins = BINS.map(|bins| skewed(&mut rng, bins));
            let risk = u32::from(bins[1]) * 20 + u32::from(bins[4] % 5) * 60 + u32::from(bins[2]) * 100;
            let label = rng.next_u32() % 1_024 < risk;
            let real = row % 3 == 0;
            world.columns.iter_mut().zip(bins).for_each(|(column, bin)| column.push(bin));
            world.labels.push(real.then_some(label));
            world.rows.push(Row::new(real.then_some(label), 400));
        }
        world
    }

    /// The rows that a carrier holds.
    pub(super) fn held(&self, holds: impl Fn(usize) -> bool) -> Binned {
        let bin = |(row, bin): (usize, &u8)| if holds(row) { *bin } else { ABSENT };
        let columns = self.columns.iter().map(|column| column.iter().enumerate().map(bin).collect());
        Binned::new(columns.collect(), BINS.to_vec()).unwrap()
    }

    /// Carriers that hold every k-th row each.
    pub(super) fn carriers(&self, k: usize) -> Vec<Binned> {
        (0..k).map(|carrier| self.held(|row| row % k == carrier)).collect()
    }

    pub(super) fn growth(&self, hyperparameters: &Hyperparameters) -> Growth {
        Growth::new(hyperparameters, &BINS, bound(&self.rows).unwrap()).unwrap()
    }
}

/// The smaller of two draws: low bins are full, high ones almost empty.
fn skewed(rng: &mut ChaCha20Rng, bins: u8) -> u8 {
    (rng.next_u32() % u32::from(bins)).min(rng.next_u32() % u32::from(bins)) as u8
}

/// A tree as it grows between one unit and the label holder, level by level.
pub(super) struct Run {
    pub(super) carriers: Vec<Binned>,
    /// Which child is sent, whatever the unit would rather.
    pub(super) forced: Option<Child>,
}

/// What there was to see at a level: what is due of whom, and what was sent.
pub(super) struct Level<'a> {
    pub(super) settled: &'a [Settled],
    pub(super) cells: &'a [NodeCells],
}

impl Run {
    pub(super) fn tree(
        &self,
        world: &World,
        hyperparameters: &Hyperparameters,
        mut see: impl FnMut(&Level<'_>),
    ) -> (Tree, Vec<i32>) {
        let root = |binned: &Binned| {
            Arc::new(Root::new(Arc::new(binned.clone()), hyperparameters, self.carriers.len()).unwrap())
        };
        let mut partitions: Vec<_> =
            self.carriers.iter().map(|binned| Partition::new(&root(binned))).collect();
        let mut growth = world.growth(hyperparameters);
        for level in 0.. {
            let settled = self.settle(partitions, level);
            let cells = self.cells(&settled, &world.rows);
            let step = growth.on_cells(cells.clone()).unwrap();
            let (Step::Deeper { decisions, .. } | Step::Grown { decisions, .. }) = &step;
            see(&Level { settled: &settled, cells: &cells });
            let applied: Vec<_> =
                settled.into_iter().map(|settled| settled.apply(decisions).unwrap()).collect();
            match step {
                Step::Deeper { growth: next, .. } => growth = next,
                Step::Grown { tree, .. } => return (tree, values(applied, world.rows.len())),
            }
            partitions = applied.into_iter().map(deeper).collect();
        }
        unreachable!("a tree ends")
    }

    fn settle(&self, partitions: Vec<Partition>, level: usize) -> Vec<Settled> {
        let proposals: Vec<_> = partitions.iter().map(Partition::proposals).collect();
        let mut agreed = agree(&proposals).unwrap();
        if let (Some(forced), 1..) = (self.forced, level) {
            agreed.iter_mut().for_each(|pair| pair.child = forced);
        }
        partitions.into_iter().map(|partition| partition.settle(agreed.clone()).unwrap()).collect()
    }

    fn cells(&self, settled: &[Settled], rows: &[Row]) -> Vec<NodeCells> {
        let each = self.carriers.iter().zip(settled).map(|(binned, settled)| {
            settled.due().map(|due| clear_cells(binned, &due, rows)).collect::<Vec<_>>()
        });
        each.reduce(|sums, more| sums.into_iter().zip(more).map(|(sum, more)| plus(sum, &more)).collect())
            .unwrap()
    }
}

fn plus(mut sum: NodeCells, more: &NodeCells) -> NodeCells {
    let cells = sum.features.iter_mut().flat_map(|feature| &mut feature.cells);
    let more = more.features.iter().flat_map(|feature| &feature.cells);
    cells.zip(more).for_each(|(sum, more)| *sum = sum.plus(*more).unwrap());
    sum
}

fn deeper(applied: Applied) -> Partition {
    match applied {
        Applied::Deeper(partition) => partition,
        Applied::Done(_) => panic!("the unit ended a tree that the label holder did not"),
    }
}

fn values(applied: Vec<Applied>, rows: usize) -> Vec<i32> {
    let mut sum = vec![0; rows];
    for applied in applied {
        let Applied::Done(values) = applied else { panic!("the unit did not end its tree") };
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    sum
}
