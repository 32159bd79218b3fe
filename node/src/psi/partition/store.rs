//! Records by the top 10 bits of their hashes: in memory, then on disk.

use std::path::Path;

use rand_core::CryptoRng;
use windvane_protocols::psi::item::ItemHash;

use crate::spill::{Spill, SpillError};

/// Records are kept apart by this many bits of their hashes.
pub(super) const PART_BITS: u32 = 10;

/// Records of a chunk: 12 KiB, so that 1,024 open chunks are 12 MiB.
pub(super) const CHUNK_RECORDS: usize = 512;

/// The prefix's top 32 bits and the row, then the key's halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record([u64; 3]);

impl Record {
    /// Bytes of a record.
    pub(super) const BYTES: usize = 24;

    pub(super) const fn new(hash: &ItemHash, row: u32) -> Self {
        let head = hash.prefix >> 32 << 32 | row as u64;
        Self([head, hash.key as u64, (hash.key >> 64) as u64])
    }

    /// The bucket among 2^`bits`, of at most 32 bits.
    pub(super) const fn bucket(&self, bits: u32) -> u32 {
        ((self.0[0] >> 32) >> (32 - bits)) as u32
    }

    pub(super) const fn row(&self) -> u32 {
        self.0[0] as u32
    }

    pub(super) const fn key(&self) -> u128 {
        self.0[1] as u128 | (self.0[2] as u128) << 64
    }

    pub(super) fn write(&self, into: &mut [u8]) {
        for (bytes, word) in into.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
    }

    pub(super) fn read(bytes: &[u8; Self::BYTES]) -> Self {
        let words = bytes.as_chunks::<8>().0;
        Self(std::array::from_fn(|index| u64::from_le_bytes(words[index])))
    }
}

/// One part: full chunks in memory, then full chunks on disk, then the chunk being filled; so records stay in
/// the order in which they came.
#[derive(Default)]
struct Part {
    chunks: Vec<Vec<Record>>,
    spilled: Vec<u32>,
    open: Vec<Record>,
}

/// All parts.
pub(super) struct Store {
    parts: Vec<Part>,
    /// Chunks that may still stay in memory.
    room: usize,
    spill: Spill,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("spilled_bytes", &self.spilled_bytes()).finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn new(memory_bytes: usize, folder: &Path, rng: &mut impl CryptoRng) -> Self {
        let parts: Vec<_> = (0..1 << PART_BITS).map(|_| Part::default()).collect();
        let room = (memory_bytes / (CHUNK_RECORDS * Record::BYTES)).saturating_sub(parts.len());
        Self { parts, room, spill: Spill::new(folder, CHUNK_RECORDS * Record::BYTES, rng) }
    }

    #[inline]
    pub(super) fn push(&mut self, hash: &ItemHash, row: u32) -> Result<(), SpillError> {
        let part = &mut self.parts[(hash.prefix >> (64 - PART_BITS)) as usize];
        part.open.push(Record::new(hash, row));
        if part.open.len() < CHUNK_RECORDS {
            return Ok(());
        }
        part.close(&mut self.room, &mut self.spill)
    }

    pub(super) fn spilled_bytes(&self) -> u64 {
        self.spill.bytes()
    }

    /// How many records a part has.
    pub(super) fn records_in(&self, part: u32) -> usize {
        let part = &self.parts[part as usize];
        (part.chunks.len() + part.spilled.len()) * CHUNK_RECORDS + part.open.len()
    }

    /// Visits a part's records in the order in which they came.
    pub(super) fn visit(&self, part: u32, mut each: impl FnMut(&Record)) -> Result<(), SpillError> {
        let part = &self.parts[part as usize];
        part.chunks.iter().flatten().for_each(&mut each);
        let mut block = Vec::new();
        for chunk in &part.spilled {
            self.spill.read(*chunk, &mut block)?;
            block.as_chunks().0.iter().map(Record::read).for_each(|record| each(&record));
        }
        part.open.iter().for_each(&mut each);
        Ok(())
    }
}

impl Part {
    /// Puts the full chunk away and begins another.
    #[cold]
    fn close(&mut self, room: &mut usize, spill: &mut Spill) -> Result<(), SpillError> {
        if *room > 0 {
            *room -= 1;
            let next = Vec::with_capacity(CHUNK_RECORDS);
            self.chunks.push(std::mem::replace(&mut self.open, next));
        } else {
            let write = |(record, bytes): (&Record, &mut [u8])| record.write(bytes);
            let chunk = spill.append(|block| {
                self.open.iter().zip(block.chunks_exact_mut(Record::BYTES)).for_each(write);
            });
            self.spilled.push(chunk?);
            self.open.clear();
        }
        Ok(())
    }
}
