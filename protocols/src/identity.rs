//! Canonical identities: the same person is the same bytes on both sides.
//!
//! Two organisations meet on a person only if both turn the person into exactly the same bytes. Everything
//! here belongs to [`IDENTITY_VERSION`], which is bound into every transcript: a change of one output byte is
//! a new version. `vectors/identity-v1.json` holds the shared test vectors.
//!
//! **Promised**: parsing is a pure function of its input (no clock, no locale, no configuration); a parsed
//! value parses to itself; what does not parse is refused with the field and the rule, never guessed; no
//! error, `Debug` or panic message holds a value; values are wiped on drop. **Not promised**: that a number
//! was ever issued, that traditional and simplified characters meet, or that the scratch memory of the
//! Unicode and telephone libraries is wiped.
//!
//! The encoding is the oblivious PRF's input. It hides nothing by itself: the PRF's key protects it.

mod document;
mod error;
mod family;
mod name;
mod other;
mod phone;
#[cfg(test)]
mod tests;
mod width;

pub use document::{Document, DocumentKind};
pub use error::IdentityError;
pub use family::{Encoded, Family, UnknownFamily};
pub use name::Name;
pub use other::Other;
pub use phone::Phone;

/// The version of every rule in this module, the Unicode version included.
pub const IDENTITY_VERSION: &str = "identity/v1";

/// The Unicode version of the compiled data behind [`Name`] (`icu_*_data` 2.4).
pub const UNICODE_VERSION: &str = "18.0.0";

/// What is known of a person; a data set's family decides which fields it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The telephone number.
    pub phone: Option<Phone>,
    /// The identity document.
    pub document: Option<Document>,
    /// The name.
    pub name: Option<Name>,
    /// The account, device or address of families 8 to 10.
    pub other: Option<Other>,
}
