//! Masks that sum to zero over the providers of a training: what one provider returns tells nothing, only the sum of
//! all answers decrypts (pairwise masking as in Ács and Castelluccia, "I have a DREAM!", IH 2011, and Bonawitz et al.,
//! "Practical secure aggregation", CCS 2017, without dropouts: a training needs all its parties).
//!
//! Every two providers derive a key from Diffie-Hellman of the ephemeral elements that they announced for this
//! training, with HKDF over the session, both names and both elements. For each number that is to be hidden, the pair
//! has a scalar, uniform modulo the group's order: SHA-512(K ‖ context ‖ label) with K in one block and labels of one
//! length, as in [`super::elgamal`]; the [`Context`] has what the pair was told alike so far. The provider whose name is the lower adds it, the other subtracts it.
//!
//! **Promised**: keys and masks are wiped, and made in constant time. **A label masks one number**: whoever sees two
//! numbers under one mask sees their difference, so an answer that is sent again is of the same number.
//! **Not promised**: that an element is the peer's own. Announcements are to be signed, or relayed by somebody who is
//! trusted not to exchange them.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::IsIdentity as _;
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use windvane_kernels::sha512::{BLOCK_BYTES, INITIAL, Message, Midstate, digest_each};
use zeroize::{Zeroize as _, Zeroizing};

use super::context::Context;
use super::scale::{Scale, Values};
use super::sums::Kind;
use crate::kdf;
use crate::limits::MAX_SCORE_PROVIDERS;
use crate::oprf::{ELEMENT_BYTES, nonzero};
use crate::party::{PartyId, SessionId};
use crate::secret;
use crate::transcript::Transcript;

/// Why parties cannot mask together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The peer announced no element, or the identity.
    #[error("{party} announced no canonical element other than the identity")]
    InvalidElement {
        /// Who.
        party: PartyId,
    },
    /// A party is named twice, or among its own peers.
    #[error("{party} stands twice among the parties")]
    Repeated {
        /// Who.
        party: PartyId,
    },
    /// More parties than a training has.
    #[error("masks are shared by at most {MAX_SCORE_PROVIDERS} parties, found {found}")]
    Parties {
        /// Parties, the own one included.
        found: usize,
    },
}

/// A provider's ephemeral secret of one training.
pub struct MaskingKey {
    secret: Zeroizing<Scalar>,
    public: [u8; ELEMENT_BYTES],
}

impl MaskingKey {
    /// A fresh key.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let secret = Zeroizing::new(nonzero(rng));
        let public = RistrettoPoint::mul_base(&secret).compress().to_bytes();
        Self { secret, public }
    }

    /// A key from a sealed store; `None` for bytes that no key has.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let secret = Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes)).map(Zeroizing::new)?;
        if *secret == Scalar::ZERO {
            return None;
        }
        let public = RistrettoPoint::mul_base(&secret).compress().to_bytes();
        Some(Self { secret, public })
    }

    /// The secret, for a sealed store.
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// The element to announce.
    pub const fn public(&self) -> &[u8; ELEMENT_BYTES] {
        &self.public
    }

    /// The masks of `own` with all other providers, by what they announced. `session` is the training's, the same for
    /// all of them.
    ///
    /// # Errors
    /// [`MaskError`].
    pub fn agree(
        &self,
        session: &SessionId,
        own: &PartyId,
        peers: &[(PartyId, [u8; ELEMENT_BYTES])],
    ) -> Result<Masks, MaskError> {
        if peers.len() >= MAX_SCORE_PROVIDERS {
            return Err(MaskError::Parties { found: peers.len() + 1 });
        }
        for (i, (party, _)) in peers.iter().enumerate() {
            if party == own || peers[..i].iter().any(|(other, _)| other == party) {
                return Err(MaskError::Repeated { party: party.clone() });
            }
        }
        let pair = |(peer, element): &(PartyId, _)| self.pair(session, (own, &self.public), (peer, element));
        Ok(Masks { pairs: peers.iter().map(pair).collect::<Result<_, _>>()? })
    }

    fn pair(
        &self,
        session: &SessionId,
        own: (&PartyId, &[u8; ELEMENT_BYTES]),
        peer: (&PartyId, &[u8; ELEMENT_BYTES]),
    ) -> Result<Pair, MaskError> {
        let element = CompressedRistretto(*peer.1).decompress().filter(|element| !element.is_identity());
        let element = element.ok_or_else(|| MaskError::InvalidElement { party: peer.0.clone() })?;
        let mut shared = element * *self.secret;
        let adds = own.0 < peer.0;
        let (lower, higher) = if adds { (own, peer) } else { (peer, own) };
        let binding = Transcript::new("windvane/train-mask/v1")
            .bytes("session", session.as_bytes())
            .text("lower", lower.0.as_str())
            .bytes("lower element", lower.1)
            .text("higher", higher.0.as_str())
            .bytes("higher element", higher.1)
            .digest();
        let mut info = kdf::info("train-mask", "", 0);
        info.extend_from_slice(&binding);
        let encoded = Zeroizing::new(shared.compress().to_bytes());
        shared.zeroize();
        let mut block = Zeroizing::new([0; BLOCK_BYTES]);
        kdf::extract(encoded.as_slice())
            .expand(&info, &mut block[..64])
            .expect("64 bytes are a valid length");
        Ok(Pair { key: INITIAL.after(&block), adds })
    }
}

