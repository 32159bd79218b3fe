//! What families 8 to 10 look up: accounts, devices, addresses.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use super::error::IdentityError;
use super::family::Family;
use super::width::{is_separator, is_space, narrowed};
use crate::secret::Secret;

/// Digits of an account: the shortest in use, and the length of the longest international number (ISO 13616).
const ACCOUNT_DIGITS: RangeInclusive<usize> = 6..=34;

/// Characters of a device id: a SHA-256 in hexadecimal is the longest in use.
const DEVICE_CHARACTERS: RangeInclusive<usize> = 1..=64;

/// An account, a device id or an IP address, in canonical text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    family: Family,
    text: Secret<String>,
}

impl Other {
    /// An account or card number: full-width forms folded, white space and hyphens stripped, 6 to 34 digits.
    ///
    /// # Errors
    /// [`IdentityError::AccountLength`] or [`IdentityError::AccountCharacter`].
    pub fn account(input: &str) -> Result<Self, IdentityError> {
        let too_long = IdentityError::AccountLength { found: input.chars().count() };
        let mut digits = narrowed(input, is_separator).ok_or(too_long)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(IdentityError::AccountCharacter);
        }
        if !ACCOUNT_DIGITS.contains(&digits.len()) {
            return Err(IdentityError::AccountLength { found: digits.len() });
        }
        Ok(Self { family: Family::Account, text: Secret::new(std::mem::take(&mut *digits)) })
    }

    /// A device id: full-width forms folded, white space trimmed, 1 to 64 characters of visible ASCII.
    ///
    /// An id of hexadecimal digits, hyphens and colons only (IMEI, MAC address, UUID) is turned to upper
    /// case, since systems disagree about it; any other id keeps its case, which may carry meaning.
    ///
    /// # Errors
    /// [`IdentityError::DeviceLength`] or [`IdentityError::DeviceCharacter`].
    pub fn device(input: &str) -> Result<Self, IdentityError> {
        let too_long = IdentityError::DeviceLength { found: input.chars().count() };
        let folded = narrowed(input, |_| false).ok_or(too_long)?;
        let mut id = Zeroizing::new(folded.trim_matches(is_space).to_owned());
        if !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdentityError::DeviceCharacter);
        }
        if !DEVICE_CHARACTERS.contains(&id.len()) {
            return Err(IdentityError::DeviceLength { found: id.len() });
        }
        if id.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b':')) {
            id.make_ascii_uppercase();
        }
        Ok(Self { family: Family::Device, text: Secret::new(std::mem::take(&mut *id)) })
    }

    /// An IP address: full-width forms folded, white space trimmed, an IPv4 address inside IPv6
    /// (`::ffff:0:0/96`) taken out, then the text of RFC 5952. Zones and leading zeros are refused.
    ///
    /// # Errors
    /// [`IdentityError::IpAddress`].
    pub fn ip_address(input: &str) -> Result<Self, IdentityError> {
        let folded = narrowed(input, |_| false).ok_or(IdentityError::IpAddress)?;
        let address: IpAddr = folded.trim_matches(is_space).parse().map_err(|_| IdentityError::IpAddress)?;
        Ok(Self { family: Family::IpAddress, text: Secret::new(address.to_canonical().to_string()) })
    }

    /// The family that this value belongs to: 8, 9 or 10.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        self.text.expose()
    }
}
