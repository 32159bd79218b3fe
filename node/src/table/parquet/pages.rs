//! Footer and page headers, held against what they may declare before the library reads them.
//!
//! The library reserves what a page declares as its size once decompressed, up to 2 GiB, before it decompresses a byte:
//! here a page that declares more than [`MAX_PAGE_BYTES`] is refused. [`super::thrift`] says what else is.
//!
//! Source: `FileMetaData` and `PageHeader` in parquet-format's `parquet.thrift`, version 2.12.

use parquet::errors::Result;
use parquet::file::reader::ChunkReader;

use super::thrift::Kind::{Binary, Bool, Byte, Double, I16, I32, I64, List, Struct};
use super::thrift::{Fields, Scan, damaged};

/// The most bytes of a page once decompressed. Most tools write pages of 1 MiB, some one for a whole row group.
pub const MAX_PAGE_BYTES: usize = 128 << 20;

/// What a file begins with, and ends with behind the footer's length in four bytes.
pub(super) const MAGIC: [u8; 4] = *b"PAR1";
/// The length and the magic.
const END_BYTES: usize = 8;

const NONE: Fields = &[];
const STATISTICS: Fields =
    &[(1, Binary), (2, Binary), (3, I64), (4, I64), (5, Binary), (6, Binary), (7, Bool), (8, Bool), (9, I64)];

const DATA_PAGE: Fields = &[(1, I32), (2, I32), (3, I32), (4, I32), (5, Struct(STATISTICS))];
const DICTIONARY_PAGE: Fields = &[(1, I32), (2, I32), (3, Bool)];
const DATA_PAGE_V2: Fields =
    &[(1, I32), (2, I32), (3, I32), (4, I32), (5, I32), (6, I32), (7, Bool), (8, Struct(STATISTICS))];
/// Fields 2 and 3 are a page's size decompressed and as it is stored.
const PAGE: Fields = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    (5, Struct(DATA_PAGE)),
    (6, Struct(NONE)),
    (7, Struct(DICTIONARY_PAGE)),
    (8, Struct(DATA_PAGE_V2)),
];

const KEY_VALUE: Fields = &[(1, Binary), (2, Binary)];
const TIME_UNIT: Fields = &[(1, Struct(NONE)), (2, Struct(NONE)), (3, Struct(NONE))];
const TIME: Fields = &[(1, Bool), (2, Struct(TIME_UNIT))];
const LOGICAL_TYPE: Fields = &[
    (1, Struct(NONE)),
    (2, Struct(NONE)),
    (3, Struct(NONE)),
    (4, Struct(NONE)),
    (5, Struct(&[(1, I32), (2, I32)])),
    (6, Struct(NONE)),
    (7, Struct(TIME)),
    (8, Struct(TIME)),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, Struct(NONE)),
    (12, Struct(NONE)),
    (13, Struct(NONE)),
    (14, Struct(NONE)),
    (15, Struct(NONE)),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, I32)])),
];
const SCHEMA_ELEMENT: Fields = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (5, I32),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, Struct(LOGICAL_TYPE)),
];
const BOUNDING_BOX: Fields =
    &[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)];
const COLUMN: Fields = &[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&Struct(KEY_VALUE))),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    (17, Struct(&[(1, Struct(BOUNDING_BOX)), (2, List(&I32))])),
];
const COLUMN_CHUNK: Fields =
    &[(1, Binary), (2, I64), (3, Struct(COLUMN)), (4, I64), (5, I32), (6, I64), (7, I32)];
const ROW_GROUP: Fields = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
];
const FILE: Fields = &[
    (1, I32),
    (2, List(&Struct(SCHEMA_ELEMENT))),
    (3, I64),
    (4, List(&Struct(ROW_GROUP))),
    (5, List(&Struct(KEY_VALUE))),
    (6, Binary),
    (7, List(&Struct(&[(1, Struct(NONE)), (2, Struct(NONE))]))),
];

/// Checks a file's footer. That there is one, the library will say.
pub(super) fn check_footer(source: &impl ChunkReader) -> Result<()> {
    let Some(at) = source.len().checked_sub(END_BYTES as u64) else { return Ok(()) };
    let end = source.get_bytes(at, END_BYTES)?;
    let Some((length, magic)) = end.split_first_chunk::<4>() else { return Ok(()) };
    let length = u64::from(u32::from_le_bytes(*length));
    match at.checked_sub(length) {
        Some(start) if magic == MAGIC => Scan::structure(source.get_read(start)?, length, FILE).map(drop),
        _ => Ok(()),
    }
}

/// Checks the pages of a column chunk; gives the bytes of the largest one, once decompressed.
pub(super) fn check_pages(source: &impl ChunkReader, start: u64, length: u64) -> Result<usize> {
    let end = start.checked_add(length).ok_or_else(|| damaged("a column chunk is behind every end"))?;
    let (mut at, mut largest) = (start, 0);
    while at < end {
        let header = Scan::structure(source.get_read(at)?, end - at, PAGE)?;
        let size = |field| header.number(field).and_then(|size| usize::try_from(size).ok());
        let (Some(page), Some(stored)) = (size(2), size(3)) else {
            return Err(damaged("a page's header has no size, or one below zero"));
        };
        if page > MAX_PAGE_BYTES {
            return Err(damaged(&format!(
                "a page of {page} bytes, expected at most {MAX_PAGE_BYTES}; write the file with smaller pages or row groups"
            )));
        }
        largest = largest.max(page);
        at = end - header.left() + stored as u64;
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A page's header that declares sizes, and further fields of it.
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

    /// Four numbers of a data page, statistics with two binaries, a number and a boolean, and all ends.
    const DATA: &[u8] = b"\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x1c\x18\x02ab\x18\x00\x16\x01\x41\0\0\0";

    fn checked(bytes: &[u8]) -> Result<usize> {
        check_pages(&Bytes::copy_from_slice(bytes), 0, bytes.len() as u64)
    }

    #[test]
    fn pages_within_the_limit_are_passed_by() {
        let limit = u32::try_from(MAX_PAGE_BYTES).unwrap();
        let mut bytes = header(7, 3, b"\x4c\x15\x02\x15\0\x11\0\0");
        bytes.extend_from_slice(b"abc");
        bytes.extend(header(limit, 4, DATA));
        bytes.extend_from_slice(b"abcd");
        assert_eq!(checked(&bytes).unwrap(), MAX_PAGE_BYTES);
        assert!(checked(&bytes[..bytes.len() - 5]).is_err(), "the header ends behind the chunk");
        assert!(check_pages(&Bytes::new(), u64::MAX, 1).is_err());
        let refused =
            [(header(limit + 1, 4, DATA), "smaller pages"), (b"\x15\0\x15\x02\0".to_vec(), "no size")];
        for (bytes, part) in refused {
            let error = checked(&bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(checked(b"\x15\0\x15\x01\x15\x02\0").unwrap_err().to_string().contains("below zero"));
    }
}
