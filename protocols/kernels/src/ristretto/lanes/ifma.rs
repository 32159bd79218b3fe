//! AVX-512 IFMA: five limbs of 52 bits, one a word.
//!
//! An element modulo p = 2²⁵⁵ − 19 is five limbs, x = l₀ + l₁·2⁵² + l₂·2¹⁰⁴ + l₃·2¹⁵⁶ + l₄·2²⁰⁸, one vector
//! for each limb and one lane for each element. `VPMADD52LUQ` and `VPMADD52HUQ` multiply the lowest 52 bits
//! of two words and add the lower or the upper 52 bits of the product to a third. With limbs of 52 bits the
//! upper half belongs to the next column just as it is: nothing is to be doubled. l₄ is at most 2⁴⁷ + 2¹², and of a
//! product's column k the weight is 2⁵²ᵏ.
//!
//! Bits of l₀ … l₃ above the 52nd are left in place because the multiplier ignores them. Where an element is
//! not multiplied (`columns`, `canonical`) they are masked first.
//!
//! **A product's columns** (`multiply`). Write B = 2⁵². A lower half is below B, an upper half is below B
//! too, and is at most 2⁴⁷ + 2¹² if l₄ is one of the factors, and at most 2⁴² + 2⁸ if both are. So the ten
//! columns are below
//!
//! | z₀ | z₁ | z₂ | z₃ | z₄ | z₅ | z₆ | z₇ | z₈ | z₉ |
//! |---|---|---|---|---|---|---|---|---|---|
//! | B | 3B | 5B | 7B | 9B | 8B | 6B | 4B | 2B | 2⁴² + 2⁹ |
//!
//! where z₅ to z₈ count their two products with l₄ as less than B together. z₈ begins with what z₇ has above
//! 52 bits, at most 3, and z₉ with what z₈ has, at most 1: both are below the slack of those bounds, and z₇
//! and z₈ count only with their lowest 52 bits from then on.
//!
//! **A square's columns** (`square`) are no larger. Products of two of the lower limbs are summed and doubled
//! in z₁ to z₆. Products with l₄ are taken with 2·l₄ ≤ 2⁴⁸ + 2¹³ instead, which the multiplier's 52 bits
//! hold: their lower half is below B once, where two single products would be below 2B, and their upper half
//! is below 2⁴⁸ + 2¹³, as two single ones are together.
//!
//! **The fold** (`fold`). 2²⁶⁰ = 608 modulo p, so column k+5 comes back 608-fold in column k: the lower half
//! of 608·(z mod B) there, the upper half, which is below 608, in the next, and there also, of z₅ and z₆,
//! 608·⌊z/B⌋ with ⌊z/B⌋ ≤ 7. 608·z₉ is below 2⁴²·608 + 2⁹·608 < B, so it has no upper half. The product's
//! five columns are then below B, and B more each: t₀ < 2B, t₁ < 4B + 2¹³, t₂ < 6B + 2¹³, t₃ < 8B + 2¹³, t₄ <
//! 10B + 2¹³. All are below 2⁵⁵·⁴.
//!
//! **Differences.** `BIAS` is 512·p, limb by limb: 2⁶¹ less at most 9,728 in columns 0 to 3, and 2⁵⁶ − 512 in
//! column 4. No product's column is larger (10B + 2¹³ < 2⁵⁶ − 512), so a − b is computed as (a + BIAS) − b,
//! and the bias costs nothing where it is what the product is accumulated onto. The only longer chain is F of
//! a doubling, 2·(zz + BIAS) − g, where g = yy + BIAS − xx is at most BIAS + 10B + 2¹³ in each column: less
//! than 2·BIAS. F is below 2⁶² + 2⁵⁷, the largest sum there is. Where a product c is negated in some lanes it becomes
//! BIAS − c, at most BIAS, and so d + BIAS ± c is at least 0 and below 2⁶² + 2⁵⁶.
//!
//! **The carry** (`carry`) takes any columns below 2⁶³. What column 4 has above 47 bits, at most 2¹⁶, comes
//! back 19-fold in column 0, which stays below 2⁶³ + 2²¹ and overflows nothing. Then columns 0 to 3 hand on
//! what they have above 52 bits, one after the other, at most 2¹¹ + 1 each. Column 4 ends below 2⁴⁷ + 2¹²: an
//! `Element`. One pass is enough because nothing comes out of column 4 again, which has five bits to spare.
//!
//! **The canonical form** (`canonical`). An element is below 2²⁵⁵ + 2²²⁰ + 2²⁰⁸, less than 2p: p is taken
//! away just if x + 19 reaches 2²⁵⁵.

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

#[cfg(not(feature = "emulated-ifma"))]
use std::arch::x86_64::*;
use std::array::from_fn;
use std::ops::Range;

