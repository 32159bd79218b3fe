//! AES-128 (FIPS 197) on many blocks at once, and what protocols build from it: a pseudorandom generator and
//! correlation-robust hashes.
//!
//! **Sources.** C. Guo, J. Katz, X. Wang, Y. Yu, "Efficient and Secure Multiparty Computation from Fixed-Key
//! Block Ciphers" (IEEE S&P 2020, ePrint 2019/074), sections 7.3 and 7.4: with π = AES under a public key,
//! [`Aes128::hash_slice`] is MMO^(x) = π(σ(x)) ⊕ σ(x), circular correlation robust, where the linear
//! orthomorphism σ(l ‖ r) = (l ⊕ r) ‖ l; and [`Aes128::tweaked_hash_slice`] is TMMO(x, i) = π(π(x) ⊕ i) ⊕
//! π(x), tweakable circular correlation robust. (One call, π(σ(x) ⊕ i), is not: tweaks cancel against
//! inputs.) Both are proven with π an ideal permutation; a key that is fresh for a session keeps sessions
//! apart.

use std::fmt;

use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

#[cfg(target_arch = "x86_64")]
mod x86;

/// The public key of π where a protocol names none: letters that stand for nothing.
pub const FIXED_KEY: u128 = u128::from_le_bytes(*b"Windvane fixed k");

/// Blocks that are worked on while they are in the first-level cache.
const CHUNK: usize = 256;

/// AES-128 with its key expanded.
pub struct Aes128(Schedule);

enum Schedule {
    /// Round keys for AES-NI.
    #[cfg(target_arch = "x86_64")]
    Hardware([u128; 11]),
    Portable(Box<aes::Aes128>),
}

impl Aes128 {
    /// Expands a key.
    pub fn new(key: u128) -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("aes") {
            // SAFETY: the feature was just detected.
            return Self(Schedule::Hardware(unsafe { x86::expand(key) }));
        }
        Self::portable(key)
    }

    fn portable(key: u128) -> Self {
        Self(Schedule::Portable(Box::new(aes::Aes128::new(&key.to_le_bytes().into()))))
    }

    /// Encrypts each block in place.
    pub fn encrypt_blocks(&self, blocks: &mut [u128]) {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Schedule::Hardware(keys) => x86::encrypt(keys, blocks),
            Schedule::Portable(cipher) => encrypt_portable(cipher, blocks),
        }
    }

    /// Encrypts one block.
    pub fn encrypt(&self, block: u128) -> u128 {
        let mut blocks = [block];
        self.encrypt_blocks(&mut blocks);
        blocks[0]
    }

    /// Replaces each block x by π(σ(x)) ⊕ σ(x).
    pub fn hash_slice(&self, blocks: &mut [u128]) {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Schedule::Hardware(keys) => x86::hash(keys, blocks),
            Schedule::Portable(cipher) => hash_portable(cipher, blocks),
        }
    }

    /// π(σ(x)) ⊕ σ(x) of one block.
    pub fn hash(&self, block: u128) -> u128 {
        let mut blocks = [block];
        self.hash_slice(&mut blocks);
        blocks[0]
    }

    /// Replaces block x at index j by π(π(x) ⊕ i) ⊕ π(x) with i = `tweak` + j (mod 2^128).
    pub fn tweaked_hash_slice(&self, blocks: &mut [u128], tweak: u128) {
        let mut inner = [0; CHUNK];
        let mut next = tweak;
        for outer in blocks.chunks_mut(CHUNK) {
            self.encrypt_blocks(outer);
            let inner = &mut inner[..outer.len()];
            inner.copy_from_slice(outer);
            for block in &mut *outer {
                *block ^= next;
                next = next.wrapping_add(1);
            }
            self.encrypt_blocks(outer);
            outer.iter_mut().zip(&*inner).for_each(|(block, inner)| *block ^= inner);
        }
        inner.zeroize();
    }

    /// The hash of [`Self::tweaked_hash_slice`] for one block.
    pub fn tweaked_hash(&self, block: u128, tweak: u128) -> u128 {
        let mut blocks = [block];
        self.tweaked_hash_slice(&mut blocks, tweak);
        blocks[0]
    }
}

/// σ(l ‖ r) = (l ⊕ r) ‖ l, with l the upper half.
const fn sigma(block: u128) -> u128 {
    (block >> 64) ^ (block & !(u64::MAX as u128)) ^ (block << 64)
}

fn encrypt_portable(cipher: &aes::Aes128, blocks: &mut [u128]) {
    for chunk in blocks.chunks_mut(8) {
        let mut bytes = [Array::from([0; 16]); 8];
        let bytes = &mut bytes[..chunk.len()];
        bytes.iter_mut().zip(&*chunk).for_each(|(bytes, block)| *bytes = block.to_le_bytes().into());
        cipher.encrypt_blocks(bytes);
        chunk
            .iter_mut()
            .zip(&*bytes)
            .for_each(|(block, bytes)| *block = u128::from_le_bytes((*bytes).into()));
    }
}

fn hash_portable(cipher: &aes::Aes128, blocks: &mut [u128]) {
    for chunk in blocks.chunks_mut(8) {
        let mut inputs = [0; 8];
        inputs.iter_mut().zip(&*chunk).for_each(|(input, block)| *input = sigma(*block));
        chunk.copy_from_slice(&inputs[..chunk.len()]);
        encrypt_portable(cipher, chunk);
        chunk.iter_mut().zip(&inputs).for_each(|(block, input)| *block ^= input);
    }
}

