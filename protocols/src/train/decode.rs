//! Small integers from their multiples of the generator: baby steps and giant steps (Shanks 1971), in batches.
//!
//! **Table.** The encodings of j·2·G for |j| ≤ S identify j: 64 bits of the encoding are kept in a slot that 20 other
//! bits of it name, so that a wrong answer needs a coincidence of 64 bits. S is the bound, or at most
//! [`LARGEST_SIDE`]: 12.6 MB, built once and used by all threads.
//!
//! **Search.** A batch's points are doubled and encoded with shared inversions, without a square root. What is not in
//! the table is tried at distances of ±(2S + 1), ±2·(2S + 1), … up to the bound, so that small integers, which most
//! sums are, cost one look-up and the largest allowed one has a known cost ([`Decoder::giant_steps`]).
//!
//! Takes variable time in the integers, which are the searching party's own result.

use curve25519_dalek::Scalar;
use windvane_kernels::ristretto::Points;

use crate::limits::MAX_TRAINING_SUM;

/// S at most: 2¹⁹ − 1 entries fill half of 2²⁰ slots.
pub const LARGEST_SIDE: u64 = (1 << 18) - 1;

/// Points that are encoded at a time.
const BATCH: usize = 1_024;

/// Candidates of a round of giant steps, unless more values than that wait for theirs.
const CANDIDATES: usize = 512;

/// Why a point is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The decoder is to search beyond [`MAX_TRAINING_SUM`].
    #[error("integers up to {MAX_TRAINING_SUM} are searched for, not {found}")]
    Bound {
        /// The bound that was asked for.
        found: u64,
    },
    /// No integer within the bound.
    #[error("value {index} is beyond {bound}")]
    Beyond {
        /// Its place.
        index: usize,
        /// The bound.
        bound: u64,
    },
}

impl DecodeError {
    /// The same with `first` values before it.
    pub(super) fn after(self, first: usize) -> Self {
        match self {
            Self::Beyond { index, bound } => Self::Beyond { index: first + index, bound },
            other => other,
        }
    }
}

/// Finds m from m·G for |m| up to a bound.
pub struct Decoder {
    bound: u64,
    table: Table,
    /// ∓k·(2S + 1)·G for k = 1, 2, …: what is added to a point, in the order of trying.
    giants: Points,
    /// What each of them stands for.
    distances: Vec<i64>,
}

impl Decoder {
    /// Builds the table; an estimate of its cost stands at [`Self::memory_bytes`].
    ///
    /// # Errors
    /// [`DecodeError::Bound`].
    pub fn new(bound: u64) -> Result<Self, DecodeError> {
        Self::with_side(bound, LARGEST_SIDE)
    }

    fn with_side(bound: u64, largest: u64) -> Result<Self, DecodeError> {
        if bound > MAX_TRAINING_SUM {
            return Err(DecodeError::Bound { found: bound });
        }
        let side = bound.min(largest);
        let width = 2 * side + 1;
        let steps = (bound - side).div_ceil(width) as i64;
        let distances: Vec<i64> =
            (1..=steps).flat_map(|k| [k * width.cast_signed(), -k * width.cast_signed()]).collect();
        let giants: Vec<_> = distances.iter().map(|distance| signed(-distance)).collect();
        let table = Table::new(side.cast_signed());
        Ok(Self { bound, table, giants: Points::mul_base(&giants), distances })
    }

    /// The largest magnitude that is found.
    pub const fn bound(&self) -> u64 {
        self.bound
    }

    /// Giant steps that one value costs at most; one within [`LARGEST_SIDE`] costs none.
    pub const fn giant_steps(&self) -> usize {
        self.distances.len()
    }

    /// Bytes that the decoder holds.
    pub const fn memory_bytes(&self) -> usize {
        self.table.slots.len() * 12 + self.distances.len() * (8 + 4 * 5 * 8)
    }

    /// The integer of each point.
    ///
    /// # Errors
    /// [`DecodeError::Beyond`] names the first point of the first batch of 1,024 that holds one beyond the bound.
    pub fn decode(&self, points: &Points) -> Result<Vec<i64>, DecodeError> {
        let mut values = Vec::with_capacity(points.len());
        for first in (0..points.len()).step_by(BATCH) {
            let batch = points.slice(first..points.len().min(first + BATCH));
            values.extend(self.decode_batch(&batch).map_err(|error| error.after(first))?);
        }
        Ok(values)
    }

