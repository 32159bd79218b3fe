//! The headers of a column chunk's pages, read before the library reads them.
//!
//! The library reserves what a page declares as its size once decompressed, up to 2 GiB, before it decompresses a byte, and
//! skips lists of unknown fields element by element, however many are declared. Here a header that declares more than
//! [`MAX_PAGE_BYTES`] is refused, and so is one that the two could read differently: fields out of order or of another
//! type than they have, long numbers, lists, sets and maps, of which a page's header has none.
//!
//! Source: `PageHeader` in parquet-format's `parquet.thrift`, version 2.12; Thrift's compact protocol.

use std::io::{self, Read};

use parquet::errors::{ParquetError, Result};
use parquet::file::reader::ChunkReader;

/// The most bytes of a page once decompressed. Most tools write pages of 1 MiB, some one for a whole row group.
pub const MAX_PAGE_BYTES: usize = 128 << 20;

/// How deep structures lie in a header: its own, the kind's, statistics.
const MAX_DEPTH: usize = 3;

/// Types of the compact protocol's fields.
mod kind {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const STRUCT: u8 = 12;
}

/// Holds the pages of a column chunk that begins at `start` against the limit.
pub(super) fn check(source: &impl ChunkReader, start: u64, length: u64) -> Result<()> {
    let end = start.checked_add(length).ok_or_else(|| damaged("a column chunk is behind every end"))?;
    let mut at = start;
    while at < end {
        let mut header = Header { input: source.get_read(at)?.take(end - at), sizes: [None; 2] };
        header.structure(0, 0)?;
        at = end - header.input.limit();
        let [Some(page), Some(stored)] = header.sizes else {
            return Err(damaged("a page's header lacks its sizes"));
        };
        if page > MAX_PAGE_BYTES {
            return Err(damaged(&format!(
                "a page of {page} bytes, expected at most {MAX_PAGE_BYTES}; write the file with smaller pages or row groups"
            )));
        }
        at += stored as u64;
    }
    Ok(())
}

/// A page's header as it is read.
struct Header<R> {
    input: io::Take<R>,
    /// Bytes of the page decompressed, and as they are stored.
    sizes: [Option<usize>; 2],
}

impl<R: Read> Header<R> {
    /// Reads a structure: the header itself, or within it what `parent`, a field of it, holds.
    fn structure(&mut self, depth: usize, parent: u16) -> Result<()> {
        let mut field = 0_u16;
        loop {
            let [byte] = self.bytes()?;
            let (step, kind) = (byte >> 4, byte & 0xf);
            if byte == 0 {
                return Ok(());
            }
            field = match field.checked_add(step.into()) {
                Some(next) if step > 0 => next,
                _ => return Err(damaged("the fields of a page's header are out of order")),
            };
            if kind != expected(depth, parent, field).unwrap_or(kind) {
                return Err(damaged("a field of a page's header is of another type"));
            }
            match kind {
                kind::TRUE | kind::FALSE => {}
                kind::BYTE => self.skip(1)?,
                kind::I16 | kind::I64 => drop(self.number()?),
                kind::I32 => self.size(depth, field)?,
                kind::DOUBLE => self.skip(8)?,
                kind::BINARY => {
                    let length = self.number()?;
                    self.skip(length)?;
                }
                kind::STRUCT if depth + 1 < MAX_DEPTH => self.structure(depth + 1, field)?,
                _ => return Err(damaged("a page's header holds what none has")),
            }
        }
    }

    /// Reads a 32-bit number, and keeps it if it is one of the sizes.
    fn size(&mut self, depth: usize, field: u16) -> Result<()> {
        let number =
            u32::try_from(self.number()?).map_err(|_| damaged("a number of a page's header is too large"))?;
        // Zigzag: even numbers stand for those from 0 on.
        let size = (number % 2 == 0).then_some(number as usize / 2);
        match (depth, field, size) {
            (0, 2 | 3, None) => Err(damaged("a page's size is below zero")),
            (0, 2 | 3, Some(_)) => {
                self.sizes[usize::from(field - 2)] = size;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads a number in groups of seven bits, the lowest first.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number of a page's header does not end"))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
        if skipped == bytes {
            Ok(())
        } else {
            Err(damaged("a page's header goes on behind its column chunk"))
        }
    }
}

/// The type that the library takes a field for, whatever the file says; none where it goes by the file.
const fn expected(depth: usize, parent: u16, field: u16) -> Option<u8> {
    let numbers = match (depth, parent) {
        (0, _) => 4,
        // Numbers come first in the headers of data pages, of dictionaries, and of data pages of version 2.
        (1, 5) => 4,
        (1, 7) => 2,
        (1, 8) => 6,
        _ => 0,
    };
    match (depth, field) {
        (_, field) if field <= numbers => Some(kind::I32),
        (0, 5..=8) => Some(kind::STRUCT),
        _ => None,
    }
}

fn damaged(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A data page's header that declares sizes, and further fields of it.
    fn header(page: u32, stored: u32, more: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 0];
        for size in [page, stored] {
            bytes.push(0x15);
            let mut rest = u64::from(size) * 2;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes.extend_from_slice(more);
        bytes
    }

    /// Three numbers of a data page, statistics with two binaries, a negative number and a boolean, and both ends.
    const DATA: &[u8] = b"\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x1c\x18\x02ab\x18\x00\x16\x01\x41\0\0\0";

    fn checked(bytes: &[u8], length: u64) -> Result<()> {
        check(&Bytes::copy_from_slice(bytes), 0, length)
    }

    fn refused(bytes: &[u8], part: &str) {
        let error = checked(bytes, bytes.len() as u64).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn pages_within_the_limit_are_passed_by() {
        let limit = u32::try_from(MAX_PAGE_BYTES).unwrap();
        let mut bytes = header(7, 3, b"\x4c\x15\x02\x15\0\x11\0\0");
        bytes.extend_from_slice(b"abc");
        bytes.extend(header(limit, 4, DATA));
        bytes.extend_from_slice(b"abcd");
        checked(&bytes, bytes.len() as u64).unwrap();
        checked(&bytes, 0).unwrap();
        let short = bytes.len() as u64 - 5;
        assert!(checked(&bytes, short).is_err(), "the header ends behind the chunk");
        assert!(check(&Bytes::new(), u64::MAX, 1).is_err());
        refused(&header(limit + 1, 4, DATA), "smaller pages");
    }

    #[test]
    fn what_the_library_could_read_otherwise_is_refused() {
        refused(b"\x15\0\x15\x02\0", "lacks its sizes");
        refused(b"\x15\0\x15\x01\x15\x02\0", "below zero");
        refused(b"\x15\0\x15\x80\x80\x80\x80\x10\x15\x02\0", "too large");
        refused(b"\x15\0\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0", "does not end");
        refused(b"\x15\0\x18\x02ab\x15\x02\0", "another type");
        refused(b"\x15\0\x15\x02\x05\x06\x02\0", "out of order");
        let lists: [&[u8]; 3] = [b"\xf9\x11\x01\0", b"\xfb\0\0", b"\xfc\x1c\x1c\x1c\0\0\0\0\0"];
        for more in lists {
            refused(&header(1, 1, more), "what none has");
        }
        refused(&header(1, 1, b"\xf8\x7fab"), "goes on behind");
    }
}
