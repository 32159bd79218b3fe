//! Who a record is about, as a keyed print: what indices and maps hold instead of a number.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::identity::Person;
use windvane_protocols::kdf;
use windvane_protocols::lookup::DataSet;
use zeroize::Zeroizing;

/// A subject under the data set's key: 128 bits, so that no two subjects are ever taken for one.
pub(in crate::dataset) type Print = [u8; 16];

/// Makes prints.
#[derive(Clone)]
pub(super) struct Subjects {
    mac: Hmac<Sha256>,
}

impl Subjects {
    /// HMAC-SHA-256 under HKDF-SHA-512 of the storage key, with info = len16 ‖ "subjects" ‖ len16 ‖ data set.
    pub(super) fn new(key: &StorageKey, data_set: &DataSet) -> Self {
        let name = data_set.as_str().as_bytes();
        let length = [0, u8::try_from(name.len()).expect("data set names have at most 64 bytes")];
        let info = [b"\x00\x08subjects".as_slice(), &length, name].concat();
        let mut bytes = Zeroizing::new([0; 32]);
        kdf::extract(key.secret().expose()).expand(&info, &mut *bytes).expect("32 bytes are a valid length");
        Self { mac: Hmac::new_from_slice(&*bytes).expect("HMAC takes a key of any length") }
    }

    /// The print of whom a record is about: the phone, else the document. `None` when it has neither.
    pub(super) fn print(&self, person: &Person) -> Option<Print> {
        let mut mac = self.mac.clone();
        match (&person.phone, &person.document) {
            (Some(phone), _) => {
                mac.update(&[0]);
                mac.update(phone.as_str().as_bytes());
            }
            (None, Some(document)) => {
                mac.update(&[document.kind().code()]);
                mac.update(document.number().as_bytes());
            }
            (None, None) => return None,
        }
        Some(*mac.finalize().into_bytes().first_chunk().expect("a digest of 32 bytes"))
    }
}
