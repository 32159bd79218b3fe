//! Eight lanes of arithmetic modulo p = 2²⁵⁵ − 19, for `N` groups of eight at once.
//!
//! The page of [`super`] states the representation and proves the bounds that this file asserts.

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use std::arch::x86_64::*;

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
/// 2²⁶⁰ modulo p: what a column five places up is worth.
const FOLD: i64 = 19 << 5;
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
        self.multiply(other, &[0; LIMBS])
    }

    /// The product and [`BIAS`], so that a product may be taken away.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn times_biased(&self, other: &Self) -> Columns<N> {
        self.multiply(other, &BIAS)
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn mul(&self, other: &Self) -> Self {
        let mut product = *self;
        for n in 0..N {
            product.0[n] = carry(multiply(&self.0[n], &other.0[n], &[0; LIMBS]));
        }
        product
    }

    /// The square, not yet carried.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn squared(&self) -> Columns<N> {
        self.square_onto(&[0; LIMBS])
    }

    /// The square and [`BIAS`].
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn squared_biased(&self) -> Columns<N> {
        self.square_onto(&BIAS)
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
            for limbs in &mut power.0 {
                *limbs = carry(square(limbs, &[0; LIMBS]));
            }
        }
        power
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn multiply(&self, other: &Self, start: &[i64; LIMBS]) -> Columns<N> {
        let mut columns = Columns(zeros());
        for n in 0..N {
            columns.0[n] = multiply(&self.0[n], &other.0[n], start);
        }
        columns
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn square_onto(&self, start: &[i64; LIMBS]) -> Columns<N> {
        let mut columns = Columns(zeros());
        for n in 0..N {
            columns.0[n] = square(&self.0[n], start);
        }
        columns
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
        Self(select(self.0, other.0, masks))
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

    /// `other` where the mask has a one, else `self`; in constant time.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn select(self, other: Self, masks: Masks<N>) -> Self {
        Self(select(self.0, other.0, masks))
    }

    /// Carries columns below 2⁶³ into an element.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn carry(self) -> Element<N> {
        let mut element = Element(self.0);
        for limbs in &mut element.0 {
            *limbs = carry(*limbs);
        }
        element
    }
}

/// `sum` and the lower half of the product, which belongs to the column of the limbs' sum of indices.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn low(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_madd52lo_epu64(sum, a, b)
}

/// `sum` and the upper half of the product, which belongs to the next column.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn high(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_madd52hi_epu64(sum, a, b)
}

/// What a column has above its 52 bits.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn above(column: __m512i) -> __m512i {
    _mm512_srli_epi64::<52>(column)
}

/// Schoolbook multiplication onto `start`. The last two columns begin with what the one before has above 52
/// bits: that costs less than to fold it, and the chain is short.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn multiply(a: &[__m512i; LIMBS], b: &[__m512i; LIMBS], start: &[i64; LIMBS]) -> [__m512i; LIMBS] {
    debug_assert!(is_operand(a) && is_operand(b));
    let mut z = [_mm512_setzero_si512(); 2 * LIMBS];
    for k in 0..LIMBS {
        z[k] = constant(start[k]);
    }
    for i in 0..LIMBS {
        for j in 0..LIMBS.min(8 - i) {
            z[i + j] = low(z[i + j], a[i], b[j]);
        }
        for j in 0..LIMBS.min(7 - i) {
            z[i + j + 1] = high(z[i + j + 1], a[i], b[j]);
        }
    }
    z[8] = high(high(low(above(z[7]), a[4], b[4]), a[3], b[4]), a[4], b[3]);
    z[9] = high(above(z[8]), a[4], b[4]);
    fold(&z)
}

/// As [`multiply`] by itself, with each mixed product computed once: those of the lower limbs are doubled in
/// their columns, those with the top limb are products of its double, which has room for it.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn square(a: &[__m512i; LIMBS], start: &[i64; LIMBS]) -> [__m512i; LIMBS] {
    debug_assert!(is_operand(a));
    let mut z = [_mm512_setzero_si512(); 2 * LIMBS];
    for k in 1..LIMBS {
        z[k] = constant(start[k] / 2);
    }
    for i in 0..LIMBS - 1 {
        for j in i + 1..LIMBS - 1 {
            z[i + j] = low(z[i + j], a[i], a[j]);
        }
        for j in i + 1..LIMBS - 1 {
            z[i + j + 1] = high(z[i + j + 1], a[i], a[j]);
        }
    }
    z[0] = constant(start[0]);
    for column in &mut z[1..7] {
        *column = _mm512_add_epi64(*column, *column);
    }
    let top = _mm512_add_epi64(a[4], a[4]);
    for i in (0..LIMBS - 1).rev() {
        z[i + 4] = low(z[i + 4], a[i], top);
        if i < 3 {
            z[i + 5] = high(z[i + 5], a[i], top);
        }
        z[2 * i] = low(z[2 * i], a[i], a[i]);
        z[2 * i + 1] = high(z[2 * i + 1], a[i], a[i]);
    }
    z[8] = high(low(above(z[7]), a[4], a[4]), a[3], top);
    z[9] = high(above(z[8]), a[4], a[4]);
    fold(&z)
}

/// Columns 5 to 9 come back into columns 0 to 4, [`FOLD`]-fold. Column 9 needs no high half, and what columns
/// 5 and 6 have above 52 bits is multiplied on its own.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn fold(z: &[__m512i; 2 * LIMBS]) -> [__m512i; LIMBS] {
    let fold = constant(FOLD);
    let mut t = [z[0], z[1], z[2], z[3], z[4]];
    for k in 0..LIMBS {
        t[k] = low(t[k], z[k + 5], fold);
    }
    for k in 0..LIMBS - 1 {
        t[k + 1] = high(t[k + 1], z[k + 5], fold);
    }
    for k in 0..2 {
        t[k + 1] = low(t[k + 1], above(z[k + 5]), fold);
    }
    t
}

/// Columns below 2⁶³ become limbs: what exceeds 255 bits comes back 19-fold at the bottom, and then each limb
/// hands on what exceeds its 52 bits.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn carry(mut t: [__m512i; LIMBS]) -> [__m512i; LIMBS] {
    debug_assert!(t.iter().all(|&column| _mm512_cmplt_epi64_mask(column, _mm512_setzero_si512()) == 0));
    t[0] = low(t[0], _mm512_srli_epi64::<47>(t[4]), constant(19));
    t[4] = _mm512_and_si512(t[4], constant(LOW_47));
    for k in 0..4 {
        t[k + 1] = _mm512_add_epi64(t[k + 1], above(t[k]));
    }
    t
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn select<const N: usize>(
    a: [[__m512i; LIMBS]; N],
    b: [[__m512i; LIMBS]; N],
    masks: Masks<N>,
) -> [[__m512i; LIMBS]; N] {
    let mut selected = a;
    for n in 0..N {
        for k in 0..LIMBS {
            selected[n][k] = _mm512_mask_blend_epi64(masks[n], a[n][k], b[n][k]);
        }
    }
    selected
}

/// Whether the top limb is in bounds; the others have no bound.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn is_operand(limbs: &[__m512i; LIMBS]) -> bool {
    _mm512_cmpgt_epu64_mask(limbs[4], constant((1 << 47) + (1 << 12))) == 0
}
