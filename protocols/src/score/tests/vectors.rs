//! `vectors/score-v1.json`, which was made apart from this crate: every encoding and every element of a setup, a
//! table and a call.

use std::collections::VecDeque;
use std::convert::Infallible;

use ed25519_dalek::SigningKey;
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;

use super::world::unzip;
use crate::identity::{IDENTITY_VERSION, Phone};
use crate::score::calibration::Calibration;
use crate::score::epoch::Member;
use crate::score::group::{Charter, GroupTerms, Identity, Sharing};
use crate::score::query::ask_positions;
use crate::score::shares::announce;
use crate::score::table::sum;
use crate::score::universe::Universe;
use crate::transcript::{Record as _, Signed};

/// Gives what it was given, and nothing more.
struct Script(VecDeque<u8>);

impl Script {
    /// Scalars of 32 bytes, each drawn as 64.
    fn scalars<'a>(values: impl IntoIterator<Item = &'a Value>) -> Self {
        let wide = |value| [bytes(value), vec![0; 32]].concat();
        Self(values.into_iter().flat_map(wide).collect())
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("the protocol draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("the protocol draws bytes")
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        target.iter_mut().for_each(|byte| *byte = self.0.pop_front().expect("the script is long enough"));
        Ok(())
    }
}

impl TryCryptoRng for Script {}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/score-v1.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn numbers(value: &Value) -> Vec<u64> {
    list(value).iter().map(|number| number.as_u64().unwrap()).collect()
}

fn keys(vectors: &Value) -> Vec<SigningKey> {
    list(&vectors["group"]["keys"]).iter().map(|seed| SigningKey::from_bytes(&array(seed))).collect()
}

fn universe(vectors: &Value) -> Universe {
    let universe = &vectors["universe"];
    let segments = list(&universe["segments"]).iter().map(|s| s.as_str().unwrap().parse().unwrap());
    let publisher = universe["publisher"].as_str().unwrap().parse().unwrap();
    Universe::new(publisher, universe["version"].as_u64().unwrap(), segments.collect()).unwrap()
}

fn charter(vectors: &Value) -> Charter {
    let group = &vectors["group"];
    let identity = |name: &Value, key: &SigningKey| Identity {
        party: name.as_str().unwrap().parse().unwrap(),
        key: key.verifying_key(),
    };
    let parties = list(&group["parties"]);
    let terms = GroupTerms {
        group: group["name"].as_str().unwrap().parse().unwrap(),
        requester: identity(&"bank".into(), &SigningKey::from_bytes(&array(&group["bank"]))),
        providers: parties.iter().zip(&keys(vectors)).map(|(name, key)| identity(name, key)).collect(),
        sharing: Sharing::Threshold(group["threshold"].as_u64().unwrap() as usize),
        universe: *universe(vectors).digest(),
        identity_version: IDENTITY_VERSION.to_owned(),
        model: array(&group["model"]),
        epoch: group["epoch"].as_u64().unwrap(),
    };
    let pins = terms.identities().map(|identity| (identity.party.clone(), identity.fingerprint())).collect();
    Charter::accept(terms, &pins).unwrap()
}

/// The setup, message by message.
fn members(vectors: &Value) -> Vec<Member> {
    let (charter, keys, setup) = (charter(vectors), keys(vectors), list(&vectors["setup"]));
    let expect = |sent: &[u8], i: usize, what: &str| assert_eq!(sent, bytes(&setup[i][what]), "{what} {i}");
    let names = charter.providers().iter().map(|identity| &identity.party);
    let begin = |((name, key), own): ((_, &SigningKey), &Value)| {
        announce(charter.clone(), name, key, &mut Script::scalars([&own["sealing"]])).unwrap()
    };
    let (states, announcements) = unzip(names.zip(&keys).zip(setup).map(begin).collect());
    announcements.iter().enumerate().for_each(|(i, m)| expect(m.as_bytes(), i, "announcement"));

    let deal = |((state, key), own): ((super::super::shares::AwaitAnnouncements, _), &Value)| {
        let script = &mut Script::scalars(list(&own["dealing_scalars"]));
        state.on_announcements(&announcements, key, script).unwrap()
    };
    let (states, dealings) = unzip(states.into_iter().zip(&keys).zip(setup).map(deal).collect());
    dealings.iter().enumerate().for_each(|(i, m)| expect(m.as_bytes(), i, "dealing"));

    let steps = states.into_iter().zip(&keys).map(|(state, key)| state.on_dealings(&dealings, key).unwrap());
    let (states, mut confirmations) = unzip(steps.collect());
    confirmations.iter().enumerate().for_each(|(i, m)| expect(m.as_bytes(), i, "confirmation"));
    for (i, state) in states.iter().enumerate() {
        assert_eq!(state.sharing().transcript()[..], bytes(&vectors["transcript"]));
        expect(state.keys().to_bytes().expose(), i, "keys");
    }
    confirmations.push(Signed::from_bytes_unverified(bytes(&vectors["bank_confirmation"])).unwrap());
    states.into_iter().map(|state| state.on_confirmations(&confirmations).unwrap()).collect()
}

