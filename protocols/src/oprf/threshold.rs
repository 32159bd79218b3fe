//! Answers of several keys to the same elements, combined to the answer of the key that they share.
//!
//! Shamir, "How to share a secret" (1979), in the exponent: with `K_i = f(i)` and `K = f(0)`, the sum of
//! `λ_i·(K_i·B)` over a quorum is `K·B`. The Lagrange coefficients of small places are small fractions, so over
//! a common denominator they are small integers: the answers are added up with a few doublings, and only one
//! multiplication a point is left, by blind and denominator together.

use curve25519_dalek::Scalar;
use windvane_kernels::ristretto::Points;
use zeroize::Zeroizing;

use super::proof::verify_beside;
use super::{Answered, Blinded, Context};

/// Lagrange coefficients at 0 of a quorum: integers over one denominator. Public, like the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weights {
    integers: Vec<i128>,
    denominator: i128,
}

impl Weights {
    /// The weights of distinct places from 1 to [`crate::limits::MAX_SCORE_PROVIDERS`]. Products stay below
    /// 16!, and over the common denominator below 2^84.
    pub(crate) fn at_zero(places: &[usize]) -> Self {
        let fractions: Vec<_> = places.iter().map(|place| fraction(places, *place)).collect();
        let denominator = fractions.iter().fold(1, |lcm, (_, below)| lcm / gcd(lcm, *below) * below);
        let integers = fractions.iter().map(|(above, below)| above * (denominator / below)).collect();
        Self { integers, denominator }
    }

    /// The sum of integers times points, element by element. Time depends on the weights alone.
    fn combine(&self, answers: &[&Points]) -> Points {
        let signed =
            |(weight, points): (&i128, &&Points)| if *weight < 0 { points.neg() } else { (*points).clone() };
        let terms: Vec<_> = self.integers.iter().zip(answers).map(signed).collect();
        let bits = self.integers.iter().map(|weight| 128 - weight.unsigned_abs().leading_zeros()).max();
        let mut sum: Option<Points> = None;
        for bit in (0..bits.unwrap_or(0)).rev() {
            sum = sum.map(|sum| sum.double());
            let set = |weight: &i128| weight.unsigned_abs() >> bit & 1 == 1;
            for (_, term) in self.integers.iter().zip(&terms).filter(|(weight, _)| set(weight)) {
                sum = Some(sum.map_or_else(|| term.clone(), |sum| sum.add(term)));
            }
        }
        sum.expect("a quorum has a place, and no weight is zero")
    }

    fn inverse_denominator(&self) -> Scalar {
        Scalar::from(self.denominator.unsigned_abs()).invert()
    }
}

/// `Π x/(x − place)` over the other places `x`, in lowest terms with a positive denominator.
fn fraction(places: &[usize], place: usize) -> (i128, i128) {
    let others = places.iter().filter(|other| **other != place);
    let step = |(above, below): (i128, i128), other: &usize| {
        (above * *other as i128, below * (*other as i128 - place as i128))
    };
    let (above, below) = others.fold((1, 1), step);
    let common = gcd(above, below) * below.signum();
    (above / common, below / common)
}

const fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Blinded {
    /// Checks the answers of a quorum to this one batch, combines and unblinds them: `K·H(x)` for every input,
    /// and a random point where the input was absent. `None` when a proof does not hold. Answers have as many
    /// elements as were asked.
    pub(crate) fn combine(
        &self,
        context: &Context,
        weights: &Weights,
        answers: &[Answered<'_>],
    ) -> Option<Points> {
        let evaluated: Vec<_> = answers.iter().map(|answer| &answer.evaluated.points).collect();
        let combined = weights.combine(&evaluated);
        let claims: Vec<_> = answers.iter().map(|answer| answer.claim(self)).collect();
        let (holds, products) = verify_beside(context, &claims, &combined, &self.inverses(weights));
        holds.then_some(products)
    }

    /// Whether one answer's proof holds.
    pub(crate) fn verify(&self, context: &Context, answer: Answered<'_>) -> bool {
        verify_beside(context, &[answer.claim(self)], &self.elements.points.slice(0..0), &[]).0
    }

    /// What takes blinds and denominator off.
    fn inverses(&self, weights: &Weights) -> Zeroizing<Vec<Scalar>> {
        let denominator = weights.inverse_denominator();
        let twice = denominator + denominator;
        Zeroizing::new(self.unblinds.iter().map(|half| half * twice).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coefficients as scalars, from the definition.
    fn coefficients(places: &[usize]) -> Vec<Scalar> {
        let scalar = |x: usize| Scalar::from(x as u64);
        let of = |place: &usize| {
            let others = places.iter().filter(|other| *other != place);
            others.map(|x| scalar(*x) * (scalar(*x) - scalar(*place)).invert()).product()
        };
        places.iter().map(of).collect()
    }

    fn as_scalar(weight: i128) -> Scalar {
        let magnitude = Scalar::from(weight.unsigned_abs());
        if weight < 0 { -magnitude } else { magnitude }
    }

    #[test]
    fn weights_of_every_quorum_are_the_lagrange_coefficients_and_small() {
        let mut longest = 0;
        for mask in 1..1_u32 << 16 {
            let places: Vec<_> = (1..=16).filter(|place| mask >> (place - 1) & 1 == 1).collect();
            let weights = Weights::at_zero(&places);
            longest = weights.integers.iter().map(|w| w.unsigned_abs()).max().unwrap().max(longest);
            // The smallest and the largest quorums, and some of the others, of odd and even sizes: all take long.
            if mask % 251 == 0 || !(4..15).contains(&places.len()) {
                let inverse = weights.inverse_denominator();
                let found: Vec<_> = weights.integers.iter().map(|w| as_scalar(*w) * inverse).collect();
                assert_eq!(found, coefficients(&places), "{places:?}");
            }
        }
        assert!(longest < 1 << 50, "{longest}");
        assert_eq!(Weights::at_zero(&[1, 2, 3]), Weights { integers: vec![3, -3, 1], denominator: 1 });
        assert_eq!(Weights::at_zero(&[1, 3]), Weights { integers: vec![3, -1], denominator: 2 });
    }

    #[test]
    fn points_of_a_polynomial_combine_to_its_constant() {
        let f = |x: u64| Scalar::from(7 + 5 * x + 3 * x * x);
        for places in [[1, 2, 3], [2, 5, 16], [4, 9, 11]] {
            let shares: Vec<_> =
                places.iter().map(|x| Points::mul_base(&[f(*x as u64), f(*x as u64) + f(0)])).collect();
            let weights = Weights::at_zero(&places);
            let sum = weights.combine(&shares.iter().collect::<Vec<_>>());
            let sum = sum.mul(&weights.inverse_denominator());
            assert_eq!(sum.encode(), Points::mul_base(&[f(0), f(0) + f(0)]).encode());
        }
    }
}
