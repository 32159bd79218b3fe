//! CSV as the `csv` crate reads it, several times faster where no quotation mark stands.
//!
//! A row is cut at commas and line ends by `memchr`. Only a row in which a quotation mark stands goes through
//! `csv-core`, byte by byte; whether one stands in what was read is asked once for all of it. A test holds both
//! ways, mixed at random, against the `csv` crate. Line ends are `\n`, `\r\n` and `\r`, each of which ends a row and counts
//! as one line, so that no two rows stand in the same line; blank lines are skipped.

use std::fs::File;
use std::path::PathBuf;

use csv_core::ReadRecordResult;
use memchr::{memchr, memchr3};

use super::digest::Digested;
use super::error::TableError;
use super::text::{BadText, Encoding, Lines, Transcoder};
use super::{Cells, Row};
use crate::snapshot::disk::at;

/// The longest row: an open quotation mark must not pull the rest of the file into memory.
pub const MAX_ROW_BYTES: usize = 1 << 20;

/// Room for text at first; it grows where a row needs more.
const BUFFER_BYTES: usize = 1 << 17;

/// Where a field stands in its row's bytes.
pub(super) type Span = (u32, u32);

/// A CSV file's rows, the header among them.
pub(super) struct CsvRows {
    path: PathBuf,
    source: Transcoder<Digested<File>>,
    buffer: Vec<u8>,
    /// What of `buffer` is text that was not given out: `start..end`.
    start: usize,
    end: usize,
    /// The first quotation mark in `start..end`, or `end`.
    quote: usize,
    ended: bool,
    /// Where the byte at `start` stands.
    lines: Lines,
    /// Whole rows so far, the header included.
    rows: u64,
    quoted: Quoted,
    /// The last row: its place and its fields.
    place: Place,
    spans: Vec<Span>,
}

/// How a row was read.
enum Split {
    /// Its fields are spans of the buffer.
    Plain,
    /// Its fields are spans of the unquoted bytes.
    Quoted,
    /// Its end is not in the buffer.
    Unfinished,
}

/// The slow way: a row with quotation marks, unquoted.
struct Quoted {
    core: csv_core::Reader,
    /// The fields' bytes, one after another, `used` in all.
    bytes: Vec<u8>,
    used: usize,
    /// Where in `bytes` each of `fields` fields ends.
    ends: Vec<usize>,
    fields: usize,
}

/// Where the last row stands.
#[derive(Clone, Copy)]
struct Place {
    quoted: bool,
    line: u64,
}

impl CsvRows {
    pub(super) fn open(path: PathBuf, file: Digested<File>, encoding: Encoding) -> Result<Self, TableError> {
        let source = Transcoder::open(encoding, file).map_err(at(&path))?;
        Ok(Self {
            path,
            source,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            quote: 0,
            ended: false,
            lines: Lines::FIRST,
            rows: 0,
            quoted: Quoted::new(),
            place: Place { quoted: false, line: 0 },
            spans: Vec::new(),
        })
    }

