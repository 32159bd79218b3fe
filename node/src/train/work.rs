//! What a provider computes in a session: trees that grow on ciphertexts.
//!
//! It has no clock, no files and no network. A step moves it; its answer can then be had as often as wanted, under fresh
//! randomness and the same masks. Steps that were kept, taken again from a block's residuals on, give the same state.
//! **An error leaves it of no use**, since a step consumes what it moves: it is built again from what is kept.

use std::sync::Arc;

use windvane_protocols::limits::MAX_CIPHERTEXTS_PER_CHUNK;
use windvane_protocols::train::context::Context;
use windvane_protocols::train::elgamal::{Ciphertexts, Statistic};
use windvane_protocols::train::mask::{Masks, Node};
use windvane_protocols::train::parameters::Hyperparameters;
use windvane_protocols::train::partition::{
    Applied, Due, Partition, PartitionError, Proposal, Root, Settled,
};
use windvane_protocols::train::scale::Scaling;
use windvane_protocols::train::step::{Place, Step, returned_digest};
use windvane_protocols::train::sums::{Feature, Kind, Statistics};
use windvane_protocols::train::tree::{Decision, Tree};
use windvane_protocols::transcript::Hash;

use super::TrainRefusal;

/// What a step returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Returned {
    /// What the provider can show of a level.
    pub(crate) proposals: Vec<Proposal>,
    /// Ciphertexts as they travel.
    pub(crate) ciphertexts: Vec<u8>,
}

impl Returned {
    /// What both sides hash of it.
    pub(super) fn digest(&self) -> Hash {
        returned_digest(&self.proposals, &self.ciphertexts)
    }
}

/// With whom a provider masks what.
#[derive(Debug)]
pub(super) struct SessionMasks {
    /// Contributions, with all other providers.
    pub(super) contributions: Masks,
    /// Sums, with the other members of the unit; nothing in a unit of one.
    pub(super) sums: Masks,
}

/// The trees of a session, from the decisions of its steps.
#[derive(Debug, Default)]
pub(super) struct TreeLog {
    nodes: Vec<Decision>,
    trees: Vec<Tree>,
}

impl TreeLog {
    /// Takes a step's decisions.
    pub(super) fn take(&mut self, step: &Step) -> Result<(), TrainRefusal> {
        self.nodes.extend_from_slice(step.decisions());
        let ends = match step {
            Step::Grow { place, .. } => place.level == 0 && place.tree > 0,
            Step::Sum { .. } | Step::Parts { .. } => false,
            Step::Contributions { .. } => true,
        };
        if ends {
            let tree = Tree::new(std::mem::take(&mut self.nodes));
            self.trees.push(tree.map_err(|_| PartitionError::Decisions { found: 0, expected: 1 })?);
        }
        Ok(())
    }

    /// The trees that are complete, in the order in which they grew.
    pub(super) fn trees(&self) -> &[Tree] {
        &self.trees
    }
}

/// A session's state between two steps.
#[derive(Debug)]
pub(super) struct Work {
    hyperparameters: Hyperparameters,
    root: Arc<Root>,
    statistics: Statistics,
    masks: SessionMasks,
    /// What all providers were told so far.
    told: Context,
    /// The same, and what the unit was asked in the block so far.
    asked: Context,
    threads: usize,
    block: u16,
    waiting: Waiting,
    /// What the block's trees add so far, by listed row; behind the last block, the parts.
    values: Vec<i32>,
}

/// What a session waits for.
#[derive(Debug)]
enum Waiting {
    /// The residuals of a block.
    Residuals,
    /// The block's first level.
    Block,
    /// What a unit agrees on.
    Agreement(Place, Partition),
    /// The decisions about a level.
    Decisions(Place, Settled),
    /// The next block's residuals, or parts; contributions can still be had.
    Contributed,
    /// The end; parts can still be had.
    Parted(Scaling),
    /// Nothing: a step failed.
    Failed,
}

