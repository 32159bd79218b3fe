//! The sealed staging file: canonical records of one import, between the operator's file and the tables.
//!
//! `magic ‖ import id(16) ‖ storage key id(16)`, then frames `kind(1) ‖ len32 ‖ body`: chunks of records
//! sealed with AES-256-GCM, and one last frame with the import's report in clear and a tag over it, then that
//! frame's body length once more, so that the report is found from the file's end. The key derives from the
//! node's storage key and the random import id, the nonce is the chunk's number, the associated data name
//! the data set, the import and the chunk; so a chunk that was changed, moved, left out or taken from
//! another import is found, and so is a file that was cut off.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use rand_core::CryptoRng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windvane_keys::files::FileError;
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::kdf;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::transcript::Transcript;
use zeroize::{Zeroize as _, Zeroizing};

use super::quality::ImportReport;
use super::row::{Records, StagedRecord};
use crate::snapshot::disk::{at, create_file, put_in_place};

const MAGIC: &[u8; 20] = b"windvane-staging/v1\n";
const HEADER_BYTES: u64 = 20 + 16 + 16;
const TAG_BYTES: usize = 16;
const RECORDS: u8 = 1;
const END: u8 = 2;

/// A chunk holds 512 records of at most four identity fields and a label.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// A report names every reject rule once.
const MAX_REPORT_BYTES: usize = 64 << 10;

/// Why a staging file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StagingError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is none.
    #[error("nothing was imported into data set {data_set}; run: windvane dataset import")]
    Missing {
        /// The data set.
        data_set: String,
    },
    /// It was sealed under another storage key.
    #[error("{path} was sealed under another storage key; import the file again")]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// It was changed, damaged or cut off.
    #[error("{path} is damaged in {place}; import the file again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        place: String,
    },
}

impl StagingError {
    /// The error's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Missing { .. } => "STAGING_MISSING",
            Self::Key { .. } => "STAGING_KEY",
            Self::Damaged { .. } => "STAGING_DAMAGED",
        }
    }

    fn damaged(path: &Path, place: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), place: place.into() }
    }
}

/// One import's key, and what binds its chunks.
struct Seal {
    cipher: Aes256Gcm,
    data_set: DataSet,
    import: [u8; 16],
}

impl Seal {
    /// HKDF-SHA-512 of the storage key, with empty salt and info = len16 ‖ "staging" ‖ len16 ‖ data set ‖
    /// import id.
    fn new(key: &StorageKey, data_set: &DataSet, import: [u8; 16]) -> Self {
        let name = data_set.as_str().as_bytes();
        let length = [0, u8::try_from(name.len()).expect("data set names have at most 64 bytes")];
        let info = [b"\x00\x07staging".as_slice(), &length, name, &import].concat();
        let mut bytes = Key::<Aes256Gcm>::default();
        kdf::extract(key.secret().expose()).expand(&info, &mut bytes).expect("32 bytes are a valid length");
        let cipher = Aes256Gcm::new(&bytes);
        bytes.zeroize();
        Self { cipher, data_set: data_set.clone(), import }
    }

    fn nonce(chunk: u64) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&chunk.to_be_bytes());
        nonce.into()
    }

    fn bound(&self, kind: u8, chunk: u64, report: &[u8]) -> Vec<u8> {
        Transcript::new("windvane/staging/v1")
            .text("data set", self.data_set.as_str())
            .bytes("import", &self.import)
            .bytes("kind", &[kind])
            .u64("chunk", chunk)
            .bytes("report", report)
            .into_bytes()
    }

    fn seal(&self, kind: u8, chunk: u64, report: &[u8], body: &mut [u8]) -> Tag {
        self.cipher
            .encrypt_inout_detached(&Self::nonce(chunk), &self.bound(kind, chunk, report), body.into())
            .expect("chunks are far below the cipher's limit")
    }

    fn open(&self, kind: u8, chunk: u64, report: &[u8], body: &mut [u8], tag: &[u8]) -> Option<()> {
        let bound = self.bound(kind, chunk, report);
        let tag = Tag::try_from(tag).ok()?;
        self.cipher.decrypt_inout_detached(&Self::nonce(chunk), &bound, body.into(), &tag).ok()
    }
}

