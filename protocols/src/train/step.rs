//! The steps of a session, in the one encoding that both sides hash and a provider keeps.
//!
//! A session is a row of steps. In each block a provider is asked for every level of every tree ([`Step::Grow`], and in
//! a unit of several [`Step::Sum`] after it), and then for its contributions. Decisions about a level travel with the
//! step that follows it, so that the last step that a provider knows tells where everything is. Behind the last block it
//! is asked for its parts, once.

use sha2::{Digest as _, Sha512};

use super::histogram::{Child, Groups};
use super::partition::Proposal;
use super::scale::Scaling;
use super::tree::Decision;
use crate::limits::{MAX_BLOCK_TREES, MAX_TRAIN_BLOCKS, MAX_TRAIN_FEATURES, MAX_TREE_DEPTH, MAX_TREE_NODES};
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// Splits of one level, at most: those of the level above the deepest.
pub const MAX_LEVEL_PAIRS: usize = 1 << (MAX_TREE_DEPTH - 1);

/// A level of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The block, from 0.
    pub block: u16,
    /// The tree within the block, from 0.
    pub tree: u16,
    /// The level within the tree; the root's is 0.
    pub level: u8,
}

/// What the bank asks of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The next level of a tree.
    Grow {
        /// Which.
        place: Place,
        /// About the level that was shown last: the one above or, at a root, the last one of the tree before it. None
        /// for the first tree of a block.
        decisions: Vec<Decision>,
    },
    /// In a unit of several, the sums of the level by what all members can show.
    Sum {
        /// The place of the step before it.
        place: Place,
        /// What the members agreed on, by split of the level above.
        agreed: Vec<Proposal>,
    },
    /// What the provider's trees of the block add.
    Contributions {
        /// The block.
        block: u16,
        /// About the last level of the block's last tree.
        decisions: Vec<Decision>,
    },
    /// Behind the last block, the parts of the joint score that the provider will hold for the listed rows.
    Parts {
        /// How contributions become parts; the session ends under the same.
        scaling: Scaling,
    },
}

impl Place {
    /// The first level of a block.
    pub const fn first(block: u16) -> Self {
        Self { block, tree: 0, level: 0 }
    }

    /// Whether the sums of the indicator are shown: everywhere but at roots after a training's first, whose rows are
    /// always the same.
    pub const fn has_counts(self) -> bool {
        self.level > 0 || (self.block == 0 && self.tree == 0)
    }

    /// Whether there can be such a level.
    pub const fn is_sound(self) -> bool {
        self.block < MAX_TRAIN_BLOCKS && self.tree < MAX_BLOCK_TREES && self.level < MAX_TREE_DEPTH
    }

    fn to_bytes(self) -> [u8; 5] {
        let ([a, b], [c, d]) = (self.block.to_be_bytes(), self.tree.to_be_bytes());
        [a, b, c, d, self.level]
    }

    fn from_bytes([a, b, c, d, level]: [u8; 5]) -> Option<Self> {
        let place = Self { block: u16::from_be_bytes([a, b]), tree: u16::from_be_bytes([c, d]), level };
        place.is_sound().then_some(place)
    }
}

impl Step {
    /// The step's name, for errors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Grow { .. } => "a level",
            Self::Sum { .. } => "a level's sums",
            Self::Contributions { .. } => "contributions",
            Self::Parts { .. } => "parts",
        }
    }

    /// The step's block; none for what comes behind all of them.
    pub const fn block(&self) -> Option<u16> {
        match self {
            Self::Grow { place, .. } | Self::Sum { place, .. } => Some(place.block),
            Self::Contributions { block, .. } => Some(*block),
            Self::Parts { .. } => None,
        }
    }

    /// The decisions that travel with it.
    pub fn decisions(&self) -> &[Decision] {
        match self {
            Self::Grow { decisions, .. } | Self::Contributions { decisions, .. } => decisions,
            Self::Sum { .. } | Self::Parts { .. } => &[],
        }
    }

    /// Whether both are asked at the same place, whatever they say.
    pub fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Grow { place, .. }, Self::Grow { place: other, .. })
            | (Self::Sum { place, .. }, Self::Sum { place: other, .. }) => place == other,
            (Self::Contributions { block, .. }, Self::Contributions { block: other, .. }) => block == other,
            (Self::Parts { .. }, Self::Parts { .. }) => true,
            _ => false,
        }
    }

    /// What [`super::record::StepHash`] takes of what was asked.
    pub fn digest(&self) -> Hash {
        self.encode().digest()
    }
}

