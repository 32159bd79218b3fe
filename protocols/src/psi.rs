//! Private set intersection over files: a receiver learns which of its items a sender has, in buckets.
//!
//! **In scope**: the parameters that both parties compute alike, the records that they sign, and the
//! protocols as typed states that take and give whole messages of one bucket. **Not in scope**: files,
//! partitioning, frames, resuming and grants, which are the node's.
//!
//! **What each party learns.** The receiver: its own items that the sender has (with payload where that is
//! granted), or only their number; the sender's number of rows. The sender: the receiver's number of rows,
//! and that a job ran. In the mode with a minimum, the sender also learns whether the result was released.
//! Nobody learns how many items fell into a bucket: both parties pad every bucket to a common bound.
//!
//! **Promised against** parties that follow the protocol and remember everything (semi-honest). A receiver
//! that invents items is held by sizes, quotas and evidence, and no claim of malicious security is made: the
//! published bounds for protocols on oblivious key-value stores were shown wrong (Asiacrypt 2024). In the
//! mode with a minimum, a receiver that lies about the count is not caught by the protocol; its signed
//! commitment to the count is what an auditor opens.
//!
//! An item's bucket and key come from one SHA-256 under a salt of both parties' nonces. (The design first had
//! SHA-512 modulo the number of buckets: a prefix of SHA-256 needs no division, no second hash, and has
//! instructions of its own on current processors.)

use std::fmt;
use std::str::FromStr;

pub mod ecdh;
pub mod item;
pub mod okvs;
mod order;
mod parameters;
mod record;
pub mod rr22;
pub mod vole;

pub use parameters::{OVERFLOW_BITS, Parameters, ParametersError, STATISTICAL_BITS, Sizes};
pub use record::{
    PSI_SALT_BYTES, PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest, PsiTranscript, psi_salt,
};

/// Protocol and version in receipts.
pub const PROTOCOL: &str = "psi/v1";

/// Bytes of an item's key within its bucket.
pub const ITEM_KEY_BYTES: usize = 16;

/// An item within its bucket: a prefix of its salted hash, after the bits that chose the bucket. At 2^30 rows
/// on both sides two different items share one with a probability below 2^-67.
pub type ItemKey = [u8; ITEM_KEY_BYTES];

/// How the intersection is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Oblivious key-value store and vector OLE (RR22, CCS 2022).
    Vole,
    /// Diffie-Hellman on ristretto255.
    Ecdh,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Vole, Self::Ecdh];

    /// The name in requests, configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vole => "vole",
            Self::Ecdh => "ecdh",
        }
    }
}

/// What the receiver learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Its own items that the sender has, with payload where there is one.
    Intersection,
    /// Their number only; [`Protocol::Ecdh`].
    Cardinality,
    /// Their number, and the items themselves if they are as many as the grant asks; [`Protocol::Ecdh`].
    MinimumThenRelease,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Intersection, Self::Cardinality, Self::MinimumThenRelease];

    /// The name in requests, configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intersection => "intersection",
            Self::Cardinality => "cardinality",
            Self::MinimumThenRelease => "minimum",
        }
    }

    /// Whether there may be one bucket only, because the numbers of single buckets would tell more.
    pub const fn counts_first(self) -> bool {
        matches!(self, Self::Cardinality | Self::MinimumThenRelease)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == text).ok_or(UnknownName)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or(UnknownName)
    }
}

/// A text names no protocol (`vole`, `ecdh`) or no mode (`intersection`, `cardinality`, `minimum`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("protocols are vole and ecdh, modes are intersection, cardinality and minimum")]
pub struct UnknownName;
