//! Inner products of bands of bits with vectors over GF(2^128): what a random band matrix asks for, over and
//! over.
//!
//! Columns come in **blocks** of eight. A [`Band`] is 256 bits that begin at a block: bit `i` (bit `i % 64` of
//! word `i / 64`) selects the `i`-th column from there, and the product is the XOR of the selected columns.
//!
//! The kernel takes eight bands at once as a product of bit matrices: `GF2P8AFFINEQB` multiplies an 8×8
//! matrix (eight columns × one byte of their values) with a byte of a band, 64 bytes at a time, so that a band
//! costs eight instructions instead of 256 masked XORs. Neither twin branches on a bit or looks up by one:
//! which columns a band selects is not visible in time, where it begins is.

#[cfg(target_arch = "x86_64")]
mod x86;

/// Columns of a block.
pub const BLOCK: usize = 8;

/// Bits of a band.
pub const BAND_BITS: usize = 256;

/// Blocks that a band covers.
pub const BAND_BLOCKS: usize = BAND_BITS / BLOCK;

/// 256 bits, the first in the lowest bit of the first word.
pub type Band = [u64; BAND_BITS / 64];

/// `out[r] = <bands[r], columns[8·starts[r]..]>` for every row `r`.
///
/// # Panics
/// When the lengths differ, the starts do not ascend, or a band reaches past the columns.
pub fn inner_products(columns: &[u128], starts: &[u32], bands: &[Band], out: &mut [u128]) {
    assert_eq!(starts.len(), bands.len(), "one start for each band");
    assert_eq!(out.len(), bands.len(), "one product for each band");
    assert!(starts.is_sorted(), "starts ascend");
    if let Some(last) = starts.last() {
        assert!(BLOCK * *last as usize + BAND_BITS <= columns.len(), "bands stay inside the columns");
    }
    #[cfg(target_arch = "x86_64")]
    if x86::detected() {
        // SAFETY: the features were just detected.
        return unsafe { x86::inner_products(columns, starts, bands, out) };
    }
    portable::inner_products(columns, starts, bands, out);
}

/// Solves a banded system in echelon form from its last column to its first: adds
/// `<bands[b][c], columns[8b..]>` to column `8b + c`, where the band's bits 0 to `c` are ignored. A column
/// with the empty band stays as it is; bits past the last column select nothing.
///
/// # Panics
/// When there are not eight columns for each block.
pub fn back_substitute(bands: &[[Band; BLOCK]], columns: &mut [u128]) {
    assert_eq!(columns.len(), BLOCK * bands.len(), "eight columns for each block");
    #[cfg(target_arch = "x86_64")]
    if x86::detected() {
        // SAFETY: the features were just detected.
        return unsafe { x86::back_substitute(bands, columns) };
    }
    portable::back_substitute(bands, columns);
}

/// The portable twin.
mod portable {
    use super::{BLOCK, Band};

    pub(super) fn inner_products(columns: &[u128], starts: &[u32], bands: &[Band], out: &mut [u128]) {
        for ((product, band), start) in out.iter_mut().zip(bands).zip(starts) {
            *product = inner_product(band, &columns[BLOCK * *start as usize..]);
        }
    }

    pub(super) fn back_substitute(bands: &[[Band; BLOCK]], columns: &mut [u128]) {
        for (block, bands) in bands.iter().enumerate().rev() {
            for (c, band) in bands.iter().enumerate().rev() {
                let mut band = *band;
                band[0] &= !1 << c;
                columns[BLOCK * block + c] ^= inner_product(&band, &columns[BLOCK * block..]);
            }
        }
    }

