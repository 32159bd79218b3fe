//! AVX2: ten limbs of 26 and 25 bits, two a word.
//!
//! A register has room for four words, so everything is done twice: by a token of the lower lanes, and then by one of
//! the upper lanes.
//!
//! An element is ten limbs of 26 and 25 bits in turns, x = Σ lₖ·2^⌈25.5·k⌉ (Bernstein, "Curve25519: new Diffie-Hellman speed
//! records", PKC 2006), and a word holds two of them, l₂ₖ in its lower half and l₂ₖ₊₁ in its upper half. `VPMULUDQ`
//! multiplies the lower halves of two words, whatever stands above.
//!
//! **Bounds.** An `Element` has l₁ ≤ 2²⁵ + 2¹⁷, of the others those of even index are below 2²⁶ and those of odd index below
//! 2²⁵: all fit into 32 bits, also doubled, fourfold, and 19-fold, 19·2²⁶ < 2³¹.
//!
//! **A product's columns** (`schoolbook`). lᵢ·mⱼ belongs to column i + j, twice if i and j are odd, since ⌈25.5·i⌉ + ⌈25.5·j⌉
//! is then one more than ⌈25.5·(i + j)⌉; and 19-fold to column i + j − 10, as 2²⁵⁵ = 19. Column 0 has the most: l₀·m₀, four
//! products of even limbs 19-fold and five of odd limbs 38-fold, less than 2⁵²·(1 + 76 + 47.5)·(1 + 2⁻⁷) < 2⁵⁹. A column of
//! odd index is below 2⁵¹·(2 + 8·19)·(1 + 2⁻⁷) < 2⁵⁹ as well.
//!
//! **Differences.** `BIAS` is 2³⁵·p: at least 2⁶¹ − 2⁴⁰ in the columns of even index and 2⁶⁰ − 2³⁵ in the others, more than any
//! product. The largest sum is F of a doubling, 2·(zz + BIAS) − g, below 2⁶² + 2⁶⁰, where g = yy + BIAS − xx is less than 2·BIAS;
//! d + BIAS ± c with c negated in some lanes is at least 0 and below 2⁶² + 2⁵⁹.
//!
//! **The carry** (`carry`) takes any columns below 2⁶³. Each hands on what it has above its limb's bits, at most 2³⁸ and then
//! some; what column 9 hands on, at most 2³⁸ + 2¹³, comes back 19-fold in column 0, which hands on what it has above 26 bits
//! then, less than 2¹⁷, to l₁.
//!
//! **The canonical form** (`canonical`). An element is below 2²⁵⁵ + 2⁴³ < 2p: p is taken away just if x + 19 reaches 2²⁵⁵.

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::{LANES, Lanes, Mask, Pair, Row, WORDS, Words, splat_each, union, zip_each};

mod product;

/// Limbs of an element: those of even index have 26 bits, the others 25. Word k holds limbs 2k and 2k + 1.
const LIMBS: usize = 2 * WORDS;
/// Words of a register.
const HALF: usize = LANES / 2;
/// 2³⁵·p, limb by limb: at least as large, column by column, as whatever is taken away from it.
const BIAS: Limbs<u64> = {
    let mut bias = [0; LIMBS];
    let mut k = 0;
    while k < LIMBS {
        bias[k] = ((1 << width(k)) - 1) << 35;
        k += 1;
    }
    bias[0] -= 18 << 35;
    bias
};

/// Proof that this processor has AVX2: only [`Avx2::detect`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Avx2 {
    /// The first of the four lanes that this token works on: 0 or 4.
    first: usize,
}

/// Four words.
type Vector = __m256i;
type Limbs<T> = [T; LIMBS];

/// Bits of a limb.
const fn width(limb: usize) -> u32 {
    if limb.is_multiple_of(2) { 26 } else { 25 }
}

/// Methods that are one instruction each: the token is proof that the processor has it.
macro_rules! instructions {
    ($($name:ident$(::<$bits:ident>)?($($argument:ident: $type:ty),*) -> $result:ty = $intrinsic:expr;)*) => {
        $(
            #[inline(always)]
            fn $name$(<const $bits: i32>)?(self, $($argument: $type),*) -> $result {
                // SAFETY: the instruction is one of AVX2 or older, and a token exists only where AVX2 was detected.
                unsafe { $intrinsic($($argument),*) }
            }
        )*
    };
}

