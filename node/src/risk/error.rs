//! Why a policy is refused.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// The longest code (rule id, restriction), in bytes: codes stand in logs and in table columns.
pub(super) const MAX_CODE_BYTES: usize = 64;

/// Why a policy file is refused. `rule` is the rule's id, or `#` and its position where it has none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The file cannot be read.
    #[error("cannot read the rules in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is larger than any sensible policy.
    #[error("the rules have at least {found} bytes, expected at most {expected}")]
    TooLarge {
        /// Bytes read before giving up.
        found: usize,
        /// The limit.
        expected: usize,
    },
    /// The text is not TOML, or its outermost fields are not `version` and `[[rule]]`.
    #[error("the rules do not parse: {0}")]
    Syntax(String),
    /// `version` is blank.
    #[error("field version is blank, expected the policy's version")]
    BlankVersion,
    /// The file has no rule.
    #[error("the file has no [[rule]], expected at least one")]
    NoRules,
    /// A field that no rule has, mostly a misspelt one.
    #[error("rule {rule}: unknown field {field}")]
    UnknownField {
        /// The rule.
        rule: String,
        /// The field.
        field: String,
    },
    /// A required field is not there.
    #[error("rule {rule}: field {field} is missing")]
    MissingField {
        /// The rule.
        rule: String,
        /// The field.
        field: String,
    },
    /// A field is of the wrong type or not one of the values that it may have.
    #[error("rule {rule}: field {field}: {}", reason.to_string().trim_end().replace('\n', " "))]
    Malformed {
        /// The rule.
        rule: String,
        /// The field.
        field: String,
        /// What was found and what was expected.
        reason: Box<toml::de::Error>,
    },
    /// A text, list or table is empty, so that the rule would say nothing, always fire or never fire.
    #[error("rule {rule}: field {field} is empty")]
    EmptyField {
        /// The rule.
        rule: String,
        /// The field.
        field: String,
    },
    /// An id or restriction is not a short code of lower-case letters, digits and underscores.
    #[error("rule {rule}: field {field} is not a code, expected 1 to {MAX_CODE_BYTES} of a-z, 0-9 and _")]
    NotACode {
        /// The rule.
        rule: String,
        /// The field.
        field: String,
    },
    /// A tag, an attribute or an attribute's code that no schema has.
    #[error("rule {rule}: field {field}: found {found}, expected one of {expected}")]
    UnknownCode {
        /// The rule.
        rule: String,
        /// The field.
        field: String,
        /// The code in the file.
        found: String,
        /// The codes that the schemas have.
        expected: String,
    },
    /// Two rules have one id.
    #[error("rule {rule}: field id is a duplicate")]
    DuplicateId {
        /// The rule.
        rule: String,
    },
    /// The id is that of a built-in reason.
    #[error("rule {rule}: field id is reserved for a built-in reason")]
    ReservedId {
        /// The rule.
        rule: String,
    },
}
