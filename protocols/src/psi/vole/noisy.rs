//! Noisy VOLE: a few entries, once a session, by N. Gilboa, "Two Party RSA Key Generation" (CRYPTO 1999),
//! over GF(2^128).
//!
//! With both streams `s_j` and `s_j'` of base transfer j, the receiver sends `s_j + s_j' + a`. From its one
//! stream the sender gets `s_j + δ_j·a`. Both sum with weights x^j: `c = Σ x^j·s_j` and `b = Σ x^j·(s_j +
//! δ_j·a) = c + Δ·a`.

use rand_core::CryptoRng;
use windvane_kernels::aes::Prg;

use super::blocks::{self, SecretBlocks, mask};
use super::receiver::ReceiverShare;
use super::sender::SenderShare;
use super::{BLOCK_BYTES, KAPPA, NOISE};

/// Bytes of the receiver's message: a block for each bit of Δ and each entry.
pub const NOISE_BYTES: usize = KAPPA * NOISE * BLOCK_BYTES;

/// The receiver's entries, with `a` uniformly random, and the message for the peer.
pub(super) fn offer(mut streams: Vec<[Prg; 2]>, rng: &mut impl CryptoRng) -> (ReceiverShare, Vec<u8>) {
    let a = SecretBlocks::random(NOISE, rng);
    let mut c = SecretBlocks::new(vec![0; NOISE]);
    let (mut own, mut other) = (SecretBlocks::new(vec![0; NOISE]), vec![0; NOISE]);
    let mut message = Vec::with_capacity(NOISE_BYTES);
    for [stream, twin] in streams.iter_mut().rev() {
        stream.fill(&mut own);
        twin.fill(&mut other);
        for (i, (own, other)) in own.iter().zip(&mut other).enumerate() {
            *other ^= own ^ a[i];
            c[i] = times_x(c[i]) ^ own;
        }
        blocks::write(&mut message, &other);
    }
    (ReceiverShare { a, c }, message)
}

/// The sender's entries, from a message whose length was checked.
pub(super) fn accept(mut streams: Vec<Prg>, delta: u128, message: &[u8]) -> SenderShare {
    let mut b = SecretBlocks::new(vec![0; NOISE]);
    let mut own = SecretBlocks::new(vec![0; NOISE]);
    let mut offers = blocks::read(message);
    for (j, stream) in streams.iter_mut().enumerate().rev() {
        stream.fill(&mut own);
        for ((sum, own), offer) in b.iter_mut().zip(&*own).zip(&mut offers) {
            *sum = times_x(*sum) ^ own ^ (offer & mask(delta, j));
        }
    }
    SenderShare { b }
}

/// x·v modulo x^128 + x^7 + x^2 + x + 1.
const fn times_x(v: u128) -> u128 {
    (v << 1) ^ (0x87 & mask(v, 127))
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use windvane_kernels::gf128;

    use super::*;

    #[test]
    fn entries_are_products_of_a_with_delta() {
        let delta = 0x8000_0000_0000_0000_1234_5678_9abc_def1_u128;
        let prg = |j: usize, bit: u128| Prg::new(2 * j as u128 + bit + 5_000);
        let pairs = (0..KAPPA).map(|j| [prg(j, 0), prg(j, 1)]).collect();
        let single = (0..KAPPA).map(|j| prg(j, (delta >> j) & 1)).collect();
        let (receiver, message) = offer(pairs, &mut ChaCha20Rng::seed_from_u64(8));
        assert_eq!(message.len(), NOISE_BYTES);
        let sender = accept(single, delta, &message);
        for i in 0..NOISE {
            assert_eq!(receiver.c[i], gf128::mul(delta, receiver.a[i]) ^ sender.b[i]);
        }
    }

    #[test]
    fn times_x_is_multiplication_by_two() {
        for v in [0, 1, 1 << 127, u128::MAX, 0x1234 << 100] {
            assert_eq!(times_x(v), gf128::mul(v, 2));
        }
    }
}
