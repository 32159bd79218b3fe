//! The journal: entries that are durable but not yet in the tree.
//!
//! Two files take turns: while one's entries are published, the other takes new ones; then the first is
//! zeroed. Both keep their length, already written, so that an append overwrites blocks in place and its
//! `fdatasync` need not wait for the file system's own journal (measured on ext4: a third less time than for
//! a file that grows, and undisturbed by the publisher's files).
//!
//! A file is the SHA-256 of the log's verifier key, then records: index u64 ‖ length u32 ‖ entry ‖ the first
//! eight bytes of SHA-256 over all of that; integers big-endian. A record that is not whole ends the file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use windvane_protocols::audit::checkpoint::LogVerifier;
use windvane_protocols::limits::MAX_ENTRY_BYTES;

use super::LogError;
use super::disk::Disk;
use super::files;
use super::stage::Stage;

/// Written ahead in each file: a second of entries at a thousand a second fits.
const PREALLOCATED: u64 = 1 << 20;

/// A file that grew beyond this is cut back when it is cleared.
const MAX_KEPT: u64 = 16 << 20;

const HEADER_BYTES: u64 = 32;
const CHECK_BYTES: usize = 8;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// One of the two files. It keeps its file locked.
#[derive(Debug)]
pub(super) struct Half {
    file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Where the next record goes.
    end: u64,
}

/// Both files.
#[derive(Debug)]
pub(super) struct Journal {
    halves: [Half; 2],
    header: [u8; HEADER_BYTES as usize],
}

impl Journal {
    /// Opens or creates both files and reads the entries that continue a tree of `size` entries. Writes
    /// nothing; [`Journal::reset`] does, once the entries are published.
    pub(super) fn open(
        path: &Path,
        log: &LogVerifier,
        size: u64,
        disk: &Arc<dyn Disk>,
    ) -> Result<(Self, Vec<Vec<u8>>), LogError> {
        let header = Sha256::digest(log.to_string()).into();
        let (first, first_records) = Half::open(suffixed(path, ".0"), &header, disk.clone())?;
        let (second, second_records) = Half::open(suffixed(path, ".1"), &header, disk.clone())?;
        let entries = connect([first_records, second_records], size)?;
        Ok((Self { halves: [first, second], header }, entries))
    }

    /// Empties both files.
    pub(super) fn reset(&mut self) -> Result<(), LogError> {
        for half in &mut self.halves {
            half.reset(&self.header).map_err(files::at(&half.path))?;
        }
        files::sync_parent(&self.halves[0].path)
    }

    /// Makes every later write fail, as storage may.
    #[cfg(test)]
    pub(super) fn fail_writes(&mut self) {
        for half in &mut self.halves {
            half.file = File::open(&half.path).expect("the file was opened before");
        }
    }

    /// The files, to be used in turn.
    pub(super) fn into_halves(self) -> [Half; 2] {
        self.halves
    }
}

/// How many entries are durable as far as the journal knows, 0 when it is empty. Takes no lock: a writer may be at work,
/// and what it removes meanwhile is published.
pub(super) fn durable(path: &Path, log: &LogVerifier) -> Result<u64, LogError> {
    let header = Sha256::digest(log.to_string()).into();
    let mut size = 0;
    for path in [suffixed(path, ".0"), suffixed(path, ".1")] {
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(files::at(&path))?,
        };
        let records = read_records(&file, &header).map_err(files::at(&path))?;
        let records = records.ok_or(LogError::OtherJournal { path })?;
        size = records.last().map_or(size, |(index, _)| size.max(index + 1));
    }
    Ok(size)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes both files. They are given so that their locks end afterwards.
pub(super) fn remove(halves: &[Half; 2]) -> Result<(), LogError> {
    halves.iter().try_for_each(|half| files::remove(&half.path))?;
    files::sync_parent(&halves[0].path)
}

impl Half {
    fn open(path: PathBuf, header: &[u8; 32], disk: Arc<dyn Disk>) -> Result<(Self, Vec<Record>), LogError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(files::at(&path))?;
        files::lock(&file, &path)?;
        let records = read_records(&file, header).map_err(files::at(&path))?;
        let records = records.ok_or_else(|| LogError::OtherJournal { path: path.clone() })?;
        Ok((Self { file, path, disk, end: HEADER_BYTES }, records))
    }

    fn reset(&mut self, header: &[u8; 32]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.disk.write(&self.file, header, 0)?;
        self.zero(HEADER_BYTES, PREALLOCATED)?;
        self.end = HEADER_BYTES;
        self.disk.sync(&self.file)
    }

    /// Makes records durable: one write, one `fdatasync`.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<(), LogError> {
        let written = self.disk.write(&self.file, records, self.end);
        let written = written.and_then(|()| {
            Stage::Written.reached();
            self.disk.sync(&self.file)
        });
        written.map_err(files::at(&self.path))?;
        Stage::Durable.reached();
        self.end += records.len() as u64;
        Ok(())
    }

    /// Forgets all records, once they are published.
    pub(super) fn clear(&mut self) -> Result<(), LogError> {
        let cleared = self.zero(HEADER_BYTES, self.end).and_then(|()| {
            if self.end > MAX_KEPT {
                self.file.set_len(PREALLOCATED)?;
            }
            self.disk.sync(&self.file)
        });
        cleared.map_err(files::at(&self.path))?;
        Stage::Cleared.reached();
        self.end = HEADER_BYTES;
        Ok(())
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.disk.write(&self.file, &ZEROS[..len], at)?;
            at += len as u64;
        }
        Ok(())
    }
}

