//! The bank's applicants, and the truth about each.

use crate::class::{Class, class_for, quotas};
use crate::document::{Document, DocumentKind};
use crate::layout::Layout;
use crate::name::same_name;
use crate::noise;
use crate::numbering::CARRIERS;
use crate::party;
use crate::people::{Person, PersonId};
use crate::policy::{Colour, ExpectedResult, expected_colour};
use crate::seed::{Purpose, Scatter};
use crate::subscriber::{Subscriber, Tag};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use std::collections::BTreeMap;

/// A row of the bank's file, as it is written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// 申请号, the bank's ticket; unique.
    pub number: String,
    /// 授权编号, the customer's consent; unique.
    pub consent: String,
    /// 证件类型.
    pub document_kind: DocumentKind,
    /// 证件号码, perhaps with a lower-case x or full-width digits.
    pub document_number: String,
    /// 客户名称, perhaps with spaces or another middle dot.
    pub name: String,
    /// 手机号, perhaps with a country code, spaces or hyphens.
    pub phone: String,
}

/// What is true of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Why the applicant is in the file.
    pub class: Class,
    /// What a verification must find.
    pub result: ExpectedResult,
    /// The party id of the carrier at which the number stands, if it stands anywhere.
    pub carrier: Option<String>,
    /// The number's row there.
    pub row: Option<u64>,
    /// The number in canonical form: 11 digits.
    pub phone: String,
    /// The number's tags, in the order of [`Tag::ALL`].
    pub tags: Vec<Tag>,
    /// The colour that the default policy must give.
    pub colour: Colour,
    /// True if the number was ported.
    pub ported: bool,
    /// Who applies, where that is somebody in particular.
    pub person: Option<PersonId>,
}

/// Somebody who wants an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// What the bank's file says.
    pub application: Application,
    /// What is true.
    pub truth: Truth,
}

/// Makes all applicants, in the order of their application numbers; classes are mixed.
pub(crate) fn make(layout: &Layout) -> Vec<Applicant> {
    let quotas = quotas(layout.applicants as usize);
    let mut pools = fill_pools(layout, &quotas);
    let mut planned: Vec<(Class, Option<Subscriber>)> = Vec::with_capacity(layout.applicants as usize);
    for (class, count) in quotas {
        for nth in 0..count {
            let number = (0..CARRIERS)
                .map(|step| (class, (nth + step) % CARRIERS))
                .find_map(|key| pools.get_mut(&key)?.take(class, nth));
            planned.push((if number.is_some() { class } else { Class::Unknown }, number));
        }
    }
    planned.shuffle(&mut layout.seed.stream(Purpose::Shuffle, 0));
    let with_index = planned.into_iter().enumerate();
    with_index
        .map(|(index, (class, number))| applicant(layout, index as u64, class, number.as_ref()))
        .collect()
}

/// Numbers of one carrier that one class may use.
#[derive(Default)]
struct Pool {
    numbers: Vec<Subscriber>,
    taken: usize,
}

impl Pool {
    /// The next number; numbers repeat only after all were taken. One in ten is a ported one, one in ten
    /// a passport holder's, and of those for `WrongBoth` a quarter are recycled and a quarter a ring's,
    /// while there are any.
    fn take(&mut self, class: Class, nth: usize) -> Option<Subscriber> {
        let wanted = |number: &Subscriber| match (nth % 10, class, nth % 4) {
            (3, ..) => number.ported,
            (7, ..) => number.document.kind == DocumentKind::Passport,
            (_, Class::WrongBoth, 0) => number.former_holder.is_some(),
            (_, Class::WrongBoth, 1) => number.ring_fellow.is_some(),
            (_, Class::WrongBoth, _) => number.former_holder.or(number.ring_fellow).is_none(),
            _ => true,
        };
        let found = self.numbers[self.taken..].iter().position(wanted).unwrap_or(0);
        if self.numbers.is_empty() {
            return None;
        }
        self.numbers.swap(self.taken, self.taken + found);
        let number = self.numbers[self.taken].clone();
        self.taken = (self.taken + 1) % self.numbers.len();
        Some(number)
    }
}

type Pools = BTreeMap<(Class, usize), Pool>;

/// Visits blocks in a scattered order until every class has numbers enough of every carrier, or all were
/// visited.
fn fill_pools(layout: &Layout, quotas: &[(Class, usize)]) -> Pools {
    let mut pools = Pools::new();
    let limits: BTreeMap<Class, usize> = quotas.iter().copied().collect();
    let blocks = layout.block_count();
    let order = Scatter::new(blocks, layout.seed.stream(Purpose::Shuffle, 1).random());
    for nth in 0..blocks {
        for carrier in 0..CARRIERS {
            for number in layout.block_rows(carrier, order.map(nth)) {
                let key = Layout::row_key(carrier, number.row);
                let dice = layout.seed.stream(Purpose::Class, key).next_u64();
                let class = class_for(&number, dice, layout.as_of);
                let pool = pools.entry((class, carrier)).or_default();
                if pool.numbers.len() < limits[&class] * 2 {
                    pool.numbers.push(number);
                }
            }
        }
        if is_enough(&pools, quotas) {
            break;
        }
    }
    pools
}

