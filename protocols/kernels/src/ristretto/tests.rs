//! All twins against each other, dalek, and RFC 9496.

use curve25519_dalek::Scalar;
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::*;

#[cfg(target_arch = "x86_64")]
mod field;
mod lengths;
mod twins;
mod vectors;

const SEED: u64 = 20_261_125;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(SEED)
}

/// The portable backend, and those of eight lanes that this machine has.
fn backends() -> impl Iterator<Item = Backend> {
    std::iter::once(Backend::portable()).chain(Backend::ifma()).chain(Backend::avx2())
}

fn uniform(rng: &mut ChaCha20Rng, count: usize) -> Vec<[u8; 64]> {
    (0..count).map(|_| std::array::from_fn(|_| rng.random())).collect()
}

fn scalars(rng: &mut ChaCha20Rng, count: usize) -> Vec<Scalar> {
    (0..count).map(|_| Scalar::random(rng)).collect()
}

/// Scalars whose digits are extreme: 0, 1, 2, 8, ℓ − 1, and those of one digit repeated.
fn edge_scalars() -> Vec<Scalar> {
    let small = [0_u64, 1, 2, 7, 8, 9, 15, 16].map(Scalar::from);
    let repeated = [0x77, 0x78, 0x87, 0x88, 0xff].map(|byte| Scalar::from_bytes_mod_order([byte; 32]));
    let largest = [-Scalar::ONE, -Scalar::from(2_u64), Scalar::ONE.div_by_2(), -Scalar::ONE.div_by_2()];
    small.into_iter().chain(repeated).chain(largest).collect()
}

/// Encodings of points with nothing special about them, made by dalek.
fn encodings(rng: &mut ChaCha20Rng, count: usize) -> Vec<[u8; 32]> {
    let points = uniform(rng, count);
    points.iter().map(|bytes| RistrettoPoint::from_uniform_bytes(bytes).compress().to_bytes()).collect()
}
