//! An oblivious key-value store over GF(2^128): the solution of one linear equation for each key, which
//! decodes to the key's value at the keys and says nothing about which keys they were.
//!
//! The construction is RB-OKVS: A. Bienstock, S. Patel, J. Y. Seo, K. Yeo, "Near-Optimal Oblivious Key-Value
//! Stores for Efficient PSI, PSU and Volume-Hiding Multi-Maps" (USENIX Security 2023, ePrint 2023/903): a
//! key's row has w random bits in consecutive columns from a random place on, and all values are in
//! GF(2^128). Encoding is Gaussian elimination in the order of the places, then back
//! substitution from the last column, in which columns without pivot are random: that is what makes the store
//! oblivious, when the values are random to who looks at it.
//!
//! # Decisions
//! - *This store, not the three-hash store of RR22*, with 1.08 to 1.11 columns a row instead of 1.31 to 1.36:
//!   less traffic, and a shorter vector OLE. Sorted rows also make encoding and decoding stream through
//!   memory, which a matrix with three places all over does not.
//! - *w = 256*, and as many columns as the failure bound asks.
//! - *Bands begin at multiples of eight columns.* The paper lets them begin anywhere. Whole bytes make
//!   shifting rows needless, and let [`windvane_kernels::band`] take eight rows at once. It costs nothing that
//!   the measurement below can see.
//! - *31 blocks of columns follow the last place*, so that columns exceed rows by the same share where rows
//!   begin, however few they are.
//! - *A row is a hash of the key* under the seed r as AES key: π(σ(x ⊕ j)) ⊕ σ(x ⊕ j), j = 0 for the place and
//!   1, 2 for the band. The place is ⌊h·s/2^64⌋ of the low 64 bits h and s places; no place is likelier than
//!   another by more than 2^-64, 2^-45 of its probability at the largest size.
//! - *Equal keys* have equal rows, which have no solution with different values and no need with equal ones:
//!   they are dropped, and reported.
//!
//! # How often there is no solution
//! A column takes one of the rows that have begun and wait, unless none of those has a bit there; a row that
//! waits for w columns is lost. So rows are a queue, with one arrival in every m/n columns on average and one
//! served in each, and the share of losses falls with w like the tail of that queue (M/D/1): by θ·log2(e)
//! bits for each bit of w, where e^θ − 1 = θ·m/n. Twice the rows fail twice as often.
//!
//! Measured (`examples/okvs_failures.rs`): trials without a solution, of how many, for narrow bands; and what
//! follows at w = 256 along the slope, as -log2 of the expected number of losses.
//!
//! | m/n | n | slope | w: failures of trials | at w = 256 |
//! |---|---|---|---|---|
//! | 1.060 | 2^14 | 0.1665 | 80: 404, 96: 55 of 20,000 | 34.9–35.1 |
//! | 1.080 | 2^14 | 0.2193 | 56: 570, 64: 154, 72: 43, 80: 12 of 5,000 | 46.9–47.3 |
//! | 1.085 | 2^14 | 0.2323 | 48: 5,798, 56: 1,660, 64: 414, 72: 130, 80: 22 of 20,000 | 49.9–50.7 |
//! | 1.085 | 2^18 | 0.2323 | 64: 536, 72: 155, 80: 53 of 1,500 | 45.7–45.9 |
//! | 1.100 | 2^14 | 0.2708 | 48: 1,440, 56: 327, 64: 62 of 10,000, 72: 61 of 40,000 | 59.0–59.3 |
//! | 1.100 | 2^18 | 0.2708 | 64: 101, 72: 17, 80: 10 of 800 | 54.0–55.4 |
//! | 1.110 | 2^14 | 0.2961 | 40: 3,325, 48: 737, 56: 139, 64: 26 of 8,000 | 64.8–65.1 |
//!
//! The last column hardly depends on w, so the slope holds; and 16 times the rows cost four bits. The shapes
//! take the numbers for 2^14 rows, rounded down by 0.8 bits at least, in between along the slope, less one bit
//! for each doubling. That is an extrapolation from 2^-10 to 2^-40 and beyond, like the paper's own. A store
//! that does not come out is noticed and tried again, so a wrong extrapolation could cost a repeated encoding,
//! never a wrong result.
//!
//! For comparison, implementations of the paper quote λ = 0.2691·w − 15.21 at m = 1.1·n (53.7 at w = 256)
//! without a number of rows; ours is 0.2708·w − 14.4 at 2^18 rows.
//!
//! # What is not constant in time
//! At which columns a key's band begins shows in memory accesses, and additions in the elimination come from
//! tables. Keys are the own party's, hashed with a salt; who can watch this process's caches is out of scope.

