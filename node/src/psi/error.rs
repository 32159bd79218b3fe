//! Why a job does not begin, or ends early.

use std::path::PathBuf;

use tonic::Code;
use windvane_proto::convert::WireError;
use windvane_protocols::limits::MAX_PSI_PAYLOAD_BYTES;
use windvane_protocols::psi::ParametersError;
use windvane_protocols::psi::ecdh::EcdhError;
use windvane_protocols::psi::rr22::Rr22Error;
use windvane_protocols::psi::vole::VoleError;

use super::partition::PartitionError;
use super::payload::PayloadError;
use crate::error::{NodeError, PeerError, Refusal};
use crate::policy::is_of_time_or_grant;
use crate::table::TableError;

/// Why a provider refuses a job, before anything of it moves. Each has its own code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PsiRefusal {
    /// The request is not signed by the connection's party.
    #[error("the request is not signed by its requester")]
    Signature,
    /// The request's time is too far from this clock.
    #[error(
        "the request was made {off_ms} ms away from this clock; keep both clocks with a time service, and resume the job, which asks anew"
    )]
    Clock {
        /// How far.
        off_ms: u64,
    },
    /// There is no such list here.
    #[error("there is no list of this name")]
    ListUnknown,
    /// The list holds other items than the request's.
    #[error("the list is keyed by {expected}")]
    Key {
        /// What the list's items are.
        expected: String,
    },
    /// A party has more rows than the grant permits.
    #[error("{found} rows are more than the {limit} that the grant permits the {party}")]
    Rows {
        /// Whose rows.
        party: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A payload column is not granted, or not in the list, or comes twice.
    #[error("the payload column {column} is not granted, or not in the list, or named twice")]
    Column {
        /// The column.
        column: String,
    },
    /// The grant asks for a minimum that the request's mode does not keep, or its rows do not reach.
    #[error(
        "the grant asks for a minimum of {minimum}; take the mode `minimum` or `cardinality`, and a table of at least as \
         many rows"
    )]
    Minimum {
        /// The grant's minimum.
        minimum: u64,
    },
    /// The grant's runs are used up.
    #[error("the grant permits {permitted} runs, and they are used up")]
    Runs {
        /// What the grant permits.
        permitted: u64,
    },
    /// The same input came under this grant before.
    #[error("this input was used under this grant before, and the grant permits no repetition")]
    RepeatedInput,
    /// Parameters that cannot be.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// The protocol takes no buckets of this size.
    #[error("the protocol takes no buckets of this size: {0}")]
    Buckets(ProtocolError),
    /// A connection of the job is open already.
    #[error("a connection of this job is still open")]
    Running,
    /// The job's connections are used up, or this one's number is not above the last one's.
    #[error("the job has had {had} connections; this one says it is number {found}")]
    Attempts {
        /// Connections so far.
        had: u64,
        /// What the connection says.
        found: u64,
    },
    /// The job is known with another request, or from before this node was restored.
    #[error("the job is known with another request, or from before this node was restored; begin a new job")]
    JobDiffers,
    /// The requester keeps a bucket that this node did not finish, or with another hash.
    #[error("bucket {bucket} was not finished here, or with another hash")]
    BucketUnknown {
        /// The bucket.
        bucket: u32,
    },
    /// The job was cancelled here.
    #[error("the provider cancelled the job")]
    Cancelled,
    /// The list changed since the job began.
    #[error("the provider's list changed since the job began; begin a new job")]
    ListChanged,
    /// As many jobs run as may, or as many of the requester's.
    #[error("this node runs as many jobs as it may, of all or of this requester; try again later")]
    Busy,
    /// The job had begun, and does not go on.
    #[error("{what}")]
    Broken {
        /// The stable code.
        code: &'static str,
        /// Why.
        what: String,
    },
}

