//! What the eight lanes need of a processor, and the instruction sets that give it.
//!
//! All operations are methods of a token, which exists only where its instruction set was detected. Those who call them
//! are generic, inlined without exception, and end in [`Lanes::outlined`], the only place that switches the
//! instruction set on: whatever is not inlined into it would be compiled without.

#![allow(clippy::needless_range_loop, reason = "loops over words index several arrays alike")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ops::Range;

mod avx2;
mod ifma;

pub(super) use avx2::Avx2;
pub(super) use ifma::Ifma;

/// Elements that stand side by side.
pub(super) const LANES: usize = 8;
/// Words of an element at rest.
pub(super) const WORDS: usize = 5;

/// A 64-bit word of each lane, at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [u64; LANES]);

/// Eight elements at rest, word by word. What a word holds of an element is the instruction set's affair, but zero
/// is 0 in all of them.
pub(super) type Stored = [Row; WORDS];
/// One word of all multiples that a digit may name, as [`Lanes::put`] lays it out.
pub(super) type Choices = [Row; LANES];
/// One bit per lane.
pub(super) type Mask = u8;
/// One bit per lane, for each of the groups.
pub(super) type Masks<const N: usize> = [Mask; N];
/// A word of each lane, for each word of an element and each of the groups.
pub(super) type Words<L, const N: usize> = [[<L as Lanes>::Vector; WORDS]; N];

/// A word of two elements that are added together.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct Pair(pub(super) [u64; 2]);

pub(super) const ZERO: Row = Row([0; LANES]);

/// Eight lanes of 64-bit words, and of arithmetic modulo p = 2²⁵⁵ − 19.
///
/// All operations are in constant time.
pub(super) trait Lanes: Copy {
    /// A word of each lane.
    type Vector: Copy;
    /// Sums of products of a group, not yet carried; no column reaches 2⁶³.
    type Columns: Copy;
    /// What [`Self::pick`] makes of a digit.
    type Choice;

    /// The lanes that this token works on. What it says of others means nothing, and what it stores leaves them alone.
    fn held(self) -> Range<usize>;

    /// Calls `work`, which has to be inlined, with the instruction set switched on, in a function of its own.
    ///
    /// The compiler forgets `inline(never)` of a function with features of its own (Rust 1.95): it stands on one without,
    /// which calls that one.
    fn outlined<R>(self, work: impl FnOnce() -> R) -> R;
    /// Calls `work`, a step of a long loop, [`Self::outlined`] if that is quicker.
    #[inline(always)]
    fn step(self, work: impl FnOnce()) {
        work();
    }

