//! Gaussian elimination of rows that are sorted by where they begin.
//!
//! Columns are taken in blocks of eight. The rows that have begun and have no pivot yet are **active**, and
//! each is kept as the 256 bits from the current block on, which are all that can be set. A block's eight
//! columns are eliminated on bit masks over the active rows first; what that says to add is then added to
//! whole rows, from two tables of the sums of four pivots each. Rows left without pivot move on to the next
//! block. About ten are left at a time when columns exceed rows by a tenth, so everything stays in the
//! first-level cache.

use std::hint::select_unpredictable;

use windvane_kernels::band::{BAND_BITS, BLOCK, Band};
use zeroize::Zeroizing;

use super::OkvsError;

/// More active rows cannot be independent: all their bits are in 256 columns.
const MAX_ACTIVE: usize = BAND_BITS;

/// Words of a mask over the active rows.
const WORDS: usize = MAX_ACTIVE / 64;

/// Four words of a band and two of its value.
pub(super) type Row = [u64; 6];

/// The band and the value of an equation.
pub(super) fn row(band: Band, value: u128) -> Row {
    [band[0], band[1], band[2], band[3], value as u64, (value >> 64) as u64]
}

/// A block's pivots: for each column its row, or zero where the column is free.
pub(super) type Pivots = [Row; BLOCK];

/// The system under elimination.
pub(super) struct Elimination {
    /// The first `len` are active; what is behind them means nothing.
    rows: Zeroizing<[Row; MAX_ACTIVE]>,
    len: usize,
    /// The sums of a block's first four pivots, and of its last four.
    sums: Zeroizing<[[Row; 16]; 2]>,
}

impl Elimination {
    pub(super) fn new() -> Self {
        let rows = Zeroizing::new([[0; 6]; MAX_ACTIVE]);
        Self { rows, len: 0, sums: Zeroizing::new([[[0; 6]; 16]; 2]) }
    }

    /// Adds an equation that begins at the current block.
    pub(super) fn push(&mut self, row: Row) -> Result<(), OkvsError> {
        *self.rows.get_mut(self.len).ok_or(OkvsError::Unsolvable)? = row;
        self.len += 1;
        Ok(())
    }

    /// Eliminates the current block's columns and goes on to the next block. Bit `c` of the result says that
    /// column `c` has a pivot; the other columns are free.
    pub(super) fn step(&mut self, pivots: &mut Pivots) -> u8 {
        let mut additions = [0; MAX_ACTIVE];
        // More than 64 active rows happen about once in 2^14 blocks.
        let plan =
            if self.len <= 64 { self.plan_few(&mut additions) } else { self.plan_many(&mut additions) };
        self.reduce_pivots::<0>(&plan, &additions, pivots);
        self.reduce_pivots::<1>(&plan, &additions, pivots);
        self.move_on(&plan.used, &additions);
        plan.found
    }

    /// Whether every equation has found a pivot.
    pub(super) fn is_done(&self) -> bool {
        self.len == 0
    }

    /// Finishes the pivots of the block's first or last four columns, and the table of their sums.
    fn reduce_pivots<const HALF: usize>(
        &mut self,
        plan: &Plan,
        additions: &[u8; MAX_ACTIVE],
        pivots: &mut Pivots,
    ) {
        for c in 4 * HALF..4 * HALF + 4 {
            let p = plan.pivot_of[c] as usize;
            let exists = u64::from(plan.found >> c & 1).wrapping_neg();
            let mut row = self.rows[p];
            if HALF == 1 {
                add(&mut row, &self.sums[0][(additions[p] & 15) as usize]);
            }
            for (earlier, pivot) in (4 * HALF..).zip(&pivots[4 * HALF..c]) {
                add_masked(&mut row, pivot, u64::from(additions[p] >> earlier & 1).wrapping_neg());
            }
            pivots[c] = row.map(|word| word & exists);
        }
        let sums = &mut self.sums[HALF];
        for i in 1..16_usize {
            sums[i] = sums[i & (i - 1)];
            add(&mut sums[i], &pivots[4 * HALF + i.trailing_zeros() as usize]);
        }
    }

    /// Finishes the rows without pivot and shifts them to the next block.
    fn move_on(&mut self, used: &[u64; WORDS], additions: &[u8; MAX_ACTIVE]) {
        let mut kept = 0;
        for (i, additions) in additions[..self.len].iter().enumerate() {
            let mut row = self.rows[i];
            add(&mut row, &self.sums[0][(additions & 15) as usize]);
            add(&mut row, &self.sums[1][(additions >> 4) as usize]);
            let [b0, b1, b2, b3, v0, v1] = row;
            self.rows[kept] =
                [(b0 >> 8) | (b1 << 56), (b1 >> 8) | (b2 << 56), (b2 >> 8) | (b3 << 56), b3 >> 8, v0, v1];
            kept += usize::from(used[i / 64] >> (i % 64) & 1 == 0);
        }
        self.len = kept;
    }

