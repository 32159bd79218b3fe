//! `[certificates]`: when the node warns of their ends, and what an overdue revocation list means.

use serde::Deserialize;

use super::ConfigError;

/// Warnings of longer ahead would never cease.
const MAX_WARN_DAYS: u32 = 365;

/// Certificates and revocation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertificatesConfig {
    /// Days before a certificate's end from which the node warns.
    pub warn_days: u32,
    /// Whether an authority's certificates are refused once its next revocation list is overdue. Without it the node
    /// warns and goes on with the list that it has: an authority that is late stops nobody's business.
    pub refuse_overdue_lists: bool,
}

impl Default for CertificatesConfig {
    fn default() -> Self {
        Self { warn_days: 30, refuse_overdue_lists: false }
    }
}

impl CertificatesConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (1..=MAX_WARN_DAYS).contains(&self.warn_days) {
            return Ok(());
        }
        let rule = format!("is 1 to {MAX_WARN_DAYS}");
        Err(ConfigError::Field { field: "certificates.warn_days", rule })
    }
}
