//! Thrift's compact protocol, read strictly before the library reads it.
//!
//! The library takes a known field for what it should be, whatever type the file gives it, and skips lists in unknown
//! fields element by element: of booleans, which it takes for nothing each, two thousand million if seven bytes say
//! so. Here every known field must have its type, so that both read the same, and what takes no bytes has no number.
//!
//! Source: Thrift's `thrift-compact-protocol.md`.

use std::io::{self, Read};

use parquet::errors::{ParquetError, Result};

/// What a known field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List(&'static Self),
    Struct(Fields),
}

/// A structure's known fields, by their numbers.
pub(super) type Fields = &'static [(i16, Kind)];

/// How deep structures and lists may lie in each other.
const MAX_DEPTH: usize = 16;

/// Types as they stand in the file. A boolean field is its own value.
mod tag {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const MAP: u8 = 11;
    pub(super) const STRUCT: u8 = 12;
    pub(super) const UUID: u8 = 13;
}

impl Kind {
    fn has(self, tag: u8) -> bool {
        match self {
            Self::Bool => matches!(tag, tag::TRUE | tag::FALSE),
            Self::Byte => tag == tag::BYTE,
            Self::I16 => tag == tag::I16,
            Self::I32 => tag == tag::I32,
            Self::I64 => tag == tag::I64,
            Self::Double => tag == tag::DOUBLE,
            Self::Binary => tag == tag::BINARY,
            Self::List(_) => tag == tag::LIST,
            Self::Struct(_) => tag == tag::STRUCT,
        }
    }
}

/// Reads one structure.
pub(super) struct Scan<R> {
    input: io::Take<R>,
    /// The 32-bit numbers of the outermost structure's fields 0 to 3.
    numbers: [Option<i32>; 4],
}

impl<R: Read> Scan<R> {
    /// Reads a structure of at most so many bytes to its end.
    pub(super) fn structure(input: R, limit: u64, fields: Fields) -> Result<Self> {
        let mut scan = Self { input: input.take(limit), numbers: [None; 4] };
        scan.fields(fields, 0)?;
        Ok(scan)
    }

    /// Bytes of the limit that were not read.
    pub(super) fn left(&self) -> u64 {
        self.input.limit()
    }

    /// The outermost structure's 32-bit number of this field, one of the first three.
    pub(super) fn number(&self, field: usize) -> Option<i32> {
        self.numbers[field]
    }

    fn fields(&mut self, known: Fields, depth: usize) -> Result<()> {
        let mut field = 0_i16;
        loop {
            let [head] = self.bytes()?;
            if head == 0 {
                return Ok(());
            }
            let step = i16::from(head >> 4);
            let next = if step > 0 { field.checked_add(step) } else { i16::try_from(self.signed()?).ok() };
            field = next.ok_or_else(|| damaged("a field's number is none"))?;
            let kind = known.iter().find(|(number, _)| *number == field).map(|(_, kind)| *kind);
            let tag = head & 0xf;
            if kind.is_some_and(|kind| !kind.has(tag)) {
                return Err(damaged("a field is of another type than it should be"));
            }
            if depth == 0 && tag == tag::I32 && (0..4).contains(&field) {
                let number = i32::try_from(self.signed()?).map_err(|_| damaged("a number is too large"))?;
                self.numbers[field.unsigned_abs() as usize] = Some(number);
            } else {
                self.value(tag, kind, depth)?;
            }
        }
    }

    /// Passes by a field's value or a list's element.
    fn value(&mut self, tag: u8, kind: Option<Kind>, depth: usize) -> Result<()> {
        match tag {
            tag::TRUE | tag::FALSE => Ok(()),
            tag::BYTE => self.skip(1),
            tag::I16 | tag::I32 | tag::I64 => self.varint().map(drop),
            tag::DOUBLE => self.skip(8),
            tag::UUID => self.skip(16),
            tag::BINARY => {
                let length = self.varint()?;
                self.skip(length)
            }
            tag::LIST | tag::SET | tag::STRUCT if depth == MAX_DEPTH => {
                Err(damaged("structures lie too deep in each other"))
            }
            tag::LIST | tag::SET => self.list(kind, depth + 1),
            tag::STRUCT => {
                let known = if let Some(Kind::Struct(fields)) = kind { fields } else { &[] };
                self.fields(known, depth + 1)
            }
            tag::MAP if self.varint()? == 0 => Ok(()),
            _ => Err(damaged("a field is of a type that no Parquet file has")),
        }
    }

    fn list(&mut self, kind: Option<Kind>, depth: usize) -> Result<()> {
        let [head] = self.bytes()?;
        let (count, tag) = (head >> 4, head & 0xf);
        let count = if count == 0xf { self.varint()? } else { count.into() };
        let element = if let Some(Kind::List(element)) = kind { Some(*element) } else { None };
        if count > 0 && (matches!(tag, tag::TRUE | tag::FALSE) || element.is_some_and(|kind| !kind.has(tag)))
        {
            return Err(damaged("a list's elements are of another type than they should be"));
        }
        // Each takes a byte at least, so that the input ends before a large number does.
        (0..count).try_for_each(|_| self.value(tag, element, depth))
    }

    /// A number in groups of seven bits, the lowest first.
    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged("a number does not end"))
    }

    /// A number with its sign in the lowest bit.
    fn signed(&mut self) -> Result<i64> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(damaged("a field goes on behind the end")) }
    }
}

pub(super) fn damaged(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Fields =
        &[(1, Kind::I32), (4, Kind::List(&Kind::Struct(&[(1, Kind::Bool)]))), (5, Kind::Binary)];

    fn scan(bytes: &[u8]) -> Result<Scan<&[u8]>> {
        Scan::structure(bytes, bytes.len() as u64, KNOWN)
    }

    #[test]
    fn a_structure_ends_where_it_ends() {
        let unknown =
            b"\x03\x0c\x05\x16\x01\x17\0\0\0\0\0\0\0\0\x1d0123456789abcdef\x1b\0\x1a\x23ab\x19\x0c\0";
        let known = b"\x15\x03\x39\x2c\x11\0\x12\0\x18\x02ab";
        let bytes = [known.as_slice(), unknown, b"rest"].concat();
        let read = scan(&bytes).unwrap();
        assert_eq!((read.left(), read.number(1), read.number(2)), (4, Some(-2), None));
    }

    #[test]
    fn what_the_library_could_read_otherwise_or_for_ever_is_refused() {
        let cases: [(&[u8], &str); 11] = [
            (b"\x18\x01a\0", "another type than it"),
            (b"\x49\x15\x02\0", "another type than they"),
            (b"\x69\xf1\xff\xff\xff\xff\x07\0", "another type than they"),
            (b"\x69\x19\xf2\xff\xff\xff\xff\x07\0", "another type than they"),
            (b"\x6b\xff\xff\xff\xff\x07\x11\0", "no Parquet file"),
            (b"\x6f\0", "no Parquet file"),
            (b"\x69\xf3\xff\xff\xff\xff\x07ab", "behind the end"),
            (b"\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0", "does not end"),
            (b"\x15\x80\x80\x80\x80\x80\x01\0", "too large"),
            (b"\x05\x80\x80\x80\x01\x02\0", "number is none"),
            (&[0x6c; 40], "too deep"),
        ];
        for (bytes, part) in cases {
            let error = scan(bytes).err().expect("it is refused").to_string();
            assert!(error.contains(part), "{bytes:x?}: {error}");
        }
    }
}
