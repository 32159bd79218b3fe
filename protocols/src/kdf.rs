//! HKDF-SHA-512 (RFC 5869) with the empty salt, from which every key of the protocols is derived.

use std::sync::LazyLock;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use zeroize::Zeroize as _;

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
}