/// An entry and its index.
type Record = (u64, Vec<u8>);

/// Encodes one record.
pub(super) fn encode(index: u64, entry: &[u8], records: &mut Vec<u8>) {
    let start = records.len();
    // The caller has checked the entry against MAX_ENTRY_BYTES; a longer one would not be replayed.
    let len = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    records.extend_from_slice(&index.to_be_bytes());
    records.extend_from_slice(&len.to_be_bytes());
    records.extend_from_slice(entry);
    let check = check(&records[start..]);
    records.extend_from_slice(&check);
}

fn check(record: &[u8]) -> [u8; CHECK_BYTES] {
    let hash: [u8; 32] = Sha256::digest(record).into();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash[..CHECK_BYTES]);
    check
}

/// The whole records of a file; `None` when it is another log's. A file without a header is empty.
fn read_records(file: &File, header: &[u8; 32]) -> io::Result<Option<Vec<Record>>> {
    let mut file = BufReader::new(file);
    let mut found = [0; HEADER_BYTES as usize];
    if !fill(&mut file, &mut found)? || found == [0; 32] {
        return Ok(Some(Vec::new()));
    }
    if found != *header {
        return Ok(None);
    }
    let mut records = Vec::new();
    while let Some(record) = read_record(&mut file)? {
        records.push(record);
    }
    Ok(Some(records))
}

/// The next record; `None` at the end or where a record is torn.
fn read_record(file: &mut impl Read) -> io::Result<Option<Record>> {
    let mut record = vec![0; 12];
    if !fill(file, &mut record)? {
        return Ok(None);
    }
    let index = record[..8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let len = record[8..].iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    if len == 0 || len > MAX_ENTRY_BYTES {
        return Ok(None);
    }
    record.resize(12 + len, 0);
    let mut found = [0; CHECK_BYTES];
    let whole = fill(file, &mut record[12..])? && fill(file, &mut found)? && found == check(&record);
    Ok(whole.then(|| (index, record.split_off(12))))
}

/// Fills a buffer; false when the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The entries that continue a tree of `size` entries. A file whose entries were published already may not
/// have been cleared; anything else must connect without a gap.
fn connect(mut halves: [Vec<Record>; 2], size: u64) -> Result<Vec<Vec<u8>>, LogError> {
    halves.sort_by_key(|records| records.first().map(|record| record.0));
    let mut entries = Vec::new();
    let unpublished = halves.into_iter().flatten().filter(|(index, _)| *index >= size);
    for (expected, (found, entry)) in (size..).zip(unpublished) {
        if found != expected {
            return Err(LogError::JournalGap { found, expected });
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_documented_bytes() {
        let mut records = Vec::new();
        encode(258, b"ab", &mut records);
        assert_eq!(records[..14], *b"\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x02ab");
        assert_eq!(records[14..], Sha256::digest(&records[..14])[..8]);
        assert_eq!(read_record(&mut records.as_slice()).unwrap(), Some((258, b"ab".to_vec())));
    }

    #[test]
    fn a_record_torn_or_altered_at_any_byte_is_the_end() {
        let mut records = Vec::new();
        encode(7, b"entry", &mut records);
        for i in 0..records.len() {
            assert_eq!(read_record(&mut &records[..i]).unwrap(), None);
            let mut altered = records.clone();
            altered[i] ^= 0x80;
            assert_eq!(read_record(&mut altered.as_slice()).unwrap(), None, "byte {i}");
        }
    }

    #[test]
    fn files_connect_in_either_order_and_gaps_are_refused() {
        let records = |range: std::ops::Range<u64>| range.map(|i| (i, vec![i as u8])).collect::<Vec<_>>();
        let connected = |a, b| connect([records(a), records(b)], 5).map(|entries| entries.concat());
        assert_eq!(connected(5..7, 7..9).unwrap(), [5, 6, 7, 8]);
        assert_eq!(connected(7..9, 5..7).unwrap(), [5, 6, 7, 8]);
        assert_eq!(connected(0..5, 5..7).unwrap(), [5, 6]);
        assert_eq!(connected(2..6, 6..7).unwrap(), [5, 6]);
        assert_eq!(connected(0..0, 0..3).unwrap(), Vec::<u8>::new());
        for (a, b) in [(6..8, 0..0), (5..7, 8..9), (5..7, 5..6), (5..8, 7..9)] {
            assert!(matches!(connected(a, b), Err(LogError::JournalGap { .. })));
        }
    }
}
