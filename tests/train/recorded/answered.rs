//! What the bank received besides sums: contributions, parts and signed records.

use std::collections::HashMap;

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::IsIdentity as _;
use windvane_protocols::oprf::ELEMENT_BYTES;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::elgamal::{CIPHERTEXT_BYTES, EncodedCiphertext, Statistic};
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainReceipt};
use windvane_protocols::train::step::returned_digest;

use super::received::{HOUR_MS, step_hash};
use super::seen::{Answered, Asked, Seen};
use super::shown::total;
use super::truth::{Member, Told, Truth};

/// A member's answers about rows.
fn rows(seen: &[Seen], told: Told) -> &[u8] {
    let of = |seen: &Seen| match seen.asked {
        Asked::Contributions(block, _) => told == Told::Block(block),
        Asked::Parts(_) => told == Told::Parts,
        _ => false,
    };
    match seen.iter().find(|seen| of(seen)).map(|seen| &seen.answered) {
        Some(Answered::Ciphertexts(bytes)) => bytes,
        _ => &[],
    }
}

/// What is wrong with what all providers answered about rows: only all answers together decrypt, to the sum over all
/// providers of rows that the bank holds, and to 0 of decoys.
pub(super) fn told(truth: &Truth, told: Told, all: &HashMap<&str, &[Seen]>) -> Vec<String> {
    let sent: Vec<_> = truth.members.iter().map(|member| rows(all[member.name], told)).collect();
    let expected = truth.positions.len() * CIPHERTEXT_BYTES;
    if sent.iter().any(|bytes| bytes.len() != expected) {
        return vec![format!("{told}: not a ciphertext for every row")];
    }
    let mut findings = Vec::new();
    match total(truth, &sent) {
        Ok(values) => {
            let wrong = (0..values.len()).find(|row| values[*row] != truth.told(told, *row));
            findings.extend(wrong.map(|row| {
                let (kind, expected) = (truth.kinds[row], truth.told(told, row));
                format!("{told}: row {row}, {kind:?}, tells {} where {expected} is true", values[row])
            }));
        }
        Err(what) => findings.push(format!("{told}: {what}")),
    }
    findings.extend(fewer(truth, told, &sent));
    findings.extend(truth.members.iter().flat_map(|member| repeated(truth, told, member, all[member.name])));
    findings
}

/// Fewer than all answers tell nothing of any row.
fn fewer(truth: &Truth, told: Told, sent: &[&[u8]]) -> Vec<String> {
    let chosen = |set: usize| (0..sent.len()).filter(move |member| set >> member & 1 == 1);
    let tells = |set: &usize| {
        (0..truth.positions.len()).any(|row| {
            let at = row * CIPHERTEXT_BYTES..(row + 1) * CIPHERTEXT_BYTES;
            let sent: Vec<_> = chosen(*set).map(|member| &sent[member][at.clone()]).collect();
            total(truth, &sent).is_ok()
        })
    };
    let sets = (1..(1 << sent.len()) - 1).filter(tells);
    let named = |set: usize| {
        let names: Vec<_> = chosen(set).map(|member| truth.members[member].name).collect();
        format!("{told}: {} tell a row without the others", names.join(" and "))
    };
    sets.map(named).collect()
}

/// No mask lies on two numbers: differences of neighbouring rows, and from what was told of a row before, tell nothing.
fn repeated(truth: &Truth, told: Told, member: &Member, seen: &[Seen]) -> Vec<String> {
    let of = |told| -> &[EncodedCiphertext] { rows(seen, told).as_chunks().0 };
    let (name, here) = (member.name, of(told));
    let mut findings = Vec::new();
    if here.windows(2).any(|pair| difference_tells(truth, &pair[0], &pair[1])) {
        findings.push(format!("{name}: {told} has two rows under one mask"));
    }
    for before in truth.all_told().take_while(|before| *before != told) {
        if of(before).iter().zip(here).any(|(one, other)| difference_tells(truth, one, other)) {
            findings.push(format!("{name}: {before} and {told} share a mask"));
        }
    }
    findings
}

/// Whether the difference of two ciphertexts decrypts; what is none is found where all are added up.
fn difference_tells(truth: &Truth, one: &EncodedCiphertext, other: &EncodedCiphertext) -> bool {
    negated(other).is_some_and(|negated| total(truth, &[one, &negated]).is_ok())
}

fn negated(ciphertext: &EncodedCiphertext) -> Option<EncodedCiphertext> {
    let halves: &[[u8; ELEMENT_BYTES]] = ciphertext.as_chunks().0;
    let half =
        |half: &[u8; ELEMENT_BYTES]| Some((-CompressedRistretto(*half).decompress()?).compress().to_bytes());
    [half(&halves[0])?, half(&halves[1])?].concat().try_into().ok()
}

