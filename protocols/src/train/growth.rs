//! The label holder's side of a tree: from sums to splits and leaves.

use super::histogram::{Cell, Child, FeatureCells, NodeCells};
use super::parameters::Hyperparameters;
use super::tree::{Decision, Split, Tree};
use crate::limits::{MAX_BINS, MAX_RESIDUAL, MAX_TRAIN_FEATURES, MAX_TRAIN_ROWS};

/// What sums can be at most: the label holder knows its real rows, and by how much their residuals differ from 0.
///
/// The same numbers bound what a decoder of encrypted sums has to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    rows: u64,
    residual: u32,
}

/// A tree that grows level by level; waits for the cells of a level.
#[derive(Debug)]
pub struct Growth {
    hyperparameters: Hyperparameters,
    bound: Bound,
    /// All decisions so far, breadth first.
    nodes: Vec<Decision>,
    /// The splits above the nodes of this level.
    level: u8,
    open: Open,
}

/// What is to be decided at a level.
#[derive(Debug)]
enum Open {
    /// The root, of features with so many bins.
    Root(Vec<u8>),
    /// The children of these nodes.
    Pairs(Vec<(Node, Split)>),
}

/// What follows the cells of a level.
#[derive(Debug)]
pub enum Step {
    /// Another level, whose cells are due.
    Deeper {
        /// Waits for them.
        growth: Growth,
        /// One for every node of this level, in order.
        decisions: Vec<Decision>,
    },
    /// The tree is complete.
    Grown {
        /// All of it.
        tree: Tree,
        /// One for every node of this level, in order, and then the leaves below.
        decisions: Vec<Decision>,
    },
}

/// Why cells are refused: a unit has not kept to the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrowthError {
    /// No feature, too many, or one with no bins or too many.
    #[error("a unit has 1 to {MAX_TRAIN_FEATURES} features with 1 to {MAX_BINS} bins")]
    Features,
    /// More real rows or larger residuals than a training may have.
    #[error("a training has at most {MAX_TRAIN_ROWS} real rows and residuals up to {MAX_RESIDUAL}")]
    Bound,
    /// Not cells of one node for each that is waited for.
    #[error("cells of {found} nodes, expected {expected}")]
    Nodes {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Not as many features as the unit has, or the right child of a root.
    #[error("node {node} is not of the unit's features, or is no child that it could be")]
    Node {
        /// Its index among those sent.
        node: usize,
    },
    /// Groups that are not merged from those of the node above, or not as many cells as there are groups.
    #[error("feature {feature} of node {node} has other groups than it can have, or not a cell for each")]
    Groups {
        /// The node's index among those sent.
        node: usize,
        /// The feature.
        feature: usize,
    },
    /// Sums that no rows have, or other sums than the node above or another feature says.
    #[error("feature {feature} of node {node} has sums that cannot be")]
    Sums {
        /// The node's index among those sent.
        node: usize,
        /// The feature.
        feature: usize,
    },
}

/// A node with all that is known of it.
#[derive(Debug)]
struct Node {
    total: Cell,
    features: Vec<FeatureCells>,
}

impl Bound {
    /// `rows` real rows, none of whose residuals is farther from 0 than `residual`.
    ///
    /// # Errors
    /// [`GrowthError::Bound`].
    pub fn new(rows: usize, residual: u64) -> Result<Self, GrowthError> {
        match u32::try_from(residual) {
            Ok(residual) if residual <= MAX_RESIDUAL && rows <= MAX_TRAIN_ROWS => {
                Ok(Self { rows: rows as u64, residual })
            }
            _ => Err(GrowthError::Bound),
        }
    }

    /// The bound once a tree's leaves are subtracted from the residuals.
    ///
    /// # Errors
    /// [`GrowthError::Bound`].
    pub fn after(self, tree: &Tree) -> Result<Self, GrowthError> {
        Self::new(self.rows as usize, u64::from(self.residual) + u64::from(tree.reach()))
    }

    /// Real rows.
    pub const fn rows(self) -> u64 {
        self.rows
    }

    /// The largest distance of a residual from 0.
    pub const fn residual(self) -> u32 {
        self.residual
    }

    /// The largest distance of a sum from 0, below 2^44.
    pub const fn sum(self) -> u64 {
        self.rows * self.residual as u64
    }

