//! Powers: the inverse, and RFC 9496's SQRT_RATIO_M1.

use super::constants::{ONE, SQRT_M1};
use super::field::{Element, Masks};

impl<const N: usize> Element<N> {
    /// `self`^(2²⁵⁰ − 1), and `self`¹¹, by the usual chain of 249 squarings.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn pow_250_ones(&self) -> (Self, Self) {
        let p2 = self.square();
        let p9 = p2.square_times(2).mul(self);
        let p11 = p9.mul(&p2);
        let ones_5 = p11.square().mul(&p9);
        let ones_10 = ones_5.square_times(5).mul(&ones_5);
        let ones_20 = ones_10.square_times(10).mul(&ones_10);
        let ones_40 = ones_20.square_times(20).mul(&ones_20);
        let ones_50 = ones_40.square_times(10).mul(&ones_10);
        let ones_100 = ones_50.square_times(50).mul(&ones_50);
        let ones_200 = ones_100.square_times(100).mul(&ones_100);
        (ones_200.square_times(50).mul(&ones_50), p11)
    }

    /// The inverse, `self`^(p − 2) with p − 2 = (2²⁵⁰ − 1)·2⁵ + 11; the inverse of zero is zero.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn inverse(&self) -> Self {
        let (ones_250, p11) = self.pow_250_ones();
        ones_250.square_times(5).mul(&p11)
    }

    /// `self`^((p − 5)/8) with (p − 5)/8 = 2²⁵² − 3.
    #[target_feature(enable = "avx512ifma")]
    fn pow_p58(&self) -> Self {
        let (ones_250, _) = self.pow_250_ones();
        ones_250.square_times(2).mul(self)
    }

    /// RFC 9496 section 4.2, SQRT_RATIO_M1(u, v): whether u/v is a square, and √(u/v) or √(i·u/v), never
    /// negative.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn sqrt_ratio(u: &Self, v: &Self) -> (Masks<N>, Self) {
        let i = Self::splat(&SQRT_M1);
        let v3 = v.square().mul(v);
        let v7 = v3.square().mul(v);
        let r = u.mul(&v3).mul(&u.mul(&v7).pow_p58());
        let check = v.mul(&r.square()).canonical();
        let minus_u = u.negated();
        let correct = check.same_limbs(&u.canonical());
        let flipped = check.same_limbs(&minus_u.canonical());
        let flipped_i = check.same_limbs(&minus_u.mul(&i).canonical());
        let r = r.select(r.mul(&i), either(flipped, flipped_i));
        (either(correct, flipped), r.absolute())
    }

    /// 1/√v as [`Self::sqrt_ratio`] of 1 and v.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn inverse_sqrt(v: &Self) -> (Masks<N>, Self) {
        Self::sqrt_ratio(&Self::splat(&ONE), v)
    }
}

/// Lanes that are in one mask or the other.
pub(super) fn either<const N: usize>(a: Masks<N>, b: Masks<N>) -> Masks<N> {
    std::array::from_fn(|n| a[n] | b[n])
}
