//! Items of a table: which columns name a row, and the bytes that both parties hash for it.
//!
//! For an identity they are the encoding of its family with an empty data set (`identity/v1`), so a phone is
//! the same item however each party writes it. For text they are the cell without white space around it.

use serde::{Deserialize, Serialize};
use windvane_protocols::identity::{
    Document, DocumentKind, Family, IdentityError, Name, Other, Person, Phone,
};
use windvane_protocols::psi::item::{ItemHasher, PreparedItem};

use crate::table::Row;

/// The encoding of a mainland number: version, family, an empty data set and the number's length before the
/// digits, three empty fields behind them.
const PLAIN_MOBILE: &[u8; 26] = b"\x01\x01\x00\x00\x00\x0e+86###########\x00\x00\x00\x00\x00\x00";
const DIGITS_FROM: usize = 9;
const DIGITS: usize = 11;

/// What names a row. Both parties of a job use the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyKind {
    /// A telephone number.
    Phone,
    /// Telephone number and resident ID.
    PhoneId,
    /// Telephone number and name.
    PhoneName,
    /// Telephone number, resident ID and name.
    PhoneIdName,
    /// A resident ID.
    Id,
    /// Resident ID and name.
    IdName,
    /// A unified social credit code.
    SocialCredit,
    /// An account or card number.
    Account,
    /// A device id.
    Device,
    /// An IP address.
    IpAddress,
    /// Any text, compared byte by byte.
    Text,
}

/// The field and the rule by which a row is refused; never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The field, in the words of the identity rules; `row` or `text`.
    pub field: &'static str,
    /// The rule's stable code.
    pub rule: &'static str,
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        Self { field: error.field(), rule: error.rule() }
    }
}

impl KeyKind {
    /// What the key's columns are, in the order in which a reader must have chosen them.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Phone => &["phone"],
            Self::PhoneId => &["phone", "document"],
            Self::PhoneName => &["phone", "name"],
            Self::PhoneIdName => &["phone", "document", "name"],
            Self::Id | Self::SocialCredit => &["document"],
            Self::IdName => &["document", "name"],
            Self::Account => &["account"],
            Self::Device => &["device"],
            Self::IpAddress => &["ip_address"],
            Self::Text => &["text"],
        }
    }

    /// The family whose encoding is the item; `None` for text.
    pub const fn family(self) -> Option<Family> {
        match self {
            Self::Phone => Some(Family::Phone),
            Self::PhoneId => Some(Family::PhoneId),
            Self::PhoneName => Some(Family::PhoneName),
            Self::PhoneIdName => Some(Family::PhoneIdName),
            Self::Id => Some(Family::Id),
            Self::IdName => Some(Family::IdName),
            Self::SocialCredit => Some(Family::SocialCredit),
            Self::Account => Some(Family::Account),
            Self::Device => Some(Family::Device),
            Self::IpAddress => Some(Family::IpAddress),
            Self::Text => None,
        }
    }

    fn person(self, row: &Row<'_>) -> Result<Person, IdentityError> {
        let kind =
            if self == Self::SocialCredit { DocumentKind::SocialCredit } else { DocumentKind::ResidentId };
        let mut person = Person::default();
        for (column, field) in self.fields().iter().enumerate() {
            let text = row.text(column);
            match *field {
                "phone" => person.phone = Some(Phone::parse(text)?),
                "document" => person.document = Some(Document::parse(kind, text)?),
                "name" => person.name = Some(Name::parse(text)?),
                "account" => person.other = Some(Other::account(text)?),
                "device" => person.other = Some(Other::device(text)?),
                _ => person.other = Some(Other::ip_address(text)?),
            }
        }
        Ok(person)
    }
}

/// Prepares rows' items for hashing.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    kind: KeyKind,
    hasher: &'a ItemHasher,
    plain_mobile: PreparedItem,
}

impl<'a> Items<'a> {
    /// Items of a kind in one session.
    pub fn new(kind: KeyKind, hasher: &'a ItemHasher) -> Self {
        Self { kind, hasher, plain_mobile: hasher.prepare(PLAIN_MOBILE) }
    }

    /// Appends the row's item to `batch`; the row's first cells are the key's fields.
    ///
    /// # Errors
    /// The first rule that the row breaks; then nothing is appended.
    #[inline]
    pub fn prepare(&self, row: &Row<'_>, batch: &mut Vec<PreparedItem>) -> Result<(), Refusal> {
        if row.width() < self.kind.fields().len() {
            return Err(Refusal { field: "row", rule: "ROW_LENGTH" });
        }
        if self.kind == KeyKind::Phone
            && let Some(digits) = plain_mobile(row.cell(0))
        {
            batch.push(self.plain_mobile);
            let item = batch.last_mut().expect("it was just pushed");
            item.replace(DIGITS_FROM, digits);
            return Ok(());
        }
        batch.push(self.parse(row)?);
        Ok(())
    }

    fn parse(&self, row: &Row<'_>) -> Result<PreparedItem, Refusal> {
        let Some(family) = self.kind.family() else { return self.text(row.text(0)) };
        let encoded = family.encode("", &self.kind.person(row)?);
        Ok(self.hasher.prepare(encoded.expect("the person has the key's fields").as_bytes()))
    }

    fn text(&self, text: &str) -> Result<PreparedItem, Refusal> {
        match text.trim() {
            "" => Err(Refusal { field: "text", rule: "TEXT_EMPTY" }),
            text => Ok(self.hasher.prepare(text.as_bytes())),
        }
    }
}

/// Eleven digits that begin with 1, which need no parsing; a test holds them against [`Phone::parse`].
#[inline]
fn plain_mobile(cell: &[u8]) -> Option<&[u8; DIGITS]> {
    let digits = <&[u8; DIGITS]>::try_from(cell).ok()?;
    // Without a branch for each digit: the compiler makes a few wide instructions of it.
    let all = digits.iter().fold(true, |all, byte| all & byte.is_ascii_digit());
    (all && digits[0] == b'1').then_some(digits)
}
