//! HKDF-SHA-512 (RFC 5869) with the empty salt, from which every key of the protocols is derived.

use std::sync::LazyLock;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use windvane_kernels::sha512::{BLOCK_BYTES, DIGEST_BYTES, INITIAL, Message, Midstate, digest_each};
use zeroize::{Zeroize as _, Zeroizing};

use crate::secret;

/// The empty salt is 64 zeros; its two blocks are hashed once, not for every row of a table.
static EMPTY_SALT: LazyLock<Hmac<Sha512>> =
    LazyLock::new(|| Hmac::new_from_slice(&[]).expect("HMAC takes a key of any length"));

/// HKDF-Extract of a secret, ready to be expanded.
pub fn extract(secret: &[u8]) -> Hkdf<Sha512> {
    let mut key = EMPTY_SALT.clone().chain_update(secret).finalize().into_bytes();
    let hkdf = Hkdf::from_prk(&key).expect("64 bytes are a pseudorandom key");
    key.zeroize();
    hkdf
}

/// HMAC-SHA-512 (RFC 2104) under a pseudorandom key of one digest: the hash behind the key's two paddings. It is
/// what [`extract_each`] makes of a secret, and is wiped when dropped.
#[derive(Clone, Debug)]
pub struct PseudorandomKey {
    inner: Midstate,
    outer: Midstate,
}

/// RFC 2104's paddings.
const PADDINGS: [u8; 2] = [0x36, 0x5c];

/// HMAC under the empty salt.
static NO_SALT: LazyLock<PseudorandomKey> = LazyLock::new(|| {
    let [inner, outer] = PADDINGS.map(|padding| INITIAL.after(&[padding; BLOCK_BYTES]));
    PseudorandomKey { inner, outer }
});

/// [`extract`] of many secrets, eight of them at a time.
pub fn extract_each<'a>(secrets: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<PseudorandomKey> {
    let keys = authenticate(secrets.map(|secret| (&*NO_SALT, secret)), &[]);
    let pad = |padding: u8| {
        let padded = keys.iter().map(|key| {
            let mut block = [padding; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            block
        });
        INITIAL.after_each(&secret::collect(keys.len(), padded))
    };
    let [inner, outer] = PADDINGS.map(pad);
    inner.into_iter().zip(outer).map(|(inner, outer)| PseudorandomKey { inner, outer }).collect()
}

/// HKDF-Expand of many keys for one purpose: the first 64 bytes of each.
pub fn expand_each<'a>(
    keys: impl ExactSizeIterator<Item = &'a PseudorandomKey>,
    info: &[u8],
) -> Zeroizing<Vec<[u8; DIGEST_BYTES]>> {
    authenticate(keys.map(|key| (key, info)), &[1])
}

/// HMAC of each message, and an end that all have, under its key.
fn authenticate<'a>(
    messages: impl ExactSizeIterator<Item = (&'a PseudorandomKey, &'a [u8])>,
    end: &[u8],
) -> Zeroizing<Vec<[u8; DIGEST_BYTES]>> {
    let (keys, messages): (Vec<_>, Vec<_>) = messages.unzip();
    let inner =
        keys.iter().zip(messages).map(|(key, part)| Message { start: &key.inner, parts: [part], end });
    let inner = Zeroizing::new(digest_each(inner));
    let outer = keys.iter().zip(inner.iter()).map(|(key, inner)| Message {
        start: &key.outer,
        parts: [],
        end: inner,
    });
    Zeroizing::new(digest_each(outer))
}

/// What a key is for: `len16 ‖ label ‖ len16 ‖ scope ‖ epoch as u64`. The scope is a data set or a group.
pub fn info(label: &str, scope: &str, epoch: u64) -> Vec<u8> {
    let mut info = Vec::with_capacity(64);
    for text in [label, scope] {
        let len = u16::try_from(text.len()).expect("labels and names are short");
        info.extend_from_slice(&len.to_be_bytes());
        info.extend_from_slice(text.as_bytes());
    }
    info.extend_from_slice(&epoch.to_be_bytes());
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extraction_is_the_librarys_with_no_salt() {
        for secret in [&[][..], &[7; 32], &[9; 64], &[1; 200]] {
            let expand = |hkdf: Hkdf<Sha512>| {
                let mut bytes = [0; 100];
                hkdf.expand(b"info", &mut bytes).unwrap();
                bytes
            };
            assert_eq!(expand(extract(secret)), expand(Hkdf::new(None, secret)));
        }
    }

    /// Lengths around SHA-512's blocks, and numbers of secrets around the kernel's eight lanes.
    #[test]
    fn keys_of_many_secrets_are_the_librarys() {
        for count in [0, 1, 2, 3, 7, 8, 9, 17] {
            for length in [0, 1, 47, 48, 64, 111, 112, 200] {
                let secrets: Vec<_> = (0..count).map(|i| vec![i; length]).collect();
                let info = vec![5; length];
                let keys = extract_each(secrets.iter().map(Vec::as_slice));
                let expanded = expand_each(keys.iter(), &info);
                let expected = secrets.iter().map(|secret| {
                    let mut bytes = [0; DIGEST_BYTES];
                    Hkdf::<Sha512>::new(None, secret).expand(&info, &mut bytes).unwrap();
                    bytes
                });
                assert!(expected.eq(expanded.iter().copied()), "{count} secrets of {length} bytes");
            }
        }
    }
}
