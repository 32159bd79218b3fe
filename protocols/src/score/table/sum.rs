//! The bank's table: the sum of all providers' tables, row by row.

use windvane_kernels::ristretto::Points;

use super::super::epoch::Epoch;
use super::{BLOCK, Row};
use crate::oprf::ELEMENT_BYTES;
use crate::party::PartyId;

/// Why tables do not add up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SumError {
    /// Not one stretch of rows for each provider: a sum without one of them opens nowhere.
    #[error("the sum takes the rows of {expected} providers, found {found}")]
    Providers {
        /// Providers of the group.
        expected: usize,
        /// Stretches that were given.
        found: usize,
    },
    /// The stretches differ in length, or end within a row.
    #[error("the rows of {party} are of another length than the first provider's")]
    Length {
        /// Whose rows they are.
        party: PartyId,
    },
    /// A row is no canonical encoding, or the identity.
    #[error("row {row} of {party} is not an element")]
    Row {
        /// Whose row it is.
        party: PartyId,
        /// Its place in the stretch.
        row: usize,
    },
}

/// Adds the same stretch of all providers' tables, given in their order.
///
/// # Errors
/// [`SumError`], naming whose rows are wrong.
pub fn add(epoch: &Epoch, stretches: &[&[u8]]) -> Result<Vec<Row>, SumError> {
    let providers = epoch.charter().providers();
    let (expected, found) = (providers.len(), stretches.len());
    if expected != found {
        return Err(SumError::Providers { expected, found });
    }
    let mut tables: Vec<(&PartyId, &[Row])> = Vec::with_capacity(expected);
    for (identity, bytes) in providers.iter().zip(stretches) {
        let (rows, rest) = bytes.as_chunks::<ELEMENT_BYTES>();
        if !rest.is_empty() || bytes.len() != stretches[0].len() {
            return Err(SumError::Length { party: identity.party.clone() });
        }
        tables.push((&identity.party, rows));
    }
    let mut sums = Vec::with_capacity(tables[0].1.len());
    for begin in (0..tables[0].1.len()).step_by(BLOCK) {
        sums.extend(add_block(&tables, begin)?.encode());
    }
    Ok(sums)
}

fn add_block(tables: &[(&PartyId, &[Row])], begin: usize) -> Result<Points, SumError> {
    let mut sum: Option<Points> = None;
    for (party, rows) in tables {
        let end = rows.len().min(begin + BLOCK);
        let points = Points::decode_nonidentity(&rows[begin..end])
            .map_err(|error| SumError::Row { party: (*party).clone(), row: begin + error.index })?;
        match &mut sum {
            Some(sum) => sum.add_assign(&points),
            None => sum = Some(points),
        }
    }
    Ok(sum.expect("a group has a provider"))
}
