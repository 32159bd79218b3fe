//! Items of a set as both parties hash them: one salted SHA-256 gives an item's bucket and its key.
//!
//! `SHA-256(salt ‖ item)`, where the salt has exactly one block of 64 bytes, so that its compression is done
//! once for all items, and an item of up to 55 bytes costs one more. Bytes 0 to 7 of the digest, big-endian,
//! are the prefix, whose top bits are the bucket; bytes 8 to 23, little-endian, are the key. FIPS 180-4,
//! sections 5.1.1 and 6.2.
//!
//! The hash hides nothing: whoever has the salt can try all telephone numbers. It only spreads items evenly,
//! in a way that neither party could choose before the other's nonce was known. Scratch memory is not wiped.

use std::fmt;

use sha2::block_api::compress256;

use crate::secret::Secret;

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

const BLOCK_BYTES: usize = 64;

/// Where a last block's message ends at most, before the mark and the length.
const LAST_BYTES: usize = BLOCK_BYTES - 9;

/// The most that [`ItemHash::bucket`] takes of a prefix.
pub const MAX_BUCKET_BITS: u32 = 32;

/// Hashes the items of one session.
#[derive(Debug, Clone)]
pub struct ItemHasher {
    /// The state behind the salt's block.
    state: Secret<[u32; 8]>,
}

/// An item before its last compression. Compressions of items prepared one after another overlap in the
/// processor, so a batch that is first prepared and then finished takes half the time.
#[derive(Clone, Copy)]
pub struct PreparedItem {
    state: [u32; 8],
    block: [u8; BLOCK_BYTES],
}

/// An item's place: it names the item to whoever has the salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemHash {
    /// The bucket in its top bits.
    pub prefix: u64,
    /// The item within its bucket.
    pub key: u128,
}

impl ItemHasher {
    /// Begins with a session's salt.
    pub fn new(salt: &[u8; BLOCK_BYTES]) -> Self {
        let mut state = INITIAL;
        compress256(&mut state, std::slice::from_ref(salt));
        Self { state: Secret::new(state) }
    }

    /// Hashes an item: the identity encoding of a person, or a text's bytes.
    pub fn hash(&self, item: &[u8]) -> ItemHash {
        self.prepare(item).finish()
    }

    /// Takes an item in, up to its last block.
    #[inline]
    pub fn prepare(&self, item: &[u8]) -> PreparedItem {
        let mut state = *self.state.expose();
        let (whole, rest) = item.as_chunks::<BLOCK_BYTES>();
        if !whole.is_empty() {
            compress256(&mut state, whole);
        }
        let mut block = [0; BLOCK_BYTES];
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 0x80;
        if rest.len() > LAST_BYTES {
            compress256(&mut state, &[block]);
            block = [0; BLOCK_BYTES];
        }
        let bits = (BLOCK_BYTES as u64 + item.len() as u64) * 8;
        block[BLOCK_BYTES - 8..].copy_from_slice(&bits.to_be_bytes());
        PreparedItem { state, block }
    }
}

impl PreparedItem {
    /// Replaces bytes of an item of at most 55 bytes: many items that differ in a few bytes are prepared once.
    ///
    /// # Panics
    /// When `from` and the bytes reach beyond byte 55.
    #[inline]
    pub fn replace(&mut self, from: usize, bytes: &[u8]) {
        self.block[..LAST_BYTES][from..from + bytes.len()].copy_from_slice(bytes);
    }

    /// The last compression.
    #[inline]
    pub fn finish(&self) -> ItemHash {
        let mut state = self.state;
        compress256(&mut state, std::slice::from_ref(&self.block));
        ItemHash::of(&state)
    }
}

impl fmt::Debug for PreparedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedItem(…)")
    }
}

impl ItemHash {
    /// Takes the digest's first six words.
    #[inline]
    fn of(state: &[u32; 8]) -> Self {
        let word = |index: usize| u128::from(state[index].swap_bytes()) << (32 * (index - 2));
        Self {
            prefix: u64::from(state[0]) << 32 | u64::from(state[1]),
            key: word(2) | word(3) | word(4) | word(5),
        }
    }

    /// The bucket among 2^`bits`: the prefix's top bits.
    ///
    /// # Panics
    /// When `bits` is over [`MAX_BUCKET_BITS`].
    pub const fn bucket(&self, bits: u32) -> u32 {
        assert!(bits <= MAX_BUCKET_BITS, "a job has at most 2^32 buckets");
        (((self.prefix >> 32) << bits) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn every_item_of_the_vectors_has_its_prefix_key_and_buckets() {
        let vectors: Value = serde_json::from_str(include_str!("../../vectors/psi-item-v1.json")).unwrap();
        let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
        let hasher = ItemHasher::new(&bytes(&vectors["salt"]).try_into().unwrap());
        let items = vectors["items"].as_array().unwrap();
        assert!(items.len() > 5);
        for item in items {
            let hash = hasher.hash(&bytes(&item["item"]));
            assert_eq!(hash.prefix.to_be_bytes(), bytes(&item["prefix"])[..], "{item}");
            assert_eq!(hash.key.to_le_bytes(), bytes(&item["key"])[..], "{item}");
            for (bits, bucket) in [0, 1, 8, 13, 32].into_iter().zip(item["buckets"].as_array().unwrap()) {
                assert_eq!(Some(u64::from(hash.bucket(bits))), bucket.as_u64(), "{item}");
            }
        }
    }

    #[test]
    fn items_of_every_length_hash_as_the_whole_message_does() {
        let salt: [u8; 64] = std::array::from_fn(|at| at as u8);
        let hasher = ItemHasher::new(&salt);
        let item: Vec<u8> = (0..300_u32).map(|at| (at * 7) as u8).collect();
        for length in 0..=item.len() {
            let digest = Sha256::digest([&salt, &item[..length]].concat());
            let hash = hasher.hash(&item[..length]);
            assert_eq!(hash.prefix.to_be_bytes(), digest[..8], "{length}");
            assert_eq!(hash.key.to_le_bytes(), digest[8..24], "{length}");
        }
    }

    #[test]
    fn bytes_of_a_prepared_item_are_replaced() {
        let hasher = ItemHasher::new(&[1; 64]);
        let mut prepared = hasher.prepare(b"tel:###########.");
        prepared.replace(4, b"13800138000");
        assert_eq!(prepared.finish(), hasher.hash(b"tel:13800138000."));
        assert!(std::panic::catch_unwind(move || prepared.replace(54, b"ab")).is_err());
    }
}
