//! Proofs of possession: Schnorr's, bound to group, identities, epoch, dealer and all commitments.
//!
//! Without it, the last dealer could commit to its key minus everybody else's and know the sum (a rogue key).

use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::super::group::Charter;
use super::polynomial::Commitments;
use crate::oprf::nonzero;
use crate::party::PartyId;
use crate::transcript::Transcript;

/// Challenge and response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Possession {
    challenge: Scalar,
    response: Scalar,
}

impl Possession {
    /// Proves knowledge of the constant coefficient.
    pub(super) fn prove(
        charter: &Charter,
        dealer: &PartyId,
        commitments: &Commitments,
        secret: &Scalar,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let nonce = Zeroizing::new(nonzero(rng));
        let challenge = challenge(charter, dealer, commitments, &RistrettoPoint::mul_base(&nonce));
        Self { challenge, response: *nonce - challenge * secret }
    }

    /// Whether the dealer knows the constant coefficient that it commits to. Everything in it is public.
    pub(super) fn holds(&self, charter: &Charter, dealer: &PartyId, commitments: &Commitments) -> bool {
        let nonce = RistrettoPoint::vartime_double_scalar_mul_basepoint(
            &self.challenge,
            commitments.constant(),
            &self.response,
        );
        challenge(charter, dealer, commitments, &nonce) == self.challenge
    }

    /// Reads `c ‖ s`; `None` when a scalar is not canonical.
    pub(super) fn from_bytes(bytes: &[u8; 64]) -> Option<Self> {
        let (challenge, response) = bytes.split_first_chunk::<32>()?;
        let scalar = |half| Scalar::from_canonical_bytes(half).into_option();
        Some(Self { challenge: scalar(*challenge)?, response: scalar(response.try_into().ok()?)? })
    }

    /// `c ‖ s`.
    pub(super) fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(self.challenge.as_bytes());
        bytes[32..].copy_from_slice(self.response.as_bytes());
        bytes
    }
}

fn challenge(
    charter: &Charter,
    dealer: &PartyId,
    commitments: &Commitments,
    nonce: &RistrettoPoint,
) -> Scalar {
    let digest = Transcript::new("windvane/score-possession/v1")
        .bytes("group", charter.digest())
        .text("dealer", dealer.as_str())
        .list("commitment", commitments.as_bytes().iter())
        .bytes("nonce", nonce.compress().as_bytes())
        .digest();
    Scalar::from_bytes_mod_order_wide(&digest)
}
