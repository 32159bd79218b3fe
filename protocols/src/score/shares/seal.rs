//! Shares sealed to a recipient: ephemeral Diffie-Hellman in ristretto255, HKDF-SHA-512, AES-256-GCM.
//!
//! The shape is RFC 9180's base mode (ephemeral key, key from the shared element and both public keys, one
//! message, zero nonce); the group is ours, so that a setup needs one group only. Sender authentication is
//! the dealer's signature over the dealing.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use super::super::group::Charter;
use super::polynomial::decode;
use crate::kdf;
use crate::oprf::{ELEMENT_BYTES, nonzero};
use crate::party::PartyId;
use crate::transcript::{Hash, Transcript};

const TAG_BYTES: usize = 16;

/// Bytes of a sealed share: ephemeral element, scalar, tag.
pub const SEALED_BYTES: usize = ELEMENT_BYTES + 32 + TAG_BYTES;

/// A sealed share.
pub type Sealed = [u8; SEALED_BYTES];

/// What a share is bound to.
pub(super) struct Binding<'a> {
    pub(super) charter: &'a Charter,
    pub(super) dealer: &'a PartyId,
    pub(super) recipient: &'a PartyId,
    pub(super) commitments: &'a [[u8; ELEMENT_BYTES]],
}

/// A recipient's secret for one setup.
pub(super) struct SealingKey {
    secret: Zeroizing<Scalar>,
    public: [u8; ELEMENT_BYTES],
}

impl SealingKey {
    /// A fresh key.
    pub(super) fn random(rng: &mut impl CryptoRng) -> Self {
        let secret = Zeroizing::new(nonzero(rng));
        let public = RistrettoPoint::mul_base(&secret).compress().to_bytes();
        Self { secret, public }
    }

    /// The element to announce.
    pub(super) const fn public(&self) -> [u8; ELEMENT_BYTES] {
        self.public
    }

    /// Opens a share; `None` when it was not sealed to this key under this binding.
    pub(super) fn open(&self, binding: &Binding<'_>, sealed: &Sealed) -> Option<Zeroizing<Scalar>> {
        let (ephemeral, rest) = sealed.split_first_chunk::<ELEMENT_BYTES>()?;
        let (share, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let mut share = Zeroizing::new(<[u8; 32]>::try_from(share).ok()?);
        let shared = decode(ephemeral)? * *self.secret;
        let context = binding.digest(&self.public, ephemeral);
        binding
            .cipher(&shared, &context)
            .decrypt_inout_detached(
                &Nonce::default(),
                &context,
                share.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .ok()?;
        Scalar::from_canonical_bytes(*share).into_option().map(Zeroizing::new)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// Seals a share to a recipient's announced element; `None` when that is no element, or the identity.
pub(super) fn seal(
    binding: &Binding<'_>,
    recipient: &[u8; ELEMENT_BYTES],
    share: &Scalar,
    rng: &mut impl CryptoRng,
) -> Option<Sealed> {
    let secret = Zeroizing::new(nonzero(rng));
    let shared = decode(recipient)? * *secret;
    let mut sealed = [0; SEALED_BYTES];
    let (ephemeral, rest) = sealed.split_at_mut(ELEMENT_BYTES);
    let (body, tag) = rest.split_at_mut(32);
    let element = RistrettoPoint::mul_base(&secret).compress().to_bytes();
    ephemeral.copy_from_slice(&element);
    body.copy_from_slice(share.as_bytes());
    let context = binding.digest(recipient, &element);
    let sum = binding
        .cipher(&shared, &context)
        .encrypt_inout_detached(&Nonce::default(), &context, body.into())
        .expect("a share is far below the cipher's limit");
    tag.copy_from_slice(&sum);
    Some(sealed)
}

impl Binding<'_> {
    /// Everything that the share belongs to; the cipher's associated data.
    fn digest(&self, recipient: &[u8; ELEMENT_BYTES], ephemeral: &[u8; ELEMENT_BYTES]) -> Hash {
        Transcript::new("windvane/score-share/v1")
            .bytes("group", self.charter.digest())
            .text("dealer", self.dealer.as_str())
            .text("recipient", self.recipient.as_str())
            .list("commitment", self.commitments.iter())
            .bytes("recipient key", recipient)
            .bytes("ephemeral key", ephemeral)
            .digest()
    }

    /// HKDF with info = len16 ‖ label ‖ len16 ‖ group ‖ epoch ‖ the binding's digest. Every key seals once.
    fn cipher(&self, shared: &RistrettoPoint, context: &Hash) -> Aes256Gcm {
        let terms = self.charter.terms();
        let mut info = kdf::info("score-share", terms.group.as_str(), terms.epoch);
        info.extend_from_slice(context);
        let shared = Zeroizing::new(shared.compress().to_bytes());
        let mut key = Key::<Aes256Gcm>::default();
        kdf::extract(shared.as_slice()).expand(&info, &mut key).expect("32 bytes are a valid length");
        let cipher = Aes256Gcm::new(&key);
        key.zeroize();
        cipher
    }
}