use std::fmt;

use rand_core::CryptoRng;
use windvane_kernels::aes::{Aes128, Prg};
use windvane_kernels::band::{self, BAND_BLOCKS, BLOCK, Band};
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use super::order::radix_sort;
use crate::limits::MAX_OKVS_ROWS;

mod elimination;
#[cfg(test)]
mod tests;

use elimination::{Elimination, row};

/// Rows whose bands are made at a time: they stay in the first-level cache.
const CHUNK: usize = 256;

/// What can go wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OkvsError {
    /// No shape for so many rows.
    #[error("a store has at most {MAX_OKVS_ROWS} rows, {found} were asked for")]
    Rows {
        /// Rows asked for.
        found: usize,
    },
    /// No shape for so many rows fails so rarely.
    #[error("no store of this size fails with a probability of at most 2^-{found}")]
    FailureBits {
        /// Bits asked for.
        found: u32,
    },
    /// More keys than the shape was made for.
    #[error("the shape has {expected} rows, {found} keys were given")]
    Keys {
        /// Rows of the shape.
        expected: usize,
        /// Keys given.
        found: usize,
    },
    /// Not one value for each row.
    #[error("expected {expected} values, found {found}")]
    Values {
        /// Rows.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A store of another shape.
    #[error("expected {expected} columns, found {found}")]
    Columns {
        /// Columns of the shape.
        expected: usize,
        /// Columns given.
        found: usize,
    },
    /// The rows depend on each other: try again under a fresh seed.
    #[error("the equations have no solution under this seed")]
    Unsolvable,
}

/// The dimensions of a store, which both parties compute from the padded number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    rows: usize,
    /// Blocks at which a band may begin.
    starts: u32,
}

impl Shape {
    /// The shape for up to `rows` keys that fails to encode with a probability of at most 2^-`failure_bits`.
    ///
    /// # Errors
    /// [`OkvsError::Rows`], [`OkvsError::FailureBits`].
    pub fn new(rows: usize, failure_bits: u32) -> Result<Self, OkvsError> {
        if rows > MAX_OKVS_ROWS {
            return Err(OkvsError::Rows { found: rows });
        }
        let per_mille =
            expansion(rows, failure_bits).ok_or(OkvsError::FailureBits { found: failure_bits })?;
        Ok(Self::with_starts(rows, (rows * per_mille).div_ceil(1_000 * BLOCK).max(1)))
    }

    fn with_starts(rows: usize, starts: usize) -> Self {
        Self { rows, starts: u32::try_from(starts).expect("MAX_OKVS_ROWS is far below 2^32") }
    }

    /// Keys that the store takes.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of the store: the length of the vector OLE under it.
    pub const fn columns(&self) -> usize {
        BLOCK * self.blocks()
    }

    /// The same store for a party that only decodes, with another number of keys.
    pub const fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    const fn blocks(&self) -> usize {
        self.starts as usize + BAND_BLOCKS - 1
    }

    fn check(&self, columns: usize) -> Result<(), OkvsError> {
        let expected = self.columns();
        if columns == expected { Ok(()) } else { Err(OkvsError::Columns { expected, found: columns }) }
    }
}

/// Columns for a thousand rows, with the -log2 of how often 2^14 of them have no solution: the module's
/// table.
const EXPANSIONS: [(usize, u32); 7] =
    [(1_080, 45), (1_085, 48), (1_090, 52), (1_095, 55), (1_100, 58), (1_105, 61), (1_110, 64)];

/// Columns for a thousand rows. Failures grow with the number of rows; few rows count as 2^14.
fn expansion(rows: usize, failure_bits: u32) -> Option<usize> {
    let doublings = rows.next_power_of_two().trailing_zeros().saturating_sub(14);
    let fits = |(_, bits): &&(usize, u32)| *bits >= failure_bits + doublings;
    EXPANSIONS.iter().find(fits).map(|(per_mille, _)| *per_mille)
}

