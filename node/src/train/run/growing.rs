//! What the bank decides of one unit's trees in a block: which step is due, and what follows from its answers.
//!
//! It has no network and no files, so that a training under way and an auditor who has the kept answers decide by the
//! same code.

use windvane_protocols::train::decode::Decoder;
use windvane_protocols::train::elgamal::TrainingKey;
use windvane_protocols::train::growth::{Bound, Growth, GrowthError, Step as Grown};
use windvane_protocols::train::histogram::NodeCells;
use windvane_protocols::train::parameters::Hyperparameters;
use windvane_protocols::train::partition::{Proposal, agree};
use windvane_protocols::train::step::{Place, Step};
use windvane_protocols::train::tree::{Decision, Tree};

use super::answers::Answer;
use super::cells::{RootCounts, cells_of, decrypt, with_counts};
use super::error::Fault;

/// By what sums are decrypted.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Decryption<'a> {
    pub(in crate::train) key: &'a TrainingKey,
    pub(in crate::train) decoder: &'a Decoder,
    pub(in crate::train) threads: usize,
}

/// The trees of a unit in one block, as they grow.
#[derive(Debug)]
pub(in crate::train) struct Growing {
    numbers: Hyperparameters,
    bins: Vec<u8>,
    bound: Bound,
    /// Counts of the training's first root, once they are known.
    counts: Option<RootCounts>,
    /// Where the tree is that grows; after the block's last tree there is no such level.
    place: Place,
    /// The tree that grows; `None` once all have.
    growth: Option<Growth>,
    /// What the members of a unit of several agreed on, once they have been asked what they can show.
    agreed: Option<Vec<Proposal>>,
    trees: Vec<Tree>,
    /// About the last level that was shown.
    last: Vec<Decision>,
}

/// A unit's trees of a block, and the decisions that the end of the block brings.
#[derive(Debug)]
pub(in crate::train) struct Trees {
    pub(in crate::train) trees: Vec<Tree>,
    pub(in crate::train) last: Vec<Decision>,
    pub(in crate::train) counts: Option<RootCounts>,
}

impl Growing {
    /// Begins a block of a unit whose features have so many `bins`; `counts` are those of the training's first root.
    pub(in crate::train) fn new(
        numbers: &Hyperparameters,
        bins: &[u8],
        block: u16,
        bound: Bound,
        counts: Option<RootCounts>,
    ) -> Result<Self, GrowthError> {
        Ok(Self {
            numbers: *numbers,
            bins: bins.to_vec(),
            bound,
            counts,
            place: Place::first(block),
            growth: Some(Growth::new(numbers, bins, bound)?),
            agreed: None,
            trees: Vec::with_capacity(numbers.trees.into()),
            last: Vec::new(),
        })
    }

    /// What every member of the unit is asked next; `None` once all trees of the block have grown.
    pub(in crate::train) fn step(&self) -> Option<Step> {
        self.growth.as_ref()?;
        let place = self.due();
        Some(match &self.agreed {
            Some(agreed) => Step::Sum { place, agreed: agreed.clone() },
            None if place == self.place => Step::Grow { place, decisions: self.last.clone() },
            None => Step::Grow { place, decisions: Vec::new() },
        })
    }

    /// How many trees have grown.
    pub(in crate::train) const fn grown(&self) -> usize {
        self.trees.len()
    }

    /// The block's trees.
    pub(in crate::train) fn finish(self) -> Trees {
        Trees { trees: self.trees, last: self.last, counts: self.counts }
    }

    /// Takes the answers of all members, in their order, to the step that was due. After an error it is of no use.
    pub(in crate::train) fn on_answers(
        &mut self,
        with: Decryption<'_>,
        mut answers: Vec<Answer>,
    ) -> Result<(), Fault> {
        let place = self.due();
        let shown = match (self.agreed.take(), &mut answers[..]) {
            (Some(agreed), _) => agreed,
            (None, [alone]) => std::mem::take(&mut alone.proposals),
            (None, several) => {
                let proposals: Vec<_> = several.iter().map(|answer| answer.proposals.as_slice()).collect();
                self.agreed = Some(agree(&proposals)?);
                return Ok(());
            }
        };
        let sent: Vec<_> = answers.into_iter().map(|answer| answer.ciphertexts).collect();
        let expected = cells_of(&shown, place.has_counts());
        let values = decrypt(with.key, with.decoder, &sent, expected, with.threads)?;
        if place == Place::first(0) {
            self.counts = Some(RootCounts::of(&shown, &values));
            if place != self.place {
                return Ok(());
            }
        }
        self.decide(place, &shown, &values)
    }

    /// The level that is due: where a bank was killed after a training's first block, its first root once more, whose
    /// answers are kept.
    fn due(&self) -> Place {
        if self.counts.is_none() { Place::first(0) } else { self.place }
    }

    fn decide(&mut self, place: Place, shown: &[Proposal], values: &[i64]) -> Result<(), Fault> {
        let cells = self.cells(place, shown, values);
        let cells = cells.ok_or(Fault::Unexpected { found: "other counts", expected: "counts of rows" })?;
        match self.growth.take().expect("a step was due").on_cells(cells)? {
            Grown::Deeper { growth, decisions } => {
                (self.growth, self.last) = (Some(growth), decisions);
                self.place.level += 1;
            }
            Grown::Grown { tree, decisions } => {
                self.bound = self.bound.after(&tree)?;
                self.last = decisions;
                self.trees.push(tree);
                if self.trees.len() < usize::from(self.numbers.trees) {
                    self.place = Place { tree: place.tree + 1, level: 0, ..place };
                    self.growth = Some(Growth::new(&self.numbers, &self.bins, self.bound)?);
                }
            }
        }
        Ok(())
    }

    fn cells(&self, place: Place, shown: &[Proposal], values: &[i64]) -> Option<Vec<NodeCells>> {
        if place.has_counts() {
            with_counts(shown, values)
        } else {
            self.counts.as_ref()?.join(shown, values)
        }
    }
}
