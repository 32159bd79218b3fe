//! Private verification by encrypted lookup: what the bank asks, what a provider answers, and the encrypted
//! table in which the bank reads.
//!
//! Promised: the provider learns that a permitted call happened, when, for which purpose and with how many
//! elements; not who was asked for, nor what was found. The bank learns the rows of the persons it names and
//! nothing of others. One call opens a person's rows until the epoch ends. **Not promised**: anything
//! against a leaked OPRF key, which opens a whole snapshot; hiding the number of rows.
//!
//! [`client`] and [`provider`] are the two sides of a call; [`row`], [`snapshot`] and [`schema`] the table, and
//! [`delta`] its changes within an epoch; [`request`] what the bank signs. Grants, receipts and the log are in [`crate::audit`].

use std::fmt;
use std::str::FromStr;

use crate::identity::Family;
use crate::limits::MAX_DATA_SET_BYTES;

pub mod client;
pub mod delta;
pub mod manifest;
pub mod provider;
pub mod request;
pub mod row;
pub mod schema;
pub mod snapshot;
#[cfg(test)]
mod tests;

/// Name and version of the protocol, in every receipt.
pub const PROTOCOL: &str = "lookup/v1";

/// A provider's data set: 1 to 64 characters of `a-z`, `0-9`, `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataSet(String);

/// The text is not a data set's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a data set's name has 1 to {MAX_DATA_SET_BYTES} characters of a-z, 0-9 and hyphen")]
pub struct DataSetError;

impl DataSet {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DataSet {
    type Err = DataSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = (1..=MAX_DATA_SET_BYTES).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if length && plain { Ok(Self(text.to_owned())) } else { Err(DataSetError) }
    }
}

impl fmt::Display for DataSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DataSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataSet({})", self.0)
    }
}

/// Families that share an OPRF key. Evaluation is blind, so only separate keys keep a right to match from
/// buying attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyGroup {
    /// Family 1: the phone number opens its attributes.
    Attribute,
    /// Families 2 to 4: the phone number with ID, name or both opens presence only.
    Match,
    /// Every other family has a key of its own.
    Single(Family),
}

impl KeyGroup {
    /// The group of a family.
    pub const fn of(family: Family) -> Self {
        match family {
            Family::Phone => Self::Attribute,
            Family::PhoneId | Family::PhoneName | Family::PhoneIdName => Self::Match,
            other => Self::Single(other),
        }
    }

    /// The groups of some families, in ascending order, each with its families in ascending order.
    pub fn partition(families: &[Family]) -> Vec<(Self, Vec<Family>)> {
        let mut sorted = families.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut groups: Vec<(Self, Vec<Family>)> = Vec::new();
        for family in sorted {
            let group = Self::of(family);
            match groups.last_mut() {
                Some((last, members)) if *last == group => members.push(family),
                _ => groups.push((group, vec![family])),
            }
        }
        groups
    }

    /// The code on the wire and in the log: the group's first family.
    pub const fn code(self) -> u8 {
        match self {
            Self::Attribute => Family::Phone as u8,
            Self::Match => Family::PhoneId as u8,
            Self::Single(family) => family as u8,
        }
    }

    /// Reads a code; `None` when no group begins with it.
    pub fn from_code(code: u8) -> Option<Self> {
        let group = Self::of(Family::try_from(code).ok()?);
        (group.code() == code).then_some(group)
    }

    /// The group's name in configuration, reports and key files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attribute => "attribute",
            Self::Match => "match",
            Self::Single(Family::Id) => "id",
            Self::Single(Family::IdName) => "id-name",
            Self::Single(Family::SocialCredit) => "social-credit",
            Self::Single(Family::Account) => "account",
            Self::Single(Family::Device) => "device",
            Self::Single(_) => "ip-address",
        }
    }

    /// Reads a name; `None` when no group has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Family::ALL.into_iter().map(Self::of).find(|group| group.name() == name)
    }
}

/// Whether a family's rows carry the label; the others carry presence only, padded to the same length.
pub const fn carries_label(family: Family) -> bool {
    !matches!(KeyGroup::of(family), KeyGroup::Match)
}

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn families_fall_into_the_groups_that_share_a_key() {
        let groups = KeyGroup::partition(&[Family::PhoneIdName, Family::Phone, Family::PhoneId]);
        assert_eq!(
            groups,
            [
                (KeyGroup::Attribute, vec![Family::Phone]),
                (KeyGroup::Match, vec![Family::PhoneId, Family::PhoneIdName])
            ]
        );
    }

    #[test]
    fn a_group_survives_its_code() {
        for code in 0..=u8::MAX {
            if let Some(group) = KeyGroup::from_code(code) {
                assert_eq!(group.code(), code);
            }
        }
        assert_eq!(KeyGroup::from_code(3), None);
        assert_eq!(KeyGroup::from_code(5), Some(KeyGroup::Single(Family::Id)));
    }

    #[test]
    fn a_group_survives_its_name() {
        for group in Family::ALL.map(KeyGroup::of) {
            assert_eq!(KeyGroup::from_name(group.name()), Some(group));
        }
        for name in ["", "Match", "phone", "match "] {
            assert_eq!(KeyGroup::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn data_set_names_are_plain() {
        assert!("subscribers-2026".parse::<DataSet>().is_ok());
        for text in ["", "Subscribers", "a b", "客户"] {
            assert!(text.parse::<DataSet>().is_err(), "{text}");
        }
    }
}
