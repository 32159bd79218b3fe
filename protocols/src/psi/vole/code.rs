//! The expand-convolute code that compresses the noise vector: S. Raghuraman, P. Rindal, T. Tanguy,
//! "Expand-Convolute Codes for Pseudorandom Correlation Generators from LPN" (CRYPTO 2023, ePrint 2023/882).
//!
//! The generator is G = (I | B·A₂·A₁): outputs are `e + B·A₂·A₁·e'` with `e ‖ e'` the halves of the noise
//! vector. A₁ and A₂ are convolutions ([`convolute`]): an element is added to each of its 24 successors by a
//! random bit, and always to the 25th, so that a codeword's state never dies out; the index wraps around.
//! B is an expander ([`expand`]): an output adds up 21 elements. Fewer outputs than rows leave out rows,
//! which makes no codeword lighter.
//!
//! **Source of the choices.** All are those of the authors' library, libOTe's `ExConv21x24`, which it calls
//! conservative (`ExConvCode`: systematic, convolution size 24, wrapped around and run twice, which guards
//! against an expander that hits a small region; `Expander`: weight 21), but for one: of the 21 elements,
//! libOTe takes 11 from a region each and 10 from anywhere, we take all 21 from a region each, as its
//! earlier and its later expanders do (`ExpanderCode::getMatrix`; `RegularEcCode`). Then a region fits the
//! second-level cache, which halves the time. Silver (broken, ibid.) and expand-accumulate codes of rate 1/2
//! are not used.
//!
//! What that changes: every row of B has one element in each region, so the 20 differences of two regions'
//! sums lie in B's right kernel, and up to 20 combinations of outputs depend on `e` alone. Those are dense
//! combinations, to which `e` is as good as random. Light sums of rows are no likelier: with 1,024 rows and
//! four seeds each, the lightest parity part of one, two or three rows is 454, 432 and 420 here and 451, 436
//! and 419 with libOTe's mixture; with one convolution instead of two, 444, 419 and 409 here and 428, 396
//! and 393 there.
//!
//! The matrix is public, and random: its seed comes from the session's hash and the batch's number.

use windvane_kernels::aes::Prg;
use windvane_kernels::{convolute, expand};

use super::public_seed;
use crate::transcript::Hash;

/// Elements that an output adds up.
const WEIGHT: usize = 21;

/// Convolutions, one after another.
const PASSES: usize = 2;

/// Blocks of coefficients that are drawn at a time: they stay in the first-level cache.
const COEFFICIENTS: usize = 512;

/// Outputs for which words are drawn at a time, with the words of a sweep in the first-level
/// cache.
const TILE: usize = 2_048;

/// Bytes of the regions of one sweep over the outputs: two thirds of a second-level cache of 2 MiB.
const SWEEP_BYTES: usize = 1_400_000;

/// Regions of one sweep, at most: more outputs would be pushed out of the first-level cache by words.
const SWEEP_REGIONS: usize = 4;

/// What a batch's public seed gives.
#[derive(Debug)]
pub(super) struct Code {
    tree_keys: [u128; 2],
    passes: [u128; PASSES],
    taps: [u128; WEIGHT],
}

impl Code {
    pub(super) fn new(session: &Hash, batch: u64) -> Self {
        Self::from_seed(public_seed(session, "batch", batch))
    }

    pub(super) fn from_seed(seed: u128) -> Self {
        let mut code = Self { tree_keys: [0; 2], passes: [0; PASSES], taps: [0; WEIGHT] };
        let mut prg = Prg::new(seed);
        prg.fill(&mut code.tree_keys);
        prg.fill(&mut code.passes);
        prg.fill(&mut code.taps);
        code
    }

    /// The keys of the batch's trees.
    pub(super) const fn tree_keys(&self) -> [u128; 2] {
        self.tree_keys
    }

    /// Compresses the noise vector in place: the outputs are its first elements, of which there are at most
    /// half as many. Elements are `W` blocks side by side.
    ///
    /// Halves must have a multiple of four elements, and more than 25.
    pub(super) fn compress<const W: usize>(&self, noise: &mut [[u128; W]], outputs: usize) {
        let (systematic, parity) = noise.split_at_mut(noise.len() / 2);
        for seed in self.passes {
            convolve(seed, parity);
        }
        self.expand(parity, &mut systematic[..outputs]);
    }

    /// Adds 21 elements to each output, region after region.
    fn expand<const W: usize>(&self, elements: &[[u128; W]], outputs: &mut [[u128; W]]) {
        let taps = regions(elements.len());
        let mut streams = self.taps.map(Prg::new);
        let together = (SWEEP_BYTES / (taps[0].count as usize * W * 16)).clamp(1, SWEEP_REGIONS);
        let mut words = vec![[0; TILE / 4]; together];
        for (taps, streams) in taps.chunks(together).zip(streams.chunks_mut(together)) {
            for tile in outputs.chunks_mut(TILE) {
                let blocks = tile.len().div_ceil(4);
                for (words, stream) in words.iter_mut().zip(&mut *streams) {
                    stream.fill(&mut words[..blocks]);
                }
                let words: Vec<&[u128]> = words[..taps.len()].iter().map(|words| &words[..blocks]).collect();
                expand::add(tile, elements, taps, &words);
            }
        }
    }
}

