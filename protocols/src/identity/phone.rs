//! Telephone numbers in E.164.

use zeroize::Zeroizing;

use super::error::IdentityError;
use super::width::{is_separator, narrowed};
use crate::secret::Secret;

/// Digits of a mainland mobile number, without the country code.
const MAINLAND_DIGITS: usize = 11;

/// ITU-T E.164, section 6: country code and national number together.
const MAX_E164_DIGITS: usize = 15;

/// A telephone number in E.164, for example `+8613800138000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone(Secret<String>);

impl Phone {
    /// Folds full-width forms, strips white space and hyphens (U+002D, U+2010, U+2011) and the prefixes
    /// `+86`, `0086` and `86`.
    ///
    /// A mainland mobile number is then exactly 11 digits beginning with 1; no table of number segments is
    /// asked, because tables age. A number that begins with `+` or `00` and another country's code is
    /// checked against that country's plan.
    ///
    /// # Errors
    /// One of the `Phone…` rules of [`IdentityError`].
    pub fn parse(input: &str) -> Result<Self, IdentityError> {
        let digits = narrowed(input, is_separator).ok_or(too_long(input))?;
        if digits.is_empty() {
            return Err(IdentityError::PhoneEmpty);
        }
        match international(&digits) {
            Some(number) => match number.strip_prefix("86") {
                Some(national) => mainland(national),
                None => abroad(number),
            },
            None => mainland(digits.strip_prefix("86").unwrap_or(&digits)),
        }
    }

    /// The number in E.164: `+` and digits.
    pub fn as_str(&self) -> &str {
        self.0.expose()
    }
}

fn too_long(input: &str) -> IdentityError {
    IdentityError::PhoneLength { found: input.chars().count(), expected: MAINLAND_DIGITS }
}

/// What follows the sign of an international number.
fn international(digits: &str) -> Option<&str> {
    digits.strip_prefix('+').or_else(|| digits.strip_prefix("00"))
}

fn only_digits(digits: &str) -> Result<(), IdentityError> {
    let ok = digits.bytes().all(|b| b.is_ascii_digit());
    if ok { Ok(()) } else { Err(IdentityError::PhoneCharacter) }
}

fn mainland(national: &str) -> Result<Phone, IdentityError> {
    only_digits(national)?;
    if national.len() != MAINLAND_DIGITS {
        return Err(IdentityError::PhoneLength { found: national.len(), expected: MAINLAND_DIGITS });
    }
    if !national.starts_with('1') {
        return Err(IdentityError::PhonePrefix);
    }
    Ok(Phone(Secret::new(["+86", national].concat())))
}

fn abroad(number: &str) -> Result<Phone, IdentityError> {
    only_digits(number)?;
    if number.len() > MAX_E164_DIGITS {
        return Err(IdentityError::PhoneLength { found: number.len(), expected: MAX_E164_DIGITS });
    }
    let e164 = Zeroizing::new(["+", number].concat());
    let parsed = phonenumber::parse(None, e164.as_str()).map_err(|_| IdentityError::PhonePlan)?;
    // The plan only judges. Where the library would rewrite a number (it strips what looks like a trunk
    // prefix), the number is refused: a rewriting that changes with the library's tables is no identity.
    let rewritten = Zeroizing::new(parsed.format().mode(phonenumber::Mode::E164).to_string());
    if !phonenumber::is_valid(&parsed) || *rewritten != *e164 {
        return Err(IdentityError::PhonePlan);
    }
    Ok(Phone(Secret::new(String::clone(&e164))))
}