    /// The plan for at most 64 active rows: masks of one word, and no branch on a bit of theirs, which would
    /// be mispredicted every other time.
    fn plan_few(&self, additions: &mut [u8; MAX_ACTIVE]) -> Plan {
        let groups = self.len.div_ceil(8);
        let mut columns = [0; BLOCK];
        for (group, rows) in self.rows.as_chunks::<8>().0[..groups].iter().enumerate() {
            for (column, byte) in columns.iter_mut().zip(leading_bits(rows)) {
                *column |= u64::from(byte) << (8 * group);
            }
        }
        let active = u64::MAX.checked_shr(64 - self.len as u32).unwrap_or(0);
        let mut unused = active;
        let mut plan = Plan { pivot_of: [0; BLOCK], found: 0, used: [0; WORDS] };
        let mut to_add = [0; BLOCK];
        for c in 0..BLOCK {
            let candidates = columns[c] & unused;
            let others = candidates & candidates.wrapping_sub(1);
            let pivot = candidates ^ others;
            unused ^= pivot;
            to_add[c] = others;
            plan.pivot_of[c] = (candidates.trailing_zeros() % 64) as u8;
            plan.found |= u8::from(candidates != 0) << c;
            for later in &mut columns[c + 1..] {
                *later ^= select_unpredictable(*later & pivot != 0, others, 0);
            }
        }
        plan.used[0] = active ^ unused;
        for (group, additions) in additions.as_chunks_mut::<8>().0[..groups].iter_mut().enumerate() {
            let bytes = to_add.map(|rows| (rows >> (8 * group)) as u8);
            *additions = transpose(u64::from_le_bytes(bytes)).to_le_bytes();
        }
        plan
    }

    /// The same plan for any number of active rows.
    fn plan_many(&self, additions: &mut [u8; MAX_ACTIVE]) -> Plan {
        let mut leading = self.rows.map(|row| row[0] as u8);
        let mut plan = Plan { pivot_of: [0; BLOCK], found: 0, used: [0; WORDS] };
        for c in 0..BLOCK {
            let used = plan.used;
            let unused = |i: &usize| used[i / 64] >> (i % 64) & 1 == 0;
            let mut candidates = (0..self.len).filter(unused).filter(|i| leading[*i] >> c & 1 == 1);
            let Some(pivot) = candidates.next() else { continue };
            let others: Vec<usize> = candidates.collect();
            for i in others {
                leading[i] ^= leading[pivot];
                additions[i] |= 1 << c;
            }
            plan.pivot_of[c] = pivot as u8;
            plan.found |= 1 << c;
            plan.used[pivot / 64] |= 1 << (pivot % 64);
        }
        plan
    }
}

/// What eliminating a block means, found on the block's columns alone.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// The row that is the pivot of a column, where there is one.
    pivot_of: [u8; BLOCK],
    /// The columns that have a pivot.
    found: u8,
    /// The rows that are pivots.
    used: [u64; WORDS],
}

/// For each of the block's columns, in which of eight rows it is set.
fn leading_bits(rows: &[Row; 8]) -> [u8; BLOCK] {
    transpose(u64::from_le_bytes(rows.each_ref().map(|row| row[0] as u8))).to_le_bytes()
}

/// Transposes an 8×8 matrix of bits: bit `c` of byte `r` becomes bit `r` of byte `c`.
fn transpose(x: u64) -> u64 {
    let swap = |x: u64, shift: u32, mask: u64| {
        let t = (x ^ (x >> shift)) & mask;
        x ^ t ^ (t << shift)
    };
    let x = swap(x, 7, 0x00aa_00aa_00aa_00aa);
    let x = swap(x, 14, 0x0000_cccc_0000_cccc);
    swap(x, 28, 0x0000_0000_f0f0_f0f0)
}

fn add(row: &mut Row, other: &Row) {
    row.iter_mut().zip(other).for_each(|(word, other)| *word ^= other);
}

fn add_masked(row: &mut Row, other: &Row, mask: u64) {
    row.iter_mut().zip(other).for_each(|(word, other)| *word ^= other & mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_moves_each_bit_across_the_diagonal() {
        for r in 0..8 {
            for c in 0..8 {
                assert_eq!(transpose(1 << (8 * r + c)), 1 << (8 * c + r));
            }
        }
    }

    #[test]
    fn plans_for_few_and_for_many_rows_are_the_same() {
        let mut state = 1_u64;
        let mut word = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state ^ (state >> 29)
        };
        for count in [0, 1, 2, 5, 8, 20, 63, 64] {
            let rows: Vec<Row> = (0..count).map(|_| std::array::from_fn(|_| word())).collect();
            let mut elimination = Elimination::new();
            for row in rows {
                elimination.push(row).unwrap();
            }
            let (mut few, mut many) = ([0; MAX_ACTIVE], [0; MAX_ACTIVE]);
            assert_eq!(elimination.plan_few(&mut few), elimination.plan_many(&mut many));
            assert_eq!(few[..count], many[..count]);
        }
    }
}
