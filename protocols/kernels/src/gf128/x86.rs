//! PCLMULQDQ, and VPCLMULQDQ on four elements at once.

use std::arch::x86_64::*;

use super::POLYNOMIAL;

/// Whether the four-lane kernels may run.
pub(super) fn wide() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vpclmulqdq")
}

/// One product: four carry-less multiplications and a reduction of two.
#[target_feature(enable = "pclmulqdq")]
pub(super) fn mul(a: u128, b: u128) -> u128 {
    let (a, b) = (to_xmm(a), to_xmm(b));
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    let middle = _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
    let low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
    let polynomial = to_xmm(u128::from(POLYNOMIAL));
    let fold = _mm_clmulepi64_si128::<0x01>(high, polynomial);
    let low = _mm_xor_si128(low, _mm_slli_si128::<8>(fold));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(fold));
    from_xmm(_mm_xor_si128(low, _mm_clmulepi64_si128::<0x00>(high, polynomial)))
}

/// A fixed factor `f`, with `f·x^64` beside it: the upper half of the other operand then weighs no more than
/// the lower, and one folding multiplication is left of two.
#[derive(Clone, Copy)]
struct Factor<T> {
    low: T,
    high: T,
    polynomial: T,
}

#[target_feature(enable = "pclmulqdq")]
fn factor(factor: u128) -> Factor<__m128i> {
    Factor {
        low: to_xmm(factor),
        high: to_xmm(mul(factor, 1 << 64)),
        polynomial: to_xmm(u128::from(POLYNOMIAL)),
    }
}

#[target_feature(enable = "pclmulqdq")]
fn times(a: __m128i, f: Factor<__m128i>) -> __m128i {
    let low = _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(a, f.low), _mm_clmulepi64_si128::<0x01>(a, f.high));
    let high = _mm_xor_si128(_mm_clmulepi64_si128::<0x10>(a, f.low), _mm_clmulepi64_si128::<0x11>(a, f.high));
    let fold = _mm_clmulepi64_si128::<0x01>(high, f.polynomial);
    _mm_xor_si128(_mm_xor_si128(low, fold), _mm_slli_si128::<8>(high))
}

#[target_feature(enable = "pclmulqdq")]
pub(super) fn mul_slice(values: &mut [u128], by: u128) {
    let by = factor(by);
    for value in values {
        *value = from_xmm(times(to_xmm(*value), by));
    }
}

#[target_feature(enable = "pclmulqdq")]
pub(super) fn mul_add_slice(out: &mut [u128], values: &[u128], by: u128) {
    let by = factor(by);
    for (sum, value) in out.iter_mut().zip(values) {
        *sum ^= from_xmm(times(to_xmm(*value), by));
    }
}

#[target_feature(enable = "avx512f,pclmulqdq")]
fn factor_wide(by: u128) -> Factor<__m512i> {
    let Factor { low, high, polynomial } = factor(by);
    Factor {
        low: _mm512_broadcast_i32x4(low),
        high: _mm512_broadcast_i32x4(high),
        polynomial: _mm512_broadcast_i32x4(polynomial),
    }
}

#[target_feature(enable = "avx512f,vpclmulqdq")]
fn times_wide(a: __m512i, f: Factor<__m512i>) -> __m512i {
    let low = _mm512_xor_si512(
        _mm512_clmulepi64_epi128::<0x00>(a, f.low),
        _mm512_clmulepi64_epi128::<0x01>(a, f.high),
    );
    let high = _mm512_xor_si512(
        _mm512_clmulepi64_epi128::<0x10>(a, f.low),
        _mm512_clmulepi64_epi128::<0x11>(a, f.high),
    );
    let fold = _mm512_clmulepi64_epi128::<0x01>(high, f.polynomial);
    let shifted = _mm512_maskz_shuffle_epi32::<0b01_00_00_00>(0b1100_1100_1100_1100, high);
    _mm512_xor_si512(_mm512_xor_si512(low, fold), shifted)
}

#[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq")]
pub(super) fn mul_slice_wide(values: &mut [u128], by: u128) {
    let wide = factor_wide(by);
    let (blocks, rest) = values.as_chunks_mut();
    for block in blocks {
        store(block, times_wide(load(block), wide));
    }
    mul_slice(rest, by);
}

#[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq")]
pub(super) fn mul_add_slice_wide(out: &mut [u128], values: &[u128], by: u128) {
    let wide = factor_wide(by);
    let (sums, rest) = out.as_chunks_mut();
    let (blocks, values) = values.as_chunks();
    for (sum, block) in sums.iter_mut().zip(blocks) {
        store(sum, _mm512_xor_si512(load(sum), times_wide(load(block), wide)));
    }
    mul_add_slice(rest, values, by);
}

#[target_feature(enable = "avx512f")]
fn load(block: &[u128; 4]) -> __m512i {
    // SAFETY: the reference covers 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn store(block: &mut [u128; 4], value: __m512i) {
    // SAFETY: the reference covers 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), value) }
}

fn to_xmm(block: u128) -> __m128i {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(block) }
}

fn from_xmm(block: __m128i) -> u128 {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(block) }
}
