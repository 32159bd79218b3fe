//! Products of four elements. The bounds are proved on the page of [`super`].

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use super::super::Lanes as _;
use super::constants::Quad;
use super::{Avx2, LIMBS, Limbs, Vector, WORDS};

/// A product's columns before they are folded.
type Columns = [Vector; 2 * LIMBS];

/// Calls a function with each index of a limb as a constant: the compiler would leave loops over limbs as they are, with the
/// columns in memory.
macro_rules! for_each_limb {
    ($function:ident($($argument:expr),*)) => {
        for_each_limb!(@calls $function($($argument),*) 0 1 2 3 4)
    };
    (@calls $function:ident $arguments:tt $($i:literal)*) => {{ $(for_each_limb!(@call $function $i $arguments);)* }};
    (@call $function:ident $i:literal ($($argument:expr),*)) => { $function::<$i>($($argument),*) };
}

/// Schoolbook multiplication, row by row.
#[inline(always)]
pub(super) fn multiply(lanes: Avx2, a: &[Vector; WORDS], b: &[Vector; WORDS], biased: bool) -> Limbs<Vector> {
    debug_assert!(are_operands(lanes, a) && are_operands(lanes, b));
    let half = lanes.0;
    let mut columns = begun(lanes, if biased { &half.start_biased } else { &half.start });
    for_each_limb!(add_row(lanes, &mut columns, a, b));
    fold(lanes, &columns)
}

/// As [`multiply`] by itself, with each mixed product computed once and doubled.
#[inline(always)]
pub(super) fn square(lanes: Avx2, a: &[Vector; WORDS], biased: bool) -> Limbs<Vector> {
    debug_assert!(are_operands(lanes, a));
    let half = lanes.0;
    let mut columns = begun(lanes, if biased { &half.square_start_biased } else { &half.square_start });
    for_each_limb!(add_mixed(lanes, &mut columns, a));
    for column in &mut columns {
        *column = lanes.plus(*column, *column);
    }
    for_each_limb!(add_square(lanes, &mut columns, a));
    fold(lanes, &columns)
}

/// Columns that begin with these constants, the upper ones with nothing.
#[inline(always)]
fn begun(lanes: Avx2, start: &Limbs<Quad>) -> Columns {
    let mut columns = [lanes.splat(0); 2 * LIMBS];
    for k in 0..LIMBS {
        columns[k] = lanes.constant(&start[k]);
    }
    columns
}

/// Products of limb I.
#[inline(always)]
fn add_row<const I: usize>(lanes: Avx2, columns: &mut Columns, a: &[Vector; WORDS], b: &[Vector; WORDS]) {
    for j in 0..LIMBS {
        add(lanes, columns, I + j, a[I], b[j]);
    }
}

/// Products of limb I with those above it.
#[inline(always)]
fn add_mixed<const I: usize>(lanes: Avx2, columns: &mut Columns, a: &[Vector; WORDS]) {
    for j in I + 1..LIMBS {
        add(lanes, columns, I + j, a[I], a[j]);
    }
}

/// The square of limb I.
#[inline(always)]
fn add_square<const I: usize>(lanes: Avx2, columns: &mut Columns, a: &[Vector; WORDS]) {
    add(lanes, columns, 2 * I, a[I], a[I]);
}

/// Adds a product of two limbs, the lower half to column `k` and the upper half to the next.
#[inline(always)]
fn add(lanes: Avx2, columns: &mut Columns, k: usize, a: Vector, b: Vector) {
    let (a, b) = (lanes.double(a), lanes.double(b));
    let (high, high_and_lower) = (lanes.constant(&lanes.0.high), lanes.constant(&lanes.0.high_and_lower));
    let upper = lanes.settled(lanes.bits(lanes.multiply_add(a, b, lanes.double(high))));
    let lower = lanes.multiply_add(a, b, lanes.difference(lanes.double(high_and_lower), lanes.double(upper)));
    columns[k + 1] = lanes.settled(lanes.plus(columns[k + 1], upper));
    columns[k] = lanes.settled(lanes.plus(columns[k], lanes.bits(lower)));
}

/// Columns 5 to 9 come back into columns 0 to 4, 19-fold.
#[inline(always)]
fn fold(lanes: Avx2, columns: &Columns) -> Limbs<Vector> {
    let mut folded = [columns[0]; LIMBS];
    for k in 0..LIMBS {
        let above = columns[k + LIMBS];
        let ninefold = lanes.settled(lanes.plus(above, lanes.left::<3>(above)));
        folded[k] = lanes.plus(lanes.plus(columns[k], above), lanes.plus(ninefold, ninefold));
    }
    folded
}

/// Whether the limbs are in bounds.
#[inline(always)]
fn are_operands(lanes: Avx2, limbs: &[Vector; WORDS]) -> bool {
    let mut excess = lanes.splat(0);
    for k in 0..LIMBS {
        let most = (1_u64 << 51) + (1 << if k == 0 { 17 } else { 12 });
        // Of numbers that are not negative, the bits of the larger one are the larger integer.
        let above = lanes.above(limbs[k], lanes.splat((most as f64).to_bits()));
        excess = lanes.or(excess, lanes.or(above, limbs[k]));
    }
    lanes.collect(excess) == 0
}
