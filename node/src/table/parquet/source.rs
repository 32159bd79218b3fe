//! A Parquet file as the library reads it: what its pages and lists declare is held against how long it is.
//!
//! The library's own way through a file goes on behind its end: a list of a page's header that declares two thousand
//! million elements is "skipped" for hours, in reads of nothing, and a page of two gigabytes is allocated before it is
//! read. Here the end of the file is an error, and so is a part that is not within it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    file: Arc<File>,
    length: u64,
}

/// Its bytes from a place on.
#[derive(Debug)]
pub(super) struct Part {
    file: Arc<File>,
    at: u64,
}

impl Source {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length })
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Source {
    type T = BufReader<Part>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(Part { file: self.file.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let within = start.checked_add(length as u64).is_some_and(|end| end <= self.length);
        if !within {
            return Err(ParquetError::EOF("a part of the file is said to be behind its end".to_owned()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.at)?;
        if read == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn source(bytes: &[u8]) -> Source {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Source::new(file).unwrap()
    }

    #[test]
    fn the_end_of_the_file_is_an_error() {
        let source = source(b"0123456789");
        let mut part = source.get_read(4).unwrap();
        let mut bytes = [0; 6];
        part.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"456789");
        assert_eq!(part.read(&mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(&source.get_bytes(2, 3).unwrap()[..], b"234");
        for (start, length) in [(8, 3), (11, 0), (0, 1 << 40), (u64::MAX, 2)] {
            assert!(source.get_bytes(start, length).is_err(), "{start} {length}");
        }
    }
}
