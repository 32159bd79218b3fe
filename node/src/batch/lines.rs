//! Lines of a file: bounded, numbered, digested and decoded one by one.
//!
//! In UTF-8 and in GB 18030 the bytes of a line end, a comma and a quotation mark are never part of another
//! character, so lines are cut before they are decoded: neither a bad byte nor an open quotation mark reaches
//! past its own line.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::str::FromStr;

use encoding_rs::GB18030;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The longest line: seven cells of 256 bytes, and room for columns that are ignored.
const MAX_LINE_BYTES: usize = 64 << 10;

const BUFFER_BYTES: usize = 256 << 10;

const MARK: &[u8] = b"\xEF\xBB\xBF";

/// How a file's text becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileEncoding {
    /// UTF-8 without a mark.
    Utf8,
    /// UTF-8 that begins with the mark EF BB BF, as spreadsheets write and need it.
    Utf8WithMark,
    /// GB 18030.
    Gb18030,
}

/// The text names none of the encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected utf-8, utf-8-bom or gb18030")]
pub struct UnknownEncoding;

impl FileEncoding {
    /// The encoding of a file by its header, which holds Chinese and so tells the two apart.
    fn of_header(header: &[u8]) -> Self {
        if header.starts_with(MARK) {
            Self::Utf8WithMark
        } else if std::str::from_utf8(header).is_ok() {
            Self::Utf8
        } else {
            Self::Gb18030
        }
    }

    /// The name on the command line and in summaries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf8WithMark => "utf-8-bom",
            Self::Gb18030 => "gb18030",
        }
    }

    /// What stands before the text.
    pub(super) const fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8WithMark => MARK,
            Self::Utf8 | Self::Gb18030 => b"",
        }
    }

    /// The bytes of a text.
    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 | Self::Utf8WithMark => text.as_bytes().to_vec(),
            Self::Gb18030 => GB18030.encode(text).0.into_owned(),
        }
    }

    /// The text of a line; what is no character becomes U+FFFD, which every rule of an identity refuses.
    fn decode(self, line: &[u8]) -> Zeroizing<String> {
        let text = match self {
            Self::Utf8 | Self::Utf8WithMark => String::from_utf8_lossy(line),
            Self::Gb18030 => GB18030.decode_without_bom_handling(line).0,
        };
        Zeroizing::new(text.into_owned())
    }
}

impl FromStr for FileEncoding {
    type Err = UnknownEncoding;

    fn from_str(text: &str) -> Result<Self, UnknownEncoding> {
        let all = [Self::Utf8, Self::Utf8WithMark, Self::Gb18030];
        all.into_iter().find(|encoding| encoding.as_str() == text).ok_or(UnknownEncoding)
    }
}

impl fmt::Display for FileEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for FileEncoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The decoded text.
    Text(Zeroizing<String>),
    /// More than [`MAX_LINE_BYTES`]; the rest was skipped.
    TooLong,
}

impl Line {
    /// Whether it has no row.
    fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }
}

/// Reads a file line by line.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: BufReader<R>,
    encoding: FileEncoding,
    hasher: Sha256,
    number: u64,
    line: Zeroizing<Vec<u8>>,
}

impl<R: Read> Lines<R> {
    /// Starts at the header, which it reads and gives back; `None` where the file is empty.
    pub(super) fn open(source: R) -> io::Result<Option<(Line, Self)>> {
        let mut lines = Self {
            source: BufReader::with_capacity(BUFFER_BYTES, source),
            encoding: FileEncoding::Utf8,
            hasher: Sha256::new(),
            number: 0,
            line: Zeroizing::default(),
        };
        let Some(whole) = lines.read()? else { return Ok(None) };
        lines.encoding = FileEncoding::of_header(&lines.line);
        lines.line.drain(..lines.encoding.mark().len());
        let header = lines.decoded(whole);
        Ok(Some((header, lines)))
    }

    /// The next line with its number; the header has number 1.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Line)>> {
        let Some(whole) = self.read()? else { return Ok(None) };
        Ok(Some((self.number, self.decoded(whole))))
    }

    /// The next lines that have rows, at most `count`, with their numbers; fewer only at the file's end.
    pub(super) fn chunk(&mut self, count: usize, mut each: impl FnMut(u64, &Line)) -> io::Result<usize> {
        let mut found = 0;
        while found < count {
            let Some((number, line)) = self.next()? else { break };
            if !line.is_blank() {
                each(number, &line);
                found += 1;
            }
        }
        Ok(found)
    }

    pub(super) fn encoding(&self) -> FileEncoding {
        self.encoding
    }

    /// Bytes held for lines.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.line.capacity()
    }

    /// How many lines were read.
    pub(super) fn count(&self) -> u64 {
        self.number
    }

    /// SHA-256 over all bytes of the lines that were read.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    fn decoded(&self, whole: bool) -> Line {
        if whole { Line::Text(self.encoding.decode(&self.line)) } else { Line::TooLong }
    }

    /// Reads to the next line end; `None` at the file's end, false where the line is too long to keep.
    fn read(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let (mut bytes, mut ended) = (0_usize, false);
        while !ended {
            let ready = self.source.fill_buf()?;
            if ready.is_empty() {
                break;
            }
            let end = ready.iter().position(|byte| *byte == b'\n');
            ended = end.is_some();
            let taken = end.map_or(ready.len(), |end| end + 1);
            let room = (MAX_LINE_BYTES + 2).saturating_sub(self.line.len()).min(taken);
            self.line.extend_from_slice(&ready[..room]);
            self.hasher.update(&ready[..taken]);
            self.source.consume(taken);
            bytes = bytes.saturating_add(taken);
        }
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.trim_end();
        Ok(Some(bytes <= MAX_LINE_BYTES))
    }

    fn trim_end(&mut self) {
        for end in [b'\n', b'\r'] {
            if self.line.last() == Some(&end) {
                self.line.pop();
            }
        }
    }
}
