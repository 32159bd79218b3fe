//! How a version's parts are distributed, and how far that is from another version.

use serde::{Deserialize, Serialize};

use crate::score::parts::DenseParts;
use crate::score::stability::psi;

/// Values of a part in one range.
const RANGE: usize = 16;

/// A provider's parts in sixteen ranges of sixteen values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartsSummary {
    /// Numbers.
    pub rows: u64,
    /// The part of numbers of which nothing is known.
    pub default: u8,
    /// Numbers with that part.
    pub defaults: u64,
    /// How many values there are.
    pub distinct: u16,
    /// Numbers in each range, those with the default part among them.
    pub ranges: [u64; RANGE],
}

/// How far parts have moved from those of another version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// The other version.
    pub against: String,
    /// Stability index over all numbers.
    pub with_default: Option<f64>,
    /// Over the numbers of which something is known: with a part other than the default.
    pub without_default: Option<f64>,
}

impl PartsSummary {
    /// Counts.
    pub fn of(parts: &DenseParts) -> Self {
        Self::count(parts.default_part(), parts.as_slice())
    }

    fn count(default: u8, parts: &[u8]) -> Self {
        let mut counts = [0_u64; 256];
        parts.iter().for_each(|part| counts[usize::from(*part)] += 1);
        let mut ranges = [0; RANGE];
        counts.iter().enumerate().for_each(|(part, count)| ranges[part / RANGE] += count);
        Self {
            rows: parts.len() as u64,
            default,
            defaults: counts[usize::from(default)],
            distinct: counts.iter().filter(|count| **count > 0).count() as u16,
            ranges,
        }
    }

    fn without_default(&self) -> [u64; RANGE] {
        let mut ranges = self.ranges;
        let range = &mut ranges[usize::from(self.default) / RANGE];
        *range = range.saturating_sub(self.defaults);
        ranges
    }

    /// For the version's hash.
    pub(super) fn items(&self) -> Vec<[u8; 8]> {
        let first = [self.rows, self.default.into(), self.defaults, self.distinct.into()];
        first.into_iter().chain(self.ranges).map(u64::to_be_bytes).collect()
    }
}

impl Drift {
    /// How far `to` is from `from`, the version called `against`.
    pub fn between(against: &str, from: &PartsSummary, to: &PartsSummary) -> Self {
        Self {
            against: against.to_owned(),
            with_default: psi(&from.ranges, &to.ranges),
            without_default: psi(&from.without_default(), &to.without_default()),
        }
    }

    /// The larger of the two indices.
    pub fn largest(&self) -> f64 {
        self.with_default.unwrap_or_default().max(self.without_default.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_sixteen_values_each_and_the_default_is_told_apart() {
        let summary = PartsSummary::count(16, &[0, 15, 16, 16, 31, 255]);
        let expected = |values: &[(usize, u64)]| {
            let mut ranges = [0; RANGE];
            values.iter().for_each(|(range, count)| ranges[*range] = *count);
            ranges
        };
        assert_eq!((summary.rows, summary.defaults, summary.distinct), (6, 2, 5));
        assert_eq!(summary.ranges, expected(&[(0, 2), (1, 3), (15, 1)]));
        assert_eq!(summary.without_default(), expected(&[(0, 2), (1, 1), (15, 1)]));
    }

    #[test]
    fn a_drift_that_many_defaults_hide_shows_without_them() {
        let of = |known: &[u8]| {
            let parts: Vec<u8> = std::iter::repeat_n(3, 9_900).chain(known.iter().copied()).collect();
            PartsSummary::count(3, &parts)
        };
        let low: Vec<_> = (0..100).map(|i| 40 + i % 8).collect();
        let high: Vec<_> = (0..100).map(|i| 40 + i % 40).collect();
        let drift = Drift::between("one", &of(&low), &of(&high));
        assert!(drift.with_default.unwrap() < 0.25 && drift.without_default.unwrap() > 0.25, "{drift:?}");
        assert_eq!(drift.largest(), drift.without_default.unwrap());
        assert_eq!(Drift::between("one", &of(&low), &of(&low)).largest(), 0.0);
    }
}
