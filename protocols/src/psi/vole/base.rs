//! Base oblivious transfers: T. Chou, C. Orlandi, "The Simplest Protocol for Oblivious Transfer" (LATINCRYPT
//! 2015, ePrint 2015/267), on ristretto255.
//!
//! The VOLE's receiver is the transfers' sender: it sends A = a·G and gets B_i = b_i·G + δ_i·A, with δ_i a
//! bit of the VOLE's Δ. Then it has both keys H(a·B_i) and H(a·(B_i − A)), and its peer H(b_i·A), which is
//! the one that δ_i names. Session, index, A and B_i are hashed along, so that no key fits elsewhere.

use std::fmt;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::{Identity as _, IsIdentity as _};
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use subtle::{Choice, ConditionallySelectable as _};
use windvane_kernels::aes::Prg;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::blocks::read_one;
use super::{KAPPA, VoleError, check_length};
use crate::oprf::nonzero;
use crate::transcript::{Hash, Transcript, digest};

/// Bytes of the receiver's first message: a group element.
pub const OPENING_BYTES: usize = ENCODING_BYTES;

/// Bytes of the sender's answer: a group element for each bit of Δ.
pub const POINTS_BYTES: usize = KAPPA * ENCODING_BYTES;

const ENCODING_BYTES: usize = 32;

/// What grows from one key of a transfer: a stream for OT extension, and one for the noisy VOLE.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) extension: Prg,
    pub(super) noise: Prg,
}

/// The side that ends with both keys of each transfer.
pub(super) struct KeyPairs {
    scalar: Scalar,
    opening: [u8; OPENING_BYTES],
}

impl KeyPairs {
    pub(super) fn open(rng: &mut impl CryptoRng) -> Self {
        let scalar = nonzero(rng);
        Self { scalar, opening: (RISTRETTO_BASEPOINT_TABLE * &scalar).compress().to_bytes() }
    }

    pub(super) const fn opening(&self) -> &[u8; OPENING_BYTES] {
        &self.opening
    }

    /// The streams of both keys of every transfer.
    pub(super) fn on_points(&self, session: &Hash, points: &[u8]) -> Result<Vec<[Streams; 2]>, VoleError> {
        check_length(POINTS_BYTES, points)?;
        let (encodings, _) = points.as_chunks::<ENCODING_BYTES>();
        // Halves, because encoding the doubles of many points costs one inversion.
        let half = self.scalar.div_by_2();
        let own = RISTRETTO_BASEPOINT_TABLE * &(self.scalar * half);
        let mut shared = Vec::with_capacity(2 * KAPPA);
        for encoding in encodings {
            let point = decode(encoding)? * half;
            shared.extend([point, point - own]);
        }
        let keys = RistrettoPoint::double_and_compress_batch(&shared);
        shared.iter_mut().for_each(Zeroize::zeroize);
        let (pairs, _) = keys.as_chunks::<2>();
        let grown = (0..).zip(encodings).zip(pairs).map(|((index, encoding), pair)| {
            pair.each_ref().map(|key| grow(session, index, &self.opening, encoding, key))
        });
        Ok(grown.collect())
    }
}

impl Drop for KeyPairs {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

impl ZeroizeOnDrop for KeyPairs {}

impl fmt::Debug for KeyPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPairs(…)")
    }
}

/// The other side: the stream of one key of every transfer, chosen by Δ's bits, and the points for the peer.
pub(super) fn choose(
    session: &Hash,
    opening: &[u8],
    delta: u128,
    rng: &mut impl CryptoRng,
) -> Result<(Vec<Streams>, Vec<u8>), VoleError> {
    check_length(OPENING_BYTES, opening)?;
    let mut opening_bytes = [0; OPENING_BYTES];
    opening_bytes.copy_from_slice(opening);
    let public = decode(&opening_bytes)?;
    let half_public = public * Scalar::ONE.div_by_2();
    let mut halves: Vec<Scalar> = (0..KAPPA).map(|_| nonzero(rng).div_by_2()).collect();
    let points: Vec<RistrettoPoint> = halves
        .iter()
        .enumerate()
        .map(|(index, half)| {
            let chosen = Choice::from((delta >> index) as u8 & 1);
            let identity = RistrettoPoint::identity();
            RISTRETTO_BASEPOINT_TABLE * half
                + RistrettoPoint::conditional_select(&identity, &half_public, chosen)
        })
        .collect();
    let mut shared: Vec<RistrettoPoint> = halves.iter().map(|half| public * half).collect();
    let encodings = RistrettoPoint::double_and_compress_batch(&points);
    let keys = RistrettoPoint::double_and_compress_batch(&shared);
    halves.iter_mut().for_each(Zeroize::zeroize);
    shared.iter_mut().for_each(Zeroize::zeroize);
    let streams = (0..)
        .zip(&encodings)
        .zip(&keys)
        .map(|((index, encoding), key)| grow(session, index, &opening_bytes, encoding.as_bytes(), key))
        .collect();
    Ok((streams, encodings.iter().flat_map(CompressedRistretto::to_bytes).collect()))
}

