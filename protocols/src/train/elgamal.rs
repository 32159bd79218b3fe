//! Exponential ElGamal (ElGamal 1985, with the message in the exponent as in Cramer, Gennaro and Schoenmakers
//! 1997) on ristretto255, under the label holder's key.
//!
//! **Ciphertexts.** Y = y·G is the key. A statistic's ciphertext of the integer m is (A, B) = (ρ·G, m/2·G + ρ·Y), where
//! m/2 is taken modulo the group's order. What a provider makes of ciphertexts it returns as their *doubles*, the
//! [`Answers`], which carry m itself: encodings of doubles need no square root
//! ([`windvane_kernels::ristretto::Points::encode_doubled`]), and only the label holder's scalars can be halved.
//!
//! **Randomness.** ρ = 2·h with h = SHA-512(K ‖ statistic ‖ row) modulo the order, where K fills one block and is derived from a
//! seed, as y is. All inputs have one length, so this is the cascade of Bellare, Canetti and Krawczyk (FOCS 1996), a
//! pseudorandom function for inputs of which none begins another. The receipt commits to the seed: an auditor
//! encrypts the statistics again and compares digests ([`StatisticDigest`]). **A statistic is encrypted once under a
//! seed**: two encryptions of one row with the same randomness would show the difference of their integers.
//!
//! **Promised**: the seed, y, randomness and encrypted integers are handled in constant time and wiped. Semantic
//! security under DDH. **Not promised**: ciphertexts can be changed by whoever holds them, which is what they are
//! for; nothing here proves that a provider's answer was made of them.

use std::sync::Arc;

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use windvane_kernels::ristretto::{FixedBase, Points};
use windvane_kernels::sha512::{BLOCK_BYTES, INITIAL, Message, Midstate, digest_each};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::decode::{DecodeError, Decoder};
use crate::kdf;
use crate::limits::{MAX_TRAINING_ROWS, MAX_TRAINING_SUM};
use crate::oprf::ELEMENT_BYTES;
use crate::parallel::{in_parts, in_ranges};
use crate::secret::{self, Secret};
use crate::transcript;

mod ciphertext;
mod stream;
#[cfg(test)]
mod tests;

pub use ciphertext::{Answers, CIPHERTEXT_BYTES, Ciphertexts, EncodedCiphertext};
pub use stream::{Encryptor, Receiver, StatisticDigest};

/// What can go wrong with keys and ciphertexts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElGamalError {
    /// Not the canonical encoding of an element other than the identity.
    #[error("the public key is not a canonical encoding, or is the identity")]
    InvalidKey,
    /// The peer sent a ciphertext that is none.
    #[error("ciphertext {index} is not a canonical encoding, or has the identity as a half")]
    InvalidCiphertext {
        /// Its place, from the first row on.
        index: usize,
    },
    /// Bytes that are no whole number of ciphertexts, or of more of them than a message has.
    #[error("a message has whole ciphertexts within its limit, found {found} bytes")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Another number of ciphertexts than announced or asked for.
    #[error("expected {expected} ciphertexts, found {found}")]
    Count {
        /// Expected.
        expected: usize,
        /// Found.
        found: usize,
    },
    /// More rows than a training takes.
    #[error("a training has at most {MAX_TRAINING_ROWS} rows, found {found}")]
    Rows {
        /// Rows announced.
        found: usize,
    },
    /// An integer that is not to be encrypted.
    #[error("the integer of row {row} is beyond {MAX_TRAINING_SUM}")]
    Value {
        /// The row.
        row: usize,
    },
    /// Answers that do not decrypt to an integer within its bound.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What is encrypted for every listed row. Its number separates the randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// Whether the row is real: 1, or 0 for a decoy.
    Indicator,
    /// Whether the row is held out: 1, or 0 for a row to train on and for a decoy. It counts for nothing in a sum.
    HeldOut,
    /// The residual at the beginning of a block.
    Residual {
        /// The block.
        block: u16,
    },
}