/// What [`super::record::StepHash`] takes of what was returned: the proposals, none where the step has none, and then
/// all ciphertexts as they travel.
pub fn returned_digest(proposals: &[Proposal], ciphertexts: &[u8]) -> Hash {
    let head = Transcript::new("windvane/train-returned/v1")
        .list("pair", proposals.iter().map(proposal_bytes))
        .u64("bytes", ciphertexts.len() as u64);
    Sha512::new_with_prefix(head.as_bytes()).chain_update(ciphertexts).finalize().into()
}

impl Record for Step {
    const DOMAIN: &'static str = "windvane/train-step/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let decisions = |t: Transcript, decisions: &[Decision]| {
            t.list("decision", decisions.iter().map(|decision| decision.to_bytes()))
        };
        match self {
            Self::Grow { place, decisions: made } => {
                decisions(t.text("step", "grow").bytes("place", &place.to_bytes()), made)
            }
            Self::Sum { place, agreed } => t
                .text("step", "sum")
                .bytes("place", &place.to_bytes())
                .list("pair", agreed.iter().map(proposal_bytes)),
            Self::Contributions { block, decisions: made } => {
                decisions(t.text("step", "contributions").u64("block", (*block).into()), made)
            }
            Self::Parts { scaling } => t.text("step", "parts").bytes("scaling", &scaling.to_bytes()),
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let place = |r: &mut Reader<'_>| {
            let form = TranscriptError::Form { label: "place", expected: "a level of a tree" };
            Place::from_bytes(r.array("place")?).ok_or(form)
        };
        match r.text("step")? {
            "grow" => Ok(Self::Grow { place: place(r)?, decisions: decisions(r)? }),
            "sum" => Ok(Self::Sum { place: place(r)?, agreed: proposals(r)? }),
            "contributions" => {
                Ok(Self::Contributions { block: r.number("block")?, decisions: decisions(r)? })
            }
            "parts" => {
                let form = TranscriptError::Form { label: "scaling", expected: "a scale, a span and 0 or 1" };
                Ok(Self::Parts { scaling: Scaling::from_bytes(r.array("scaling")?).ok_or(form)? })
            }
            _ => Err(TranscriptError::Form { label: "step", expected: "a known step" }),
        }
    }
}

fn decisions(r: &mut Reader<'_>) -> Result<Vec<Decision>, TranscriptError> {
    let form = TranscriptError::Form { label: "decision", expected: "splits and leaves" };
    let items = r.list("decision", MAX_TREE_NODES)?;
    items.into_iter().map(Decision::from_bytes).collect::<Option<_>>().ok_or(form)
}

fn proposals(r: &mut Reader<'_>) -> Result<Vec<Proposal>, TranscriptError> {
    let form = TranscriptError::Form { label: "pair", expected: "a child and groups by feature" };
    r.list("pair", MAX_LEVEL_PAIRS)?.into_iter().map(proposal).collect::<Option<_>>().ok_or(form)
}

/// 1 for the right child, then of each feature the number of groups and their last bins.
fn proposal_bytes(proposal: &Proposal) -> Vec<u8> {
    let mut bytes = vec![u8::from(proposal.child == Child::Right)];
    for groups in &proposal.groups {
        bytes.push(groups.len() as u8);
        bytes.extend_from_slice(groups.lasts());
    }
    bytes
}

fn proposal(bytes: &[u8]) -> Option<Proposal> {
    let (child, mut rest) = bytes.split_first()?;
    let child = match child {
        0 => Child::Left,
        1 => Child::Right,
        _ => return None,
    };
    let mut groups = Vec::new();
    while let Some((len, more)) = rest.split_first() {
        let (lasts, more) = more.split_at_checked(usize::from(*len))?;
        groups.push(Groups::new(lasts.to_vec()).ok()?);
        rest = more;
    }
    (1..=MAX_TRAIN_FEATURES).contains(&groups.len()).then_some(Proposal { child, groups })
}

