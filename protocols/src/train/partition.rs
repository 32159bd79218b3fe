//! The unit's side of a tree: which row is in which node, and how bins are merged so that no sum is about few people.

use std::ops::Range;
use std::sync::Arc;

use super::binning::Binned;
use super::histogram::{Child, Groups, GroupsError};
use super::parameters::Hyperparameters;
use super::tree::{Decision, Split};
use crate::limits::{MAX_BINS, MAX_SCORE_PROVIDERS};

/// Listed rows of every bin, by feature.
type Listed = Vec<[u32; MAX_BINS]>;

/// What stays the same for every tree of a training: a carrier's rows, and how their bins are merged at the root.
#[derive(Debug)]
pub struct Root {
    binned: Arc<Binned>,
    depth: u8,
    minimum: u32,
    part: Part,
    groups: Vec<Groups>,
}

/// What a carrier can show of the root, or of the children of a split: which child's cells it would rather send, and
/// how its bins merge in both children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The child with fewer listed rows; left where both have as many, and for the root.
    pub child: Child,
    /// The groups by feature. A feature that the node was split by is whole: its cells are known.
    pub groups: Vec<Groups>,
}

/// A carrier's rows by node, before it is settled how bins are merged at this level.
#[derive(Debug)]
pub struct Partition {
    state: State,
    pairs: Vec<Pair>,
    proposals: Vec<Proposal>,
}

/// A carrier's rows by node, whose sums are due; waits for the label holder's decisions.
#[derive(Debug)]
pub struct Settled {
    state: State,
    nodes: Vec<Node>,
    agreed: Vec<Proposal>,
}

/// What follows decisions.
#[derive(Debug)]
pub enum Applied {
    /// Another level, whose groups are to be settled.
    Deeper(Partition),
    /// The leaf of every listed row, 0 for rows that are not held.
    Done(Vec<i32>),
}

/// A node of which sums are due.
#[derive(Debug, Clone, Copy)]
pub struct Due<'a> {
    /// Which child it is.
    pub child: Child,
    /// Its rows, by their place in the list, ascending.
    pub rows: &'a [u32],
    /// How its bins are merged, by feature. Whole features have no sums.
    pub groups: &'a [Groups],
}

/// What all nodes share.
#[derive(Debug)]
struct State {
    root: Arc<Root>,
    /// The splits above the nodes of this level.
    level: u8,
    /// Listed rows, node after node.
    rows: Vec<u32>,
    /// The leaf of every listed row.
    values: Vec<i32>,
}

/// Some rows, and how many of them are in each bin.
#[derive(Debug, Clone)]
struct Part {
    rows: Range<usize>,
    /// Only of features that were not whole in the node above.
    listed: Listed,
}

/// The children of a split, or the root alone.
#[derive(Debug)]
struct Pair {
    parts: Vec<(Child, Part)>,
    /// The split, and the groups that its feature had.
    split: Option<(Split, Groups)>,
}

/// A node that waits for its decision.
#[derive(Debug)]
struct Node {
    part: Part,
    groups: Vec<Groups>,
}

