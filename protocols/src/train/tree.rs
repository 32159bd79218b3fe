//! Trees with integer leaves, and their one encoding.

use crate::limits::{MAX_BINS, MAX_RESIDUAL, MAX_TRAIN_FEATURES, MAX_TREE_DEPTH, MAX_TREE_NODES};
use crate::transcript::{Reader, Record, Transcript, TranscriptError};

/// The bin of a row that a carrier does not hold, in every feature.
pub const ABSENT: u8 = 255;

/// A test of one feature: rows with bins up to `bin` go left, all others right. Missing values have bin 0 and go left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Split {
    /// The feature, by its number within the unit.
    pub feature: u16,
    /// The last bin that goes left.
    pub bin: u8,
}

/// What the label holder decides about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It has two children.
    Split(Split),
    /// It adds this to the prediction of its rows, in units of 1/[`LABEL`](super::parameters::LABEL).
    Leaf(i32),
}

/// A whole tree: its nodes breadth first, each split's children next to each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tree {
    nodes: Vec<Decision>,
    /// Of each node, where its left child stands.
    children: Vec<u8>,
}

/// Why nodes are not a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Children are missing, or nodes follow that nobody is parent of.
    #[error("the splits of a tree ask for {expected} nodes, found {found}")]
    Nodes {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Deeper than a tree may be.
    #[error("node {index} splits at the greatest depth, {MAX_TREE_DEPTH}")]
    Depth {
        /// The node's index.
        index: usize,
    },
    /// A feature or a bin that is not there, or a leaf beyond the largest residual.
    #[error("node {index} tests a feature or bin that is not there, or adds more than a residual can be")]
    Node {
        /// The node's index.
        index: usize,
    },
}

impl Tree {
    /// A tree of nodes in breadth-first order.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn new(nodes: Vec<Decision>) -> Result<Self, TreeError> {
        let (mut children, mut expected) = (Vec::with_capacity(nodes.len().min(MAX_TREE_NODES)), 1);
        let (mut depth, mut level_end) = (0, 1);
        while children.len() < expected {
            let index = children.len();
            let node = nodes.get(index).ok_or(TreeError::Nodes { found: nodes.len(), expected })?;
            if !node.is_sound() {
                return Err(TreeError::Node { index });
            }
            if index == level_end {
                (depth, level_end) = (depth + 1, expected);
            }
            // A leaf has no children; nobody asks for them.
            children.push(expected as u8);
            match node {
                Decision::Split(_) if depth == MAX_TREE_DEPTH => return Err(TreeError::Depth { index }),
                Decision::Split(_) => expected += 2,
                Decision::Leaf(_) => {}
            }
        }
        if nodes.len() == expected {
            Ok(Self { nodes, children })
        } else {
            Err(TreeError::Nodes { found: nodes.len(), expected })
        }
    }

    /// The nodes, breadth first.
    pub fn nodes(&self) -> &[Decision] {
        &self.nodes
    }

    /// What the tree adds to a row's prediction, from the row's bin of a feature; nothing for a row that is not held
    /// ([`ABSENT`], or `None`).
    pub fn apply(&self, bin: impl Fn(u16) -> Option<u8>) -> i32 {
        let mut node = 0;
        loop {
            match self.nodes[node] {
                Decision::Leaf(value) => return value,
                Decision::Split(split) => match bin(split.feature) {
                    None | Some(ABSENT) => return 0,
                    Some(bin) => node = usize::from(self.children[node]) + usize::from(bin > split.bin),
                },
            }
        }
    }

    /// The leaf that is farthest from zero, as its distance: by how much the tree changes a residual, at most.
    pub fn reach(&self) -> u32 {
        self.leaves().map(i32::unsigned_abs).max().unwrap_or(0)
    }

    /// Whether every test is of one of the unit's features, whose numbers of bins these are, and parts its bins.
    pub fn fits(&self, bins: &[u8]) -> bool {
        self.nodes.iter().all(|node| match node {
            Decision::Leaf(_) => true,
            Decision::Split(split) => {
                bins.get(usize::from(split.feature)).is_some_and(|n| split.bin + 1 < *n)
            }
        })
    }

    /// The leaves' values, breadth first.
    pub fn leaves(&self) -> impl Iterator<Item = i32> {
        self.nodes.iter().filter_map(|node| match node {
            Decision::Leaf(value) => Some(*value),
            Decision::Split(_) => None,
        })
    }
}

