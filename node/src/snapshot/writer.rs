//! Writes pages one after another, with the index, the root and the counts that come of them.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use windvane_keys::files::FileError;
use windvane_protocols::audit::merkle::{Frontier, leaf_hash};
use windvane_protocols::limits::PAGE_BYTES;
use windvane_protocols::lookup::row::{LOCATOR_BYTES, Locator, Table};
use windvane_protocols::lookup::snapshot::{count_rows, first_locator};

use super::disk::{at, create_file, write_file};
use super::{INDEX, Installation, PAGES, RECORD};

const BUFFER_BYTES: usize = 1 << 20;

/// Pages on their way to the disk.
#[derive(Debug)]
pub(crate) struct PageWriter {
    dir: PathBuf,
    table: Table,
    file: BufWriter<File>,
    firsts: Vec<Locator>,
    last: Option<Locator>,
    rows: u64,
    frontier: Frontier,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Rows in all pages.
    pub(crate) rows: u64,
    /// Pages of 4,096 bytes.
    pub(crate) pages: u64,
    /// RFC 6962 root over the pages.
    pub(crate) root: [u8; 32],
}

impl PageWriter {
    /// Begins an empty file.
    pub(crate) fn create(dir: &Path, table: &Table) -> Result<Self, FileError> {
        Ok(Self::onto(dir, table, create_file(&dir.join(PAGES))?))
    }

    /// Goes on at the file's position; pages before it are made known with [`Self::admit`].
    pub(crate) fn onto(dir: &Path, table: &Table, file: File) -> Self {
        Self {
            dir: dir.to_owned(),
            table: table.clone(),
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            firsts: Vec::new(),
            last: None,
            rows: 0,
            frontier: Frontier::new(),
        }
    }

    /// Counts a page that stands in the file already. It has at least one row.
    pub(crate) fn admit(&mut self, page: &[u8; PAGE_BYTES]) {
        let count = count_rows(page, &self.table);
        let at = count.saturating_sub(1) * self.table.row_bytes();
        self.firsts.push(first_locator(page));
        self.last = page[at..].first_chunk::<LOCATOR_BYTES>().copied();
        self.rows += count as u64;
        self.frontier.append(leaf_hash(page));
    }

    /// Writes a page.
    pub(crate) fn append(&mut self, page: &[u8; PAGE_BYTES]) -> Result<(), FileError> {
        self.admit(page);
        self.file.write_all(page).map_err(at(&self.dir.join(PAGES)))
    }

    /// The locator of the last row so far.
    pub(crate) const fn last(&self) -> Option<&Locator> {
        self.last.as_ref()
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> Written {
        Written { rows: self.rows, pages: self.frontier.size(), root: self.frontier.root() }
    }

    /// Writes index and record, and waits until everything is on the disk.
    pub(crate) fn finish(mut self) -> Result<Written, FileError> {
        let pages = self.dir.join(PAGES);
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(at(&pages))?;
        let written = self.written();
        let index = self.firsts.as_flattened();
        let record = Installation {
            pages: written.pages,
            rows: written.rows,
            index_sha256: hex::encode(Sha256::digest(index)),
        };
        write_file(&self.dir.join(INDEX), index)?;
        let record = serde_json::to_vec(&record).expect("two numbers and a text serialise");
        write_file(&self.dir.join(RECORD), &record)?;
        Ok(written)
    }
}
