//! Where in a sealed file each subject is: `file id(16) ‖ chunks(8) ‖ entries(8)`, the place of every chunk in
//! eight bytes, then entries of twelve: the first eight bytes of a print and the number of a chunk, sorted.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;

use super::ChangesError;
use super::subject::Print;
use crate::dataset::sort::Sorter;
use crate::snapshot::disk::{at, create_file, put_in_place};
use crate::spill::SpillError;

const HEADER_BYTES: u64 = 16 + 8 + 8;
const ENTRY_BYTES: usize = 12;
const HASH_BYTES: usize = 8;

/// Chunks of a file: 2^32 lines in chunks of 512, and some that are not full.
const MAX_CHUNKS: u64 = 1 << 25;

type Entry = [u8; ENTRY_BYTES];

/// An index on its way: eight bytes a chunk in memory, and entries as a [`Sorter`] keeps them.
#[derive(Debug)]
pub(super) struct IndexBuilder {
    places: Vec<u64>,
    entries: Sorter,
}

impl IndexBuilder {
    /// An empty index; what does not fit in memory goes to the disk of `folder`.
    pub(super) fn new(folder: &Path, rng: &mut impl CryptoRng) -> Self {
        Self { places: Vec::new(), entries: Sorter::new(ENTRY_BYTES, folder, rng) }
    }

    /// Begins the next chunk, at its place in the file.
    pub(super) fn chunk(&mut self, place: u64) {
        self.places.push(place);
    }

    /// Adds a record of the chunk that was begun last.
    pub(super) fn add(&mut self, print: &Print) -> Result<(), SpillError> {
        let chunk = u32::try_from(self.places.len() - 1).expect("files have fewer chunks than lines");
        let mut entry = [0; ENTRY_BYTES];
        entry[..HASH_BYTES].copy_from_slice(&print[..HASH_BYTES]);
        entry[HASH_BYTES..].copy_from_slice(&chunk.to_be_bytes());
        self.entries.push(&entry)
    }

    /// Writes the index of the sealed file `id`, whole or not at all.
    pub(super) fn write(self, path: &Path, id: &[u8; 16]) -> Result<(), SpillError> {
        let temporary = path.with_extension("tmp");
        let mut file = BufWriter::with_capacity(1 << 20, create_file(&temporary)?);
        file.write_all(&[0; HEADER_BYTES as usize]).map_err(at(&temporary))?;
        let mut places = self.places.iter();
        places.try_for_each(|place| file.write_all(&place.to_be_bytes())).map_err(at(&temporary))?;
        let sorted = self.entries.finish()?;
        let (mut records, mut last, mut entries) = (sorted.records()?, None, 0_u64);
        while let Some(record) = records.next()? {
            let entry: Entry = record.try_into().expect("records are entries");
            if last.replace(entry) != Some(entry) {
                file.write_all(&entry).map_err(at(&temporary))?;
                entries += 1;
            }
        }
        let chunks = self.places.len() as u64;
        let header = [&id[..], &chunks.to_be_bytes(), &entries.to_be_bytes()].concat();
        let mut end = || {
            file.flush()?;
            file.get_ref().write_all_at(&header, 0)?;
            file.get_ref().sync_all()
        };
        end().map_err(at(&temporary))?;
        Ok(put_in_place(&temporary, path)?)
    }
}

/// An open index: the places of chunks in memory, entries on the disk.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    file: File,
    places: Vec<u64>,
    entries: u64,
}

impl Index {
    /// Opens the index of the sealed file `id`; `None` when there is none, or it is another file's.
    pub(super) fn open(path: &Path, id: &[u8; 16]) -> Result<Option<Self>, ChangesError> {
        let file = match File::open(path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(at(path))?,
        };
        let damaged = || ChangesError::Index { path: path.to_owned() };
        let mut header = [0; HEADER_BYTES as usize];
        file.read_exact_at(&mut header, 0).map_err(|_| damaged())?;
        if header[..16] != *id {
            return Ok(None);
        }
        let number = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let (chunks, entries) = (number(16), number(24));
        let length = file.metadata().map_err(at(path))?.len();
        let bytes = entries.checked_mul(ENTRY_BYTES as u64);
        let whole = bytes.and_then(|bytes| bytes.checked_add(HEADER_BYTES + 8 * chunks.min(MAX_CHUNKS)));
        if chunks > MAX_CHUNKS || whole != Some(length) {
            return Err(damaged());
        }
        let mut places = vec![0; 8 * chunks as usize];
        file.read_exact_at(&mut places, HEADER_BYTES).map_err(at(path))?;
        let places = places.as_chunks().0.iter().map(|place| u64::from_be_bytes(*place)).collect();
        Ok(Some(Self { path: path.to_owned(), file, places, entries }))
    }

    /// The numbers of the chunks that may hold the subject's records, ascending.
    pub(super) fn find(&self, print: &Print) -> Result<Vec<u32>, ChangesError> {
        let wanted = &print[..HASH_BYTES];
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?[..HASH_BYTES] < *wanted { low = middle + 1 } else { high = middle }
        }
        let mut chunks = Vec::new();
        while low < self.entries {
            let entry = self.entry(low)?;
            if entry[..HASH_BYTES] != *wanted {
                break;
            }
            chunks.push(u32::from_be_bytes(*entry.last_chunk().expect("four bytes of twelve")));
            low += 1;
        }
        Ok(chunks)
    }

    /// Where a chunk begins.
    pub(super) fn place(&self, chunk: u32) -> Result<u64, ChangesError> {
        let damaged = || ChangesError::Index { path: self.path.clone() };
        self.places.get(chunk as usize).copied().ok_or_else(damaged)
    }

    fn entry(&self, number: u64) -> Result<Entry, ChangesError> {
        let start = HEADER_BYTES + 8 * self.places.len() as u64;
        let mut entry = [0; ENTRY_BYTES];
        self.file.read_exact_at(&mut entry, start + number * ENTRY_BYTES as u64).map_err(at(&self.path))?;
        Ok(entry)
    }
}
