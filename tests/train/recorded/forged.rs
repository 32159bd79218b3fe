//! What the checks are worth: recordings that were forged, each in one place, and what is found in them.

use ed25519_dalek::SigningKey;
use prost::Message;
use windvane::train::sample::Kind;
use windvane_proto::train::v1 as wire;
use windvane_protocols::train::elgamal::{CIPHERTEXT_BYTES, Ciphertexts, Encryptor, Statistic};
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::transcript::Signed;

use super::truth::Told;
use super::{Calls, Recorded, providers, recorded, records, rows_of, trees};
use crate::recorder::Call;

mod parts;

/// A forgery, the check that is to find it, and what it says of it.
type Forgery = (fn(&Recorded, &mut Calls), fn(&Recorded, &Calls) -> Vec<String>, &'static str);

/// A row that is forged.
const ROW: usize = 700;

/// Everything that is wrong with the first block's rows.
fn contributions(recorded: &Recorded, calls: &Calls) -> Vec<String> {
    rows_of(Told::Block(0), recorded, calls)
}

fn call<'a>(calls: &'a mut Calls, name: &str, method: &str, time: usize) -> &'a mut Call {
    let named = |call: &&mut Call| call.path.ends_with(&format!("/{method}"));
    calls.get_mut(name).unwrap().iter_mut().filter(named).nth(time).unwrap()
}

fn edit<M: Message + Default>(message: &mut Vec<u8>, change: impl FnOnce(&mut M)) {
    let mut decoded = M::decode(message.as_slice()).unwrap();
    change(&mut decoded);
    *message = decoded.encode_to_vec();
}

/// Adds a field that no message has.
fn append(message: &mut Vec<u8>, bytes: &[u8]) {
    prost::encoding::bytes::encode(15, &bytes.to_vec(), message);
}

fn encrypted(recorded: &Recorded, values: &[i64]) -> Vec<u8> {
    let statistic = Statistic::Residual { block: 9 };
    let mut encryptor = Encryptor::new(&recorded.truth.key, statistic, values.len()).unwrap();
    encryptor.chunk(values, 2).unwrap().into_flattened()
}

/// An answer that decrypts by itself.
fn unmasked(recorded: &Recorded, values: &[i64]) -> Vec<u8> {
    Ciphertexts::decode(&encrypted(recorded, values), 2).unwrap().answers().into_flattened()
}

/// Changes the ciphertexts of an upload: of the list 0, of statistics 1 and more.
fn edit_upload(calls: &mut Calls, time: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let message = &mut call(calls, "carrier-a", "Upload", time).asked.messages[1];
    edit::<wire::UploadRequest>(message, |upload| {
        let Some(wire::upload_request::Body::Chunk(chunk)) = &mut upload.body else { panic!() };
        let mut bytes = chunk.to_vec();
        change(&mut bytes);
        *chunk = bytes.into();
    });
}

fn edit_rows(calls: &mut Calls, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let message = &mut call(calls, name, "Contributions", 0).answered.messages[0];
    edit::<wire::ContributionsResponse>(message, |answer| {
        let mut bytes = answer.rows.to_vec();
        change(&mut bytes);
        answer.rows = bytes.into();
    });
}

fn edit_sums(calls: &mut Calls, change: impl FnOnce(&mut Vec<u8>)) {
    let message = &mut call(calls, "carrier-a", "Sum", 0).answered.messages[0];
    edit::<wire::SumResponse>(message, |answer| {
        let mut bytes = answer.sums.to_vec();
        change(&mut bytes);
        answer.sums = bytes.into();
    });
}

/// Shows every bin of a root's first feature.
fn part_groups(calls: &mut Calls, name: &str) {
    let message = &mut call(calls, name, "Grow", 0).answered.messages[0];
    edit::<wire::GrowResponse>(message, |answer| {
        let Some(wire::grow_response::Body::Proposals(sent)) = &mut answer.body else { panic!() };
        let groups = &mut sent.pairs[0].groups[0];
        *groups = (0..=*groups.last().unwrap()).collect::<Vec<_>>().into();
    });
}

fn copy(bytes: &mut [u8], from: usize, to: usize) {
    let at = from * CIPHERTEXT_BYTES;
    bytes.copy_within(at..at + CIPHERTEXT_BYTES, to * CIPHERTEXT_BYTES);
}