/// A staging file being written, under a temporary name; dropped unfinished, it disappears.
pub(super) struct StagingWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    seal: Seal,
    chunks: u64,
    written: u64,
}

impl StagingWriter {
    pub(super) fn create(
        path: &Path,
        data_set: &DataSet,
        key: &StorageKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, FileError> {
        let mut import = [0; 16];
        rng.fill_bytes(&mut import);
        let temporary = path.with_extension("tmp");
        let mut file = BufWriter::with_capacity(1 << 20, create_file(&temporary)?);
        let header = [MAGIC.as_slice(), &import, key.id().as_bytes()].concat();
        file.write_all(&header).map_err(at(&temporary))?;
        let seal = Seal::new(key, data_set, import);
        Ok(Self { path: path.to_owned(), temporary, file, seal, chunks: 0, written: HEADER_BYTES })
    }

    /// The import's random id.
    pub(super) const fn import(&self) -> &[u8; 16] {
        &self.seal.import
    }

    /// Chunks so far.
    pub(super) const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Where the next chunk begins.
    pub(super) const fn position(&self) -> u64 {
        self.written
    }

    /// Seals and writes a chunk of records.
    pub(super) fn append(&mut self, mut records: Zeroizing<Vec<u8>>) -> Result<(), FileError> {
        let tag = self.seal.seal(RECORDS, self.chunks, &[], &mut records);
        self.chunks += 1;
        self.frame(RECORDS, &[&records, &tag])
    }

    /// Adds the report and puts the file in place of the one before it.
    pub(super) fn finish(mut self, report: &impl Serialize) -> Result<(), FileError> {
        let report = serde_json::to_vec(report).expect("counts and texts serialise");
        let tag = self.seal.seal(END, self.chunks, &report, &mut []);
        self.frame(END, &[&report, &tag])?;
        let length = length32(report.len() + TAG_BYTES);
        self.file.write_all(&length).map_err(at(&self.temporary))?;
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(at(&self.temporary))?;
        put_in_place(&self.temporary, &self.path)
    }

    fn frame(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), FileError> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let length = length32(bytes);
        self.written += 5 + bytes as u64;
        let mut write = || {
            self.file.write_all(&[kind])?;
            self.file.write_all(&length)?;
            parts.iter().try_for_each(|part| self.file.write_all(part))
        };
        write().map_err(at(&self.temporary))
    }
}

impl Drop for StagingWriter {
    fn drop(&mut self) {
        // Gone already when the file was finished.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn length32(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("frames are small").to_be_bytes()
}

/// A sealed file that is open: its chunks in order, or one of them by its place.
pub(super) struct Sealed {
    path: PathBuf,
    file: BufReader<File>,
    seal: Seal,
    chunk: u64,
    chunks: u64,
}

impl Sealed {
    /// Opens a file and checks its report, which knows how many chunks there are.
    pub(super) fn open<T: DeserializeOwned>(
        path: &Path,
        data_set: &DataSet,
        key: &StorageKey,
        chunks: impl FnOnce(&T) -> u64,
    ) -> Result<(Self, T), StagingError> {
        let mut file = open_file(path, data_set)?;
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact(&mut header).map_err(|_| StagingError::damaged(path, "its header"))?;
        let (magic, ids) = header.split_at(MAGIC.len());
        let (import, key_id) = ids.split_at(16);
        if magic != MAGIC {
            return Err(StagingError::damaged(path, "its header"));
        }
        if key_id != key.id().as_bytes() {
            return Err(StagingError::Key { path: path.to_owned() });
        }
        let seal = Seal::new(key, data_set, import.try_into().expect("an id has 16 bytes"));
        let end = read_end(path, &mut file)?;
        let damaged = || StagingError::damaged(path, "its report");
        let report: T = serde_json::from_slice(&end.json).map_err(|_| damaged())?;
        let chunks = chunks(&report);
        seal.open(END, chunks, &end.json, &mut [], &end.tag).ok_or_else(damaged)?;
        file.seek(SeekFrom::Start(HEADER_BYTES)).map_err(at(path))?;
        let file = BufReader::with_capacity(1 << 20, file);
        Ok((Self { path: path.to_owned(), file, seal, chunk: 0, chunks }, report))
    }