use super::{Choices, LANES, Lanes, Mask, Pair, Row, WORDS, Words, ZERO, splat_each, union, zip_each};

#[cfg(feature = "emulated-ifma")]
mod emulated;
mod product;

#[cfg(feature = "emulated-ifma")]
use emulated::*;

/// Limbs of an element, one a word: four of 52 bits, and one of 47.
const LIMBS: usize = WORDS;
const LOW_52: u64 = (1 << 52) - 1;
const LOW_47: u64 = (1 << 47) - 1;
/// 512·p, limb by limb: at least as large, column by column, as whatever is taken away from it.
const BIAS: Limbs<u64> = [(LOW_52 - 18) << 9, LOW_52 << 9, LOW_52 << 9, LOW_52 << 9, LOW_47 << 9];
/// Pairs of neighbouring lanes.
const PAIRS: usize = LANES / 2;

/// Proof that this processor has AVX-512 IFMA: only [`Ifma::detect`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Ifma(());

/// Eight words.
type Vector = __m512i;
type Limbs<T> = [T; LIMBS];

/// A digit of each lane, made ready to pick multiples.
///
/// A permutation of two vectors picks from sixteen words, which are the eight multiples of two neighbouring lanes: those
/// of j·P stand side by side, behind those of (j mod 8) others.
#[derive(Clone, Copy)]
pub(in super::super) struct Choice {
    /// The word among the sixteen; 0 for the digit 0.
    index: Vector,
    /// Lanes whose digit is not 0.
    some: Mask,
    /// Those of each pair.
    pairs: [Mask; PAIRS],
}

