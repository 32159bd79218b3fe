//! The portable twin: `curve25519-dalek`, point by point.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::Identity as _;
use curve25519_dalek::{RistrettoPoint, Scalar};
use zeroize::Zeroize as _;

pub(super) fn decode(encodings: &[[u8; 32]]) -> Result<Vec<RistrettoPoint>, usize> {
    let points = encodings.iter().enumerate();
    points.map(|(i, encoding)| CompressedRistretto(*encoding).decompress().ok_or(i)).collect()
}

pub(super) fn from_uniform(strings: &[[u8; 64]]) -> Vec<RistrettoPoint> {
    strings.iter().map(RistrettoPoint::from_uniform_bytes).collect()
}

pub(super) fn multiply_base(scalars: &[Scalar]) -> Vec<RistrettoPoint> {
    scalars.iter().map(RistrettoPoint::mul_base).collect()
}

pub(super) fn multiply(points: &mut [RistrettoPoint], scalar: &Scalar) {
    points.iter_mut().for_each(|point| *point *= scalar);
}

pub(super) fn multiply_each(points: &mut [RistrettoPoint], scalars: &[Scalar]) {
    points.iter_mut().zip(scalars).for_each(|(point, scalar)| *point *= scalar);
}

pub(super) fn multiply_small(points: &mut [RistrettoPoint], factors: &[i32]) {
    for (point, factor) in points.iter_mut().zip(factors) {
        *point *= small(*factor);
    }
}

/// In constant time: as much above −2³² as the sum with it says.
fn small(value: i32) -> Scalar {
    const LOWEST: u64 = 1 << 32;
    Scalar::from(LOWEST.wrapping_add_signed(i64::from(value))) - Scalar::from(LOWEST)
}

pub(super) fn add(points: &mut [RistrettoPoint], others: &[RistrettoPoint]) {
    points.iter_mut().zip(others).for_each(|(point, other)| *point += other);
}

pub(super) fn double(points: &mut [RistrettoPoint]) {
    points.iter_mut().for_each(|point| *point += *point);
}

pub(super) fn negate(points: &mut [RistrettoPoint]) {
    points.iter_mut().for_each(|point| *point = -*point);
}

pub(super) fn encode(points: &[RistrettoPoint]) -> Vec<[u8; 32]> {
    points.iter().map(|point| point.compress().to_bytes()).collect()
}

pub(super) fn encode_doubled(points: &[RistrettoPoint]) -> Vec<[u8; 32]> {
    let encodings = RistrettoPoint::double_and_compress_batch(points);
    encodings.iter().map(CompressedRistretto::to_bytes).collect()
}

/// A vector that grows by itself leaves its old memory unwiped.
pub(super) fn append(points: &mut Vec<RistrettoPoint>, others: &[RistrettoPoint]) {
    if points.len() + others.len() > points.capacity() {
        let mut longer = Vec::with_capacity((points.len() + others.len()).max(2 * points.len()));
        longer.extend_from_slice(points);
        points.zeroize();
        *points = longer;
    }
    points.extend_from_slice(others);
}

pub(super) fn gather(
    points: &[RistrettoPoint],
    indices: impl Iterator<Item = Option<usize>>,
) -> Vec<RistrettoPoint> {
    indices.map(|index| index.map_or_else(RistrettoPoint::identity, |index| points[index])).collect()
}
