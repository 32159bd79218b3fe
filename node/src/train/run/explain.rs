//! What a model says in words: the bank's own points by feature and bin, and of providers what decisions told the bank.

use serde::{Deserialize, Serialize};
use windvane_protocols::train::tree::{Decision, Tree};

/// Points of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeaturePoints {
    /// Its name; a number where a provider does not tell names.
    pub feature: String,
    /// Tests of it in all trees.
    pub splits: usize,
    /// Points by bin, neighbours with the same points joined. Where trees have more than one split, points depend on
    /// other features too, and there are none.
    pub bins: Vec<BinPoints>,
}

/// Neighbouring bins with the same points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinPoints {
    /// Whether missing values are among them.
    pub missing: bool,
    /// Values above this, where the bins' edges are known and it is not the first.
    pub above: Option<f64>,
    /// Values up to this, where the bins' edges are known and it is not the last.
    pub up_to: Option<f64>,
    /// First of the bins; 0 is that of missing values.
    pub first: u8,
    /// Last of them.
    pub last: u8,
    /// What they add, in parts of the common scale.
    pub points: f64,
}

/// The points of features with so many `bins`, by trees; `widest` is the common scale. `edges` are those of a feature,
/// where they are known.
pub(super) fn points<'a>(
    trees: &[Tree],
    bins: &[u8],
    names: impl Fn(usize) -> String,
    edges: impl Fn(usize) -> Option<&'a [f64]>,
    widest: u64,
) -> Vec<FeaturePoints> {
    let of = |(feature, bins): (usize, &u8)| {
        let tests = |node: &&Decision| matches!(node, Decision::Split(split) if usize::from(split.feature) == feature);
        let splits = trees.iter().flat_map(Tree::nodes).filter(tests).count();
        let bins = table(trees, feature as u16, *bins).unwrap_or_default();
        let bins = joined(&bins, edges(feature), widest);
        FeaturePoints { feature: names(feature), splits, bins }
    };
    bins.iter().enumerate().map(of).filter(|points| points.splits > 0).collect()
}

/// What trees of one split add by the bins of a feature; `None` where a tree that asks for it has more.
fn table(trees: &[Tree], feature: u16, bins: u8) -> Option<Vec<i64>> {
    let mut sums = vec![0; usize::from(bins)];
    for tree in trees {
        let asks = |node: &Decision| matches!(node, Decision::Split(split) if split.feature == feature);
        if !tree.nodes().iter().any(asks) {
            continue;
        }
        if tree.nodes().len() != 3 {
            return None;
        }
        for (bin, sum) in (0..bins).zip(&mut sums) {
            *sum += i64::from(tree.apply(|_| Some(bin)));
        }
    }
    Some(sums)
}

fn joined(sums: &[i64], edges: Option<&[f64]>, widest: u64) -> Vec<BinPoints> {
    let edge = |bin: usize| edges.and_then(|edges| edges.get(bin).copied());
    let mut found: Vec<BinPoints> = Vec::new();
    for (bin, sum) in sums.iter().enumerate() {
        let points = *sum as f64 * f64::from(u8::MAX) / widest.max(1) as f64;
        // The bin of missing values has no edges; bin n has the values above edge n - 2, up to edge n - 1.
        let up_to = bin.checked_sub(1).and_then(edge);
        match found.last_mut().filter(|last| last.points.to_bits() == points.to_bits()) {
            Some(last) => (last.last, last.up_to) = (bin as u8, up_to),
            None => found.push(BinPoints {
                missing: bin == 0,
                above: bin.checked_sub(2).and_then(edge),
                up_to,
                first: bin as u8,
                last: bin as u8,
                points,
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use windvane_protocols::train::tree::Split;

    use super::*;

    fn stump(feature: u16, bin: u8, left: i32, right: i32) -> Tree {
        let split = Decision::Split(Split { feature, bin });
        Tree::new(vec![split, Decision::Leaf(left), Decision::Leaf(right)]).unwrap()
    }

    #[test]
    fn a_scorecard_has_points_by_the_values_between_its_splits() {
        let trees = [stump(1, 2, -51, 102), stump(1, 0, 51, 0)];
        let edges = [1.5, 4.0, 9.0];
        let points = points(&trees, &[3, 5], |f| format!("f{f}"), |f| (f == 1).then_some(&edges[..]), 510);
        let [only] = &points[..] else { panic!("{points:?}") };
        assert_eq!((only.feature.as_str(), only.splits), ("f1", 2));
        let found: Vec<_> = only.bins.iter().map(|b| (b.missing, b.above, b.up_to, b.points)).collect();
        // Missing values, then bins 1 and 2 up to 4.0, then those above.
        let expected =
            [(true, None, None, 0.0), (false, None, Some(4.0), -25.5), (false, Some(4.0), None, 51.0)];
        assert_eq!(found, expected);
    }

    #[test]
    fn features_of_deeper_trees_are_counted_and_have_no_points() {
        let nodes = vec![
            Decision::Split(Split { feature: 0, bin: 0 }),
            Decision::Split(Split { feature: 1, bin: 0 }),
            Decision::Leaf(1),
            Decision::Leaf(2),
            Decision::Leaf(3),
        ];
        let trees = [Tree::new(nodes).unwrap()];
        let points = points(&trees, &[3, 3, 3], |f| f.to_string(), |_| None, 1);
        assert_eq!(points.len(), 2);
        assert!(points.iter().all(|feature| feature.splits == 1 && feature.bins.is_empty()));
    }
}
