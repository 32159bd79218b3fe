//! Payload under a key from the key's own value: AES-256-GCM (NIST SP 800-38D) with the zero nonce, since
//! every key is fresh and seals once.
//!
//! Sealed is `len16 ‖ payload ‖ zeros`, as long for every key as the longest payload needs, so that no length
//! tells anything. `vectors/psi-rr22-payload-v1.json` has examples.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

const LENGTH_BYTES: usize = 2;
const TAG_BYTES: usize = 16;

/// Bytes of a sealed payload when the longest has `longest`; none when none travels.
pub(super) const fn sealed_bytes(longest: usize) -> usize {
    if longest == 0 { 0 } else { LENGTH_BYTES + longest + TAG_BYTES }
}

/// Appends a sealed payload of at most `longest` bytes, which the plan keeps below 2^16.
pub(super) fn seal(value: u128, payload: &[u8], longest: usize, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
    out.resize(begin + LENGTH_BYTES + longest, 0);
    let tag = cipher(value)
        .encrypt_inout_detached(&Nonce::default(), &[], (&mut out[begin..]).into())
        .expect("a payload is far below GCM's limit");
    out.extend_from_slice(&tag);
}

/// Appends the payload that was sealed; `false`, and nothing appended, when it was not under this value, or its
/// length is none.
pub(super) fn open(value: u128, sealed: &[u8], out: &mut Vec<u8>) -> bool {
    let (padded, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
    let tag = Tag::try_from(tag).expect("the split leaves as many bytes as a tag has");
    let begin = out.len();
    out.extend_from_slice(padded);
    let opened =
        cipher(value).decrypt_inout_detached(&Nonce::default(), &[], (&mut out[begin..]).into(), &tag);
    let payload = opened.ok().and_then(|()| unpad(&mut out[begin..]));
    out.truncate(begin + payload.unwrap_or_default());
    payload.is_some()
}

/// Moves the payload to the front; gives its length.
fn unpad(padded: &mut [u8]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes(*padded.first_chunk::<LENGTH_BYTES>()?));
    let payload = LENGTH_BYTES..LENGTH_BYTES + length;
    (payload.end <= padded.len()).then(|| padded.copy_within(payload, 0))?;
    Some(length)
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn sealed_payloads_are_the_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../vectors/psi-rr22-payload-v1.json")).unwrap();
        let vectors = vectors["payloads"].as_array().unwrap();
        assert_eq!(vectors.len(), 4);
        for vector in vectors {
            let bytes = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
            let value = u128::from_le_bytes(bytes("value").try_into().unwrap());
            let longest = vector["longest"].as_u64().unwrap() as usize;
            let mut sealed = Vec::new();
            seal(value, &bytes("payload"), longest, &mut sealed);
            assert_eq!(sealed, bytes("sealed"));
            assert_eq!(sealed.len(), sealed_bytes(longest));
            let mut opened = vec![9];
            assert!(open(value, &sealed, &mut opened));
            assert_eq!(opened, [vec![9], bytes("payload")].concat());
        }
    }

    #[test]
    fn another_value_and_a_length_beyond_the_padding_do_not_open() {
        let (mut sealed, mut opened) = (Vec::new(), vec![9]);
        seal(5, b"tag", 4, &mut sealed);
        assert!(!open(6, &sealed, &mut opened));
        let mut long = vec![0, 5, 1, 2, 3, 4];
        let tag = cipher(5).encrypt_inout_detached(&Nonce::default(), &[], long.as_mut_slice().into());
        long.extend_from_slice(&tag.unwrap());
        assert!(!open(5, &long, &mut opened));
        assert_eq!(opened, [9]);
    }
}