impl Drop for Aes128 {
    fn drop(&mut self) {
        match &mut self.0 {
            #[cfg(target_arch = "x86_64")]
            Schedule::Hardware(keys) => keys.zeroize(),
            // It wipes itself.
            Schedule::Portable(_) => {}
        }
    }
}

impl ZeroizeOnDrop for Aes128 {}

impl fmt::Debug for Aes128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes128(…)")
    }
}

/// A pseudorandom generator: AES-128 in counter mode under the seed, from zero. Calls of [`Prg::fill`] go on
/// where the last one ended, whatever their lengths.
#[derive(Debug)]
pub struct Prg {
    cipher: Aes128,
    counter: u128,
}

impl Prg {
    /// The generator of a secret, uniformly random seed.
    pub fn new(seed: u128) -> Self {
        Self { cipher: Aes128::new(seed), counter: 0 }
    }

    /// Overwrites the slice with the next blocks of the stream.
    pub fn fill(&mut self, out: &mut [u128]) {
        for chunk in out.chunks_mut(CHUNK) {
            for block in &mut *chunk {
                *block = self.counter;
                self.counter += 1;
            }
            self.cipher.encrypt_blocks(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fewer where every operation is interpreted.
    const LONGEST: usize = if cfg!(miri) { 17 } else { 300 };

    fn bytes(text: &str) -> u128 {
        u128::from_str_radix(text, 16).unwrap().swap_bytes()
    }

    /// NIST SP 800-38A, F.1.1: four blocks under one key.
    #[test]
    fn blocks_encrypt_as_nist_says() {
        let plain = [
            "6bc1bee22e409f96e93d7e117393172a",
            "ae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52ef",
            "f69f2445df4f9b17ad2b417be66c3710",
        ]
        .map(bytes);
        let cipher = [
            "3ad77bb40d7a3660a89ecaf32466ef97",
            "f5d3d58503b9699de785895a96fdbaaf",
            "43b1cd7f598ece23881b00e3ed030688",
            "7b0c785e27e8ad3f8223207104725dd4",
        ]
        .map(bytes);
        let key = bytes("2b7e151628aed2a6abf7158809cf4f3c");
        for aes in [Aes128::new(key), Aes128::portable(key)] {
            for length in 1..=LONGEST {
                let mut blocks: Vec<u128> = plain.into_iter().cycle().take(length).collect();
                aes.encrypt_blocks(&mut blocks);
                let expected: Vec<u128> = cipher.into_iter().cycle().take(length).collect();
                assert_eq!(blocks, expected, "{length}");
            }
        }
    }

    #[test]
    fn hashes_are_those_of_the_definition_and_of_the_portable_twin() {
        let (aes, twin) = (Aes128::new(FIXED_KEY), Aes128::portable(FIXED_KEY));
        let mut inputs = vec![0; LONGEST];
        Prg::new(5).fill(&mut inputs);
        for length in
            [0, 1, 3, 7, 8, 9, 31, 32, 33, 100, 256, 300].into_iter().filter(|length| *length <= LONGEST)
        {
            let inputs = &inputs[..length];
            let (mut plain, mut tweaked) = (inputs.to_vec(), inputs.to_vec());
            aes.hash_slice(&mut plain);
            aes.tweaked_hash_slice(&mut tweaked, u128::MAX - 3);
            for (i, &x) in inputs.iter().enumerate() {
                assert_eq!(plain[i], twin.encrypt(sigma(x)) ^ sigma(x));
                let tweak = (u128::MAX - 3).wrapping_add(i as u128);
                assert_eq!(tweaked[i], twin.encrypt(twin.encrypt(x) ^ tweak) ^ twin.encrypt(x));
                assert_eq!((twin.hash(x), twin.tweaked_hash(x, tweak)), (plain[i], tweaked[i]));
            }
        }
    }

    #[test]
    fn sigma_is_a_linear_orthomorphism() {
        let mut basis: Vec<u128> = Vec::new();
        let mut shifted: Vec<u128> = Vec::new();
        for i in 0..128 {
            insert(&mut basis, sigma(1 << i));
            insert(&mut shifted, sigma(1 << i) ^ (1 << i));
        }
        assert_eq!((basis.len(), shifted.len()), (128, 128));
    }

    /// Adds a vector to a basis of reduced vectors, unless it depends on them.
    fn insert(basis: &mut Vec<u128>, vector: u128) {
        let rest = basis.iter().fold(vector, |rest, b| rest.min(rest ^ b));
        if rest != 0 {
            basis.push(rest);
            basis.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    #[test]
    fn a_stream_does_not_depend_on_how_it_is_cut() {
        let mut whole = vec![0; 1_000];
        Prg::new(77).fill(&mut whole);
        let (mut cut, mut prg) = (vec![0; 1_000], Prg::new(77));
        for piece in cut.chunks_mut(37) {
            prg.fill(piece);
        }
        assert_eq!(cut, whole);
        assert_eq!(whole[999], Aes128::portable(77).encrypt(999));
    }

    #[test]
    fn printing_a_key_shows_nothing() {
        assert_eq!(format!("{:?}", Aes128::new(7)), "Aes128(…)");
    }
}
