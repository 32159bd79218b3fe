//! The same training with clear numbers: what the label holder does with its own features, and the reference that a
//! training over encrypted residuals must equal, integer for integer.

use std::sync::Arc;

use super::binning::Binned;
use super::growth::{Bound, Growth, GrowthError, Step};
use super::histogram::{Cell, FeatureCells, Groups, NodeCells};
use super::parameters::{Hyperparameters, LABEL};
use super::partition::{Applied, Due, Partition, PartitionError, Root, Settled, agree};
use super::tree::{Decision, Tree};
use crate::limits::{MAX_BINS, MAX_SCORE_PROVIDERS};

/// What the label holder knows of a listed row: its residual and a 1, or two zeros where it is a decoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// The residual, in units of 1/[`LABEL`].
    pub residual: i32,
    /// 1 for a real row, 0 for a decoy.
    pub indicator: u32,
}

/// Those who grow trees as one: the label holder, a provider, or several carriers of one schema.
#[derive(Debug, Clone)]
pub struct Unit {
    carriers: Vec<Arc<Root>>,
    bins: Vec<u8>,
}

/// What a training leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    /// The prediction before the first tree, in units of 1/[`LABEL`].
    pub base: i64,
    /// Each unit's trees, the label holder first.
    pub trees: Vec<Vec<Tree>>,
}

