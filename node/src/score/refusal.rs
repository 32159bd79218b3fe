//! Why a provider refuses a call of the joint score.

use tonic::Code;
use windvane_protocols::score::group::GroupError;
use windvane_protocols::score::shares::SetupError;

/// Why a setup does not begin or go on, or a table is not served. Each has its own code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreRefusal {
    /// No group of this name was joined with the caller as its bank.
    #[error(
        "this node has joined no scoring group of this name with the caller as its bank; see `score join`"
    )]
    GroupUnknown,
    /// The terms are others than what was joined.
    #[error("{field} of the setup is another than what this node joined; compare the group files")]
    TermsDiffer {
        /// What differs.
        field: &'static str,
    },
    /// The terms themselves do not hold.
    #[error(transparent)]
    Terms(#[from] GroupError),
    /// The epoch was begun here before, finished or not.
    #[error("epochs up to {last} were used here; begin a later one")]
    EpochUsed {
        /// The last epoch that was begun.
        last: u64,
    },
    /// The epoch is too far above the last one.
    #[error("epochs up to {largest} may be begun here now; begin an earlier one")]
    EpochTooLarge {
        /// The largest that may be begun.
        largest: u64,
    },
    /// As many epochs of the group stand here as may.
    #[error(
        "{standing} epochs of this group are not retired here, as many as may; `score retire` ends one for good"
    )]
    EpochsStand {
        /// How many there are.
        standing: usize,
    },
    /// There is no such setup that waits for this.
    #[error(
        "no setup under these terms waits here for {stage}; the node may have been restarted: begin the next epoch"
    )]
    SetupUnknown {
        /// What the call brought.
        stage: &'static str,
    },
    /// The round was answered for other messages.
    #[error("the {stage} of this setup were other ones before; begin the next epoch")]
    RoundRepeated {
        /// What the call brought.
        stage: &'static str,
    },
    /// A party's message is wrong; the setup is over.
    #[error(transparent)]
    SetupInvalid(#[from] SetupError),
    /// Another command changes the same files.
    #[error("another command of this node changes the same files; try again")]
    Busy,
    /// There is no such table here.
    #[error("there is no published score table of this group and epoch")]
    TableUnknown,
}

impl ScoreRefusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::GroupUnknown => "SCORE_GROUP_UNKNOWN",
            Self::TermsDiffer { .. } => "SCORE_TERMS_DIFFER",
            Self::Terms(_) => "SCORE_TERMS_INVALID",
            Self::EpochUsed { .. } => "SCORE_EPOCH_USED",
            Self::EpochTooLarge { .. } => "SCORE_EPOCH_TOO_LARGE",
            Self::EpochsStand { .. } => "SCORE_EPOCHS_STAND",
            Self::SetupUnknown { .. } => "SCORE_SETUP_UNKNOWN",
            Self::RoundRepeated { .. } => "SCORE_ROUND_REPEATED",
            Self::SetupInvalid(_) => "SCORE_SETUP_INVALID",
            Self::Busy => "SCORE_BUSY",
            Self::TableUnknown => "SCORE_TABLE_UNKNOWN",
        }
    }

    pub(crate) const fn grpc(&self) -> Code {
        match self {
            Self::GroupUnknown | Self::TableUnknown => Code::NotFound,
            Self::TermsDiffer { .. } | Self::EpochsStand { .. } | Self::SetupUnknown { .. } => {
                Code::FailedPrecondition
            }
            Self::EpochUsed { .. } | Self::RoundRepeated { .. } => Code::AlreadyExists,
            Self::Busy => Code::ResourceExhausted,
            _ => Code::InvalidArgument,
        }
    }
}
