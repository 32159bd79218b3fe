//! Many ciphertexts at a time, as they travel and as they are calculated with.

use std::ops::Range;

use windvane_kernels::ristretto::Points;

use super::{ElGamalError, LEAST};
use crate::limits::MAX_TRAINING_ROWS;
use crate::oprf::ELEMENT_BYTES;
use crate::parallel::in_ranges;

/// Bytes of a ciphertext: the canonical encodings of A and B.
pub const CIPHERTEXT_BYTES: usize = 2 * ELEMENT_BYTES;

/// A ciphertext as it travels.
pub type EncodedCiphertext = [u8; CIPHERTEXT_BYTES];

/// A statistic's ciphertexts, or what was made of them; see the page of [`super`] for why they carry halves.
#[derive(Clone, Debug)]
pub struct Ciphertexts {
    pub(in super::super) a: Points,
    pub(in super::super) b: Points,
}

impl Ciphertexts {
    /// None.
    pub fn empty() -> Self {
        Self { a: Points::concat(&[]), b: Points::concat(&[]) }
    }

    /// Reads ciphertexts that stand one after another, at most [`MAX_TRAINING_ROWS`].
    ///
    /// # Errors
    /// [`ElGamalError::Length`]; [`ElGamalError::InvalidCiphertext`] for an encoding that is not canonical or is the
    /// identity, which no honest ciphertext holds but with a chance of 2⁻²⁵¹.
    pub fn decode(bytes: &[u8], threads: usize) -> Result<Self, ElGamalError> {
        let (encoded, rest) = bytes.as_chunks::<CIPHERTEXT_BYTES>();
        if !rest.is_empty() || encoded.len() > MAX_TRAINING_ROWS {
            return Err(ElGamalError::Length { found: bytes.len() });
        }
        // Each thread names the first bad one of its part, and the first part that failed counts.
        let parts = in_ranges(threads, encoded.len(), LEAST, |range| decode_part(encoded, range));
        Ok(Self::concat(&parts.into_iter().collect::<Result<Vec<_>, _>>()?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.a.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of all parts.
    #[must_use]
    pub fn concat(parts: &[Self]) -> Self {
        let join = |half: fn(&Self) -> &Points| Points::concat(&parts.iter().map(half).collect::<Vec<_>>());
        Self { a: join(|part| &part.a), b: join(|part| &part.b) }
    }

    /// Those of a range.
    ///
    /// # Panics
    /// When the range is out of bounds.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self { a: self.a.slice(range.clone()), b: self.b.slice(range) }
    }

    /// Each plus the other at its place: an encryption of the sum.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add_assign(&mut self, other: &Self) {
        self.a.add_assign(&other.a);
        self.b.add_assign(&other.b);
    }

    /// Each times its small integer: an encryption of the product.
    pub(in super::super) fn times(&self, factors: &[i32]) -> Self {
        Self { a: self.a.mul_each_small(factors), b: self.b.mul_each_small(factors) }
    }

    /// The encodings, with a square root each: for tests and evidence. What travels is made by
    /// [`super::Encryptor`] and [`Self::answers`].
    pub fn encode(&self) -> Vec<EncodedCiphertext> {
        join(&self.a.encode(), &self.b.encode()).collect()
    }

    /// The encodings of the doubles: what a provider returns, and [`Answers`] reads.
    pub fn answers(&self) -> Vec<EncodedCiphertext> {
        join(&self.a.encode_doubled(), &self.b.encode_doubled()).collect()
    }
}

fn decode_part(encoded: &[EncodedCiphertext], range: Range<usize>) -> Result<Ciphertexts, ElGamalError> {
    let first = range.start;
    let half = |at: usize| {
        let halves = encoded[range.clone()].iter().map(|bytes| bytes.as_chunks::<ELEMENT_BYTES>().0[at]);
        Points::decode_nonidentity(&halves.collect::<Vec<_>>()).map_err(|error| first + error.index)
    };
    match (half(0), half(1)) {
        (Ok(a), Ok(b)) => Ok(Ciphertexts { a, b }),
        (Err(a), Err(b)) => Err(ElGamalError::InvalidCiphertext { index: a.min(b) }),
        (Err(index), _) | (_, Err(index)) => Err(ElGamalError::InvalidCiphertext { index }),
    }
}

/// Ciphertexts from their halves.
pub(super) fn join<'a>(
    a: &'a [[u8; ELEMENT_BYTES]],
    b: &'a [[u8; ELEMENT_BYTES]],
) -> impl Iterator<Item = EncodedCiphertext> + 'a {
    a.iter().zip(b).map(|(a, b)| {
        let mut joined = [0; CIPHERTEXT_BYTES];
        joined[..ELEMENT_BYTES].copy_from_slice(a);
        joined[ELEMENT_BYTES..].copy_from_slice(b);
        joined
    })
}

/// What the label holder decrypts: (ρ·G, m·G + ρ·Y).
#[derive(Clone, Debug)]
pub struct Answers(pub(super) Ciphertexts);

impl Answers {
    /// Reads as many answers as were asked for.
    ///
    /// # Errors
    /// [`ElGamalError::Count`], and as for [`Ciphertexts::decode`]: the peer misbehaved.
    pub fn decode(bytes: &[u8], expected: usize, threads: usize) -> Result<Self, ElGamalError> {
        if bytes.len() != expected.saturating_mul(CIPHERTEXT_BYTES) {
            return Err(ElGamalError::Count { expected, found: bytes.len() / CIPHERTEXT_BYTES });
        }
        Ciphertexts::decode(bytes, threads).map(Self)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each plus another provider's at its place.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add_assign(&mut self, other: &Self) {
        self.0.add_assign(&other.0);
    }
}
