//! A whole session between the two sides, honest and not.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::client::{Answer, AnswerError, AwaitAnswer, Customer, LookupTerms, Question, Terms, ask};
use super::manifest::{Manifest, Publication};
use super::provider::{Circumstances, Due, EpochKeys, QuestionError, evaluate_each};
use super::request::Request;
use super::row::RowKeys;
use super::schema::Schema;
use super::*;
use crate::audit::grant::GrantId;
use crate::audit::receipt::Receipt;
use crate::identity::{Document, DocumentKind, IDENTITY_VERSION, Name, Person, Phone};
use crate::oprf::{Context, Elements, PrivateKey};
use crate::party::{PartyId, SessionId};
use crate::secret::Secret;
use crate::transcript::{Record as _, Signed, TranscriptError};

const NOW: u64 = 1_767_225_600_000;
const FAMILIES: [Family; 4] = [Family::Phone, Family::PhoneId, Family::PhoneName, Family::PhoneIdName];

struct World {
    rng: ChaCha20Rng,
    bank: SigningKey,
    carrier: SigningKey,
    keys: EpochKeys,
    manifest: Manifest,
}

fn world() -> World {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let keys: EpochKeys = [KeyGroup::Attribute, KeyGroup::Match]
        .map(|group| (group, PrivateKey::random(&mut rng)))
        .into_iter()
        .collect();
    let schema = "name = 's'\nversion = 1\nlabel_bytes = 14\n[[field]]\nname = 'a'\nkind = 'code'\nbits = 8";
    let manifest = Manifest {
        provider: "carrier-a".parse().unwrap(),
        data_set: "subscribers".parse().unwrap(),
        epoch: 3,
        identity_version: IDENTITY_VERSION.into(),
        schema: Schema::parse(schema).unwrap(),
        families: FAMILIES.to_vec(),
        keys: keys.iter().map(|(group, key)| (*group, key.public().clone())).collect(),
        publications: vec![Publication { id: [4; 16], rows: 0, pages: 0, root: [0; 32] }],
        rejected: 0,
        built_at_ms: NOW,
        published_at_ms: NOW,
        not_after_ms: NOW + 1,
    };
    World { bank: key(&mut rng), carrier: key(&mut rng), rng, keys, manifest }
}

fn key(rng: &mut ChaCha20Rng) -> SigningKey {
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    SigningKey::from_bytes(&seed)
}

fn person(phone: &str, name: Option<&str>) -> Person {
    Person {
        phone: Some(Phone::parse(phone).unwrap()),
        document: Some(Document::parse(DocumentKind::ResidentId, "11010519491231002X").unwrap()),
        name: name.map(|name| Name::parse(name).unwrap()),
        ..Person::default()
    }
}

fn question(w: &mut World, persons: &[Person]) -> (AwaitAnswer, Question) {
    let customers: Vec<_> =
        persons.iter().map(|person| Customer { person, ticket: b"t-1", consent: b"c-1" }).collect();
    let requester: PartyId = "bank".parse().unwrap();
    let terms = Terms {
        requester: &requester,
        grant: GrantId::from_bytes([1; 16]),
        purpose: "account_opening",
        provider: &w.manifest.provider,
        lookup: Some(LookupTerms { manifest: &w.manifest, families: &FAMILIES }),
        score: None,
        session: SessionId::dated(NOW, &mut w.rng),
        seed: &Secret::new([5; 32]),
    };
    ask(&[terms], &customers, NOW, &w.bank, &mut w.rng).pop().unwrap().unwrap()
}

fn answer(w: &mut World, question: Question) -> Answer {
    let checked = question.check(&w.bank.verifying_key(), NOW + 10, 1_000).unwrap();
    let circumstances =
        Circumstances { software: [1; 64], configuration: [2; 64], received_at_ms: NOW, answered_at_ms: NOW };
    checked.evaluate(&w.keys, Err("NONE"), &mut w.rng).unwrap().sign(circumstances, &w.carrier)
}

/// What a provider's build derives for a person and family.
fn built(w: &World, family: Family, person: &Person) -> RowKeys {
    let input = family.encode("subscribers", person).unwrap();
    let output = w.keys[&KeyGroup::of(family)].evaluate(&Context::LOOKUP, &[input.as_bytes()]).remove(0);
    RowKeys::new(&w.manifest.table(), &output)
}

