//! From wire messages to trusted types, and back.

mod audit;
mod common;
mod lookup;
mod psi;
mod score;
mod train;

pub use common::MAX_PROTOCOLS;
pub use lookup::{Deltas, DeltasWanted, Pages, PagesWanted};
pub use psi::{PsiFrame, PsiOpen, PsiPart};
pub use score::*;
pub use train::*;

/// A message that a peer sent is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A field is larger than its limit.
    #[error("{field} has {found} bytes or items, at most {limit} are allowed")]
    Size {
        /// The field.
        field: &'static str,
        /// What it has.
        found: usize,
        /// What it may have.
        limit: usize,
    },
    /// A field is malformed.
    #[error("{field} is not {expected}")]
    Form {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// Holds a size against its limit.
fn within(field: &'static str, found: usize, limit: usize) -> Result<(), WireError> {
    if found <= limit { Ok(()) } else { Err(WireError::Size { field, found, limit }) }
}

/// A field of fixed length.
fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Form { field, expected: "of its fixed length" })
}

/// A signed record, read but not verified: whoever knows the signer's key verifies it.
fn signed<T: windvane_protocols::transcript::Record>(
    field: &'static str,
    bytes: &[u8],
) -> Result<windvane_protocols::transcript::Signed<T>, WireError> {
    within(field, bytes.len(), windvane_protocols::limits::MAX_DOCUMENT_BYTES)?;
    windvane_protocols::transcript::Signed::from_bytes_unverified(bytes.to_vec())
        .map_err(|_| WireError::Form { field, expected: "a well-formed signed record" })
}
