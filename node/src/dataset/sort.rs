//! Records of one length, sorted: in memory, and beyond a budget in a sealed file without a name.
//!
//! Records are gathered into runs; a full run is sorted, and stays in memory while there is room. All runs are merged
//! when the records are visited, which may be done more than once. **Promised**: memory is the budget, the run that is
//! being sorted, and a block for each run on disk, however many records there are.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::path::Path;

use rand_core::CryptoRng;
use rayon::prelude::*;

use crate::spill::{Spill, SpillError};

/// Bytes of a run.
const RUN_BYTES: usize = 32 << 20;

/// Runs that stay in memory.
const RUNS_IN_MEMORY: usize = 8;

/// Bytes of a block on disk.
const BLOCK_BYTES: usize = 64 << 10;

/// Bytes at a record's beginning by which it is sorted first: all that most comparisons read.
const HEAD_BYTES: usize = 8;

/// How much is kept where.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    run_bytes: usize,
    runs_in_memory: usize,
    block_bytes: usize,
}

/// Records on their way in.
pub(super) struct Sorter {
    record_bytes: usize,
    sizes: Sizes,
    open: Vec<u8>,
    runs: Vec<Run>,
    spill: Spill,
}

/// Sorted records.
enum Run {
    Memory(Vec<u8>),
    Disk {
        /// Its first block; the others follow.
        first: u32,
        records: usize,
    },
}

impl std::fmt::Debug for Sorter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (runs, spilled_bytes) = (self.runs.len(), self.spill.bytes());
        f.debug_struct("Sorter")
            .field("runs", &runs)
            .field("spilled_bytes", &spilled_bytes)
            .finish_non_exhaustive()
    }
}

impl Sorter {
    /// A sorter for records of 8 bytes and more; what does not fit in memory goes to the disk of `folder`.
    pub(super) fn new(record_bytes: usize, folder: &Path, rng: &mut impl CryptoRng) -> Self {
        let sizes = Sizes { run_bytes: RUN_BYTES, runs_in_memory: RUNS_IN_MEMORY, block_bytes: BLOCK_BYTES };
        Self::with_sizes(record_bytes, sizes, folder, rng)
    }

    fn with_sizes(record_bytes: usize, sizes: Sizes, folder: &Path, rng: &mut impl CryptoRng) -> Self {
        assert!(record_bytes >= HEAD_BYTES, "records have heads");
        let whole = |bytes: usize| (bytes / record_bytes).max(1) * record_bytes;
        let sizes = Sizes {
            run_bytes: whole(sizes.run_bytes),
            block_bytes: whole(sizes.block_bytes),
            runs_in_memory: sizes.runs_in_memory,
        };
        let spill = Spill::new(folder, sizes.block_bytes, rng);
        Self { record_bytes, sizes, open: Vec::new(), runs: Vec::new(), spill }
    }

    /// Adds whole records.
    pub(super) fn push(&mut self, mut records: &[u8]) -> Result<(), SpillError> {
        debug_assert!(records.len().is_multiple_of(self.record_bytes));
        while !records.is_empty() {
            let room = self.sizes.run_bytes - self.open.len();
            let (now, later) = records.split_at(records.len().min(room));
            self.open.extend_from_slice(now);
            records = later;
            if self.open.len() == self.sizes.run_bytes {
                self.close()?;
            }
        }
        Ok(())
    }

    /// All records, ready to be visited.
    pub(super) fn finish(mut self) -> Result<Sorted, SpillError> {
        self.close()?;
        Ok(Sorted { record_bytes: self.record_bytes, runs: self.runs, spill: self.spill })
    }

    /// Sorts the open run and puts it away.
    fn close(&mut self) -> Result<(), SpillError> {
        let (width, records) = (self.record_bytes, &self.open);
        let record = |position: u32| &records[position as usize * width..][..width];
        let mut order: Vec<(u64, u32)> = records.chunks_exact(width).map(head).zip(0..).collect();
        order.par_sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| record(a.1).cmp(record(b.1))));
        let run = if self.runs.len() < self.sizes.runs_in_memory {
            let mut sorted = Vec::with_capacity(records.len());
            order.iter().for_each(|(_, position)| sorted.extend_from_slice(record(*position)));
            Run::Memory(sorted)
        } else {
            let mut first = None;
            for block in order.chunks(self.sizes.block_bytes / width) {
                let number = self.spill.append(|bytes| {
                    let places = bytes.chunks_exact_mut(width);
                    places.zip(block).for_each(|(place, (_, at))| place.copy_from_slice(record(*at)));
                })?;
                first.get_or_insert(number);
            }
            Run::Disk { first: first.unwrap_or_default(), records: order.len() }
        };
        self.runs.push(run);
        self.open.clear();
        Ok(())
    }
}

fn head(record: &[u8]) -> u64 {
    u64::from_be_bytes(*record.first_chunk::<HEAD_BYTES>().expect("records have heads"))
}

/// All records.
pub(super) struct Sorted {
    record_bytes: usize,
    runs: Vec<Run>,
    spill: Spill,
}

