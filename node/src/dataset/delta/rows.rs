//! The rows of a delta.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use windvane_protocols::identity::{Encoded, Family};
use windvane_protocols::lookup::provider::EpochKeys;
use windvane_protocols::lookup::row::{Locator, PublicationId, RowKeys, Table};
use windvane_protocols::lookup::snapshot::PageBuilder;
use windvane_protocols::lookup::{KeyGroup, carries_label};
use windvane_protocols::oprf::{Context, PrivateKey};

use super::{Change, DeltaBuildError};
use crate::dataset::progress::{Position, Progress};
use crate::dataset::row::StagedRecord;
use crate::snapshot::Snapshot;
use crate::snapshot::disk::at;
use crate::snapshot::writer::{PageWriter, Written};

/// Subjects of one task.
const CHUNK_SUBJECTS: usize = 256;

/// What seals a delta.
pub(super) struct Sealing<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) keys: &'a EpochKeys,
    pub(super) index: u16,
    pub(super) id: PublicationId,
}

/// What a delta says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) carried: u64,
    pub(super) inserted: u64,
    pub(super) changed: u64,
    pub(super) deleted: u64,
}

impl Counts {
    pub(super) const fn subjects(&self) -> u64 {
        self.inserted + self.changed + self.deleted
    }
}

/// A key, and what the table must say under it: a label, or nothing.
struct Wanted<'a> {
    subject: usize,
    family: Family,
    input: Encoded,
    record: Option<&'a StagedRecord>,
}

/// A row of the delta, and other keys' rows of its locator.
struct Sealed {
    subject: usize,
    locator: Locator,
    row: Vec<u8>,
    others: Vec<Vec<u8>>,
}

/// All rows of a delta by locator: those that are carried, then its own.
pub(super) struct DeltaRows(BTreeMap<Locator, Vec<Vec<u8>>>);

impl Sealing<'_> {
    /// Seals a row for every key under which the table says something else than it should.
    pub(super) fn seal(
        &self,
        changes: &[Change],
        progress: &dyn Progress,
    ) -> Result<(DeltaRows, Counts), DeltaBuildError> {
        let groups = self.groups()?;
        let (done, total) = (AtomicU64::new(0), changes.len() as u64);
        let sealed: Vec<_> = changes
            .par_chunks(CHUNK_SUBJECTS)
            .enumerate()
            .map(|(chunk, changes)| {
                let first = chunk * CHUNK_SUBJECTS;
                let mut sealed = Vec::new();
                for (key, families) in &groups {
                    self.seal_group(key, &wanted(self.table(), families, changes, first), &mut sealed)?;
                }
                let done = done.fetch_add(changes.len() as u64, Ordering::Relaxed) + changes.len() as u64;
                progress.at(Position { rows: done, done, total });
                Ok::<_, DeltaBuildError>(sealed)
            })
            .collect::<Result<_, _>>()?;
        let sealed: Vec<Sealed> = sealed.into_iter().flatten().collect();
        let mut counts = count(changes, &sealed);
        let rows = DeltaRows::new(sealed, &mut counts);
        Ok((rows, counts))
    }

    fn table(&self) -> &Table {
        self.snapshot.pages().table()
    }

    /// The families by their keys, which are those of the published table: under others nobody would find a row.
    fn groups(&self) -> Result<Vec<(&PrivateKey, Vec<Family>)>, DeltaBuildError> {
        let manifest = self.snapshot.manifest().body();
        let key = |group: KeyGroup| {
            let key = self.keys.get(&group).ok_or(DeltaBuildError::KeyMissing { group: group.name() })?;
            let is_own = manifest.key(group) == Some(key.public());
            is_own.then_some(key).ok_or(DeltaBuildError::Overtaken { epoch: manifest.epoch })
        };
        let groups = KeyGroup::partition(&manifest.families).into_iter();
        groups.map(|(group, families)| Ok((key(group)?, families))).collect()
    }

    fn seal_group(
        &self,
        key: &PrivateKey,
        wanted: &[Wanted<'_>],
        sealed: &mut Vec<Sealed>,
    ) -> Result<(), DeltaBuildError> {
        let inputs: Vec<&[u8]> = wanted.iter().map(|wanted| wanted.input.as_bytes()).collect();
        let keys = RowKeys::each(self.table(), key.evaluate(&Context::LOOKUP, &inputs).iter());
        let sealers = RowKeys::sealers(&keys, self.table(), &self.id);
        let presence = vec![0; self.table().label_bytes];
        for (wanted, (keys, sealer)) in wanted.iter().zip(keys.iter().zip(&sealers)) {
            let label = wanted.record.map(|record| match carries_label(wanted.family) {
                true => record.label.as_bytes(),
                false => &presence,
            });
            let present = self.present(keys)?;
            if present.label.as_deref() == label {
                continue;
            }
            let mut row = vec![0; self.table().row_bytes()];
            match label {
                Some(label) => sealer.seal(self.index, label, &mut row),
                None => sealer.seal_deleted(self.index, &mut row),
            }
            let (subject, locator) = (wanted.subject, *keys.locator());
            sealed.push(Sealed { subject, locator, row, others: present.others });
        }
        Ok(())
    }

    /// What the table says under a key now, and other keys' rows of the same locator.
    fn present(&self, keys: &RowKeys) -> Result<Present, DeltaBuildError> {
        let table = self.table();
        let rows = self.snapshot.rows(keys.locator()).map_err(at(Path::new("pages")))?;
        let rows: Vec<_> = rows.chunks_exact(table.row_bytes()).collect();
        let chain = self.snapshot.chain();
        let owns = |row: &&&[u8]| {
            let id = chain.publication(windvane_protocols::lookup::row::index_of(row));
            id.is_some_and(|id| keys.owns(table, &id, row))
        };
        let (own, others): (Vec<_>, Vec<_>) = rows.iter().partition(owns);
        // Rows that do not open are another key's, unless there is none that does.
        let label = keys.open(table, |index| chain.publication(index), &own).ok().flatten();
        Ok(Present { label, others: others.into_iter().map(|row| row.to_vec()).collect() })
    }
}