    /// The random id of the file.
    pub(super) const fn id(&self) -> &[u8; 16] {
        &self.seal.import
    }

    /// The next chunk, decrypted; `None` behind the last.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, StagingError> {
        if self.chunk == self.chunks {
            return Ok(None);
        }
        let (number, file) = (self.chunk, &mut self.file);
        let plain = open_chunk(&self.seal, number, |bytes| file.read_exact(bytes));
        let plain = plain.ok_or_else(|| self.damaged(number))?;
        self.chunk += 1;
        Ok(Some(plain))
    }

    /// Where the next chunk begins.
    pub(super) fn position(&mut self) -> Result<u64, StagingError> {
        Ok(self.file.stream_position().map_err(at(&self.path))?)
    }

    /// The chunk `number`, which begins at `position`.
    pub(super) fn chunk_at(&self, number: u64, position: u64) -> Result<Zeroizing<Vec<u8>>, StagingError> {
        // Not through the buffer, which would read far more than the chunk.
        let (file, mut position) = (self.file.get_ref(), position);
        let read = |bytes: &mut [u8]| {
            file.read_exact_at(bytes, position)?;
            position += bytes.len() as u64;
            Ok(())
        };
        open_chunk(&self.seal, number, read).ok_or_else(|| self.damaged(number))
    }

    /// Chunk `number` does not hold what was written there.
    pub(super) fn damaged(&self, number: u64) -> StagingError {
        StagingError::damaged(&self.path, format!("chunk {number}"))
    }
}

/// Reads one frame and opens it as chunk `number`.
fn open_chunk(
    seal: &Seal,
    number: u64,
    mut read: impl FnMut(&mut [u8]) -> io::Result<()>,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut head = [0; 5];
    read(&mut head).ok()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if head[0] != RECORDS || length > MAX_CHUNK_BYTES {
        return None;
    }
    let mut tag = [0; TAG_BYTES];
    let mut body = Zeroizing::new(vec![0; length.checked_sub(TAG_BYTES)?]);
    read(&mut body).ok()?;
    read(&mut tag).ok()?;
    seal.open(RECORDS, number, &[], &mut body, &tag)?;
    Some(body)
}

/// Reads the records of a staging file.
pub struct StagingReader {
    sealed: Sealed,
    report: ImportReport,
    label_bytes: usize,
}

impl std::fmt::Debug for StagingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagingReader").field("report", &self.report).finish_non_exhaustive()
    }
}

impl StagingReader {
    /// Opens the staging file of a data set's last import and checks its report. `label_bytes` is the
    /// schema's.
    ///
    /// # Errors
    /// [`StagingError`].
    pub fn open(
        data_dir: &Path,
        data_set: &DataSet,
        label_bytes: usize,
        key: &StorageKey,
    ) -> Result<Self, StagingError> {
        Self::open_file(&super::DataSetDir::new(data_dir, data_set).staging(), data_set, label_bytes, key)
    }

    pub(super) fn open_file(
        path: &Path,
        data_set: &DataSet,
        label_bytes: usize,
        key: &StorageKey,
    ) -> Result<Self, StagingError> {
        let (sealed, report) = Sealed::open(path, data_set, key, |report: &ImportReport| report.chunks)?;
        Ok(Self { sealed, report, label_bytes })
    }

    /// What the import found.
    pub const fn report(&self) -> &ImportReport {
        &self.report
    }

    /// The next chunk; `None` behind the last.
    pub(super) fn next_chunk(&mut self) -> Result<Option<StagedChunk>, StagingError> {
        let number = self.sealed.chunk;
        let Some(plain) = self.sealed.next_chunk()? else { return Ok(None) };
        let (path, label_bytes) = (self.sealed.path.clone(), self.label_bytes);
        Ok(Some(StagedChunk { path, number, plain, label_bytes }))
    }

