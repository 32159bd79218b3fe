//! Rows: `locator(8) ‖ publication index(2) ‖ AES-256-GCM(padded label) ‖ tag(16)`.
//!
//! Locator and key come from the PRF's output, so only who may evaluate finds and opens a row. The key binds
//! the publication id, which is fresh for every snapshot or delta ever sealed; with the zero nonce no
//! (key, nonce) ever seals two labels, not after a rebuild, a restore, or a delete and re-insert.
//!
//! A row that says "deleted" looks like any other to who cannot open it: it seals zeros of a label's length, and
//! its associated data has one byte `01` more, so that no label can be taken for it, whatever the schema.

use super::DataSet;
use crate::kdf::{self, PseudorandomKey};
use crate::limits::MAX_ROWS_PER_LOCATOR;
use crate::oprf::Output;
use crate::secret::Secret;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};

/// Bytes of a locator.
pub const LOCATOR_BYTES: usize = 8;

/// Bytes of a row beside its label: locator, publication index, tag.
pub const ROW_OVERHEAD: usize = LOCATOR_BYTES + 2 + TAG_BYTES;

const TAG_BYTES: usize = 16;
const NONCE: [u8; 12] = [0; 12];

/// 16 fresh random bytes for every snapshot or delta ever sealed.
pub type PublicationId = [u8; 16];

/// Where in the sorted table a row stands.
pub type Locator = [u8; LOCATOR_BYTES];

/// What every row of a table is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The data set.
    pub data_set: DataSet,
    /// The epoch of its keys.
    pub epoch: u64,
    /// The label schema's version.
    pub schema_version: u64,
    /// Plain bytes of every label.
    pub label_bytes: usize,
}

/// Why a person's rows do not give a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The locator is there, but no row opens: the table was changed or damaged.
    #[error("a row is there but does not open")]
    Corrupt,
}

/// A PRF output, made ready for one table.
#[derive(Debug, Clone)]
pub struct RowKeys {
    key: PseudorandomKey,
    locator: Locator,
    check: [u8; 8],
}

impl RowKeys {
    /// Derives the locator.
    pub fn new(table: &Table, output: &Output) -> Self {
        Self::each(table, std::iter::once(output)).pop().expect("one for one output")
    }

    /// [`Self::new`] for many outputs, which costs less together: a third of a build would be spent in SHA-512.
    pub fn each<'a>(table: &Table, outputs: impl ExactSizeIterator<Item = &'a Output>) -> Vec<Self> {
        // Extracted once for locator and label key.
        let keys = kdf::extract_each(outputs.map(|output| &output.expose()[..]));
        let bytes = kdf::expand_each(keys.iter(), &info(table, "locator"));
        let array = |half: &[u8]| half.try_into().expect("eight bytes");
        let split = |(key, bytes): (PseudorandomKey, &[u8; 64])| Self {
            locator: array(&bytes[..LOCATOR_BYTES]),
            check: array(&bytes[LOCATOR_BYTES..2 * LOCATOR_BYTES]),
            key,
        };
        keys.into_iter().zip(bytes.iter()).map(split).collect()
    }

    /// Where the row stands, if there is one.
    pub const fn locator(&self) -> &Locator {
        &self.locator
    }

    /// Eight more bytes that tell keys of equal locator apart while a table is built. Never published.
    pub const fn check(&self) -> &[u8; 8] {
        &self.check
    }

    /// What seals rows of one publication, for each of many keys.
    pub fn sealers<'a>(keys: &'a [Self], table: &'a Table, id: &PublicationId) -> Vec<RowSealer<'a>> {
        let label_keys = kdf::expand_each(keys.iter().map(|keys| &keys.key), &label_info(table, id));
        let sealer = |(keys, bytes): (&'a Self, &[u8; 64])| RowSealer {
            keys,
            table,
            label_key: Secret::new(*bytes.first_chunk().expect("64 bytes are more than a key")),
        };
        keys.iter().zip(label_keys.iter()).map(sealer).collect()
    }

    /// Seals one label: [`RowSealer::seal`].
    pub fn seal(&self, table: &Table, index: u16, id: &PublicationId, label: &[u8], row: &mut [u8]) {
        self.sealer(table, id).seal(index, label, row);
    }

    fn sealer<'a>(&'a self, table: &'a Table, id: &PublicationId) -> RowSealer<'a> {
        Self::sealers(std::slice::from_ref(self), table, id).pop().expect("one for one key")
    }

    /// Opens the person's label among all rows of its locator: the highest publication index that opens wins.
    /// `None` when there is no row, or the one that wins says "deleted".
    ///
    /// # Errors
    /// [`RowError::Corrupt`] when rows are there and none opens.
    pub fn open(
        &self,
        table: &Table,
        publication: impl Fn(u16) -> Option<PublicationId>,
        rows: &[&[u8]],
    ) -> Result<Option<Vec<u8>>, RowError> {
        let opened = rows.iter().filter_map(|row| {
            let index = index_of(row);
            Some((index, self.open_one(table, &publication(index)?, row)?))
        });
        match opened.max_by_key(|(index, _)| *index) {
            Some((_, Opened::Label(label))) => Ok(Some(label)),
            Some((_, Opened::Deleted)) => Ok(None),
            None if rows.is_empty() => Ok(None),
            None => Err(RowError::Corrupt),
        }
    }

    /// Whether a row of this locator is this key's, and not another's that shares the locator.
    pub fn owns(&self, table: &Table, id: &PublicationId, row: &[u8]) -> bool {
        self.open_one(table, id, row).is_some()
    }

    fn open_one(&self, table: &Table, id: &PublicationId, row: &[u8]) -> Option<Opened> {
        let sealed = row.get(LOCATOR_BYTES + 2..table.row_bytes())?;
        let (text, tag) = sealed.split_at(table.label_bytes);
        let tag = Tag::try_from(tag).ok()?;
        let cipher = self.sealer(table, id).cipher();
        let open = |aad: &[u8]| {
            let mut label = text.to_vec();
            let opened =
                cipher.decrypt_inout_detached(&Nonce::from(NONCE), aad, label.as_mut_slice().into(), &tag);
            opened.ok().map(|()| label)
        };
        let aad = aad(table, &self.locator);
        let deleted = || open(&deleted_aad(&aad)).map(|_| Opened::Deleted);
        open(&aad).map(Opened::Label).or_else(deleted)
    }
}