    fn load(self, row: &Row) -> Self::Vector;
    fn store(self, vector: Self::Vector, row: &mut Row);
    fn splat(self, word: u64) -> Self::Vector;
    /// Eight words of four pairs.
    fn gather(self, pairs: [&Pair; LANES / 2]) -> Self::Vector;
    /// Brings a pair's line into the nearest cache.
    #[inline(always)]
    fn prefetch(self, pair: &Pair) {
        // SAFETY: every x86-64 processor has the instruction, which has no effect but on time.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(pair).cast()) };
    }
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn or(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn xor(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn shift_right(self, vector: Self::Vector, bits: u32) -> Self::Vector;
    /// `b` where the mask has a one, else `a`.
    fn select(self, a: Self::Vector, b: Self::Vector, mask: Mask) -> Self::Vector;
    /// Lanes whose word is zero.
    fn zeros(self, vector: Self::Vector) -> Mask;
    /// |w − 8| of words below 32, and where w − 8 is negative.
    fn signed(self, vector: Self::Vector) -> (Self::Vector, Mask);

    /// The lowest word at rest of a small number, whose other words are 0.
    fn small(number: u32) -> u64;
    /// Words at rest of a number below 2²⁵⁵, given as little-endian words of 64 bits.
    fn words(number: &[u64; 4]) -> [u64; WORDS];
    /// An element of four little-endian words of 64 bits per lane, modulo p; bit 255 is ignored.
    fn unpack(self, words: [Self::Vector; 4]) -> [Self::Vector; WORDS];
    /// What [`Self::unpack`] undoes, of what [`Self::canonical`] returns.
    fn pack(self, canonical: [Self::Vector; WORDS]) -> [Self::Vector; 4];
    /// The one representative below p, whose lowest word is odd just if it is. These are not words of an element.
    fn canonical(self, element: [Self::Vector; WORDS]) -> [Self::Vector; WORDS];

    fn no_columns(self) -> Self::Columns;
    fn columns(self, element: [Self::Vector; WORDS]) -> Self::Columns;
    /// A multiple of p, column by column at least as large as any product.
    fn bias(self) -> Self::Columns;
    fn add(self, a: Self::Columns, b: Self::Columns) -> Self::Columns;
    /// The difference; no column of `b` may be the larger one, which a bias ensures.
    fn subtract(self, a: Self::Columns, b: Self::Columns) -> Self::Columns;
    /// The bias less these columns in the lanes of the mask.
    fn negate_where(self, columns: Self::Columns, mask: Mask) -> Self::Columns;
    /// Carries columns below 2⁶³ into an element.
    fn carry(self, columns: Self::Columns) -> [Self::Vector; WORDS];
    /// Products, and the bias if that is asked for.
    fn multiply<const N: usize>(
        self,
        a: &Words<Self, N>,
        b: &Words<Self, N>,
        biased: bool,
    ) -> [Self::Columns; N];
    #[inline(always)]
    fn multiply_carried<const N: usize>(self, a: &Words<Self, N>, b: &Words<Self, N>) -> Words<Self, N> {
        carry_each(self, &self.multiply(a, b, false))
    }
    /// Squares, and the bias if that is asked for.
    fn square<const N: usize>(self, a: &Words<Self, N>, biased: bool) -> [Self::Columns; N];
    #[inline(always)]
    fn square_carried<const N: usize>(self, a: &Words<Self, N>) -> Words<Self, N> {
        carry_each(self, &self.square(a, false))
    }

    /// Puts a word of the multiple `factor`, 1 to 8, where [`Self::pick`] finds it.
    fn put(self, choices: &mut Choices, factor: usize, word: Self::Vector);
    /// A digit's magnitude, 0 to 8 in each lane, made ready for [`Self::pick`] from these words.
    fn choice(self, words: &[Choices], magnitude: Self::Vector) -> Self::Choice;
    /// Each lane's word of the multiple that its digit names, `nothing` for 0.
    fn pick(self, words: &[Choices], word: usize, choice: &Self::Choice, nothing: u64) -> Self::Vector;
    /// Word `magnitude` − 1 of one row for each lane, `nothing` for 0.
    fn permute(self, row: &Row, magnitude: Self::Vector, nothing: u64) -> Self::Vector;
}

#[inline(always)]
pub(super) fn carry_each<L: Lanes, const N: usize>(lanes: L, columns: &[L::Columns; N]) -> Words<L, N> {
    let mut words = [[lanes.splat(0); WORDS]; N];
    for n in 0..N {
        words[n] = lanes.carry(columns[n]);
    }
    words
}

/// The same words in all lanes.
#[inline(always)]
pub(super) fn splat_each<L: Lanes, const C: usize>(lanes: L, words: &[u64; C]) -> [L::Vector; C] {
    let mut vectors = [lanes.splat(0); C];
    for k in 0..C {
        vectors[k] = lanes.splat(words[k]);
    }
    vectors
}

/// Vector by vector, what `work` makes of two.
#[inline(always)]
fn zip_each<V: Copy, const C: usize>(a: &[V; C], b: &[V; C], work: impl Fn(V, V) -> V) -> [V; C] {
    let mut result = *a;
    for k in 0..C {
        result[k] = work(a[k], b[k]);
    }
    result
}

/// Bits that some vector has.
#[inline(always)]
pub(super) fn union<L: Lanes, const C: usize>(lanes: L, vectors: &[L::Vector; C]) -> L::Vector {
    let mut union = lanes.splat(0);
    for k in 0..C {
        union = lanes.or(union, vectors[k]);
    }
    union
}