impl Avx2 {
    pub(in super::super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self { first: 0 })
    }

    /// The tokens of both halves of the lanes, or of the lower half if so many points need no more.
    pub(in super::super) fn needed(self, points: usize) -> impl Iterator<Item = Self> {
        [0, HALF].into_iter().filter(move |&first| first < points).map(|first| Self { first })
    }

    instructions! {
        product(a: Vector, b: Vector) -> Vector = _mm256_mul_epu32;
        plus(a: Vector, b: Vector) -> Vector = _mm256_add_epi64;
        minus(a: Vector, b: Vector) -> Vector = _mm256_sub_epi64;
        right::<BITS>(a: Vector) -> Vector = _mm256_srli_epi64::<BITS>;
        left::<BITS>(a: Vector) -> Vector = _mm256_slli_epi64::<BITS>;
        right_by(a: Vector, bits: Vector) -> Vector = _mm256_srlv_epi64;
        same(a: Vector, b: Vector) -> Vector = _mm256_cmpeq_epi64;
        above(a: Vector, b: Vector) -> Vector = _mm256_cmpgt_epi64;
        everywhere(word: i64) -> Vector = _mm256_set1_epi64x;
        four(d: i64, c: i64, b: i64, a: i64) -> Vector = _mm256_set_epi64x;
        blend(a: Vector, b: Vector, mask: Vector) -> Vector = _mm256_blendv_epi8;
        permute_words(words: Vector, index: Vector) -> Vector = _mm256_permutevar8x32_epi32;
        floats(a: Vector) -> __m256d = _mm256_castsi256_pd;
        signs(a: __m256d) -> i32 = _mm256_movemask_pd;
    }

    #[inline(always)]
    fn load_half(self, row: &Row, first: usize) -> Vector {
        let half: &[u64; HALF] = &row.0.as_chunks().0[first / HALF];
        // SAFETY: as for `instructions`; half a `Row` is 32 bytes, aligned to 32, and any bits are a vector.
        unsafe { _mm256_load_si256(std::ptr::from_ref(half).cast()) }
    }

    /// Ones in the lanes that the mask names.
    #[inline(always)]
    fn spread(self, mask: Mask) -> Vector {
        let bits = self.four(8, 4, 2, 1);
        self.same(self.and(self.splat((mask >> self.first).into()), bits), bits)
    }

    /// One bit for each word, its highest.
    #[inline(always)]
    fn collect(self, vector: Vector) -> Mask {
        (self.signs(self.floats(vector)) << self.first) as Mask
    }

    /// Limbs of words, in which bits above the limb's may be left.
    #[inline(always)]
    fn unpacked(self, words: &[Vector; WORDS]) -> Limbs<Vector> {
        let mut limbs = [words[0]; LIMBS];
        for k in 0..WORDS {
            limbs[2 * k] = words[k];
            limbs[2 * k + 1] = self.right::<32>(words[k]);
        }
        limbs
    }

    #[inline(always)]
    fn packed(self, limbs: &Limbs<Vector>) -> [Vector; WORDS] {
        let mut words = [limbs[0]; WORDS];
        for k in 0..WORDS {
            words[k] = self.or(limbs[2 * k], self.left::<32>(limbs[2 * k + 1]));
        }
        words
    }

    /// What a column has above its limb's bits, and what is left of it.
    #[inline(always)]
    fn split(self, column: Vector, k: usize) -> (Vector, Vector) {
        if k.is_multiple_of(2) {
            (self.right::<26>(column), self.and(column, self.splat((1 << 26) - 1)))
        } else {
            (self.right::<25>(column), self.and(column, self.splat((1 << 25) - 1)))
        }
    }

    /// Columns hand on what they have above their limbs' bits, one after the other; the last one's is the result.
    #[inline(always)]
    fn ripple(self, limbs: &mut Limbs<Vector>) -> Vector {
        let mut carry = self.splat(0);
        for k in 0..LIMBS {
            (carry, limbs[k]) = self.split(self.plus(limbs[k], carry), k);
        }
        carry
    }

    #[inline(always)]
    fn are_positive(self, columns: &Limbs<Vector>) -> bool {
        self.collect(union(self, columns)) == 0
    }

    #[inline(always)]
    fn nineteenfold(self, a: Vector) -> Vector {
        self.plus(a, self.plus(self.left::<1>(a), self.left::<4>(a)))
    }
}

impl Lanes for Avx2 {
    type Vector = Vector;
    type Columns = Limbs<Vector>;
    /// For none and for each multiple, the lanes whose digit names it.
    type Choice = [Vector; LANES + 1];

    #[inline(always)]
    fn held(self) -> Range<usize> {
        self.first..self.first + HALF
    }