/// Why a training does not begin or ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// A unit's carriers have other features, or somebody lists other rows.
    #[error("units and labels are not of the same {expected} rows, or carriers not of the same features")]
    Shape {
        /// The label holder's rows.
        expected: usize,
    },
    /// No real row.
    #[error("a training needs a label")]
    Labels,
    /// Sums that cannot be.
    #[error(transparent)]
    Growth(#[from] GrowthError),
    /// Decisions or groups that cannot be.
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

impl Unit {
    /// The unit of somebody who knows the labels.
    pub fn label_holder(binned: Binned, hyperparameters: &Hyperparameters) -> Self {
        let bins = binned.bins().to_vec();
        Self { carriers: vec![Arc::new(Root::unmerged(Arc::new(binned), hyperparameters))], bins }
    }

    /// A unit of one provider or of several carriers, each with the rows that it holds; no row is held by two.
    ///
    /// # Errors
    /// [`TrainingError::Shape`], and [`PartitionError::Carriers`].
    pub fn providers(
        carriers: Vec<Binned>,
        hyperparameters: &Hyperparameters,
    ) -> Result<Self, TrainingError> {
        let first = carriers.first().ok_or(PartitionError::Carriers { found: 0 })?;
        let (bins, expected) = (first.bins().to_vec(), first.rows());
        if carriers.iter().any(|binned| binned.bins() != bins || binned.rows() != expected) {
            return Err(TrainingError::Shape { expected });
        }
        let count = carriers.len();
        let root = |binned| Root::new(Arc::new(binned), hyperparameters, count).map(Arc::new);
        Ok(Self { carriers: carriers.into_iter().map(root).collect::<Result<_, _>>()?, bins })
    }

    fn rows(&self) -> usize {
        self.carriers[0].binned().rows()
    }

    /// Grows one tree, and gives the leaf of every row. `rows` are the listed rows, in order.
    ///
    /// # Errors
    /// [`TrainingError`] where the bound does not hold or `rows` are not as many as the unit's.
    pub fn tree(
        &self,
        hyperparameters: &Hyperparameters,
        rows: &[Row],
        bound: Bound,
    ) -> Result<(Tree, Vec<i32>), TrainingError> {
        if rows.len() != self.rows() {
            return Err(TrainingError::Shape { expected: self.rows() });
        }
        let mut growth = Growth::new(hyperparameters, &self.bins, bound)?;
        let mut partitions: Vec<_> = self.carriers.iter().map(Partition::new).collect();
        loop {
            let settled = settle(partitions)?;
            match growth.on_cells(self.cells(&settled, rows)?)? {
                Step::Deeper { growth: next, decisions } => {
                    growth = next;
                    partitions = deeper(settled, &decisions)?;
                }
                Step::Grown { tree, decisions } => {
                    return Ok((tree, values(settled, &decisions, rows.len())?));
                }
            }
        }
    }

    /// Grows the trees of one block and takes their leaves from the residuals; gives the trees and what they add to
    /// every row's prediction.
    ///
    /// # Errors
    /// As [`Self::tree`].
    pub fn block(
        &self,
        hyperparameters: &Hyperparameters,
        rows: &mut [Row],
    ) -> Result<(Vec<Tree>, Vec<i32>), TrainingError> {
        let mut bound = bound(rows)?;
        let (mut trees, mut contributions) = (Vec::new(), vec![0; rows.len()]);
        for _ in 0..hyperparameters.trees {
            let (tree, values) = self.tree(hyperparameters, rows, bound)?;
            bound = bound.after(&tree)?;
            subtract(rows, &values)?;
            contributions.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            trees.push(tree);
        }
        Ok((trees, contributions))
    }

    /// The cells that are due, all carriers' together.
    fn cells(&self, settled: &[Settled], rows: &[Row]) -> Result<Vec<NodeCells>, TrainingError> {
        let mut all: Vec<NodeCells> = Vec::new();
        for (root, settled) in self.carriers.iter().zip(settled) {
            let mut nodes = all.iter_mut();
            let mut more = Vec::new();
            for due in settled.due() {
                let cells = clear_cells(root.binned(), &due, rows);
                match nodes.next() {
                    Some(sum) => add(sum, &cells)?,
                    None => more.push(cells),
                }
            }
            all.extend(more);
        }
        Ok(all)
    }
}

/// The cells of a node from clear residuals. `rows` are the listed rows of `binned`, in order.
///
/// # Panics
/// Where `due` or `rows` are not of `binned`.
pub fn clear_cells(binned: &Binned, due: &Due<'_>, rows: &[Row]) -> NodeCells {
    let feature = |(feature, groups): (usize, &Groups)| {
        if groups.is_whole() {
            return FeatureCells { groups: groups.clone(), cells: Vec::new() };
        }
        let (column, mut bins) = (binned.column(feature), [Cell::default(); MAX_BINS]);
        for place in due.rows {
            let (row, cell) = (rows[*place as usize], &mut bins[usize::from(column[*place as usize])]);
            cell.sum += i64::from(row.residual);
            cell.count += u64::from(row.indicator);
        }
        let mut cells = vec![Cell::default(); groups.len()];
        for (cell, group) in
            bins.iter().zip(groups.of_bins()).filter(|(_, group)| usize::from(*group) < groups.len())
        {
            let sum = &mut cells[usize::from(group)];
            *sum = Cell { sum: sum.sum + cell.sum, count: sum.count + cell.count };
        }
        FeatureCells { groups: groups.clone(), cells }
    };
    NodeCells { child: due.child, features: due.groups.iter().enumerate().map(feature).collect() }
}

/// The reference: trains with clear residuals. `labels` has a label for every listed row, `None` for decoys; the label
/// holder's rows hold no decoy. In each block the others start from the residuals as the label holder left them.
///
/// # Errors
/// [`TrainingError`].
pub fn train_clear(
    holder: &Unit,
    others: &[Unit],
    labels: &[Option<bool>],
    hyperparameters: &Hyperparameters,
) -> Result<Trained, TrainingError> {
    if others.len() > MAX_SCORE_PROVIDERS {
        return Err(PartitionError::Carriers { found: others.len() }.into());
    }
    let base = base(labels)?;
    let mut rows: Vec<_> = labels.iter().map(|label| Row::new(*label, base)).collect();
    let mut trees = vec![Vec::new(); 1 + others.len()];
    for _ in 0..hyperparameters.blocks {
        let (own, _) = holder.block(hyperparameters, &mut rows)?;
        trees[0].extend(own);
        let mut sum = vec![0; rows.len()];
        for (unit, trees) in others.iter().zip(&mut trees[1..]) {
            let (more, contributions) = unit.block(hyperparameters, &mut rows.clone())?;
            trees.extend(more);
            sum.iter_mut().zip(contributions).for_each(|(sum, value)| *sum += value);
        }
        subtract(&mut rows, &sum)?;
    }
    Ok(Trained { base, trees })
}

/// The prediction before the first tree: the mean label times [`LABEL`], rounded to the nearest integer, halves up.
///
/// # Errors
/// [`TrainingError::Labels`].
pub fn base(labels: &[Option<bool>]) -> Result<i64, TrainingError> {
    let (real, positive) =
        (labels.iter().flatten().count(), labels.iter().flatten().filter(|label| **label).count());
    let doubled = 2 * LABEL as usize * positive + real;
    doubled.checked_div(2 * real).map(|base| base as i64).ok_or(TrainingError::Labels)
}

/// What the residuals of some rows bound.
///
/// # Errors
/// [`GrowthError::Bound`].
pub fn bound(rows: &[Row]) -> Result<Bound, GrowthError> {
    let real = rows.iter().map(|row| row.indicator as usize).sum();
    let residual = rows.iter().map(|row| row.residual.unsigned_abs()).max().unwrap_or(0);
    Bound::new(real, residual.into())
}

/// Takes what was added to each row's prediction from its residual; a decoy's stays 0.
///
/// # Errors
/// [`GrowthError::Bound`].
pub fn subtract(rows: &mut [Row], contributions: &[i32]) -> Result<(), GrowthError> {
    for (row, value) in rows.iter_mut().zip(contributions).filter(|(row, _)| row.indicator == 1) {
        row.residual = row.residual.checked_sub(*value).ok_or(GrowthError::Bound)?;
    }
    Ok(())
}

impl Row {
    /// A row before the first tree; a decoy has no label.
    pub fn new(label: Option<bool>, base: i64) -> Self {
        let residual = |label| (i64::from(label) * LABEL - base) as i32;
        label.map_or_else(Self::default, |label| Self { residual: residual(label), indicator: 1 })
    }
}

fn settle(partitions: Vec<Partition>) -> Result<Vec<Settled>, PartitionError> {
    let proposals: Vec<_> = partitions.iter().map(Partition::proposals).collect();
    let agreed = agree(&proposals)?;
    partitions.into_iter().map(|partition| partition.settle(agreed.clone())).collect()
}

fn deeper(settled: Vec<Settled>, decisions: &[Decision]) -> Result<Vec<Partition>, PartitionError> {
    let applied = settled.into_iter().map(|settled| settled.apply(decisions));
    let deeper = |applied| match applied {
        Applied::Deeper(partition) => Some(partition),
        Applied::Done(_) => None,
    };
    applied.filter_map(|applied| applied.map(deeper).transpose()).collect()
}

/// The leaf of every row, from those of each carrier.
fn values(settled: Vec<Settled>, decisions: &[Decision], rows: usize) -> Result<Vec<i32>, PartitionError> {
    let mut values = vec![0; rows];
    for settled in settled {
        if let Applied::Done(more) = settled.apply(decisions)? {
            values.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        }
    }
    Ok(values)
}

fn add(sum: &mut NodeCells, more: &NodeCells) -> Result<(), GrowthError> {
    for (feature, (sum, more)) in sum.features.iter_mut().zip(&more.features).enumerate() {
        for (sum, more) in sum.cells.iter_mut().zip(&more.cells) {
            *sum = sum.plus(*more).ok_or(GrowthError::Sums { node: 0, feature })?;
        }
    }
    Ok(())
}
