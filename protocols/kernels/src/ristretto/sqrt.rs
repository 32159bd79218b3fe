//! Powers: the inverse, and RFC 9496's SQRT_RATIO_M1.

use super::constants::{ONE, SQRT_M1};
use super::field::Element;
use super::lanes::{Lanes, Masks};

impl<L: Lanes, const N: usize> Element<L, N> {
    /// `self`^(2²⁵⁰ − 1), and `self`¹¹, by the usual chain of 249 squarings.
    #[inline(always)]
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
    #[inline(always)]
    pub(super) fn inverse(&self) -> Self {
        self.lanes.outlined(
            #[inline(always)]
            || {
                let (ones_250, p11) = self.pow_250_ones();
                ones_250.square_times(5).mul(&p11)
            },
        )
    }

    /// `self`^((p − 5)/8) with (p − 5)/8 = 2²⁵² − 3.
    #[inline(always)]
    fn pow_p58(&self) -> Self {
        let (ones_250, _) = self.pow_250_ones();
        ones_250.square_times(2).mul(self)
    }

    /// RFC 9496 section 4.2, SQRT_RATIO_M1(u, v): whether u/v is a square, and √(u/v) or √(i·u/v), never
    /// negative.
    #[inline(always)]
    pub(super) fn sqrt_ratio(u: &Self, v: &Self) -> (Masks<N>, Self) {
        u.lanes.outlined(
            #[inline(always)]
            || Self::sqrt_ratio_inlined(u, v),
        )
    }

    #[inline(always)]
    fn sqrt_ratio_inlined(u: &Self, v: &Self) -> (Masks<N>, Self) {
        let v3 = v.square().mul(v);
        let v7 = v3.square().mul(v);
        let r = u.mul(&v3).mul(&u.mul(&v7).pow_p58());
        let check = v.mul(&r.square()).canonical();
        let minus_u = u.negated();
        let correct = check.equals(&u.canonical());
        let flipped = check.equals(&minus_u.canonical());
        let flipped_i = check.equals(&minus_u.mul_number(&SQRT_M1).canonical());
        let r = r.select(r.mul_number(&SQRT_M1), either(flipped, flipped_i));
        (either(correct, flipped), r.absolute())
    }

    /// 1/√v as [`Self::sqrt_ratio`] of 1 and v.
    #[inline(always)]
    pub(super) fn inverse_sqrt(v: &Self) -> (Masks<N>, Self) {
        Self::sqrt_ratio(&Self::splat(v.lanes, &ONE), v)
    }
}

/// Lanes that are in one mask or the other.
pub(super) fn either<const N: usize>(a: Masks<N>, b: Masks<N>) -> Masks<N> {
    std::array::from_fn(|n| a[n] | b[n])
}