fn decode(encoding: &[u8; ENCODING_BYTES]) -> Result<RistrettoPoint, VoleError> {
    match CompressedRistretto(*encoding).decompress() {
        Some(point) if !point.is_identity() => Ok(point),
        _ => Err(VoleError::Element),
    }
}

fn grow(
    session: &Hash,
    index: u64,
    opening: &[u8; ENCODING_BYTES],
    point: &[u8; ENCODING_BYTES],
    shared: &CompressedRistretto,
) -> Streams {
    let mut transcript = Transcript::new("windvane/psi-vole-base-ot/v1")
        .bytes("session", session)
        .u64("index", index)
        .bytes("opening", opening)
        .bytes("point", point)
        .bytes("shared", shared.as_bytes())
        .into_bytes();
    let mut digest = digest(&transcript);
    let [extension, noise] = [0, 1].map(|index| Prg::new(read_one(&digest, index)));
    transcript.zeroize();
    digest.zeroize();
    Streams { extension, noise }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;

    const DELTA: u128 = 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978;

    fn next(prg: &mut Prg) -> u128 {
        let mut block = [0];
        prg.fill(&mut block);
        block[0]
    }

    #[test]
    fn deltas_bits_choose_among_the_key_pairs() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let session = [7; 64];
        let pairs = KeyPairs::open(&mut rng);
        let (mut chosen, points) = choose(&session, pairs.opening(), DELTA, &mut rng).unwrap();
        let mut both = pairs.on_points(&session, &points).unwrap();
        assert_eq!((chosen.len(), both.len()), (KAPPA, KAPPA));
        for (i, (one, two)) in chosen.iter_mut().zip(&mut both).enumerate() {
            let bit = (DELTA >> i) as usize & 1;
            let blocks = two.each_mut().map(|streams| [&mut streams.extension, &mut streams.noise].map(next));
            assert_eq!([&mut one.extension, &mut one.noise].map(next), blocks[bit]);
            assert!(blocks[0][0] != blocks[1][0] && blocks[0][1] != blocks[1][1]);
            assert_ne!(blocks[0][0], blocks[0][1]);
        }
    }

    #[test]
    fn another_session_gives_other_keys() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let pairs = KeyPairs::open(&mut rng);
        let (mut chosen, points) = choose(&[7; 64], pairs.opening(), 0, &mut rng).unwrap();
        let mut both = pairs.on_points(&[8; 64], &points).unwrap();
        assert_ne!(next(&mut chosen[0].extension), next(&mut both[0][0].extension));
    }

    #[test]
    fn identity_garbage_and_wrong_lengths_are_refused() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let pairs = KeyPairs::open(&mut rng);
        for opening in [[0; 32], [0xff; 32]] {
            assert_eq!(choose(&[0; 64], &opening, 1, &mut rng).unwrap_err(), VoleError::Element);
        }
        let short = choose(&[0; 64], &[1; 31], 1, &mut rng).unwrap_err();
        assert_eq!(short, VoleError::Length { expected: 32, found: 31 });
        let (_, mut points) = choose(&[0; 64], pairs.opening(), 1, &mut rng).unwrap();
        points[32 * 127..].fill(0);
        assert_eq!(pairs.on_points(&[0; 64], &points).unwrap_err(), VoleError::Element);
        let error = pairs.on_points(&[0; 64], &points[1..]).unwrap_err();
        assert_eq!(error, VoleError::Length { expected: 4_096, found: 4_095 });
    }
}
