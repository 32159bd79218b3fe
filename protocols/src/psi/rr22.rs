//! RR22: one bucket's intersection, given a vector OLE.
//!
//! P. Rindal, S. Raghuraman, "Blazing Fast PSI from Improved OKVS and Subfield VOLE" (CCS 2022, ePrint
//! 2022/320), the semi-honest protocol over F = GF(2^128):
//!
//! 1. the receiver picks seeds r, r′ and encodes P = Encode({(x, H_B(x, r′))}; r), [`Encoded`];
//! 2. of a vector OLE of |P| elements the sender holds Δ, B and the receiver A′, C = ΔA′ + B;
//! 3. the receiver sends r, r′ and A = P + A′, [`Masked`]; the sender has K = B + ΔA, [`AwaitEncoding`];
//! 4. the sender sends Ho(Decode(K, y; r) − Δ·H_B(y, r′)) for each of its y, [`Records`];
//! 5. the receiver compares with Ho(Decode(C, x; r)), [`AwaitRecords`].
//!
//! For y of the receiver's set both are Ho(Decode(C, y)), because Decode is linear. For any other y the
//! sender's value has in it Δ·(Decode(P, y) − H_B(y)), with a factor that is 0 with a probability of 2^-128.
//!
//! **Promised** against parties that follow the protocol: the receiver learns which of its keys the sender
//! has, and their payload; the sender learns nothing. **Not promised**: anything against a party that
//! deviates. The published bound on how many items a deviating receiver can pack into an encoding was shown
//! wrong (Asiacrypt 2024), so no malicious security is claimed, with whatever checks.
//!
//! **Decisions.**
//! - *The store* is RB-OKVS, not the paper's own three-hash store: [`super::okvs`] says why.
//! - *Hashes.* Keys are 128-bit outputs of a hash that is salted by both parties. H_B is AES under r′, Ho is
//!   AES under a key from r and r′, both as the correlation-robust hash of [`windvane_kernels::aes`]. Fresh
//!   seeds keep buckets and attempts apart.
//! - *Order.* Records travel in ascending order of their digests. The order is a function of the set of
//!   digests, and says as little about the order of the sender's rows as the paper's random permutation.
//! - *Padding.* The sender fills up with random records, which cannot be told from those of unmatched keys.
//!   The receiver needs no dummies: A is masked by A′, its length comes from the padded bound, and fewer keys
//!   only leave more of the store free.
//! - *Payload* travels under a key from the key's own value before Ho, which the receiver knows for matched
//!   keys and cannot guess for others. One SHA-256 of 44 bytes is enough of a key derivation: value and label
//!   fill one block, and the value is uniform.
//!
//! **Bytes.** Elements of A are little-endian, 16 bytes each; a digest is the upper end of a block, in
//! big-endian order, so that records sort as byte strings.

use sha2::{Digest as _, Sha256};
use windvane_kernels::aes::Aes128;
use zeroize::Zeroizing;

use super::okvs::{OkvsError, Shape};
use super::{Parameters, STATISTICAL_BITS};
use crate::limits::{MAX_OKVS_ROWS, MAX_PSI_PAYLOAD_BYTES};

mod cutter;
mod payload;
mod receiver;
mod sender;
mod share;
#[cfg(test)]
mod tests;

pub use receiver::{AwaitRecords, Decoding, Encoded, Intersection, Masked};
pub use sender::{AwaitEncoding, AwaitSeeds, Records};
pub use share::{ReceiverShare, SenderShare};

/// Bytes of a field element.
const ELEMENT_BYTES: usize = 16;

/// Bytes of the two seeds.
pub const SEEDS_BYTES: usize = 32;

/// Longest digest, bytes: a block of Ho has no more.
pub const MAX_DIGEST_BYTES: usize = 16;

/// Shortest digest, bytes.
pub const MIN_DIGEST_BYTES: usize = 8;

/// What can go wrong in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rr22Error {
    /// The store; [`OkvsError::Unsolvable`] asks for another attempt with fresh seeds.
    #[error(transparent)]
    Okvs(#[from] OkvsError),
    /// The failure budget asks for longer digests than there are.
    #[error("digests have {MIN_DIGEST_BYTES} to {MAX_DIGEST_BYTES} bytes, {found} were asked for")]
    DigestBytes {
        /// Bytes asked for.
        found: usize,
    },
    /// More keys than the bucket's padded bound.
    #[error("the bucket has at most {expected} keys, found {found}")]
    Keys {
        /// The bound.
        expected: usize,
        /// Keys given.
        found: usize,
    },
    /// A share of another length than the store.
    #[error("expected a vector OLE of {expected} elements, found {found}")]
    Share {
        /// Elements of the store.
        expected: usize,
        /// Elements of the share.
        found: usize,
    },
    /// Not one payload for each key, or one where none travels.
    #[error("expected {expected} payloads, found {found}")]
    Payloads {
        /// How many travel.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A payload that is longer than the longest.
    #[error("a payload has at most {expected} bytes, found {found}")]
    PayloadBytes {
        /// Bytes of the longest.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The peer sent more than it declared.
    #[error("the peer sent more than the {expected} bytes of the message")]
    TooLong {
        /// The message's bytes.
        expected: usize,
    },
    /// The peer sent less than it declared.
    #[error("the peer sent {found} of the {expected} bytes of the message")]
    TooShort {
        /// The message's bytes.
        expected: usize,
        /// Bytes received.
        found: usize,
    },
    /// The peer's records do not ascend.
    #[error("the peer's record {index} is smaller than the one before")]
    RecordOrder {
        /// The record's index.
        index: usize,
    },
    /// A record matches, and its payload is not sealed under the key's value.
    #[error("the payload of the peer's record {index} does not open")]
    SealedPayload {
        /// The record's index.
        index: usize,
    },
}

/// What both parties know of a bucket before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    shape: Shape,
    sender_keys: usize,
    digest_bytes: usize,
    payload_bytes: usize,
}

/// What a [`Plan`] is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    /// The receiver's keys, padded.
    receiver_keys: usize,
    /// The sender's keys, padded: so many records travel.
    sender_keys: usize,
    /// Bytes of a digest.
    digest_bytes: usize,
    /// Bytes of the longest payload; 0 when none travels.
    payload_bytes: usize,
    /// Encoding fails with at most two to the minus this.
    failure_bits: u32,
}

