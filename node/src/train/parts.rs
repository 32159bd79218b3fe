//! A party's 8-bit parts of the joint score, from its trees.
//!
//! **Promised**: what is told of listed rows in a training and what stands in the registry for scoring are the same
//! numbers, since both are taken from here. Parts are wiped on drop.

use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::scale::Scaling;
use windvane_protocols::train::tree::Tree;
use zeroize::Zeroizing;

use super::features::Features;
use crate::score::parts::DenseParts;

/// The parts of every number that a party's table has, and of all others.
pub(super) struct TableParts<'a> {
    features: &'a Features,
    elsewhere: u8,
    /// In the order of the table's positions.
    own: Zeroizing<Vec<u8>>,
}

impl<'a> TableParts<'a> {
    /// What trees give to a table of a party that is `alone` in its unit, or one of several.
    pub(super) fn of(features: &'a Features, trees: &[Tree], alone: bool, scaling: Scaling) -> Self {
        let own = features.apply(trees).into_iter().map(|contribution| scaling.part(contribution));
        let elsewhere = scaling.part(features.apply_elsewhere(trees, alone));
        Self { features, elsewhere, own: Zeroizing::new(own.collect()) }
    }

    /// The part of every number of the universe, as it is served.
    pub(super) fn dense(&self, universe: &Universe) -> DenseParts {
        let own = self.features.positions().iter().copied().zip(self.own.iter().copied());
        DenseParts::of(universe, self.elsewhere, own)
    }

    /// The parts of listed positions, which ascend.
    pub(super) fn listed(&self, positions: &[u64]) -> Zeroizing<Vec<u8>> {
        let places = self.features.places(positions).into_iter();
        Zeroizing::new(places.map(|place| place.map_or(self.elsewhere, |place| self.own[place])).collect())
    }
}

#[cfg(test)]
mod tests {
    use windvane_protocols::train::scale::{Span, Values};
    use windvane_protocols::train::tree::{Decision, Split};

    use super::*;
    use crate::train::features::FeatureFile;

    #[test]
    fn listed_rows_have_the_parts_that_are_served_where_the_table_has_them_and_where_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let lines: String = (0..50).map(|i| format!("1380013{:04},{i}\n", 3 * i)).collect();
        std::fs::write(&path, format!("number,a\n{lines}")).unwrap();
        let segments = vec!["1380013".parse().unwrap()];
        let universe = Universe::new("bank".parse().unwrap(), 1, segments).unwrap();
        let features = Features::fit(&FeatureFile::new(&path, "number", &[]), &universe, &()).unwrap();
        let split = Decision::Split(Split { feature: 0, bin: 9 });
        let trees = [Tree::new(vec![split, Decision::Leaf(-30), Decision::Leaf(70)]).unwrap()];
        let scaling = Scaling::new(255, Span::of_trees(&trees).unwrap(), Values::Fine).unwrap();
        let positions: Vec<_> = (0..200).collect();
        // A row that a carrier does not hold adds nothing; alone, it counts as one whose features are missing.
        for (alone, elsewhere) in [(true, 0), (false, 30)] {
            let parts = TableParts::of(&features, &trees, alone, scaling);
            let (dense, listed) = (parts.dense(&universe), parts.listed(&positions));
            assert_eq!(dense.as_slice()[..200], listed[..]);
            assert_eq!((listed[0], listed[147], listed[148], listed[199]), (0, 100, elsewhere, elsewhere));
            assert_eq!(dense.default_part(), elsewhere);
        }
    }
}
