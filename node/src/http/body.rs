//! What callers send and receive, as JSON.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;
use windvane_protocols::limits::MAX_CUSTOMERS_PER_SESSION;
use zeroize::Zeroizing;

use super::problem::Problem;
use crate::verification::{DocumentType, VerificationReport};

/// What [`BatchBody`]'s parser says of too many items; `receive` turns it into its own code.
pub(super) const TOO_MANY_ITEMS: &str = "too many items";

/// A part of an identity: redacted when printed, wiped when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Private(Zeroizing<String>);

impl Private {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Private {
    fn from(text: T) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private(…)")
    }
}

impl Serialize for Private {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// The customer's recorded authorisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentBody {
    /// The bank's id of the authorisation: at most 128 bytes without white space.
    #[schema(example = "SQ202501310000001", min_length = 1, max_length = 128)]
    pub id: String,
    /// SHA-256 of the text that the customer signed, 64 lower-case hexadecimal digits; left out where the
    /// bank's record has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub digest: Option<String>,
}

/// One question: do this name, ID number and phone number belong together, and what is known of the number?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerificationBody {
    /// The name; left out, it is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "王小明")]
    pub name: Option<Private>,
    /// The document's number; left out, it is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "11010519491231002X")]
    pub id_number: Option<Private>,
    /// The document's kind.
    #[serde(default)]
    pub document_type: DocumentType,
    /// The phone number: a mainland mobile number, or E.164.
    #[schema(value_type = String, example = "13800138000")]
    pub phone: Private,
    /// The bank's own code of the customer type, for its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_type: Option<String>,
    /// What the call is for: a code that the grants name.
    #[schema(example = "account_opening", min_length = 1, max_length = 64)]
    pub purpose: String,
    /// The bank's own application number.
    #[schema(example = "KH202501310000001", min_length = 1, max_length = 128)]
    pub ticket: String,
    /// The customer's recorded authorisation.
    pub consent: ConsentBody,
    /// Who asks, by the bank's own code.
    #[schema(example = "teller-0421", min_length = 1, max_length = 128)]
    pub operator: String,
    /// The outlet where the operator works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlet: Option<String>,
    /// The branch that the outlet belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// One customer of a batch; fields as in [`VerificationBody`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    /// The name; left out, it is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "王小明")]
    pub name: Option<Private>,
    /// The document's number; left out, it is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "11010519491231002X")]
    pub id_number: Option<Private>,
    /// The document's kind.
    #[serde(default)]
    pub document_type: DocumentType,
    /// The phone number: a mainland mobile number, or E.164.
    #[schema(value_type = String, example = "13800138000")]
    pub phone: Private,
    /// The bank's own code of the customer type, for its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_type: Option<String>,
    /// The bank's own application number.
    #[schema(example = "KH202501310000001", min_length = 1, max_length = 128)]
    pub ticket: String,
    /// The customer's recorded authorisation.
    pub consent: ConsentBody,
    /// The outlet where the operator works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlet: Option<String>,
    /// The branch that the outlet belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// Who asks about a batch and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    /// See [`VerificationBody::purpose`].
    pub(super) purpose: String,
    /// See [`VerificationBody::operator`].
    pub(super) operator: String,
}

impl VerificationBody {
    /// The question as the only item of a batch.
    pub(super) fn into_item(self) -> (Asker, BatchItem) {
        let asker = Asker { purpose: self.purpose, operator: self.operator };
        let item = BatchItem {
            name: self.name,
            id_number: self.id_number,
            document_type: self.document_type,
            phone: self.phone,
            customer_type: self.customer_type,
            ticket: self.ticket,
            consent: self.consent,
            outlet: self.outlet,
            branch: self.branch,
        };
        (asker, item)
    }
}

/// Up to 4,096 questions of one purpose in one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// What the call is for: a code that the grants name.
    #[schema(example = "account_opening", min_length = 1, max_length = 64)]
    pub purpose: String,
    /// Who asks, by the bank's own code.
    #[schema(example = "teller-0421", min_length = 1, max_length = 128)]
    pub operator: String,
    /// Ask for nothing but the joint score, of each customer's telephone number.
    #[serde(default)]
    pub score_only: bool,
    /// The customers.
    #[serde(deserialize_with = "bounded_items")]
    #[schema(min_items = 1, max_items = 4096)]
    pub items: Vec<BatchItem>,
}

/// One item's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchResult {
    /// The item was verified.
    #[schema(value_type = VerificationReport)]
    Report(Box<VerificationReport>),
    /// The item broke a rule and was not asked about.
    Error(Problem),
}

/// The answers to a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchResults {
    /// One answer for every item, in the order of the items.
    pub results: Vec<BatchResult>,
}

fn bounded_items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BatchItem>, D::Error> {
    deserializer.deserialize_seq(BoundedItems)
}

/// Stops at the limit instead of holding all that a body may name.
struct BoundedItems;

impl<'de> Visitor<'de> for BoundedItems {
    type Value = Vec<BatchItem>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            if items.len() == MAX_CUSTOMERS_PER_SESSION {
                return Err(A::Error::custom(TOO_MANY_ITEMS));
            }
            items.push(item);
        }
        Ok(items)
    }
}