    /// Every column is read, and kept or dropped by a mask.
    fn inner_product(band: &Band, columns: &[u128]) -> u128 {
        let mut product = 0;
        for (word, columns) in band.iter().zip(columns.chunks(64)) {
            for (i, column) in columns.iter().enumerate() {
                product ^= column & u128::from(word >> i & 1).wrapping_neg();
            }
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aes::Prg;

    /// Fewer where every operation is interpreted.
    const SIZES: usize = if cfg!(miri) { 4 } else { 10 };

    fn random(seed: u128, count: usize) -> Vec<u128> {
        let mut blocks = vec![0; count];
        Prg::new(seed).fill(&mut blocks);
        blocks
    }

    fn random_bands(seed: u128, count: usize) -> Vec<Band> {
        let word = |block: u128| [block as u64, (block >> 64) as u64];
        let pair = |pair: &[u128]| {
            let ([a, b], [c, d]) = (word(pair[0]), word(pair[1]));
            [a, b, c, d]
        };
        random(seed, 2 * count).chunks(2).map(pair).collect()
    }

    /// Bit by bit: the definition.
    fn defined(columns: &[u128], start: u32, band: &Band) -> u128 {
        let selected = (0..BAND_BITS).filter(|i| band[i / 64] >> (i % 64) & 1 == 1);
        selected.fold(0, |sum, i| sum ^ columns[BLOCK * start as usize + i])
    }

    /// Rows at every density, from all in one block to far apart.
    fn starts(count: usize, blocks: u32, seed: u128) -> Vec<u32> {
        let mut starts: Vec<u32> =
            random(seed, count).iter().map(|r| (*r as u32) % (blocks - BAND_BLOCKS as u32 + 1)).collect();
        starts.sort_unstable();
        starts
    }

    #[test]
    fn products_are_those_of_the_definition_in_both_twins() {
        let sizes = [(0, 32), (1, 32), (3, 32), (8, 32), (9, 33), (100, 45), (500, 100), (77, 900)];
        for (count, blocks) in sizes.into_iter().take(SIZES) {
            let columns = random(1, BLOCK * blocks);
            let (starts, bands) = (starts(count, blocks as u32, 2), random_bands(3, count));
            let expected: Vec<u128> =
                starts.iter().zip(&bands).map(|(start, band)| defined(&columns, *start, band)).collect();
            let mut found = vec![0; count];
            inner_products(&columns, &starts, &bands, &mut found);
            assert_eq!(found, expected, "{count} rows in {blocks} blocks");
            portable::inner_products(&columns, &starts, &bands, &mut found);
            assert_eq!(found, expected, "{count} rows in {blocks} blocks, portable");
        }
    }

    #[test]
    fn back_substitution_solves_the_system_in_both_twins() {
        for blocks in [0, 1, 2, 31, 32, 33, 95, 96, 97, 300].into_iter().take(SIZES) {
            let values = random(4, BLOCK * blocks);
            let mut bands: Vec<[Band; BLOCK]> =
                random_bands(5, BLOCK * blocks).as_chunks::<BLOCK>().0.to_vec();
            for block in bands.iter_mut().step_by(3) {
                block[5] = [0; 4];
            }
            let (mut found, mut twin) = (values.clone(), values.clone());
            back_substitute(&bands, &mut found);
            portable::back_substitute(&bands, &mut twin);
            assert_eq!(found, twin, "{blocks} blocks");
            found.resize(BLOCK * (blocks + BAND_BLOCKS), 0);
            for (p, value) in values.iter().enumerate() {
                let (block, c) = (p / BLOCK, p % BLOCK);
                let mut band = bands[block][c];
                band[0] = (band[0] & !1 << c) | 1 << c;
                assert_eq!(defined(&found, block as u32, &band), *value, "column {p}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "bands stay inside the columns")]
    fn a_band_past_the_columns_is_refused() {
        inner_products(&[0; 256], &[1], &[[0; 4]], &mut [0]);
    }

    #[test]
    #[should_panic(expected = "starts ascend")]
    fn starts_out_of_order_are_refused() {
        inner_products(&[0; 512], &[1, 0], &[[0; 4]; 2], &mut [0; 2]);
    }
}
