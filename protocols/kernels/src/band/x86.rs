//! Bands by GFNI: bit matrix times bit matrix.
//!
//! Three forms of eight 128-bit values, 128 bytes each, in two registers:
//! - **rows**: value after value, as in memory;
//! - **slices**: qword `j` holds byte `j` of the eight values, value `c` in byte `c`;
//! - **matrices**: qword `j` is the 8×8 matrix that takes a byte of selecting bits to byte `j` of the sum of
//!   the selected values.

use std::arch::x86_64::*;

use super::{BAND_BLOCKS, BLOCK, Band};

/// Eight values in one of the three forms.
type Eight = [__m512i; 2];

/// Blocks whose rows are worked on together: bands, columns and matrices fit the first-level cache.
const WINDOW: usize = 64;

/// Whether the kernels may run.
pub(super) fn detected() -> bool {
    is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
}

#[target_feature(enable = "gfni,avx512f,avx512bw,avx512vbmi")]
pub(super) fn inner_products(columns: &[u128], mut starts: &[u32], mut bands: &[Band], mut out: &mut [u128]) {
    let blocks = columns.as_chunks::<BLOCK>().0;
    let mut matrices = [[_mm512_setzero_si512(); 2]; WINDOW + BAND_BLOCKS + 2];
    while let Some(first) = starts.first() {
        let count = starts.partition_point(|start| ((start - first) as usize) < WINDOW);
        let end = starts[count - 1] as usize + BAND_BLOCKS;
        let mut filled = 0;
        for (matrix, block) in matrices.iter_mut().zip(&blocks[*first as usize..end]) {
            *matrix = matrices_of(slices_of(load_rows(block)));
            filled += 1;
        }
        // The loop below takes blocks by pairs.
        matrices[filled] = [_mm512_setzero_si512(); 2];
        let (now, later) = out.split_at_mut(count);
        window(&matrices, *first, &starts[..count], &bands[..count], now);
        (starts, bands, out) = (&starts[count..], &bands[count..], later);
    }
}

/// Rows that begin within a window of blocks, whose matrices are given.
#[target_feature(enable = "gfni,avx512f,avx512bw,avx512vbmi")]
fn window(matrices: &[Eight], first: u32, mut starts: &[u32], mut bands: &[Band], mut out: &mut [u128]) {
    while let Some(base) = starts.first() {
        let near = starts.iter().take(BLOCK).take_while(|start| **start - base < BAND_BLOCKS as u32);
        let count = near.count();
        let mut frames = [_mm512_setzero_si512(); BLOCK];
        for ((frame, band), start) in frames.iter_mut().zip(&bands[..count]).zip(starts) {
            *frame = load_band_at(band, start - base);
        }
        let span = (starts[count - 1] - base) as usize;
        let bits = frames_to_selectors(frames);
        let sum = sum(&matrices[(base - first) as usize..], &bits, (BAND_BLOCKS + span).div_ceil(2));
        let (now, later) = out.split_at_mut(count);
        let mut products = [0; BLOCK];
        store_rows(&mut products, rows_of(sum));
        now.copy_from_slice(&products[..count]);
        (starts, bands, out) = (&starts[count..], &bands[count..], later);
    }
}

/// The sum of `matrices[g] · selector g` over `2 · pairs` blocks, in slices. Selector `g`, a byte of each of
/// eight bands, is qword `2·(g / 16) + g % 2` of register `g % 16 / 2`: as the transposition leaves it.
#[target_feature(enable = "gfni,avx512f")]
fn sum(matrices: &[Eight], selectors: &[[u64; 8]; 8], pairs: usize) -> Eight {
    let mut low = _mm512_setzero_si512();
    let mut high = _mm512_setzero_si512();
    for (p, pair) in matrices.as_chunks::<2>().0[..pairs].iter().enumerate() {
        let (register, qword) = (p % 8, p / 8 * 2);
        let even = _mm512_set1_epi64(selectors[register][qword].cast_signed());
        let odd = _mm512_set1_epi64(selectors[register][qword + 1].cast_signed());
        low = xor3(low, affine(even, pair[0][0]), affine(odd, pair[1][0]));
        high = xor3(high, affine(even, pair[0][1]), affine(odd, pair[1][1]));
    }
    [low, high]
}