#[cfg(test)]
mod tests {
    use super::super::scale::{Span, Values};
    use super::super::tree::Split;
    use super::*;

    fn parts(widest: u64) -> Step {
        let span = Span::new(-3, 4).unwrap();
        Step::Parts { scaling: Scaling::new(widest, span, Values::Coarse).unwrap() }
    }

    fn steps() -> [Step; 4] {
        let place = Place { block: 1, tree: 2, level: 3 };
        let decisions = vec![Decision::Split(Split { feature: 3, bin: 4 }), Decision::Leaf(-5)];
        let groups = vec![Groups::new(vec![2, 4]).unwrap(), Groups::new(vec![7]).unwrap()];
        let agreed = vec![
            Proposal { child: Child::Right, groups: groups.clone() },
            Proposal { child: Child::Left, groups },
        ];
        [
            Step::Grow { place, decisions: decisions.clone() },
            Step::Sum { place, agreed },
            Step::Contributions { block: 1, decisions },
            parts(9),
        ]
    }

    #[test]
    fn steps_survive_their_encoding_and_refuse_every_truncation() {
        for step in steps() {
            let bytes = step.encode().into_bytes();
            assert!((0..bytes.len()).all(|end| Step::decode(&bytes[..end]).is_err()));
            assert_eq!(Step::decode(&bytes), Ok(step));
        }
    }

    #[test]
    fn places_beyond_a_training_and_lists_beyond_a_level_are_refused() {
        for place in [
            Place { block: MAX_TRAIN_BLOCKS, tree: 0, level: 0 },
            Place { block: 0, tree: MAX_BLOCK_TREES, level: 0 },
            Place { block: 0, tree: 0, level: MAX_TREE_DEPTH },
        ] {
            assert!(Step::decode(Step::Grow { place, decisions: vec![] }.encode().as_bytes()).is_err());
        }
        let place = Place::first(0);
        let many = Step::Grow { place, decisions: vec![Decision::Leaf(0); MAX_TREE_NODES + 1] };
        assert!(Step::decode(many.encode().as_bytes()).is_err());
        let Step::Sum { agreed, .. } = &steps()[1] else { panic!() };
        let many = Step::Sum { place, agreed: vec![agreed[0].clone(); MAX_LEVEL_PAIRS + 1] };
        assert!(Step::decode(many.encode().as_bytes()).is_err());
        let none = Step::Sum { place, agreed: vec![Proposal { child: Child::Left, groups: vec![] }] };
        assert!(Step::decode(none.encode().as_bytes()).is_err());
    }

    #[test]
    fn the_same_place_is_told_from_another_whatever_is_decided_there() {
        let [grow, sum, contributions, last] = steps();
        assert!(grow.is_at(&Step::Grow { place: Place { block: 1, tree: 2, level: 3 }, decisions: vec![] }));
        assert!(!grow.is_at(&Step::Grow { place: Place::first(1), decisions: vec![] }));
        assert!(contributions.is_at(&Step::Contributions { block: 1, decisions: vec![] }));
        assert!(!grow.is_at(&sum) && !sum.is_at(&contributions));
        assert!(last.is_at(&parts(10)) && !last.is_at(&contributions));
        assert_eq!(
            [grow, sum, contributions, last].map(|step| step.block()),
            [Some(1), Some(1), Some(1), None]
        );
    }

    #[test]
    fn counts_are_shown_but_at_later_roots() {
        let shown = |block, tree, level| Place { block, tree, level }.has_counts();
        assert!(shown(0, 0, 0) && shown(0, 1, 1) && shown(3, 0, 2));
        assert!(!shown(0, 1, 0) && !shown(1, 0, 0));
    }

    #[test]
    fn what_was_returned_is_hashed_with_its_proposals() {
        let Step::Sum { agreed, .. } = &steps()[1] else { panic!() };
        let all = [
            returned_digest(&[], b""),
            returned_digest(agreed, b""),
            returned_digest(agreed, b"a"),
            returned_digest(&[], b"a"),
        ];
        assert!((0..4).all(|i| all[..i].iter().all(|other| *other != all[i])));
    }
}
