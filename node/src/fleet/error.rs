//! Why a fleet does not run.

use crate::error::NodeError;

/// Why a fleet does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A party's keys, enrolment, grant or data.
    #[error("{party}: {source}")]
    Party {
        /// The party.
        party: String,
        /// What failed.
        source: NodeError,
    },
    /// A file or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A node ended by itself, or with an error.
    #[error("{party}: the node ended with {status}; it said: {said}")]
    Ended {
        /// The party.
        party: String,
        /// How the process ended.
        status: String,
        /// The last line of its log.
        said: String,
    },
    /// A node did not say in time where it serves.
    #[error("{party}: the node did not begin to serve; see its node.log")]
    NotReady {
        /// The party.
        party: String,
    },
    /// A node did not stop in time and was killed.
    #[error("{party}: the node did not stop in time and was killed; see its node.log")]
    Killed {
        /// The party.
        party: String,
    },
}

impl FleetError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Party { source, .. } => source.code(),
            Self::Io { .. } => "IO",
            Self::Ended { .. } => "NODE_ENDED",
            Self::NotReady { .. } => "NODE_NOT_READY",
            Self::Killed { .. } => "NODE_KILLED",
        }
    }

    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(super) fn party<E: Into<NodeError>>(party: &str) -> impl Fn(E) -> Self + use<E> {
        let party = party.to_owned();
        move |source| Self::Party { party: party.clone(), source: source.into() }
    }
}
