//! The bank's verifier.

use windvane_protocols::identity::Person;

use crate::verification::VerificationReport;

/// The bank's verifier, shared by every way to ask it.
#[derive(Debug)]
pub struct Bank;

/// One question about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// Who is asked about.
    pub person: Person,
    /// The bank's own code of the customer type.
    pub customer_type: Option<String>,
    /// The code of the document type.
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

/// What kind of failure it is, for the caller to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BankErrorKind {
    /// The question is wrong.
    BadInput,
    /// No grant covers the question.
    Forbidden,
    /// A quota is used up.
    Exhausted,
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

impl Bank {
    /// Answers one question.
    ///
    /// # Errors
    /// See [`BankErrorKind`].
    pub async fn verify(&self, inquiry: Inquiry) -> Result<VerificationReport, BankError> {
        drop(inquiry);
        Err(unavailable())
    }

    /// Answers 1 to 4,096 questions of one purpose, in order.
    ///
    /// # Errors
    /// See [`BankErrorKind`].
    pub async fn verify_batch(&self, inquiries: Vec<Inquiry>) -> Result<Vec<VerificationReport>, BankError> {
        drop(inquiries);
        Err(unavailable())
    }

    /// A stored report.
    ///
    /// # Errors
    /// See [`BankErrorKind`].
    pub async fn report(&self, id: &str) -> Result<Option<VerificationReport>, BankError> {
        let _ = id;
        Err(unavailable())
    }

    /// The name of the caller that was admitted with this token.
    ///
    /// # Errors
    /// See [`BankErrorKind`].
    pub async fn user_of_token(&self, token_sha256: [u8; 32]) -> Result<Option<String>, BankError> {
        let _ = token_sha256;
        Err(unavailable())
    }
}

fn unavailable() -> BankError {
    BankError {
        code: "BANK_UNAVAILABLE",
        message: "no bank".into(),
        retry_after_ms: None,
        kind: BankErrorKind::Unavailable,
    }
}
