//! Banks that cheat in a training, for tests that hold an audit against them.

use windvane_protocols::train::step::Step;
use windvane_protocols::train::tree::{Decision, Tree};

use super::TrainRunner;
use super::job::Job;
use super::parts::Scales;
use super::unit::JointUnit;
use crate::train::sample::Kind;

/// How a bank cheats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Craft {
    /// In the second block, the first row to train on has a residual that is one larger than the true one.
    Residual,
    /// The first row to train on counts as a decoy.
    Indicator,
    /// The first unit's leaves are 0, so that the sum tells the others' contributions.
    Leaves,
    /// Decoys that another seed draws.
    List,
    /// Parts on a scale of twice the width.
    Scale,
}

impl TrainRunner {
    /// Has all trainings that this one runs cheat.
    pub const fn craft(&mut self, craft: Craft) {
        self.craft = Some(craft);
    }

    pub(super) fn list_seed<'a>(&self, honest: &'a [u8; 32]) -> &'a [u8; 32] {
        if self.craft == Some(Craft::List) { &[9; 32] } else { honest }
    }
}

impl Job {
    pub(super) fn crafted(mut self, craft: Option<Craft>) -> Self {
        self.craft = craft;
        self
    }

    /// The first row to train on.
    fn first(&self) -> usize {
        let first = self.listed.kinds().iter().position(|kind| matches!(kind, Kind::Training(_)));
        first.expect("a training has rows")
    }

    pub(super) fn crafted_indicator(&self, mut values: Vec<i64>) -> Vec<i64> {
        if self.craft == Some(Craft::Indicator) {
            values[self.first()] = 0;
        }
        values
    }

    pub(super) fn crafted_scales(&self, scales: Scales) -> Scales {
        if self.craft == Some(Craft::Scale) { scales.widened() } else { scales }
    }

    /// The trees of all units as they were told: a unit takes no scale but that of its own.
    pub(super) fn crafted_trees(&self, mut units: Vec<Vec<Tree>>) -> Vec<Vec<Tree>> {
        if self.craft == Some(Craft::Leaves) {
            let told = |tree: &Tree| Tree::new(zero(tree.nodes())).expect("only leaves differ");
            units[0] = units[0].iter().map(told).collect();
        }
        units
    }

    pub(super) fn crafted_residuals(&self, block: u16, mut residuals: Vec<i32>) -> Vec<i32> {
        if self.craft == Some(Craft::Residual) && block == 1 {
            residuals[self.first()] += 1;
        }
        residuals
    }
}

impl JointUnit {
    pub(super) fn crafted_step(&self, job: &Job, step: Step) -> Step {
        let first = job.checked.units[0].iter().map(|member| &member.party);
        let cheated =
            job.craft == Some(Craft::Leaves) && self.links.iter().map(|link| link.party()).eq(first);
        match step {
            Step::Grow { place, decisions } if cheated => Step::Grow { place, decisions: zero(&decisions) },
            Step::Contributions { block, decisions } if cheated => {
                Step::Contributions { block, decisions: zero(&decisions) }
            }
            step => step,
        }
    }
}

/// The same splits with leaves of 0.
fn zero(decisions: &[Decision]) -> Vec<Decision> {
    let zero = |decision: &Decision| match decision {
        Decision::Leaf(_) => Decision::Leaf(0),
        split => *split,
    };
    decisions.iter().map(zero).collect()
}
