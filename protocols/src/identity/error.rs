//! Why a field was refused: the field and the rule, never the value.

/// A field that does not parse. Lengths are counted after folding and stripping, in characters unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Nothing but spaces and hyphens.
    #[error("phone: empty")]
    PhoneEmpty,
    /// Something other than digits after the prefix.
    #[error("phone: a character that is no digit")]
    PhoneCharacter,
    /// A mainland number without exactly 11 digits, or another country's over 15.
    #[error("phone: {found} digits, expected {expected}")]
    PhoneLength {
        /// Digits found.
        found: usize,
        /// Digits of a mainland number, or the most that E.164 allows.
        expected: usize,
    },
    /// A mainland number that does not begin with 1.
    #[error("phone: a mainland mobile number begins with 1")]
    PhonePrefix,
    /// Another country's number that its numbering plan does not know.
    #[error("phone: not a number of any country's plan")]
    PhonePlan,
    /// Nothing but white space.
    #[error("document: empty")]
    DocumentEmpty,
    /// A character that this kind of document never holds, at this place.
    #[error("document: a character that its kind does not allow")]
    DocumentCharacter,
    /// A length that this kind of document never has.
    #[error("document: {found} characters are too few or too many for its kind")]
    DocumentLength {
        /// Characters found.
        found: usize,
    },
    /// The date of birth in a resident's number is no date of the years 1800 to 2099.
    #[error("document: no real date of birth")]
    DocumentBirthDate,
    /// The check character does not fit the others.
    #[error("document: the check character does not fit")]
    DocumentCheck,
    /// Nothing is left after canonicalisation.
    #[error("name: empty")]
    NameEmpty,
    /// A control character, or U+FFFD, which stands where a decoder lost a character.
    #[error("name: a control or replacement character")]
    NameCharacter,
    /// More bytes than [`MAX_IDENTITY_FIELD_BYTES`](crate::limits::MAX_IDENTITY_FIELD_BYTES), as given or
    /// canonical.
    #[error("name: {found} bytes, expected at most {expected}")]
    NameLength {
        /// Bytes found, in UTF-8.
        found: usize,
        /// The limit.
        expected: usize,
    },
    /// Something other than digits.
    #[error("account: a character that is no digit")]
    AccountCharacter,
    /// Not 6 to 34 digits.
    #[error("account: {found} digits, expected 6 to 34")]
    AccountLength {
        /// Digits found.
        found: usize,
    },
    /// Something other than visible ASCII.
    #[error("device: a character that is not visible ASCII")]
    DeviceCharacter,
    /// Not 1 to 64 characters.
    #[error("device: {found} characters, expected 1 to 64")]
    DeviceLength {
        /// Characters found.
        found: usize,
    },
    /// Neither an IPv4 nor an IPv6 address.
    #[error("ip_address: neither IPv4 nor IPv6")]
    IpAddress,
}

impl IdentityError {
    /// The field: `phone`, `document`, `name`, `account`, `device` or `ip_address`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::PhoneEmpty
            | Self::PhoneCharacter
            | Self::PhoneLength { .. }
            | Self::PhonePrefix
            | Self::PhonePlan => "phone",
            Self::DocumentEmpty
            | Self::DocumentCharacter
            | Self::DocumentLength { .. }
            | Self::DocumentBirthDate
            | Self::DocumentCheck => "document",
            Self::NameEmpty | Self::NameCharacter | Self::NameLength { .. } => "name",
            Self::AccountCharacter | Self::AccountLength { .. } => "account",
            Self::DeviceCharacter | Self::DeviceLength { .. } => "device",
            Self::IpAddress => "ip_address",
        }
    }

    /// The rule that was broken, a stable code for reject files.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::PhoneEmpty => "PHONE_EMPTY",
            Self::PhoneCharacter => "PHONE_CHARACTER",
            Self::PhoneLength { .. } => "PHONE_LENGTH",
            Self::PhonePrefix => "PHONE_PREFIX",
            Self::PhonePlan => "PHONE_PLAN",
            Self::DocumentEmpty => "DOCUMENT_EMPTY",
            Self::DocumentCharacter => "DOCUMENT_CHARACTER",
            Self::DocumentLength { .. } => "DOCUMENT_LENGTH",
            Self::DocumentBirthDate => "DOCUMENT_BIRTH_DATE",
            Self::DocumentCheck => "DOCUMENT_CHECK",
            Self::NameEmpty => "NAME_EMPTY",
            Self::NameCharacter => "NAME_CHARACTER",
            Self::NameLength { .. } => "NAME_LENGTH",
            Self::AccountCharacter => "ACCOUNT_CHARACTER",
            Self::AccountLength { .. } => "ACCOUNT_LENGTH",
            Self::DeviceCharacter => "DEVICE_CHARACTER",
            Self::DeviceLength { .. } => "DEVICE_LENGTH",
            Self::IpAddress => "IP_ADDRESS",
        }
    }
}
