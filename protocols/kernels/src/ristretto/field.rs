//! Eight lanes of arithmetic modulo p = 2²⁵⁵ − 19, for `N` groups of eight at once.
//!
//! The page of [`super`] states the representation and proves the bounds that this file asserts.

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use std::arch::x86_64::*;

mod product;

use product::{carry, multiply, square};

/// Limbs of an element: four of 52 bits, and one of 47.
pub(super) const LIMBS: usize = 5;
/// Elements that one vector holds.
pub(super) const LANES: usize = 8;

/// One vector at rest: a 64-bit word per lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub(super) [u64; LANES]);

/// Eight elements at rest, limb by limb.
pub(super) type Stored = [Lanes; LIMBS];
/// One bit per lane, for each of the groups.
pub(super) type Masks<const N: usize> = [__mmask8; N];

pub(super) const ZERO: Lanes = Lanes([0; LANES]);
const LOW_52: i64 = (1 << 52) - 1;
const LOW_47: i64 = (1 << 47) - 1;
/// 512·p, limb by limb: at least as large, column by column, as whatever is taken away from it.
pub(super) const BIAS: [i64; LIMBS] =
    [(LOW_52 - 18) << 9, LOW_52 << 9, LOW_52 << 9, LOW_52 << 9, LOW_47 << 9];

/// Elements ready to be multiplied. Bits 52 and up of the lower four limbs are not part of the value: the
/// multiplier ignores them. The top limb is at most 2⁴⁷ + 2¹².
#[derive(Clone, Copy)]
pub(super) struct Element<const N: usize>(pub(super) [[__m512i; LIMBS]; N]);

/// Sums of products: five columns of 64 bits, of weight 2^(52·k), to be carried before they are multiplied.
#[derive(Clone, Copy)]
pub(super) struct Columns<const N: usize>(pub(super) [[__m512i; LIMBS]; N]);

impl Lanes {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn load(&self) -> __m512i {
        // SAFETY: `Lanes` is 64 bytes, aligned to 64, and any bits are a vector.
        unsafe { _mm512_load_si512(std::ptr::from_ref(self).cast()) }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn store(vector: __m512i) -> Self {
        let mut lanes = ZERO;
        // SAFETY: `Lanes` is 64 bytes, aligned to 64, and any bits are eight words.
        unsafe { _mm512_store_si512(std::ptr::from_mut(&mut lanes).cast(), vector) };
        lanes
    }
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn constant(value: i64) -> __m512i {
    _mm512_set1_epi64(value)
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn zeros<const N: usize>() -> [[__m512i; LIMBS]; N] {
    [[_mm512_setzero_si512(); LIMBS]; N]
}

impl<const N: usize> Element<N> {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn load(stored: [&Stored; N]) -> Self {
        let mut element = Self(zeros());
        for (limbs, stored) in element.0.iter_mut().zip(stored) {
            for k in 0..LIMBS {
                limbs[k] = stored[k].load();
            }
        }
        element
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn store(&self, into: [&mut Stored; N]) {
        for (limbs, into) in self.0.iter().zip(into) {
            for k in 0..LIMBS {
                into[k] = Lanes::store(limbs[k]);
            }
        }
    }

    /// The same value in all lanes.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn splat(limbs: &[i64; LIMBS]) -> Self {
        let mut element = Self(zeros());
        for n in 0..N {
            for k in 0..LIMBS {
                element.0[n][k] = constant(limbs[k]);
            }
        }
        element
    }

    /// Four little-endian words of 64 bits per lane, modulo p; bit 255 is ignored.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn from_words(words: &[[__m512i; 4]; N]) -> Self {
        let mut element = Self(zeros());
        for (limbs, w) in element.0.iter_mut().zip(words) {
            let pieces = [
                w[0],
                _mm512_or_si512(_mm512_srli_epi64::<52>(w[0]), _mm512_slli_epi64::<12>(w[1])),
                _mm512_or_si512(_mm512_srli_epi64::<40>(w[1]), _mm512_slli_epi64::<24>(w[2])),
                _mm512_or_si512(_mm512_srli_epi64::<28>(w[2]), _mm512_slli_epi64::<36>(w[3])),
            ];
            for k in 0..4 {
                limbs[k] = _mm512_and_si512(pieces[k], constant(LOW_52));
            }
            limbs[4] = _mm512_and_si512(_mm512_srli_epi64::<16>(w[3]), constant(LOW_47));
        }
        element
    }

    /// Four little-endian words of 64 bits per lane. The element must be canonical.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn to_words(self) -> [[__m512i; 4]; N] {
        let mut words = [[_mm512_setzero_si512(); 4]; N];
        for (w, l) in words.iter_mut().zip(&self.0) {
            w[0] = _mm512_or_si512(l[0], _mm512_slli_epi64::<52>(l[1]));
            w[1] = _mm512_or_si512(_mm512_srli_epi64::<12>(l[1]), _mm512_slli_epi64::<40>(l[2]));
            w[2] = _mm512_or_si512(_mm512_srli_epi64::<24>(l[2]), _mm512_slli_epi64::<28>(l[3]));
            w[3] = _mm512_or_si512(_mm512_srli_epi64::<36>(l[3]), _mm512_slli_epi64::<16>(l[4]));
        }
        words
    }

