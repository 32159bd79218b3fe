//! A CSV file as the `csv` crate writes it, byte for byte; a test holds the two against each other.

use std::fs::File;
use std::io::{self, Write as _};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 18;

/// A file being written.
pub(super) struct CsvWriter {
    file: File,
    buffer: Vec<u8>,
}

impl CsvWriter {
    pub(super) fn begin(file: File, names: &[&str]) -> io::Result<Self> {
        let mut writer = Self { file, buffer: Vec::with_capacity(BUFFER_BYTES + (1 << 12)) };
        writer.row(names.iter().map(|name| name.as_bytes()))?;
        Ok(writer)
    }

    /// Adds a row and gives how many cells it has.
    #[inline]
    pub(super) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a [u8]>) -> io::Result<usize> {
        let (mut count, mut bytes) = (0, 0);
        for cell in cells {
            if count > 0 {
                self.buffer.push(b',');
            }
            write_cell(cell, &mut self.buffer);
            count += 1;
            bytes += cell.len();
        }
        // Else the line would be blank, and no row.
        if count == 1 && bytes == 0 {
            self.buffer.extend_from_slice(b"\"\"");
        }
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER_BYTES {
            self.write()?;
        }
        Ok(count)
    }

    pub(super) fn finish(mut self) -> io::Result<File> {
        self.write()?;
        Ok(self.file)
    }

    #[cold]
    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// RFC 4180, section 2, rules 5 to 7.
#[inline]
fn write_cell(cell: &[u8], into: &mut Vec<u8>) {
    let is_special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    // Without a way out in between, so that many bytes are looked at together.
    if cell.iter().fold(false, |found, byte| found | is_special(byte)) {
        write_quoted(cell, into);
    } else {
        into.extend_from_slice(cell);
    }
}

#[cold]
fn write_quoted(cell: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for byte in cell {
        if *byte == b'"' {
            into.push(b'"');
        }
        into.push(*byte);
    }
    into.push(b'"');
}
