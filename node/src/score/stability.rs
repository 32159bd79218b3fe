//! The population stability index: how far a distribution has moved from the one that was expected.
//!
//! For shares e of what was expected and f of what was found, over the same classes,
//! `PSI = Σ (f − e)·ln(f / e)`, the symmetric Kullback–Leibler divergence of the two. Up to 0.1 is customarily
//! taken for no change and above 0.25 for another population (N. Siddiqi, "Credit Risk Scorecards", 2006).
//! Without any change, PSI from n observations in B classes against known shares is about χ²(B − 1)/n
//! (B. Yurdakul, J. Naranjo, "Statistical properties of the population stability index", Journal of Risk Model
//! Validation 14(3), 2020): chance alone reaches 0.1 once in a thousand windows of 377 observations in 16 classes, and
//! much more rarely in larger windows or fewer classes.

/// An empty class counts as one of this share, so that the logarithm exists.
pub const FLOOR: f64 = 0.000_1;

/// Below it, the population is customarily taken for unchanged.
pub const STABLE: f64 = 0.1;

/// Above it, the population is customarily taken for another one.
pub const CHANGED: f64 = 0.25;

/// Observations below which chance alone reaches [`STABLE`] more often than once in a thousand times, for sixteen
/// classes: the 99.9 % quantile of χ²(15) is 37.7.
pub const LEAST_OBSERVATIONS: u64 = 377;

/// The index of what was found against what was expected, given as counts or other weights of the same classes.
/// `None` when there is nothing on one side, or the classes are not the same.
pub fn psi(expected: &[u64], found: &[u64]) -> Option<f64> {
    let (all, seen) = (total(expected)?, total(found)?);
    let share = |weight: &u64, of: f64| (*weight as f64 / of).max(FLOOR);
    let term = |(e, f): (&u64, &u64)| {
        let (e, f) = (share(e, all), share(f, seen));
        (f - e) * (f / e).ln()
    };
    (expected.len() == found.len()).then(|| expected.iter().zip(found).map(term).sum())
}

fn total(weights: &[u64]) -> Option<f64> {
    let total: u64 = weights.iter().sum();
    (total > 0).then_some(total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_have_none_and_the_index_is_symmetric() {
        assert_eq!(psi(&[900_000, 80_000, 20_000], &[900, 80, 20]), Some(0.0));
        let (a, b) = ([50, 30, 20], [20, 30, 50]);
        let expected = 2.0 * 0.3 * (0.5_f64 / 0.2).ln();
        assert!((psi(&a, &b).unwrap() - expected).abs() < 1e-12);
        assert_eq!(psi(&a, &b), psi(&b, &a));
    }

    #[test]
    fn an_empty_class_counts_as_the_floor() {
        let expected = (0.5 - FLOOR) * (0.5 / FLOOR).ln() + 0.5 * 2.0_f64.ln();
        assert!((psi(&[0, 10], &[5, 5]).unwrap() - expected).abs() < 1e-12);
        assert_eq!(psi(&[0, 10], &[5, 5]), psi(&[5, 5], &[0, 10]));
    }

    #[test]
    fn nothing_or_other_classes_give_no_index() {
        assert_eq!(psi(&[0, 0], &[1, 1]), None);
        assert_eq!(psi(&[1, 1], &[]), None);
        assert_eq!(psi(&[1, 1], &[1, 1, 1]), None);
    }
}
