//! AVX2 with FMA: five limbs of 51 bits, one a word, as numbers in floating point.
//!
//! A register has room for four words, so a token works on one half of the lanes; where there are more than four points,
//! everything is done twice (`Avx2::needed`).
//!
//! An element is five limbs, x = Σ lₖ·2⁵¹ᵏ, and a word is a limb as a double: AVX2 multiplies integers of no more than
//! 32 bits, but `VFMADD` rounds a·b + c only once. So two of them give a product of 103 bits exactly (Emmart, Zheng and
//! Weems, "Faster Modular Exponentiation Using Double Precision Floating Point Arithmetic on the GPU", ARITH 2018).
//!
//! **A product of two limbs** (`product::add`). Doubles from 2¹⁰³ to 2¹⁰⁴ stand 2⁵¹ apart. So where 0 ≤ a·b < 2¹⁰³, the
//! rounded sum a·b + 2¹⁰³ is 2¹⁰³ + h·2⁵¹, h being the integer that is nearest to a·b/2⁵¹, and its bits are those of
//! 2¹⁰³ and h added as integers. What h leaves, l = a·b − h·2⁵¹, is at most 2⁵⁰ in magnitude. The difference
//! (2¹⁰³ + 3·2⁵¹) − (2¹⁰³ + h·2⁵¹) is exact, and so is a·b + that difference = 3·2⁵¹ + l, which lies between 2⁵² and 2⁵³,
//! where doubles are the integers: its bits are those of 3·2⁵¹ and l added. Columns are sums of such bits as integers, and
//! begin with the opposite of what the constants bring in (`constants::start`). The mode of rounding is to nearest, which
//! Rust takes for granted (another one, set in this thread by code that is not Rust, gives wrong results). No operand and no
//! result is subnormal, infinite or no number, which are what is known to take these instructions another time; that
//! nothing else does, no maker promises, and the example `dudect` measures.
//!
//! **Bounds.** An `Element` has l₀ ≤ 2⁵¹ + 2¹⁷ and the others at most 2⁵¹ + 2¹²; products are no more than
//! (2⁵¹ + 2¹⁷)² < 2¹⁰²·(1 + 2⁻³²). h is then at most 2⁵¹ + 2¹⁸.
//!
//! **A product's columns** (`product::multiply`). lᵢ·mⱼ gives l to column i + j and h to the next. In units of 2⁵⁰ a
//! column with n of the l and m of the h is between −n and n + 2·m, but for a 2⁻³²nd of itself, as all figures here are:
//!
//! | z₀ | z₁ | z₂ | z₃ | z₄ | z₅ | z₆ | z₇ | z₈ | z₉ |
//! |---|---|---|---|---|---|---|---|---|---|
//! | −1 … 1 | −2 … 4 | −3 … 7 | −4 … 10 | −5 … 13 | −4 … 14 | −3 … 11 | −2 … 8 | −1 … 5 | 0 … 2 |
//!
//! As 2²⁵⁵ = 19, z₅ to z₉ come back 19-fold in z₀ to z₄. Column 0 is the widest then, −77 … 267; the others are within
//! −59 … 213. All have 2⁶·p on top of that, 128 in these units, and so are between 51 and 395: positive, and below 2⁵⁹.
//!
//! **A square's columns** (`product::square`) are the same sums: those of products of two different limbs are doubled at once.
//!
//! **Differences.** BIAS is 2⁸·p, which is 512 in these units, more than any product. The largest sum is F of a
//! doubling, 2·(zz + BIAS) − g, below 2⁶¹, where g = yy + BIAS − xx is less than 2·BIAS; d + BIAS ± c with c negated in some
//! lanes is at least 0 and below 2⁶².
//!
//! **The carry** (`carry`) takes any columns below 2⁶³. Each hands on what it has above 51 bits, less than 2¹², all at the
//! same time; what column 4 hands on comes back 19-fold in column 0, less than 2¹⁷.
//!
//! **The canonical form** (`canonical`) is of integers. An element is below 2²⁵⁵ + 2²¹⁷ < 2p: p is taken away just if x + 19
//! reaches 2²⁵⁵.

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::{Choices, LANES, Lanes, Mask, Pair, Row, WORDS, Words, union, zip_each};

mod constants;
mod product;

use constants::{HALVES, Half, LOW, Quad};

/// Limbs of an element, one a word.
const LIMBS: usize = WORDS;
/// Words of a register.
const HALF: usize = LANES / 2;

/// Proof that this processor has AVX2 and FMA: only [`Avx2::detect`] makes one. It works on one half of the lanes.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx2(&'static Half);

