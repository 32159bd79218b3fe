//! Payloads, sealed under a key of their own item's PRF value.
//!
//! `AES-256-GCM(key, nonce 0, len16 ‖ payload ‖ zeros)`: the key depends on the sender's scalar, which is fresh
//! for every connection of a job, and an item stands once in its bucket, so no key seals twice.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use zeroize::Zeroize as _;

use super::EcdhError;

const LENGTH_BYTES: usize = 2;
const TAG_BYTES: usize = 16;
const AAD: &[u8] = b"windvane/psi-ecdh-payload/v1";

/// Bytes of a sealed payload when the longest has `longest`; none when none travels.
pub(super) const fn sealed_bytes(longest: usize) -> usize {
    if longest == 0 { 0 } else { LENGTH_BYTES + longest + TAG_BYTES }
}

/// Seals a payload of at most `longest` bytes.
pub(super) fn seal(key: &[u8; 32], payload: &[u8], longest: usize) -> Result<Vec<u8>, EcdhError> {
    let length = u16::try_from(payload.len()).ok().filter(|_| payload.len() <= longest);
    let mut sealed = Vec::with_capacity(sealed_bytes(longest));
    sealed.extend_from_slice(&length.ok_or(EcdhError::Bound)?.to_be_bytes());
    sealed.extend_from_slice(payload);
    sealed.resize(LENGTH_BYTES + longest, 0);
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(&Nonce::default(), AAD, InOutBuf::from(sealed.as_mut_slice()))
        .expect("payloads are far below the cipher's limit");
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens what [`seal`] sealed.
pub(super) fn open(key: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, EcdhError> {
    let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(EcdhError::Payload)?;
    let mut plain = body.to_vec();
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(
            &Nonce::default(),
            AAD,
            InOutBuf::from(plain.as_mut_slice()),
            &Tag::from(*tag),
        )
        .map_err(|_| EcdhError::Payload)?;
    let (length, rest) = plain.split_first_chunk::<LENGTH_BYTES>().ok_or(EcdhError::Payload)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let payload = rest.get(..length).ok_or(EcdhError::Payload)?.to_vec();
    plain.zeroize();
    Ok(payload)
}