impl PsiRefusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signature => "REQUEST_SIGNATURE_INVALID",
            Self::Clock { .. } => "CLOCK_SKEW",
            Self::ListUnknown => "LIST_UNKNOWN",
            Self::Key { .. } => "LIST_KEY",
            Self::Rows { .. } => "GRANT_ROWS",
            Self::Column { .. } => "GRANT_COLUMN",
            Self::Minimum { .. } => "GRANT_MINIMUM",
            Self::Runs { .. } => "GRANT_EXHAUSTED",
            Self::RepeatedInput => "REPEATED_INPUT",
            Self::Parameters(_) | Self::Buckets(_) => "PARAMETERS_INVALID",
            Self::Running => "JOB_RUNNING",
            Self::Attempts { .. } => "JOB_ATTEMPTS",
            Self::JobDiffers => "JOB_DIFFERS",
            Self::BucketUnknown { .. } => "BUCKET_UNKNOWN",
            Self::Cancelled => "JOB_CANCELLED",
            Self::ListChanged => "LIST_CHANGED",
            Self::Busy => "JOBS_BUSY",
            Self::Broken { code, .. } => code,
        }
    }

    pub(crate) const fn grpc(&self) -> Code {
        match self {
            Self::Rows { .. }
            | Self::Column { .. }
            | Self::Minimum { .. }
            | Self::RepeatedInput
            | Self::Cancelled => Code::PermissionDenied,
            Self::Runs { .. } | Self::Attempts { .. } | Self::Busy => Code::ResourceExhausted,
            Self::ListUnknown => Code::NotFound,
            Self::Running | Self::JobDiffers => Code::AlreadyExists,
            Self::ListChanged => Code::FailedPrecondition,
            Self::Broken { .. } => Code::Aborted,
            _ => Code::InvalidArgument,
        }
    }
}

