//! A sliding window in AVX-512 registers: an element is broadcast, and added to the lanes of the window that
//! its coefficient names, by masks that a table has for the bits of one register.

use std::arch::x86_64::*;

use super::COEFFICIENT_BITS;

/// For the bits of a register's elements, lowest first: its lanes, all ones where the bit is set.
#[repr(align(64))]
struct Masks<const N: usize>([[u64; 8]; N]);

const fn masks<const W: usize, const N: usize>() -> Masks<N> {
    let mut table = [[0; 8]; N];
    let mut place = 0;
    while place < 8 * N {
        let (bits, lane) = (place / 8, place % 8);
        table[bits][lane] = (((bits >> (lane / (2 * W))) & 1) as u64).wrapping_neg();
        place += 1;
    }
    Masks(table)
}

static ONE: Masks<16> = masks::<1, 16>();
static TWO: Masks<4> = masks::<2, 4>();

/// [`super::steps`] for elements of one block; returns the blocks of coefficients that it used, which are
/// all but those whose steps would wrap around.
#[target_feature(enable = "avx512f")]
pub(super) fn one(blocks: &mut [u128], first: usize, coefficients: &[u128]) -> usize {
    run::<1, 4, 8, 16>(blocks, first, coefficients, &ONE)
}

/// [`super::steps`] for elements of two blocks.
#[target_feature(enable = "avx512f")]
pub(super) fn two(blocks: &mut [u128], first: usize, coefficients: &[u128]) -> usize {
    run::<2, 2, 14, 4>(blocks, first, coefficients, &TWO)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn run<const W: usize, const PHASES: usize, const REGISTERS: usize, const N: usize>(
    blocks: &mut [u128],
    first: usize,
    coefficients: &[u128],
    masks: &Masks<N>,
) -> usize {
    let mut at = first * W;
    // Four steps read the registers of the last step's window.
    let reach = 4 * W + 4 * (REGISTERS - 1);
    let mut window: [__m512i; REGISTERS] = [_mm512_setzero_si512(); REGISTERS];
    for (used, block) in coefficients.iter().enumerate() {
        if at + reach > blocks.len() {
            flush(blocks, at, &window, used);
            return used;
        }
        if used == 0 {
            for (z, register) in window.iter_mut().take(REGISTERS - 1).enumerate() {
                *register = load(blocks, at + 4 * z);
            }
        }
        let words = [0, 32, 64, 96].map(|shift| (block >> shift) as u32);
        for four in 0..W {
            window[REGISTERS - 1] = load(blocks, at + 4 * (REGISTERS - 1));
            for phase in 0..PHASES {
                push(&mut window, phase, words[four * PHASES + phase], masks);
            }
            store(blocks, at, window[0]);
            // Not a move of the array, which would go through memory. The last register is loaded next.
            window = std::array::from_fn(|z| window[(z + 1) % REGISTERS]);
            at += 4;
        }
    }
    flush(blocks, at, &window, coefficients.len());
    coefficients.len()
}

/// One step: the element at `phase` of the first register goes to the window's lanes.
#[target_feature(enable = "avx512f")]
#[inline]
fn push<const REGISTERS: usize, const N: usize>(
    window: &mut [__m512i; REGISTERS],
    phase: usize,
    word: u32,
    masks: &Masks<N>,
) {
    let element = match (N, phase) {
        (16, 0) => _mm512_shuffle_i64x2::<0b00_00_00_00>(window[0], window[0]),
        (16, 1) => _mm512_shuffle_i64x2::<0b01_01_01_01>(window[0], window[0]),
        (16, 2) => _mm512_shuffle_i64x2::<0b10_10_10_10>(window[0], window[0]),
        (16, _) => _mm512_shuffle_i64x2::<0b11_11_11_11>(window[0], window[0]),
        (_, 0) => _mm512_shuffle_i64x2::<0b01_00_01_00>(window[0], window[0]),
        (_, _) => _mm512_shuffle_i64x2::<0b11_10_11_10>(window[0], window[0]),
    };
    let always = 1_u64 << COEFFICIENT_BITS;
    // Bit i is for the window's element i, and the element at `phase` reaches those after itself.
    let bits = (u64::from(word) & (always - 1) | always) << (phase + 1);
    for (z, register) in window.iter_mut().enumerate() {
        // The table's entries have 2^6 bytes.
        let entry = (bits << 6 >> (z as u32 * N.trailing_zeros())) as usize & ((N - 1) << 6);
        // SAFETY: the table has N entries of 64 bytes, and the offset is a multiple of 64 below 64 N.
        let mask = unsafe { _mm512_load_si512(masks.0.as_ptr().byte_add(entry).cast()) };
        // register ^ (element & mask)
        *register = _mm512_ternarylogic_epi64::<0x78>(*register, element, mask);
    }
}

/// Writes the window back, but for its last register, which is not loaded yet.
#[target_feature(enable = "avx512f")]
#[inline]
fn flush<const REGISTERS: usize>(blocks: &mut [u128], at: usize, window: &[__m512i; REGISTERS], used: usize) {
    if used != 0 {
        for (z, register) in window.iter().enumerate().take(REGISTERS - 1) {
            store(blocks, at + 4 * z, *register);
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(blocks: &[u128], at: usize) -> __m512i {
    let four = &blocks[at..at + 4];
    // SAFETY: the slice covers 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(four.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(blocks: &mut [u128], at: usize, value: __m512i) {
    let four = &mut blocks[at..at + 4];
    // SAFETY: the slice covers 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(four.as_mut_ptr().cast(), value) };
}