impl Sorted {
    /// The records from the first on, in the order of their bytes.
    pub(super) fn records(&self) -> Result<Merge<'_>, SpillError> {
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        for run in &self.runs {
            let cursor = match run {
                Run::Memory(records) => Cursor::memory(records, self.record_bytes),
                Run::Disk { first, records } => Cursor::disk(self, *first, *records)?,
            };
            if cursor.record().is_some() {
                heads.push(Reverse(cursor));
            }
        }
        Ok(Merge { heads, began: false })
    }
}

/// Where a run is being read: at a record, or behind the last.
struct Cursor<'a> {
    record_bytes: usize,
    position: usize,
    end: usize,
    source: Source<'a>,
}

enum Source<'a> {
    Memory(&'a [u8]),
    Disk {
        spill: &'a Spill,
        block: Vec<u8>,
        next: u32,
        /// Records behind this block.
        left: usize,
    },
}

impl<'a> Cursor<'a> {
    const fn memory(records: &'a [u8], record_bytes: usize) -> Self {
        Self { record_bytes, position: 0, end: records.len(), source: Source::Memory(records) }
    }

    fn disk(sorted: &'a Sorted, first: u32, records: usize) -> Result<Self, SpillError> {
        let source = Source::Disk { spill: &sorted.spill, block: Vec::new(), next: first, left: records };
        let mut cursor = Self { record_bytes: sorted.record_bytes, position: 0, end: 0, source };
        cursor.load()?;
        Ok(cursor)
    }

    fn record(&self) -> Option<&[u8]> {
        let records = match &self.source {
            Source::Memory(records) => records,
            Source::Disk { block, .. } => &block[..],
        };
        (self.position < self.end).then(|| &records[self.position..self.position + self.record_bytes])
    }

    /// Goes to the next record.
    fn advance(&mut self) -> Result<(), SpillError> {
        self.position += self.record_bytes;
        if self.position == self.end { self.load() } else { Ok(()) }
    }

    /// Reads the next block, if there is one.
    fn load(&mut self) -> Result<(), SpillError> {
        if let Source::Disk { spill, block, next, left } = &mut self.source
            && *left > 0
        {
            spill.read(*next, block)?;
            let here = (block.len() / self.record_bytes).min(*left);
            (*next, *left) = (*next + 1, *left - here);
            (self.position, self.end) = (0, here * self.record_bytes);
        }
        Ok(())
    }
}

impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.record().cmp(&other.record())
    }
}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cursor<'_> {}

/// The runs, merged. It lends one record at a time.
pub(super) struct Merge<'a> {
    heads: BinaryHeap<Reverse<Cursor<'a>>>,
    began: bool,
}

impl Merge<'_> {
    /// The next record; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, SpillError> {
        if std::mem::replace(&mut self.began, true)
            && let Some(mut least) = self.heads.peek_mut()
        {
            least.0.advance()?;
            if least.0.record().is_none() {
                std::collections::binary_heap::PeekMut::pop(least);
            }
        }
        Ok(self.heads.peek().and_then(|least| least.0.record()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

    const SEED: u64 = 7;

    fn collect(sorted: &Sorted) -> Vec<Vec<u8>> {
        let (mut merge, mut found) = (sorted.records().unwrap(), Vec::new());
        while let Some(record) = merge.next().unwrap() {
            found.push(record.to_vec());
        }
        found
    }

    #[test]
    fn records_come_out_in_order_from_memory_and_from_disk_as_often_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        for (width, records, runs_in_memory) in [(8, 1_000, 100), (12, 1_000, 2), (16, 999, 0), (52, 64, 0)] {
            let sizes = Sizes { run_bytes: 64 * width, runs_in_memory, block_bytes: 5 * width + 3 };
            let mut sorter = Sorter::with_sizes(width, sizes, folder.path(), &mut rng);
            let mut expected = Vec::new();
            while expected.len() < records {
                // Few different bytes, so that heads and whole records repeat.
                let few: Vec<Vec<u8>> = (0..37.min(records - expected.len()))
                    .map(|_| {
                        (0..width).map(|at| if at % 5 == 2 { rng.next_u32() as u8 & 3 } else { 0 }).collect()
                    })
                    .collect();
                sorter.push(&few.concat()).unwrap();
                expected.extend(few);
            }
            expected.sort();
            let sorted = sorter.finish().unwrap();
            assert_eq!(sorted.spill.bytes() > 0, runs_in_memory < 100, "{width} bytes a record");
            assert_eq!(collect(&sorted), expected, "seed {SEED}, {width} bytes a record");
            assert_eq!(collect(&sorted), expected, "once more");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn nothing_sorts_to_nothing() {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let sorter = Sorter::new(40, Path::new("/nowhere"), &mut rng);
        assert_eq!(collect(&sorter.finish().unwrap()), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error() {
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let sizes = Sizes { run_bytes: 16, runs_in_memory: 0, block_bytes: 16 };
        let mut sorter = Sorter::with_sizes(8, sizes, Path::new("/nowhere"), &mut rng);
        assert!(matches!(sorter.push(&[0; 16]), Err(SpillError::File(_))));
    }
}
