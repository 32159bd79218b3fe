//! Parts at rest: `magic ‖ id(16) ‖ storage key id(16) ‖ universe(64) ‖ default(1) ‖ rows as u64`, then the
//! parts in chunks of 1 MiB (the last may be shorter), each sealed with AES-256-GCM and followed by its tag.
//!
//! The key derives from the node's storage key and the random id, the nonce is the chunk's number, and the
//! associated data name everything of the header and the chunk; so a chunk that was changed, moved, left out
//! or taken from another file is found.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use rand_core::CryptoRng;
use windvane_keys::files::FileError;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::kdf;
use windvane_protocols::transcript::{Hash, Transcript};
use zeroize::{Zeroize as _, Zeroizing};

use super::{DenseParts, PartsError};
use crate::snapshot::disk::{at, create_file, put_in_place};

const MAGIC: &[u8; 18] = b"windvane-parts/v1\n";
const HEADER_BYTES: usize = 18 + 16 + 16 + 64 + 1 + 8;
const CHUNK_BYTES: usize = 1 << 20;
const TAG_BYTES: usize = 16;

/// What stands in clear at the beginning, and binds every chunk.
struct Header {
    id: [u8; 16],
    key: [u8; 16],
    universe: Hash,
    default: u8,
    rows: u64,
}

impl Header {
    fn to_bytes(&self) -> Vec<u8> {
        let default = [self.default];
        [MAGIC.as_slice(), &self.id, &self.key, &self.universe, &default, &self.rows.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (id, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (universe, rest) = rest.split_first_chunk()?;
        let (&[default], rest) = rest.split_first_chunk()?;
        let rows = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Self { id: *id, key: *key, universe: *universe, default, rows })
    }

    fn bound(&self, chunk: u64) -> Vec<u8> {
        Transcript::new("windvane/score-parts-file/v1")
            .bytes("header", &self.to_bytes())
            .u64("chunk", chunk)
            .into_bytes()
    }

    /// HKDF-SHA-512 of the storage key, with empty salt and info = len16 ‖ "score-parts" ‖ id.
    fn cipher(&self, key: &StorageKey) -> Aes256Gcm {
        let info = [b"\x00\x0bscore-parts".as_slice(), &self.id].concat();
        let mut bytes = Key::<Aes256Gcm>::default();
        kdf::extract(key.secret().expose()).expand(&info, &mut bytes).expect("32 bytes are a valid length");
        let cipher = Aes256Gcm::new(&bytes);
        bytes.zeroize();
        cipher
    }
}

fn nonce(chunk: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&chunk.to_be_bytes());
    nonce.into()
}

pub(super) fn write(
    parts: &DenseParts,
    path: &Path,
    key: &StorageKey,
    rng: &mut impl CryptoRng,
) -> Result<(), FileError> {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let (universe, default) = (parts.universe, parts.default);
    let header = Header { id, key: *key.id().as_bytes(), universe, default, rows: parts.rows() };
    let cipher = header.cipher(key);
    let temporary = path.with_extension("tmp");
    let mut file = BufWriter::with_capacity(CHUNK_BYTES, create_file(&temporary)?);
    file.write_all(&header.to_bytes()).map_err(at(&temporary))?;
    for (number, chunk) in (0..).zip(parts.parts.chunks(CHUNK_BYTES)) {
        let mut body = Zeroizing::new(chunk.to_vec());
        let tag = cipher
            .encrypt_inout_detached(&nonce(number), &header.bound(number), body.as_mut_slice().into())
            .expect("chunks are far below the cipher's limit");
        file.write_all(&body).and_then(|()| file.write_all(&tag)).map_err(at(&temporary))?;
    }
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(at(&temporary))?;
    put_in_place(&temporary, path)
}

pub(super) fn read(path: &Path, key: &StorageKey, rows: u64) -> Result<DenseParts, PartsError> {
    let damaged = |place: String| PartsError::Damaged { path: path.to_owned(), place };
    let mut file = BufReader::with_capacity(CHUNK_BYTES, File::open(path).map_err(at(path))?);
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header).map_err(|_| damaged("its header".into()))?;
    let header = Header::from_bytes(&header).ok_or_else(|| damaged("its header".into()))?;
    if header.key != *key.id().as_bytes() {
        return Err(PartsError::Key { path: path.to_owned() });
    }
    if header.rows != rows {
        return Err(PartsError::Universe { path: path.to_owned(), found: header.rows, expected: rows });
    }
    let cipher = header.cipher(key);
    let mut parts = Zeroizing::new(vec![0; rows as usize]);
    for (number, chunk) in (0..).zip(parts.chunks_mut(CHUNK_BYTES)) {
        let mut tag = [0; TAG_BYTES];
        let read = file.read_exact(chunk).and_then(|()| file.read_exact(&mut tag));
        let (bound, tag) = (header.bound(number), Tag::from(tag));
        read.ok()
            .and_then(|()| cipher.decrypt_inout_detached(&nonce(number), &bound, chunk.into(), &tag).ok())
            .ok_or_else(|| damaged(format!("chunk {number}")))?;
    }
    match file.read(&mut [0]) {
        Ok(0) => Ok(DenseParts { universe: header.universe, default: header.default, parts }),
        _ => Err(damaged("its end".into())),
    }
}