/// Methods that are one instruction each: the token is proof that the processor has it.
macro_rules! instructions {
    ($($(#[$about:meta])* $name:ident$(::<$bits:ident>)?($($argument:ident: $type:ty),*) -> $result:ty = $intrinsic:expr;)*) => {
        $(
            $(#[$about])*
            #[inline(always)]
            fn $name$(<const $bits: u32>)?(self, $($argument: $type),*) -> $result {
                // SAFETY: the instruction is one of AVX-512 F or IFMA, and a token exists only where both were detected.
                unsafe { $intrinsic($($argument),*) }
            }
        )*
    };
}

impl Ifma {
    pub(in super::super) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        (detected || cfg!(feature = "emulated-ifma")).then_some(Self(()))
    }

    instructions! {
        /// `sum` and the lower half of the product, which belongs to the column of the limbs' sum of indices.
        low(sum: Vector, a: Vector, b: Vector) -> Vector = _mm512_madd52lo_epu64;
        /// `sum` and the upper half of the product, which belongs to the next column.
        high(sum: Vector, a: Vector, b: Vector) -> Vector = _mm512_madd52hi_epu64;
        plus(a: Vector, b: Vector) -> Vector = _mm512_add_epi64;
        minus(a: Vector, b: Vector) -> Vector = _mm512_sub_epi64;
        minus_where(else_: Vector, mask: Mask, a: Vector, b: Vector) -> Vector = _mm512_mask_sub_epi64;
        plus_or_zero(mask: Mask, a: Vector, b: Vector) -> Vector = _mm512_maskz_add_epi64;
        absolute(a: Vector) -> Vector = _mm512_abs_epi64;
        right::<BITS>(a: Vector) -> Vector = _mm512_srli_epi64::<BITS>;
        left::<BITS>(a: Vector) -> Vector = _mm512_slli_epi64::<BITS>;
        right_by(a: Vector, bits: Vector) -> Vector = _mm512_srlv_epi64;
        nonzero(a: Vector, b: Vector) -> Mask = _mm512_test_epi64_mask;
        zero(a: Vector, b: Vector) -> Mask = _mm512_testn_epi64_mask;
        above_unsigned(a: Vector, b: Vector) -> Mask = _mm512_cmpgt_epu64_mask;
        below(a: Vector, b: Vector) -> Mask = _mm512_cmplt_epi64_mask;
        blend(mask: Mask, a: Vector, b: Vector) -> Vector = _mm512_mask_blend_epi64;
        everywhere(word: i64) -> Vector = _mm512_set1_epi64;
        one_of(else_: Vector, mask: Mask, index: Vector, words: Vector) -> Vector = _mm512_mask_permutexvar_epi64;
        one_of_two(a: Vector, index: Vector, mask: Mask, b: Vector) -> Vector = _mm512_mask2_permutex2var_epi64;
    }

    #[inline(always)]
    fn are_positive(self, columns: &Limbs<Vector>) -> bool {
        self.below(union(self, columns), self.splat(0)) == 0
    }
}

impl Lanes for Ifma {
    type Vector = Vector;
    type Columns = Limbs<Vector>;
    type Choice = Choice;

    #[inline(always)]
    fn held(self) -> Range<usize> {
        0..LANES
    }

    #[inline(always)]
    fn outlined<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline(never)]
        fn apart<R>(_: Ifma, work: impl FnOnce() -> R) -> R {
            // SAFETY: a token exists only where the features were detected.
            #[allow(unused_unsafe, reason = "the emulation needs no feature")]
            unsafe {
                call(work)
            }
        }
        #[cfg_attr(not(feature = "emulated-ifma"), target_feature(enable = "avx512ifma"))]
        fn call<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        apart(self, work)
    }

    #[inline(always)]
    fn load(self, row: &Row) -> Vector {
        // SAFETY: as for `instructions`; a `Row` is 64 bytes, aligned to 64, and any bits are a vector.
        unsafe { _mm512_load_si512(std::ptr::from_ref(row).cast()) }
    }

    #[inline(always)]
    fn store(self, vector: Vector, row: &mut Row) {
        // SAFETY: as for `instructions`; a `Row` is 64 bytes, aligned to 64, and any bits are eight words.
        unsafe { _mm512_store_si512(std::ptr::from_mut(row).cast(), vector) };
    }

    #[inline(always)]
    fn splat(self, word: u64) -> Vector {
        self.everywhere(word.cast_signed())
    }

    #[inline(always)]
    fn gather(self, pairs: [&Pair; LANES / 2]) -> Vector {
        // SAFETY: as for `instructions`; a `Pair` is 16 bytes, aligned to 16, and any bits are a vector.
        unsafe {
            let [a, b, c, d] = pairs.map(
                #[inline(always)]
                |pair| _mm_load_si128(std::ptr::from_ref(pair).cast()),
            );
            let vector = _mm512_castsi128_si512(a);
            let vector = _mm512_inserti32x4::<1>(vector, b);
            let vector = _mm512_inserti32x4::<2>(vector, c);
            _mm512_inserti32x4::<3>(vector, d)
        }
    }

    instructions! {
        and(a: Vector, b: Vector) -> Vector = _mm512_and_si512;
        or(a: Vector, b: Vector) -> Vector = _mm512_or_si512;
        xor(a: Vector, b: Vector) -> Vector = _mm512_xor_si512;
    }

    #[inline(always)]
    fn shift_right(self, vector: Vector, bits: u32) -> Vector {
        self.right_by(vector, self.splat(bits.into()))
    }

    #[inline(always)]
    fn select(self, a: Vector, b: Vector, mask: Mask) -> Vector {
        self.blend(mask, a, b)
    }

    #[inline(always)]
    fn zeros(self, vector: Vector) -> Mask {
        self.zero(vector, vector)
    }

    #[inline(always)]
    fn signed(self, vector: Vector) -> (Vector, Mask) {
        let eight = self.splat(8);
        (self.absolute(self.minus(vector, eight)), self.below(vector, eight))
    }

    #[inline(always)]
    fn small(number: u32) -> u64 {
        number.into()
    }

    #[inline(always)]
    fn words(w: &[u64; 4]) -> [u64; WORDS] {
        let middle = [w[0], w[0] >> 52 | w[1] << 12, w[1] >> 40 | w[2] << 24, w[2] >> 28 | w[3] << 36];
        let [a, b, c, d] = middle.map(|word| word & LOW_52);
        [a, b, c, d, w[3] >> 16]
    }

    #[inline(always)]
    fn unpack(self, w: [Vector; 4]) -> Limbs<Vector> {
        let low = self.splat(LOW_52);
        [
            self.and(w[0], low),
            self.and(self.or(self.right::<52>(w[0]), self.left::<12>(w[1])), low),
            self.and(self.or(self.right::<40>(w[1]), self.left::<24>(w[2])), low),
            self.and(self.or(self.right::<28>(w[2]), self.left::<36>(w[3])), low),
            self.and(self.right::<16>(w[3]), self.splat(LOW_47)),
        ]
    }

    #[inline(always)]
    fn pack(self, l: Limbs<Vector>) -> [Vector; 4] {
        [
            self.or(l[0], self.left::<52>(l[1])),
            self.or(self.right::<12>(l[1]), self.left::<40>(l[2])),
            self.or(self.right::<24>(l[2]), self.left::<28>(l[3])),
            self.or(self.right::<36>(l[3]), self.left::<16>(l[4])),
        ]
    }

    #[inline(always)]
    fn canonical(self, element: Limbs<Vector>) -> Limbs<Vector> {
        let mut limbs = self.columns(element);
        let low = self.splat(LOW_52);
        // The value is below 2p, so it is to be reduced by p just if value + 19 reaches 2²⁵⁵.
        let mut carry = self.splat(19);
        for k in 0..4 {
            carry = self.right::<52>(self.plus(limbs[k], carry));
        }
        let above = self.right::<47>(self.plus(limbs[4], carry));
        let mut carry = self.low(self.splat(0), above, self.splat(19));
        for k in 0..4 {
            let sum = self.plus(limbs[k], carry);
            limbs[k] = self.and(sum, low);
            carry = self.right::<52>(sum);
        }
        limbs[4] = self.and(self.plus(limbs[4], carry), self.splat(LOW_47));
        limbs
    }

    #[inline(always)]
    fn no_columns(self) -> Limbs<Vector> {
        [self.splat(0); LIMBS]
    }

    /// The limbs without the bits that are not part of the value.
    #[inline(always)]
    fn columns(self, element: Limbs<Vector>) -> Limbs<Vector> {
        let mut columns = element;
        for k in 0..4 {
            columns[k] = self.and(element[k], self.splat(LOW_52));
        }
        columns
    }

    #[inline(always)]
    fn bias(self) -> Limbs<Vector> {
        splat_each(self, &BIAS)
    }

    #[inline(always)]
    fn add(self, a: Limbs<Vector>, b: Limbs<Vector>) -> Limbs<Vector> {
        zip_each(
            &a,
            &b,
            #[inline(always)]
            |a, b| self.plus(a, b),
        )
    }

    #[inline(always)]
    fn subtract(self, a: Limbs<Vector>, b: Limbs<Vector>) -> Limbs<Vector> {
        let difference = zip_each(
            &a,
            &b,
            #[inline(always)]
            |a, b| self.minus(a, b),
        );
        debug_assert!(self.are_positive(&difference), "no difference is negative");
        difference
    }

    #[inline(always)]
    fn negate_where(self, columns: Limbs<Vector>, mask: Mask) -> Limbs<Vector> {
        let mut negated = columns;
        for k in 0..LIMBS {
            negated[k] = self.minus_where(columns[k], mask, self.splat(BIAS[k]), columns[k]);
        }
        negated
    }

    /// What exceeds 255 bits comes back 19-fold at the bottom, and then each limb hands on what exceeds its 52 bits.
    #[inline(always)]
    fn carry(self, mut t: Limbs<Vector>) -> Limbs<Vector> {
        debug_assert!(self.are_positive(&t), "columns are below 2⁶³");
        t[0] = self.low(t[0], self.right::<47>(t[4]), self.splat(19));
        t[4] = self.and(t[4], self.splat(LOW_47));
        for k in 0..4 {
            t[k + 1] = self.plus(t[k + 1], self.right::<52>(t[k]));
        }
        t
    }

    #[inline(always)]
    fn multiply<const N: usize>(
        self,
        a: &Words<Self, N>,
        b: &Words<Self, N>,
        biased: bool,
    ) -> Words<Self, N> {
        product::multiply(self, a, b, &if biased { BIAS } else { [0; LIMBS] })
    }

    #[inline(always)]
    fn square<const N: usize>(self, a: &Words<Self, N>, biased: bool) -> Words<Self, N> {
        product::square(self, a, &if biased { BIAS } else { [0; LIMBS] })
    }

    #[inline(always)]
    fn put(self, choices: &mut Choices, factor: usize, word: Vector) {
        let place = factor % LANES;
        let (vector, place) = (place / PAIRS, place % PAIRS);
        let mut row = ZERO;
        self.store(word, &mut row);
        for (pair, words) in row.0.as_chunks::<2>().0.iter().enumerate() {
            choices[2 * pair + vector].0.as_chunks_mut().0[place] = *words;
        }
    }

    #[inline(always)]
    fn choice(self, _: &[Choices], magnitude: Vector) -> Choice {
        let some = self.nonzero(magnitude, magnitude);
        let odd = self.load(&Row(from_fn(|lane| lane as u64 % 2)));
        let index = self.plus_or_zero(some, self.plus(magnitude, magnitude), odd);
        let pairs = from_fn(|pair| some & 3 << (2 * pair));
        Choice { index, some, pairs }
    }

    /// Each permutation changes the lanes of its pair that have a digit, and takes the others' words as they are: an index
    /// becomes a word there, and the index 0 stays.
    #[inline(always)]
    fn pick(self, words: &[Choices], word: usize, choice: &Choice, nothing: u64) -> Vector {
        let choices = &words[word];
        let mut word = match nothing {
            0 => choice.index,
            _ => self.blend(choice.some, self.splat(nothing), choice.index),
        };
        for pair in 0..PAIRS {
            let [a, b] = [self.load(&choices[2 * pair]), self.load(&choices[2 * pair + 1])];
            word = self.one_of_two(a, word, choice.pairs[pair], b);
        }
        word
    }

    #[inline(always)]
    fn permute(self, row: &Row, magnitude: Vector, nothing: u64) -> Vector {
        let index = self.minus(magnitude, self.splat(1));
        self.one_of(self.splat(nothing), self.nonzero(magnitude, magnitude), index, self.load(row))
    }
}