impl Statistic {
    /// 0 for the indicator, 1 + block for residuals, and 2³² for what is held out.
    pub const fn number(self) -> u64 {
        match self {
            Self::Indicator => 0,
            Self::HeldOut => 1 << 32,
            Self::Residual { block } => 1 + block as u64,
        }
    }
}

/// 32 uniform bytes, fresh for a training, from which the label holder's key and all its randomness follow.
#[derive(Clone, Debug)]
pub struct TrainingSeed(Secret<[u8; 32]>);

impl TrainingSeed {
    /// A fresh seed.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(Secret::new(bytes))
    }

    /// A seed from a sealed store, or as shown to an auditor.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes, for a sealed store or an auditor: whoever has them decrypts everything.
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// What the receipt carries: a commitment ([`transcript::commit`]) under a fresh salt.
    pub fn commitment(&self, salt: &[u8; 32]) -> [u8; 32] {
        transcript::commit(salt, self.expose())
    }

    /// HKDF of the seed, with info = len16 ‖ label ‖ len16 ‖ nothing ‖ 0 as u64: a seed belongs to one training.
    fn expand(&self, label: &str) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        kdf::extract(self.expose())
            .expand(&kdf::info(label, "", 0), bytes.as_mut_slice())
            .expect("64 bytes are a valid length");
        bytes
    }
}

/// The label holder's key of one training.
pub struct TrainingKey {
    y: Scalar,
    /// K, hashed: one block.
    randomness: Midstate,
    public: PublicKey,
}