/// What a row says.
enum Opened {
    Label(Vec<u8>),
    Deleted,
}

/// Seals a person's rows of one publication.
#[derive(Debug)]
pub struct RowSealer<'a> {
    keys: &'a RowKeys,
    table: &'a Table,
    label_key: Secret<[u8; 32]>,
}

impl RowSealer<'_> {
    /// Seals a label into `row`, which must have the table's row length.
    pub fn seal(&self, index: u16, label: &[u8], row: &mut [u8]) {
        self.seal_under(&aad(self.table, self.keys.locator()), index, label, row);
    }

    /// Seals "deleted" into `row`, which must have the table's row length.
    pub fn seal_deleted(&self, index: u16, row: &mut [u8]) {
        let aad = deleted_aad(&aad(self.table, self.keys.locator()));
        self.seal_under(&aad, index, &vec![0; self.table.label_bytes], row);
    }

    fn seal_under(&self, aad: &[u8], index: u16, label: &[u8], row: &mut [u8]) {
        assert_eq!(label.len(), self.table.label_bytes, "labels are packed by the table's schema");
        let (place, rest) = row.split_at_mut(LOCATOR_BYTES);
        let (position, rest) = rest.split_at_mut(2);
        let (text, tag) = rest.split_at_mut(label.len());
        place.copy_from_slice(self.keys.locator());
        position.copy_from_slice(&index.to_be_bytes());
        text.copy_from_slice(label);
        let sealed = self
            .cipher()
            .encrypt_inout_detached(&Nonce::from(NONCE), aad, text.into())
            .expect("labels are far below the cipher's limit");
        tag.copy_from_slice(&sealed);
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(<&Key<Aes256Gcm>>::from(self.label_key.expose()))
    }
}

impl Table {
    /// Bytes of a row.
    pub const fn row_bytes(&self) -> usize {
        ROW_OVERHEAD + self.label_bytes
    }

    /// Whether more rows share a locator than a lookup tries.
    pub const fn is_crowded(rows_of_one_locator: usize) -> bool {
        rows_of_one_locator > MAX_ROWS_PER_LOCATOR
    }
}

fn info(table: &Table, label: &str) -> Vec<u8> {
    kdf::info(label, table.data_set.as_str(), table.epoch)
}

fn label_info(table: &Table, id: &PublicationId) -> Vec<u8> {
    let mut info = info(table, "label");
    info.extend_from_slice(id);
    info
}

/// `len16 ‖ data set ‖ epoch ‖ schema version ‖ locator`.
fn aad(table: &Table, locator: &Locator) -> Vec<u8> {
    let name = table.data_set.as_str();
    let len = u16::try_from(name.len()).expect("data set names are short");
    let mut aad = Vec::with_capacity(2 + name.len() + 24);
    aad.extend_from_slice(&len.to_be_bytes());
    aad.extend_from_slice(name.as_bytes());
    aad.extend_from_slice(&table.epoch.to_be_bytes());
    aad.extend_from_slice(&table.schema_version.to_be_bytes());
    aad.extend_from_slice(locator);
    aad
}

/// The associated data of a row that says "deleted": a label's, and `01`.
fn deleted_aad(aad: &[u8]) -> Vec<u8> {
    [aad, &[1]].concat()
}

