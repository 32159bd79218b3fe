//! Recordings that were forged where parts are asked for and told.

use curve25519_dalek::ristretto::CompressedRistretto;
use prost::Message as _;
use windvane::train::sample::Kind;
use windvane_proto::train::v1 as wire;
use windvane_protocols::oprf::ELEMENT_BYTES;
use windvane_protocols::train::charter::Charter;
use windvane_protocols::train::elgamal::CIPHERTEXT_BYTES;
use windvane_protocols::train::record::{TrainReceipt, TrainRequest};

use super::super::received::step_hash;
use super::super::seen::{Asked, seen};
use super::super::truth::Told;
use super::{Calls, Forgery, ROW, append, call, copy, edit, sign, signed, unmasked};
use super::{Recorded, providers, records, rows_of};

/// Everybody who tells parts.
const ALL: [&str; 3] = ["carrier-a", "carrier-b", "police"];

/// Everything that is wrong with what parts tell.
fn parts(recorded: &Recorded, calls: &Calls) -> Vec<String> {
    rows_of(Told::Parts, recorded, calls)
}

/// Changes what a provider was told of the scale.
fn edit_scale(calls: &mut Calls, name: &str, change: impl FnOnce(&mut wire::Scale)) {
    let message = &mut call(calls, name, "Parts", 0).asked.messages[0];
    edit::<wire::PartsRequest>(message, |request| change(request.scale.as_mut().unwrap()));
}

/// Changes what a provider told of a row.
fn edit_part(calls: &mut Calls, name: &str, row: usize, change: impl FnOnce(&mut [u8])) {
    edit_parts(calls, name, |bytes| change(&mut bytes[at(row)]));
}

fn edit_parts(calls: &mut Calls, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let message = &mut call(calls, name, "Parts", 0).answered.messages[0];
    edit::<wire::PartsResponse>(message, |answer| {
        let mut bytes = answer.rows.to_vec();
        change(&mut bytes);
        answer.rows = bytes.into();
    });
}

/// What a provider told of a row.
fn part(calls: &mut Calls, name: &str, row: usize) -> Vec<u8> {
    let message = &call(calls, name, "Parts", 0).answered.messages[0];
    wire::PartsResponse::decode(message.as_slice()).unwrap().rows[at(row)].to_vec()
}

const fn at(row: usize) -> std::ops::Range<usize> {
    row * CIPHERTEXT_BYTES..(row + 1) * CIPHERTEXT_BYTES
}

/// Adds one ciphertext to another.
fn add(to: &mut [u8], other: &[u8]) {
    let element = |bytes: &[u8]| CompressedRistretto::from_slice(bytes).unwrap().decompress().unwrap();
    for (to, other) in to.chunks_mut(ELEMENT_BYTES).zip(other.chunks(ELEMENT_BYTES)) {
        to.copy_from_slice(&(element(to) + element(other)).compress().to_bytes());
    }
}

fn first(recorded: &Recorded, kind: Kind) -> usize {
    recorded.truth.kinds.iter().position(|found| *found == kind).unwrap()
}

/// Where a provider was asked for parts.
fn asked_at(calls: &Calls, name: &str) -> usize {
    calls[name].iter().position(|call| call.path.ends_with("/Parts")).unwrap()
}

/// What a bank could let a provider have.
pub(super) const TO_PROVIDERS: [Forgery; 13] = [
    (
        |recorded, calls| edit_scale(calls, "carrier-a", |scale| *scale = recorded.truth.scales[1]),
        providers,
        "the unit's span is not what it must be",
    ),
    (
        |_, calls| ALL.iter().for_each(|name| edit_scale(calls, name, |scale| scale.widest *= 2)),
        providers,
        "the widest span is not what it must be",
    ),
    (
        |_, calls| edit_scale(calls, "police", |scale| scale.coarse = true),
        providers,
        "how fine parts are is not what it must be",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "police", "Finish", 0).asked.messages[0];
            edit::<wire::FinishRequest>(message, |finish| finish.scale.as_mut().unwrap().widest += 1);
        },
        providers,
        "the scale of the end is not what it must be",
    ),
    (
        |_, calls| {
            let at = asked_at(calls, "carrier-b");
            let again = calls["carrier-b"][at].clone();
            calls.get_mut("carrier-b").unwrap().insert(at, again);
        },
        providers,
        "asked Some(Parts) where Some(Finish) is due",
    ),
    (
        |_, calls| {
            let at = asked_at(calls, "carrier-b");
            calls.get_mut("carrier-b").unwrap().swap(at - 1, at);
        },
        providers,
        "asked Some(Parts) where Some(Contributions(1",
    ),
    (
        |_, calls| {
            let at = asked_at(calls, "police");
            calls.get_mut("police").unwrap().remove(at);
        },
        providers,
        "asked Some(Finish) where Some(Parts) is due",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "carrier-a", "Parts", 0).asked.messages[0];
            edit::<wire::PartsRequest>(message, |request| request.scale = None);
        },
        providers,
        "no scale",
    ),
    (
        |recorded, calls| {
            let (_, labels) = &recorded.clear.whole[0];
            append(&mut call(calls, "police", "Parts", 0).asked.messages[0], labels);
        },
        providers,
        "/Parts: bytes that are no field",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "carrier-a", "Parts", 0).asked.messages[0];
            edit::<wire::PartsRequest>(message, |request| request.session = vec![1; 16].into());
        },
        providers,
        "of another session",
    ),
    (
        |recorded, calls| {
            let mut secrets = recorded.clear.whole.iter();
            let (_, sums) = secrets.find(|(name, _)| name.starts_with("sums of parts, real rows")).unwrap();
            append(&mut call(calls, "carrier-b", "Finish", 0).asked.messages[0], sums);
        },
        providers,
        "sums of parts, real rows as i16, big-endian stands in clear",
    ),
    (
        // The last step that is hashed is this one.
        |_, calls| edit_parts(calls, "police", |bytes| copy(bytes, ROW, ROW + 1)),
        providers,
        "the hash over all steps is not what it must be",
    ),
    (
        |_, calls| {
            let message = &mut call(calls, "carrier-a", "Open", 0).asked.messages[0];
            edit::<wire::OpenRequest>(message, |open| {
                let body: TrainRequest = signed(&open.request);
                let charter = Charter { held_out: body.charter.held_out + 1, ..body.charter };
                open.request = sign(TrainRequest { charter, ..body });
            });
        },
        providers,
        "the charter is not what it must be",
    ),
];

