//! Rows in chunks, always the same ones for the same file and size.

use std::fs::File;

use super::BatchOptions;
use super::error::BatchError;
use super::input::Input;
use super::lines::Lines;
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
}

impl<'a> Chunks<'a> {
    pub(super) fn new(input: &'a Input, options: &BatchOptions) -> Result<Self, BatchError> {
        let defaults = Defaults {
            digest: hex::encode(input.digest()),
            outlet: options.outlet.clone(),
            branch: options.branch.clone(),
        };
        Ok(Self { lines: input.rows()?, input, defaults, rows: options.chunk_rows, next: 0 })
    }

    /// The next chunk, `None` at the file's end.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, BatchError> {
        let mut rows = Vec::with_capacity(self.rows);
        while rows.len() < self.rows {
            let line = self.lines.next().map_err(BatchError::io(self.input.path()))?;
            let Some((number, line)) = line else { break };
            rows.extend(Row::parse(number, &line, self.input.columns(), &self.defaults));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let index = self.next;
        self.next += 1;
        Ok(Some(Chunk { index, rows }))
    }

    /// Whether the bytes that were read are those of the first reading; asked at the file's end.
    pub(super) fn unchanged(self) -> bool {
        self.lines.finish().1 == self.input.digest()
    }
}