/// What is wrong with a bucket, in the words of its protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Diffie-Hellman.
    #[error(transparent)]
    Ecdh(#[from] EcdhError),
    /// The vector OLE.
    #[error(transparent)]
    Vole(#[from] VoleError),
    /// RR22.
    #[error(transparent)]
    Rr22(#[from] Rr22Error),
}

impl ProtocolError {
    const fn code(&self) -> &'static str {
        match self {
            Self::Ecdh(EcdhError::Bound) | Self::Rr22(Rr22Error::Keys { .. }) => "BUCKET_OVERFLOW",
            Self::Rr22(Rr22Error::Okvs(_)) => "ENCODING_FAILED",
            _ => "MESSAGE_INVALID",
        }
    }
}

/// Codes after which a job that was accepted does not go on.
const FOR_GOOD: [&str; 12] = [
    "ACCEPTANCE_INVALID",
    "BUCKET_OVERFLOW",
    "BUCKET_UNKNOWN",
    "CLOCK_SKEW",
    "GRANT_EXPIRED",
    "GRANT_UNKNOWN",
    "INPUT_CHANGED",
    "JOB_ATTEMPTS",
    "JOB_CANCELLED",
    "JOB_DIFFERS",
    "JOB_EXPIRED",
    "LIST_CHANGED",
];

/// Why a job ends early, on either side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PsiError {
    /// The peer refused, or ended the connection with an error.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A frame is malformed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A frame has no place here.
    #[error("the peer sent {found} where {expected} was due")]
    Unexpected {
        /// What came.
        found: &'static str,
        /// What was due.
        expected: &'static str,
    },
    /// A bucket has no place here, or one of its messages has not.
    #[error("the peer sent a part of bucket {bucket} that has no place here")]
    Bucket {
        /// The bucket.
        bucket: u32,
    },
    /// A bucket's message is longer than the parameters give.
    #[error("the peer sent more of bucket {bucket} than the {expected} bytes that the parameters give")]
    TooLong {
        /// The bucket.
        bucket: u32,
        /// What the parameters give.
        expected: usize,
    },
    /// A bucket's message does not hold.
    #[error("bucket {bucket}: {source}")]
    Protocol {
        /// The bucket.
        bucket: u32,
        /// What is wrong.
        source: ProtocolError,
    },
    /// The peer closed the connection.
    #[error("the peer ended the connection; resume the job")]
    Closed,
    /// The peer is silent.
    #[error("the peer has been silent for {seconds} s; resume the job")]
    Idle {
        /// How long.
        seconds: u64,
    },
    /// The job takes too long.
    #[error("the job did not end within its deadline of {seconds} s; resume it with a longer one")]
    Deadline {
        /// The deadline.
        seconds: u64,
    },
    /// The operator cancelled the job.
    #[error("the job was cancelled")]
    Cancelled,
    /// The node stops.
    #[error("the node is stopping; resume the job later")]
    Stopping,
    /// The peer's acceptance does not hold.
    #[error("the provider's acceptance does not hold: {what}")]
    Acceptance {
        /// What is wrong.
        what: &'static str,
    },
    /// The peer's receipt does not hold.
    #[error("the provider's receipt does not hold: {what}")]
    Receipt {
        /// What is wrong.
        what: &'static str,
    },
    /// The two parties' hashes over all buckets differ.
    #[error("the two parties' transcripts differ")]
    Transcript,
    /// The peer asked for the release of a result, wrongly signed or of another job.
    #[error("the release request does not hold")]
    Release,
    /// A bucket overflowed its bound: with the probability of the failure budget, or the file changed.
    #[error("bucket {bucket} has more items than its bound of {bound}; begin a new job")]
    Overflow {
        /// The bucket.
        bucket: u32,
        /// Its bound.
        bound: usize,
    },
    /// The input is not the one that the job began with.
    #[error(
        "{path} changed since the job began; put it back as it was and resume the job, or begin a new one"
    )]
    InputChanged {
        /// The file.
        path: PathBuf,
    },
    /// A payload is too long to travel.
    #[error("{path}, line {line}: the payload is longer than {MAX_PSI_PAYLOAD_BYTES} bytes")]
    PayloadTooLong {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
    },
    /// A payload from the peer is none.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A table cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A table cannot be partitioned.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The job's connections are used up.
    #[error("the job had {had} connections, as many as it may; begin a new one")]
    Attempts {
        /// How many.
        had: u64,
    },
    /// The job's folder says something else than it should.
    #[error("{path}: {what}")]
    Folder {
        /// A file of the folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The provider's refusal, on its own side.
    #[error(transparent)]
    Refused(#[from] PsiRefusal),
    /// Anything of the node.
    #[error(transparent)]
    Node(Box<NodeError>),
}

impl PsiError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Peer(error) => &error.code,
            Self::Node(error) => error.code(),
            other => other.own_code(),
        }
    }

    /// Whether a job that was accepted can never go on, however often it is run: the same question takes a new one. An
    /// own cancel is none of those, for running the job again takes it back; what the provider cancelled stays so.
    pub fn must_begin_anew(&self) -> bool {
        !matches!(self, Self::Cancelled) && FOR_GOOD.contains(&self.code())
    }

    /// Whether the provider refused a request that it has not accepted, and another one of the same job may be accepted.
    pub(super) fn can_be_renewed(&self) -> bool {
        let Self::Peer(error) = self else { return false };
        let of_job = ["GRANT_COLUMN", "GRANT_MINIMUM", "GRANT_ROWS", "REPEATED_INPUT"];
        is_of_time_or_grant(&error.code) || of_job.contains(&error.code.as_str())
    }

    /// The stable code of an error that is neither the peer's nor the node's.
    const fn own_code(&self) -> &'static str {
        match self {
            Self::Wire(error) => error.code(),
            Self::Unexpected { .. } => "FRAME_UNEXPECTED",
            Self::Bucket { .. } => "BUCKET_UNEXPECTED",
            Self::TooLong { .. } => "MESSAGE_TOO_LONG",
            Self::Protocol { source, .. } => source.code(),
            Self::Overflow { .. } => "BUCKET_OVERFLOW",
            Self::Closed => "PEER_CLOSED",
            Self::Idle { .. } => "PEER_IDLE",
            Self::Deadline { .. } => "DEADLINE_EXCEEDED",
            Self::Cancelled => "JOB_CANCELLED",
            Self::Stopping => "STOPPING",
            Self::Acceptance { .. } => "ACCEPTANCE_INVALID",
            Self::Receipt { .. } => "RECEIPT_INVALID",
            Self::Transcript => "TRANSCRIPT_MISMATCH",
            Self::Release => "RELEASE_INVALID",
            Self::InputChanged { .. } => "INPUT_CHANGED",
            Self::PayloadTooLong { .. } => "PAYLOAD_TOO_LONG",
            Self::Payload(_) => "PAYLOAD_INVALID",
            Self::Table(error) => error.code(),
            Self::Partition(error) => error.code(),
            Self::Attempts { .. } => "JOB_ATTEMPTS",
            Self::Folder { .. } => "JOB_FOLDER",
            Self::Refused(refusal) => refusal.code(),
            Self::Peer(_) | Self::Node(_) => "INTERNAL",
        }
    }

    /// What a provider tells its peer of an error.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => Refusal::Psi(refusal),
            Self::Wire(error) => Refusal::Malformed(error),
            Self::Stopping => Refusal::Stopping,
            Self::Peer(_) => Refusal::Psi(PsiRefusal::Broken {
                code: "PEER_CLOSED",
                what: "the requester ended the connection".into(),
            }),
            Self::Node(error) => match *error {
                NodeError::Refused(refusal) => refusal,
                error => {
                    tracing::error!(code = error.code(), %error, "a set intersection failed here");
                    Refusal::Internal
                }
            },
            // Paths and lines are nobody else's business.
            Self::Table(_) | Self::Partition(_) | Self::Folder { .. } | Self::PayloadTooLong { .. } => {
                tracing::error!(code = self.own_code(), error = %self, "a set intersection failed here");
                Refusal::Internal
            }
            Self::InputChanged { .. } => Refusal::Psi(PsiRefusal::ListChanged),
            other => Refusal::Psi(PsiRefusal::Broken { code: other.own_code(), what: other.to_string() }),
        }
    }

    /// Adds the file to an error of the system.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| NodeError::io(path.display().to_string())(source).into()
    }

    /// Adds the bucket to an error of the protocol.
    pub(super) fn of<E: Into<ProtocolError>>(bucket: u32) -> impl Fn(E) -> Self {
        move |source| Self::Protocol { bucket, source: source.into() }
    }
}