#[target_feature(enable = "gfni,avx512f,avx512bw,avx512vbmi")]
pub(super) fn back_substitute(bands: &[[Band; BLOCK]], columns: &mut [u128]) {
    /// Blocks between two moves of the 32 that are still needed.
    const ROOM: usize = 96;
    let mut matrices = [[_mm512_setzero_si512(); 2]; ROOM + BAND_BLOCKS];
    let mut next = ROOM;
    let blocks = columns.as_chunks_mut::<BLOCK>().0;
    for (block, bands) in blocks.iter_mut().zip(bands).rev() {
        if next == 0 {
            matrices.copy_within(..BAND_BLOCKS, ROOM);
            next = ROOM;
        }
        next -= 1;
        // Its own matrix is not known yet: the first byte selects from nothing.
        matrices[next] = [_mm512_setzero_si512(); 2];
        let frames = bands.each_ref().map(|band| load_band_at(band, 0));
        let known = sum(&matrices[next..], &frames_to_selectors(frames), BAND_BLOCKS / 2);
        let values = slices_of(load_rows(block));
        let right = [_mm512_xor_si512(known[0], values[0]), _mm512_xor_si512(known[1], values[1])];
        let inverse = inverse(bands.each_ref().map(|band| band[0] as u8));
        let solved = matrices_of(right).map(|matrix| affine(inverse, matrix));
        matrices[next] = matrices_of(solved);
        store_rows(block, rows_of(solved));
    }
}

/// The inverse of the 8×8 matrix 1 + N, where row `c` of N is the part of `rows[c]` above bit `c`, as eight
/// bytes in each qword. N^8 = 0, so that it is (1 + N)(1 + N²)(1 + N⁴).
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn inverse(rows: [u8; BLOCK]) -> __m512i {
    const ABOVE: u64 = u64::from_le_bytes([0xfe, 0xfc, 0xf8, 0xf0, 0xe0, 0xc0, 0x80, 0]);
    const ONE: u64 = u64::from_le_bytes([1, 2, 4, 8, 16, 32, 64, 128]);
    let n = _mm512_set1_epi64((u64::from_le_bytes(rows) & ABOVE).cast_signed());
    let n2 = affine(n, matrix_of(n));
    let n2_matrix = matrix_of(n2);
    let n4 = affine(n2, n2_matrix);
    let first = _mm512_xor_si512(n, _mm512_set1_epi64(ONE.cast_signed()));
    let second = _mm512_xor_si512(first, affine(first, n2_matrix));
    _mm512_xor_si512(second, affine(second, matrix_of(n4)))
}

#[target_feature(enable = "gfni,avx512f")]
fn affine(bytes: __m512i, matrices: __m512i) -> __m512i {
    _mm512_gf2p8affine_epi64_epi8::<0>(bytes, matrices)
}

#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// Slices to matrices: the instruction wants row `i` of a matrix in byte `7 - i`, and transposes when it is
/// given the unit vectors as bytes.
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn matrix_of(slices: __m512i) -> __m512i {
    const REVERSED: [u64; 2] = [0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f];
    let order = _mm512_broadcast_i32x4(_mm_set_epi64x(REVERSED[1].cast_signed(), REVERSED[0].cast_signed()));
    let units = _mm512_set1_epi64(0x0102_0408_1020_4080);
    affine(units, _mm512_shuffle_epi8(slices, order))
}

#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn matrices_of(slices: Eight) -> Eight {
    slices.map(|slices| matrix_of(slices))
}

/// Byte `16c + j` of the rows becomes byte `8j + c` of the slices.
#[target_feature(enable = "avx512f,avx512vbmi")]
fn slices_of(rows: Eight) -> Eight {
    const fn index(upper: usize) -> [u8; 64] {
        let mut index = [0; 64];
        let mut i = 0;
        while i < 64 {
            index[i] = (16 * (i % 8) + i / 8 + 8 * upper) as u8;
            i += 1;
        }
        index
    }
    const LOW: [u8; 64] = index(0);
    const HIGH: [u8; 64] = index(1);
    [pick(rows, &LOW), pick(rows, &HIGH)]
}