/// The rows of some keys under one seed, in the order of their places: made once, used to encode and to
/// decode. Wiped on drop.
pub struct Rows {
    shape: Shape,
    cipher: Aes128,
    keys: Vec<u128>,
    starts: Vec<u32>,
    origins: Vec<u32>,
    duplicates: Vec<Duplicate>,
}

/// Two keys that are equal; only the first has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The index of the first.
    pub kept: u32,
    /// The index of another.
    pub dropped: u32,
}

impl Rows {
    /// Hashes keys to rows. Keys are outputs of a hash that is salted for the session; a key that comes again
    /// is dropped and reported.
    ///
    /// # Errors
    /// [`OkvsError::Keys`].
    pub fn derive(shape: Shape, seed: u128, keys: &[u128]) -> Result<Self, OkvsError> {
        if keys.len() > shape.rows {
            return Err(OkvsError::Keys { expected: shape.rows, found: keys.len() });
        }
        let cipher = Aes128::new(seed);
        let mut places = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            let mut hashes = [0; CHUNK];
            let hashes = &mut hashes[..chunk.len()];
            hashes.copy_from_slice(chunk);
            cipher.hash_slice(hashes);
            for hash in hashes {
                let start = (u128::from(*hash as u64) * u128::from(shape.starts)) >> 64;
                places.push((start as u64) << 32 | places.len() as u64);
            }
        }
        radix_sort(&mut places, 32..64 - shape.starts.leading_zeros());
        // Reads from all over memory, and therefore does nothing else.
        let sorted: Vec<u128> = places.iter().map(|place| keys[*place as u32 as usize]).collect();
        let starts = places.iter().map(|place| (place >> 32) as u32).collect();
        let origins = places.iter().map(|place| *place as u32).collect();
        places.zeroize();
        let mut rows = Self { shape, cipher, keys: sorted, starts, origins, duplicates: Vec::new() };
        rows.drop_duplicates();
        Ok(rows)
    }

    /// Equal keys begin at the same block; about seven keys do, unless they are equal or few.
    fn drop_duplicates(&mut self) {
        let mut first = 0;
        let distinct = self.starts.chunk_by(|a, b| a == b).all(|run| {
            first += run.len();
            is_distinct(&self.keys[first - run.len()..first])
        });
        if distinct {
            return;
        }
        let mut rows: Vec<(u32, u128, u32)> = Vec::with_capacity(self.len());
        for ((start, key), origin) in
            self.starts.drain(..).zip(self.keys.drain(..)).zip(self.origins.drain(..))
        {
            rows.push((start, key, origin));
        }
        rows.sort_unstable();
        for (start, key, origin) in &rows {
            if self.keys.last() == Some(key) {
                let kept = *self.origins.last().expect("as many origins as keys");
                self.duplicates.push(Duplicate { kept, dropped: *origin });
            } else {
                self.keys.push(*key);
                self.starts.push(*start);
                self.origins.push(*origin);
            }
        }
        rows.zeroize();
    }

    /// The number of distinct keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The distinct keys in the order of the rows.
    pub fn keys(&self) -> &[u128] {
        &self.keys
    }

    /// For each row, the index of its key among those that were given.
    pub fn origins(&self) -> &[u32] {
        &self.origins
    }

    /// The keys that came again.
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    /// The store that decodes to the values, given in the order of the rows. What they leave free is random.
    ///
    /// # Errors
    /// [`OkvsError::Values`]; [`OkvsError::Unsolvable`] with at most the probability of the shape.
    pub fn encode(&self, values: &[u128], rng: &mut impl CryptoRng) -> Result<Vec<u128>, OkvsError> {
        if values.len() != self.len() {
            return Err(OkvsError::Values { expected: self.len(), found: values.len() });
        }
        let mut columns = Zeroizing::new(vec![0; self.shape.columns()]);
        let mut seed = Zeroizing::new([0; 16]);
        rng.fill_bytes(&mut *seed);
        Prg::new(u128::from_le_bytes(*seed)).fill(&mut columns);
        let echelon = self.eliminate(values, &mut columns)?;
        band::back_substitute(&echelon, &mut columns);
        Ok(std::mem::take(&mut *columns))
    }

    /// Brings the equations into echelon form; overwrites the columns that have pivots.
    fn eliminate(&self, values: &[u128], columns: &mut [u128]) -> Result<Echelon, OkvsError> {
        let mut echelon = Echelon::new(vec![[[0; 4]; BLOCK]; self.shape.blocks()]);
        let mut elimination = Elimination::new();
        let mut bands = Zeroizing::new([[0; 4]; CHUNK]);
        let mut pivots = Zeroizing::new([[0; 6]; BLOCK]);
        let mut next = 0;
        for (block, (bands_out, columns)) in
            echelon.iter_mut().zip(columns.as_chunks_mut::<BLOCK>().0).enumerate()
        {
            while self.starts.get(next).is_some_and(|start| *start as usize == block) {
                if next % CHUNK == 0 {
                    self.bands(next, &mut bands);
                }
                elimination.push(row(bands[next % CHUNK], values[next]))?;
                next += 1;
            }
            let found = elimination.step(&mut pivots);
            for (c, [b0, b1, b2, b3, v0, v1]) in pivots.iter().enumerate() {
                bands_out[c] = [*b0, *b1, *b2, *b3];
                let free = u128::from(found >> c & 1).wrapping_sub(1);
                columns[c] = (columns[c] & free) | u128::from(*v1) << 64 | u128::from(*v0);
            }
        }
        if elimination.is_done() { Ok(echelon) } else { Err(OkvsError::Unsolvable) }
    }

    /// What a store holds for each key, in the order of the rows.
    ///
    /// # Errors
    /// [`OkvsError::Columns`].
    pub fn decode(&self, store: &[u128]) -> Result<Vec<u128>, OkvsError> {
        self.shape.check(store.len())?;
        let mut values = vec![0; self.len()];
        let mut bands = Zeroizing::new([[0; 4]; CHUNK]);
        for (chunk, values) in values.chunks_mut(CHUNK).enumerate() {
            let first = chunk * CHUNK;
            self.bands(first, &mut bands);
            let count = values.len();
            band::inner_products(store, &self.starts[first..first + count], &bands[..count], values);
        }
        Ok(values)
    }

    /// The bands of up to [`CHUNK`] rows from one on: two blocks of hash for each.
    fn bands(&self, first: usize, bands: &mut [Band; CHUNK]) {
        let keys = &self.keys[first..];
        let mut hashes = Zeroizing::new([[0; 2]; CHUNK]);
        for (hashes, key) in hashes.iter_mut().zip(keys) {
            *hashes = [key ^ 1, key ^ 2];
        }
        let count = keys.len().min(CHUNK);
        self.cipher.hash_slice(hashes[..count].as_flattened_mut());
        for (band, [low, high]) in bands.iter_mut().zip(hashes.iter()) {
            *band = [*low as u64, (*low >> 64) as u64, *high as u64, (*high >> 64) as u64];
        }
    }
}