impl Work {
    pub(super) fn new(
        hyperparameters: Hyperparameters,
        root: Root,
        statistics: Statistics,
        masks: SessionMasks,
        told: Context,
        threads: usize,
    ) -> Self {
        let (root, values) = (Arc::new(root), vec![0; statistics.rows()]);
        Self {
            hyperparameters,
            root,
            statistics,
            masks,
            told,
            asked: told,
            threads,
            block: 0,
            waiting: Waiting::Residuals,
            values,
        }
    }

    /// Which block's residuals are due, if they are.
    pub(super) fn residuals_due(&self) -> Option<u16> {
        match self.waiting {
            Waiting::Residuals => Some(0),
            Waiting::Contributed => Some(self.block + 1).filter(|block| *block < self.hyperparameters.blocks),
            _ => None,
        }
    }

    /// Whether all blocks are through, and parts were asked for.
    pub(super) const fn is_through(&self) -> bool {
        matches!(self.waiting, Waiting::Parted(_))
    }

    /// Begins a block; the digest is that of the residuals as they were uploaded.
    pub(super) fn residuals(
        &mut self,
        block: u16,
        residuals: Ciphertexts,
        digest: &Hash,
    ) -> Result<(), TrainRefusal> {
        self.statistics.begin_block(residuals).map_err(|_| TrainRefusal::Sums)?;
        self.told_residuals(block, digest);
        self.values.fill(0);
        (self.block, self.waiting) = (block, Waiting::Block);
        Ok(())
    }

    /// Takes in what all providers were told by a block's residuals; of blocks that are over the digest is enough.
    pub(super) fn told_residuals(&mut self, block: u16, digest: &Hash) {
        self.told = self.told.uploaded(Statistic::Residual { block }, digest);
        self.asked = self.told;
    }

    /// Has the contributions of rows that are held out told too; the digest is that of the upload.
    pub(super) fn hold_out(&mut self, held_out: &Ciphertexts, digest: &Hash) -> Result<(), TrainRefusal> {
        self.told = self.told.uploaded(Statistic::HeldOut, digest);
        self.statistics.hold_out(held_out).map_err(|_| TrainRefusal::Sums)
    }

    /// Whether all blocks are through, and parts were not asked for yet.
    pub(super) fn parts_are_due(&self) -> bool {
        matches!(self.waiting, Waiting::Contributed) && self.block + 1 == self.hyperparameters.blocks
    }

    /// Moves to the last step, of which these are the parts, by listed row.
    pub(super) fn part(&mut self, scaling: Scaling, parts: &[u8]) -> Result<(), TrainRefusal> {
        if !self.parts_are_due() {
            return Err(order(&Step::Parts { scaling }, "the blocks that are left"));
        }
        if parts.len() != self.values.len() {
            return Err(TrainRefusal::Sums);
        }
        self.values.iter_mut().zip(parts).for_each(|(value, part)| *value = i32::from(*part));
        self.waiting = Waiting::Parted(scaling);
        Ok(())
    }

