//! Products of elements: their columns, and how these are folded and carried. The bounds are proved on the page of [`super`].

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use super::super::{Lanes as _, Words};
use super::{Ifma, LIMBS, Limbs, Vector};

/// 2²⁶⁰ modulo p: what a column five places up is worth.
const FOLD: u64 = 19 << 5;
/// Groups whose products are computed together: as many as registers hold the columns of.
const PAIR: usize = 2;

/// What a column has above its 52 bits.
#[inline(always)]
fn above(lanes: Ifma, column: Vector) -> Vector {
    lanes.right::<52>(column)
}

/// [`multiply_rows`] for any number of groups.
#[inline(always)]
pub(super) fn multiply<const N: usize>(
    lanes: Ifma,
    a: &Words<Ifma, N>,
    b: &Words<Ifma, N>,
    start: &Limbs<u64>,
) -> Words<Ifma, N> {
    let mut columns = [[lanes.splat(0); LIMBS]; N];
    let (pairs, rest) = columns.as_chunks_mut();
    for ((into, a), b) in pairs.iter_mut().zip(a.as_chunks().0).zip(b.as_chunks().0) {
        *into = multiply_rows::<PAIR>(lanes, a, b, start);
    }
    if let [into] = rest {
        [*into] = multiply_rows(lanes, &[a[N - 1]], &[b[N - 1]], start);
    }
    columns
}

/// Schoolbook multiplication onto `start`. The products of a row go to columns of their own, and the groups take turns
/// row by row, so that no product has to wait for another. The highest row comes first, because the fold waits for the
/// upper columns. The last two columns begin with what the one before has above 52 bits: that costs less than to fold
/// it, and the chain is short.
#[inline(always)]
fn multiply_rows<const N: usize>(
    lanes: Ifma,
    a: &Words<Ifma, N>,
    b: &Words<Ifma, N>,
    start: &Limbs<u64>,
) -> Words<Ifma, N> {
    debug_assert!(are_operands(lanes, a) && are_operands(lanes, b));
    let mut z = [[lanes.splat(0); 2 * LIMBS]; N];
    for n in 0..N {
        for k in 0..LIMBS {
            z[n][k] = lanes.splat(start[k]);
        }
    }
    for i in (0..LIMBS).rev() {
        for n in 0..N {
            for j in 0..LIMBS.min(8 - i) {
                z[n][i + j] = lanes.low(z[n][i + j], a[n][i], b[n][j]);
            }
            for j in 0..LIMBS.min(7 - i) {
                z[n][i + j + 1] = lanes.high(z[n][i + j + 1], a[n][i], b[n][j]);
            }
        }
    }
    for n in 0..N {
        let (a, b, z) = (&a[n], &b[n], &mut z[n]);
        z[8] = lanes.high(lanes.high(lanes.low(above(lanes, z[7]), a[4], b[4]), a[3], b[4]), a[4], b[3]);
        z[9] = lanes.high(above(lanes, z[8]), a[4], b[4]);
    }
    fold(lanes, &z)
}

/// [`square_rows`] for any number of groups.
#[inline(always)]
pub(super) fn square<const N: usize>(lanes: Ifma, a: &Words<Ifma, N>, start: &Limbs<u64>) -> Words<Ifma, N> {
    let mut columns = [[lanes.splat(0); LIMBS]; N];
    let (pairs, rest) = columns.as_chunks_mut();
    for (into, a) in pairs.iter_mut().zip(a.as_chunks().0) {
        *into = square_rows::<PAIR>(lanes, a, start);
    }
    if let [into] = rest {
        [*into] = square_rows(lanes, &[a[N - 1]], start);
    }
    columns
}

/// As [`multiply_rows`] by itself, with each mixed product computed once: those of the lower limbs are doubled in
/// their columns, those with the top limb are products of its double, which has room for it.
#[inline(always)]
fn square_rows<const N: usize>(lanes: Ifma, a: &Words<Ifma, N>, start: &Limbs<u64>) -> Words<Ifma, N> {
    debug_assert!(are_operands(lanes, a));
    let mut z = [[lanes.splat(0); 2 * LIMBS]; N];
    for n in 0..N {
        for k in 1..LIMBS {
            z[n][k] = lanes.splat(start[k] / 2);
        }
    }
    for i in (0..LIMBS - 1).rev() {
        for n in 0..N {
            for j in i + 1..LIMBS - 1 {
                z[n][i + j] = lanes.low(z[n][i + j], a[n][i], a[n][j]);
            }
            for j in i + 1..LIMBS - 1 {
                z[n][i + j + 1] = lanes.high(z[n][i + j + 1], a[n][i], a[n][j]);
            }
        }
    }
    for n in 0..N {
        z[n][0] = lanes.splat(start[0]);
        for column in &mut z[n][1..7] {
            *column = lanes.plus(*column, *column);
        }
    }
    for i in (0..LIMBS - 1).rev() {
        for n in 0..N {
            let (a, z) = (&a[n], &mut z[n]);
            let top = lanes.plus(a[4], a[4]);
            z[i + 4] = lanes.low(z[i + 4], a[i], top);
            if i < 3 {
                z[i + 5] = lanes.high(z[i + 5], a[i], top);
            }
            z[2 * i] = lanes.low(z[2 * i], a[i], a[i]);
            z[2 * i + 1] = lanes.high(z[2 * i + 1], a[i], a[i]);
        }
    }
    for n in 0..N {
        let (a, z) = (&a[n], &mut z[n]);
        let top = lanes.plus(a[4], a[4]);
        z[8] = lanes.high(lanes.low(above(lanes, z[7]), a[4], a[4]), a[3], top);
        z[9] = lanes.high(above(lanes, z[8]), a[4], a[4]);
    }
    fold(lanes, &z)
}

/// Columns 5 to 9 come back into columns 0 to 4, [`FOLD`]-fold. Column 9 needs no high half, and what columns
/// 5 and 6 have above 52 bits is multiplied on its own.
#[inline(always)]
fn fold<const N: usize>(lanes: Ifma, z: &[[Vector; 2 * LIMBS]; N]) -> Words<Ifma, N> {
    let fold = lanes.splat(FOLD);
    let mut folded = [[lanes.splat(0); LIMBS]; N];
    for (t, z) in folded.iter_mut().zip(z) {
        *t = [z[0], z[1], z[2], z[3], z[4]];
        for k in 0..LIMBS {
            t[k] = lanes.low(t[k], z[k + 5], fold);
        }
        for k in 0..LIMBS - 1 {
            t[k + 1] = lanes.high(t[k + 1], z[k + 5], fold);
        }
        for k in 0..2 {
            t[k + 1] = lanes.low(t[k + 1], above(lanes, z[k + 5]), fold);
        }
    }
    folded
}

/// Whether the top limbs are in bounds; the others have no bound.
#[inline(always)]
fn are_operands<const N: usize>(lanes: Ifma, elements: &Words<Ifma, N>) -> bool {
    let (mut excess, most) = (0, lanes.splat((1 << 47) + (1 << 12)));
    for n in 0..N {
        excess |= lanes.above_unsigned(elements[n][4], most);
    }
    excess == 0
}