#[test]
fn the_bank_finds_where_the_provider_put() {
    let mut w = world();
    let persons = [person("13812345678", Some("张三")), person("13912345678", None)];
    let (wait, question) = question(&mut w, &persons);
    let answer = answer(&mut w, question);
    let opened = wait.on_answer(answer, &w.carrier.verifying_key()).unwrap();
    let families = |i: usize| opened.customers[i].iter().map(|(f, _)| *f).collect::<Vec<_>>();
    assert_eq!(families(0), FAMILIES);
    assert_eq!(families(1), [Family::Phone, Family::PhoneId]);
    for (person, rows) in persons.iter().zip(&opened.customers) {
        for (family, keys) in rows {
            assert_eq!(keys.locator(), built(&w, *family, person).locator());
        }
    }
    assert_eq!(opened.receipt.body().elements, [(KeyGroup::Attribute, 2), (KeyGroup::Match, 6)]);
}

#[test]
fn an_absent_field_does_not_change_the_shape_of_a_question() {
    let mut w = world();
    let shape = |q: &Question| {
        (q.request.as_bytes().len(), q.groups.iter().map(|g| g.elements.len()).collect::<Vec<_>>())
    };
    let (_, full) = question(&mut w, &[person("13812345678", Some("张三"))]);
    let (_, partial) = question(&mut w, &[person("13912345678", None)]);
    assert_eq!(shape(&full), shape(&partial));
}

fn dishonest(change: impl FnOnce(&mut World, &mut Answer)) -> Option<AnswerError> {
    let mut w = world();
    let (wait, question) = question(&mut w, &[person("13812345678", Some("张三"))]);
    let carrier = w.carrier.verifying_key();
    let mut answer = answer(&mut w, question);
    change(&mut w, &mut answer);
    wait.on_answer(answer, &carrier).err()
}

fn repeat_first(answer: &mut Answer) {
    let elements = &mut answer.groups[0].elements;
    *elements = elements.gather(&[0, 0]);
}

fn swap_first_two(elements: &mut Elements) {
    *elements = elements.gather(&[1, 0, 2]);
}

/// Signs what was changed, so that only the change itself can be found.
fn resign(w: &World, answer: &mut Answer) {
    let mut receipt = answer.receipt.body().clone();
    receipt.transcript = request::digest_answer(&receipt.request.digest(), &answer.groups, None);
    receipt.elements = answer.groups.iter().map(|g| (g.group, g.elements.len() as u64)).collect();
    answer.receipt = Signed::sign(receipt, &w.carrier);
}

#[test]
fn a_receipt_brings_nothing_that_nobody_witnessed() {
    let mut w = world();
    let (_, question) = question(&mut w, &[person("13812345678", None)]);
    let receipt = answer(&mut w, question).receipt.body().clone();
    let read = |receipt: Receipt| Receipt::decode(receipt.encode().as_bytes());
    assert_eq!(read(receipt.clone()), Ok(receipt.clone()));
    let form = |label, expected| Err(TranscriptError::Form { label, expected });
    let size = Receipt { witnessed_size: 1, ..receipt.clone() };
    assert_eq!(read(size), form("witnessed size", "0 until witnessing exists"));
    let root = Receipt { witnessed_root: b"of the provider's choice".repeat(1_000), ..receipt };
    assert_eq!(read(root), form("witnessed root", "empty until witnessing exists"));
}

#[test]
fn every_dishonest_answer_has_its_own_error() {
    assert_eq!(dishonest(|_, _| ()), None);
    let receipt = dishonest(|_, a| repeat_first(a));
    assert_eq!(receipt, Some(AnswerError::ReceiptInvalid));
    let shape = dishonest(|w, a| {
        repeat_first(a);
        resign(w, a);
    });
    assert_eq!(shape, Some(AnswerError::Shape));
    let key = dishonest(|w, a| {
        a.groups[0].key = a.groups[1].key;
        resign(w, a);
    });
    assert_eq!(key, Some(AnswerError::KeyMismatch));
    let proof = dishonest(|w, a| {
        swap_first_two(&mut a.groups[1].elements);
        resign(w, a);
    });
    assert_eq!(proof, Some(AnswerError::ProofInvalid));
    let signer = dishonest(|w, a| {
        w.carrier = w.bank.clone();
        resign(w, a);
    });
    assert_eq!(signer, Some(AnswerError::ReceiptInvalid));
}