/// Eight bands for each block.
type Echelon = Zeroizing<Vec<[Band; BLOCK]>>;

/// Whether no two of a few keys are equal. Of many it says no, and they are looked at again.
fn is_distinct(keys: &[u128]) -> bool {
    /// More are better sorted.
    const FEW: usize = 48;
    keys.len() <= FEW
        && keys.iter().enumerate().all(|(i, a)| keys[i + 1..].iter().fold(true, |all, b| all & (a != b)))
}

/// Whether bands have independent rows: the elimination alone, on any bands and places in ascending order.
/// For measuring how often encoding fails.
pub fn is_solvable(blocks: usize, rows: impl IntoIterator<Item = (u32, Band)>) -> bool {
    let mut elimination = Elimination::new();
    let mut pivots = [[0; 6]; BLOCK];
    let mut rows = rows.into_iter().peekable();
    for block in 0..blocks {
        while let Some((_, band)) = rows.next_if(|(start, _)| *start as usize == block) {
            if elimination.push(row(band, 0)).is_err() {
                return false;
            }
        }
        elimination.step(&mut pivots);
    }
    elimination.is_done()
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.keys.zeroize();
        self.starts.zeroize();
    }
}

impl ZeroizeOnDrop for Rows {}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows({} rows, {} columns)", self.len(), self.shape.columns())
    }
}
