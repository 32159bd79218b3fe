//! From wire messages to trusted types, and back. A message that [`crate::decode`] let through has no list that is
//! longer than it may be.

use std::error::Error as _;
use std::sync::Arc;

use tonic::Status;
use tonic::metadata::MetadataValue;

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

/// Metadata key of the stable code.
pub const CODE_KEY: &str = "windvane-code";

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

impl WireError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "MESSAGE_TOO_LARGE",
            Self::Form { .. } => "MESSAGE_MALFORMED",
        }
    }

    /// What is wrong with a message, where that is why this side refused it before anything else saw it. Between the
    /// status and this error may stand what the layers of a server wrapped it in.
    pub fn of(status: &Status) -> Option<&Self> {
        std::iter::successors(status.source(), |error| (*error).source())
            .find_map(|error| error.downcast_ref())
    }
}

/// The refusal of a message that was not decoded.
impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        let mut status = Self::invalid_argument(error.to_string());
        status.metadata_mut().insert(CODE_KEY, MetadataValue::from_static(error.code()));
        status.set_source(Arc::new(error));
        status
    }
}

/// Holds a size against its limit.
pub(crate) fn within(field: &'static str, found: usize, limit: usize) -> Result<(), WireError> {
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
