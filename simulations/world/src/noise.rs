//! The ways in which people and systems write the same thing. Every variant here is legal: a reader that
//! follows the identity rules gets the canonical form back.
//!
//! Of the rows of every file about one in 16 phones, one in 16 names and one in 14 resident ID numbers
//! are written in a form other than the canonical one, and half of all middle dots.

use crate::document::{Document, DocumentKind};
use crate::name::{MIDDLE_DOT, is_han};
use rand::{Rng, RngExt};

const ONE_IN: u32 = 16;
const DOTS: [&str; 5] = ["•", "‧", "・", "．", "･"];

/// An 11-digit number: as it is, with a country code, grouped, or in full-width digits.
pub(crate) fn phone(rng: &mut impl Rng, phone: &str) -> String {
    if !rng.random_ratio(1, ONE_IN) {
        return phone.to_owned();
    }
    let (a, b, c) = (&phone[..3], &phone[3..7], &phone[7..]);
    match rng.random_range(0..8) {
        0 => format!("+86{phone}"),
        1 => format!("+86 {a} {b} {c}"),
        2 => format!("0086{phone}"),
        3 => format!("86{phone}"),
        4 => format!("{a} {b} {c}"),
        5 => format!("{a}-{b}-{c}"),
        6 => format!("+86-{phone}"),
        _ => full_width(phone),
    }
}

/// A name: as it is, with white space in or around a Han name, another middle dot, or other case and
/// doubled spaces in a Latin one.
pub(crate) fn name(rng: &mut impl Rng, name: &str) -> String {
    if name.contains(MIDDLE_DOT) {
        let dot = if rng.random_bool(0.5) { DOTS[rng.random_range(0..DOTS.len())] } else { "·" };
        return name.replace(MIDDLE_DOT, dot);
    }
    if !rng.random_ratio(1, ONE_IN) {
        return name.to_owned();
    }
    let style = rng.random_range(0..4);
    if is_han(name) { spaced_han(name, style) } else { restyled_latin(name, style) }
}

/// A document number: a resident ID perhaps with a lower-case x, in full-width digits or, for those born
/// in 1950–1979, in the old form of 15 digits; a passport as it is.
///
/// The old form has no century, and there the sequence codes 996–999 were kept for those born in the 19th, so
/// that a number with one of them has no old form.
pub(crate) fn document(rng: &mut impl Rng, document: &Document) -> String {
    let number = &document.number;
    if document.kind == DocumentKind::Passport {
        return number.clone();
    }
    match rng.random_range(0..96) {
        0 | 1 => full_width(number),
        2 if ("1950".."1980").contains(&&number[6..10]) && number[14..17] < *"996" => {
            format!("{}{}", &number[..6], &number[8..17])
        }
        3..48 => number.to_lowercase(),
        _ => number.clone(),
    }
}

fn spaced_han(name: &str, style: u32) -> String {
    let first = name.chars().next().map_or(0, char::len_utf8);
    let (head, tail) = name.split_at(first);
    match style {
        0 => format!("{head} {tail}"),
        1 => format!("{head}\u{3000}{tail}"),
        2 => format!("{name} "),
        _ => format!(" {head}  {tail}"),
    }
}

fn restyled_latin(name: &str, style: u32) -> String {
    match style {
        0 => name.to_uppercase(),
        1 => name.to_lowercase(),
        2 => name.replace(' ', "  "),
        _ => format!(" {name} "),
    }
}

/// The text with its digits in their full-width forms.
fn full_width(text: &str) -> String {
    let widen = |character: char| match character {
        '0'..='9' => char::from_u32(u32::from(character) + 0xFEE0).unwrap_or(character),
        other => other,
    };
    text.chars().map(widen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};
    use std::collections::HashSet;

    fn variants(of: impl Fn(&mut rand_chacha::ChaCha8Rng) -> String) -> HashSet<String> {
        let mut rng = Seed::new(2).stream(Purpose::RowNoise, 0);
        (0..4_000).map(|_| of(&mut rng)).collect()
    }

    fn expect(found: &HashSet<String>, expected: &[&str]) {
        let expected: HashSet<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(found, &expected);
    }

    #[test]
    fn a_phone_is_written_in_nine_ways() {
        let expected = [
            "13912345678",
            "+8613912345678",
            "+86 139 1234 5678",
            "008613912345678",
            "8613912345678",
            "139 1234 5678",
            "139-1234-5678",
            "+86-13912345678",
            "１３９１２３４５６７８",
        ];
        expect(&variants(|rng| phone(rng, "13912345678")), &expected);
    }

    #[test]
    fn a_name_varies_in_white_space_dots_and_case_only() {
        let han = ["欧阳伟", "欧 阳伟", "欧\u{3000}阳伟", "欧阳伟 ", " 欧  阳伟"];
        expect(&variants(|rng| name(rng, "欧阳伟")), &han);
        let dotted =
            ["艾力·木拉提", "艾力•木拉提", "艾力‧木拉提", "艾力・木拉提", "艾力．木拉提", "艾力･木拉提"];
        expect(&variants(|rng| name(rng, "艾力·木拉提")), &dotted);
        let latin = ["José Kim", "JOSÉ KIM", "josé kim", "José  Kim", " José Kim "];
        expect(&variants(|rng| name(rng, "José Kim")), &latin);
    }

    #[test]
    fn an_id_number_varies_in_width_case_and_length_and_a_passport_not_at_all() {
        let of = |kind, number: &str| {
            let written = Document { kind, number: number.to_owned() };
            variants(|rng| document(rng, &written))
        };
        let old = [
            "11010519591231002X",
            "11010519591231002x",
            "１１０１０５１９５９１２３１００２X",
            "110105591231002",
        ];
        expect(&of(DocumentKind::ResidentId, "11010519591231002X"), &old);
        let young = ["440524198801010014", "４４０５２４１９８８０１０１００１４"];
        expect(&of(DocumentKind::ResidentId, "440524198801010014"), &young);
        let reserved = ["440305196005319967", "４４０３０５１９６００５３１９９６７"];
        expect(&of(DocumentKind::ResidentId, "440305196005319967"), &reserved);
        expect(&of(DocumentKind::Passport, "E12345678"), &["E12345678"]);
    }
}