    fn holds(self, cell: Cell) -> bool {
        cell.count <= self.rows && cell.sum.unsigned_abs() <= cell.count * u64::from(self.residual)
    }
}

impl Growth {
    /// Begins a tree of a unit whose features have so many `bins` each.
    ///
    /// # Errors
    /// [`GrowthError::Features`].
    pub fn new(hyperparameters: &Hyperparameters, bins: &[u8], bound: Bound) -> Result<Self, GrowthError> {
        let few = (1..=MAX_TRAIN_FEATURES).contains(&bins.len());
        if !few || !bins.iter().all(|n| (1..=MAX_BINS).contains(&usize::from(*n))) {
            return Err(GrowthError::Features);
        }
        let open = Open::Root(bins.to_vec());
        Ok(Self { hyperparameters: *hyperparameters, bound, nodes: Vec::new(), level: 0, open })
    }

    /// Of how many nodes cells are due: the root, or one child of every split of the level above.
    pub fn waiting(&self) -> usize {
        match &self.open {
            Open::Root(_) => 1,
            Open::Pairs(pairs) => pairs.len(),
        }
    }

    /// What the sums can be at most.
    pub const fn bound(&self) -> Bound {
        self.bound
    }

    /// Decides about the nodes of a level.
    ///
    /// # Errors
    /// [`GrowthError`], all of them faults of the unit that sent the cells.
    pub fn on_cells(mut self, cells: Vec<NodeCells>) -> Result<Step, GrowthError> {
        if cells.len() != self.waiting() {
            return Err(GrowthError::Nodes { found: cells.len(), expected: self.waiting() });
        }
        let nodes = match std::mem::replace(&mut self.open, Open::Pairs(Vec::new())) {
            Open::Root(bins) => {
                cells.into_iter().map(|sent| self.root(&bins, sent)).collect::<Result<Vec<_>, _>>()?
            }
            Open::Pairs(pairs) => {
                let mut nodes = Vec::with_capacity(2 * pairs.len());
                for (index, ((parent, split), sent)) in pairs.iter().zip(cells).enumerate() {
                    nodes.extend(self.children(index, parent, *split, sent)?);
                }
                nodes
            }
        };
        Ok(self.decide(nodes))
    }

    /// The root, from the cells that were sent.
    fn root(&self, bins: &[u8], sent: NodeCells) -> Result<Node, GrowthError> {
        if sent.child != Child::Left || sent.features.len() != bins.len() {
            return Err(GrowthError::Node { node: 0 });
        }
        let mut total = None;
        for (feature, (cells, bins)) in sent.features.iter().zip(bins).enumerate() {
            if cells.groups.last() + 1 != *bins || cells.cells.len() != cells.groups.cells() {
                return Err(GrowthError::Groups { node: 0, feature });
            }
            if !cells.groups.is_whole() {
                let found = self.checked(&cells.cells).filter(|found| *found == *total.get_or_insert(*found));
                found.ok_or(GrowthError::Sums { node: 0, feature })?;
            }
        }
        // Where no feature can be split nothing is sent, and the tree is the leaf 0.
        Ok(Node { total: total.unwrap_or_default(), features: sent.features })
    }

    /// Both children of a split: one from the cells that were sent, its sibling by subtraction, and the split's own
    /// feature from the node above.
    fn children(
        &self,
        node: usize,
        parent: &Node,
        split: Split,
        sent: NodeCells,
    ) -> Result<[Node; 2], GrowthError> {
        if sent.features.len() != parent.features.len() {
            return Err(GrowthError::Node { node });
        }
        let child = sent.child;
        let total = parent.child_total(split, child);
        let rest = parent.total.minus(total).expect("a child's cells are among the node's");
        let mut sibling = Vec::with_capacity(sent.features.len());
        for (feature, (cells, above)) in sent.features.iter().zip(&parent.features).enumerate() {
            let known = feature == usize::from(split.feature);
            let groups = &cells.groups;
            let fits = (groups.is_whole() || !known) && groups.coarsens(&above.groups);
            if !fits || cells.cells.len() != groups.cells() {
                return Err(GrowthError::Groups { node, feature });
            }
            let sums = GrowthError::Sums { node, feature };
            if !groups.is_whole() && self.checked(&cells.cells) != Some(total) {
                return Err(sums);
            }
            sibling.push(self.sibling(cells, above).ok_or(sums)?);
        }
        let mut features = sent.features;
        let own = usize::from(split.feature);
        features[own] = parent.features[own].child(split.bin, child);
        sibling[own] = parent.features[own].child(split.bin, child.sibling());
        let (sent, other) = (Node { total, features }, Node { total: rest, features: sibling });
        Ok(if child == Child::Left { [sent, other] } else { [other, sent] })
    }

