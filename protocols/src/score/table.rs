//! Tables: `T_j[u] = part_j(u)·G + k_j·H(ctx ‖ u)` for every position of the universe, 32 bytes each.
//!
//! H is RFC 9380's hash to ristretto255 under the tag of [`Context::SCORE`], its input the 64 bytes of ctx and the
//! position as eight big-endian bytes. A provider fills every row, with a default part where it knows nothing.
//! Rows are made in any order and by any number of threads; a table's root is RFC 6962's over its segments.

use std::sync::LazyLock;

use curve25519_dalek::Scalar;
use windvane_kernels::ristretto::Points;
use zeroize::{Zeroize as _, Zeroizing};

use super::ledger::TableRoot;
use super::universe::NUMBERS_PER_SEGMENT;
use crate::audit::merkle::{Frontier, leaf_hash};
use crate::oprf::{Context, ELEMENT_BYTES};
use crate::transcript::Hash;

pub mod manifest;
pub mod parts;
pub mod sum;

/// One row of a table: an encoded element.
pub type Row = [u8; ELEMENT_BYTES];

/// Bytes of a segment's rows.
pub const SEGMENT_BYTES: usize = NUMBERS_PER_SEGMENT * ELEMENT_BYTES;

/// Rows that are made at a time: few enough to stay in cache.
const BLOCK: usize = 256;

/// Half of every part times the generator; rows are encoded as doubles.
static HALF_PARTS: LazyLock<Points> = LazyLock::new(|| {
    let halves: Vec<_> = (0..=u8::MAX).map(|part| Scalar::from(part).div_by_2()).collect();
    Points::mul_base(&halves)
});

/// Makes the rows of one provider's table.
pub struct Sealer {
    context: Hash,
    half_key: Zeroizing<Scalar>,
}

impl Sealer {
    pub(super) fn new(context: &Hash, key: &Scalar) -> Self {
        Self { context: *context, half_key: Zeroizing::new(key.div_by_2()) }
    }

    /// The rows of consecutive positions, one for each part.
    ///
    /// Key, parts' multiples and sums are handled in constant time, but which part a row has chooses what is read
    /// of a table of 256 points: on this machine, somebody who shares its caches could tell parts apart.
    pub fn rows(&self, first: u64, parts: &[u8]) -> Vec<Row> {
        let mut rows = Vec::with_capacity(parts.len());
        for (begin, block) in (first..).step_by(BLOCK).zip(parts.chunks(BLOCK)) {
            let inputs: Vec<_> = (begin..).take(block.len()).map(|u| input(&self.context, u)).collect();
            let mut halves =
                Points::from_uniform(&Context::SCORE.uniform(inputs.iter().map(<[u8; 72]>::as_slice)));
            halves.mul_assign(&self.half_key);
            let mut places: Vec<_> = block.iter().map(|part| usize::from(*part)).collect();
            halves.add_assign(&HALF_PARTS.gather(&places));
            places.zeroize();
            rows.extend(halves.encode_doubled());
        }
        rows
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// ctx ‖ u.
pub(super) fn input(context: &Hash, position: u64) -> [u8; 72] {
    let mut input = [0; 72];
    input[..64].copy_from_slice(context);
    input[64..].copy_from_slice(&position.to_be_bytes());
    input
}

/// Hashes a table while it is written or downloaded, segment after segment, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableHasher(Frontier);

impl TableHasher {
    /// Before the first segment.
    pub fn new() -> Self {
        Self::default()
    }

    /// After an interruption, from what [`Self::frontier`] gave.
    pub const fn resume(frontier: Frontier) -> Self {
        Self(frontier)
    }

    /// Takes in the rows of the next segment.
    pub fn push(&mut self, rows: &[u8; SEGMENT_BYTES]) {
        self.0.append(leaf_hash(rows));
    }

    /// Segments so far, and the roots of their complete subtrees: to be stored for [`Self::resume`].
    pub const fn frontier(&self) -> &Frontier {
        &self.0
    }

    /// The root over the segments so far.
    pub fn root(&self) -> TableRoot {
        self.0.root()
    }
}