/// Whether a mask of one member of several lies on two of its sums.
pub(super) fn sums_repeat(truth: &Truth, seen: &[Seen]) -> bool {
    let sums = seen.iter().filter_map(|seen| match (&seen.asked, &seen.answered) {
        (Asked::Sum(..), Answered::Ciphertexts(bytes)) => Some(bytes),
        _ => None,
    });
    let all: Vec<&[EncodedCiphertext]> = sums.map(|bytes| bytes.as_chunks().0).collect();
    let neighbours = all.iter().flat_map(|sums| sums.windows(2).map(|pair| (&pair[0], &pair[1])));
    let later = all.windows(2).flat_map(|pair| pair[0].iter().zip(pair[1]));
    neighbours.chain(later).any(|(one, other)| difference_tells(truth, one, other))
}

/// What is wrong with a member's acceptance, digests and receipt: every field is what it must be, or a digest, a
/// commitment, a key or a time.
pub(super) fn records(truth: &Truth, member: &Member, seen: &[Seen]) -> Vec<String> {
    let mut findings = Vec::new();
    for call in seen {
        let what = match (&call.asked, &call.answered) {
            (Asked::Open(request), Answered::Accepted(accepted)) => {
                let signed = accepted.verify(&member.identity.key) && accepted.body().request == *request;
                accepts(truth, member, accepted.body()).or((!signed).then_some("the acceptance"))
            }
            (Asked::List(_), Answered::Kept(digest)) => (*digest != truth.charter.list).then_some("a digest"),
            (Asked::Statistic(statistic, _), Answered::Kept(digest)) => {
                (truth.upload(*statistic).is_none_or(|(.., kept)| kept != digest)).then_some("a digest")
            }
            (Asked::Finish(..), Answered::Receipt(receipt)) => {
                let signed = receipt.verify(&member.identity.key);
                receipts(truth, seen, receipt.body()).or((!signed).then_some("the receipt"))
            }
            (Asked::Begin(_) | Asked::Countersign(_), Answered::Nothing)
            | (Asked::Grow(..), Answered::Level(..))
            | (Asked::Sum(..) | Asked::Contributions(..) | Asked::Parts(_), Answered::Ciphertexts(_)) => None,
            _ => Some("an answer"),
        };
        findings.extend(what.map(|what| format!("{}: {what} is not what it must be", member.name)));
    }
    findings
}

fn accepts(truth: &Truth, member: &Member, acceptance: &TrainAcceptance) -> Option<&'static str> {
    let TrainAcceptance { request: _, announcement, bins, names, input: _, accepted_at_ms } = acceptance;
    let TrainAnnouncement { charter, party, schema, mask_key } = announcement.body();
    let alone = truth.unit(member.unit).count() == 1;
    let key = CompressedRistretto(*mask_key).decompress();
    let all = [
        (!announcement.verify(&member.identity.key), "the announcement"),
        (*charter != truth.charter.digest() || *party != member.party(), "the announcement"),
        ((*schema == [0; 64]) != alone, "the schema's digest"),
        (key.is_none_or(|key| key.is_identity()), "the mask's key"),
        (bins != member.binned.bins(), "the numbers of bins"),
        (*names != member.names, "the features' names"),
        (accepted_at_ms.abs_diff(truth.now_ms) > HOUR_MS, "the time"),
    ];
    all.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
}

fn receipts(truth: &Truth, seen: &[Seen], receipt: &TrainReceipt) -> Option<&'static str> {
    let TrainReceipt {
        acceptance,
        protocol,
        software: _,
        configuration: _,
        attempts,
        indicator,
        held_out,
        residuals,
        steps,
        contributions,
        card,
        trees: _,
        completed_at_ms,
        // Read as nothing, or not at all.
        witnessed_size: _,
        witnessed_root: _,
    } = receipt;
    let accepted = seen.iter().find_map(|seen| match &seen.answered {
        Answered::Accepted(acceptance) => Some(acceptance),
        _ => None,
    });
    let digest = |statistic| truth.upload(statistic).map(|(.., digest)| *digest);
    let blocks = 0..truth.charter.hyperparameters.blocks;
    let sent = blocks.clone().filter_map(|block| digest(Statistic::Residual { block }));
    let told = blocks.map(|block| returned_digest(&[], rows(seen, Told::Block(block))));
    let all = [
        (Some(acceptance) != accepted, "the acceptance in the receipt"),
        (protocol != PROTOCOL || *attempts != 1, "the receipt's protocol"),
        (Some(*indicator) != digest(Statistic::Indicator), "the indicator's digest"),
        (Some(*held_out) != digest(Statistic::HeldOut), "the held-out rows' digest"),
        (!residuals.iter().copied().eq(sent), "the residuals' digests"),
        (*steps != step_hash(seen), "the hash over all steps"),
        (!contributions.iter().copied().eq(told), "the contributions' digests"),
        (hex::encode(card) != truth.card, "the card"),
        (completed_at_ms.abs_diff(truth.now_ms) > HOUR_MS, "the time"),
    ];
    all.into_iter().find(|(wrong, _)| *wrong).map(|(_, what)| what)
}