    /// What is left of a feature's cells once those that were sent are taken away.
    fn sibling(&self, sent: &FeatureCells, above: &FeatureCells) -> Option<FeatureCells> {
        if sent.groups.is_whole() {
            return Some(FeatureCells::whole(sent.groups.last()));
        }
        let all = sent.groups.regroup(above)?;
        let cells: Option<Vec<_>> = all.iter().zip(&sent.cells).map(|(all, sent)| all.minus(*sent)).collect();
        let cells = cells.filter(|cells| cells.iter().all(|cell| self.bound.holds(*cell)))?;
        Some(FeatureCells { groups: sent.groups.clone(), cells })
    }

    /// The total of cells that can all be, and so can their total.
    fn checked(&self, cells: &[Cell]) -> Option<Cell> {
        let total = Cell::total(cells).filter(|total| self.bound.holds(*total))?;
        cells.iter().all(|cell| self.bound.holds(*cell)).then_some(total)
    }

    /// Splits the nodes of this level that gain by it; their children at the greatest depth are leaves.
    fn decide(mut self, nodes: Vec<Node>) -> Step {
        let (mut decisions, mut pairs) = (Vec::with_capacity(nodes.len()), Vec::new());
        for node in nodes {
            match node.best_split(&self.hyperparameters) {
                Some(split) => {
                    decisions.push(Decision::Split(split));
                    pairs.push((node, split));
                }
                None => decisions.push(Decision::Leaf(self.hyperparameters.leaf(node.total))),
            }
        }
        self.level += 1;
        if self.level == self.hyperparameters.depth {
            for (node, split) in pairs.drain(..) {
                let leaf = |child| Decision::Leaf(self.hyperparameters.leaf(node.child_total(split, child)));
                decisions.extend([Child::Left, Child::Right].map(leaf));
            }
        }
        self.nodes.extend(&decisions);
        if pairs.is_empty() {
            let tree = Tree::new(self.nodes).expect("every split's children were decided");
            return Step::Grown { tree, decisions };
        }
        self.open = Open::Pairs(pairs);
        Step::Deeper { growth: self, decisions }
    }
}

impl Node {
    /// The split with the largest gain above 0; of equals, that of the lowest feature, and then the lowest bin.
    fn best_split(&self, hyperparameters: &Hyperparameters) -> Option<Split> {
        let (mut best, mut most) = (None, hyperparameters.score(self.total));
        for (feature, FeatureCells { groups, cells }) in (0..).zip(&self.features) {
            let mut left = Cell::default();
            for (bin, cell) in groups.lasts().iter().zip(cells) {
                left = left.plus(*cell).expect("the cells' total fits");
                let right = self.total.minus(left).expect("the cells' total is the node's");
                if left.count.min(right.count) < hyperparameters.minimum_rows.into() {
                    continue;
                }
                let score = hyperparameters.score(left) + hyperparameters.score(right);
                if score > most {
                    (best, most) = (Some(Split { feature, bin: *bin }), score);
                }
            }
        }
        best
    }

    /// The total of a child of one of this node's splits.
    fn child_total(&self, split: Split, child: Child) -> Cell {
        let FeatureCells { groups, cells } = &self.features[usize::from(split.feature)];
        let left = groups.lasts().iter().zip(cells).take_while(|(last, _)| **last <= split.bin);
        let add = |sum: Cell, (_, cell): (_, &Cell)| sum.plus(*cell).expect("the cells' total fits");
        let left = left.fold(Cell::default(), add);
        match child {
            Child::Left => left,
            Child::Right => self.total.minus(left).expect("the cells' total is the node's"),
        }
    }
}