/// Byte `8j + c` of the slices becomes byte `16c + j` of the rows.
#[target_feature(enable = "avx512f,avx512vbmi")]
fn rows_of(slices: Eight) -> Eight {
    const fn index(upper: usize) -> [u8; 64] {
        let mut index = [0; 64];
        let mut i = 0;
        while i < 64 {
            index[i] = (8 * (i % 16) + i / 16 + 4 * upper) as u8;
            i += 1;
        }
        index
    }
    const LOW: [u8; 64] = index(0);
    const HIGH: [u8; 64] = index(1);
    [pick(slices, &LOW), pick(slices, &HIGH)]
}

#[target_feature(enable = "avx512f,avx512vbmi")]
fn pick(from: Eight, index: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers 64 readable bytes.
    let index = unsafe { _mm512_loadu_si512(index.as_ptr().cast()) };
    _mm512_permutex2var_epi8(from[0], index, from[1])
}

/// A band's 32 bytes in a frame of 64, from byte `offset` on, which is below 32.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn load_band_at(band: &Band, offset: u32) -> __m512i {
    const IOTA: [u8; 64] = {
        let mut iota = [0; 64];
        let mut i = 0;
        while i < 64 {
            iota[i] = i as u8;
            i += 1;
        }
        iota
    };
    // SAFETY: the references cover 32 and 64 readable bytes.
    let (bytes, iota) =
        unsafe { (_mm256_loadu_si256(band.as_ptr().cast()), _mm512_loadu_si512(IOTA.as_ptr().cast())) };
    let index = _mm512_sub_epi8(iota, _mm512_set1_epi8(offset as i8));
    let mask = u64::from(u32::MAX) << offset;
    _mm512_maskz_permutexvar_epi8(mask, index, _mm512_castsi256_si512(bytes))
}

/// Eight frames to selectors, which [`sum`] describes: a transposition of bytes by three rounds of
/// interleaving.
#[target_feature(enable = "avx512f,avx512bw")]
fn frames_to_selectors(f: [__m512i; BLOCK]) -> [[u64; 8]; 8] {
    let bytes = |a, b| [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)];
    let words = |a, b| [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)];
    let dwords = |a, b| [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
    let pairs = [bytes(f[0], f[1]), bytes(f[2], f[3]), bytes(f[4], f[5]), bytes(f[6], f[7])];
    let mut selectors = [[0; 8]; 8];
    for half in 0..2 {
        let low = words(pairs[0][half], pairs[1][half]);
        let high = words(pairs[2][half], pairs[3][half]);
        for quarter in 0..2 {
            for (eighth, register) in dwords(low[quarter], high[quarter]).into_iter().enumerate() {
                store(&mut selectors[4 * half + 2 * quarter + eighth], register);
            }
        }
    }
    selectors
}

#[target_feature(enable = "avx512f")]
fn store(qwords: &mut [u64; 8], register: __m512i) {
    // SAFETY: the reference covers 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(qwords.as_mut_ptr().cast(), register) };
}

#[target_feature(enable = "avx512f")]
fn load_rows(values: &[u128; BLOCK]) -> Eight {
    let values = values.as_ptr();
    // SAFETY: the reference covers 2 × 64 readable bytes; the loads need no alignment.
    unsafe { [_mm512_loadu_si512(values.cast()), _mm512_loadu_si512(values.add(4).cast())] }
}

#[target_feature(enable = "avx512f")]
fn store_rows(values: &mut [u128; BLOCK], rows: Eight) {
    let values = values.as_mut_ptr();
    // SAFETY: the reference covers 2 × 64 writable bytes; the stores need no alignment.
    unsafe {
        _mm512_storeu_si512(values.cast(), rows[0]);
        _mm512_storeu_si512(values.add(4).cast(), rows[1]);
    }
}
