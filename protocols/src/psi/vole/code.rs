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

/// Outputs for which words are drawn at a time, with the words of a sweep in the first-level cache.
const TILE: usize = 1_024;

/// Bytes of the regions of one sweep over the outputs: half of a second-level cache.
const SWEEP_BYTES: usize = 1 << 20;

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
        let together = (SWEEP_BYTES / (taps[0].count as usize * W * 16)).clamp(1, WEIGHT);
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
