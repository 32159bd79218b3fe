//! The shared vectors, and what no identity may ever do.

use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../vectors/identity-v1.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).expect("the vectors are JSON")
}

fn rows<'a>(vectors: &'a Value, section: &str) -> &'a [Value] {
    let rows = vectors[section].as_array().expect("a section is a list");
    assert!(!rows.is_empty());
    rows
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().expect("a text")
}

fn kind(row: &Value) -> DocumentKind {
    match row["kind"].as_u64() {
        Some(1) => DocumentKind::ResidentId,
        Some(2) => DocumentKind::Passport,
        Some(3) => DocumentKind::SocialCredit,
        found => panic!("no kind: {found:?}"),
    }
}

fn family(row: &Value) -> Family {
    Family::try_from(row["family"].as_u64().unwrap() as u8).unwrap()
}

fn parse_other(family: Family, input: &str) -> Result<Other, IdentityError> {
    match family {
        Family::Account => Other::account(input),
        Family::Device => Other::device(input),
        Family::IpAddress => Other::ip_address(input),
        found => panic!("no other field: {found:?}"),
    }
}

/// Parses a row's input as its section or field says, to the canonical text.
fn canonical(field: &str, row: &Value, input: &str) -> Result<String, IdentityError> {
    match field {
        "phone" => Phone::parse(input).map(|phone| phone.as_str().to_owned()),
        "document" => Document::parse(kind(row), input).map(|document| document.number().to_owned()),
        "name" => Name::parse(input).map(|name| name.as_str().to_owned()),
        "account" => Other::account(input).map(|other| other.as_str().to_owned()),
        "device" => Other::device(input).map(|other| other.as_str().to_owned()),
        "ip_address" => Other::ip_address(input).map(|other| other.as_str().to_owned()),
        _ => parse_other(family(row), input).map(|other| other.as_str().to_owned()),
    }
}

/// The person of a row, from values that are canonical already.
fn person(row: &Value) -> Person {
    let person = &row["person"];
    Person {
        phone: person["phone"].as_str().map(|phone| Phone::parse(phone).unwrap()),
        document: person.get("document").map(|d| Document::parse(kind(d), text(d, "number")).unwrap()),
        name: person["name"].as_str().map(|name| Name::parse(name).unwrap()),
        other: person.get("other").map(|o| parse_other(family(o), text(o, "text")).unwrap()),
    }
}

#[test]
fn the_vectors_are_of_this_version() {
    let vectors = vectors();
    assert_eq!(text(&vectors, "version"), IDENTITY_VERSION);
    assert_eq!(text(&vectors, "unicode"), UNICODE_VERSION);
}

#[test]
fn every_input_has_the_canonical_form_of_the_vectors_and_that_form_parses_to_itself() {
    let vectors = vectors();
    for section in ["phone", "document", "name", "other"] {
        for row in rows(&vectors, section) {
            let expected = Ok(text(row, "canonical").to_owned());
            assert_eq!(canonical(section, row, text(row, "input")), expected, "{row}");
            assert_eq!(canonical(section, row, text(row, "canonical")), expected, "{row}");
        }
    }
}

#[test]
fn what_must_fail_fails_by_the_field_and_rule_of_the_vectors() {
    for row in rows(&vectors(), "refused") {
        let refused = canonical(text(row, "field"), row, text(row, "input"));
        let error = refused.expect_err(&row.to_string());
        assert_eq!(error.field(), text(row, "field"), "{row}");
        assert_eq!(error.rule(), text(row, "rule"), "{row}");
        assert!(error.to_string().starts_with(error.field()));
    }
}

#[test]
fn every_rule_is_broken_by_some_vector() {
    let vectors = vectors();
    let seen: std::collections::BTreeSet<&str> =
        rows(&vectors, "refused").iter().map(|row| text(row, "rule")).collect();
    assert_eq!(seen.len(), 18, "{seen:?}");
}

#[test]
fn every_family_encodes_to_the_bytes_of_the_vectors() {
    for row in rows(&vectors(), "encoding") {
        let encoded = family(row).encode(text(row, "data_set"), &person(row)).expect("all fields are there");
        assert_eq!(hex::encode(encoded.as_bytes()), text(row, "hex"), "{row}");
    }
}

#[test]
fn a_person_without_a_field_of_the_family_has_no_encoding() {
    for row in rows(&vectors(), "lacking") {
        assert!(family(row).encode("subscribers", &person(row)).is_none(), "{row}");
    }
}

#[test]
fn fields_that_a_family_does_not_use_do_not_change_its_encoding() {
    let mut person = Person { phone: Some(Phone::parse("13800138000").unwrap()), ..Person::default() };
    let before = Family::Phone.encode("subscribers", &person);
    person.name = Some(Name::parse("王小明").unwrap());
    assert_eq!(Family::Phone.encode("subscribers", &person), before);
    assert_ne!(Family::PhoneName.encode("subscribers", &person), before);
    assert_ne!(Family::Phone.encode("others", &person), before);
}

#[test]
fn every_single_digit_error_in_a_resident_number_is_found() {
    let number = "440524188001010014";
    for place in 0..number.len() {
        for digit in ('0'..='9').filter(|digit| !number[place..].starts_with(*digit)) {
            let wrong = format!("{}{digit}{}", &number[..place], &number[place + 1..]);
            assert!(Document::parse(DocumentKind::ResidentId, &wrong).is_err(), "{wrong}");
        }
    }
}

#[test]
fn family_bytes_are_one_to_ten_and_no_others() {
    for code in 0..=u8::MAX {
        let family = Family::try_from(code);
        match code {
            1..=10 => assert_eq!(family.unwrap().code(), code),
            _ => assert_eq!(family, Err(UnknownFamily { found: code })),
        }
    }
}

#[test]
fn debug_shows_nothing_of_a_person() {
    let person = Person {
        phone: Some(Phone::parse("13800138000").unwrap()),
        document: Some(Document::parse(DocumentKind::Passport, "E12345678").unwrap()),
        name: Some(Name::parse("王小明").unwrap()),
        other: Some(Other::account("6222021234567890123").unwrap()),
    };
    let shown = format!("{person:?} {:?}", Family::PhoneIdName.encode("subscribers", &person));
    for value in ["1380013", "123456", "王", "小", "明", "622202"] {
        assert!(!shown.contains(value), "{shown}");
    }
}