    fn decode_batch(&self, points: &Points) -> Result<Vec<i64>, DecodeError> {
        let mut values = vec![None; points.len()];
        let here = points.encode_doubled();
        values.iter_mut().zip(&here).for_each(|(value, key)| *value = self.table.find(key));
        let mut tried = 0;
        loop {
            let waiting: Vec<usize> = (0..values.len()).filter(|&index| values[index].is_none()).collect();
            let Some(&index) = waiting.first() else { break };
            if tried == self.giants.len() {
                return Err(DecodeError::Beyond { index, bound: self.bound });
            }
            let steps = (CANDIDATES / waiting.len()).clamp(1, self.giants.len() - tried);
            self.step(points, &waiting, tried..tried + steps, &mut values);
            tried += steps;
        }
        let values = values.into_iter().enumerate();
        values
            .map(|(index, value)| {
                value
                    .filter(|value: &i64| value.unsigned_abs() <= self.bound)
                    .ok_or(DecodeError::Beyond { index, bound: self.bound })
            })
            .collect()
    }

    /// Tries some giant steps for every value that waits.
    fn step(
        &self,
        points: &Points,
        waiting: &[usize],
        giants: std::ops::Range<usize>,
        values: &mut [Option<i64>],
    ) {
        let pairs: Vec<_> =
            waiting.iter().flat_map(|&index| giants.clone().map(move |giant| (index, giant))).collect();
        let (indices, steps): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
        let mut candidates = points.gather(&indices);
        candidates.add_assign(&self.giants.gather(&steps));
        for ((index, giant), key) in pairs.iter().zip(candidates.encode_doubled()) {
            if let Some(rest) = self.table.find(&key) {
                values[*index] = Some(self.distances[*giant] + rest);
            }
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder(up to {})", self.bound)
    }
}

/// Open addressing with steps of one; half of the slots stay empty.
struct Table {
    side: i64,
    /// Bytes 0 to 7 of the encoding; bytes 8 to 15 name the slot from which on it is searched for.
    slots: Vec<u64>,
    /// j + S + 1, or 0 for an empty slot.
    entries: Vec<u32>,
}

impl Table {
    fn new(side: i64) -> Self {
        let count = 2 * side as usize + 1;
        let size = (2 * count).next_power_of_two();
        let mut table = Self { side, slots: vec![0; size], entries: vec![0; size] };
        let first: Vec<_> = (0..BATCH.min(count) as i64).map(|i| signed(i - side)).collect();
        let mut multiples = Points::mul_base(&first);
        let step = Points::mul_base(&[Scalar::from(first.len() as u64)]).gather(&vec![0; first.len()]);
        for begin in (0..count).step_by(first.len()) {
            let encoded = multiples.encode_doubled();
            (begin..count).zip(&encoded).for_each(|(entry, key)| table.insert(key, entry as u32 + 1));
            multiples.add_assign(&step);
        }
        table
    }

    fn insert(&mut self, key: &[u8; 32], entry: u32) {
        let (mut slot, key) = self.place(key);
        while self.entries[slot] != 0 {
            slot = (slot + 1) % self.slots.len();
        }
        (self.slots[slot], self.entries[slot]) = (key, entry);
    }

    fn find(&self, key: &[u8; 32]) -> Option<i64> {
        let (mut slot, key) = self.place(key);
        while self.entries[slot] != 0 {
            if self.slots[slot] == key {
                return Some(i64::from(self.entries[slot]) - 1 - self.side);
            }
            slot = (slot + 1) % self.slots.len();
        }
        None
    }

    fn place(&self, key: &[u8; 32]) -> (usize, u64) {
        let ([kept, named, ..], _) = key.as_chunks::<8>() else { unreachable!("32 bytes are four words") };
        let slot = u64::from_le_bytes(*named) as usize & (self.slots.len() - 1);
        (slot, u64::from_le_bytes(*kept))
    }
}

/// A signed integer modulo the order.
fn signed(value: i64) -> Scalar {
    let magnitude = Scalar::from(value.unsigned_abs());
    if value < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests;