#[test]
fn every_malformed_question_has_its_own_error() {
    let mut w = world();
    let bank = w.bank.verifying_key();
    let fresh = |w: &mut World| question(w, &[person("13812345678", Some("张三"))]).1;
    assert!(fresh(&mut w).check(&bank, NOW, 0).is_ok());
    let other = w.carrier.verifying_key();
    assert_eq!(fresh(&mut w).check(&other, NOW, 0).err(), Some(QuestionError::Signature));
    let mut swapped = fresh(&mut w);
    swap_first_two(&mut swapped.groups[1].elements);
    assert_eq!(swapped.check(&bank, NOW, 0).err(), Some(QuestionError::Elements));
    let mut short = fresh(&mut w);
    short.groups.pop();
    assert_eq!(short.check(&bank, NOW, 0).err(), Some(QuestionError::Elements));
    let mut redated = fresh(&mut w);
    let later = Request { requested_at_ms: NOW + 1, ..redated.request.body().clone() };
    redated.request = Signed::sign(later, &w.bank);
    assert_eq!(redated.check(&bank, NOW, 10).err(), Some(QuestionError::SessionDate));
    let late = fresh(&mut w).check(&bank, NOW + 11, 10).err();
    assert_eq!(late, Some(QuestionError::Clock { off_ms: 11, tolerance_ms: 10 }));
    let no_keys =
        fresh(&mut w).check(&bank, NOW, 0).unwrap().evaluate(&BTreeMap::new(), Err("NONE"), &mut w.rng).err();
    assert_eq!(no_keys, Some(QuestionError::NoKey));
}

#[test]
fn sessions_that_are_evaluated_together_get_their_own_answers_and_their_own_errors() {
    let mut w = world();
    let (bank, carrier) = (w.bank.verifying_key(), w.carrier.verifying_key());
    let names = ["张三", "李四", "王五"];
    let asked = names.map(|name| question(&mut w, &[person("13812345678", Some(name))]));
    let (waiting, questions): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let none = EpochKeys::new();
    let due = questions.into_iter().zip([&w.keys, &none, &w.keys]).map(|(question, keys)| {
        let checked = question.check(&bank, NOW, 0).unwrap();
        Due { checked, keys, member: Err("NONE") }
    });
    let evaluated = evaluate_each(due.collect(), &mut w.rng);
    let circumstances =
        Circumstances { software: [1; 64], configuration: [2; 64], received_at_ms: NOW, answered_at_ms: NOW };
    for ((wait, evaluated), name) in waiting.into_iter().zip(evaluated).zip(names) {
        if name == names[1] {
            assert_eq!(evaluated.err(), Some(QuestionError::NoKey));
            continue;
        }
        let answer = evaluated.unwrap().sign(circumstances, &w.carrier);
        let opened = wait.on_answer(answer, &carrier).unwrap();
        let asked = person("13812345678", Some(name));
        for (family, keys) in &opened.customers[0] {
            assert_eq!(keys.locator(), built(&w, *family, &asked).locator(), "{name} {family:?}");
        }
    }
    assert!(evaluate_each(Vec::new(), &mut w.rng).is_empty());
}

#[test]
fn a_manifest_does_not_end_before_it_was_published_and_hours_that_were_begun_count() {
    let hours = |published_at_ms, not_after_ms| {
        let manifest = Manifest { published_at_ms, not_after_ms, ..world().manifest };
        Manifest::decode(manifest.encode().as_bytes()).map(|read| read.hours())
    };
    assert_eq!((hours(NOW, NOW), hours(NOW, NOW + 1), hours(0, 7_200_000)), (Ok(0), Ok(1), Ok(2)));
    let label = "not after";
    assert!(matches!(hours(NOW, NOW - 1), Err(TranscriptError::Form { label: found, .. }) if found == label));
}

#[test]
fn a_manifest_survives_its_encoding_and_needs_a_key_for_every_group() {
    let mut manifest = world().manifest;
    assert_eq!(Manifest::decode(manifest.encode().as_bytes()), Ok(manifest.clone()));
    manifest.keys.pop();
    assert!(Manifest::decode(manifest.encode().as_bytes()).is_err());
}