    pub(super) fn encoding(&self) -> &'static str {
        self.source.encoding()
    }

    /// Bytes of the file read.
    pub(super) const fn done(&self) -> u64 {
        self.source.read()
    }

    /// SHA-256 of the whole file, if it was asked for and the last row was read.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        self.source.source().digest().filter(|_| self.ended)
    }

    /// Reads the next row; false behind the last.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<bool, TableError> {
        loop {
            self.skip_line_ends();
            let line = self.lines.line;
            let split = if self.start < self.end { self.split() } else { Split::Unfinished };
            let quoted = match split {
                Split::Plain => false,
                Split::Quoted => self.read_quoted().map(|()| true)?,
                Split::Unfinished if self.ended => return Ok(false),
                Split::Unfinished => {
                    self.refill()?;
                    continue;
                }
            };
            self.place = Place { quoted, line };
            self.rows += 1;
            return Ok(true);
        }
    }

    /// The row that [`Self::advance`] read. Rows are numbered from 0; the header has no number.
    #[inline]
    pub(super) fn row<'a>(&'a self, chosen: &'a [usize]) -> Row<'a> {
        let bytes = if self.place.quoted { &self.quoted.bytes } else { &self.buffer };
        let cells = Cells::Spans { bytes, spans: &self.spans, chosen };
        Row { number: self.rows.wrapping_sub(2), line: self.place.line, cells }
    }

    /// How many fields the last row has.
    pub(super) fn width(&self) -> usize {
        self.spans.len()
    }

    #[inline]
    fn skip_line_ends(&mut self) {
        while let Some(byte @ (b'\n' | b'\r')) = self.buffer[..self.end].get(self.start) {
            self.lines.pass_end(*byte);
            self.start += 1;
        }
    }

    /// Cuts the row at `start` if no quotation mark stands in it.
    #[inline]
    fn split(&mut self) -> Split {
        self.spans.clear();
        let text = &self.buffer[..self.quote];
        let mut from = self.start;
        while let Some(length) = memchr3(b',', b'\n', b'\r', &text[from..]) {
            let to = from + length;
            self.spans.push(span(from, to));
            from = to + 1;
            if text[to] != b',' {
                self.lines.end(text[to]);
                self.start = from;
                return Split::Plain;
            }
        }
        if self.quote < self.end {
            return Split::Quoted;
        }
        if !self.ended {
            return Split::Unfinished;
        }
        self.spans.push(span(from, self.end));
        self.start = self.end;
        Split::Plain
    }

    /// Reads the row at `start` through `csv-core`.
    fn read_quoted(&mut self) -> Result<(), TableError> {
        self.quoted.clear();
        let (first, mut length) = (self.lines.line, 0);
        loop {
            let (ended, read) = self.quoted.feed(&self.buffer[self.start..self.end]);
            let taken = &self.buffer[self.start..self.start + read];
            self.lines.pass(taken);
            self.start += read;
            self.quote = self.start;
            length += read;
            if length > MAX_ROW_BYTES {
                return Err(TableError::RowTooLong { path: self.path.clone(), line: first });
            }
            if ended {
                break;
            }
            if self.start == self.end && !self.ended {
                self.refill()?;
            }
        }
        self.find_quote(self.start);
        self.spans.clear();
        self.quoted.spans(&mut self.spans);
        Ok(())
    }

    /// Moves what is left to the front and reads more behind it.
    fn refill(&mut self) -> Result<(), TableError> {
        let left = self.end - self.start;
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end, self.quote) = (0, left, self.quote - self.start);
        if left > MAX_ROW_BYTES {
            return Err(TableError::RowTooLong { path: self.path.clone(), line: self.lines.line });
        }
        if self.buffer.len() - left < BUFFER_BYTES / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let filled = self.source.fill(&mut self.buffer[left..]);
        let filled = filled.map_err(|error| match error.downcast::<BadText>() {
            Ok(BadText { line, encoding }) => {
                TableError::Encoding { path: self.path.clone(), line, expected: encoding }
            }
            Err(error) => at(&self.path)(error).into(),
        })?;
        self.ended = filled == 0;
        let found = self.quote < left;
        self.end += filled;
        if !found {
            self.find_quote(left);
        }
        Ok(())
    }

    fn find_quote(&mut self, from: usize) {
        self.quote = memchr(b'"', &self.buffer[from..self.end]).map_or(self.end, |at| from + at);
    }
}

impl Quoted {
    fn new() -> Self {
        let (mut bytes, mut ends) = (vec![0; 1 << 10], vec![0; 64]);
        let mut core = csv_core::Reader::new();
        // It drops a byte order mark before the first byte that it sees; here that would be in mid-file.
        core.read_record(b"\n", &mut bytes, &mut ends);
        Self { core, bytes, used: 0, ends, fields: 0 }
    }

    fn clear(&mut self) {
        (self.used, self.fields) = (0, 0);
    }

    /// Reads on; empty `input` is the file's end. Gives whether the row ended and how much was read.
    fn feed(&mut self, input: &[u8]) -> (bool, usize) {
        let mut read = 0;
        loop {
            let (bytes, ends) = (&mut self.bytes[self.used..], &mut self.ends[self.fields..]);
            let (result, taken, used, fields) = self.core.read_record(&input[read..], bytes, ends);
            (read, self.used, self.fields) = (read + taken, self.used + used, self.fields + fields);
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => return (true, read),
                ReadRecordResult::InputEmpty => return (false, read),
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
            }
        }
    }

    /// The fields of the row; `csv-core` counts their ends from the row's first byte.
    fn spans(&self, spans: &mut Vec<Span>) {
        let mut from = 0;
        for &to in &self.ends[..self.fields] {
            spans.push(span(from, to));
            from = to;
        }
    }
}

fn span(from: usize, to: usize) -> Span {
    let narrow = |at| u32::try_from(at).expect("the buffer is a few MiB at most");
    (narrow(from), narrow(to))
}
