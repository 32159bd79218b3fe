//! Sums of residuals by bin, and the merging of bins that keeps a sum from being about few people.

use crate::limits::MAX_BINS;

/// What the label holder sees of some listed rows: the sum of their residuals, and how many of them are real.
///
/// Decoys are listed rows too, but count for nothing in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    /// Sum of the residuals, in units of 1/[`LABEL`](super::parameters::LABEL).
    pub sum: i64,
    /// Real rows.
    pub count: u64,
}

/// How a feature's bins are merged in a node: the last bin of each group, ascending.
///
/// A group begins behind the one before it, the first at bin 0. Where a node's rows have no bins above some bin,
/// because a split sent those away, its groups end there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Groups(Vec<u8>);

/// One feature of a node: its groups, and their cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureCells {
    /// How the bins are merged.
    pub groups: Groups,
    /// A cell for each group in their order; none where there is one group only, which cannot be split.
    pub cells: Vec<Cell>,
}

/// Which child of a split. The root counts as a left child that has no sibling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Child {
    /// With the bins up to the split's.
    Left,
    /// With the bins above.
    Right,
}

/// What a unit sends of the root, or of one of the two children of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCells {
    /// Whose cells these are; the groups are those of both children.
    pub child: Child,
    /// The unit's features, in their order.
    pub features: Vec<FeatureCells>,
}

/// Why groups are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// No group, or too many.
    #[error("a feature has 1 to {MAX_BINS} groups, found {found}")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// The groups' last bins do not ascend, or one is above the largest bin.
    #[error("group {index} does not end above the one before, or above the largest bin")]
    Order {
        /// The group's index.
        index: usize,
    },
    /// Groups of different features, or of different nodes.
    #[error("groups that end at bin {found} cannot meet groups that end at bin {expected}")]
    End {
        /// The last bin.
        found: u8,
        /// What it should be.
        expected: u8,
    },
}