impl Plan {
    /// The plan of every bucket of a job. An encoding fails with a probability of at most 2^-(λ + log2 B), which
    /// is 2^-λ for the B buckets of the job.
    ///
    /// # Errors
    /// [`Rr22Error::DigestBytes`], [`Rr22Error::Keys`], [`Rr22Error::Okvs`]: the sizes are not allowed.
    pub fn of(parameters: &Parameters) -> Result<Self, Rr22Error> {
        Self::new(Bucket {
            receiver_keys: parameters.receiver_bound(),
            sender_keys: parameters.sender_bound(),
            digest_bytes: parameters.digest_bytes(),
            payload_bytes: parameters.sizes().payload_bytes,
            failure_bits: STATISTICAL_BITS + parameters.buckets().ilog2(),
        })
    }

    fn new(bucket: Bucket) -> Result<Self, Rr22Error> {
        let Bucket { receiver_keys, sender_keys, digest_bytes, payload_bytes, failure_bits } = bucket;
        if !(MIN_DIGEST_BYTES..=MAX_DIGEST_BYTES).contains(&digest_bytes) {
            return Err(Rr22Error::DigestBytes { found: digest_bytes });
        }
        if sender_keys > MAX_OKVS_ROWS {
            return Err(Rr22Error::Keys { expected: MAX_OKVS_ROWS, found: sender_keys });
        }
        if payload_bytes > MAX_PSI_PAYLOAD_BYTES {
            return Err(Rr22Error::PayloadBytes { expected: MAX_PSI_PAYLOAD_BYTES, found: payload_bytes });
        }
        let shape = Shape::new(receiver_keys, failure_bits)?;
        Ok(Self { shape, sender_keys, digest_bytes, payload_bytes })
    }

    /// Elements of the vector OLE.
    pub const fn columns(&self) -> usize {
        self.shape.columns()
    }

    /// Bytes of the receiver's message A.
    pub const fn encoding_bytes(&self) -> usize {
        ELEMENT_BYTES * self.columns()
    }

    /// Bytes of the sender's message.
    pub const fn records_bytes(&self) -> usize {
        self.sender_keys * self.record_bytes()
    }

    /// Bytes of one record: digest, and payload with its tag.
    pub const fn record_bytes(&self) -> usize {
        self.digest_bytes + payload::sealed_bytes(self.payload_bytes)
    }

    fn check_keys(&self, expected: usize, found: usize) -> Result<(), Rr22Error> {
        if found > expected { Err(Rr22Error::Keys { expected, found }) } else { Ok(()) }
    }

    fn check_share(&self, found: usize) -> Result<(), Rr22Error> {
        let expected = self.columns();
        if found == expected { Ok(()) } else { Err(Rr22Error::Share { expected, found }) }
    }

    /// A digest as a number.
    const fn digest(&self, block: u128) -> u128 {
        block >> (128 - 8 * self.digest_bytes)
    }
}

/// The receiver's seeds: r for the rows, r′ for the values.
#[derive(Debug, Clone, Copy)]
struct Seeds {
    rows: u128,
    values: u128,
}

impl Seeds {
    fn from_bytes(bytes: &[u8; SEEDS_BYTES]) -> Self {
        let (halves, _) = bytes.as_chunks();
        Self { rows: u128::from_le_bytes(halves[0]), values: u128::from_le_bytes(halves[1]) }
    }

    fn to_bytes(self) -> [u8; SEEDS_BYTES] {
        let mut bytes = [0; SEEDS_BYTES];
        bytes[..16].copy_from_slice(&self.rows.to_le_bytes());
        bytes[16..].copy_from_slice(&self.values.to_le_bytes());
        bytes
    }

    /// H_B(x, r′) for each key.
    fn values(&self, keys: &[u128]) -> Zeroizing<Vec<u128>> {
        let mut values = Zeroizing::new(keys.to_vec());
        Aes128::new(self.values).hash_slice(&mut values);
        values
    }

    /// Ho.
    fn outer_hash(&self) -> Aes128 {
        let hash = Sha256::new()
            .chain_update(b"windvane/psi-rr22/outer/v1")
            .chain_update(self.rows.to_le_bytes())
            .chain_update(self.values.to_le_bytes())
            .finalize();
        let (halves, _) = hash.as_chunks();
        Aes128::new(u128::from_le_bytes(halves[0]))
    }
}
