//! Identity documents: residents' numbers (GB 11643-1999), passports, unified social credit codes
//! (GB 32100-2015).

use zeroize::Zeroizing;

use super::error::IdentityError;
use super::width::{is_space, narrowed};
use crate::secret::Secret;

/// Kinds of documents; the discriminant is the type byte of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DocumentKind {
    /// A citizen's number, and residence permits that share its form: Hong Kong, Macau and Taiwan residents
    /// (codes 81 to 83) and foreign permanent residents (codes beginning with 9).
    ResidentId = 1,
    /// A passport of any country.
    Passport = 2,
    /// An organisation's unified social credit code.
    SocialCredit = 3,
}

impl DocumentKind {
    /// The type byte.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A document's kind and its canonical number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    kind: DocumentKind,
    number: Secret<String>,
}

impl Document {
    /// Folds full-width forms, trims white space, turns letters to upper case, and applies the kind's rule:
    ///
    /// - resident's number: 17 digits and the check character, with a real date of birth from 1800 to 2099
    ///   (there is no clock here, so a date to come is the caller's to refuse). 15 digits are upgraded; the
    ///   sequence numbers 996 to 999, which the old form kept for centenarians, mean a birth in 18xx, all
    ///   others in 19xx.
    /// - passport: 5 to 20 letters and digits.
    /// - social credit code: 18 characters, the last one checking the others.
    ///
    /// # Errors
    /// One of the `Document…` rules of [`IdentityError`].
    pub fn parse(kind: DocumentKind, input: &str) -> Result<Self, IdentityError> {
        let too_long = IdentityError::DocumentLength { found: input.chars().count() };
        let mut folded = narrowed(input, |_| false).ok_or(too_long)?;
        folded.make_ascii_uppercase();
        let number = folded.trim_matches(is_space);
        if number.is_empty() {
            return Err(IdentityError::DocumentEmpty);
        }
        let number = match kind {
            DocumentKind::ResidentId => resident(number)?,
            DocumentKind::Passport => passport(number)?,
            DocumentKind::SocialCredit => social_credit(number)?,
        };
        Ok(Self { kind, number: Secret::new(number) })
    }

    /// The kind.
    pub const fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// The canonical number: ASCII digits and upper-case letters.
    pub fn number(&self) -> &str {
        self.number.expose()
    }
}

fn require(holds: bool, otherwise: IdentityError) -> Result<(), IdentityError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn length_error(number: &str) -> IdentityError {
    IdentityError::DocumentLength { found: number.chars().count() }
}

/// GB 11643-1999, section 4.
fn resident(number: &str) -> Result<String, IdentityError> {
    match number.chars().count() {
        15 => upgraded(number),
        18 => checked(number),
        _ => Err(length_error(number)),
    }
}

fn checked(number: &str) -> Result<String, IdentityError> {
    let (body, check) = number.split_at_checked(17).ok_or(IdentityError::DocumentCharacter)?;
    require(is_digits(body), IdentityError::DocumentCharacter)?;
    require(is_digits(check) || check == "X", IdentityError::DocumentCharacter)?;
    require(is_birth_date(&body[6..14]), IdentityError::DocumentBirthDate)?;
    require(check.as_bytes() == [resident_check(body)], IdentityError::DocumentCheck)?;
    Ok(number.to_owned())
}

/// Inserts the century and appends the check character.
fn upgraded(number: &str) -> Result<String, IdentityError> {
    require(is_digits(number), IdentityError::DocumentCharacter)?;
    let century = if matches!(&number[12..], "996" | "997" | "998" | "999") { "18" } else { "19" };
    let body = Zeroizing::new([&number[..6], century, &number[6..]].concat());
    require(is_birth_date(&body[6..14]), IdentityError::DocumentBirthDate)?;
    let mut full = String::with_capacity(18);
    full.push_str(&body);
    full.push(char::from(resident_check(&body)));
    Ok(full)
}

/// ISO 7064 MOD 11-2 over 17 digits, with the weights that the standard prints.
fn resident_check(body: &str) -> u8 {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    let sum: u32 = body.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    CHECKS[sum as usize % CHECKS.len()]
}

/// Whether eight digits `YYYYMMDD` are a day of the Gregorian calendar in the years 1800 to 2099.
fn is_birth_date(digits: &str) -> bool {
    let number = digits.bytes().fold(0_u32, |n, digit| n * 10 + u32::from(digit - b'0'));
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    (1800..=2099).contains(&year) && (1..=days_in(year, month)).contains(&day)
}

/// Days of a month; none when there is no such month.
fn days_in(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    }
}

/// ICAO Doc 9303 gives nine places and lets longer numbers run over; countries use letters and digits only.
fn passport(number: &str) -> Result<String, IdentityError> {
    require(number.bytes().all(|b| b.is_ascii_alphanumeric()), IdentityError::DocumentCharacter)?;
    require((5..=20).contains(&number.len()), length_error(number))?;
    Ok(number.to_owned())
}

/// GB 32100-2015, section 5 and annex A: the alphabet leaves out I, O, S, V and Z.
fn social_credit(number: &str) -> Result<String, IdentityError> {
    const ALPHABET: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";
    const WEIGHTS: [usize; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
    require(number.chars().count() == 18, length_error(number))?;
    let mut values = Zeroizing::new([0_usize; 18]);
    for (value, c) in values.iter_mut().zip(number.chars()) {
        *value = ALPHABET.find(c).ok_or(IdentityError::DocumentCharacter)?;
    }
    let sum: usize = values.iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    require((sum + values[17]).is_multiple_of(ALPHABET.len()), IdentityError::DocumentCheck)?;
    Ok(number.to_owned())
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}