    /// The limbs as columns, without the bits that are not part of the value.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn columns(self) -> Columns<N> {
        let mut columns = Columns(self.0);
        for limbs in &mut columns.0 {
            for limb in &mut limbs[..4] {
                *limb = _mm512_and_si512(*limb, constant(LOW_52));
            }
        }
        columns
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn plus(self, other: Self) -> Self {
        self.columns().plus(other.columns()).carry()
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn minus(self, other: Self) -> Self {
        self.columns().biased().minus(other.columns()).carry()
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn negated(self) -> Self {
        Columns(zeros()).biased().minus(self.columns()).carry()
    }

    /// The product, not yet carried.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn times(&self, other: &Self) -> Columns<N> {
        Columns(multiply(&self.0, &other.0, &[0; LIMBS]))
    }

    /// The product and [`BIAS`], so that a product may be taken away.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn times_biased(&self, other: &Self) -> Columns<N> {
        Columns(multiply(&self.0, &other.0, &BIAS))
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn mul(&self, other: &Self) -> Self {
        self.times(other).carry()
    }

    /// The square, not yet carried.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn squared(&self) -> Columns<N> {
        Columns(square(&self.0, &[0; LIMBS]))
    }

    /// The square and [`BIAS`].
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn squared_biased(&self) -> Columns<N> {
        Columns(square(&self.0, &BIAS))
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn square(&self) -> Self {
        self.square_times(1)
    }

    /// The element to the power 2^`count`.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn square_times(&self, count: usize) -> Self {
        let mut power = *self;
        for _ in 0..count {
            power = power.squared().carry();
        }
        power
    }

    /// The one representative below p, without surplus bits.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn canonical(self) -> Self {
        let mut element = Self(self.columns().0);
        for limbs in &mut element.0 {
            // The value is below 2p, so it is to be reduced by p just if value + 19 reaches 2²⁵⁵.
            let mut carry = constant(19);
            for limb in &limbs[..4] {
                carry = _mm512_srli_epi64::<52>(_mm512_add_epi64(*limb, carry));
            }
            let above = _mm512_srli_epi64::<47>(_mm512_add_epi64(limbs[4], carry));
            let mut carry = _mm512_madd52lo_epu64(_mm512_setzero_si512(), above, constant(19));
            for limb in &mut limbs[..4] {
                let sum = _mm512_add_epi64(*limb, carry);
                *limb = _mm512_and_si512(sum, constant(LOW_52));
                carry = _mm512_srli_epi64::<52>(sum);
            }
            limbs[4] = _mm512_and_si512(_mm512_add_epi64(limbs[4], carry), constant(LOW_47));
        }
        element
    }

    /// RFC 9496 section 3.1: an element is negative if its canonical representative is odd.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn is_negative(self) -> Masks<N> {
        let canonical = self.canonical();
        let mut masks = [0; N];
        for n in 0..N {
            masks[n] = _mm512_test_epi64_mask(canonical.0[n][0], constant(1));
        }
        masks
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn is_zero(self) -> Masks<N> {
        self.canonical().same_limbs(&Self(zeros()))
    }

    /// Where all limbs agree, which means equality only of canonical elements.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn same_limbs(&self, other: &Self) -> Masks<N> {
        let mut masks = [0; N];
        for n in 0..N {
            let mut difference = _mm512_setzero_si512();
            for k in 0..LIMBS {
                difference = _mm512_or_si512(difference, _mm512_xor_si512(self.0[n][k], other.0[n][k]));
            }
            masks[n] = _mm512_testn_epi64_mask(difference, difference);
        }
        masks
    }

    /// `other` where the mask has a one, else `self`; in constant time.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn select(self, other: Self, masks: Masks<N>) -> Self {
        let mut selected = self;
        for n in 0..N {
            for k in 0..LIMBS {
                selected.0[n][k] = _mm512_mask_blend_epi64(masks[n], self.0[n][k], other.0[n][k]);
            }
        }
        selected
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn negated_where(self, masks: Masks<N>) -> Self {
        self.select(self.negated(), masks)
    }

    /// RFC 9496's CT_ABS.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn absolute(self) -> Self {
        self.negated_where(self.is_negative())
    }
}

impl<const N: usize> Columns<N> {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn plus(self, other: Self) -> Self {
        let mut sum = self;
        for n in 0..N {
            for k in 0..LIMBS {
                sum.0[n][k] = _mm512_add_epi64(self.0[n][k], other.0[n][k]);
            }
        }
        sum
    }

    /// The difference; no column of `other` may be the larger one, which a bias ensures.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn minus(self, other: Self) -> Self {
        let mut difference = self;
        for n in 0..N {
            for k in 0..LIMBS {
                debug_assert_eq!(_mm512_cmplt_epu64_mask(self.0[n][k], other.0[n][k]), 0, "column {k}");
                difference.0[n][k] = _mm512_sub_epi64(self.0[n][k], other.0[n][k]);
            }
        }
        difference
    }

    /// [`BIAS`] less these columns, which no product's exceed, in the lanes of the mask; in constant time.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn negated_where(self, masks: Masks<N>) -> Self {
        let mut columns = self;
        for n in 0..N {
            for k in 0..LIMBS {
                columns.0[n][k] =
                    _mm512_mask_sub_epi64(self.0[n][k], masks[n], constant(BIAS[k]), self.0[n][k]);
            }
        }
        columns
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn doubled(self) -> Self {
        self.plus(self)
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn biased(self) -> Self {
        self.plus(Self(Element::splat(&BIAS).0))
    }

    /// Carries columns below 2⁶³ into an element.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn carry(self) -> Element<N> {
        Element(carry(self.0))
    }
}