impl Decision {
    /// Whether its numbers can be anybody's: there is such a feature and a bin above, or such a residual.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Split(split) => {
                usize::from(split.feature) < MAX_TRAIN_FEATURES && usize::from(split.bin) + 1 < MAX_BINS
            }
            Self::Leaf(value) => value.unsigned_abs() <= MAX_RESIDUAL,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; 5] {
        let mut bytes = [0; 5];
        match self {
            Self::Leaf(value) => bytes[1..].copy_from_slice(&value.to_be_bytes()),
            Self::Split(split) => {
                bytes[0] = 1;
                bytes[1..3].copy_from_slice(&split.feature.to_be_bytes());
                bytes[3] = split.bin;
            }
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [0, a, b, c, d] => Some(Self::Leaf(i32::from_be_bytes([a, b, c, d]))),
            [1, a, b, bin, 0] => Some(Self::Split(Split { feature: u16::from_be_bytes([a, b]), bin })),
            _ => None,
        }
    }
}

/// A node is five bytes: 0 and the leaf, or 1, the feature, the bin and 0.
impl Record for Tree {
    const DOMAIN: &'static str = "windvane/train-tree/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.list("node", self.nodes.iter().map(|node| node.to_bytes()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = TranscriptError::Form { label: "node", expected: "splits and leaves, breadth first" };
        let nodes: Option<_> =
            r.list("node", MAX_TREE_NODES)?.into_iter().map(Decision::from_bytes).collect();
        nodes.and_then(|nodes| Self::new(nodes).ok()).ok_or(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(feature: u16, bin: u8) -> Decision {
        Decision::Split(Split { feature, bin })
    }

    fn sample() -> Vec<Decision> {
        // 0: root; 1, 2: its children; 3, 4: those of 2.
        vec![split(1, 3), Decision::Leaf(-7), split(0, 0), Decision::Leaf(5), Decision::Leaf(6)]
    }

    /// A tree in which every way has as many splits.
    fn full(depth: u32) -> Vec<Decision> {
        let splits = (1 << depth) - 1;
        (0..2 * splits + 1).map(|i| if i < splits { split(0, 0) } else { Decision::Leaf(i) }).collect()
    }

    #[test]
    fn a_row_goes_left_up_to_the_split_bin_and_missing_values_do() {
        let tree = Tree::new(sample()).unwrap();
        let apply = |bins: [u8; 2]| tree.apply(|feature| bins.get(usize::from(feature)).copied());
        assert_eq!([[9, 0], [9, 3], [0, 4], [1, 4], [32, 32]].map(apply), [-7, -7, 5, 6, 6]);
        assert_eq!(apply([ABSENT; 2]), 0);
        assert_eq!(tree.apply(|_| None), 0);
        assert_eq!(tree.reach(), 7);
        assert!(tree.fits(&[2, 5]) && !tree.fits(&[2, 4]) && !tree.fits(&[1, 5]) && !tree.fits(&[2]));
    }

    #[test]
    fn a_tree_survives_its_encoding() {
        for nodes in [sample(), vec![Decision::Leaf(0)], full(MAX_TREE_DEPTH.into())] {
            let tree = Tree::new(nodes).unwrap();
            assert_eq!(Tree::decode(tree.encode().as_bytes()), Ok(tree));
        }
        assert_eq!(full(MAX_TREE_DEPTH.into()).len(), MAX_TREE_NODES);
    }

    #[test]
    fn nodes_that_are_not_one_tree_are_refused() {
        assert_eq!(Tree::new(Vec::new()), Err(TreeError::Nodes { found: 0, expected: 1 }));
        assert_eq!(Tree::new(sample()[..4].to_vec()), Err(TreeError::Nodes { found: 4, expected: 5 }));
        let longer = [sample(), vec![Decision::Leaf(0)]].concat();
        assert_eq!(Tree::new(longer), Err(TreeError::Nodes { found: 6, expected: 5 }));
        assert_eq!(Tree::new(full(5)), Err(TreeError::Depth { index: 15 }));
        let chain = [split(0, 0), Decision::Leaf(0)].repeat(20);
        assert_eq!(Tree::new(chain), Err(TreeError::Depth { index: 8 }));
        for wrong in [split(MAX_TRAIN_FEATURES as u16, 0), split(0, 32), Decision::Leaf(i32::MIN)] {
            assert_eq!(Tree::new(vec![wrong]), Err(TreeError::Node { index: 0 }));
        }
    }

    #[test]
    fn an_encoding_with_other_bytes_is_refused() {
        let good = Tree::new(sample()).unwrap().encode().into_bytes();
        // The last byte of the root's split is unused, and its first is 0 or 1.
        let root = good.windows(5).position(|bytes| bytes == [1, 0, 1, 3, 0]).unwrap();
        for (place, byte) in [(root + 4, 1), (root, 2), (root + 3, 33)] {
            let mut wrong = good.clone();
            wrong[place] = byte;
            assert!(Tree::decode(&wrong).is_err());
        }
        let many = Transcript::new(Tree::DOMAIN).u64("node", u64::MAX);
        assert!(Tree::decode(many.as_bytes()).is_err());
    }
}