fn sign<T: windvane_protocols::transcript::Record>(body: T) -> bytes::Bytes {
    Signed::sign(body, &SigningKey::from_bytes(&[7; 32])).as_bytes().to_vec().into()
}

fn signed<T: windvane_protocols::transcript::Record + Clone>(bytes: &[u8]) -> T {
    Signed::<T>::from_bytes_unverified(bytes.to_vec()).unwrap().body().clone()
}

/// What a bank could let a provider have.
const TO_PROVIDERS: [Forgery; 13] = [
    (
        |recorded, calls| {
            let (_, labels) = &recorded.clear.whole[0];
            append(&mut call(calls, "carrier-a", "Begin", 0).asked.messages[0], labels);
        },
        providers,
        "bytes that are no field",
    ),
    (
        |recorded, calls| {
            let (_, labels) = &recorded.clear.whole[0];
            append(&mut call(calls, "police", "Finish", 0).asked.messages[0], labels);
        },
        providers,
        "stands in clear",
    ),
    (
        |_, calls| {
            call(calls, "police", "Grow", 1).asked.headers.push(("x-rows".to_owned(), "101".to_owned()));
        },
        providers,
        "header x-rows",
    ),
    (
        |_, calls| call(calls, "police", "Finish", 0).path.push_str("More"),
        providers,
        "a call that nobody knows",
    ),
    (
        |recorded, calls| {
            edit_upload(calls, 1, |bytes| {
                for (row, bytes) in bytes.chunks_mut(CIPHERTEXT_BYTES).enumerate() {
                    bytes.fill(recorded.truth.indicator(row) as u8);
                }
            });
        },
        providers,
        "has what is no ciphertext",
    ),
    (|_, calls| edit_upload(calls, 3, |bytes| copy(bytes, ROW, ROW + 1)), providers, "repeats another"),
    (
        |recorded, calls| {
            let mut crafted = vec![0; recorded.truth.positions.len()];
            crafted[ROW] = 1;
            edit_upload(calls, 3, |bytes| *bytes = encrypted(recorded, &crafted));
        },
        providers,
        "an encrypted statistic is not what it must be",
    ),
    (
        |_, calls| {
            let mut answered = Vec::new();
            edit_rows(calls, "carrier-b", |bytes| answered.clone_from(bytes));
            edit_upload(calls, 3, |bytes| {
                bytes[..CIPHERTEXT_BYTES].copy_from_slice(&answered[..CIPHERTEXT_BYTES]);
            });
        },
        providers,
        "an element that a provider answered",
    ),
    (
        |_, calls| {
            let other = call(calls, "police", "Grow", 1).asked.messages[0].clone();
            let other = wire::GrowRequest::decode(other.as_slice()).unwrap();
            let message = &mut call(calls, "carrier-a", "Grow", 1).asked.messages[0];
            edit::<wire::GrowRequest>(message, |grow| grow.decisions.extend(other.decisions));
        },
        providers,
        "is due",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "carrier-b", "Sum", 0).asked.messages[0];
            edit::<wire::SumRequest>(message, |sum| {
                let groups = &mut sum.pairs[0].groups[0];
                *groups = groups.slice(1..);
            });
        },
        providers,
        "a boundary is not what it must be",
    ),
    (
        |_, calls| {
            let again = call(calls, "police", "Grow", 0).clone();
            calls.get_mut("police").unwrap().push(again);
        },
        providers,
        "is due",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "carrier-a", "Grow", 0).asked.messages[0];
            edit::<wire::GrowRequest>(message, |grow| {
                grow.place.as_mut().unwrap().session = vec![1; 16].into();
            });
        },
        providers,
        "of another session",
    ),
    (
        |recorded, calls| {
            let message = &mut call(calls, "carrier-a", "Open", 0).asked.messages[0];
            edit::<wire::OpenRequest>(message, |open| {
                let body: TrainRequest = signed(&open.request);
                open.request = sign(TrainRequest { seed: *recorded.truth.seed.expose(), ..body });
            });
        },
        providers,
        "the seed's commitment is not what it must be",
    ),
];

