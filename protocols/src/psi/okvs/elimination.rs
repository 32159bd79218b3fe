//! Gaussian elimination of rows that are sorted by where they begin.
//!
//! Columns are taken in blocks of eight. The rows that have begun and have no pivot yet are **active**, and
//! each is kept as the 256 bits from the current block on, which are all that can be set. A block's eight
//! columns are eliminated on bit masks over the active rows first; what that says to add is then added to
//! whole rows, from two tables of the sums of four pivots each. Rows left without pivot move on to the next
//! block. About ten are left at a time when columns exceed rows by a tenth, so everything stays in the
//! first-level cache.

use windvane_kernels::band::{BAND_BITS, BLOCK, Band};
use zeroize::Zeroizing;

use super::OkvsError;

/// More active rows cannot be independent: all their bits are in 256 columns.
const MAX_ACTIVE: usize = BAND_BITS;

/// Words of a mask when 64 rows are active at most, as nearly always, and when they are many.
const FEW: usize = 1;
const MANY: usize = MAX_ACTIVE / 64;

/// Four words of a band and two of its value.
pub(super) type Row = [u64; 6];

/// The band and the value of an equation.
pub(super) fn row(band: Band, value: u128) -> Row {
    [band[0], band[1], band[2], band[3], value as u64, (value >> 64) as u64]
}

/// The system under elimination.
pub(super) struct Elimination {
    active: Zeroizing<Vec<Row>>,
    /// The sums of a block's first four pivots, and of its last four.
    sums: Zeroizing<[[Row; 16]; 2]>,
}

/// A block's pivots: for each column its row, or zero where the column is free.
pub(super) type Pivots = [Row; BLOCK];

impl Elimination {
    pub(super) fn new() -> Self {
        Self {
            active: Zeroizing::new(Vec::with_capacity(MAX_ACTIVE)),
            sums: Zeroizing::new([[[0; 6]; 16]; 2]),
        }
    }

    /// Adds an equation that begins at the current block.
    pub(super) fn push(&mut self, row: Row) -> Result<(), OkvsError> {
        if self.active.len() == MAX_ACTIVE {
            return Err(OkvsError::Unsolvable);
        }
        self.active.push(row);
        Ok(())
    }

    /// Eliminates the current block's columns and goes on to the next block. Bit `c` of the result says that
    /// column `c` has a pivot; the other columns are free.
    pub(super) fn step(&mut self, pivots: &mut Pivots) -> u8 {
        if self.active.len() <= 64 * FEW {
            self.step_with::<FEW>(pivots)
        } else {
            self.step_with::<MANY>(pivots)
        }
    }

    /// Whether every equation has found a pivot.
    pub(super) fn is_done(&self) -> bool {
        self.active.is_empty()
    }

    fn step_with<const WORDS: usize>(&mut self, pivots: &mut Pivots) -> u8 {
        let Plan { pivot_of, found, used, additions } = Plan::<WORDS>::new(&self.active);
        let additions = additions_by_row(&additions, self.active.len());
        self.reduce_pivots::<0>(&pivot_of, found, &additions, pivots);
        self.reduce_pivots::<1>(&pivot_of, found, &additions, pivots);
        self.move_on(&used, &additions);
        found
    }

    /// Finishes the pivots of the block's first or last four columns, and the table of their sums.
    fn reduce_pivots<const HALF: usize>(
        &mut self,
        pivot_of: &[u8; BLOCK],
        found: u8,
        additions: &[u8; MAX_ACTIVE],
        pivots: &mut Pivots,
    ) {
        for c in 4 * HALF..4 * HALF + 4 {
            pivots[c] = [0; 6];
            if found >> c & 1 == 1 {
                let p = pivot_of[c] as usize;
                let mut row = self.active[p];
                if HALF == 1 {
                    add(&mut row, &self.sums[0][(additions[p] & 15) as usize]);
                }
                for earlier in 4 * HALF..c {
                    add_if(&mut row, &pivots[earlier], additions[p] >> earlier & 1);
                }
                pivots[c] = row;
            }
        }
        let sums = &mut self.sums[HALF];
        for i in 1..16_usize {
            sums[i] = sums[i & (i - 1)];
            add(&mut sums[i], &pivots[4 * HALF + i.trailing_zeros() as usize]);
        }
    }

