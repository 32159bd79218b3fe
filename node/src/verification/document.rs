//! The kinds of documents that a call names and rules distinguish.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windvane_protocols::identity::DocumentKind;

/// The kind of the document whose number is asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentType {
    /// A resident's number, GB 11643-1999.
    #[default]
    ResidentId,
    /// A passport.
    Passport,
    /// A unified social credit code, GB 32100-2015.
    SocialCredit,
}

impl DocumentType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ResidentId, Self::Passport, Self::SocialCredit];

    /// The stable code, as in JSON and in rule files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResidentId => "resident_id",
            Self::Passport => "passport",
            Self::SocialCredit => "social_credit",
        }
    }

    /// The kind by which the number is read.
    pub const fn kind(self) -> DocumentKind {
        match self {
            Self::ResidentId => DocumentKind::ResidentId,
            Self::Passport => DocumentKind::Passport,
            Self::SocialCredit => DocumentKind::SocialCredit,
        }
    }
}