    /// Moves to a step of a block, which is another one than the last.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), TrainRefusal> {
        self.expect(step)?;
        self.check_leaves(step.decisions())?;
        self.asked = self.asked.stepped(step);
        self.waiting = match (std::mem::replace(&mut self.waiting, Waiting::Failed), step) {
            (Waiting::Block, Step::Grow { place, .. }) => self.propose(*place, Partition::new(&self.root)),
            (Waiting::Agreement(place, partition), Step::Sum { agreed, .. }) => {
                Waiting::Decisions(place, partition.settle(agreed.clone())?)
            }
            (Waiting::Decisions(_, settled), step) => match (settled.apply(step.decisions())?, step) {
                (Applied::Deeper(partition), Step::Grow { place, .. }) if place.level > 0 => {
                    self.propose(*place, partition)
                }
                (Applied::Done(leaves), Step::Grow { place, .. }) if place.level == 0 => {
                    self.add(&leaves);
                    self.statistics.update(&leaves, self.threads).map_err(|_| TrainRefusal::Sums)?;
                    self.propose(*place, Partition::new(&self.root))
                }
                (Applied::Done(leaves), Step::Contributions { .. }) => {
                    self.add(&leaves);
                    Waiting::Contributed
                }
                (Applied::Deeper(_), _) => return Err(order(step, "the tree's next level")),
                (Applied::Done(_), _) => return Err(order(step, "the next tree, or contributions")),
            },
            _ => return Err(order(step, "another step")),
        };
        Ok(())
    }

    /// The answer of the step that came last.
    pub(super) fn answer(&self, rng: &mut impl rand_core::CryptoRng) -> Result<Returned, TrainRefusal> {
        match &self.waiting {
            Waiting::Agreement(_, partition) => {
                Ok(Returned { proposals: partition.proposals().to_vec(), ciphertexts: Vec::new() })
            }
            Waiting::Decisions(place, settled) => {
                let proposals = if self.is_alone() { proposals(settled) } else { Vec::new() };
                Ok(Returned { proposals, ciphertexts: self.sums(*place, settled, rng)? })
            }
            Waiting::Contributed => {
                Ok(Returned { proposals: Vec::new(), ciphertexts: self.rows(None, rng)? })
            }
            Waiting::Parted(scaling) => {
                Ok(Returned { proposals: Vec::new(), ciphertexts: self.rows(Some(*scaling), rng)? })
            }
            _ => Err(TrainRefusal::Order { found: "a step", expected: "residuals" }),
        }
    }

    fn is_alone(&self) -> bool {
        self.masks.sums.is_alone()
    }

    /// Whether this is the place of the next step. It consumes nothing.
    fn expect(&self, step: &Step) -> Result<(), TrainRefusal> {
        let next_tree = |place: Place| Place { block: place.block, tree: place.tree + 1, level: 0 };
        let (fits, expected) = match (&self.waiting, step) {
            (Waiting::Block, Step::Grow { place, decisions }) => {
                (*place == Place::first(self.block) && decisions.is_empty(), "the block's first level")
            }
            (Waiting::Agreement(place, _), Step::Sum { place: found, .. }) => (found == place, "its sums"),
            (Waiting::Decisions(last, _), Step::Grow { place, .. }) => {
                let deeper = Place { level: last.level + 1, ..*last };
                let more = last.tree + 1 < self.hyperparameters.trees;
                (*place == deeper || (more && *place == next_tree(*last)), "the next level or tree")
            }
            (Waiting::Decisions(last, _), Step::Contributions { block, .. }) => {
                (*block == self.block && last.tree + 1 == self.hyperparameters.trees, "the next tree")
            }
            (Waiting::Residuals | Waiting::Contributed, _) => (false, "residuals, or parts"),
            (Waiting::Parted(_), _) => (false, "the end"),
            (Waiting::Block, _) => (false, "the block's first level"),
            (Waiting::Agreement(..), _) => (false, "what the unit agreed on"),
            (Waiting::Decisions(..), _) => (false, "the next level, tree or contributions"),
            (Waiting::Failed, _) => (false, "a new connection"),
        };
        if fits { Ok(()) } else { Err(order(step, expected)) }
    }

    /// No row's contribution may come near what cannot be computed: an error there would tell which rows a leaf has.
    fn check_leaves(&self, decisions: &[Decision]) -> Result<(), TrainRefusal> {
        let most = self.hyperparameters.largest_leaf();
        let far =
            |decision: &Decision| matches!(decision, Decision::Leaf(value) if value.unsigned_abs() > most);
        match decisions.iter().position(far) {
            Some(index) => Err(PartitionError::Decision { index }.into()),
            None => Ok(()),
        }
    }

    fn propose(&self, place: Place, partition: Partition) -> Waiting {
        if self.is_alone() {
            Waiting::Decisions(place, partition.settle_alone())
        } else {
            Waiting::Agreement(place, partition)
        }
    }

    fn add(&mut self, leaves: &[i32]) {
        self.values.iter_mut().zip(leaves).for_each(|(sum, leaf)| *sum += leaf);
    }

    /// Of every node that is due the residuals' sums and then, where they are shown, the indicator's.
    fn sums(
        &self,
        place: Place,
        settled: &Settled,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Vec<u8>, TrainRefusal> {
        let kinds: &[Kind] =
            if place.has_counts() { &[Kind::Residual, Kind::Indicator] } else { &[Kind::Residual] };
        let mut bytes = Vec::new();
        for (pair, due) in (0..).zip(settled.due()) {
            let node = Node { block: place.block, tree: place.tree, level: place.level, place: pair };
            for kind in kinds {
                bytes.extend(self.node_sums(node, *kind, &due, rng)?);
            }
        }
        Ok(bytes)
    }

    fn node_sums(
        &self,
        node: Node,
        kind: Kind,
        due: &Due<'_>,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Vec<u8>, TrainRefusal> {
        let binned = self.root.binned();
        let shown = || due.groups.iter().enumerate().filter(|(_, groups)| !groups.is_whole());
        let of_bins: Vec<_> = shown().map(|(_, groups)| groups.of_bins()).collect();
        let features: Vec<_> = shown()
            .zip(&of_bins)
            .map(|((feature, groups), of_bins)| Feature {
                bins: binned.column(feature),
                group_of_bin: &of_bins[..=usize::from(groups.last())],
                groups: groups.len(),
            })
            .collect();
        let masks = (!self.is_alone()).then(|| {
            let groups: Vec<_> = due.groups.iter().map(|groups| groups.cells()).collect();
            self.masks.sums.cells(&self.asked, node, kind, &groups)
        });
        let sums = self.statistics.sums(kind, due.rows, &features, self.threads);
        let sums = sums.map_err(|_| TrainRefusal::Sums)?;
        let masks = masks.as_ref().map(|masks| masks.as_slice());
        let answers = self.statistics.answer_sums(&sums, masks, self.threads, rng);
        Ok(answers.map_err(|_| TrainRefusal::Sums)?.into_flattened())
    }

    /// The value of every listed row, under masks with all providers: of the block, or of parts.
    fn rows(
        &self,
        parts: Option<Scaling>,
        rng: &mut impl rand_core::CryptoRng,
    ) -> Result<Vec<u8>, TrainRefusal> {
        let all = &self.masks.contributions;
        let mut bytes = Vec::new();
        for first in (0..self.values.len()).step_by(MAX_CIPHERTEXTS_PER_CHUNK) {
            let values = &self.values[first..self.values.len().min(first + MAX_CIPHERTEXTS_PER_CHUNK)];
            let rows = first as u32..(first + values.len()) as u32;
            let of = |masks: &Masks, context| match parts {
                Some(scaling) => masks.parts(context, scaling.scale(), scaling.values(), rows.clone()),
                None => masks.contributions(context, self.block, rows.clone()),
            };
            // Over the unit as well: members that were asked different things are no longer one.
            let masks = (!all.is_alone()).then(|| {
                let (mut masks, unit) = (of(all, &self.told), of(&self.masks.sums, &self.asked));
                masks.iter_mut().zip(unit.iter()).for_each(|(mask, more)| *mask += more);
                masks
            });
            let masks = masks.as_ref().map(|masks| masks.as_slice());
            let rows = self.statistics.contributions(first, values, masks, self.threads, rng);
            bytes.extend(rows.map_err(|_| TrainRefusal::Sums)?.into_flattened());
        }
        Ok(bytes)
    }
}

/// What a provider that is alone settled on.
fn proposals(settled: &Settled) -> Vec<Proposal> {
    settled.due().map(|due| Proposal { child: due.child, groups: due.groups.to_vec() }).collect()
}

fn order(step: &Step, expected: &'static str) -> TrainRefusal {
    TrainRefusal::Order { found: step.name(), expected }
}

#[cfg(test)]
mod tests;
