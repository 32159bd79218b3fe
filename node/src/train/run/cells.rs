//! From ciphertexts of a level to cells.

use windvane_protocols::train::decode::Decoder;
use windvane_protocols::train::elgamal::{Answers, ElGamalError, TrainingKey};
use windvane_protocols::train::histogram::{Cell, FeatureCells, NodeCells};
use windvane_protocols::train::partition::Proposal;

/// Counts of a root, feature by feature and group by group, which are the same for every tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct RootCounts {
    shown: Vec<Proposal>,
    counts: Vec<i64>,
}

/// How many ciphertexts a level has: a sum of residuals for each cell, and with `counts` as many of the indicator.
pub(super) fn cells_of(shown: &[Proposal], counts: bool) -> usize {
    let cells: usize = shown.iter().flat_map(|pair| &pair.groups).map(|groups| groups.cells()).sum();
    cells * (1 + usize::from(counts))
}

/// Decrypts what the members of a unit returned for one level; only their total can be decrypted.
pub(in crate::train) fn decrypt(
    key: &TrainingKey,
    decoder: &Decoder,
    sent: &[Vec<u8>],
    expected: usize,
    threads: usize,
) -> Result<Vec<i64>, ElGamalError> {
    let mut total: Option<Answers> = None;
    for bytes in sent {
        let answers = Answers::decode(bytes, expected, threads)?;
        match &mut total {
            Some(total) => total.add_assign(&answers),
            None => total = Some(answers),
        }
    }
    total.map_or(Ok(Vec::new()), |total| key.decrypt(&total, decoder, threads))
}

/// The cells of a level in which both statistics are shown: of every pair the residuals' sums, and then the indicator's.
/// `None` where a count is negative.
pub(super) fn with_counts(shown: &[Proposal], values: &[i64]) -> Option<Vec<NodeCells>> {
    let mut rest = values;
    let pairs = shown.iter().map(|pair| {
        let cells = pair.groups.iter().map(|groups| groups.cells()).sum();
        let (sums, counts);
        (sums, rest) = rest.split_at_checked(cells)?;
        (counts, rest) = rest.split_at_checked(cells)?;
        node(pair, sums, counts)
    });
    pairs.collect()
}

impl RootCounts {
    /// Of a training's first root, whose indicator is shown.
    pub(super) fn of(shown: &[Proposal], values: &[i64]) -> Self {
        Self { shown: shown.to_vec(), counts: values[values.len() / 2..].to_vec() }
    }

    /// The cells of a later root; `None` where it is merged otherwise than the first, or a count is negative.
    pub(super) fn join(&self, shown: &[Proposal], sums: &[i64]) -> Option<Vec<NodeCells>> {
        let [root] = shown else { return None };
        if shown != self.shown {
            return None;
        }
        Some(vec![node(root, sums, &self.counts)?])
    }
}

fn node(pair: &Proposal, sums: &[i64], counts: &[i64]) -> Option<NodeCells> {
    let mut cells = sums.iter().zip(counts);
    let features = pair.groups.iter().map(|groups| {
        let cells = cells.by_ref().take(groups.cells());
        let cell = |(sum, count): (&i64, &i64)| Some(Cell { sum: *sum, count: u64::try_from(*count).ok()? });
        Some(FeatureCells { groups: groups.clone(), cells: cells.map(cell).collect::<Option<_>>()? })
    });
    Some(NodeCells { child: pair.child, features: features.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use windvane_protocols::train::histogram::{Child, Groups};

    use super::*;

    fn pair(child: Child, features: &[&[u8]]) -> Proposal {
        let groups = features.iter().map(|lasts| Groups::new(lasts.to_vec()).unwrap());
        Proposal { child, groups: groups.collect() }
    }

    fn cells(node: &NodeCells) -> Vec<Vec<(i64, u64)>> {
        let of = |feature: &FeatureCells| feature.cells.iter().map(|cell| (cell.sum, cell.count)).collect();
        node.features.iter().map(of).collect()
    }

    #[test]
    fn sums_and_counts_of_every_pair_become_its_cells() {
        let shown = [pair(Child::Right, &[&[1, 2], &[4]]), pair(Child::Left, &[&[0, 1, 2], &[4]])];
        assert_eq!((cells_of(&shown, true), cells_of(&shown, false)), (10, 5));
        let nodes = with_counts(&shown, &[10, -20, 1, 2, 30, 40, 50, 3, 4, 5]).unwrap();
        assert_eq!(nodes[0].child, Child::Right);
        assert_eq!(cells(&nodes[0]), [vec![(10, 1), (-20, 2)], vec![]]);
        assert_eq!(cells(&nodes[1]), [vec![(30, 3), (40, 4), (50, 5)], vec![]]);
        assert_eq!(with_counts(&shown, &[10, -20, 1, -2, 30, 40, 50, 3, 4, 5]), None);
        assert_eq!(with_counts(&shown, &[1]), None);
    }

    #[test]
    fn later_roots_take_the_first_ones_counts_and_must_be_merged_alike() {
        let shown = [pair(Child::Left, &[&[1, 2]])];
        let counts = RootCounts::of(&shown, &[7, 8, 3, 4]);
        assert_eq!(cells(&counts.join(&shown, &[-1, 5]).unwrap()[0]), [vec![(-1, 3), (5, 4)]]);
        assert_eq!(counts.join(&[pair(Child::Left, &[&[0, 2]])], &[-1, 5]), None);
        assert_eq!(counts.join(&[], &[]), None);
    }
}