impl<E: Into<NodeError>> From<E> for PsiError
where
    E: NotOurs,
{
    fn from(error: E) -> Self {
        Self::Node(Box::new(error.into()))
    }
}

/// Errors of the node that become [`PsiError::Node`].
pub(crate) trait NotOurs {}

impl NotOurs for NodeError {}
impl NotOurs for Refusal {}
impl NotOurs for crate::store::StoreError {}
impl NotOurs for crate::evidence::LogError {}
impl NotOurs for windvane_protocols::transcript::SignedError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(code: &str) -> PsiError {
        PeerError { code: code.to_owned(), message: String::new(), retry_after_ms: None }.into()
    }

    #[test]
    fn a_job_that_can_never_go_on_is_told_from_one_that_can() {
        let expired = NodeError::Given { code: "JOB_EXPIRED", message: String::new() }.into();
        let changed = PsiError::InputChanged { path: "customers.csv".into() };
        let ended = [PsiError::Attempts { had: 9 }, expired, changed, PsiRefusal::Cancelled.into()];
        let told = ["LIST_CHANGED", "JOB_CANCELLED", "JOB_ATTEMPTS", "BUCKET_OVERFLOW"].map(peer);
        let fixed =
            ["CLOCK_SKEW", "GRANT_EXPIRED", "GRANT_UNKNOWN", "BUCKET_UNKNOWN", "JOB_DIFFERS"].map(peer);
        let another = PsiError::Acceptance { what: "it is another than before" };
        for error in ended.iter().chain(&told).chain(&fixed).chain([&another]) {
            assert!(error.must_begin_anew(), "{}", error.code());
        }
        let interrupted = [PsiError::Cancelled, PsiError::Closed, PsiError::Idle { seconds: 1 }];
        for error in interrupted.iter().chain(&["PEER_UNAVAILABLE", "JOBS_BUSY", "JOB_RUNNING"].map(peer)) {
            assert!(!error.must_begin_anew(), "{}", error.code());
        }
    }
}
