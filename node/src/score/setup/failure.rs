//! Why a setup ends early, and whose fault it is.

use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Fingerprint, GroupError};
use windvane_protocols::score::shares::SetupError;

use crate::error::PeerError;

/// What a provider says that cannot go on with an epoch, whatever happens.
pub(super) const LOST: [&str; 3] = ["SCORE_SETUP_UNKNOWN", "SCORE_EPOCH_USED", "SCORE_ROUND_REPEATED"];

/// What a provider says when somebody's message is wrong.
const INVALID: &str = "SCORE_SETUP_INVALID";

/// Why a setup does not begin, or does not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupFailure {
    /// This node is not the group's bank, or none of its providers.
    #[error("this node, {party} with the fingerprint {found}, is not {role} of the group")]
    NotMember {
        /// The node.
        party: PartyId,
        /// Fingerprint of its key.
        found: Fingerprint,
        /// What it would be.
        role: &'static str,
    },
    /// The configuration has no address of a provider.
    #[error(
        "the configuration has no address of {party}; add a [[provider]] section with party = \"{party}\""
    )]
    NoAddress {
        /// The provider.
        party: PartyId,
    },
    /// A partner is enrolled with another key than the pinned one.
    #[error(
        "{party} is enrolled here with a key of the fingerprint {found}, and {pinned} is pinned in the group file; \
         compare it with what `score identity` says at {party}"
    )]
    Fingerprint {
        /// The partner.
        party: PartyId,
        /// Fingerprint of its enrolled key.
        found: Box<Fingerprint>,
        /// The pinned one.
        pinned: Box<Fingerprint>,
    },
    /// A provider refused, or cannot be reached.
    #[error("{party}: {}", .error.message)]
    Provider {
        /// The provider.
        party: PartyId,
        /// What it said.
        error: PeerError,
    },
    /// The terms do not hold.
    #[error(transparent)]
    Terms(#[from] GroupError),
    /// A party's message is wrong.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl SetupFailure {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::NotMember { .. } => "SCORE_NOT_MEMBER",
            Self::NoAddress { .. } => "PROVIDER_UNKNOWN",
            Self::Fingerprint { .. } => "SCORE_FINGERPRINT",
            Self::Provider { error, .. } => &error.code,
            Self::Terms(_) => "SCORE_TERMS_INVALID",
            Self::Setup(_) => INVALID,
        }
    }

    /// Whether the epoch cannot be finished any more.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Provider { error, .. } => error.code == INVALID || LOST.contains(&error.code.as_str()),
            Self::Terms(_) | Self::Setup(_) => true,
            _ => false,
        }
    }

    /// Whose fault it is, where it is somebody's.
    pub(super) fn party(&self) -> Option<&PartyId> {
        match self {
            Self::Provider { party, .. } => Some(party),
            Self::Setup(error) => accused(error),
            _ => None,
        }
    }
}

const fn accused(error: &SetupError) -> Option<&PartyId> {
    match error {
        SetupError::NotMember { party }
        | SetupError::Messages { party, .. }
        | SetupError::Stranger { party }
        | SetupError::Signature { party }
        | SetupError::Disagreement { party }
        | SetupError::Form { party }
        | SetupError::Possession { party }
        | SetupError::WrongShare { party } => Some(party),
        _ => None,
    }
}
