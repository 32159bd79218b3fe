//! `windvane.common.v1`.

use crate::common::v1::HelloRequest;

/// Protocols that a caller may name.
pub const MAX_PROTOCOLS: usize = 16;

impl HelloRequest {
    /// The caller's protocols that we speak too.
    pub fn common_with(&self, ours: &[&str]) -> Vec<String> {
        self.protocols.iter().filter(|p| ours.contains(&p.as_str())).cloned().collect()
    }
}