/// The publication index in a row.
pub fn index_of(row: &[u8]) -> u16 {
    u16::from_be_bytes([row[LOCATOR_BYTES], row[LOCATOR_BYTES + 1]])
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::Sha512;
    use windvane_kernels::sha512::Midstate;
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// What [`RowKeys`] keeps of the PRF's output is two SHA-512 states inside HMAC; they wipe themselves.
    #[test]
    fn the_states_of_an_extracted_key_wipe_themselves() {
        fn wipes<T: ZeroizeOnDrop>() {}
        wipes::<Midstate>();
    }

    fn table() -> Table {
        Table { data_set: "subscribers".parse().unwrap(), epoch: 7, schema_version: 1, label_bytes: 14 }
    }

    fn keys(byte: u8) -> RowKeys {
        RowKeys::new(&table(), &Secret::new([byte; 64]))
    }

    fn sealed(keys: &RowKeys, index: u16, label: &[u8]) -> Vec<u8> {
        let mut row = vec![0; table().row_bytes()];
        keys.seal(&table(), index, &[index as u8; 16], label, &mut row);
        row
    }

    fn publication(index: u16) -> Option<PublicationId> {
        (index < 3).then_some([index as u8; 16])
    }

    #[test]
    fn rows_of_14_byte_labels_have_40_bytes_and_open_again() {
        let row = sealed(&keys(1), 0, b"fourteen bytes");
        assert_eq!(row.len(), 40);
        let label = keys(1).open(&table(), publication, &[&row]).unwrap();
        assert_eq!(label.as_deref(), Some(b"fourteen bytes".as_slice()));
    }

    /// RFC 5869 written out with HMAC alone.
    #[test]
    fn the_locator_is_hkdf_with_empty_salt() {
        let mac = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = Hmac::<Sha512>::new_from_slice(key).unwrap();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes()
        };
        let prk = mac(&[0; 64], &[&[1; 64]]);
        let info = b"\x00\x07locator\x00\x0bsubscribers\x00\x00\x00\x00\x00\x00\x00\x07";
        let okm = mac(&prk, &[info, &[1]]);
        assert_eq!(keys(1).locator(), &okm[..8]);
        assert_eq!(keys(1).check(), &okm[8..16]);
    }

    #[test]
    fn keys_and_rows_of_many_are_those_of_each() {
        let outputs: Vec<_> = (0..19).map(|byte| Secret::new([byte; 64])).collect();
        let table = table();
        let all = RowKeys::each(&table, outputs.iter());
        let sealers = RowKeys::sealers(&all, &table, &[2; 16]);
        assert_eq!((all.len(), sealers.len()), (19, 19));
        for ((byte, keys_of_all), sealer) in (0..).zip(&all).zip(&sealers) {
            let mut row = vec![0; table.row_bytes()];
            sealer.seal(2, &[byte; 14], &mut row);
            assert_eq!(row, sealed(&keys(byte), 2, &[byte; 14]));
            assert_eq!(keys_of_all.check(), keys(byte).check());
        }
    }

    #[test]
    fn the_highest_publication_that_opens_wins() {
        let rows =
            [sealed(&keys(1), 0, &[1; 14]), sealed(&keys(1), 2, &[3; 14]), sealed(&keys(1), 1, &[2; 14])];
        let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
        assert_eq!(keys(1).open(&table(), publication, &rows), Ok(Some(vec![3; 14])));
    }

    #[test]
    fn a_deletion_hides_what_is_below_it_and_a_new_row_above_it_counts() {
        let bury = |index: u16| {
            let mut row = vec![0; table().row_bytes()];
            keys(1).sealer(&table(), &[index as u8; 16]).seal_deleted(index, &mut row);
            row
        };
        let rows = [sealed(&keys(1), 0, &[1; 14]), bury(1), sealed(&keys(1), 2, &[0; 14])];
        let open = |rows: &[Vec<u8>]| {
            let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
            keys(1).open(&table(), publication, &rows)
        };
        assert_eq!(open(&rows[..2]), Ok(None));
        assert_eq!(open(&rows), Ok(Some(vec![0; 14])));
        assert!(keys(1).owns(&table(), &[1; 16], &rows[1]) && !keys(2).owns(&table(), &[1; 16], &rows[1]));
        // Zeros are a label too: that of families which tell presence only.
        assert_ne!(rows[1][10..], sealed(&keys(1), 1, &[0; 14])[10..]);
    }

    #[test]
    fn no_row_is_no_record_and_a_changed_row_is_corrupt() {
        assert_eq!(keys(1).open(&table(), publication, &[]), Ok(None));
        let row = sealed(&keys(1), 0, &[1; 14]);
        for i in LOCATOR_BYTES..row.len() {
            let mut other = row.clone();
            other[i] ^= 1;
            assert_eq!(keys(1).open(&table(), publication, &[&other]), Err(RowError::Corrupt), "byte {i}");
        }
        assert_eq!(keys(2).open(&table(), publication, &[&row]), Err(RowError::Corrupt));
    }
}
