//! Sums of points by bin.

use super::Points;

impl Points {
    /// For each of `count` bins, the sum of the points whose entry of `bins` names it; the identity for a bin
    /// without points. Takes variable time in `bins` and `count`, which are public, but not in the points.
    ///
    /// Points of a bin are added in pairs, and the sums again, so that all lanes are at work: as many rounds
    /// as the largest count of a bin has binary digits.
    ///
    /// # Panics
    /// When there are not as many bins named as points, or one is not below `count`.
    #[must_use]
    pub fn vartime_accumulate(&self, bins: &[u32], count: usize) -> Self {
        assert_eq!(self.len(), bins.len(), "one bin for each point");
        let mut round = Round::sorted(bins, count);
        let mut points = None;
        while round.has_pairs() {
            let current = points.as_ref().unwrap_or(self);
            let (next, sums) = round.add_pairs(current);
            (round, points) = (next, Some(sums));
        }
        let mut place = vec![None; count];
        for &(bin, index) in &round.0 {
            place[bin as usize] = Some(index);
        }
        points.as_ref().unwrap_or(self).gather_or_identity(place.into_iter())
    }
}

/// Bins with the indices of their points, ordered by bin.
struct Round(Vec<(u32, usize)>);

impl Round {
    fn sorted(bins: &[u32], count: usize) -> Self {
        let mut entries: Vec<(u32, usize)> = bins.iter().copied().zip(0..).collect();
        assert!(bins.iter().all(|&bin| (bin as usize) < count), "a bin is not below {count}");
        entries.sort_unstable();
        Self(entries)
    }

    fn has_pairs(&self) -> bool {
        self.0.windows(2).any(|pair| pair[0].0 == pair[1].0)
    }

    /// Sums of neighbours in the same bin, followed by the points without a neighbour.
    fn add_pairs(&self, points: &Points) -> (Self, Points) {
        let (mut left, mut right, mut alone, mut bins, mut bins_alone) =
            (vec![], vec![], vec![], vec![], vec![]);
        for bin in self.0.chunk_by(|a, b| a.0 == b.0) {
            let (pairs, rest) = bin.as_chunks::<2>();
            for [a, b] in pairs {
                left.push(a.1);
                right.push(b.1);
                bins.push(a.0);
            }
            alone.extend(rest.iter().map(|entry| entry.1));
            bins_alone.extend(rest.iter().map(|entry| entry.0));
        }
        let mut sums = points.gather(&left);
        sums.add_assign(&points.gather(&right));
        sums.append(&points.gather(&alone));
        bins.append(&mut bins_alone);
        let mut entries: Vec<(u32, usize)> = bins.into_iter().zip(0..).collect();
        entries.sort_unstable();
        (Self(entries), sums)
    }
}
