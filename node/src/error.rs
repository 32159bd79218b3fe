//! Errors that cross the wire: a stable code, what was wrong, and what to do.

mod peer;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use windvane_proto::convert::{CODE_KEY, WireError};
use windvane_protocols::audit::grant::GrantError;
use windvane_protocols::lookup::provider::QuestionError;

use crate::functions::Function;

pub use peer::PeerError;

/// Metadata key of the time after which another attempt may succeed, milliseconds.
const RETRY_KEY: &str = "windvane-retry-after-ms";

/// Why a provider refuses a call. Each has its own code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The caller's certificate is good, but the caller is not enrolled here, or with other keys.
    #[error("this node does not know the caller; import its enrolment first")]
    PeerUnknown,
    /// The caller's certificate was revoked or has ended, or its enrolment was.
    #[error("the caller's certificate or enrolment no longer holds; connect again with a valid one")]
    PeerRevoked,
    /// A message is malformed.
    #[error(transparent)]
    Malformed(#[from] WireError),
    /// The question does not hold.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// The request names other parties than those of the connection.
    #[error("the request is between other parties than this connection")]
    Parties,
    /// The grant is not known here, or was ended.
    #[error("the grant is not known or has been ended; ask for a new one")]
    GrantUnknown,
    /// The grant does not permit this.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// A quota is used up.
    #[error("the quota {quota} of the grant is used up")]
    QuotaExhausted {
        /// Rate, day, total, or the key's own limit.
        quota: &'static str,
        /// When another attempt may succeed; `None` when none will.
        retry_after_ms: Option<u64>,
    },
    /// The session was used with other bytes, or its answer is no longer kept.
    #[error("the session was used before; use a fresh one")]
    SessionReplayed,
    /// The request is of a time of which this node does not remember sessions any more.
    #[error(
        "the request was made {off_ms} ms before the time from which this node remembers sessions; ask anew, and if \
         that does not help, the provider's clock went back: its operator must start the node again"
    )]
    RequestStale {
        /// How long before.
        off_ms: u64,
    },
    /// There is no such data set here.
    #[error("there is no published data set of this name")]
    DataSetUnknown,
    /// The epoch is not the current one.
    #[error("the current epoch is {current}; fetch its snapshot")]
    EpochUnknown {
        /// The current epoch.
        current: u64,
    },
    /// There is no such epoch of a scoring group here, or it is retired, or of another bank.
    #[error("this node answers for no such epoch of a scoring group")]
    ScoreEpochUnknown,
    /// The epoch has ended.
    #[error("the epoch has ended and its keys are no longer used")]
    EpochExpired,
    /// There is no such publication or page.
    #[error("there is no such publication or page")]
    PageUnknown,
    /// A countersignature does not hold.
    #[error("the countersignature does not hold, or is not about receipts of this node")]
    CountersignatureInvalid,
    /// A countersignature is about receipts that wait for one, and about others that are not known.
    #[error(
        "the countersignature is about receipts that wait for one and about others that this node does not know, or \
         no longer; send them apart"
    )]
    CountersignatureMixed,
    /// A set intersection does not begin, or does not go on.
    #[error(transparent)]
    Psi(#[from] crate::psi::PsiRefusal),
    /// A setup of a scoring group does not begin or go on, or a table is not served.
    #[error(transparent)]
    Score(#[from] crate::score::refusal::ScoreRefusal),
    /// A training does not begin, or does not go on.
    #[error(transparent)]
    Train(#[from] crate::train::TrainRefusal),
    /// More than one peer, or all of them, may take of this node at a time.
    #[error("this is more than one peer, or all of them, may take at a time ({what}); try again later")]
    Overloaded {
        /// What there was too much of.
        what: &'static str,
        /// When another attempt may succeed.
        retry_after_ms: u64,
    },
    /// More elements than one peer may ask for in a time.
    #[error("more elements were asked for than one peer may for one purpose in a time; try again later")]
    RateExceeded {
        /// When another attempt may succeed.
        retry_after_ms: u64,
    },
    /// Too many calls of the peer were refused for its own fault.
    #[error("too many of your calls were malformed, repeated or forbidden; all are refused for a while")]
    PeerFaults {
        /// When another attempt may succeed.
        retry_after_ms: u64,
    },
    /// The call took longer than its caller or this node waits.
    #[error("the call took longer than its deadline")]
    DeadlineExceeded,
    /// A function is switched off here.
    #[error("{0} is switched off at this node")]
    FunctionOff(Function),
    /// The caller is suspended here.
    #[error("this node has suspended its work with the caller; ask its operator")]
    PartnerSuspended,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// Something failed here; the node's own log tells more.
    #[error("the node could not complete the call")]
    Internal,
}

impl Refusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PeerUnknown => "PEER_UNKNOWN",
            Self::PeerRevoked => "PEER_REVOKED",
            Self::Malformed(error) => error.code(),
            Self::Question(QuestionError::Signature) => "REQUEST_SIGNATURE_INVALID",
            Self::Question(QuestionError::Elements) => "REQUEST_ELEMENTS_MISMATCH",
            Self::Question(QuestionError::Clock { .. }) => "CLOCK_SKEW",
            Self::Question(QuestionError::SessionDate) => "SESSION_DATE",
            Self::Question(QuestionError::IdentityVersion) => "IDENTITY_VERSION",
            Self::Question(_) => "REQUEST_INVALID",
            Self::Parties => "PARTIES_MISMATCH",
            Self::GrantUnknown => "GRANT_UNKNOWN",
            Self::Grant(GrantError::Expired { .. }) => "GRANT_EXPIRED",
            Self::Grant(GrantError::NotYetValid { .. }) => "GRANT_NOT_YET_VALID",
            Self::Grant(GrantError::Epoch { .. }) => "GRANT_EPOCH",
            Self::Grant(_) => "GRANT_SCOPE",
            Self::QuotaExhausted { .. } => "GRANT_EXHAUSTED",
            Self::SessionReplayed => "SESSION_REPLAYED",
            Self::RequestStale { .. } => "REQUEST_STALE",
            Self::DataSetUnknown => "DATA_SET_UNKNOWN",
            Self::EpochUnknown { .. } => "EPOCH_UNKNOWN",
            Self::ScoreEpochUnknown => "SCORE_EPOCH_UNKNOWN",
            Self::EpochExpired => "EPOCH_EXPIRED",
            Self::PageUnknown => "PAGE_UNKNOWN",
            Self::CountersignatureInvalid => "COUNTERSIGNATURE_INVALID",
            Self::CountersignatureMixed => "COUNTERSIGNATURE_MIXED",
            Self::Psi(refusal) => refusal.code(),
            Self::Score(refusal) => refusal.code(),
            Self::Train(refusal) => refusal.code(),
            Self::Overloaded { .. } => "OVERLOADED",
            Self::RateExceeded { .. } => "RATE_EXCEEDED",
            Self::PeerFaults { .. } => "PEER_FAULTS",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::FunctionOff(function) => function.off_code(),
            Self::PartnerSuspended => "PARTNER_SUSPENDED",
            Self::Stopping => "STOPPING",
            Self::Internal => "INTERNAL",
        }
    }

    /// When another attempt may succeed, milliseconds; `None` when waiting does not help.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::QuotaExhausted { retry_after_ms, .. } => *retry_after_ms,
            Self::Overloaded { retry_after_ms, .. }
            | Self::RateExceeded { retry_after_ms }
            | Self::PeerFaults { retry_after_ms } => Some(*retry_after_ms),
            _ => None,
        }
    }

    const fn grpc(&self) -> Code {
        match self {
            Self::PeerUnknown
            | Self::PeerRevoked
            | Self::Parties
            | Self::GrantUnknown
            | Self::Grant(_)
            | Self::PartnerSuspended => Code::PermissionDenied,
            Self::QuotaExhausted { .. }
            | Self::Overloaded { .. }
            | Self::RateExceeded { .. }
            | Self::PeerFaults { .. } => Code::ResourceExhausted,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            // Of an honest bank too, so no fault that is counted.
            Self::FunctionOff(_) | Self::CountersignatureMixed => Code::FailedPrecondition,
            Self::SessionReplayed => Code::AlreadyExists,
            Self::DataSetUnknown | Self::PageUnknown => Code::NotFound,
            Self::EpochUnknown { .. }
            | Self::EpochExpired
            | Self::ScoreEpochUnknown
            | Self::RequestStale { .. } => Code::FailedPrecondition,
            Self::Psi(refusal) => refusal.grpc(),
            Self::Score(refusal) => refusal.grpc(),
            Self::Train(refusal) => refusal.grpc(),
            Self::Stopping => Code::Unavailable,
            Self::Internal => Code::Internal,
            _ => Code::InvalidArgument,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(refusal.grpc(), refusal.to_string());
        status.metadata_mut().insert(CODE_KEY, MetadataValue::from_static(refusal.code()));
        if let Some(ms) = refusal.retry_after_ms() {
            status.metadata_mut().insert(RETRY_KEY, ms.into());
        }
        status
    }
}