impl Child {
    /// The other child.
    #[must_use]
    pub const fn sibling(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl Cell {
    /// The cell of both; `None` where a number does not fit.
    pub fn plus(self, other: Self) -> Option<Self> {
        Some(Self { sum: self.sum.checked_add(other.sum)?, count: self.count.checked_add(other.count)? })
    }

    /// The cell of the rows of `self` that are not among those of `other`; `None` where there are fewer.
    pub fn minus(self, other: Self) -> Option<Self> {
        Some(Self { sum: self.sum.checked_sub(other.sum)?, count: self.count.checked_sub(other.count)? })
    }

    /// The cell of all; `None` where a number does not fit.
    pub fn total(cells: &[Self]) -> Option<Self> {
        cells.iter().try_fold(Self::default(), |total, cell| total.plus(*cell))
    }
}

impl Groups {
    /// Groups by their last bins.
    ///
    /// # Errors
    /// [`GroupsError::Count`], [`GroupsError::Order`].
    pub fn new(lasts: Vec<u8>) -> Result<Self, GroupsError> {
        if !(1..=MAX_BINS).contains(&lasts.len()) {
            return Err(GroupsError::Count { found: lasts.len() });
        }
        let wrong = |&i: &usize| usize::from(lasts[i]) >= MAX_BINS || (i > 0 && lasts[i] <= lasts[i - 1]);
        match (0..lasts.len()).find(wrong) {
            Some(index) => Err(GroupsError::Order { index }),
            None => Ok(Self(lasts)),
        }
    }

    /// One group of all bins up to `last`.
    pub(super) fn whole(last: u8) -> Self {
        Self(vec![last])
    }

    /// Merges a root's bins, from below, until each group has at least `minimum` listed rows; a remainder joins
    /// the last group. `listed` has the listed rows of every bin, at least one bin and at most [`MAX_BINS`].
    ///
    /// # Errors
    /// [`GroupsError::Count`].
    pub fn merge(listed: &[u32], minimum: u32) -> Result<Self, GroupsError> {
        let bins = Self::new((0..=u8::MAX).take(listed.len()).collect())
            .map_err(|_| GroupsError::Count { found: listed.len() })?;
        Ok(bins.refine(listed, listed, minimum))
    }

    /// The groups that both children of a split have in common: neighbours are merged further, from below, until
    /// each group has at least `minimum` listed rows in **both** children, so that neither the cells that are sent
    /// nor those that follow by subtraction are about fewer. `left` and `right` have the listed rows of every bin.
    #[must_use]
    pub fn refine(&self, left: &[u32], right: &[u32], minimum: u32) -> Self {
        let listed =
            |counts: &[u32], from, to| counts.iter().take(to).skip(from).map(|n| u64::from(*n)).sum();
        let enough = |rows: u64| rows >= minimum.into();
        let (mut lasts, mut from) = (Vec::with_capacity(self.0.len()), 0);
        for last in &self.0 {
            let to = usize::from(*last) + 1;
            if enough(listed(left, from, to)) && enough(listed(right, from, to)) {
                lasts.push(*last);
                from = to;
            }
        }
        if lasts.last() != Some(&self.last()) {
            lasts.pop();
            lasts.push(self.last());
        }
        Self(lasts)
    }

    /// The boundaries that both keep: what several carriers can show together.
    ///
    /// # Errors
    /// [`GroupsError::End`].
    pub fn intersect(&self, other: &Self) -> Result<Self, GroupsError> {
        if self.last() != other.last() {
            return Err(GroupsError::End { found: other.last(), expected: self.last() });
        }
        Ok(Self(self.0.iter().filter(|last| other.has(**last)).copied().collect()))
    }

    /// Whether these come from `finer` by merging alone.
    pub fn coarsens(&self, finer: &Self) -> bool {
        self.last() == finer.last() && self.0.iter().all(|last| finer.has(*last))
    }

    /// Whether a split behind this bin parts two groups.
    pub fn splits_at(&self, bin: u8) -> bool {
        bin < self.last() && self.has(bin)
    }

    /// The cells of these groups from those of `finer`, which they coarsen; `None` where they do not, where cells
    /// are missing, or where a number does not fit.
    pub fn regroup(&self, finer: &FeatureCells) -> Option<Vec<Cell>> {
        if !self.coarsens(&finer.groups) || finer.cells.len() != finer.groups.len() {
            return None;
        }
        let (mut cells, mut cell) = (Vec::with_capacity(self.len()), Cell::default());
        for (last, more) in finer.groups.0.iter().zip(&finer.cells) {
            cell = cell.plus(*more)?;
            if self.has(*last) {
                cells.push(std::mem::take(&mut cell));
            }
        }
        Some(cells)
    }

    /// The last bins, ascending.
    pub fn lasts(&self) -> &[u8] {
        &self.0
    }

    /// The last bin of all.
    pub fn last(&self) -> u8 {
        *self.0.last().expect("there is at least one group")
    }

    /// How many groups there are, at least one.
    #[allow(clippy::len_without_is_empty, reason = "there is always a group")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is one group only, so that the feature has no cells and cannot be split.
    pub fn is_whole(&self) -> bool {
        self.0.len() == 1
    }

    /// How many cells are sent of such a feature: one for each group, but none of a whole.
    pub fn cells(&self) -> usize {
        if self.is_whole() { 0 } else { self.len() }
    }

    /// The group of every bin, for adding up. Bins behind the last, of which a node has no rows, get the number of
    /// groups.
    pub fn of_bins(&self) -> [u8; MAX_BINS] {
        let mut groups = [0; MAX_BINS];
        for (bin, group) in (0..=u8::MAX).zip(&mut groups) {
            *group = self.0.partition_point(|last| *last < bin) as u8;
        }
        groups
    }

    /// The groups that a child keeps of the feature that was split at `bin`, one of its boundaries: those up to it or
    /// those behind it.
    pub(super) fn child(&self, bin: u8, child: Child) -> Self {
        debug_assert!(self.splits_at(bin), "a split is at a boundary");
        let (left, right) = self.0.split_at(self.0.partition_point(|last| *last <= bin));
        match child {
            Child::Left => Self(left.to_vec()),
            Child::Right => Self(right.to_vec()),
        }
    }

    fn has(&self, last: u8) -> bool {
        self.0.binary_search(&last).is_ok()
    }
}

impl FeatureCells {
    /// A feature that cannot be split, with the bins up to `last`.
    pub(super) fn whole(last: u8) -> Self {
        Self { groups: Groups::whole(last), cells: Vec::new() }
    }

    /// What a child keeps of the feature that the node was split by: these rows and their sums are the node's own,
    /// so that nobody sends them again.
    pub(super) fn child(&self, bin: u8, child: Child) -> Self {
        let groups = self.groups.child(bin, child);
        let from = match child {
            Child::Left => 0,
            Child::Right => self.groups.len() - groups.len(),
        };
        let cells = self.cells.iter().skip(from).take(groups.cells()).copied().collect();
        Self { groups, cells }
    }
}