/// What providers could let the bank have.
pub(super) const TO_THE_BANK: [Forgery; 13] = [
    (
        |recorded, calls| {
            edit_part(calls, "police", ROW, |part| part.copy_from_slice(&unmasked(recorded, &[5])));
        },
        parts,
        "parts: police tell a row without the others",
    ),
    (
        |_, calls| {
            let third = part(calls, "police", ROW);
            edit_part(calls, "carrier-a", ROW, |part| add(part, &third));
        },
        parts,
        "parts: carrier-a and carrier-b tell a row without the others",
    ),
    (
        |recorded, calls| {
            let real = first(recorded, Kind::Training(true));
            assert_ne!(recorded.truth.told(Told::Parts, real), 0);
            let decoy = first(recorded, Kind::Decoy);
            ALL.iter().for_each(|name| edit_parts(calls, name, |bytes| copy(bytes, real, decoy)));
        },
        parts,
        "Decoy, tells",
    ),
    (
        |recorded, calls| {
            let row = first(recorded, Kind::Training(false));
            edit_part(calls, "carrier-a", row, |part| add(part, &unmasked(recorded, &[1])));
        },
        parts,
        "Training(false), tells",
    ),
    (
        |recorded, calls| {
            let row = first(recorded, Kind::HeldOut(false));
            edit_part(calls, "police", row, |part| add(part, &unmasked(recorded, &[-1])));
        },
        parts,
        "HeldOut(false), tells",
    ),
    (
        |_, calls| edit_parts(calls, "carrier-a", |bytes| copy(bytes, ROW, ROW + 1)),
        parts,
        "carrier-a: parts has two rows under one mask",
    ),
    (
        // Another number than it was, freshly encrypted, under the mask of the first block.
        |recorded, calls| {
            let message = &call(calls, "carrier-b", "Contributions", 0).answered.messages[0];
            let mut masked =
                wire::ContributionsResponse::decode(message.as_slice()).unwrap().rows[at(ROW)].to_vec();
            add(&mut masked, &unmasked(recorded, &[7]));
            edit_part(calls, "carrier-b", ROW, |part| part.copy_from_slice(&masked));
        },
        parts,
        "carrier-b: block 0 and parts share a mask",
    ),
    (
        |_, calls| edit_parts(calls, "police", |bytes| bytes.truncate(ROW * CIPHERTEXT_BYTES)),
        parts,
        "parts: not a ciphertext for every row",
    ),
    (
        |_, calls| edit_part(calls, "carrier-b", ROW, |part| part.fill(0xff)),
        parts,
        "parts: ciphertext 700 is not a canonical encoding",
    ),
    (
        |_, calls| {
            let messages = &mut call(calls, "carrier-a", "Parts", 0).answered.messages;
            let rows = wire::PartsResponse::decode(messages[0].as_slice()).unwrap().rows;
            let halves = [rows.slice(..ROW * CIPHERTEXT_BYTES), rows.slice(ROW * CIPHERTEXT_BYTES..)];
            *messages = halves.map(|rows| wire::PartsResponse { rows }.encode_to_vec()).to_vec();
        },
        parts,
        "/Parts: chunks of other sizes than they have",
    ),
    (
        |_, calls| append(&mut call(calls, "carrier-b", "Parts", 0).answered.messages[0], &[3, 7, 1]),
        records,
        "/Parts: bytes that are no field",
    ),
    (
        // A receipt that leaves out the last step.
        |_, calls| {
            let (mut seen, _) = seen(&calls["police"]);
            seen.retain(|seen| !matches!(seen.asked, Asked::Parts(_)));
            let message = &mut call(calls, "police", "Finish", 0).answered.messages[0];
            edit::<wire::FinishResponse>(message, |answer| {
                let body: TrainReceipt = signed(&answer.receipt);
                answer.receipt = sign(TrainReceipt { steps: step_hash(&seen), ..body });
            });
        },
        records,
        "police: the hash over all steps is not what it must be",
    ),
    (
        |_, calls| {
            let header = ("x-parts".to_owned(), "9,9,0".to_owned());
            call(calls, "police", "Parts", 0).answered.headers.push(header);
        },
        records,
        "/Parts: header x-parts",
    ),
];
