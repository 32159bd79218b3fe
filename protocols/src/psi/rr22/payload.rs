//! Payload under a key from the key's own value: AES-256-GCM (NIST SP 800-38D) with the zero nonce, since
//! every key is fresh and seals once.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

/// Bytes that sealing adds.
pub(super) const TAG_BYTES: usize = 16;

/// Appends payload and tag.
pub(super) fn seal(value: u128, payload: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(payload);
    let tag = cipher(value)
        .encrypt_inout_detached(&Nonce::default(), &[], (&mut out[begin..]).into())
        .expect("a payload is far below GCM's limit");
    out.extend_from_slice(&tag);
}

/// Appends the payload that was sealed; `false`, and nothing appended, when it was not under this value.
pub(super) fn open(value: u128, sealed: &[u8], out: &mut Vec<u8>) -> bool {
    let (payload, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
    let tag = Tag::try_from(tag).expect("the split leaves as many bytes as a tag has");
    let begin = out.len();
    out.extend_from_slice(payload);
    let opened =
        cipher(value).decrypt_inout_detached(&Nonce::default(), &[], (&mut out[begin..]).into(), &tag);
    if opened.is_err() {
        out.truncate(begin);
    }
    opened.is_ok()
}

fn cipher(value: u128) -> Aes256Gcm {
    let mut hash = Sha256::new()
        .chain_update(b"windvane/psi-rr22/payload/v1")
        .chain_update(value.to_le_bytes())
        .finalize();
    let mut key: Key<Aes256Gcm> = hash;
    hash.zeroize();
    let cipher = Aes256Gcm::new(&key);
    key.zeroize();
    cipher
}
