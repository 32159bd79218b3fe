//! Evidence: grants, receipts, and the transparency log that holds them.
//!
//! Entries are [`crate::transcript`] encodings; the log is RFC 6962 hashing in the C2SP `tlog-tiles` layout
//! with `signed-note` checkpoints, so that an auditor can verify it with tools that are not ours.

pub mod checkpoint;
pub mod destruction;
pub mod entry;
pub mod grant;
pub mod merkle;
pub mod receipt;
pub mod tiles;
