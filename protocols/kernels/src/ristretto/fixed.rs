//! Multiples of one public point, from a table that is computed once: as fast as multiples of the generator.

use curve25519_dalek::Scalar;
use curve25519_dalek::ristretto::RistrettoBasepointTable;

#[cfg(target_arch = "x86_64")]
use super::backend::InstructionSet;
#[cfg(target_arch = "x86_64")]
use super::batch::Batch;
#[cfg(target_arch = "x86_64")]
use super::tables::BaseTable;
use super::{Inner, Points};

/// A public point with a table of its multiples: 60 KiB in the lanes, 30 KiB in the portable twin.
#[derive(Clone)]
pub struct FixedBase(Table);

#[derive(Clone)]
enum Table {
    Portable(Box<RistrettoBasepointTable>),
    #[cfg(target_arch = "x86_64")]
    Lanes(BaseTable, InstructionSet),
}

impl FixedBase {
    /// The table of a single point, on its backend.
    ///
    /// # Panics
    /// When there is not exactly one point.
    pub fn new(point: &Points) -> Self {
        assert_eq!(point.len(), 1, "a table of one point's multiples");
        Self(match &point.0 {
            Inner::Portable(points) => Table::Portable(Box::new(RistrettoBasepointTable::create(&points[0]))),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => Table::Lanes(batch.fixed_table(), batch.set()),
        })
    }

    /// Each secret scalar times the point, in constant time.
    pub fn mul(&self, scalars: &[Scalar]) -> Points {
        Points(match &self.0 {
            Table::Portable(table) => {
                Inner::Portable(scalars.iter().map(|scalar| &**table * scalar).collect())
            }
            #[cfg(target_arch = "x86_64")]
            Table::Lanes(table, set) => Inner::Lanes(Batch::multiply_fixed(*set, table, scalars)),
        })
    }
}

impl std::fmt::Debug for FixedBase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FixedBase")
    }
}
