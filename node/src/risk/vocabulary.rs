//! The codes that rules may name, so that a misspelt code is refused instead of never firing.

use std::collections::{BTreeMap, BTreeSet};

/// Attributes of the carrier schema with their codes.
const CARRIER_ATTRIBUTES: [(&str, &[&str]); 5] = [
    ("status", &["active", "suspended", "closed"]),
    ("tenure", &["lt_30d", "d30_90", "d90_180", "d180_365", "y1_3", "ge_3y"]),
    ("sim_swap", &["never", "le_1d", "le_3d", "le_7d", "le_30d", "le_90d", "gt_90d"]),
    ("recycled", &["yes", "no"]),
    ("numbers_under_id", &["1", "2", "3_4", "5_9", "ge_10"]),
];

/// Fraud tags of the carrier schema.
const CARRIER_TAGS: [&str; 6] =
    ["fraud_confirmed", "money_mule", "fraud_suspected", "bulk_calling", "bulk_sms", "shared_device"];

/// Attributes with their codes, and tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    attributes: BTreeMap<String, BTreeSet<String>>,
    tags: BTreeSet<String>,
}

impl Vocabulary {
    /// The codes of the carrier schema.
    pub fn carrier() -> Self {
        CARRIER_ATTRIBUTES
            .into_iter()
            .fold(Self::default(), |words, (name, codes)| words.with_attribute(name, codes.iter().copied()))
            .with_tags(CARRIER_TAGS)
    }

    /// Adds an attribute, or more codes to a known one: for data sets under other schemas.
    #[must_use]
    pub fn with_attribute<C: Into<String>>(
        mut self,
        name: impl Into<String>,
        codes: impl IntoIterator<Item = C>,
    ) -> Self {
        self.attributes.entry(name.into()).or_default().extend(codes.into_iter().map(Into::into));
        self
    }

    /// Adds tags: for data sets under other schemas.
    #[must_use]
    pub fn with_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// The codes of an attribute; `None` if no schema has it.
    pub fn codes(&self, attribute: &str) -> Option<&BTreeSet<String>> {
        self.attributes.get(attribute)
    }

    /// The names of all attributes, sorted.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.keys().map(String::as_str)
    }

    /// All tags.
    pub fn tags(&self) -> &BTreeSet<String> {
        &self.tags
    }
}
