//! Why a provider refuses a call of a training.

use tonic::Code;
use windvane_protocols::limits::MAX_TRAIN_ATTEMPTS;
use windvane_protocols::train::charter::{CharterError, ListError};
use windvane_protocols::train::elgamal::ElGamalError;
use windvane_protocols::train::mask::MaskError;
use windvane_protocols::train::partition::PartitionError;
use windvane_protocols::train::record::AnnouncementError;

/// Why a training does not begin or go on. Each has its own code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainRefusal {
    /// The request's signature does not hold.
    #[error("the request's signature does not hold under the requester's receipt key")]
    Signature,
    /// The request's time is too far from this clock.
    #[error("the request's time is {off_ms} ms off; synchronise the clocks")]
    Clock {
        /// How far it is off.
        off_ms: u64,
    },
    /// There is no such table here.
    #[error("there is no table of this name to train on; ask the provider for its [[train]] sections")]
    TableUnknown,
    /// The provider's own table or schema cannot be used.
    #[error("the provider's table cannot be used; its own log says why: ask its operator")]
    Table,
    /// The table changed since the session began.
    #[error("the provider's table changed since the session began; begin a new training")]
    TableChanged,
    /// The charter asks for more, or promises less, than the grant's terms say.
    #[error("{what} is {found}, the grant says {limit}")]
    Terms {
        /// Which of its numbers.
        what: &'static str,
        /// What the charter says.
        found: u64,
        /// What the grant says.
        limit: u64,
    },
    /// The grant's runs are used up.
    #[error("the grant permits {permitted} trainings, and they are used up")]
    Runs {
        /// What the grant permits.
        permitted: u64,
    },
    /// Another list of segments than the provider has.
    #[error("the training is about another list of number segments than this provider's; compare the files")]
    Universe,
    /// The charter does not hold against the provider's pins.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// The bank's key is none.
    #[error("the training's public key is not a canonical element other than the identity")]
    PublicKey,
    /// The charter has the provider in a unit of several, and no schema is configured.
    #[error("carriers grow trees as one by a signed schema; the provider has none for this table")]
    SchemaMissing,
    /// Announcements do not hold.
    #[error(transparent)]
    Announcements(#[from] AnnouncementError),
    /// A mask key is none.
    #[error(transparent)]
    Masks(#[from] MaskError),
    /// Other announcements came before.
    #[error("the announcements of this session were other ones before; begin a new training")]
    AnnouncementsDiffer,
    /// There is no such session of this bank here.
    #[error("there is no such session here; open it first")]
    SessionUnknown,
    /// The session is known with another request, or from before this node was restored.
    #[error(
        "the session is known with another request, or from before the provider was restored; take a fresh one"
    )]
    SessionDiffers,
    /// The session was opened, or its last step was answered, as often as it may.
    #[error(
        "the session was opened, or its last step answered, {MAX_TRAIN_ATTEMPTS} times, as often as it may; begin a \
         new training"
    )]
    Attempts,
    /// The session is over since it is too old: it has lapsed, or is about to.
    #[error("the session came to no end in its time and was given up; begin a new training")]
    Expired,
    /// The session is through.
    #[error("the session is through; only its receipt can be asked for again")]
    Ended,
    /// A call of the session is still running, or as many sessions are as may.
    #[error("the provider is still busy with this or with other sessions; try again")]
    Busy,
    /// A call comes where another one is due.
    #[error("{found} came where {expected} was due")]
    Order {
        /// What came.
        found: &'static str,
        /// What was due.
        expected: &'static str,
    },
    /// An upload is longer or shorter than it must be.
    #[error("an upload of {expected} bytes was due, found {found}")]
    UploadSize {
        /// What came, as far as it was read.
        found: usize,
        /// What was due.
        expected: usize,
    },
    /// An upload's messages break off, or cannot be read.
    #[error("the upload broke off: {cause}; send it again")]
    UploadBroken {
        /// What the connection said.
        cause: String,
    },
    /// An upload differs from the one that is kept.
    #[error("the upload differs from the one that came before under the same name; begin a new training")]
    UploadDiffers,
    /// A list does not hold.
    #[error(transparent)]
    List(#[from] ListError),
    /// Ciphertexts do not hold.
    #[error(transparent)]
    Ciphertext(#[from] ElGamalError),
    /// The step was asked with other content before.
    #[error("this step was asked with other decisions or groups before; begin a new training")]
    StepDiffers,
    /// A later step was asked already.
    #[error("this step was answered and a later one was asked; its answer cannot be had again")]
    StepPast,
    /// Decisions or groups do not fit the nodes that wait for them.
    #[error(transparent)]
    Decisions(#[from] PartitionError),
    /// Sums cannot be taken. Nothing more is said: a row's place would tell its bins.
    #[error("the sums of this step cannot be taken; a node has too many cells, or values are too large")]
    Sums,
    /// The two parties' hashes over all steps differ.
    #[error("the two parties' hashes over all steps differ; begin a new training")]
    Transcript,
    /// The session was finished otherwise before.
    #[error("the session was finished with another scale or card before")]
    FinishDiffers,
    /// The scale does not hold for this provider.
    #[error("the span must be what the trees of the provider's unit can add up to")]
    Scale,
    /// The end has another scale than parts were told under.
    #[error("the session must end under the scale of its parts")]
    ScaleDiffers,
    /// The charter names its model as no model is called.
    #[error("the training's model has no model's name: {}", crate::score::card::NAME_RULE)]
    ModelName,
    /// The registry has another model under the charter's name.
    #[error(
        "the provider has another model of this name; give the plan another name and begin a new training"
    )]
    ModelExists,
    /// The card has another name than the charter.
    #[error("the card's name is not the one that the training's request names")]
    ModelDiffers,
}