    #[inline(always)]
    fn outlined<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline(never)]
        fn apart<R>(_: Avx2, work: impl FnOnce() -> R) -> R {
            // SAFETY: a token exists only where the feature was detected.
            unsafe { call(work) }
        }
        #[target_feature(enable = "avx2")]
        fn call<R>(work: impl FnOnce() -> R) -> R {
            // What is spilled must not cross lines of the cache: the compiler aligns a stack on which something is to be
            // aligned, and it does not for spills alone.
            std::hint::black_box(&mut MaybeUninit::<Row>::uninit());
            work()
        }
        apart(self, work)
    }

    #[inline(always)]
    fn load(self, row: &Row) -> Vector {
        self.load_half(row, self.first)
    }

    #[inline(always)]
    fn store(self, vector: Vector, row: &mut Row) {
        let half: &mut [u64; HALF] = &mut row.0.as_chunks_mut().0[self.first / HALF];
        // SAFETY: as for `instructions`; half a `Row` is 32 bytes, aligned to 32, and any bits are four words.
        unsafe { _mm256_store_si256(std::ptr::from_mut(half).cast(), vector) };
    }

    #[inline(always)]
    fn splat(self, word: u64) -> Vector {
        self.everywhere(word.cast_signed())
    }

    #[inline(always)]
    fn gather(self, pairs: [&Pair; LANES / 2]) -> Vector {
        let [a, b] = [pairs[self.first / 2].0, pairs[self.first / 2 + 1].0];
        self.four(b[1].cast_signed(), b[0].cast_signed(), a[1].cast_signed(), a[0].cast_signed())
    }

    instructions! {
        and(a: Vector, b: Vector) -> Vector = _mm256_and_si256;
        or(a: Vector, b: Vector) -> Vector = _mm256_or_si256;
        xor(a: Vector, b: Vector) -> Vector = _mm256_xor_si256;
    }

    #[inline(always)]
    fn shift_right(self, vector: Vector, bits: u32) -> Vector {
        self.right_by(vector, self.splat(bits.into()))
    }

    #[inline(always)]
    fn select(self, a: Vector, b: Vector, mask: Mask) -> Vector {
        self.blend(a, b, self.spread(mask))
    }

    #[inline(always)]
    fn zeros(self, vector: Vector) -> Mask {
        self.collect(self.same(vector, self.splat(0)))
    }

    #[inline(always)]
    fn signed(self, vector: Vector) -> (Vector, Mask) {
        let eight = self.splat(8);
        let (difference, below) = (self.minus(vector, eight), self.above(eight, vector));
        (self.minus(self.xor(difference, below), below), self.collect(below))
    }

    #[inline(always)]
    fn words(w: &[u64; 4]) -> [u64; WORDS] {
        let pieces =
            [w[0], w[0] >> 51 | w[1] << 13, w[1] >> 38 | w[2] << 26, w[2] >> 25 | w[3] << 39, w[3] >> 12];
        pieces.map(|piece| piece & ((1 << 26) - 1) | (piece >> 26 & ((1 << 25) - 1)) << 32)
    }

    #[inline(always)]
    fn unpack(self, w: [Vector; 4]) -> [Vector; WORDS] {
        let mut words = [
            w[0],
            self.or(self.right::<51>(w[0]), self.left::<13>(w[1])),
            self.or(self.right::<38>(w[1]), self.left::<26>(w[2])),
            self.or(self.right::<25>(w[2]), self.left::<39>(w[3])),
            self.right::<12>(w[3]),
        ];
        for k in 0..WORDS {
            let even = self.and(words[k], self.splat((1 << 26) - 1));
            let odd = self.and(self.right::<26>(words[k]), self.splat((1 << 25) - 1));
            words[k] = self.or(even, self.left::<32>(odd));
        }
        words
    }

    #[inline(always)]
    fn pack(self, element: [Vector; WORDS]) -> [Vector; 4] {
        let mut pieces = element;
        for k in 0..WORDS {
            let even = self.and(element[k], self.splat((1 << 26) - 1));
            pieces[k] = self.or(even, self.left::<26>(self.right::<32>(element[k])));
        }
        [
            self.or(pieces[0], self.left::<51>(pieces[1])),
            self.or(self.right::<13>(pieces[1]), self.left::<38>(pieces[2])),
            self.or(self.right::<26>(pieces[2]), self.left::<25>(pieces[3])),
            self.or(self.right::<39>(pieces[3]), self.left::<12>(pieces[4])),
        ]
    }

    /// The value is below 2p, so it is to be reduced by p just if value + 19 reaches 2²⁵⁵.
    #[inline(always)]
    fn canonical(self, element: [Vector; WORDS]) -> [Vector; WORDS] {
        let mut limbs = self.columns(element);
        let mut carry = self.splat(19);
        for k in 0..LIMBS {
            (carry, _) = self.split(self.plus(limbs[k], carry), k);
        }
        limbs[0] = self.plus(limbs[0], self.nineteenfold(carry));
        self.ripple(&mut limbs);
        self.packed(&limbs)
    }

    #[inline(always)]
    fn no_columns(self) -> Limbs<Vector> {
        [self.splat(0); LIMBS]
    }

    #[inline(always)]
    fn columns(self, element: [Vector; WORDS]) -> Limbs<Vector> {
        let mut columns = self.unpacked(&element);
        for k in 0..WORDS {
            columns[2 * k] = self.and(columns[2 * k], self.splat(u32::MAX.into()));
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

    /// Minus c is the complement of c plus one, and a mask of ones is minus one.
    #[inline(always)]
    fn negate_where(self, columns: Limbs<Vector>, mask: Mask) -> Limbs<Vector> {
        let mask = self.spread(mask);
        let mut negated = columns;
        for k in 0..LIMBS {
            let opposite = self.minus(self.xor(columns[k], mask), mask);
            negated[k] = self.plus(opposite, self.and(self.splat(BIAS[k]), mask));
        }
        negated
    }

    /// Each column hands on what it has above its limb's bits; what the last one has comes back 19-fold at the bottom, and
    /// the second limb takes what is too much there.
    #[inline(always)]
    fn carry(self, columns: Limbs<Vector>) -> [Vector; WORDS] {
        let mut limbs = columns;
        debug_assert!(self.are_positive(&limbs), "columns are below 2⁶³");
        let above = self.ripple(&mut limbs);
        let (above, first) = self.split(self.plus(limbs[0], self.nineteenfold(above)), 0);
        (limbs[0], limbs[1]) = (first, self.plus(limbs[1], above));
        self.packed(&limbs)
    }

    #[inline(always)]
    fn multiply<const N: usize>(
        self,
        a: &Words<Self, N>,
        b: &Words<Self, N>,
        biased: bool,
    ) -> [Limbs<Vector>; N] {
        let mut columns = [self.no_columns(); N];
        for n in 0..N {
            columns[n] = product::multiply(self, &a[n], &b[n], biased);
        }
        columns
    }

    #[inline(always)]
    fn multiply_carried<const N: usize>(self, a: &Words<Self, N>, b: &Words<Self, N>) -> Words<Self, N> {
        let mut words = *a;
        for n in 0..N {
            words[n] = product::multiply_carried(self, &a[n], &b[n]);
        }
        words
    }

    #[inline(always)]
    fn square<const N: usize>(self, a: &Words<Self, N>, biased: bool) -> [Limbs<Vector>; N] {
        let mut columns = [self.no_columns(); N];
        for n in 0..N {
            columns[n] = product::square(self, &a[n], biased);
        }
        columns
    }

    #[inline(always)]
    fn put(self, choices: &mut [Row; LANES], factor: usize, word: Vector) {
        self.store(word, &mut choices[factor - 1]);
    }

    #[inline(always)]
    fn choice(self, magnitude: Vector) -> [Vector; LANES + 1] {
        let mut choice = [magnitude; LANES + 1];
        for factor in 0..=LANES {
            choice[factor] = self.same(magnitude, self.splat(factor as u64));
        }
        choice
    }

    #[inline(always)]
    fn pick(self, choices: &[Row; LANES], choice: &[Vector; LANES + 1], nothing: u64) -> Vector {
        let mut word = self.and(choice[0], self.splat(nothing));
        for factor in 0..LANES {
            word = self.or(word, self.and(choice[factor + 1], self.load(&choices[factor])));
        }
        word
    }

    /// A permutation picks from four words, so there are two of them, and words are picked as two halves.
    #[inline(always)]
    fn permute(self, row: &Row, magnitude: Vector, nothing: u64) -> Vector {
        let place = self.minus(magnitude, self.splat(1));
        let even = self.plus(place, place);
        let index = self.or(even, self.left::<32>(self.plus(even, self.splat(1))));
        let first = self.permute_words(self.load_half(row, 0), index);
        let second = self.permute_words(self.load_half(row, HALF), index);
        let word = self.blend(first, second, self.above(place, self.splat(3)));
        self.blend(word, self.splat(nothing), self.same(magnitude, self.splat(0)))
    }
}
