//! One shape for whatever a check finds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Still to do, or worth knowing; nothing is wrong.
    Note,
    /// Works, and will not for long.
    Warning,
    /// Does not work.
    Problem,
}

impl Severity {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What of a node's work a finding concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All of it.
    #[default]
    Node,
    /// What it asks of others as a bank. No service of a provider needs it.
    Bank,
    /// Verification.
    Lookup,
    /// Set intersection.
    Psi,
    /// The joint score.
    Score,
    /// Training.
    Train,
}

/// Something that a check found. It never has an identity in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The stable code, such as `EPOCH_EXPIRED`.
    #[schema(example = "EPOCH_EXPIRED")]
    pub code: String,
    /// How much it weighs.
    pub severity: Severity,
    /// Whom or what it is about: a party, a data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "carrier-a")]
    pub subject: Option<String>,
    /// What was found.
    pub what: String,
    /// What to do; empty where what was found says it.
    pub advice: String,
    /// What it concerns.
    #[serde(skip)]
    pub scope: Scope,
}

impl Finding {
    /// A finding about the node as a whole.
    pub fn new(severity: Severity, code: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            severity,
            subject: None,
            what: what.into(),
            advice: advice.into(),
            scope: Scope::Node,
        }
    }

    /// Something that does not work.
    pub fn problem(code: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Problem, code, what, advice)
    }

    /// Something that will not work for long.
    pub fn warning(code: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, what, advice)
    }

    /// Something still to do, or worth knowing.
    pub fn note(code: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, what, advice)
    }

    /// An error of which the text says what was wrong and, behind the first `; `, what to do.
    pub fn of_error(code: &str, text: &str) -> Self {
        let text = text.trim_end();
        let (what, advice) = text.split_once("; ").unwrap_or((text, ""));
        Self::problem(code, what, advice)
    }

    /// The same about a party or a data set.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// The same for a part of the work.
    #[must_use]
    pub fn in_scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// Whether something does not work.
    pub fn is_problem(&self) -> bool {
        self.severity == Severity::Problem
    }

    /// Subject, what was found and what to do, in one sentence.
    pub fn message(&self) -> String {
        let subject = self.subject.as_ref().map(|subject| format!("{subject}: ")).unwrap_or_default();
        let advice = if self.advice.is_empty() { String::new() } else { format!("; {}", self.advice) };
        format!("{subject}{}{advice}", self.what)
    }

    /// Subject and code, as readiness lists them.
    pub fn short(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{subject}: {}", self.code),
            None => self.code.clone(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.severity.name(), self.code, self.message())
    }
}
