//! Why a bank's training does not begin, or ends early.

use std::path::PathBuf;

use tonic::Status;
use windvane_keys::files::FileError;
use windvane_proto::convert::WireError;
use windvane_protocols::party::PartyId;
use windvane_protocols::train::binning::BinningError;
use windvane_protocols::train::boosting::TrainingError;
use windvane_protocols::train::charter::CharterError;
use windvane_protocols::train::elgamal::ElGamalError;
use windvane_protocols::train::growth::GrowthError;
use windvane_protocols::train::partition::PartitionError;
use windvane_protocols::train::record::AnnouncementError;

use super::plan::PlanError;
use crate::error::{NodeError, PeerError};
use crate::train::features::FeatureError;
use crate::train::sample::SampleError;

/// The way out where nothing else goes on.
pub(in crate::train) const ANEW: &str = "begin a new training with `windvane train --anew`";

/// What a provider, or several carriers that grow trees as one, did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It refused, or ended the call with an error.
    #[error("{0}; when its cause is mended, `windvane train --resume` goes on")]
    Refused(PeerError),
    /// It refused, and will whenever it is asked again.
    #[error("{0}; this training cannot go on: `windvane train --anew` begins another one of its plan")]
    Over(PeerError),
    /// It has a model of the training's name.
    #[error("{0}; this training cannot go on, nor can another one under this name")]
    Taken(PeerError),
    /// It says nothing.
    #[error("no answer for {seconds} s; when it is reachable again, `windvane train --resume` goes on")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A message is malformed.
    #[error("a malformed message: {0}; compare versions with the provider")]
    Wire(#[from] WireError),
    /// Something was due that did not come, or the other way round.
    #[error("it sent {found} where {expected} was due; compare versions with the provider")]
    Unexpected {
        /// What came.
        found: &'static str,
        /// What was due.
        expected: &'static str,
    },
    /// Ciphertexts that are none, or that decrypt to nothing.
    #[error("its ciphertexts do not hold: {0}; {ANEW}, and ask the provider why")]
    Ciphertext(#[from] ElGamalError),
    /// Sums that cannot be.
    #[error("its sums do not hold: {0}; {ANEW}, and ask the provider why")]
    Sums(#[from] GrowthError),
    /// Groups that cannot be.
    #[error("its groups do not hold: {0}; {ANEW}, and ask the provider why")]
    Groups(#[from] PartitionError),
    /// A row has a contribution that no trees of the block add up to; a decoy has any. Which row is not told: the
    /// error goes to people who talk to the provider.
    #[error("a row's contribution is not one that the block's trees can make; {ANEW}")]
    Contribution,
    /// A row has a sum of parts that no parts add up to; a decoy has any.
    #[error("a row's sum of parts is not one that parts can make; {ANEW}")]
    Parts,
    /// It keeps an upload under another digest than was sent.
    #[error("it keeps {what} under another digest than was sent; {ANEW}")]
    Digest {
        /// Of what.
        what: &'static str,
    },
    /// Its acceptance does not hold.
    #[error("its acceptance does not hold: {what}; {ANEW}")]
    Acceptance {
        /// What is wrong.
        what: &'static str,
    },
    /// Announcements do not hold.
    #[error(transparent)]
    Announcement(#[from] AnnouncementError),
    /// Its receipt does not hold.
    #[error("its receipt does not hold: {what}; keep the session's folder, and ask the provider why")]
    Receipt {
        /// What is wrong.
        what: &'static str,
    },
}

/// What a provider says of a training that nothing brings to its end any more.
const OVER: [&str; 12] = [
    "TRAIN_ANNOUNCEMENTS_DIFFER",
    "TRAIN_ATTEMPTS",
    "TRAIN_DECISION_DIFFERS",
    "TRAIN_ENDED",
    "TRAIN_EXPIRED",
    "TRAIN_FINISH_DIFFERS",
    "TRAIN_SESSION_DIFFERS",
    UNKNOWN,
    "TRAIN_STEP_PAST",
    "TRAIN_TABLE_CHANGED",
    "TRAIN_TRANSCRIPT",
    "TRAIN_UPLOAD_DIFFERS",
];

/// What it says of a session that it does not know.
const UNKNOWN: &str = "TRAIN_SESSION_UNKNOWN";

/// What it says of a name that is taken.
const TAKEN: &str = "TRAIN_MODEL_EXISTS";

impl From<PeerError> for Fault {
    fn from(error: PeerError) -> Self {
        match error.code.as_str() {
            TAKEN => Self::Taken(error),
            code if OVER.contains(&code) => Self::Over(error),
            _ => Self::Refused(error),
        }
    }
}

/// Its refusal, or what is wrong with an answer that was not decoded.
impl From<&Status> for Fault {
    fn from(status: &Status) -> Self {
        WireError::of(status).map_or_else(|| PeerError::from(status).into(), |error| error.clone().into())
    }
}

impl Fault {
    /// What a refusal means of a session that its provider has accepted, to which all others are bound: no other request takes
    /// its place. A provider that knows it looks at its request's age no more, so that one which does has forgotten it, as one
    /// that was restored from a backup.
    pub(super) fn of_accepted(self) -> Self {
        match self {
            Self::Refused(error) if error.code == "CLOCK_SKEW" => {
                let message = "it does not know the session any more that it has accepted".to_owned();
                Self::Over(PeerError { code: UNKNOWN.to_owned(), message, ..error })
            }
            Self::Refused(error) if ["GRANT_EXPIRED", "GRANT_UNKNOWN"].contains(&error.code.as_str()) => {
                Self::Over(error)
            }
            other => other,
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Refused(error) | Self::Over(error) | Self::Taken(error) => &error.code,
            Self::Silent { .. } => "PEER_IDLE",
            Self::Wire(error) => error.code(),
            Self::Unexpected { .. } => "TRAIN_ANSWER_UNEXPECTED",
            Self::Ciphertext(_) => "TRAIN_CIPHERTEXT_INVALID",
            Self::Sums(_) => "TRAIN_SUMS_INVALID",
            Self::Groups(_) => "TRAIN_GROUPS_INVALID",
            Self::Contribution => "TRAIN_CONTRIBUTION_INVALID",
            Self::Parts => "TRAIN_PARTS_INVALID",
            Self::Digest { .. } => "TRAIN_DIGEST",
            Self::Acceptance { .. } => "ACCEPTANCE_INVALID",
            Self::Announcement(AnnouncementError::Schema { .. }) => "TRAIN_SCHEMA_DIFFERS",
            Self::Announcement(_) => "TRAIN_ANNOUNCEMENTS_INVALID",
            Self::Receipt { .. } => "RECEIPT_INVALID",
        }
    }
}

/// Why a training does not begin, or ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The sample.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The bank's own features.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The bank's own bins.
    #[error(transparent)]
    Binning(#[from] BinningError),
    /// The bank's own trees.
    #[error("the bank's own trees: {0}")]
    Own(#[from] TrainingError),
    /// The bank's own numbers do not fit what is encrypted.
    #[error("the bank's own residuals: {0}")]
    Encryption(ElGamalError),
    /// The charter.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// A file is not what the training began with.
    #[error("{path} changed since the training began; put the old one back, or {ANEW}")]
    InputChanged {
        /// The file.
        path: PathBuf,
    },
    /// A provider, at some stage.
    #[error("{providers}, {stage}: {fault}")]
    Provider {
        /// Who; several names where carriers grow trees as one.
        providers: String,
        /// What was being done.
        stage: &'static str,
        /// What is wrong.
        fault: Fault,
    },
    /// The training's folder says something else than it should.
    #[error("{path}: {what}")]
    Folder {
        /// A file of the folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is no such training here, or no one to go on with.
    #[error("there is no training {training} here; `windvane train status` lists those that are")]
    Unknown {
        /// The training.
        training: String,
    },
    /// A log is to be searched, and nobody said for which training.
    #[error("{} is a log: say with --training which training is looked for; `windvane train status` lists them", log.display())]
    Unnamed {
        /// The log.
        log: PathBuf,
    },
    /// A log has neither a receipt nor a lapse of a training.
    #[error(
        "{} has neither a receipt nor a lapse of training {training}: its provider signs one at the training's end, or \
         when it gives it up (`service.train_keep_ms`)",
        log.display()
    )]
    Unsigned {
        /// The log.
        log: PathBuf,
        /// The training.
        training: String,
    },
    /// Anything of the node.
    #[error(transparent)]
    Node(Box<NodeError>),
}

impl TrainError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Plan(error) => error.code(),
            Self::Sample(error) => error.code(),
            Self::Features(error) => error.code(),
            Self::Binning(_) | Self::Own(_) | Self::Encryption(_) => "TRAIN_OWN_ROWS",
            Self::Charter(CharterError::Unpinned { .. }) => "TRAIN_IDENTITY",
            Self::Charter(_) => "TRAIN_CHARTER_INVALID",
            Self::InputChanged { .. } => "INPUT_CHANGED",
            Self::Provider { fault, .. } => fault.code(),
            Self::Folder { .. } => "TRAIN_FOLDER",
            Self::Unknown { .. } => "TRAIN_UNKNOWN",
            Self::Unnamed { .. } => "TRAINING_MISSING",
            Self::Unsigned { .. } => "RECEIPT_MISSING",
            Self::Node(error) => error.code(),
        }
    }

    /// Whether a provider has to do with it: everybody has where the error names nobody.
    pub(super) fn is_about(&self, provider: &PartyId) -> bool {
        match self {
            Self::Provider { providers, .. } => providers.split(", ").any(|name| name == provider.as_str()),
            _ => true,
        }
    }

    /// [`Fault::of_accepted`], where a provider is at fault.
    pub(super) fn of_accepted(self) -> Self {
        match self {
            Self::Provider { providers, stage, fault } => {
                Self::Provider { providers, stage, fault: fault.of_accepted() }
            }
            other => other,
        }
    }

    /// Names the provider and what was being done.
    pub(super) fn of<F: Into<Fault>>(provider: &PartyId, stage: &'static str) -> impl Fn(F) -> Self + use<F> {
        let providers = provider.to_string();
        move |fault| Self::Provider { providers: providers.clone(), stage, fault: fault.into() }
    }

    /// Adds the file to an error of the system.
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| NodeError::io(path.display().to_string())(source).into()
    }

    pub(super) fn given(code: &'static str, message: impl Into<String>) -> Self {
        NodeError::Given { code, message: message.into() }.into()
    }
}