/// Whether a response refuses a call for its caller's own fault: malformed, a replay, or of a stranger. What a
/// grant or a quota forbids is none.
pub(crate) fn is_fault(headers: &http::HeaderMap) -> bool {
    let status = headers.get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()));
    let faulty =
        [Code::InvalidArgument, Code::AlreadyExists, Code::OutOfRange, Code::Unimplemented].contains(&status);
    let of = |refusal: &Refusal| headers.get(CODE_KEY).is_some_and(|code| code == refusal.code());
    faulty || of(&Refusal::PeerUnknown) || of(&Refusal::Parties)
}

/// Why a node cannot start, or a command cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The state file.
    #[error(transparent)]
    State(#[from] crate::store::StoreError),
    /// The log.
    #[error(transparent)]
    Log(#[from] crate::evidence::LogError),
    /// The key store.
    #[error(transparent)]
    Keys(#[from] windvane_keys::store::StoreError),
    /// The passphrase.
    #[error(transparent)]
    Passphrase(#[from] windvane_keys::passphrase::PassphraseError),
    /// A file of the keys.
    #[error(transparent)]
    File(#[from] windvane_keys::files::FileError),
    /// A backup or a restore.
    #[error(transparent)]
    Backup(#[from] crate::backup::BackupError),
    /// A certificate.
    #[error(transparent)]
    Identity(#[from] windvane_keys::identity::IdentityError),
    /// A certificate or enrolment that is not believed.
    #[error(transparent)]
    Trust(#[from] windvane_keys::trust::TrustError),
    /// A revocation list.
    #[error(transparent)]
    Revocation(#[from] windvane_keys::revocation::RevocationError),
    /// An enrolment.
    #[error(transparent)]
    Enrolment(#[from] windvane_keys::enrolment::EnrolmentError),
    /// A snapshot or published table.
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::SnapshotError),
    /// A download.
    #[error(transparent)]
    Install(#[from] crate::snapshot::InstallError),
    /// A data set's configuration.
    #[error(transparent)]
    DataSetConfig(#[from] crate::dataset::ConfigError),
    /// An import.
    #[error(transparent)]
    Import(#[from] crate::dataset::ImportError),
    /// A build.
    #[error(transparent)]
    Build(#[from] crate::dataset::BuildError),
    /// A publication.
    #[error(transparent)]
    Publish(#[from] crate::dataset::PublishError),
    /// A change file.
    #[error(transparent)]
    Changes(#[from] crate::dataset::ChangesError),
    /// A delta.
    #[error(transparent)]
    Delta(#[from] crate::dataset::DeltaBuildError),
    /// The certificate authority.
    #[error(transparent)]
    Authority(#[from] windvane_keys::authority::AuthorityError),
    /// The folder of the joint score.
    #[error(transparent)]
    ScoreFolder(#[from] crate::score::folder::FolderError),
    /// A model's card.
    #[error(transparent)]
    ScoreCard(#[from] crate::score::card::CardFileError),
    /// A version of a model.
    #[error(transparent)]
    ScoreModel(#[from] crate::score::registry::RegistryError),
    /// An activation, a rollback or an epoch's end.
    #[error(transparent)]
    ScoreActivation(#[from] crate::score::activation::ActivationError),
    /// A provider's parts of a joint score.
    #[error(transparent)]
    ScoreParts(#[from] crate::score::parts::PartsError),
    /// A publication of a table of a joint score.
    #[error(transparent)]
    ScoreBuild(#[from] crate::score::build::ScoreBuildError),
    /// A download of the tables of a joint score.
    #[error(transparent)]
    ScoreFetch(#[from] crate::score::fetch::ScoreFetchError),
    /// A sum of the tables of a joint score.
    #[error(transparent)]
    ScoreSum(#[from] crate::score::sum::SummationError),
    /// A table of a joint score.
    #[error(transparent)]
    ScoreTable(#[from] crate::score::table::ScoreTableError),
    /// The plan of a scoring group.
    #[error(transparent)]
    ScorePlan(#[from] crate::score::plan::PlanError),
    /// A table of number segments.
    #[error(transparent)]
    ScoreSegments(#[from] crate::score::universe::SegmentsError),
    /// A document that somebody else published.
    #[error(transparent)]
    Document(#[from] crate::document::DocumentError),
    /// The evidence of an epoch's setup.
    #[error(transparent)]
    ScoreEvidence(#[from] crate::score::evidence::EvidenceFileError),
    /// A provider's part in an epoch.
    #[error(transparent)]
    ScoreMember(#[from] crate::score::member::MemberError),
    /// The setup of an epoch.
    #[error(transparent)]
    ScoreSetup(#[from] crate::score::setup::SetupFailure),
    /// A table of features.
    #[error(transparent)]
    TrainFeatures(#[from] crate::train::features::FeatureError),
    /// The rules of the decision.
    #[error(transparent)]
    Rules(#[from] crate::risk::RuleError),
    /// A signed record.
    #[error(transparent)]
    Signed(#[from] windvane_protocols::transcript::SignedError),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The peer refused or failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The node refused a call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node is not enrolled yet.
    #[error(
        "{path} is not there: export a request with `partner request`, have it signed, import the answer"
    )]
    NotEnrolled {
        /// Where the enrolment should be.
        path: std::path::PathBuf,
    },
    /// A file or socket.
    #[error("{what}: {source}")]
    Io {
        /// What was read, written or opened.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something that the caller gave does not fit; the text says what and what to do.
    #[error("{message}")]
    Given {
        /// The stable code.
        code: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

impl NodeError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Config(error) => error.code(),
            Self::State(error) => error.code(),
            Self::Log(crate::evidence::LogError::Locked { .. }) => "LOG_IN_USE",
            Self::Log(_) => "LOG_UNAVAILABLE",
            Self::Keys(error) => error.code(),
            Self::Passphrase(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Backup(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Trust(error) => error.code(),
            Self::Revocation(error) => error.code(),
            Self::Enrolment(error) => error.code(),
            Self::Snapshot(error) => error.code(),
            Self::Install(error) => error.code(),
            Self::DataSetConfig(error) => error.code(),
            Self::Import(error) => error.code(),
            Self::Build(error) => error.code(),
            Self::Publish(error) => error.code(),
            Self::Changes(error) => error.code(),
            Self::Delta(error) => error.code(),
            Self::Authority(error) => error.code(),
            Self::ScoreFolder(error) => error.code(),
            Self::ScoreCard(error) => error.code(),
            Self::ScoreModel(error) => error.code(),
            Self::ScoreActivation(error) => error.code(),
            Self::ScoreParts(error) => error.code(),
            Self::ScoreBuild(error) => error.code(),
            Self::ScoreFetch(error) => error.code(),
            Self::ScoreSum(error) => error.code(),
            Self::ScoreTable(error) => error.code(),
            Self::ScorePlan(error) => error.code(),
            Self::ScoreSegments(error) => error.code(),
            Self::Document(error) => error.code(),
            Self::ScoreEvidence(error) => error.code(),
            Self::ScoreMember(error) => error.code(),
            Self::ScoreSetup(error) => error.code(),
            Self::TrainFeatures(error) => error.code(),
            Self::Rules(_) => "RULES_INVALID",
            Self::Signed(_) => "SIGNATURE_INVALID",
            Self::Tls(_) => "TLS",
            Self::Peer(error) => &error.code,
            Self::Refused(refusal) => refusal.code(),
            Self::NotEnrolled { .. } => "NOT_ENROLLED",
            Self::Io { .. } => "IO",
            Self::Given { code, .. } => code,
        }
    }

    /// Adds what was being done to an error of the system.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
