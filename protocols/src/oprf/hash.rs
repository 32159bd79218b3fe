//! Hashing to the group and to scalars: RFC 9380 `expand_message_xmd` with SHA-512, eight messages at a time, and
//! the contexts that keep uses of the oblivious PRF apart.

use std::sync::LazyLock;

use curve25519_dalek::Scalar;
use windvane_kernels::sha512::{BLOCK_BYTES, DIGEST_BYTES, INITIAL, Message, Midstate, digest_each};
use zeroize::Zeroizing;

/// Output length of SHA-512, and of every expansion that this suite needs.
pub(super) const WIDE: usize = DIGEST_BYTES;

/// RFC 9380 begins the first hash with one block of zeros, which is hashed once for all.
static ZEROS: LazyLock<Midstate> = LazyLock::new(|| INITIAL.after(&[0; BLOCK_BYTES]));

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
    /// bytes that the one-way map takes to an element, for each input.
    pub(crate) fn uniform<'a>(
        &self,
        inputs: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Zeroizing<Vec<[u8; WIDE]>> {
        expand(inputs.map(|input| [input]), self.hash_to_group)
    }

    /// RFC 9497 `HashToScalar`; the parts are hashed as one message.
    pub(super) fn scalar<const N: usize>(&self, parts: [&[u8]; N]) -> Scalar {
        wide_scalar(parts, self.hash_to_scalar)
    }

    /// [`Self::scalar`] of each message.
    pub(super) fn scalars<'a, const N: usize>(
        &self,
        messages: impl ExactSizeIterator<Item = [&'a [u8]; N]>,
    ) -> Vec<Scalar> {
        expand(messages, self.hash_to_scalar).iter().map(Scalar::from_bytes_mod_order_wide).collect()
    }
}

/// 64 uniform bytes of a message, reduced modulo the group order.
pub(super) fn wide_scalar<const N: usize>(parts: [&[u8]; N], tag: &[u8]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&expand(std::iter::once(parts), tag)[0])
}

/// `expand_message_xmd` of RFC 9380, section 5.3.1, for exactly one block of output, of each message. The parts of
/// one are hashed as one.
fn expand<'a, const N: usize>(
    messages: impl ExactSizeIterator<Item = [&'a [u8]; N]>,
    tag: &[u8],
) -> Zeroizing<Vec<[u8; WIDE]>> {
    let tag_len = u8::try_from(tag.len()).expect("domain separation tags are short constants");
    let end = |begin: &[u8]| [begin, tag, &[tag_len]].concat();
    let [wide, short] = (WIDE as u16).to_be_bytes();
    let (first_end, second_end) = (end(&[wide, short, 0]), end(&[1]));
    let first = messages.map(|parts| Message { start: &ZEROS, parts, end: &first_end });
    let first = Zeroizing::new(digest_each(first));
    let second = first.iter().map(|first| Message { start: &INITIAL, parts: [&first[..]], end: &second_end });
    Zeroizing::new(digest_each(second))
}
