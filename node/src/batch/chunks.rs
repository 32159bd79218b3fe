//! Rows in chunks, always the same ones for the same file and size.
//!
//! A chunk is given out only when the file, up to its end, is what the first reading found there. So nothing is asked,
//! and nothing is kept, of a content that the digest of the whole file does not cover.

use std::fs::File;
use std::path::PathBuf;

use super::BatchOptions;
use super::error::BatchError;
use super::input::Input;
use super::lines::Lines;
use super::partial::path_of;
use super::row::{Defaults, Row};

/// Rows that are sent and kept together.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Its place among the chunks.
    pub(super) index: usize,
    /// Its rows; never empty.
    pub(super) rows: Vec<Row>,
}

impl Chunk {
    /// The first and the last line in the file.
    pub(super) fn span(&self) -> (u64, u64) {
        let line = |row: Option<&Row>| row.map_or(0, |row| row.line);
        (line(self.rows.first()), line(self.rows.last()))
    }
}

/// Reads the file chunk by chunk.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    input: &'a Input,
    lines: Lines<File>,
    defaults: Defaults,
    rows: usize,
    next: usize,
    /// The file of finished chunks.
    partial: PathBuf,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(input: &'a Input, options: &BatchOptions) -> Result<Self, BatchError> {
        let defaults = Defaults {
            digest: hex::encode(input.digest()),
            outlet: options.outlet.clone(),
            branch: options.branch.clone(),
        };
        let partial = path_of(&options.output);
        Ok(Self { lines: input.rows()?, input, defaults, rows: options.chunk_rows, next: 0, partial })
    }

    /// The next chunk, `None` at the file's end.
    ///
    /// # Errors
    /// [`BatchError::InputChanged`] before a chunk is given out that the first reading did not find there.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, BatchError> {
        let mut rows = Vec::with_capacity(self.rows);
        let (columns, defaults) = (self.input.columns(), &self.defaults);
        let read = self
            .lines
            .chunk(self.rows, |number, line| rows.push(Row::parse(number, line, columns, defaults)));
        read.map_err(BatchError::io(self.input.path()))?;
        let index = self.next;
        if self.lines.digest() != self.input.digest_to(index) {
            return Err(BatchError::InputChanged { partial: self.partial.clone() });
        }
        if rows.is_empty() {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(Chunk { index, rows }))
    }
}