fn is_enough(pools: &Pools, quotas: &[(Class, usize)]) -> bool {
    let wanted = quotas.iter().filter(|(class, _)| *class != Class::Unknown);
    wanted.into_iter().all(|(class, count)| {
        (0..CARRIERS)
            .all(|carrier| pools.get(&(*class, carrier)).map_or(0, |pool| pool.numbers.len()) >= *count)
    })
}

fn applicant(layout: &Layout, index: u64, class: Class, number: Option<&Subscriber>) -> Applicant {
    let mut rng = layout.seed.stream(Purpose::Applicant, index);
    let phone = match number {
        Some(number) => number.phone.clone(),
        None => layout.numbering.unused_number((index % CARRIERS as u64) as usize, index / CARRIERS as u64),
    };
    let (person, name, document) = claim(layout, &mut rng, index, class, number);
    let application = application(layout, index, &phone, &name, &document);
    let result = class.result();
    let truth = Truth {
        class,
        result,
        carrier: number.map(|number| party(number.carrier)),
        row: number.map(|number| number.row),
        phone,
        tags: number.map(|number| number.tags.clone()).unwrap_or_default(),
        colour: expected_colour(result, number, layout.as_of),
        ported: number.is_some_and(|number| number.ported),
        person,
    };
    Applicant { application, truth }
}

/// Who applies, where that is somebody in particular, and the name and document that they give. What is
/// to be wrong differs from the holder's.
fn claim(
    layout: &Layout,
    rng: &mut impl Rng,
    index: u64,
    class: Class,
    number: Option<&Subscriber>,
) -> (Option<PersonId>, String, Document) {
    let Some(number) = number else {
        let person = layout.outsider(index);
        return (Some(person.id), person.name, person.document);
    };
    match class {
        Class::WrongName => (None, wrong_name(layout, rng, number), number.document.clone()),
        Class::WrongId => (None, number.name.clone(), wrong_document(layout, rng, index, number)),
        Class::WrongBoth => {
            let person = user_of_anothers_number(layout, rng, number);
            (Some(person.id), person.name, person.document)
        }
        _ => (Some(number.holder), number.name.clone(), number.document.clone()),
    }
}

/// Half of them the holder's name with one other character at its end, half somebody else's name.
fn wrong_name(layout: &Layout, rng: &mut impl Rng, number: &Subscriber) -> String {
    let other = stranger(layout, rng, number).name;
    let last = other.chars().next_back();
    let mut slip = number.name.clone();
    slip.pop();
    slip.extend(last);
    let usable = last.is_some_and(|last| !last.is_ascii()) && !same_name(&slip, &number.name);
    if usable && rng.random_bool(0.5) { slip } else { other }
}

/// Somebody else's document, or another number with a check character that fits.
fn wrong_document(layout: &Layout, rng: &mut impl Rng, index: u64, number: &Subscriber) -> Document {
    if rng.random_bool(0.5) {
        return stranger(layout, rng, number).document;
    }
    let number = layout.people.resident_number(layout.outsider_id(layout.applicants + index));
    Document { kind: DocumentKind::ResidentId, number }
}

/// The former holder of a recycled number, a fellow of the holder's ring, or a stranger.
fn user_of_anothers_number(layout: &Layout, rng: &mut impl Rng, number: &Subscriber) -> Person {
    let known = number.former_holder.or(number.ring_fellow);
    let known = known.map(|id| layout.people.person(id));
    known
        .filter(|person| !same_name(&person.name, &number.name))
        .unwrap_or_else(|| stranger(layout, rng, number))
}

/// Somebody who holds a number somewhere and has neither the name nor the document of `number`'s holder.
fn stranger(layout: &Layout, rng: &mut impl Rng, number: &Subscriber) -> Person {
    for _ in 0..32 {
        let block = layout.block(rng.random_range(0..layout.block_count()));
        let holders: Vec<PersonId> = block.holders().collect();
        let person = layout.people.person(holders[rng.random_range(0..holders.len())]);
        if !same_name(&person.name, &number.name) && person.document != number.document {
            return person;
        }
    }
    let outsiders = (0..).map(|nth| layout.outsider(2 * layout.applicants + nth));
    let mut others = outsiders.filter(|person| !same_name(&person.name, &number.name));
    others.next().expect("names differ sooner or later")
}

fn application(layout: &Layout, index: u64, phone: &str, name: &str, document: &Document) -> Application {
    let mut rng = layout.seed.stream(Purpose::ApplicantNoise, index);
    let day = layout.as_of.to_string().replace('-', "");
    Application {
        number: format!("KH{day}{:07}", index + 1),
        consent: format!("SQ{day}{:07}", index + 1),
        document_kind: document.kind,
        document_number: noise::document(&mut rng, document),
        name: noise::name(&mut rng, name),
        phone: noise::phone(&mut rng, phone),
    }
}
