//! Finished chunks, kept durably beside the output until it is complete.
//!
//! The file is lines of JSON: the binding, then one line a chunk in the order in which they finished. A line
//! that a crash cut off ends the file; it is dropped and its chunk is sent again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use csv::WriterBuilder;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use windvane_keys::files::parent_of;

use super::error::BatchError;
use super::input::Input;
use super::lines::FileEncoding;
use super::output::{HEADER, ResultRow};
use super::{BatchKind, BatchOptions};

/// The version of this file's format.
const VERSION: u32 = 2;

/// What a run must share with the one that it continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binding {
    windvane_batch: u32,
    kind: BatchKind,
    input_sha256: String,
    purpose: String,
    operator: String,
    outlet: Option<String>,
    branch: Option<String>,
    chunk_rows: usize,
}

impl Binding {
    pub(super) fn new(options: &BatchOptions, input: &Input) -> Self {
        Self {
            windvane_batch: VERSION,
            kind: options.kind,
            input_sha256: hex::encode(input.digest()),
            purpose: options.purpose.clone(),
            operator: options.operator.clone(),
            outlet: options.outlet.clone(),
            branch: options.branch.clone(),
            chunk_rows: options.chunk_rows,
        }
    }

    /// The first field in which two runs differ.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let fields = [
            ("version", self.windvane_batch != other.windvane_batch),
            ("kind", self.kind != other.kind),
            ("input", self.input_sha256 != other.input_sha256),
            ("purpose", self.purpose != other.purpose),
            ("operator", self.operator != other.operator),
            ("outlet", self.outlet != other.outlet),
            ("branch", self.branch != other.branch),
            ("chunk size", self.chunk_rows != other.chunk_rows),
        ];
        fields.into_iter().find_map(|(field, differs)| differs.then_some(field))
    }
}

#[derive(Serialize)]
struct RecordRef<'a> {
    chunk: usize,
    rows: &'a [ResultRow],
}

#[derive(Deserialize)]
struct Record {
    chunk: usize,
    rows: Vec<ResultRow>,
}

/// The file of finished chunks, locked.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    /// Where each chunk's line begins.
    places: BTreeMap<usize, u64>,
    rows: u64,
    end: u64,
}

impl Partial {
    /// Opens or begins the file beside `output`.
    pub(super) fn open(output: &Path, binding: &Binding) -> Result<Self, BatchError> {
        let path = path_of(output);
        let file = locked(&path)?;
        let mut partial = Self { file, places: BTreeMap::new(), rows: 0, end: 0, path };
        partial.load(binding)?;
        Ok(partial)
    }

    /// Rows in finished chunks.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn has(&self, chunk: usize) -> bool {
        self.places.contains_key(&chunk)
    }

    /// Keeps a finished chunk; it is durable when this returns.
    pub(super) fn keep(&mut self, chunk: usize, rows: &[ResultRow]) -> Result<(), BatchError> {
        let begin = self.end;
        self.append(&RecordRef { chunk, rows }).map_err(BatchError::io(&self.path))?;
        self.places.insert(chunk, begin);
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Writes the output in the order of the chunks, shows every row to `seen`, and removes this file.
    pub(super) fn publish(
        self,
        output: &Path,
        encoding: FileEncoding,
        seen: impl FnMut(&ResultRow),
    ) -> Result<(), BatchError> {
        let directory = parent_of(output);
        let fresh = NamedTempFile::new_in(directory).map_err(BatchError::io(directory))?;
        self.write_to(fresh.as_file(), encoding, seen).map_err(BatchError::io(output))?;
        fresh.persist(output).map_err(|error| BatchError::io(output)(error.error))?;
        std::fs::remove_file(&self.path).map_err(BatchError::io(&self.path))?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(BatchError::io(directory))
    }

    fn load(&mut self, binding: &Binding) -> Result<(), BatchError> {
        let mut reader = BufReader::new(&self.file);
        let first = whole_line(&mut reader).map_err(BatchError::io(&self.path))?;
        let Some(first) = first else { return self.begin(binding) };
        let damaged = |_| BatchError::PartialDamaged { path: self.path.clone() };
        let found: Binding = serde_json::from_slice(&first).map_err(damaged)?;
        if let Some(field) = found.difference(binding) {
            return Err(BatchError::PartialMismatch { path: self.path.clone(), field });
        }
        self.end = first.len() as u64;
        while let Some(line) = whole_line(&mut reader).map_err(BatchError::io(&self.path))? {
            let Ok(record) = serde_json::from_slice::<Record>(&line) else { break };
            self.places.insert(record.chunk, self.end);
            self.rows += record.rows.len() as u64;
            self.end += line.len() as u64;
        }
        self.cut().map_err(BatchError::io(&self.path))
    }

    fn begin(&mut self, binding: &Binding) -> Result<(), BatchError> {
        let begun = self.cut().and_then(|()| self.append(binding));
        begun.map_err(BatchError::io(&self.path))
    }

    /// Drops what a crash left behind the last whole line.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end)).map(|_| ())
    }

    fn append(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.end += line.len() as u64;
        Ok(())
    }

    fn write_to(
        &self,
        file: &File,
        encoding: FileEncoding,
        mut seen: impl FnMut(&ResultRow),
    ) -> io::Result<()> {
        let mut writer = BufWriter::new(file);
        writer.write_all(encoding.mark())?;
        writer.write_all(&encoding.encode(&text_of([HEADER.as_slice()])?))?;
        for begin in self.places.values() {
            let record = self.record(*begin)?;
            record.rows.iter().for_each(&mut seen);
            let text = text_of(record.rows.iter().map(ResultRow::cells))?;
            writer.write_all(&encoding.encode(&text))?;
        }
        writer.flush()?;
        file.sync_all()
    }

    fn record(&self, begin: u64) -> io::Result<Record> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(begin))?;
        let line = whole_line(&mut BufReader::new(file))?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

/// The file of finished chunks of an output.
pub(super) fn path_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn locked(path: &Path) -> Result<File, BatchError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(BatchError::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(BatchError::Busy { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(BatchError::io(path)(source)),
    }
}

/// A line with its end; `None` where the file ends before one.
fn whole_line(reader: &mut BufReader<impl Read>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// Rows as CSV.
fn text_of<C: AsRef<[u8]>>(
    rows: impl IntoIterator<Item = impl IntoIterator<Item = C>>,
) -> io::Result<String> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