/// What providers could let the bank have.
const TO_THE_BANK: [Forgery; 11] = [
    (|_, calls| part_groups(calls, "police"), trees, "listed rows, fewer than 50"),
    (|_, calls| part_groups(calls, "carrier-b"), trees, "listed rows, fewer than 25"),
    (
        |recorded, calls| {
            edit_sums(calls, |bytes| {
                *bytes = unmasked(recorded, &vec![3; bytes.len() / CIPHERTEXT_BYTES]);
            });
        },
        trees,
        "a member's sums decrypt alone",
    ),
    (|_, calls| edit_sums(calls, |bytes| copy(bytes, 0, 1)), trees, "two sums under one mask"),
    (|_, calls| edit_sums(calls, |bytes| bytes.truncate(CIPHERTEXT_BYTES)), trees, "expected 1 ciphertexts"),
    (
        |recorded, calls| {
            edit_rows(calls, "police", |bytes| {
                bytes[ROW * CIPHERTEXT_BYTES..(ROW + 1) * CIPHERTEXT_BYTES]
                    .copy_from_slice(&unmasked(recorded, &[5]));
            });
        },
        contributions,
        "block 0: police tell a row without the others",
    ),
    (
        |recorded, calls| {
            // The answers about a real row where those about a decoy should be.
            let kinds = &recorded.truth.kinds;
            let decoy = (0..kinds.len()).find(|row| kinds[*row] == Kind::Decoy).unwrap();
            let added = |row: &usize| recorded.truth.members.iter().map(|m| m.values[0][*row]).sum::<i32>();
            let real = (0..kinds.len()).find(|row| kinds[*row] != Kind::Decoy && added(row) != 0).unwrap();
            for name in ["carrier-a", "carrier-b", "police"] {
                edit_rows(calls, name, |bytes| copy(bytes, real, decoy));
            }
        },
        contributions,
        "Decoy, tells",
    ),
    (
        |_, calls| edit_rows(calls, "carrier-a", |bytes| copy(bytes, ROW, ROW + 1)),
        contributions,
        "block 0 has two rows under one mask",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "police", "Open", 0).answered.messages[0];
            edit::<wire::OpenResponse>(message, |answer| {
                let body: TrainAcceptance = signed(&answer.acceptance);
                let names = body.bins.iter().map(|bins| format!("calls to {bins}")).collect();
                answer.acceptance = sign(TrainAcceptance { names, ..body });
            });
        },
        records,
        "the features' names is not what it must be",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "carrier-a", "Finish", 0).answered.messages[0];
            edit::<wire::FinishResponse>(message, |answer| {
                let body: TrainReceipt = signed(&answer.receipt);
                answer.receipt = sign(TrainReceipt { witnessed_root: vec![1, 0, 1], ..body });
            });
        },
        records,
        "the record's item witnessed root must be empty",
    ),
    (
        |_, calls| append(&mut call(calls, "police", "Grow", 2).answered.messages[0], &[3, 7, 1]),
        records,
        "bytes that are no field",
    ),
];

fn is_found((forge, check, what): &Forgery, recorded: &Recorded) {
    let mut calls = recorded.calls.clone();
    forge(recorded, &mut calls);
    let findings = check(recorded, &calls);
    assert!(findings.iter().any(|finding| finding.contains(what)), "{what}: {findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_must_not_see_is_found_in_a_forged_recording() {
    let recorded = recorded().await;
    TO_PROVIDERS.iter().chain(&parts::TO_PROVIDERS).for_each(|forgery| is_found(forgery, recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bank_must_not_see_is_found_in_a_forged_recording() {
    let recorded = recorded().await;
    TO_THE_BANK.iter().chain(&parts::TO_THE_BANK).for_each(|forgery| is_found(forgery, recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_secret_is_found_in_every_encoding() {
    let recorded = recorded().await;
    for (name, bytes) in &recorded.clear.whole {
        assert!(recorded.clear.search(&[&[0xa5; 7], bytes.as_slice()].concat()).is_some(), "{name}");
        // Half of it is enough.
        let part = &bytes[bytes.len() / 4..3 * bytes.len() / 4];
        assert!(recorded.clear.search(part).is_some(), "a part of {name}");
    }
}
