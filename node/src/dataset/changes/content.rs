//! What a data set holds now: the full file with all changes in it, read in one pass.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windvane_keys::files::{FileError, read_public};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::lookup::DataSet;

use super::ChangesError;
use super::journal::{ChangeEntry, ChangeFile, Journal};
use super::subject::{Print, Subjects};
use crate::dataset::DataSetDir;
use crate::dataset::quality::ImportReport;
use crate::dataset::row::StagedRecord;
use crate::dataset::staging::{StagedChunk, StagingError, StagingReader};
use crate::snapshot::disk;

/// Beside a table or a delta: what it was made from.
const MARK: &str = "content.json";

const MAX_MARK_BYTES: usize = 4 << 10;

/// Which full file, and how many of its change files, a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::dataset) struct Mark {
    /// The id of the full file's import.
    pub(in crate::dataset) import: String,
    /// The number of the last change file.
    pub(in crate::dataset) change: u64,
}

impl Mark {
    pub(in crate::dataset) fn write(&self, dir: &Path) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).expect("a text and a number serialise");
        disk::write_file(&dir.join(MARK), &text)
    }

    /// `None` for a table without one.
    pub(in crate::dataset) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&read_public(&dir.join(MARK), MAX_MARK_BYTES).ok()?).ok()
    }
}

/// The data set, on its way through a build: the records of changed subjects, then those of the full file.
pub(in crate::dataset) struct Content {
    staging: StagingReader,
    mark: Mark,
    changed: Option<Arc<Changed>>,
    fresh: Fresh,
    records: u64,
}

/// Subjects whose records in the full file do not count any more, each with the change file that does.
pub(in crate::dataset) struct Changed {
    last: HashMap<Print, u64>,
    subjects: Subjects,
}

/// The records of changed subjects, file by file.
struct Fresh {
    files: std::vec::IntoIter<ChangeFile>,
    /// The file under way, and its number.
    open: Option<(u64, ChangeFile)>,
}

impl Fresh {
    fn new(files: Vec<ChangeFile>) -> Self {
        let mut files = files.into_iter();
        Self { open: files.next().map(|file| (1, file)), files }
    }

    /// The records that stand since the file under way and in no later one; `None` behind the last.
    fn next(&mut self, changed: &Changed) -> Result<Option<Vec<StagedRecord>>, ChangesError> {
        while let Some((number, file)) = &mut self.open {
            if let Some(entries) = file.next_entries()? {
                let stands = |entry: &ChangeEntry| changed.last.get(&entry.print) == Some(number);
                let records = entries.into_iter().filter(stands).filter_map(|entry| entry.after);
                // Line 0 is no line of the full file, whose lines a build refuses by number.
                return Ok(Some(records.map(|record| StagedRecord { line: 0, ..record }).collect()));
            }
            let next = *number + 1;
            self.open = self.files.next().map(|file| (next, file));
        }
        Ok(None)
    }
}

impl Content {
    pub(in crate::dataset) fn open(
        dir: &DataSetDir,
        data_set: &DataSet,
        label_bytes: usize,
        key: &StorageKey,
    ) -> Result<Self, ChangesError> {
        let staging = StagingReader::open_file(&dir.staging(), data_set, label_bytes, key)?;
        let import = staging.report().import.clone();
        let journal = Journal::open(&dir.changes(), data_set, label_bytes, key, &import)?;
        let mark = Mark { import, change: journal.last() };
        let mut last = HashMap::new();
        for number in 1..=journal.last() {
            let mut file = journal.file(number, key)?;
            while let Some(entries) = file.next_entries()? {
                last.extend(entries.iter().map(|entry| (entry.print, number)));
            }
        }
        let records = staging.report().accepted + last.len() as u64;
        let changed =
            (journal.last() > 0).then(|| Arc::new(Changed { last, subjects: Subjects::new(key, data_set) }));
        let files = (1..=journal.last()).map(|number| journal.file(number, key));
        let fresh = Fresh::new(files.collect::<Result<_, _>>()?);
        Ok(Self { staging, mark, changed, fresh, records })
    }

    /// What the full file's import found.
    pub(in crate::dataset) const fn report(&self) -> &ImportReport {
        self.staging.report()
    }

    /// What the content is made of.
    pub(in crate::dataset) const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// At most so many records come.
    pub(in crate::dataset) const fn records(&self) -> u64 {
        self.records
    }

    /// The next records, still to be decoded; `None` behind the last.
    pub(in crate::dataset) fn next_chunk(&mut self) -> Result<Option<ContentChunk>, ChangesError> {
        if let Some(changed) = &self.changed
            && let Some(records) = self.fresh.next(changed)?
        {
            return Ok(Some(ContentChunk::Fresh(records)));
        }
        let changed = self.changed.clone();
        Ok(self.staging.next_chunk()?.map(|chunk| ContentChunk::Staged { chunk, changed }))
    }
}

/// Some records.
pub(in crate::dataset) enum ContentChunk {
    /// Of changed subjects.
    Fresh(Vec<StagedRecord>),
    /// Of the full file, among them those of changed subjects.
    Staged { chunk: StagedChunk, changed: Option<Arc<Changed>> },
}

impl ContentChunk {
    pub(in crate::dataset) fn records(&self) -> Result<Vec<StagedRecord>, StagingError> {
        match self {
            Self::Fresh(records) => Ok(records.clone()),
            Self::Staged { chunk, changed: None } => chunk.records(),
            Self::Staged { chunk, changed: Some(changed) } => {
                let mut records = chunk.records()?;
                records.retain(|record| {
                    let print = changed.subjects.print(&record.person);
                    print.is_none_or(|print| !changed.last.contains_key(&print))
                });
                Ok(records)
            }
        }
    }
}
