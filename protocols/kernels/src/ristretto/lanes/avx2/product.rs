//! Products of four elements. The bounds are proved on the page of [`super`].

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use super::super::Lanes as _;
use super::{Avx2, LIMBS, Limbs, Vector, WORDS, width};

/// Limbs of a factor. The multiplier takes the lowest 32 bits of each.
struct Factor {
    limbs: Limbs<Vector>,
    /// Those of odd index, doubled: two of them stand half a bit below their column each.
    doubled: Limbs<Vector>,
}

impl Factor {
    #[inline(always)]
    fn new(lanes: Avx2, words: &[Vector; WORDS]) -> Self {
        let limbs = lanes.unpacked(words);
        let mut doubled = limbs;
        for k in 0..WORDS {
            doubled[2 * k + 1] = lanes.right::<31>(words[k]);
        }
        Self { limbs, doubled }
    }
}

/// Limbs nineteenfold, which is what they are worth where a column comes back at the bottom.
#[inline(always)]
fn wrapped(lanes: Avx2, limbs: &Limbs<Vector>) -> Limbs<Vector> {
    let mut wrapped = *limbs;
    for k in 0..LIMBS {
        wrapped[k] = lanes.product(limbs[k], lanes.splat(19));
    }
    wrapped
}

/// Calls a function with each index of a limb as a constant, which has loops unrolled.
macro_rules! for_each_limb {
    ($function:ident($($argument:expr),*)) => {
        for_each_limb!(@calls $function($($argument),*) 0 1 2 3 4 5 6 7 8 9)
    };
    (@calls $function:ident $arguments:tt $($i:literal)*) => {{ $(for_each_limb!(@call $function $i $arguments);)* }};
    (@call $function:ident $i:literal ($($argument:expr),*)) => { $function::<$i>($($argument),*) };
}

/// A product, in code of its own: were it repeated wherever one is needed, a multiplication's loops would not fit into the
/// nearest cache.
pub(super) fn multiply(lanes: Avx2, a: &[Vector; WORDS], b: &[Vector; WORDS], biased: bool) -> Limbs<Vector> {
    lanes.outlined(
        #[inline(always)]
        || schoolbook(lanes, a, b, biased),
    )
}

/// [`multiply`], carried at once.
pub(super) fn multiply_carried(lanes: Avx2, a: &[Vector; WORDS], b: &[Vector; WORDS]) -> [Vector; WORDS] {
    lanes.outlined(
        #[inline(always)]
        || lanes.carry(schoolbook(lanes, a, b, false)),
    )
}

/// Schoolbook multiplication, row by row: the columns stay in registers.
#[inline(always)]
fn schoolbook(lanes: Avx2, a: &[Vector; WORDS], b: &[Vector; WORDS], biased: bool) -> Limbs<Vector> {
    let (a, b) = (Factor::new(lanes, a), lanes.unpacked(b));
    debug_assert!(are_operands(lanes, &a.limbs) && are_operands(lanes, &b));
    let wrapped = wrapped(lanes, &b);
    let mut columns = if biased { lanes.bias() } else { lanes.no_columns() };
    for_each_limb!(add_row(lanes, &mut columns, &a, &b, &wrapped));
    columns
}

/// Products of limb I.
#[inline(always)]
fn add_row<const I: usize>(
    lanes: Avx2,
    columns: &mut Limbs<Vector>,
    a: &Factor,
    b: &Limbs<Vector>,
    wrapped: &Limbs<Vector>,
) {
    for j in 0..LIMBS {
        let left = if I % 2 == 1 && j % 2 == 1 { a.doubled[I] } else { a.limbs[I] };
        let right = if I + j < LIMBS { b[j] } else { wrapped[j] };
        let column = &mut columns[(I + j) % LIMBS];
        *column = lanes.plus(*column, lanes.product(left, right));
    }
}

/// A square, as [`schoolbook`] by itself with each mixed product computed once and doubled. It is short enough to stand
/// wherever one is needed.
#[inline(always)]
pub(super) fn square(lanes: Avx2, a: &[Vector; WORDS], biased: bool) -> Limbs<Vector> {
    let a = Factor::new(lanes, a);
    debug_assert!(are_operands(lanes, &a.limbs));
    let wrapped = wrapped(lanes, &a.limbs);
    let mut columns = if biased { lanes.bias() } else { lanes.no_columns() };
    for_each_limb!(add_square_row(lanes, &mut columns, &a, &wrapped));
    columns
}

/// The square of limb I, and its products with those above it.
#[inline(always)]
fn add_square_row<const I: usize>(
    lanes: Avx2,
    columns: &mut Limbs<Vector>,
    a: &Factor,
    wrapped: &Limbs<Vector>,
) {
    let odd = I % 2 == 1;
    let once = a.limbs[I];
    let twice = if odd { a.doubled[I] } else { lanes.plus(once, once) };
    let fourfold = lanes.plus(twice, twice);
    for j in I..LIMBS {
        let left = match (j == I, odd && j % 2 == 1) {
            (true, false) => once,
            (true, true) | (false, false) => twice,
            (false, true) => fourfold,
        };
        let right = if I + j < LIMBS { a.limbs[j] } else { wrapped[j] };
        let column = &mut columns[(I + j) % LIMBS];
        *column = lanes.plus(*column, lanes.product(left, right));
    }
}

/// Whether the limbs are in bounds.
#[inline(always)]
fn are_operands(lanes: Avx2, limbs: &Limbs<Vector>) -> bool {
    let mut excess = lanes.splat(0);
    for k in 0..LIMBS {
        let limb = lanes.and(limbs[k], lanes.splat(u32::MAX.into()));
        let most = (1 << width(k)) + if k == 1 { 1 << 17 } else { 0 };
        excess = lanes.or(excess, lanes.above(limb, lanes.splat(most)));
    }
    lanes.collect(excess) == 0
}
