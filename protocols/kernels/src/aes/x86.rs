//! AES-NI on eight blocks, and VAES on 32.

use std::arch::x86_64::*;

use super::sigma;

/// Rounds of AES-128, and one key more.
const KEYS: usize = 11;

/// Expands a key (FIPS 197, section 5.2).
#[target_feature(enable = "aes")]
pub(super) fn expand(key: u128) -> [u128; KEYS] {
    let mut keys = [key; KEYS];
    keys[1] = next::<0x01>(keys[0]);
    keys[2] = next::<0x02>(keys[1]);
    keys[3] = next::<0x04>(keys[2]);
    keys[4] = next::<0x08>(keys[3]);
    keys[5] = next::<0x10>(keys[4]);
    keys[6] = next::<0x20>(keys[5]);
    keys[7] = next::<0x40>(keys[6]);
    keys[8] = next::<0x80>(keys[7]);
    keys[9] = next::<0x1b>(keys[8]);
    keys[10] = next::<0x36>(keys[9]);
    keys
}

#[target_feature(enable = "aes")]
fn next<const CONSTANT: i32>(key: u128) -> u128 {
    let key_register = to_xmm(key);
    let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<CONSTANT>(key_register));
    key ^ (key << 32) ^ (key << 64) ^ (key << 96) ^ from_xmm(word)
}

/// Encrypts blocks in place under keys made by [`expand`].
pub(super) fn encrypt(keys: &[u128; KEYS], blocks: &mut [u128]) {
    run::<false>(keys, blocks);
}

/// Replaces x by π(σ(x)) ⊕ σ(x) under keys made by [`expand`].
pub(super) fn hash(keys: &[u128; KEYS], blocks: &mut [u128]) {
    run::<true>(keys, blocks);
}

fn run<const HASH: bool>(keys: &[u128; KEYS], blocks: &mut [u128]) {
    let rest = if blocks.len() >= 32 && wide() {
        let (whole, rest) = blocks.as_chunks_mut();
        // SAFETY: the features were just detected.
        unsafe { run_wide::<HASH>(keys, whole) };
        rest
    } else {
        blocks
    };
    if !rest.is_empty() {
        // SAFETY: keys come from `expand`, which runs only where AES-NI was detected.
        unsafe { run_narrow::<HASH>(keys, rest) };
    }
}

/// Whether the 32-block kernel may run.
pub(super) fn wide() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vaes")
}

#[target_feature(enable = "aes")]
pub(super) fn run_narrow<const HASH: bool>(keys: &[u128; KEYS], blocks: &mut [u128]) {
    let keys = keys.map(to_xmm);
    for chunk in blocks.chunks_mut(8) {
        let mut input = [0; 8];
        for (input, block) in input.iter_mut().zip(&*chunk) {
            *input = if HASH { sigma(*block) } else { *block };
        }
        let mut state = input.map(|block| _mm_xor_si128(to_xmm(block), keys[0]));
        for key in &keys[1..KEYS - 1] {
            state = state.map(|s| _mm_aesenc_si128(s, *key));
        }
        state = state.map(|s| _mm_aesenclast_si128(s, keys[KEYS - 1]));
        for ((block, s), input) in chunk.iter_mut().zip(state).zip(input) {
            *block = if HASH { from_xmm(s) ^ input } else { from_xmm(s) };
        }
    }
}

#[target_feature(enable = "avx512f,vaes")]
pub(super) fn run_wide<const HASH: bool>(keys: &[u128; KEYS], chunks: &mut [[u128; 32]]) {
    let keys = keys.map(|key| _mm512_broadcast_i32x4(to_xmm(key)));
    for chunk in chunks {
        let input = load(chunk).map(|block| if HASH { sigma_wide(block) } else { block });
        let mut state = input.map(|block| _mm512_xor_si512(block, keys[0]));
        for key in &keys[1..KEYS - 1] {
            state = state.map(|s| _mm512_aesenc_epi128(s, *key));
        }
        for (i, (s, input)) in state.into_iter().zip(input).enumerate() {
            let cipher = _mm512_aesenclast_epi128(s, keys[KEYS - 1]);
            store(chunk, i, if HASH { _mm512_xor_si512(cipher, input) } else { cipher });
        }
    }
}

#[target_feature(enable = "avx512f")]
fn sigma_wide(block: __m512i) -> __m512i {
    let swapped = _mm512_shuffle_epi32::<0b01_00_11_10>(block);
    _mm512_mask_xor_epi64(swapped, 0b1010_1010, swapped, block)
}

#[target_feature(enable = "avx512f")]
fn load(chunk: &[u128; 32]) -> [__m512i; 8] {
    // SAFETY: the reference covers 8 × 64 readable bytes; the loads need no alignment.
    std::array::from_fn(|i| unsafe { _mm512_loadu_si512(chunk.as_ptr().add(4 * i).cast()) })
}

#[target_feature(enable = "avx512f")]
fn store(chunk: &mut [u128; 32], index: usize, value: __m512i) {
    let four: &mut [u128] = &mut chunk[4 * index..4 * index + 4];
    // SAFETY: the slice covers 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(four.as_mut_ptr().cast(), value) };
}

fn to_xmm(block: u128) -> __m128i {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(block) }
}

fn from_xmm(block: __m128i) -> u128 {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(block) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_and_thirty_two_blocks_give_the_same_bytes() {
        if !(is_x86_feature_detected!("aes") && wide()) {
            return;
        }
        let blocks: [u128; 32] = std::array::from_fn(|i| (i as u128).wrapping_mul(u128::MAX / 37));
        let (mut narrow, mut wide) = ([blocks; 4], [blocks; 4]);
        // SAFETY: the features were just detected.
        unsafe {
            let keys = expand(99);
            run_narrow::<false>(&keys, &mut narrow[0]);
            run_narrow::<true>(&keys, &mut narrow[1]);
            run_wide::<false>(&keys, &mut wide[..1]);
            run_wide::<true>(&keys, &mut wide[1..2]);
        }
        assert_eq!(narrow, wide);
    }
}
