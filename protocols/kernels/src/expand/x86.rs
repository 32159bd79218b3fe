//! Places by wide multiplications, then loads of 16 or 32 bytes: at the speed of the cache that holds the
//! ranges.

use std::arch::x86_64::*;

use super::Tap;

/// Outputs for which places are worked out before elements are loaded.
const TILE: usize = 256;

/// Taps that are added in one sweep.
const SWEEP: usize = 4;

/// Byte offsets have 32 bits, and an element at most 32 bytes.
pub(super) const MAX_ELEMENTS: usize = 1 << 27;

pub(super) fn detected() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
}

/// Elements of one block.
///
/// # Safety
/// Every tap lies within the elements, which are at most [`MAX_ELEMENTS`]; `words` has a stream for each
/// tap, with a word for each output.
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) unsafe fn one(outputs: &mut [u128], elements: &[u128], taps: &[Tap], words: &[&[u128]]) {
    // SAFETY: the caller's promise.
    unsafe { run::<1>(outputs, elements, taps, words) };
}

/// Elements of two blocks.
///
/// # Safety
/// As for [`one`].
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) unsafe fn two(outputs: &mut [u128], elements: &[u128], taps: &[Tap], words: &[&[u128]]) {
    // SAFETY: the caller's promise.
    unsafe { run::<2>(outputs, elements, taps, words) };
}

#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
unsafe fn run<const W: usize>(outputs: &mut [u128], elements: &[u128], taps: &[Tap], words: &[&[u128]]) {
    let mut places = [[0; TILE]; SWEEP];
    for (taps, words) in taps.chunks(SWEEP).zip(words.chunks(SWEEP)) {
        for (tile, outputs) in outputs.chunks_mut(TILE * W).enumerate() {
            for ((places, tap), words) in places.iter_mut().zip(taps).zip(words) {
                let blocks = (outputs.len() / W).div_ceil(4);
                let first = tile * TILE / 4;
                offsets::<W>(places, *tap, &words[first..first + blocks]);
            }
            // SAFETY: `offsets` leaves offsets of elements within the taps' ranges, which lie within the
            // elements by the caller's promise.
            unsafe {
                match taps.len() {
                    1 => sweep::<W, 1>(outputs, elements, &places),
                    2 => sweep::<W, 2>(outputs, elements, &places),
                    3 => sweep::<W, 3>(outputs, elements, &places),
                    _ => sweep::<W, 4>(outputs, elements, &places),
                }
            }
        }
    }
}

/// The byte offsets of the elements that the words name.
#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
fn offsets<const W: usize>(places: &mut [u32; TILE], tap: Tap, words: &[u128]) {
    let (whole, rest) = words.as_chunks::<4>();
    let (wide, _) = places.as_chunks_mut::<16>();
    let count = _mm512_set1_epi64(i64::from(tap.count));
    let first = _mm512_set1_epi32(tap.first.cast_signed());
    for (places, words) in wide.iter_mut().zip(whole) {
        // SAFETY: four blocks are 64 readable bytes; the load needs no alignment.
        let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
        let even = _mm512_srli_epi64::<32>(_mm512_mul_epu32(words, count));
        let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(words), count);
        let high = _mm512_mask_blend_epi32(0xaaaa, even, odd);
        let place = _mm512_add_epi32(high, first);
        let bytes = if W == 1 { _mm512_slli_epi32::<4>(place) } else { _mm512_slli_epi32::<5>(place) };
        // SAFETY: sixteen numbers are 64 writable bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(places.as_mut_ptr().cast(), bytes) };
    }
    let (last, _) = places[16 * whole.len()..].as_chunks_mut::<4>();
    for (places, block) in last.iter_mut().zip(rest) {
        *places = [0, 32, 64, 96].map(|shift| {
            let word = u64::from((block >> shift) as u32);
            (tap.first + ((word * u64::from(tap.count)) >> 32) as u32) * (16 * W as u32)
        });
    }
}

/// Adds up to [`SWEEP`] taps to the outputs.
///
/// # Safety
/// For every output, the first `T` rows of `places` have the byte offset of an element.
#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
unsafe fn sweep<const W: usize, const T: usize>(
    outputs: &mut [u128],
    elements: &[u128],
    places: &[[u32; TILE]; SWEEP],
) {
    let base: *const u8 = elements.as_ptr().cast();
    for (i, output) in outputs.chunks_exact_mut(W).enumerate() {
        let places = |t: usize| places[t][i] as usize;
        // SAFETY: the caller's promise; an output has W blocks, and loads and stores need no alignment.
        unsafe {
            if W == 1 {
                let mut sum = _mm_loadu_si128(output.as_ptr().cast());
                for t in 0..T {
                    sum = _mm_xor_si128(sum, _mm_loadu_si128(base.add(places(t)).cast()));
                }
                _mm_storeu_si128(output.as_mut_ptr().cast(), sum);
            } else {
                let mut sum = _mm256_loadu_si256(output.as_ptr().cast());
                for t in 0..T {
                    sum = _mm256_xor_si256(sum, _mm256_loadu_si256(base.add(places(t)).cast()));
                }
                _mm256_storeu_si256(output.as_mut_ptr().cast(), sum);
            }
        }
    }
}
