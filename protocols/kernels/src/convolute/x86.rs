//! A sliding window in AVX-512 registers: an element is broadcast, and added under masks to the windows's
//! lanes that its coefficient names.

use std::arch::x86_64::*;

use super::{COEFFICIENT_BITS, REACH};

/// For each phase (an element's place in the first register) and each register of the window: the bit of the
/// coefficient that each 64-bit lane obeys, or none.
const fn lanes<const W: usize, const PHASES: usize, const REGISTERS: usize>()
-> [[[u64; 8]; REGISTERS]; PHASES] {
    let mut table = [[[0; 8]; REGISTERS]; PHASES];
    let mut phase = 0;
    while phase < PHASES {
        let mut place = 0;
        while place < 8 * REGISTERS {
            let position = place / (2 * W);
            if position > phase && position <= phase + REACH {
                table[phase][place / 8][place % 8] = 1 << (position - phase - 1);
            }
            place += 1;
        }
        phase += 1;
    }
    table
}

static ONE: [[[u64; 8]; 8]; 4] = lanes::<1, 4, 8>();
static TWO: [[[u64; 8]; 14]; 2] = lanes::<2, 2, 14>();

/// [`super::steps`] for elements of one block; returns the blocks of coefficients that it used, which are
/// all but those whose steps would wrap around.
#[target_feature(enable = "avx512f")]
pub(super) fn one(blocks: &mut [u128], first: usize, coefficients: &[u128]) -> usize {
    run::<1, 4, 8>(blocks, first, coefficients, &ONE)
}

/// [`super::steps`] for elements of two blocks.
#[target_feature(enable = "avx512f")]
pub(super) fn two(blocks: &mut [u128], first: usize, coefficients: &[u128]) -> usize {
    run::<2, 2, 14>(blocks, first, coefficients, &TWO)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn run<const W: usize, const PHASES: usize, const REGISTERS: usize>(
    blocks: &mut [u128],
    first: usize,
    coefficients: &[u128],
    lanes: &[[[u64; 8]; REGISTERS]; PHASES],
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
            window =
                std::array::from_fn(|z| if z + 1 < REGISTERS { load(blocks, at + 4 * z) } else { window[z] });
        }
        for register in 0..W {
            window[REGISTERS - 1] = load(blocks, at + 4 * (REGISTERS - 1));
            for (phase, lanes) in lanes.iter().enumerate() {
                let word = (block >> (32 * (register * PHASES + phase))) as u32;
                push(&mut window, phase, word, lanes);
            }
            store(blocks, at, window[0]);
            for z in 1..REGISTERS {
                window[z - 1] = window[z];
            }
            at += 4;
        }
    }
    flush(blocks, at, &window, coefficients.len());
    coefficients.len()
}

/// One step: the element at `phase` of the first register goes to the window's lanes.
#[target_feature(enable = "avx512f")]
#[inline]
fn push<const REGISTERS: usize>(
    window: &mut [__m512i; REGISTERS],
    phase: usize,
    word: u32,
    lanes: &[[u64; 8]; REGISTERS],
) {
    let element = match (REGISTERS, phase) {
        (8, 0) => _mm512_shuffle_i64x2::<0b00_00_00_00>(window[0], window[0]),
        (8, 1) => _mm512_shuffle_i64x2::<0b01_01_01_01>(window[0], window[0]),
        (8, 2) => _mm512_shuffle_i64x2::<0b10_10_10_10>(window[0], window[0]),
        (8, _) => _mm512_shuffle_i64x2::<0b11_11_11_11>(window[0], window[0]),
        (_, 0) => _mm512_shuffle_i64x2::<0b01_00_01_00>(window[0], window[0]),
        (_, _) => _mm512_shuffle_i64x2::<0b11_10_11_10>(window[0], window[0]),
    };
    let word = _mm512_set1_epi64(i64::from(word | 1 << COEFFICIENT_BITS));
    for z in 0..REGISTERS {
        // SAFETY: an array of eight 64-bit lanes is 64 readable bytes.
        let lanes = unsafe { _mm512_loadu_si512(lanes[z].as_ptr().cast()) };
        let hit = _mm512_test_epi64_mask(word, lanes);
        window[z] = _mm512_mask_xor_epi64(window[z], hit, window[z], element);
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