    /// The random id of the import.
    pub(super) const fn id(&self) -> &[u8; 16] {
        self.sealed.id()
    }

    /// Where the next chunk begins.
    pub(super) fn position(&mut self) -> Result<u64, StagingError> {
        self.sealed.position()
    }

    /// The chunk `number`, which begins at `position`.
    pub(super) fn chunk_at(&self, number: u64, position: u64) -> Result<StagedChunk, StagingError> {
        let plain = self.sealed.chunk_at(number, position)?;
        let (path, label_bytes) = (self.sealed.path.clone(), self.label_bytes);
        Ok(StagedChunk { path, number, plain, label_bytes })
    }
}

/// Decrypted records.
pub(super) struct StagedChunk {
    path: PathBuf,
    number: u64,
    plain: Zeroizing<Vec<u8>>,
    label_bytes: usize,
}

impl std::fmt::Debug for StagedChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedChunk").field("number", &self.number).finish_non_exhaustive()
    }
}

impl StagedChunk {
    /// The records, in the order of the file.
    pub(super) fn records(&self) -> Result<Vec<StagedRecord>, StagingError> {
        let damaged = || StagingError::damaged(&self.path, format!("chunk {}", self.number));
        let records = Records::new(&self.plain, self.label_bytes);
        records.collect::<Option<_>>().ok_or_else(damaged)
    }
}

/// Every record of a staging file, in order; a chunk in memory at a time.
#[derive(Debug)]
pub struct StagedRecords {
    reader: StagingReader,
    records: std::vec::IntoIter<StagedRecord>,
}

impl Iterator for StagedRecords {
    type Item = Result<StagedRecord, StagingError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.records.next() {
                return Some(Ok(record));
            }
            match self.reader.next_chunk().and_then(|chunk| chunk.map(|c| c.records()).transpose()) {
                Ok(Some(records)) => self.records = records.into_iter(),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl IntoIterator for StagingReader {
    type Item = Result<StagedRecord, StagingError>;
    type IntoIter = StagedRecords;

    fn into_iter(self) -> StagedRecords {
        StagedRecords { reader: self, records: Vec::new().into_iter() }
    }
}

/// The report in a sealed file, without its key and so without a check that it was not changed; `None` when there
/// is no file.
pub(super) fn unchecked_report<T: DeserializeOwned>(
    path: &Path,
    data_set: &DataSet,
) -> Result<Option<T>, StagingError> {
    let mut file = match open_file(path, data_set) {
        Err(StagingError::Missing { .. }) => return Ok(None),
        other => other?,
    };
    let report = serde_json::from_slice(&read_end(path, &mut file)?.json);
    report.map(Some).map_err(|_| StagingError::damaged(path, "its report"))
}

/// The last frame.
struct End {
    json: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

fn open_file(path: &Path, data_set: &DataSet) -> Result<File, StagingError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StagingError::Missing { data_set: data_set.to_string() },
        _ => at(path)(source).into(),
    })
}

fn read_end(path: &Path, file: &mut File) -> Result<End, StagingError> {
    let damaged = || StagingError::damaged(path, "its end");
    let size = file.metadata().map_err(at(path))?.len();
    let mut length = [0; 4];
    file.seek(SeekFrom::End(-4)).map_err(|_| damaged())?;
    file.read_exact(&mut length).map_err(at(path))?;
    let length = u32::from_be_bytes(length) as usize;
    let fits = (TAG_BYTES..=MAX_REPORT_BYTES).contains(&length) && HEADER_BYTES + length as u64 + 9 <= size;
    if !fits {
        return Err(damaged());
    }
    let mut frame = vec![0; length + 5];
    file.seek(SeekFrom::End(-(length as i64) - 9)).map_err(at(path))?;
    file.read_exact(&mut frame).map_err(at(path))?;
    let (head, body) = frame.split_at(5);
    if head[0] != END || head[1..] != length32(length) {
        return Err(damaged());
    }
    let (json, tag) = body.split_last_chunk().ok_or_else(damaged)?;
    Ok(End { json: json.to_vec(), tag: *tag })
}
