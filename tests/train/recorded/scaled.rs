//! Scales and parts by arithmetic of this file's own, from trees and tables.

use std::collections::BTreeSet;

use windvane_proto::train::v1::Scale;
use windvane_protocols::train::binning::{Binned, MISSING};
use windvane_protocols::train::scale::{self, Scaling, Values};
use windvane_protocols::train::tree::{ABSENT, Decision, Tree};

use super::truth::{Member, Truth};

/// Between which values contributions lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) least: i64,
    pub(super) most: i64,
}

impl Span {
    pub(super) const fn width(&self) -> u64 {
        self.most.abs_diff(self.least)
    }

    /// It holds 0, which a row has that nobody holds.
    fn of(values: impl IntoIterator<Item = i64>) -> Self {
        let wider =
            |span: Self, value: i64| Self { least: value.min(span.least), most: value.max(span.most) };
        values.into_iter().fold(Self { least: 0, most: 0 }, wider)
    }
}

/// What the bank's trees add to rows that it holds, and to one whose features are all missing.
pub(super) fn of_rows(trees: &[Tree], binned: &Binned) -> Span {
    let held = (0..binned.rows()).filter(|row| binned.holds(*row));
    let added = |bin: &dyn Fn(u16) -> Option<u8>| trees.iter().map(|tree| i64::from(tree.apply(bin))).sum();
    let rows = held.map(|row| added(&|feature| binned.bin(row, feature)));
    Span::of(rows.chain([added(&|_| Some(MISSING))]))
}

/// What a unit's trees can add to whatever row: those of one split have all the same bin of their feature, and of all
/// others every leaf is possible.
pub(super) fn of_trees(trees: &[Tree]) -> Span {
    let feature = |tree: &Tree| match tree.nodes() {
        [Decision::Split(split), Decision::Leaf(_), Decision::Leaf(_)] => Some(split.feature),
        _ => None,
    };
    let features: BTreeSet<_> = trees.iter().filter_map(feature).collect();
    let stumps = features.into_iter().map(|asked| {
        let here: Vec<_> = trees.iter().filter(|tree| feature(tree) == Some(asked)).collect();
        let at = |bin| here.iter().map(|tree| i64::from(tree.apply(|_| Some(bin)))).sum();
        (MISSING..ABSENT).map(at).collect::<Vec<i64>>()
    });
    let deeper = trees.iter().filter(|tree| feature(tree).is_none());
    let leaves = deeper.map(|tree| tree.leaves().map(i64::from).collect());
    let (mut least, mut most) = (0, 0);
    for values in stumps.chain(leaves) {
        least += values.iter().min().unwrap();
        most += values.iter().max().unwrap();
    }
    Span::of([least, most])
}

/// A contribution's distance from the least one, in 255ths of the widest span: the nearest one, the upper of two.
pub(super) fn part(scale: &Scale, contribution: i64) -> u8 {
    let Scale { widest, minimum, maximum, coarse } = scale;
    assert!(!coarse, "nobody is alone here");
    assert!((*minimum..=*maximum).contains(&contribution));
    let above = 255 * contribution.abs_diff(*minimum);
    let (part, rest) = (above / widest, above % widest);
    u8::try_from(part + u64::from(2 * rest >= *widest)).unwrap()
}

/// What of a scale is not the one of a member's own unit.
pub(super) fn strange(truth: &Truth, member: &Member, scale: &Scale) -> Option<&'static str> {
    let Scale { widest, minimum, maximum, coarse } = scale;
    let expected = &truth.scales[member.unit];
    let all = [
        (*widest != expected.widest, "the widest span"),
        ((*minimum, *maximum) != (expected.minimum, expected.maximum), "the unit's span"),
        (*coarse != expected.coarse, "how fine parts are"),
    ];
    all.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
}

/// A scale as steps have it, if it can be one.
pub(super) fn scaling(scale: &Scale) -> Option<Scaling> {
    let span = scale::Span::new(scale.minimum, scale.maximum).ok()?;
    let values = if scale.coarse { Values::Coarse } else { Values::Fine };
    Scaling::new(scale.widest, span, values).ok()
}