impl PartialEq for Avx2 {
    fn eq(&self, other: &Self) -> bool {
        self.0.first == other.0.first
    }
}

impl Eq for Avx2 {}

impl std::fmt::Debug for Avx2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Avx2({})", self.0.first)
    }
}

/// Four words.
type Vector = __m256i;
/// Four numbers.
type Double = __m256d;
type Limbs<T> = [T; LIMBS];

/// The multiples that a digit of each lane names.
#[derive(Clone, Copy)]
pub(in super::super) struct Choice {
    /// All words; 0 where there is none.
    words: [Vector; 4 * WORDS],
    /// Ones in the lanes whose digit is 0.
    none: Vector,
}

/// Methods that are one instruction each: the token is proof that the processor has it.
macro_rules! instructions {
    ($($(#[$about:meta])* $name:ident$(::<$bits:ident>)?($($argument:ident: $type:ty),*) -> $result:ty = $intrinsic:expr;)*) => {
        $(
            $(#[$about])*
            #[inline(always)]
            fn $name$(<const $bits: i32>)?(self, $($argument: $type),*) -> $result {
                // SAFETY: the instruction is one of AVX2, FMA or older, and a token exists only where both were detected.
                unsafe { $intrinsic($($argument),*) }
            }
        )*
    };
}

impl Avx2 {
    pub(in super::super) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        detected.then_some(Self(&HALVES[0]))
    }

    /// The tokens of both halves of the lanes, or of the lower half if so many points need no more.
    pub(in super::super) fn needed(self, points: usize) -> impl Iterator<Item = Self> {
        HALVES.iter().filter(move |half| half.first < points).map(Self)
    }

    instructions! {
        /// a·b + c, rounded once.
        multiply_add(a: Double, b: Double, c: Double) -> Double = _mm256_fmadd_pd;
        sum(a: Double, b: Double) -> Double = _mm256_add_pd;
        difference(a: Double, b: Double) -> Double = _mm256_sub_pd;
        bits(a: Double) -> Vector = _mm256_castpd_si256;
        double(a: Vector) -> Double = _mm256_castsi256_pd;
        /// Products of the lower halves of words.
        small_product(a: Vector, b: Vector) -> Vector = _mm256_mul_epu32;
        plus(a: Vector, b: Vector) -> Vector = _mm256_add_epi64;
        minus(a: Vector, b: Vector) -> Vector = _mm256_sub_epi64;
        right::<BITS>(a: Vector) -> Vector = _mm256_srli_epi64::<BITS>;
        left::<BITS>(a: Vector) -> Vector = _mm256_slli_epi64::<BITS>;
        right_by(a: Vector, bits: Vector) -> Vector = _mm256_srlv_epi64;
        same(a: Vector, b: Vector) -> Vector = _mm256_cmpeq_epi64;
        above(a: Vector, b: Vector) -> Vector = _mm256_cmpgt_epi64;
        everywhere(word: i64) -> Vector = _mm256_set1_epi64x;
        four(d: i64, c: i64, b: i64, a: i64) -> Vector = _mm256_set_epi64x;
        /// `b` where the highest bit of the mask's word is a one, else `a`.
        blend_doubles(a: Double, b: Double, mask: Double) -> Double = _mm256_blendv_pd;
        permute_words(words: Vector, index: Vector) -> Vector = _mm256_permutevar8x32_epi32;
        signs(a: Double) -> i32 = _mm256_movemask_pd;
    }

    /// The same vector, at this place in the order of the program, and nothing that the compiler knows about: it would put
    /// the terms of sums together in another order, for which there are not enough registers.
    #[inline(always)]
    fn settled(self, vector: Vector) -> Vector {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn settled(mut vector: Vector) -> Vector {
            // SAFETY: there is no instruction in it.
            unsafe {
                asm!("/* {0} */", inlateout(ymm_reg) vector, options(nomem, nostack, preserves_flags));
            }
            vector
        }
        // SAFETY: as for `instructions`.
        unsafe { settled(vector) }
    }

    /// [`Self::blend_doubles`] of words.
    #[inline(always)]
    fn blend(self, a: Vector, b: Vector, mask: Vector) -> Vector {
        self.bits(self.blend_doubles(self.double(a), self.double(b), self.double(mask)))
    }

    /// A constant of [`Half`].
    #[inline(always)]
    fn constant(self, constant: &Quad) -> Vector {
        // SAFETY: as for `instructions`; a `Quad` is 32 bytes, aligned to 32, and any bits are a vector.
        unsafe { _mm256_load_si256(std::ptr::from_ref(constant).cast()) }
    }

    #[inline(always)]
    fn load_half(self, row: &Row, first: usize) -> Vector {
        let half: &[u64; HALF] = &row.0.as_chunks().0[first / HALF];
        // SAFETY: as for `instructions`; half a `Row` is 32 bytes, aligned to 32, and any bits are a vector.
        unsafe { _mm256_load_si256(std::ptr::from_ref(half).cast()) }
    }

    #[inline(always)]
    fn store_half(self, vector: Vector, row: &mut Row, first: usize) {
        let half: &mut [u64; HALF] = &mut row.0.as_chunks_mut().0[first / HALF];
        // SAFETY: as for `instructions`; half a `Row` is 32 bytes, aligned to 32, and any bits are four words.
        unsafe { _mm256_store_si256(std::ptr::from_mut(half).cast(), vector) };
    }

    /// Ones in the lanes that the mask names.
    #[inline(always)]
    fn spread(self, mask: Mask) -> Vector {
        let bits = self.four(8, 4, 2, 1);
        self.same(self.and(self.splat((mask >> self.0.first).into()), bits), bits)
    }

    /// One bit for each word, its highest.
    #[inline(always)]
    fn collect(self, vector: Vector) -> Mask {
        (self.signs(self.double(vector)) << self.0.first) as Mask
    }

    /// The integers below 2⁵² of these numbers.
    #[inline(always)]
    fn integer(self, word: Vector) -> Vector {
        let two_52 = self.constant(&self.0.two_52);
        self.xor(self.bits(self.sum(self.double(word), self.double(two_52))), two_52)
    }

    /// The numbers that are these integers, which are below 2⁵².
    #[inline(always)]
    fn number(self, integer: Vector) -> Vector {
        let two_52 = self.constant(&self.0.two_52);
        self.bits(self.difference(self.double(self.or(integer, two_52)), self.double(two_52)))
    }

    #[inline(always)]
    fn are_positive(self, columns: &Limbs<Vector>) -> bool {
        self.collect(union(self, columns)) == 0
    }
}

impl Lanes for Avx2 {
    type Vector = Vector;
    type Columns = Limbs<Vector>;
    type Choice = Choice;

    #[inline(always)]
    fn held(self) -> Range<usize> {
        self.0.first..self.0.first + HALF
    }

    #[inline(always)]
    fn outlined<R>(self, work: impl FnOnce() -> R) -> R {
        #[inline(never)]
        fn apart<R>(_: Avx2, work: impl FnOnce() -> R) -> R {
            // SAFETY: a token exists only where the features were detected.
            unsafe { call(work) }
        }
        #[target_feature(enable = "avx2,fma")]
        fn call<R>(work: impl FnOnce() -> R) -> R {
            // What is spilled must not cross lines of the cache: the compiler aligns a stack on which something is to be
            // aligned, and it does not for spills alone.
            std::hint::black_box(&mut MaybeUninit::<Row>::uninit());
            // What follows begins a line of the cache, or else it is a matter of luck whether a multiplication takes 7 of
            // 100 more.
            // SAFETY: it is nothing but padding.
            unsafe { asm!(".p2align 6", options(nomem, nostack, preserves_flags)) };
            work()
        }
        apart(self, work)
    }

    /// In one piece a multiplication takes 6 of 100 more.
    #[inline(always)]
    fn step(self, work: impl FnOnce()) {
        self.outlined(work);
    }

    #[inline(always)]
    fn load(self, row: &Row) -> Vector {
        self.load_half(row, self.0.first)
    }

    #[inline(always)]
    fn store(self, vector: Vector, row: &mut Row) {
        self.store_half(vector, row, self.0.first);
    }

    #[inline(always)]
    fn splat(self, word: u64) -> Vector {
        self.everywhere(word.cast_signed())
    }

    #[inline(always)]
    fn gather(self, pairs: [&Pair; LANES / 2]) -> Vector {
        let [a, b] = [pairs[self.0.first / 2].0, pairs[self.0.first / 2 + 1].0];
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
    fn small(number: u32) -> u64 {
        f64::from(number).to_bits()
    }

    #[inline(always)]
    fn words(w: &[u64; 4]) -> [u64; WORDS] {
        let pieces =
            [w[0], w[0] >> 51 | w[1] << 13, w[1] >> 38 | w[2] << 26, w[2] >> 25 | w[3] << 39, w[3] >> 12];
        pieces.map(|piece| ((piece & LOW) as f64).to_bits())
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
        for word in &mut words {
            *word = self.number(self.and(*word, self.constant(&self.0.low)));
        }
        words
    }

    #[inline(always)]
    fn pack(self, canonical: [Vector; WORDS]) -> [Vector; 4] {
        let l = canonical;
        [
            self.or(l[0], self.left::<51>(l[1])),
            self.or(self.right::<13>(l[1]), self.left::<38>(l[2])),
            self.or(self.right::<26>(l[2]), self.left::<25>(l[3])),
            self.or(self.right::<39>(l[3]), self.left::<12>(l[4])),
        ]
    }

    /// The value is below 2p, so it is to be reduced by p just if value + 19 reaches 2²⁵⁵.
    #[inline(always)]
    fn canonical(self, element: [Vector; WORDS]) -> [Vector; WORDS] {
        let (mut limbs, low) = (self.columns(element), self.constant(&self.0.low));
        let mut carry = self.constant(&self.0.nineteen);
        for k in 0..LIMBS {
            carry = self.right::<51>(self.plus(limbs[k], carry));
        }
        let mut carry = self.small_product(carry, self.constant(&self.0.nineteen));
        for k in 0..LIMBS {
            let sum = self.plus(limbs[k], carry);
            limbs[k] = self.and(sum, low);
            carry = self.right::<51>(sum);
        }
        limbs
    }

    #[inline(always)]
    fn no_columns(self) -> Limbs<Vector> {
        [self.splat(0); LIMBS]
    }

    #[inline(always)]
    fn columns(self, element: [Vector; WORDS]) -> Limbs<Vector> {
        let mut columns = element;
        for k in 0..LIMBS {
            columns[k] = self.integer(element[k]);
        }
        columns
    }

    #[inline(always)]
    fn bias(self) -> Limbs<Vector> {
        let mut bias = self.no_columns();
        for k in 0..LIMBS {
            bias[k] = self.constant(&self.0.bias[k]);
        }
        bias
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
        let mask = self.spread(mask);
        let mut negated = columns;
        for k in 0..LIMBS {
            negated[k] = self.blend(columns[k], self.minus(self.constant(&self.0.bias[k]), columns[k]), mask);
        }
        negated
    }

    /// Each column hands on what it has above its limb's bits, all at the same time; what the last one has comes back 19-fold
    /// at the bottom.
    #[inline(always)]
    fn carry(self, columns: Limbs<Vector>) -> [Vector; WORDS] {
        debug_assert!(self.are_positive(&columns), "columns are below 2⁶³");
        let mut words = columns;
        let mut above =
            self.small_product(self.right::<51>(columns[LIMBS - 1]), self.constant(&self.0.nineteen));
        for k in 0..LIMBS {
            let limb = self.plus(self.and(columns[k], self.constant(&self.0.low)), above);
            above = self.right::<51>(columns[k]);
            words[k] = self.number(limb);
        }
        words
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
    fn square<const N: usize>(self, a: &Words<Self, N>, biased: bool) -> [Limbs<Vector>; N] {
        let mut columns = [self.no_columns(); N];
        for n in 0..N {
            columns[n] = product::square(self, &a[n], biased);
        }
        columns
    }

    #[inline(always)]
    fn put(self, choices: &mut Choices, factor: usize, word: Vector) {
        // Two multiples a line of cache.
        self.store_half(word, &mut choices[(factor - 1) / 2], HALF * ((factor - 1) % 2));
    }

    /// All words at once, by a loop that the compiler cannot unroll, as it does not know their number: a step of a
    /// multiplication has two thirds of the code so.
    #[inline(always)]
    fn choice(self, words: &[Choices], magnitude: Vector) -> Choice {
        let place = self.minus(magnitude, self.splat(1));
        let [first, second, third] = [self.left::<63>(place), self.left::<62>(place), self.left::<61>(place)];
        let zero = self.splat(0);
        let mut choice = Choice { words: [zero; 4 * WORDS], none: self.same(magnitude, zero) };
        for (word, choices) in choice.words.iter_mut().zip(std::hint::black_box(words)) {
            let mut of_two = [zero; HALF];
            for k in 0..HALF {
                of_two[k] =
                    self.blend(self.load_half(&choices[k], 0), self.load_half(&choices[k], HALF), first);
            }
            let [a, b, c, d] = of_two;
            let picked = self.blend(self.blend(a, b, second), self.blend(c, d, second), third);
            *word = self.blend(picked, zero, choice.none);
        }
        choice
    }

    #[inline(always)]
    fn pick(self, _: &[Choices], word: usize, choice: &Choice, nothing: u64) -> Vector {
        match nothing {
            0 => choice.words[word],
            _ => self.or(choice.words[word], self.and(self.splat(nothing), choice.none)),
        }
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
