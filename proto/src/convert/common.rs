//! `windvane.common.v1`.

use super::{WireError, within};
use crate::common::v1::HelloRequest;

/// Protocols that a caller may name.
pub const MAX_PROTOCOLS: usize = 16;

impl HelloRequest {
    /// The caller's protocols that we speak too.
    ///
    /// # Errors
    /// [`WireError::Size`] when the caller names more than [`MAX_PROTOCOLS`].
    pub fn common_with(&self, ours: &[&str]) -> Result<Vec<String>, WireError> {
        within("protocols", self.protocols.len(), MAX_PROTOCOLS)?;
        Ok(self.protocols.iter().filter(|p| ours.contains(&p.as_str())).cloned().collect())
    }
}