    /// Finishes the rows without pivot and shifts them to the next block.
    fn move_on<const WORDS: usize>(&mut self, used: &[u64; WORDS], additions: &[u8; MAX_ACTIVE]) {
        let mut kept = 0;
        for i in 0..self.active.len() {
            let mut row = self.active[i];
            add(&mut row, &self.sums[0][(additions[i] & 15) as usize]);
            add(&mut row, &self.sums[1][(additions[i] >> 4) as usize]);
            let [b0, b1, b2, b3, v0, v1] = row;
            self.active[kept] =
                [(b0 >> 8) | (b1 << 56), (b1 >> 8) | (b2 << 56), (b2 >> 8) | (b3 << 56), b3 >> 8, v0, v1];
            kept += usize::from(used[i / 64] >> (i % 64) & 1 == 0);
        }
        self.active.truncate(kept);
    }
}

/// What eliminating a block means, found on masks over the active rows alone.
struct Plan<const WORDS: usize> {
    /// The row that is the pivot of a column, where there is one.
    pivot_of: [u8; BLOCK],
    /// The columns that have a pivot.
    found: u8,
    /// The rows that are pivots.
    used: [u64; WORDS],
    /// For each column, the rows to which its pivot is to be added.
    additions: [[u64; WORDS]; BLOCK],
}

impl<const WORDS: usize> Plan<WORDS> {
    fn new(active: &[Row]) -> Self {
        let mut columns = columns::<WORDS>(active);
        let mut plan =
            Self { pivot_of: [0; BLOCK], found: 0, used: [0; WORDS], additions: [[0; WORDS]; BLOCK] };
        for c in 0..BLOCK {
            let candidates: [u64; WORDS] = std::array::from_fn(|w| columns[c][w] & !plan.used[w]);
            let Some(w) = candidates.iter().position(|word| *word != 0) else { continue };
            let pivot = candidates[w].trailing_zeros();
            plan.pivot_of[c] = (64 * w) as u8 + pivot as u8;
            plan.found |= 1 << c;
            plan.used[w] |= 1 << pivot;
            let mut others = candidates;
            others[w] &= others[w] - 1;
            plan.additions[c] = others;
            for later in &mut columns[c + 1..] {
                let mask = (later[w] >> pivot & 1).wrapping_neg();
                later.iter_mut().zip(others).for_each(|(word, others)| *word ^= others & mask);
            }
        }
        plan
    }
}

/// For each of the block's columns, the rows in which it is set.
fn columns<const WORDS: usize>(active: &[Row]) -> [[u64; WORDS]; BLOCK] {
    let mut columns = [[0; WORDS]; BLOCK];
    for (group, rows) in active.chunks(8).enumerate() {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(rows).for_each(|(byte, row)| *byte = row[0] as u8);
        let transposed = transpose(u64::from_le_bytes(bytes)).to_le_bytes();
        for (column, byte) in columns.iter_mut().zip(transposed) {
            column[group / 8] |= u64::from(byte) << (8 * (group % 8));
        }
    }
    columns
}

/// For each row, the columns whose pivots are to be added to it.
fn additions_by_row<const WORDS: usize>(additions: &[[u64; WORDS]; BLOCK], rows: usize) -> [u8; MAX_ACTIVE] {
    let mut by_row = [0; MAX_ACTIVE];
    for (group, out) in by_row[..rows.next_multiple_of(8)].as_chunks_mut().0.iter_mut().enumerate() {
        let bytes = additions.each_ref().map(|column| (column[group / 8] >> (8 * (group % 8))) as u8);
        *out = transpose(u64::from_le_bytes(bytes)).to_le_bytes();
    }
    by_row
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

fn add_if(row: &mut Row, other: &Row, bit: u8) {
    let mask = u64::from(bit).wrapping_neg();
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
    fn masks_of_one_word_and_of_many_eliminate_alike() {
        let mut state = 1_u64;
        let mut word = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state ^ (state >> 29)
        };
        for count in [0, 1, 5, 8, 20, 64] {
            let rows: Vec<Row> = (0..count).map(|_| std::array::from_fn(|_| word())).collect();
            let (mut few, mut many) = (Elimination::new(), Elimination::new());
            for row in rows {
                few.push(row).unwrap();
                many.push(row).unwrap();
            }
            let (mut a, mut b) = ([[0; 6]; BLOCK], [[0; 6]; BLOCK]);
            assert_eq!(few.step_with::<FEW>(&mut a), many.step_with::<MANY>(&mut b));
            assert_eq!((a, &*few.active), (b, &*many.active));
        }
    }
}