impl From<NodeError> for TrainError {
    fn from(error: NodeError) -> Self {
        Self::Node(Box::new(error))
    }
}

impl From<FileError> for TrainError {
    fn from(error: FileError) -> Self {
        NodeError::from(error).into()
    }
}

impl From<crate::store::StoreError> for TrainError {
    fn from(error: crate::store::StoreError) -> Self {
        NodeError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_not_decoded_is_malformed_and_no_refusal() {
        let error = WireError::Size { field: "pairs", found: 9, limit: 8 };
        assert!(matches!(Fault::from(&Status::from(error.clone())), Fault::Wire(wire) if wire == error));
        assert!(matches!(Fault::from(&Status::invalid_argument("a provider's")), Fault::Refused(_)));
    }

    #[test]
    fn a_session_that_its_provider_forgot_is_over_and_a_clock_is_blamed_only_before_it_was_accepted() {
        let refused = |code: &str| {
            let message = "synchronise the clocks".to_owned();
            Fault::from(PeerError { code: code.to_owned(), message, retry_after_ms: None })
        };
        assert!(matches!(refused("CLOCK_SKEW"), Fault::Refused(_)));
        let forgotten = refused("CLOCK_SKEW").of_accepted();
        assert_eq!(forgotten.code(), "TRAIN_SESSION_UNKNOWN");
        let text = forgotten.to_string();
        assert!(text.contains("--anew") && !text.contains("--resume") && !text.contains("clock"), "{text}");
        assert!(matches!(refused("GRANT_EXPIRED").of_accepted(), Fault::Over(_)));
        assert!(matches!(refused("TRAIN_BUSY").of_accepted(), Fault::Refused(_)));
    }

    #[test]
    fn who_is_to_begin_a_new_training_is_told_how_and_not_to_go_on_with_this_one() {
        for code in OVER {
            let error = PeerError { code: code.to_owned(), message: String::new(), retry_after_ms: None };
            let text = Fault::from(error).to_string();
            assert!(text.contains("windvane train --anew") && !text.contains("--resume"), "{code}: {text}");
        }
        let changed = TrainError::InputChanged { path: "features.csv".into() };
        assert!(changed.to_string().contains("windvane train --anew"), "{changed}");
    }
}