fn convolve<const W: usize>(seed: u128, elements: &mut [[u128; W]]) {
    let mut prg = Prg::new(seed);
    let mut coefficients = [0; COEFFICIENTS];
    let blocks = elements.len() / 4;
    for first in (0..blocks).step_by(COEFFICIENTS) {
        let coefficients = &mut coefficients[..COEFFICIENTS.min(blocks - first)];
        prg.fill(coefficients);
        convolute::steps(elements, 4 * first, coefficients);
    }
}

/// The elements, in [`WEIGHT`] regions as equal as can be.
fn regions(elements: usize) -> [expand::Tap; WEIGHT] {
    let bound = |region: usize| (region * elements / WEIGHT) as u32;
    std::array::from_fn(|region| expand::Tap {
        first: bound(region),
        count: bound(region + 1) - bound(region),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// The module's first paragraph, index by index.
    fn defined(code: &Code, noise: &[u128], outputs: usize) -> Vec<u128> {
        let word = |seed: u128, at: usize| {
            let mut blocks = vec![0; at / 4 + 1];
            Prg::new(seed).fill(&mut blocks);
            (blocks[at / 4] >> (32 * (at % 4))) as u32
        };
        let (systematic, parity) = noise.split_at(noise.len() / 2);
        let mut parity = parity.to_vec();
        let count = parity.len();
        for seed in code.passes {
            for i in 0..count {
                let word = word(seed, i);
                for k in (1..25).filter(|k| (word >> (k - 1)) & 1 == 1).chain([25]) {
                    let element = parity[i];
                    parity[(i + k) % count] ^= element;
                }
            }
        }
        let output = |o: usize| {
            (0..21).fold(systematic[o], |sum, region| {
                let (first, end) = (region * count / 21, (region + 1) * count / 21);
                let share = u64::from(word(code.taps[region], o)) * (end - first) as u64;
                sum ^ parity[first + (share >> 32) as usize]
            })
        };
        (0..outputs).map(output).collect()
    }

    fn random(seed: u128, count: usize) -> Vec<u128> {
        let mut blocks = vec![0; count];
        Prg::new(seed).fill(&mut blocks);
        blocks
    }

    #[test]
    fn outputs_are_those_of_the_definition() {
        let code = Code::from_seed(42);
        for (length, outputs) in [(704, 352), (1_056, 500), (704, 1)] {
            let noise = random(7, length);
            let mut found = noise.clone();
            code.compress(found.as_chunks_mut::<1>().0, outputs);
            assert!(found[..outputs] == defined(&code, &noise, outputs), "{outputs} of {length}");
        }
    }

    #[test]
    fn two_blocks_side_by_side_are_compressed_like_each_alone() {
        let code = Code::from_seed(43);
        let halves = [random(1, 704), random(2, 704)];
        let mut both: Vec<[u128; 2]> = halves[0].iter().zip(&halves[1]).map(|(a, c)| [*a, *c]).collect();
        code.compress(&mut both, 352);
        for (side, mut alone) in halves.into_iter().enumerate() {
            code.compress(alone.as_chunks_mut::<1>().0, 352);
            assert!(both[..352].iter().map(|pair| pair[side]).eq(alone[..352].iter().copied()));
        }
    }

    #[test]
    fn the_matrix_is_that_of_the_vectors() {
        let vectors: Value = serde_json::from_str(include_str!("../../../vectors/psi-vole-v1.json")).unwrap();
        for vector in vectors["code"].as_array().unwrap() {
            let number = |name: &str| vector[name].as_u64().unwrap();
            let (length, outputs) = (number("length") as usize, number("outputs") as usize);
            let mut noise = random(number("noise_seed").into(), length);
            Code::from_seed(number("code_seed").into()).compress(noise.as_chunks_mut::<1>().0, outputs);
            let bytes: Vec<u8> = noise[..outputs].iter().flat_map(|block| block.to_le_bytes()).collect();
            assert_eq!(hex::encode(Sha256::digest(bytes)), vector["outputs_sha256"].as_str().unwrap());
        }
    }

    /// The generator's rows: column by column, 128 at a time, by compressing unit vectors.
    fn rows(code: &Code, count: usize) -> Vec<Vec<u128>> {
        let mut rows = vec![Vec::new(); count];
        for first in (0..2 * count).step_by(128) {
            let mut units = vec![[0_u128]; 2 * count];
            (0..128).for_each(|column| units[first + column][0] = 1 << column);
            code.compress(&mut units, count);
            rows.iter_mut().zip(&units).for_each(|(row, [columns])| row.push(*columns));
        }
        rows
    }

    #[test]
    fn sums_of_one_and_of_two_rows_have_the_distance_that_the_noise_supposes() {
        let rows = rows(&Code::from_seed(44), 1_024);
        let weight = |sum: &mut dyn Iterator<Item = u128>| sum.map(u128::count_ones).sum::<u32>();
        let least = (0.2 * 2_048.0) as u32;
        for (i, row) in rows.iter().enumerate() {
            assert!(weight(&mut row.iter().copied()) >= least, "row {i}");
            for (j, other) in rows[..i].iter().enumerate() {
                assert!(weight(&mut row.iter().zip(other).map(|(a, b)| a ^ b)) >= least, "rows {i}, {j}");
            }
        }
    }
}
