//! Names of what is destroyed, as they stand in protocols of destruction.

/// Cause: it was kept as long as its class is.
pub const RETENTION: &str = "retention";
/// Cause: it left service.
pub const RETIRED: &str = "retired";

/// A data set with all its tables and keys.
pub const DATA_SET: &str = "data set";
/// An epoch of a data set: its table and its keys.
pub const EPOCH: &str = "epoch";
/// A partner: its enrolment here, its snapshots, its grants.
pub const PARTNER: &str = "partner";
/// A node: everything but what is archived.
pub const NODE: &str = "node";
