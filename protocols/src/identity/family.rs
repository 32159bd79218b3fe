//! Families of keys, and the one encoding that enters the oblivious PRF.

use std::fmt;

use zeroize::Zeroizing;

use super::{Document, DocumentKind, Name, Other, Person, Phone};

/// First byte of every encoding.
const ENCODING_VERSION: u8 = 1;

/// Which fields make a data set's key; the discriminant is the byte of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// The telephone number.
    Phone = 1,
    /// Telephone number and document.
    PhoneId = 2,
    /// Telephone number and name.
    PhoneName = 3,
    /// Telephone number, document and name.
    PhoneIdName = 4,
    /// The document.
    Id = 5,
    /// Document and name.
    IdName = 6,
    /// A document of kind [`DocumentKind::SocialCredit`].
    SocialCredit = 7,
    /// Account or card number.
    Account = 8,
    /// Device id.
    Device = 9,
    /// IP address.
    IpAddress = 10,
}

/// A byte that names no family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("family {found}, expected 1 to 10")]
pub struct UnknownFamily {
    /// The byte.
    pub found: u8,
}

impl Family {
    /// Every family, by its byte.
    pub const ALL: [Self; crate::limits::MAX_FAMILIES] = [
        Self::Phone,
        Self::PhoneId,
        Self::PhoneName,
        Self::PhoneIdName,
        Self::Id,
        Self::IdName,
        Self::SocialCredit,
        Self::Account,
        Self::Device,
        Self::IpAddress,
    ];

    /// The byte of the encoding.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The oblivious PRF's input: `01 ‖ family ‖` data set, phone, document, name, other, each behind its
    /// length in 16 bits, big-endian; fields that the family does not use are empty. `None` where the person
    /// lacks a field of the family. Set intersection and subject tags pass an empty data set.
    ///
    /// # Panics
    /// When `data_set` is longer than 65,535 bytes; a data set's name is bounded by
    /// [`MAX_DATA_SET_BYTES`](crate::limits::MAX_DATA_SET_BYTES) where it is parsed.
    pub fn encode(self, data_set: &str, person: &Person) -> Option<Encoded> {
        let phone = used(self.has_phone(), person.phone.as_ref())?.map_or("", Phone::as_str);
        let document = used(self.has_document(), self.document_of(person))?;
        let name = used(self.has_name(), person.name.as_ref())?.map_or("", Name::as_str);
        let other = used(self.has_other(), self.other_of(person))?.map_or("", Other::as_str);
        let kind = document.map(|d| d.kind().code());
        let number = document.map_or("", Document::number);
        Some(Encoded::new(
            self,
            &[
                &[data_set.as_bytes()],
                &[phone.as_bytes()],
                &[kind.as_slice(), number.as_bytes()],
                &[name.as_bytes()],
                &[other.as_bytes()],
            ],
        ))
    }

    const fn has_phone(self) -> bool {
        matches!(self, Self::Phone | Self::PhoneId | Self::PhoneName | Self::PhoneIdName)
    }

    const fn has_document(self) -> bool {
        matches!(self, Self::PhoneId | Self::PhoneIdName | Self::Id | Self::IdName | Self::SocialCredit)
    }

    const fn has_name(self) -> bool {
        matches!(self, Self::PhoneName | Self::PhoneIdName | Self::IdName)
    }

    const fn has_other(self) -> bool {
        matches!(self, Self::Account | Self::Device | Self::IpAddress)
    }

    /// The document, if of a kind that the family takes: any, except for family 7.
    fn document_of(self, person: &Person) -> Option<&Document> {
        let only_companies = self == Self::SocialCredit;
        let fits = |d: &&Document| !only_companies || d.kind() == DocumentKind::SocialCredit;
        person.document.as_ref().filter(fits)
    }

    fn other_of(self, person: &Person) -> Option<&Other> {
        person.other.as_ref().filter(|other| other.family() == self)
    }
}

/// A field that the family needs must be there: `None` if it lacks; `Some(None)` if the family has none.
fn used<T>(needed: bool, field: Option<T>) -> Option<Option<T>> {
    if needed { field.map(Some) } else { Some(None) }
}

impl TryFrom<u8> for Family {
    type Error = UnknownFamily;

    fn try_from(found: u8) -> Result<Self, UnknownFamily> {
        Self::ALL.into_iter().find(|family| family.code() == found).ok_or(UnknownFamily { found })
    }
}

/// An encoding: a person's raw identity, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(Zeroizing<Vec<u8>>);

impl Encoded {
    /// A field is its parts, one after another, behind their common length.
    fn new(family: Family, fields: &[&[&[u8]]; 5]) -> Self {
        let size: usize = fields.iter().map(|parts| 2 + length(parts)).sum();
        // Never outgrown, so it never moves and leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + size));
        bytes.extend([ENCODING_VERSION, family.code()]);
        for parts in fields {
            let prefix = u16::try_from(length(parts)).expect("fields are bounded by limits.rs");
            bytes.extend(prefix.to_be_bytes());
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
        }
        Self(bytes)
    }

    /// The bytes that enter the oblivious PRF.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoded(…)")
    }
}

fn length(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}
