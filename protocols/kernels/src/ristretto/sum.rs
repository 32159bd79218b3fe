//! Sums of multiples by bin, whose doublings are shared (Straus 1964).
//!
//! A lane takes several terms of one bin: 252 doublings and a table of multiples for each term. Most of a
//! multiplication is doublings, so four terms in one lane cost less than two in two. How many a lane takes is
//! chosen by the count of formulas, from the sizes of the bins alone.

use std::ops::Range;

use curve25519_dalek::Scalar;

use super::{Inner, Points};

/// Terms that one lane takes at most: their tables fill 40 of the 48 KiB of a first-level cache.
#[cfg(target_arch = "x86_64")]
const DEEPEST: usize = 4;

impl Points {
    /// For each of `count` bins, the sum of the points whose entry of `bins` names it, each times its own secret
    /// scalar; the identity for a bin without points. Takes variable time in `bins` and `count`, which are public,
    /// but not in points and scalars.
    ///
    /// # Panics
    /// When there are not as many scalars and bins as points, or a bin is not below `count`.
    #[must_use]
    pub fn mul_accumulate(&self, scalars: &[Scalar], bins: &[u32], count: usize) -> Self {
        assert_eq!(self.len(), scalars.len(), "one scalar for each point");
        match &self.0 {
            Inner::Portable(_) => self.mul_each(scalars).vartime_accumulate(bins, count),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => {
                assert_eq!(self.len(), bins.len(), "one bin for each point");
                let layout = Layout::cheapest(bins, batch.set().width());
                let (deep, flat) = layout.lanes.split_at(layout.deep);
                let terms: Vec<_> = deep.iter().map(|lane| &layout.terms[lane.terms.clone()]).collect();
                let mut sums = Self(Inner::Lanes(batch.multiply_sum(&terms, scalars)));
                let flat: Vec<_> = flat.iter().map(|lane| layout.terms[lane.terms.start]).collect();
                let factors =
                    zeroize::Zeroizing::new(flat.iter().map(|&term| scalars[term]).collect::<Vec<_>>());
                sums.append(&self.gather(&flat).mul_each(&factors));
                let bins: Vec<_> = layout.lanes.iter().map(|lane| lane.bin).collect();
                sums.vartime_accumulate(&bins, count)
            }
        }
    }
}

/// Terms of one bin that one lane takes.
#[cfg(target_arch = "x86_64")]
struct Lane {
    bin: u32,
    terms: Range<usize>,
}

/// Which lane takes which terms.
#[cfg(target_arch = "x86_64")]
struct Layout {
    /// Indices of the points, by bin.
    terms: Vec<usize>,
    /// Those with more terms first.
    lanes: Vec<Lane>,
    /// How many of the lanes stand beside one that has several terms.
    deep: usize,
    /// Lanes that stand beside each other: those of a group, or of half of one.
    width: usize,
}

#[cfg(target_arch = "x86_64")]
impl Layout {
    fn cheapest(bins: &[u32], width: usize) -> Self {
        let mut entries: Vec<_> = bins.iter().copied().zip(0..).collect();
        entries.sort_unstable();
        let layouts = (1..=DEEPEST).map(|depth| Self::new(&entries, depth, width));
        layouts.min_by_key(Self::cost).expect("there are several depths")
    }

    fn new(entries: &[(u32, usize)], depth: usize, width: usize) -> Self {
        let mut lanes = Vec::new();
        let mut at = 0;
        for bin in entries.chunk_by(|a, b| a.0 == b.0) {
            for terms in bin.chunks(depth) {
                lanes.push(Lane { bin: terms[0].0, terms: at..at + terms.len() });
                at += terms.len();
            }
        }
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.terms.len()));
        let several = lanes.iter().take_while(|lane| lane.terms.len() > 1).count();
        let deep = several.next_multiple_of(width).min(lanes.len());
        Self { terms: entries.iter().map(|entry| entry.1).collect(), lanes, deep, width }
    }

    /// Multiplications in the field: 7 for each of 252 doublings; for a term 8 for each of 64 additions, and 64 for its
    /// table.
    fn cost(&self) -> usize {
        let together = |lanes: &[Lane]| 252 * 7 + lanes[0].terms.len() * (64 * 8 + 64);
        let (deep, flat) = self.lanes.split_at(self.deep);
        deep.chunks(self.width).chain(flat.chunks(self.width)).map(together).sum()
    }
}
