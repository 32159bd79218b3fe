//! What subjects are now: looked up in the change files, the newest first, and then in the full file.

use std::collections::{BTreeMap, HashMap};

use windvane_keys::symmetric::StorageKey;

use super::ChangesError;
use super::index::Index;
use super::journal::Journal;
use super::subject::{Print, Subjects};
use crate::dataset::row::StagedRecord;
use crate::dataset::staging::StagingReader;

/// The records of each subject that has any.
pub(super) type Records = HashMap<Print, Vec<StagedRecord>>;

/// Finds the records of some subjects. What it costs grows with their number and that of the change files.
pub(super) fn find(
    wanted: &[Print],
    journal: &Journal,
    staging: &StagingReader,
    index: &Index,
    subjects: &Subjects,
    key: &StorageKey,
) -> Result<Records, ChangesError> {
    let mut found = Records::new();
    let mut open = wanted.to_vec();
    for number in (1..=journal.last()).rev() {
        let file = journal.file(number, key)?;
        let places = places(&file.index()?, &open)?;
        for (chunk, (place, prints)) in places {
            let entries = file.entries_at(chunk, place)?;
            for entry in entries.into_iter().filter(|entry| prints.contains(&entry.print)) {
                found.insert(entry.print, entry.after.into_iter().collect());
            }
        }
        open.retain(|print| !found.contains_key(print));
    }
    for (chunk, (place, prints)) in places(index, &open)? {
        for record in staging.chunk_at(chunk.into(), place)?.records()? {
            if let Some(print) = subjects.print(&record.person).filter(|print| prints.contains(print)) {
                found.entry(print).or_default().push(record);
            }
        }
    }
    Ok(found)
}

/// The chunks that may hold the subjects, each with its place and its subjects.
type Places = BTreeMap<u32, (u64, Vec<Print>)>;

fn places(index: &Index, prints: &[Print]) -> Result<Places, ChangesError> {
    let mut places = Places::new();
    for print in prints {
        for chunk in index.find(print)? {
            let place = index.place(chunk)?;
            places.entry(chunk).or_insert_with(|| (place, Vec::new())).1.push(*print);
        }
    }
    Ok(places)
}