impl TrainingKey {
    /// The key of a seed.
    pub fn derive(seed: &TrainingSeed) -> Self {
        let y = Scalar::from_bytes_mod_order_wide(&seed.expand("train-key"));
        let mut block = Zeroizing::new([0; BLOCK_BYTES]);
        block[..64].copy_from_slice(seed.expand("train-randomness").as_slice());
        let bytes = Points::mul_base(&[y]).encode()[0];
        let public = PublicKey::from_bytes(bytes).expect("a derived key is zero for no known seed");
        Self { y, randomness: INITIAL.after(&block), public }
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The statistic's ciphertexts of rows from `first` on, as they travel. It costs two multiples of the generator
    /// a row, since y is known: B = (m/2 + ρ·y)·G.
    fn encrypt(
        &self,
        statistic: Statistic,
        first: usize,
        values: &[i64],
        threads: usize,
    ) -> Result<Vec<EncodedCiphertext>, ElGamalError> {
        let end = first.saturating_add(values.len());
        if end > MAX_TRAINING_ROWS {
            return Err(ElGamalError::Rows { found: end });
        }
        if let Some(row) = values.iter().position(|value| value.unsigned_abs() > MAX_TRAINING_SUM) {
            return Err(ElGamalError::Value { row: first + row });
        }
        let rows: Vec<_> = (first as u32..).zip(values.iter().copied()).collect();
        let rows = Zeroizing::new(rows);
        in_parts(threads, &rows, |rows| Ok(self.encrypt_rows(statistic, rows)))
    }

    /// Halves of A and B are computed, and their doubles encoded.
    fn encrypt_rows(&self, statistic: Statistic, rows: &[(u32, i64)]) -> Vec<EncodedCiphertext> {
        let quarter = Scalar::ONE.div_by_2().div_by_2();
        let mut encoded = Vec::with_capacity(rows.len());
        for rows in rows.chunks(BATCH) {
            let random = self.randomness(statistic, rows.iter().map(|row| row.0));
            let messages = random.iter().zip(rows).map(|(h, row)| h * self.y + quarter * integer(row.1));
            let b = secret::collect(rows.len(), messages);
            let halves = [Points::mul_base(&random), Points::mul_base(&b)].map(|half| half.encode_doubled());
            encoded.extend(ciphertext::join(&halves[0], &halves[1]));
        }
        encoded
    }

    /// h for each row.
    fn randomness(
        &self,
        statistic: Statistic,
        rows: impl ExactSizeIterator<Item = u32> + Clone,
    ) -> Zeroizing<Vec<Scalar>> {
        let inputs: Vec<_> = rows
            .map(|row| {
                let mut input = [0; 16];
                input[..8].copy_from_slice(&statistic.number().to_be_bytes());
                input[8..].copy_from_slice(&u64::from(row).to_be_bytes());
                input
            })
            .collect();
        let message = |input| Message { start: &self.randomness, parts: [], end: input };
        let digests = Zeroizing::new(digest_each(inputs.iter().map(|input| message(&input[..]))));
        secret::collect(inputs.len(), digests.iter().map(Scalar::from_bytes_mod_order_wide))
    }

    /// The integers of answers. Constant time in the key, not in the integers: they are the label holder's own.
    ///
    /// # Errors
    /// [`ElGamalError::Decode`] names the first that is not within the decoder's bound.
    pub fn decrypt(
        &self,
        answers: &Answers,
        decoder: &Decoder,
        threads: usize,
    ) -> Result<Vec<i64>, ElGamalError> {
        let parts = in_ranges(threads, answers.len(), LEAST, |range| {
            let first = range.start;
            decoder.decode(&self.decrypt_points(answers, range)).map_err(|error| error.after(first))
        });
        Ok(parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// B − y·A.
    fn decrypt_points(&self, answers: &Answers, range: std::ops::Range<usize>) -> Points {
        let mut points = answers.0.a.slice(range.clone());
        points.mul_assign(&Zeroizing::new(-self.y));
        points.add_assign(&answers.0.b.slice(range));
        points
    }
}

impl Zeroize for TrainingKey {
    fn zeroize(&mut self) {
        self.y.zeroize();
        self.randomness.zeroize();
    }
}

impl Drop for TrainingKey {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for TrainingKey {}

impl std::fmt::Debug for TrainingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrainingKey({:?})", self.public)
    }
}

/// Rows that are worked on at a time: few enough to stay in cache.
pub(super) const BATCH: usize = 512;

/// Rows below which another thread costs more than it brings.
pub(super) const LEAST: usize = 64;

/// The label holder's public key, with what a provider needs to encrypt under it. Clones share it.
#[derive(Clone)]
pub struct PublicKey(Arc<Key>);

struct Key {
    bytes: [u8; ELEMENT_BYTES],
    multiples: FixedBase,
}

impl PublicKey {
    /// Reads a canonical encoding.
    ///
    /// # Errors
    /// [`ElGamalError::InvalidKey`], also for the identity.
    pub fn from_bytes(bytes: [u8; ELEMENT_BYTES]) -> Result<Self, ElGamalError> {
        let point = Points::decode_nonidentity(&[bytes]).map_err(|_| ElGamalError::InvalidKey)?;
        Ok(Self(Arc::new(Key { bytes, multiples: FixedBase::new(&point) })))
    }

    /// The canonical encoding.
    pub fn as_bytes(&self) -> &[u8; ELEMENT_BYTES] {
        &self.0.bytes
    }

    /// Fresh encryptions of masks, or of zero: (ρ·G, mask·G + ρ·Y), with ρ as given.
    pub(super) fn encryptions(&self, random: &[Scalar], masks: Option<&[Scalar]>) -> Ciphertexts {
        let mut b = self.0.multiples.mul(random);
        if let Some(masks) = masks {
            b.add_assign(&Points::mul_base(masks));
        }
        Ciphertexts { a: Points::mul_base(random), b }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicKey(")?;
        self.0.bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}

/// A signed integer modulo the order, in constant time: as many above −2⁶³ as its bits say with the highest flipped.
fn integer(value: i64) -> Scalar {
    const LOWEST: u64 = 1 << 63;
    Scalar::from(value.cast_unsigned() ^ LOWEST) - Scalar::from(LOWEST)
}
