//! Vectors of blocks that are wiped on drop, and blocks as bytes.

use std::fmt;
use std::ops::{Deref, DerefMut};

use rand_core::CryptoRng;
use windvane_kernels::aes::Prg;
use zeroize::{DefaultIsZeroes, Zeroize as _, ZeroizeOnDrop};

use super::BLOCK_BYTES;

const CACHE_LINE_BYTES: usize = 64;

/// Secret blocks: redacted when printed, wiped on drop. They read and change like a slice, and have a fixed
/// length, so that no copy stays behind where a vector grew.
pub struct SecretBlocks<T: DefaultIsZeroes = u128>(Vec<T>);

impl<T: DefaultIsZeroes> SecretBlocks<T> {
    /// Takes blocks into custody. The vector's capacity beyond its length must hold nothing secret.
    pub const fn new(blocks: Vec<T>) -> Self {
        Self(blocks)
    }

    /// The blocks, for another's custody.
    pub fn into_vec(mut self) -> Vec<T> {
        std::mem::take(&mut self.0)
    }
}

impl SecretBlocks {
    /// Uniformly random blocks.
    pub(super) fn random(count: usize, rng: &mut impl CryptoRng) -> Self {
        let mut blocks = vec![0; count];
        Prg::new(random_block(rng)).fill(&mut blocks);
        Self(blocks)
    }
}

impl<T: DefaultIsZeroes> Deref for SecretBlocks<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: DefaultIsZeroes> DerefMut for SecretBlocks<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: DefaultIsZeroes> Drop for SecretBlocks<T> {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl<T: DefaultIsZeroes> ZeroizeOnDrop for SecretBlocks<T> {}

impl<T: DefaultIsZeroes> fmt::Debug for SecretBlocks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBlocks({} of them)", self.0.len())
    }
}

/// Secret memory for a noise vector, kept between batches. Elements begin at a cache line, so that one of two
/// blocks never lies across two lines.
#[derive(Debug)]
pub(super) struct Scratch(SecretBlocks);

impl Scratch {
    pub(super) const fn new() -> Self {
        Self(SecretBlocks::new(Vec::new()))
    }

    /// So many elements: those of the last call, when it asked for as many, or else zeros.
    pub(super) fn elements<const W: usize>(&mut self, count: usize) -> &mut [[u128; W]] {
        let slack = CACHE_LINE_BYTES / BLOCK_BYTES - 1;
        if self.0.len() != count * W + slack {
            self.0 = SecretBlocks::new(vec![0; count * W + slack]);
        }
        let first = self.0.as_ptr().align_offset(CACHE_LINE_BYTES).min(slack);
        let (elements, _) = self.0[first..first + count * W].as_chunks_mut();
        elements
    }
}

/// A uniformly random block.
pub(super) fn random_block(rng: &mut impl CryptoRng) -> u128 {
    let mut bytes = [0; BLOCK_BYTES];
    rng.fill_bytes(&mut bytes);
    let block = u128::from_le_bytes(bytes);
    bytes.zeroize();
    block
}

/// The sum of blocks.
pub(super) fn sum(blocks: &[u128]) -> u128 {
    blocks.iter().fold(0, |sum, block| sum ^ block)
}

/// All ones where the bit is set, nothing where it is not.
pub(super) const fn mask(bits: u128, index: usize) -> u128 {
    ((bits >> index) & 1).wrapping_neg()
}

/// Appends blocks as they travel.
pub(super) fn write(message: &mut Vec<u8>, blocks: &[u128]) {
    message.extend(blocks.iter().flat_map(|block| block.to_le_bytes()));
}

/// The blocks of a message whose length was checked.
pub(super) fn read(message: &[u8]) -> impl ExactSizeIterator<Item = u128> {
    let (blocks, _) = message.as_chunks();
    blocks.iter().map(|bytes| u128::from_le_bytes(*bytes))
}

/// Block number `index` of bytes that have one.
pub(super) fn read_one(bytes: &[u8], index: usize) -> u128 {
    let (blocks, _) = bytes.as_chunks();
    u128::from_le_bytes(blocks[index])
}
