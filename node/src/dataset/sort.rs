//! Build records in memory, sorted: `row ‖ check(8) ‖ line32`, in flat chunks that never move or grow.
//!
//! A million rows of 40 bytes take 52 MB and 4 MB for their order. Chunks are sorted as they fill up and
//! merged when all are there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rayon::prelude::*;
use windvane_protocols::lookup::row::LOCATOR_BYTES;

/// Records of a chunk.
const CHUNK_RECORDS: usize = 1 << 20;

/// Bytes behind the row: check and line.
pub(super) const EXTRA_BYTES: usize = 12;

/// A record of the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BuildRecord<'a>(&'a [u8]);

impl<'a> BuildRecord<'a> {
    /// The row as published.
    pub(super) fn row(&self) -> &'a [u8] {
        &self.0[..self.0.len() - EXTRA_BYTES]
    }

    /// What tells keys of one locator apart.
    pub(super) fn check(&self) -> &'a [u8] {
        &self.0[self.0.len() - EXTRA_BYTES..self.0.len() - 4]
    }

    /// Line of the operator's file.
    pub(super) fn line(&self) -> u32 {
        let line = self.0.last_chunk().expect("a record ends with its line");
        u32::from_be_bytes(*line)
    }

    fn locator(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk::<LOCATOR_BYTES>().expect("a row begins with its locator"))
    }
}

/// Appends what stands behind a row.
pub(super) fn extra(check: &[u8; 8], line: u32) -> [u8; EXTRA_BYTES] {
    let mut extra = [0; EXTRA_BYTES];
    extra[..8].copy_from_slice(check);
    extra[8..].copy_from_slice(&line.to_be_bytes());
    extra
}

struct Chunk {
    records: Vec<u8>,
    /// Positions of the records, by locator.
    order: Vec<u32>,
}

/// Records on their way in.
pub(super) struct Sorter {
    record_bytes: usize,
    chunk_records: usize,
    full: Vec<Chunk>,
    open: Vec<u8>,
}

impl Sorter {
    /// A sorter for rows of `row_bytes`.
    pub(super) fn new(row_bytes: usize) -> Self {
        Self::with_chunks(row_bytes, CHUNK_RECORDS)
    }

    fn with_chunks(row_bytes: usize, chunk_records: usize) -> Self {
        Self { record_bytes: row_bytes + EXTRA_BYTES, chunk_records, full: Vec::new(), open: Vec::new() }
    }

    /// Adds whole records.
    pub(super) fn push(&mut self, mut records: &[u8]) {
        let capacity = self.chunk_records * self.record_bytes;
        while !records.is_empty() {
            if self.open.capacity() == 0 {
                self.open.reserve_exact(capacity);
            }
            let (now, later) = records.split_at(records.len().min(capacity - self.open.len()));
            self.open.extend_from_slice(now);
            records = later;
            if self.open.len() == capacity {
                self.close();
            }
        }
    }

    /// All records, ready to be visited.
    pub(super) fn finish(mut self) -> Sorted {
        self.open.shrink_to_fit();
        self.close();
        Sorted { record_bytes: self.record_bytes, chunks: self.full }
    }

    fn close(&mut self) {
        let records = std::mem::take(&mut self.open);
        let locators = records.chunks_exact(self.record_bytes).map(|record| BuildRecord(record).locator());
        let mut keys: Vec<(u64, u32)> = locators.zip(0..).collect();
        keys.par_sort_unstable();
        let order = keys.into_iter().map(|(_, position)| position).collect();
        self.full.push(Chunk { records, order });
    }
}

/// All records of a build.
pub(super) struct Sorted {
    record_bytes: usize,
    chunks: Vec<Chunk>,
}

impl Sorted {
    fn record(&self, chunk: usize, position: usize) -> Option<BuildRecord<'_>> {
        let chunk = &self.chunks[chunk];
        let at = *chunk.order.get(position)? as usize * self.record_bytes;
        Some(BuildRecord(&chunk.records[at..at + self.record_bytes]))
    }

    /// Visits the records of every locator together, locators ascending; within one locator by check, then
    /// row, then line.
    ///
    /// # Errors
    /// The visitor's.
    pub(super) fn visit<'a, E>(
        &'a self,
        mut visitor: impl FnMut(&mut Vec<BuildRecord<'a>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut merge = Merge::new(self);
        let mut group = Vec::with_capacity(8);
        let mut next = merge.next();
        while let Some(record) = next {
            group.clear();
            group.push(record);
            next = merge.next();
            while let Some(other) = next.filter(|other| other.locator() == record.locator()) {
                group.push(other);
                next = merge.next();
            }
            if group.len() > 1 {
                group.sort_unstable_by_key(|record| (record.check(), record.row(), record.line()));
            }
            visitor(&mut group)?;
        }
        Ok(())
    }
}

struct Merge<'a> {
    sorted: &'a Sorted,
    /// The next locator of every chunk, with the chunk.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    positions: Vec<usize>,
}

impl<'a> Merge<'a> {
    fn new(sorted: &'a Sorted) -> Self {
        let positions = vec![0; sorted.chunks.len()];
        let head = |chunk: usize| Some(Reverse((sorted.record(chunk, 0)?.locator(), chunk)));
        Self { sorted, heads: (0..sorted.chunks.len()).filter_map(head).collect(), positions }
    }

    fn next(&mut self) -> Option<BuildRecord<'a>> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((_, chunk)) = *head;
        let record = self.sorted.record(chunk, self.positions[chunk]);
        self.positions[chunk] += 1;
        match self.sorted.record(chunk, self.positions[chunk]) {
            Some(next) => *head = Reverse((next.locator(), chunk)),
            None => drop(std::collections::binary_heap::PeekMut::pop(head)),
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

    const SEED: u64 = 7;

    #[test]
    fn records_of_many_chunks_come_out_in_order_and_in_groups() {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let mut sorter = Sorter::with_chunks(10, 64);
        let mut expected = Vec::new();
        for line in 0..1_000_u32 {
            let mut record = vec![0; 10 + EXTRA_BYTES];
            record[7] = rng.next_u32() as u8;
            record[8..18].iter_mut().for_each(|byte| *byte = rng.next_u32() as u8 & 1);
            record[18..].copy_from_slice(&line.to_be_bytes());
            sorter.push(&record);
            expected.push(record);
        }
        let key = |r: &Vec<u8>| (r[..8].to_vec(), r[10..18].to_vec(), r[..10].to_vec(), r[18..].to_vec());
        expected.sort_by_key(key);
        let sorted = sorter.finish();
        let mut found = Vec::new();
        let mut last = None;
        let visited: Result<(), ()> = sorted.visit(|group| {
            let locator = group[0].locator();
            assert!(group.iter().all(|record| record.locator() == locator));
            assert!(last.replace(locator) < Some(locator), "a locator is visited once");
            found.extend(group.iter().map(|record| record.0.to_vec()));
            Ok(())
        });
        assert_eq!((visited, found), (Ok(()), expected), "seed {SEED}");
    }

    #[test]
    fn nothing_sorts_to_nothing() {
        let sorted = Sorter::new(40).finish();
        let visited: Result<(), ()> = sorted.visit(|_| panic!("there is no group"));
        assert_eq!(visited, Ok(()));
    }
}