/// Why proposals or decisions are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// No carrier, or too many.
    #[error("a unit has 1 to {MAX_SCORE_PROVIDERS} carriers, found {found}")]
    Carriers {
        /// How many there are.
        found: usize,
    },
    /// Not a proposal for each split of the level, or not groups for each feature.
    #[error("the proposals are {found}, expected {expected}")]
    Proposals {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A right child where there is only the root.
    #[error("a root counts as a left child")]
    Root,
    /// Groups that part rows which a carrier must merge, or groups of other features.
    #[error("the groups of feature {feature} in pair {pair} are not merged from those proposed")]
    Groups {
        /// The proposal's index.
        pair: usize,
        /// The feature.
        feature: usize,
    },
    /// Not a decision for every node of the level.
    #[error("{found} decisions for a level of {expected} nodes")]
    Decisions {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A split of a feature or at a bin that the node does not have, or below the greatest depth; or a leaf beyond
    /// the largest residual.
    #[error("decision {index} splits what cannot be split there, or adds more than a residual can be")]
    Decision {
        /// The decision's index.
        index: usize,
    },
    /// Groups that do not meet.
    #[error(transparent)]
    Meeting(#[from] GroupsError),
}

impl Root {
    /// A carrier's rows. `carriers` grow trees as one, each under its share of the agreed minimum count.
    ///
    /// The label holder, whose own sums nobody else sees, takes [`Self::unmerged`].
    ///
    /// # Errors
    /// [`PartitionError::Carriers`].
    pub fn new(
        binned: Arc<Binned>,
        hyperparameters: &Hyperparameters,
        carriers: usize,
    ) -> Result<Self, PartitionError> {
        if !(1..=MAX_SCORE_PROVIDERS).contains(&carriers) {
            return Err(PartitionError::Carriers { found: carriers });
        }
        let minimum = hyperparameters.minimum_count.div_ceil(carriers as u32);
        Ok(Self::with_minimum(binned, hyperparameters.depth, minimum))
    }

    /// The rows of somebody who also knows the labels: bins are merged only where they are empty.
    pub fn unmerged(binned: Arc<Binned>, hyperparameters: &Hyperparameters) -> Self {
        Self::with_minimum(binned, hyperparameters.depth, 1)
    }

    fn with_minimum(binned: Arc<Binned>, depth: u8, minimum: u32) -> Self {
        let held: Vec<_> = held(&binned).collect();
        let listed: Listed = (0..binned.bins().len()).map(|f| count(&binned, f, &held)).collect();
        let merge = |(listed, bins): (&[u32; MAX_BINS], &u8)| {
            Groups::merge(&listed[..usize::from(*bins)], minimum).expect("a feature has 1 to MAX_BINS bins")
        };
        let groups = listed.iter().zip(binned.bins()).map(merge).collect();
        Self { binned, depth, minimum, part: Part { rows: 0..held.len(), listed }, groups }
    }

    /// The rows by bins.
    pub fn binned(&self) -> &Binned {
        &self.binned
    }
}

impl Partition {
    /// Begins a tree: all rows are in its root.
    pub fn new(root: &Arc<Root>) -> Self {
        let state = State {
            rows: held(&root.binned).collect(),
            values: vec![0; root.binned.rows()],
            level: 0,
            root: Arc::clone(root),
        };
        let pair = Pair { parts: vec![(Child::Left, root.part.clone())], split: None };
        let proposal = Proposal { child: Child::Left, groups: root.groups.clone() };
        Self { state, pairs: vec![pair], proposals: vec![proposal] }
    }

    /// What this carrier can show: a proposal for every split of the level above, or for the root.
    pub fn proposals(&self) -> &[Proposal] {
        &self.proposals
    }

    /// A carrier that is alone in its unit settles on its own proposals.
    pub fn settle_alone(self) -> Settled {
        let agreed = self.proposals.clone();
        self.settled(agreed)
    }

    /// Settles on what the unit agreed on ([`agree`]).
    ///
    /// # Errors
    /// [`PartitionError::Proposals`] and [`PartitionError::Groups`]: nothing is shown that this carrier did not
    /// propose.
    pub fn settle(self, agreed: Vec<Proposal>) -> Result<Settled, PartitionError> {
        same(agreed.len(), self.proposals.len())?;
        for (pair, (agreed, own)) in agreed.iter().zip(&self.proposals).enumerate() {
            same(agreed.groups.len(), own.groups.len())?;
            let finer = |(agreed, own): (&Groups, &Groups)| !agreed.coarsens(own);
            if let Some(feature) = agreed.groups.iter().zip(&own.groups).position(finer) {
                return Err(PartitionError::Groups { pair, feature });
            }
        }
        if self.state.level == 0 && agreed[0].child != Child::Left {
            return Err(PartitionError::Root);
        }
        Ok(self.settled(agreed))
    }

    fn settled(self, agreed: Vec<Proposal>) -> Settled {
        let nodes = self.pairs.into_iter().zip(&agreed).flat_map(|(pair, agreed)| pair.nodes(&agreed.groups));
        Settled { nodes: nodes.collect(), state: self.state, agreed }
    }
}

/// What a unit of several carriers can show together: the boundaries that all propose, and the child that most would
/// rather send, the left one where there are as many for either. One list of proposals for each carrier.
///
/// # Errors
/// [`PartitionError::Carriers`], [`PartitionError::Proposals`], [`PartitionError::Meeting`].
pub fn agree(carriers: &[&[Proposal]]) -> Result<Vec<Proposal>, PartitionError> {
    let Some((first, others)) = carriers.split_first().filter(|_| carriers.len() <= MAX_SCORE_PROVIDERS)
    else {
        return Err(PartitionError::Carriers { found: carriers.len() });
    };
    let mut agreed = first.to_vec();
    for other in others {
        same(other.len(), agreed.len())?;
        for (agreed, other) in agreed.iter_mut().zip(*other) {
            same(other.groups.len(), agreed.groups.len())?;
            for (groups, other) in agreed.groups.iter_mut().zip(&other.groups) {
                *groups = groups.intersect(other)?;
            }
        }
    }
    for (pair, agreed) in agreed.iter_mut().enumerate() {
        let right = carriers.iter().filter(|proposals| proposals[pair].child == Child::Right).count();
        agreed.child = if 2 * right > carriers.len() { Child::Right } else { Child::Left };
    }
    Ok(agreed)
}

impl Pair {
    /// The nodes of a pair whose groups are settled. The feature of the split keeps, in either child, the groups that
    /// it had there.
    fn nodes(self, agreed: &[Groups]) -> impl Iterator<Item = Node> {
        self.parts.into_iter().map(move |(child, part)| {
            let mut groups = agreed.to_vec();
            if let Some((split, had)) = &self.split {
                groups[usize::from(split.feature)] = had.child(split.bin, child);
            }
            Node { part, groups }
        })
    }
}

impl Settled {
    /// The nodes whose sums are due, in the order in which they are sent: the root, or a child of every split.
    pub fn due(&self) -> impl Iterator<Item = Due<'_>> {
        let alone = self.state.level == 0;
        self.agreed.iter().enumerate().map(move |(pair, agreed)| {
            let node = if alone { 0 } else { 2 * pair + usize::from(agreed.child == Child::Right) };
            let rows = &self.state.rows[self.nodes[node].part.rows.clone()];
            Due { child: agreed.child, rows, groups: &agreed.groups }
        })
    }

    /// Follows the label holder's decisions: one for every node of this level, in order, and where splits lead to the
    /// greatest depth, the leaves of their children.
    ///
    /// # Errors
    /// [`PartitionError::Decisions`], [`PartitionError::Decision`].
    pub fn apply(self, decisions: &[Decision]) -> Result<Applied, PartitionError> {
        let Self { mut state, nodes, .. } = self;
        let wrong = |expected| PartitionError::Decisions { found: decisions.len(), expected };
        let (here, below) = decisions.split_at_checked(nodes.len()).ok_or_else(|| wrong(nodes.len()))?;
        let mut splits = Vec::new();
        for (index, (node, decision)) in nodes.into_iter().zip(here).enumerate() {
            match *decision {
                _ if !decision.is_sound() => return Err(PartitionError::Decision { index }),
                Decision::Leaf(value) => state.fill(node.part.rows, value),
                Decision::Split(split) if node.splits_at(split) => splits.push((split, node)),
                Decision::Split(_) => return Err(PartitionError::Decision { index }),
            }
        }
        state.level += 1;
        let last = state.level == state.root.depth;
        let expected = here.len() + if last { 2 * splits.len() } else { 0 };
        if decisions.len() != expected {
            return Err(wrong(expected));
        }
        if last {
            state.leaves(splits, below, here.len())
        } else if splits.is_empty() {
            Ok(Applied::Done(state.values))
        } else {
            Ok(Applied::Deeper(state.deeper(splits)))
        }
    }
}

impl Node {
    fn splits_at(&self, split: Split) -> bool {
        self.groups.get(usize::from(split.feature)).is_some_and(|groups| groups.splits_at(split.bin))
    }
}

impl State {
    fn fill(&mut self, rows: Range<usize>, value: i32) {
        for row in &self.rows[rows] {
            self.values[*row as usize] = value;
        }
    }

    /// Ends the tree with the leaves of the last splits.
    fn leaves(
        mut self,
        splits: Vec<(Split, Node)>,
        leaves: &[Decision],
        first: usize,
    ) -> Result<Applied, PartitionError> {
        for (pair, (split, node)) in splits.into_iter().enumerate() {
            let middle = self.part(split, node.part.rows.clone());
            for (i, rows) in
                [node.part.rows.start..middle, middle..node.part.rows.end].into_iter().enumerate()
            {
                match leaves[2 * pair + i] {
                    leaf @ Decision::Leaf(value) if leaf.is_sound() => self.fill(rows, value),
                    _ => return Err(PartitionError::Decision { index: first + 2 * pair + i }),
                }
            }
        }
        Ok(Applied::Done(self.values))
    }

    /// Parts the rows of split nodes, and proposes what can be shown of their children.
    fn deeper(mut self, splits: Vec<(Split, Node)>) -> Partition {
        let (mut pairs, mut proposals) = (Vec::with_capacity(splits.len()), Vec::with_capacity(splits.len()));
        for (split, node) in splits {
            let middle = self.part(split, node.part.rows.clone());
            let (left, right) = self.count(&node, middle);
            proposals.push(self.propose(split, &node, &left, &right));
            let had = node.groups.into_iter().nth(split.feature.into()).expect("the split was checked");
            pairs.push(Pair {
                parts: vec![(Child::Left, left), (Child::Right, right)],
                split: Some((split, had)),
            });
        }
        Partition { state: self, pairs, proposals }
    }

    /// Moves rows that go left before those that go right, both in their order, and returns where these begin.
    fn part(&mut self, split: Split, rows: Range<usize>) -> usize {
        let column = self.root.binned.column(split.feature.into());
        let (mut right, mut middle) = (Vec::with_capacity(rows.len()), rows.start);
        for place in rows.clone() {
            let row = self.rows[place];
            if column[row as usize] <= split.bin {
                self.rows[middle] = row;
                middle += 1;
            } else {
                right.push(row);
            }
        }
        self.rows[middle..rows.end].copy_from_slice(&right);
        middle
    }

    /// Counts the listed rows of both children: those of the smaller, and the others by subtraction.
    fn count(&self, node: &Node, middle: usize) -> (Part, Part) {
        let rows = &node.part.rows;
        let (left, right) = (rows.start..middle, middle..rows.end);
        let left_is_smaller = left.len() <= right.len();
        let smaller = &self.rows[if left_is_smaller { left.clone() } else { right.clone() }];
        let few: Listed =
            (0..node.groups.len())
                .map(|f| {
                    if node.groups[f].is_whole() {
                        [0; MAX_BINS]
                    } else {
                        count(&self.root.binned, f, smaller)
                    }
                })
                .collect();
        let rest = |f: usize| std::array::from_fn(|bin| node.part.listed[f][bin] - few[f][bin]);
        let many: Listed =
            (0..few.len()).map(|f| if node.groups[f].is_whole() { [0; MAX_BINS] } else { rest(f) }).collect();
        let (one, other) = if left_is_smaller { (few, many) } else { (many, few) };
        (Part { rows: left, listed: one }, Part { rows: right, listed: other })
    }

    fn propose(&self, split: Split, node: &Node, left: &Part, right: &Part) -> Proposal {
        let groups = node.groups.iter().enumerate().map(|(f, groups)| {
            if groups.is_whole() || f == usize::from(split.feature) {
                Groups::whole(groups.last())
            } else {
                groups.refine(&left.listed[f], &right.listed[f], self.root.minimum)
            }
        });
        let child = if left.rows.len() <= right.rows.len() { Child::Left } else { Child::Right };
        Proposal { child, groups: groups.collect() }
    }
}

fn same(found: usize, expected: usize) -> Result<(), PartitionError> {
    if found == expected { Ok(()) } else { Err(PartitionError::Proposals { found, expected }) }
}

/// The rows that a carrier holds, by their place in the list.
fn held(binned: &Binned) -> impl Iterator<Item = u32> {
    (0..binned.rows()).filter(|row| binned.holds(*row)).map(|row| row as u32)
}

/// How many of these rows are in each bin of a feature.
fn count(binned: &Binned, feature: usize, rows: &[u32]) -> [u32; MAX_BINS] {
    let (column, mut listed) = (binned.column(feature), [0; MAX_BINS]);
    for row in rows {
        listed[usize::from(column[*row as usize])] += 1;
    }
    listed
}