impl TrainRefusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signature => "REQUEST_SIGNATURE_INVALID",
            Self::Clock { .. } => "CLOCK_SKEW",
            Self::TableUnknown => "TRAIN_TABLE_UNKNOWN",
            Self::Table => "TRAIN_TABLE",
            Self::TableChanged => "TRAIN_TABLE_CHANGED",
            Self::Terms { .. } => "TRAIN_TERMS",
            Self::Runs { .. } => "GRANT_EXHAUSTED",
            Self::Universe => "TRAIN_UNIVERSE",
            Self::Charter(CharterError::Unpinned { .. }) => "TRAIN_IDENTITY",
            Self::Charter(_) => "TRAIN_CHARTER_INVALID",
            Self::PublicKey => "TRAIN_KEY_INVALID",
            Self::SchemaMissing => "TRAIN_SCHEMA_MISSING",
            Self::Announcements(AnnouncementError::Schema { .. }) => "TRAIN_SCHEMA_DIFFERS",
            Self::Announcements(_) | Self::Masks(_) => "TRAIN_ANNOUNCEMENTS_INVALID",
            Self::AnnouncementsDiffer => "TRAIN_ANNOUNCEMENTS_DIFFER",
            Self::SessionUnknown => "TRAIN_SESSION_UNKNOWN",
            Self::SessionDiffers => "TRAIN_SESSION_DIFFERS",
            Self::Attempts => "TRAIN_ATTEMPTS",
            Self::Expired => "TRAIN_EXPIRED",
            Self::Ended => "TRAIN_ENDED",
            Self::Busy => "TRAIN_BUSY",
            Self::Order { .. } => "TRAIN_ORDER",
            Self::UploadSize { .. } => "TRAIN_UPLOAD_SIZE",
            Self::UploadBroken { .. } => "TRAIN_UPLOAD_BROKEN",
            Self::UploadDiffers => "TRAIN_UPLOAD_DIFFERS",
            Self::List(_) => "TRAIN_LIST_INVALID",
            Self::Ciphertext(_) => "TRAIN_CIPHERTEXT_INVALID",
            Self::StepDiffers => "TRAIN_DECISION_DIFFERS",
            Self::StepPast => "TRAIN_STEP_PAST",
            Self::Decisions(PartitionError::Groups { .. } | PartitionError::Proposals { .. }) => {
                "TRAIN_GROUPS_INVALID"
            }
            Self::Decisions(_) => "TRAIN_DECISION_INVALID",
            Self::Sums => "TRAIN_SUMS",
            Self::Transcript => "TRAIN_TRANSCRIPT",
            Self::FinishDiffers => "TRAIN_FINISH_DIFFERS",
            Self::Scale => "TRAIN_SCALE",
            Self::ScaleDiffers => "TRAIN_SCALE_DIFFERS",
            Self::ModelName => "TRAIN_MODEL_NAME",
            Self::ModelExists => "TRAIN_MODEL_EXISTS",
            Self::ModelDiffers => "TRAIN_MODEL_DIFFERS",
        }
    }

    pub(crate) const fn grpc(&self) -> Code {
        match self {
            Self::Terms { .. } | Self::Charter(CharterError::Unpinned { .. }) => Code::PermissionDenied,
            Self::Runs { .. } | Self::Attempts | Self::Busy => Code::ResourceExhausted,
            Self::TableUnknown | Self::SessionUnknown => Code::NotFound,
            Self::SessionDiffers
            | Self::AnnouncementsDiffer
            | Self::UploadDiffers
            | Self::StepDiffers
            | Self::FinishDiffers => Code::AlreadyExists,
            Self::Table
            | Self::TableChanged
            | Self::Universe
            | Self::SchemaMissing
            | Self::Expired
            | Self::Ended
            | Self::Order { .. }
            | Self::StepPast
            // An honest bank cannot know which names are taken.
            | Self::ModelExists => Code::FailedPrecondition,
            Self::Transcript => Code::Aborted,
            _ => Code::InvalidArgument,
        }
    }
}