struct Present {
    label: Option<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

/// The keys of what subjects were and are, each once: what it is counts.
fn wanted<'a>(table: &Table, families: &[Family], changes: &'a [Change], first: usize) -> Vec<Wanted<'a>> {
    let data_set = table.data_set.as_str();
    let mut wanted: Vec<Wanted<'a>> = Vec::new();
    for (subject, change) in (first..).zip(changes) {
        for &family in families {
            let begin = wanted.len();
            let after = change.after.as_ref();
            let inputs = after
                .map(|record| (record, Some(record)))
                .into_iter()
                .chain(change.before.iter().map(|record| (record, None)));
            for (record, label) in inputs {
                let Some(input) = family.encode(data_set, &record.person) else { continue };
                if wanted[begin..].iter().all(|other| other.input.as_bytes() != input.as_bytes()) {
                    wanted.push(Wanted { subject, family, input, record: label });
                }
            }
        }
    }
    wanted
}

/// Subjects of which a row moves.
fn count(changes: &[Change], sealed: &[Sealed]) -> Counts {
    let mut moved: Vec<_> = sealed.iter().map(|sealed| sealed.subject).collect();
    moved.sort_unstable();
    moved.dedup();
    let mut counts = Counts::default();
    for subject in moved {
        match &changes[subject] {
            Change { after: None, .. } => counts.deleted += 1,
            Change { before, .. } if before.is_empty() => counts.inserted += 1,
            _ => counts.changed += 1,
        }
    }
    counts
}

impl DeltaRows {
    /// Of other keys' rows, those that no key of this delta replaces are carried.
    fn new(sealed: Vec<Sealed>, counts: &mut Counts) -> Self {
        let mut groups: BTreeMap<Locator, Vec<Sealed>> = BTreeMap::new();
        sealed.into_iter().for_each(|sealed| groups.entry(sealed.locator).or_default().push(sealed));
        let rows = |(locator, group): (Locator, Vec<Sealed>)| {
            let mut rows = group[0].others.clone();
            rows.retain(|row| group.iter().all(|sealed| sealed.others.contains(row)));
            counts.carried += rows.len() as u64;
            rows.extend(group.into_iter().map(|sealed| sealed.row));
            (locator, rows)
        };
        Self(groups.into_iter().map(rows).collect())
    }

    /// Writes the pages.
    pub(super) fn lay_out(&self, dir: &Path, table: &Table) -> Result<Written, DeltaBuildError> {
        let mut writer = PageWriter::create(dir, table)?;
        let mut builder = PageBuilder::new(table);
        for rows in self.0.values() {
            if let Some(page) = builder.push(&rows.concat())? {
                writer.append(&page)?;
            }
        }
        if let Some(page) = builder.finish() {
            writer.append(&page)?;
        }
        Ok(writer.finish()?)
    }
}