#[test]
fn a_universe_has_the_vectors_encoding_digest_and_positions() {
    let vectors = vectors();
    let (universe, expected) = (universe(&vectors), &vectors["universe"]);
    assert_eq!(universe.encode().as_bytes(), bytes(&expected["encoding"]));
    assert_eq!(universe.digest()[..], bytes(&expected["digest"]));
    for pair in list(&expected["positions"]) {
        let phone = Phone::parse(pair[0].as_str().unwrap()).unwrap();
        assert_eq!(universe.position(&phone), pair[1].as_u64());
    }
}

#[test]
fn a_setup_has_the_vectors_messages_keys_and_context() {
    let vectors = vectors();
    let charter = charter(&vectors);
    assert_eq!(charter.terms().encode().as_bytes(), bytes(&vectors["group"]["encoding"]));
    assert_eq!(&GroupTerms::decode(&bytes(&vectors["group"]["encoding"])).unwrap(), charter.terms());
    let members = members(&vectors);
    let epoch = members[0].epoch();
    assert_eq!(epoch.context()[..], bytes(&vectors["context"]));
    assert_eq!(epoch.joint_key().as_bytes()[..], bytes(&vectors["joint_key"]));
    for (i, own) in list(&vectors["setup"]).iter().enumerate() {
        assert_eq!(epoch.share_key(i).unwrap().as_bytes()[..], bytes(&own["share_key"]));
    }
}

#[test]
fn tables_have_the_vectors_rows_and_sums() {
    let vectors = vectors();
    let (members, table) = (members(&vectors), &vectors["table"]);
    let first = table["first"].as_u64().unwrap();
    let rows: Vec<_> =
        list(&table["rows"]).iter().map(|rows| list(rows).iter().map(array).collect::<Vec<_>>()).collect();
    for ((member, parts), rows) in members.iter().zip(list(&table["parts"])).zip(&rows) {
        let parts: Vec<_> = numbers(parts).into_iter().map(|part| part as u8).collect();
        assert_eq!(&member.sealer().unwrap().rows(first, &parts), rows);
    }
    let stretches: Vec<_> = rows.iter().map(|rows| rows.as_flattened()).collect();
    let sums: Vec<_> = list(&table["sum"]).iter().map(array).collect();
    assert_eq!(sum::add(members[0].epoch(), &stretches).unwrap(), sums);
}

#[test]
fn a_call_has_the_vectors_elements_proofs_digests_and_sums() {
    let vectors = vectors();
    let (members, call) = (members(&vectors), &vectors["call"]);
    let positions: Vec<_> = list(&call["positions"]).iter().map(Value::as_u64).collect();
    let mut script = Script::scalars(list(&call["blinds"]));
    script.0.extend(bytes(&call["absent"]));
    let (state, question) = ask_positions(members[0].epoch(), positions, &mut script).unwrap();
    assert_eq!(question.elements.as_bytes(), bytes(&call["elements"]));
    assert_eq!(question.digest()[..], bytes(&call["digest"]));
    let mut answers = Vec::new();
    for expected in list(&call["answers"]) {
        let member = &members[expected["provider"].as_u64().unwrap() as usize];
        let answer = member.answer(&question, &mut Script::scalars([&expected["nonce"]])).unwrap();
        assert_eq!(answer.elements.as_bytes(), bytes(&expected["elements"]));
        assert_eq!(answer.proof.to_bytes()[..], bytes(&expected["proof"]));
        assert_eq!(answer.digest(&array(&call["request"]))[..], bytes(&expected["digest"]));
        answers.push(answer);
    }
    let unblinded = state.on_answers(&answers).unwrap();
    let first = vectors["table"]["first"].as_u64().unwrap();
    let row = |u: &u64| array(&vectors["table"]["sum"][(u - first) as usize]);
    let rows: Vec<_> = unblinded.positions().iter().flatten().map(row).collect();
    let sums = unblinded.open(&rows).into_iter().map(|sum| sum.map(|sum| u64::from(sum.unwrap())));
    assert!(sums.eq(list(&call["sums"]).iter().map(Value::as_u64)));
}

#[test]
fn a_calibration_has_the_vectors_encoding_and_probabilities() {
    let vectors = vectors();
    let calibration = Calibration::decode(&bytes(&vectors["calibration"]["encoding"])).unwrap();
    for pair in list(&vectors["calibration"]["probabilities"]) {
        let pair = numbers(pair);
        assert_eq!(u64::from(calibration.probability(pair[0] as u16)), pair[1], "{pair:?}");
    }
}
