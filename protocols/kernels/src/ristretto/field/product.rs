//! Products of elements: their columns, and how these are folded and carried. The bounds are proved on the page of
//! [`super::super`].

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use std::arch::x86_64::*;

use super::{LIMBS, LOW_47, constant, zeros};

/// 2²⁶⁰ modulo p: what a column five places up is worth.
const FOLD: i64 = 19 << 5;
/// Groups whose products are computed together: as many as registers hold the columns of.
const PAIR: usize = 2;

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

/// [`multiply_rows`] for any number of groups.
#[target_feature(enable = "avx512ifma")]
#[inline]
pub(super) fn multiply<const N: usize>(
    a: &[[__m512i; LIMBS]; N],
    b: &[[__m512i; LIMBS]; N],
    start: &[i64; LIMBS],
) -> [[__m512i; LIMBS]; N] {
    let mut columns = zeros();
    let (pairs, rest) = columns.as_chunks_mut();
    for ((into, a), b) in pairs.iter_mut().zip(a.as_chunks().0).zip(b.as_chunks().0) {
        *into = multiply_rows::<PAIR>(a, b, start);
    }
    if let [into] = rest {
        [*into] = multiply_rows(&[a[N - 1]], &[b[N - 1]], start);
    }
    columns
}

/// Schoolbook multiplication onto `start`. The products of a row go to columns of their own, and the groups take turns
/// row by row, so that no product has to wait for another. The last two columns begin with what the one before has
/// above 52 bits: that costs less than to fold it, and the chain is short.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn multiply_rows<const N: usize>(
    a: &[[__m512i; LIMBS]; N],
    b: &[[__m512i; LIMBS]; N],
    start: &[i64; LIMBS],
) -> [[__m512i; LIMBS]; N] {
    debug_assert!(are_operands(a) && are_operands(b));
    let mut z = [[_mm512_setzero_si512(); 2 * LIMBS]; N];
    for n in 0..N {
        for k in 0..LIMBS {
            z[n][k] = constant(start[k]);
        }
    }
    for i in 0..LIMBS {
        for n in 0..N {
            for j in 0..LIMBS.min(8 - i) {
                z[n][i + j] = low(z[n][i + j], a[n][i], b[n][j]);
            }
            for j in 0..LIMBS.min(7 - i) {
                z[n][i + j + 1] = high(z[n][i + j + 1], a[n][i], b[n][j]);
            }
        }
    }
    for n in 0..N {
        let (a, b, z) = (&a[n], &b[n], &mut z[n]);
        z[8] = high(high(low(above(z[7]), a[4], b[4]), a[3], b[4]), a[4], b[3]);
        z[9] = high(above(z[8]), a[4], b[4]);
    }
    fold(&z)
}

/// [`square_rows`] for any number of groups.
#[target_feature(enable = "avx512ifma")]
#[inline]
pub(super) fn square<const N: usize>(
    a: &[[__m512i; LIMBS]; N],
    start: &[i64; LIMBS],
) -> [[__m512i; LIMBS]; N] {
    let mut columns = zeros();
    let (pairs, rest) = columns.as_chunks_mut();
    for (into, a) in pairs.iter_mut().zip(a.as_chunks().0) {
        *into = square_rows::<PAIR>(a, start);
    }
    if let [into] = rest {
        [*into] = square_rows(&[a[N - 1]], start);
    }
    columns
}

/// As [`multiply_rows`] by itself, with each mixed product computed once: those of the lower limbs are doubled in
/// their columns, those with the top limb are products of its double, which has room for it.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn square_rows<const N: usize>(a: &[[__m512i; LIMBS]; N], start: &[i64; LIMBS]) -> [[__m512i; LIMBS]; N] {
    debug_assert!(are_operands(a));
    let mut z = [[_mm512_setzero_si512(); 2 * LIMBS]; N];
    for n in 0..N {
        for k in 1..LIMBS {
            z[n][k] = constant(start[k] / 2);
        }
    }
    for i in 0..LIMBS - 1 {
        for n in 0..N {
            for j in i + 1..LIMBS - 1 {
                z[n][i + j] = low(z[n][i + j], a[n][i], a[n][j]);
            }
            for j in i + 1..LIMBS - 1 {
                z[n][i + j + 1] = high(z[n][i + j + 1], a[n][i], a[n][j]);
            }
        }
    }
    for n in 0..N {
        z[n][0] = constant(start[0]);
        for column in &mut z[n][1..7] {
            *column = _mm512_add_epi64(*column, *column);
        }
    }
    for i in (0..LIMBS - 1).rev() {
        for n in 0..N {
            let (a, z) = (&a[n], &mut z[n]);
            let top = _mm512_add_epi64(a[4], a[4]);
            z[i + 4] = low(z[i + 4], a[i], top);
            if i < 3 {
                z[i + 5] = high(z[i + 5], a[i], top);
            }
            z[2 * i] = low(z[2 * i], a[i], a[i]);
            z[2 * i + 1] = high(z[2 * i + 1], a[i], a[i]);
        }
    }
    for n in 0..N {
        let (a, z) = (&a[n], &mut z[n]);
        let top = _mm512_add_epi64(a[4], a[4]);
        z[8] = high(low(above(z[7]), a[4], a[4]), a[3], top);
        z[9] = high(above(z[8]), a[4], a[4]);
    }
    fold(&z)
}

/// Columns 5 to 9 come back into columns 0 to 4, [`FOLD`]-fold. Column 9 needs no high half, and what columns
/// 5 and 6 have above 52 bits is multiplied on its own.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn fold<const N: usize>(z: &[[__m512i; 2 * LIMBS]; N]) -> [[__m512i; LIMBS]; N] {
    let fold = constant(FOLD);
    let mut folded = [[_mm512_setzero_si512(); LIMBS]; N];
    for (t, z) in folded.iter_mut().zip(z) {
        *t = [z[0], z[1], z[2], z[3], z[4]];
        for k in 0..LIMBS {
            t[k] = low(t[k], z[k + 5], fold);
        }
        for k in 0..LIMBS - 1 {
            t[k + 1] = high(t[k + 1], z[k + 5], fold);
        }
        for k in 0..2 {
            t[k + 1] = low(t[k + 1], above(z[k + 5]), fold);
        }
    }
    folded
}

/// Columns below 2⁶³ become limbs: what exceeds 255 bits comes back 19-fold at the bottom, and then each limb
/// hands on what exceeds its 52 bits.
#[target_feature(enable = "avx512ifma")]
#[inline]
pub(super) fn carry<const N: usize>(mut columns: [[__m512i; LIMBS]; N]) -> [[__m512i; LIMBS]; N] {
    for t in &mut columns {
        debug_assert!(t.iter().all(|&t| _mm512_cmplt_epi64_mask(t, _mm512_setzero_si512()) == 0));
        t[0] = low(t[0], _mm512_srli_epi64::<47>(t[4]), constant(19));
        t[4] = _mm512_and_si512(t[4], constant(LOW_47));
        for k in 0..4 {
            t[k + 1] = _mm512_add_epi64(t[k + 1], above(t[k]));
        }
    }
    columns
}

/// Whether the top limbs are in bounds; the others have no bound.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn are_operands<const N: usize>(elements: &[[__m512i; LIMBS]; N]) -> bool {
    elements.iter().all(|limbs| _mm512_cmpgt_epu64_mask(limbs[4], constant((1 << 47) + (1 << 12))) == 0)
}
