//! The people of the world, each made from its number alone.

use crate::date::Date;
use crate::document::{Document, DocumentKind, REGIONS, gb11643_number};
use crate::name::{latin_name, resident_name};
use crate::seed::{Purpose, Scatter, Seed};
use rand::{Rng, RngExt};

const SEQUENCES: u64 = 999;
const BIRTH_DAYS: u64 = 62 * 365;
const RESIDENT_IDS: u64 = SEQUENCES * REGIONS.len() as u64 * BIRTH_DAYS;
const PASSPORTS: u64 = 26 * 100_000_000;
const YOUNGEST_DAYS: i64 = 18 * 366;

/// A person's number in the world; stable for a seed and a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(pub u64);

/// Somebody who may hold numbers, have held one, or apply at the bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who it is.
    pub id: PersonId,
    /// The name in canonical form: no white space but single spaces in Latin names, the dot U+00B7.
    pub name: String,
    /// The document under which the person holds numbers; no two people share one.
    pub document: Document,
    /// The date of birth; 18 to 81 years before the data date.
    pub birth: Date,
}

/// Makes people: ages, documents without repetition, names.
#[derive(Clone, Debug)]
pub(crate) struct PersonMaker {
    seed: Seed,
    as_of: Date,
    resident_ids: Scatter,
    passports: Scatter,
}

impl PersonMaker {
    pub(crate) fn new(seed: &Seed, as_of: Date) -> Self {
        let mut rng = seed.stream(Purpose::Layout, 0);
        let mut scatter = |size: u64| Scatter::new(size, rng.random_range(0..size));
        let (resident_ids, passports) = (scatter(RESIDENT_IDS), scatter(PASSPORTS));
        Self { seed: seed.clone(), as_of, resident_ids, passports }
    }

    /// Person `id`, which is below 2.6 thousand million.
    pub(crate) fn person(&self, id: PersonId) -> Person {
        let mut rng = self.seed.stream(Purpose::Person, id.0);
        let (region, birth, sequence) = self.resident_parts(id);
        let foreign = rng.random_ratio(1, 32);
        let (name, document) = if foreign {
            let number = self.passport_number(id);
            (latin_name(&mut rng), Document { kind: DocumentKind::Passport, number })
        } else {
            let number = gb11643_number(region, birth, sequence);
            let name = resident_name(&mut rng, sequence % 2 == 0);
            (name, Document { kind: DocumentKind::ResidentId, number })
        };
        Person { id, name, document, birth }
    }

    /// The resident ID number reserved for person `id`, whether or not the person goes by it.
    pub(crate) fn resident_number(&self, id: PersonId) -> String {
        let (region, birth, sequence) = self.resident_parts(id);
        gb11643_number(region, birth, sequence)
    }

    fn resident_parts(&self, id: PersonId) -> (u32, Date, u16) {
        let code = self.resident_ids.map(id.0);
        let region = REGIONS[(code / SEQUENCES % REGIONS.len() as u64) as usize];
        let days = code / SEQUENCES / REGIONS.len() as u64;
        let birth = self.as_of.days_before(YOUNGEST_DAYS + days as i64);
        (region, birth, (code % SEQUENCES + 1) as u16)
    }

    fn passport_number(&self, id: PersonId) -> String {
        let code = self.passports.map(id.0);
        format!("{}{:08}", char::from(b'A' + (code / 100_000_000) as u8), code % 100_000_000)
    }
}

/// A simulated resident for data that has none: a name and a valid resident ID number, drawn from `rng`.
///
/// Two calls may give the same number (one in some thousand million); dates of birth lie in 1950–2005.
pub fn simulated_person(rng: &mut impl Rng) -> (String, String) {
    let sequence = rng.random_range(1..=SEQUENCES as u16);
    let last = Date::new(2005, 12, 31).expect("the last day of a year exists");
    let birth = last.days_before(rng.random_range(0..56 * 365));
    let region = REGIONS[rng.random_range(0..REGIONS.len())];
    (resident_name(rng, sequence % 2 == 0), gb11643_number(region, birth, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tests::is_valid_resident_id;
    use std::collections::HashSet;

    fn maker() -> PersonMaker {
        PersonMaker::new(&Seed::new(7), Date::new(2026, 11, 1).unwrap())
    }

    #[test]
    fn documents_are_valid_and_no_two_people_share_one() {
        let maker = maker();
        let people: Vec<Person> = (0..20_000).map(|id| maker.person(PersonId(id))).collect();
        let numbers: HashSet<&str> = people.iter().map(|person| person.document.number.as_str()).collect();
        assert_eq!(numbers.len(), people.len());
        for person in people.iter().filter(|person| person.document.kind == DocumentKind::ResidentId) {
            assert!(is_valid_resident_id(&person.document.number));
        }
    }

    #[test]
    fn names_cover_every_form() {
        let maker = maker();
        let names: Vec<String> = (0..5_000).map(|id| maker.person(PersonId(id)).name).collect();
        for wanted in ["·", "欧阳", "䶮", "𬭎", "é", "'"] {
            assert!(names.iter().any(|name| name.contains(wanted)), "no name with {wanted}");
        }
    }

    #[test]
    fn simulated_people_have_valid_numbers_and_a_stream_gives_the_same_ones() {
        let draw = || {
            let mut rng = Seed::new(3).stream(Purpose::Person, 0);
            (0..500).map(|_| simulated_person(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
        assert!(draw().iter().all(|(_, number)| is_valid_resident_id(number)));
    }
}
