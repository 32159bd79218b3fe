//! What the bank is asked, and why it may not answer.

use windvane_protocols::identity::Person;

use crate::evidence::LogError;
use crate::store::{KeyedAnswer, StoreError};
use crate::verification::VerificationReport;

/// One question about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// Who is asked about.
    pub person: Person,
    /// The bank's own code of the customer type.
    pub customer_type: Option<String>,
    /// The code of the document's type, where there is a document ([`DocumentType`](crate::verification::DocumentType)).
    pub document_type: Option<String>,
    /// What the call is for.
    pub purpose: String,
    /// The bank's own application number.
    pub ticket: String,
    /// The customer's recorded authorisation.
    pub consent: String,
    /// Who asks.
    pub operator: String,
    /// The outlet where the operator works.
    pub outlet: Option<String>,
    /// The branch that the outlet belongs to.
    pub branch: Option<String>,
}

/// Makes what is kept of a call's reports.
type Kept = Box<dyn FnOnce(&[VerificationReport]) -> Result<Vec<u8>, BankError> + Send>;

/// The key under which a call's answer is kept, in the transaction of its records.
pub(crate) struct Keyed {
    key: [u8; 32],
    answer: Kept,
}

impl Keyed {
    /// `answer` gives what is kept under the key's digest, of the reports in their order.
    pub(crate) fn new(
        key: [u8; 32],
        answer: impl FnOnce(&[VerificationReport]) -> Result<Vec<u8>, BankError> + Send + 'static,
    ) -> Self {
        Self { key, answer: Box::new(answer) }
    }

    /// What is kept.
    pub(crate) fn of(self, reports: &[VerificationReport]) -> Result<KeyedAnswer, BankError> {
        Ok((self.key, (self.answer)(reports)?))
    }
}

/// What kind of failure it is, for the caller to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BankErrorKind {
    /// The question is wrong.
    BadInput,
    /// The node cannot answer now.
    Unavailable,
    /// The node failed.
    Internal,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct BankError {
    /// The stable code.
    pub code: &'static str,
    /// What was wrong.
    pub message: String,
    /// When to try again, where that can help.
    pub retry_after_ms: Option<u64>,
    /// The kind.
    pub kind: BankErrorKind,
}

impl BankError {
    pub(super) fn bad_input(code: &'static str, message: &str) -> Self {
        Self::new(BankErrorKind::BadInput, code, message)
    }

    pub(crate) fn unavailable(code: &'static str, message: &str) -> Self {
        Self::new(BankErrorKind::Unavailable, code, message)
    }

    pub(crate) fn internal() -> Self {
        Self::new(BankErrorKind::Internal, "INTERNAL", "the node could not complete the call")
    }

    fn new(kind: BankErrorKind, code: &'static str, message: &str) -> Self {
        Self { code, message: message.to_owned(), retry_after_ms: None, kind }
    }
}

impl From<LogError> for BankError {
    fn from(error: LogError) -> Self {
        tracing::error!(code = "LOG_UNAVAILABLE", %error, "the evidence could not be made durable");
        let busy = matches!(error, LogError::Busy);
        let retry_after_ms = busy.then_some(1_000);
        Self {
            retry_after_ms,
            ..Self::unavailable("LOG_UNAVAILABLE", "the evidence could not be made durable")
        }
    }
}

impl From<StoreError> for BankError {
    fn from(error: StoreError) -> Self {
        tracing::error!(code = error.code(), %error, "the state file failed");
        Self::unavailable("STATE_UNAVAILABLE", "the state file could not be read or written")
    }
}