impl std::fmt::Debug for MaskingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskingKey(…)")
    }
}

struct Pair {
    /// K, hashed: one block.
    key: Midstate,
    /// Whether the own name is the lower one.
    adds: bool,
}

/// Bytes of a label.
const LABEL_BYTES: usize = 16;

/// What a mask hides: one number of one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Label {
    /// A row's contribution of one block.
    Contribution {
        /// The block.
        block: u16,
        /// The row's place among the listed ones.
        row: u32,
    },
    /// A row's part of the joint score. Providers who were told different scales share no mask.
    Part {
        /// The row's place among the listed ones.
        row: u32,
        /// The common scale.
        scale: Scale,
        /// How many values parts have.
        values: Values,
    },
    /// A sum of one cell.
    Cell {
        /// The node.
        node: Node,
        /// The feature's place.
        feature: u16,
        /// The group's place among the feature's.
        group: u8,
        /// Of what it is the sum.
        kind: Kind,
    },
}

/// Which node of which tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// The block.
    pub block: u16,
    /// The tree's place in the block.
    pub tree: u16,
    /// The level; the root's is 0.
    pub level: u8,
    /// The node's place in its level.
    pub place: u16,
}

impl Label {
    /// Kind ‖ block ‖ and either row, or tree ‖ level ‖ place ‖ feature ‖ group ‖ statistic's kind; of a part, kind ‖ row ‖
    /// widest ‖ 1 for few values; big-endian, zeros behind.
    fn bytes(self) -> [u8; LABEL_BYTES] {
        let mut bytes = [0; LABEL_BYTES];
        match self {
            Self::Contribution { block, row } => {
                bytes[0] = 1;
                bytes[1..3].copy_from_slice(&block.to_be_bytes());
                bytes[3..7].copy_from_slice(&row.to_be_bytes());
            }
            Self::Part { row, scale, values } => {
                bytes[0] = 3;
                bytes[1..5].copy_from_slice(&row.to_be_bytes());
                bytes[5..13].copy_from_slice(&scale.widest().to_be_bytes());
                bytes[13] = u8::from(values == Values::Coarse);
            }
            Self::Cell { node, feature, group, kind } => {
                bytes[0] = 2;
                bytes[1..3].copy_from_slice(&node.block.to_be_bytes());
                bytes[3..5].copy_from_slice(&node.tree.to_be_bytes());
                bytes[5] = node.level;
                bytes[6..8].copy_from_slice(&node.place.to_be_bytes());
                bytes[8..10].copy_from_slice(&feature.to_be_bytes());
                bytes[10] = group;
                bytes[11] = match kind {
                    Kind::Indicator => 0,
                    Kind::Residual => 1,
                };
            }
        }
        bytes
    }
}

/// A provider's masks with all others of a training.
pub struct Masks {
    pairs: Vec<Pair>,
}

impl Masks {
    /// Whether there is nobody to mask with, so that all masks are zero.
    pub fn is_alone(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The mask of each label, in a context.
    pub fn of(&self, context: &Context, labels: &[Label]) -> Zeroizing<Vec<Scalar>> {
        let labels: Vec<_> = labels.iter().map(|label| label.bytes()).collect();
        let mut masks = secret::collect(labels.len(), std::iter::repeat_n(Scalar::ZERO, labels.len()));
        for pair in &self.pairs {
            let message = |label| Message { start: &pair.key, parts: [&context.as_bytes()[..]], end: label };
            let digests = Zeroizing::new(digest_each(labels.iter().map(|label| message(&label[..]))));
            for (mask, digest) in masks.iter_mut().zip(digests.iter()) {
                let scalar = Zeroizing::new(Scalar::from_bytes_mod_order_wide(digest));
                if pair.adds {
                    *mask += *scalar;
                } else {
                    *mask -= *scalar;
                }
            }
        }
        masks
    }

    /// The masks of one block's contributions, for rows of a range.
    pub fn contributions(
        &self,
        context: &Context,
        block: u16,
        rows: std::ops::Range<u32>,
    ) -> Zeroizing<Vec<Scalar>> {
        self.of(context, &rows.map(|row| Label::Contribution { block, row }).collect::<Vec<_>>())
    }

    /// The masks of parts under one scale, for rows of a range.
    pub fn parts(
        &self,
        context: &Context,
        scale: Scale,
        values: Values,
        rows: std::ops::Range<u32>,
    ) -> Zeroizing<Vec<Scalar>> {
        self.of(context, &rows.map(|row| Label::Part { row, scale, values }).collect::<Vec<_>>())
    }

    /// The masks of one node's cells in the order in which [`super::sums::Statistics::sums`] has them: feature by
    /// feature, group by group. `groups` are the numbers of groups by feature.
    ///
    /// # Panics
    /// When a feature has more than 256 groups.
    pub fn cells(
        &self,
        context: &Context,
        node: Node,
        kind: Kind,
        groups: &[usize],
    ) -> Zeroizing<Vec<Scalar>> {
        let cells = (0..).zip(groups).flat_map(|(feature, &groups)| {
            (0..groups).map(move |group| Label::Cell {
                node,
                feature,
                group: u8::try_from(group).expect("a feature has few bins"),
                kind,
            })
        });
        self.of(context, &cells.collect::<Vec<_>>())
    }
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Masks(with {} others)", self.pairs.len())
    }
}

#[cfg(test)]
mod tests;
