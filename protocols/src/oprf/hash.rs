//! Hashing to the group and to scalars: RFC 9380 `expand_message_xmd` with SHA-512, and the contexts that
//! keep uses of the oblivious PRF apart.

use std::sync::LazyLock;

use curve25519_dalek::Scalar;
use sha2::{Digest as _, Sha512};

/// Output length of SHA-512, and of every expansion that this suite needs.
pub(super) const WIDE: usize = 64;

/// Input block of SHA-512: RFC 9380 begins the first hash with one block of zeros.
const BLOCK: usize = 128;

/// SHA-512 after that block, which is hashed once.
static ZEROS: LazyLock<Sha512> = LazyLock::new(|| Sha512::new_with_prefix([0; BLOCK]));

/// RFC 9497's `contextString` and the domain separation tags made of it.
///
/// Another use of the same mathematics (scoring) has a context of its own, so that no answer of one use is
/// an answer of another.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    pub(super) hash_to_group: &'static [u8],
    pub(super) hash_to_scalar: &'static [u8],
    pub(super) derive_key_pair: &'static [u8],
    pub(super) seed: &'static [u8],
}

macro_rules! context {
    ($context:literal) => {
        Context {
            hash_to_group: concat!("HashToGroup-", $context).as_bytes(),
            hash_to_scalar: concat!("HashToScalar-", $context).as_bytes(),
            derive_key_pair: concat!("DeriveKeyPair", $context).as_bytes(),
            seed: concat!("Seed-", $context).as_bytes(),
        }
    };
}

impl Context {
    /// Lookup: RFC 9497, mode VOPRF, suite ristretto255-SHA512, unchanged.
    pub const LOOKUP: Self = context!("OPRFV1-\x01-ristretto255-SHA512");

    /// Mode OPRF of the RFC: subject tags of the bank's own log, which nobody else evaluates.
    pub const SUBJECT: Self = context!("OPRFV1-\x00-ristretto255-SHA512");

    /// The joint score: positions are hashed, and several keys answer. The tag is short so that a position with
    /// its context fits into one block of SHA-512.
    pub const SCORE: Self = context!("WindvaneScoreV1-R255");

    /// Mode POPRF of the RFC, for its published vectors.
    #[cfg(test)]
    pub(super) const PARTIAL: Self = context!("OPRFV1-\x02-ristretto255-SHA512");

    /// The first half of RFC 9497 `HashToGroup` (RFC 9380, appendix B: `hash_to_ristretto255`): the uniform
    /// bytes that the one-way map takes to an element.
    pub(crate) fn uniform(&self, input: &[u8]) -> [u8; WIDE] {
        expand(&[input], self.hash_to_group)
    }

    /// RFC 9497 `HashToScalar`; the parts are hashed as one message.
    pub(super) fn scalar(&self, parts: &[&[u8]]) -> Scalar {
        wide_scalar(parts, self.hash_to_scalar)
    }
}

/// 64 uniform bytes of a message, reduced modulo the group order.
pub(super) fn wide_scalar(parts: &[&[u8]], tag: &[u8]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&expand(parts, tag))
}

/// `expand_message_xmd` of RFC 9380, section 5.3.1, for exactly one block of output.
fn expand(parts: &[&[u8]], tag: &[u8]) -> [u8; WIDE] {
    let tag_len = [u8::try_from(tag.len()).expect("domain separation tags are short constants")];
    let mut first = ZEROS.clone();
    parts.iter().for_each(|part| first.update(part));
    first.update((WIDE as u16).to_be_bytes());
    first.update([0]);
    first.update(tag);
    first.update(tag_len);
    Sha512::new()
        .chain_update(first.finalize())
        .chain_update([1])
        .chain_update(tag)
        .chain_update(tag_len)
        .finalize()
        .into()
}
