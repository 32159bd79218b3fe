//! Diffie-Hellman set intersection on ristretto255: the simplest protocol to review.
//!
//! The receiver blinds the hash of every item with its scalar a, the sender raises what it gets to its scalar
//! b and adds a tag for every item of its own; the receiver takes a away again and looks for the tags:
//!
//! ```text
//! receiver                                                         sender
//! H(x)^a, random elements up to the bound ───────────────────────►
//!          ◄────── (H(x)^a)^b in the same order ‖ tags of H(y)^b, sorted, random up to the bound ‖ payloads
//! ```
//!
//! Meadows, "A more efficient cryptographic matchmaking protocol" (1986); Huberman, Franklin, Hogg,
//! "Enhancing privacy and trust in electronic communities" (1999); with the tags hashed as in Jarecki, Liu,
//! "Fast secure computation of set intersection" (2010), who prove it under one-more gap Diffie-Hellman with
//! random oracles. Group, encoding and map are RFC 9496's; the identity is refused.
//!
//! **Modes.** With *intersection* the order is kept, so that the receiver knows which of its items matched.
//! With *cardinality* the sender answers in a secret random order: tags still match, but not to an item. With
//! *minimum* the receiver counts in the same way, and asks for the order only if it counted enough; the sender
//! reveals the permutation and learns only that it was asked. Payloads would open with the tags, before any
//! release, so those two modes carry none.
//!
//! Both scalars are fresh for every connection of a job: an unfinished bucket never sees one twice.

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use windvane_kernels::ristretto::{Points, decode_mul_encode, hash_mul_encode};
use windvane_kernels::sha512::{INITIAL, Message, digest_each};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{ItemKey, PSI_SALT_BYTES, Parameters};
use crate::oprf::nonzero;
use crate::parallel::in_parts;

mod payload;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

pub use receiver::{AwaitEvaluated, AwaitPermutation, Counted, Found, Match, Receiver};
pub use sender::{Sender, SenderItem, Withheld};

/// Bytes of an encoded element.
pub const ELEMENT_BYTES: usize = 32;

/// Bytes of a position in a revealed permutation.
pub const POSITION_BYTES: usize = 4;

/// Items that are hashed at a time: few enough to stay in cache.
const BATCH: usize = 256;

/// An encoded element.
type Encoded = [u8; ELEMENT_BYTES];

/// What can go wrong with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EcdhError {
    /// The peer sent an element that is not one, or the identity.
    #[error("an element is not a canonical encoding, or is the identity")]
    InvalidElement,
    /// The peer sent a message of another length than the parameters give.
    #[error("the message has {found} bytes, the parameters give {expected}")]
    Length {
        /// What the parameters give.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The peer's tags are not sorted.
    #[error("the tags are not in ascending order")]
    Order,
    /// The peer revealed something that is no permutation.
    #[error("the revealed order is not a permutation")]
    Permutation,
    /// The peer's payload does not open with its own tag.
    #[error("a matched payload does not open")]
    Payload,
    /// More items than the bucket's bound, or a payload longer than agreed: the caller's own fault.
    #[error("a bucket has more items, or a longer payload, than was agreed")]
    Bound,
}

/// A secret scalar, wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct SecretScalar(Scalar);

impl SecretScalar {
    fn random(rng: &mut impl CryptoRng) -> Self {
        Self(nonzero(rng))
    }

    fn inverse(&self) -> Self {
        Self(self.0.invert())
    }
}

impl std::fmt::Debug for SecretScalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretScalar(…)")
    }
}

/// Bytes of the receiver's first message.
pub const fn blinded_bytes(parameters: &Parameters) -> usize {
    parameters.receiver_bound() * ELEMENT_BYTES
}

/// Bytes of the sender's answer.
pub const fn answer_bytes(parameters: &Parameters) -> usize {
    let row = parameters.digest_bytes() + payload::sealed_bytes(parameters.sizes().payload_bytes);
    parameters.receiver_bound() * ELEMENT_BYTES + parameters.sender_bound() * row
}

/// Bytes of a revealed permutation.
pub const fn permutation_bytes(parameters: &Parameters) -> usize {
    parameters.receiver_bound() * POSITION_BYTES
}

/// H(x)^scalar for many items: SHA-512 under a domain of its own, RFC 9496's map, one multiplication.
fn hash_mul(items: &[ItemKey], scalar: &SecretScalar, threads: usize) -> Vec<Encoded> {
    let domain: &[u8] = b"windvane/psi-ecdh-item/v1";
    let batch = |items: &[ItemKey]| {
        let messages = items.iter().map(|item| Message { start: &INITIAL, parts: [domain], end: item });
        hash_mul_encode(&Zeroizing::new(digest_each(messages)), &scalar.0)
    };
    let work = |part: &[ItemKey]| Ok::<_, EcdhError>(part.chunks(BATCH).flat_map(batch).collect());
    in_parts(threads, items, work).expect("no step of it can fail")
}

/// element^scalar for many encodings.
///
/// # Errors
/// [`EcdhError::InvalidElement`].
fn decode_mul(
    elements: &[Encoded],
    scalar: &SecretScalar,
    threads: usize,
) -> Result<Vec<Encoded>, EcdhError> {
    let identity = [0; ELEMENT_BYTES];
    if elements.contains(&identity) {
        return Err(EcdhError::InvalidElement);
    }
    let work = |part: &[Encoded]| decode_mul_encode(part, &scalar.0).map_err(|_| EcdhError::InvalidElement);
    in_parts(threads, elements, work)
}

/// Elements that nobody can tell from blinded ones; no multiplication is needed for them.
fn random_elements(count: usize, rng: &mut impl CryptoRng) -> Vec<Encoded> {
    let mut uniform = vec![[0; 64]; count];
    uniform.iter_mut().for_each(|bytes| rng.fill_bytes(bytes));
    // The double of a uniform element is uniform.
    uniform.chunks(BATCH).flat_map(|batch| Points::from_uniform(batch).encode_doubled()).collect()
}

/// Tag and payload key of one PRF value: a tag is the first bytes of `tag`, as many as the parameters say.
struct Derived {
    tag: [u8; 16],
    key: [u8; 32],
}

/// SHA-512 under a domain of its own over the job's salt and each element.
fn derive(salt: &[u8; PSI_SALT_BYTES], elements: &[Encoded]) -> Vec<Derived> {
    let domain: &[u8] = b"windvane/psi-ecdh-tag/v1";
    let messages =
        elements.iter().map(|element| Message { start: &INITIAL, parts: [domain, salt], end: element });
    let hashes = Zeroizing::new(digest_each(messages));
    let split = |hash: &[u8; 64]| {
        let mut derived = Derived { tag: [0; 16], key: [0; 32] };
        derived.tag.copy_from_slice(&hash[..16]);
        derived.key.copy_from_slice(&hash[32..]);
        derived
    };
    hashes.iter().map(split).collect()
}

impl Drop for Derived {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

fn check_length(found: usize, expected: usize) -> Result<(), EcdhError> {
    if found == expected { Ok(()) } else { Err(EcdhError::Length { expected, found }) }
}
