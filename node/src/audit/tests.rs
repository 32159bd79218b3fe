//! Real logs of a bank and two carriers, untouched and tampered with in every single way.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use windvane_protocols::audit::entry::Decided;
use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::audit::receipt::Receipt;
use windvane_protocols::party::SessionId;
use windvane_protocols::transcript::{Record, Signed};

use super::*;
use crate::evidence::verify::code as files;

mod differences;
mod intersection;
mod training;
mod trust;
mod world;

use world::{A, B, BANK, NOW_MS, World};

const STRANGER: [u8; 32] = [0x5a; 32];

fn check(world: &World, party: usize) -> AuditReport {
    verify(&world.seal(party), &VerifyOptions::default())
}

fn codes(report: &AuditReport) -> BTreeSet<&'static str> {
    report.findings.iter().map(|finding| finding.code).collect()
}

fn set<const N: usize>(codes: [&'static str; N]) -> BTreeSet<&'static str> {
    codes.into()
}

/// The same record with one bit of its signature changed.
fn unsigned<T: Record>(signed: &Signed<T>) -> Signed<T> {
    let mut bytes = signed.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Signed::from_bytes_unverified(bytes).unwrap()
}

/// Codes after `change` has replaced the first entry of a kind in a party's log.
fn tampered(party: usize, kind: &str, change: impl Fn(&World, &mut Event)) -> BTreeSet<&'static str> {
    let mut world = World::usual();
    let index = world.parties[party].first(kind);
    let mut event = world.parties[party].entries[index].event.clone();
    change(&world, &mut event);
    world.parties[party].entries[index].event = event;
    let report = check(&world, party);
    assert!(report.findings.iter().any(|finding| finding.entry == Some(index as u64)), "{report}");
    codes(&report)
}

/// Changes a receipt and signs it anew with the provider's own key.
fn edit_receipt(world: &World, event: &mut Event, change: impl Fn(&mut Receipt)) {
    let Event::Answered(signed) = event else { panic!("not a receipt") };
    let mut receipt = signed.body().clone();
    change(&mut receipt);
    **signed = Signed::sign(receipt, world.parties[A].key());
}

#[test]
fn clean_logs_have_no_findings_and_say_what_is_in_them() {
    let world = World::usual();
    for party in [BANK, A, B] {
        let options = VerifyOptions { vkey: Some(world.parties[party].verifier()), since: None };
        let report = verify(&world.seal(party), &options);
        assert!(report.is_ok(), "{report}");
        assert_eq!(report.party.as_deref(), Some(world.parties[party].id.as_str()));
        assert_eq!(report.size, world.parties[party].entries.len() as u64);
        assert_eq!(report.counts["answered"], if party == BANK { 4 } else { 2 });
        assert_eq!(report.uncountersigned, 0);
        let (total, days): (u64, u64) =
            report.grants.iter().fold((0, 0), |(t, d), g| (t + g.used, d + g.busiest_day));
        assert_eq!((total, days), if party == BANK { (12, 12) } else { (6, 6) });
        assert!(report.notes.iter().any(|note| note.contains("enrolled by the authority")));
    }
}

#[test]
fn receipts_that_nobody_countersigned_are_counted_and_are_no_failure() {
    let mut world = World::usual();
    world.run(1);
    assert_eq!((check(&world, A).uncountersigned, check(&world, BANK).uncountersigned), (1, 2));
    assert!(check(&world, A).is_ok() && check(&world, BANK).is_ok());
}

#[test]
fn every_record_without_its_signature_is_found() {
    let unsign = |party, kind| {
        tampered(party, kind, |_, event| match event {
            Event::Requested(signed) => *signed = unsigned(signed),
            Event::Answered(signed) => **signed = unsigned(signed),
            Event::Granted(signed) => *signed = unsigned(signed),
            Event::Published(signed) => *signed = unsigned(signed),
            Event::Countersigned(signed) => *signed = unsigned(signed),
            _ => panic!("not signed"),
        })
    };
    assert_eq!(unsign(BANK, "requested"), set([code::REQUEST_SIGNATURE, code::REQUEST_DIFFERS]));
    for party in [BANK, A] {
        assert_eq!(unsign(party, "answered"), set([code::RECEIPT_SIGNATURE, code::RECEIPT_UNKNOWN]));
        assert_eq!(unsign(party, "granted"), set([code::GRANT_SIGNATURE]));
        assert_eq!(unsign(party, "published"), set([code::MANIFEST_SIGNATURE]));
        assert_eq!(unsign(party, "countersigned"), set([code::COUNTERSIGNATURE_INVALID]));
    }
}

#[test]
fn every_record_of_a_foreign_key_is_found() {
    let resign = |party, kind| {
        let key = SigningKey::from_bytes(&STRANGER);
        tampered(party, kind, |_, event| match event {
            Event::Answered(signed) => **signed = Signed::sign(signed.body().clone(), &key),
            Event::Granted(signed) => *signed = Signed::sign(signed.body().clone(), &key),
            Event::Published(signed) => *signed = Signed::sign(signed.body().clone(), &key),
            Event::Countersigned(signed) => *signed = Signed::sign(signed.body().clone(), &key),
            _ => panic!("not signed"),
        })
    };
    assert_eq!(resign(A, "answered"), set([code::RECEIPT_SIGNATURE, code::RECEIPT_UNKNOWN]));
    assert_eq!(resign(BANK, "granted"), set([code::GRANT_SIGNATURE]));
    assert_eq!(resign(A, "published"), set([code::MANIFEST_SIGNATURE]));
    assert_eq!(resign(A, "countersigned"), set([code::COUNTERSIGNATURE_INVALID]));
}

#[test]
fn a_receipt_over_a_request_that_the_requester_did_not_sign_is_found() {
    let codes = tampered(A, "answered", |world, event| {
        edit_receipt(world, event, |receipt| receipt.request = unsigned(&receipt.request));
    });
    assert_eq!(codes, set([code::REQUEST_SIGNATURE, code::RECEIPT_UNKNOWN]));
    let codes = tampered(BANK, "answered", |world, event| {
        edit_receipt(world, event, |receipt| {
            let mut request = receipt.request.body().clone();
            request.epoch += 1;
            receipt.request = Signed::sign(request, world.parties[BANK].key());
        });
    });
    assert_eq!(codes, set([code::REQUEST_DIFFERS, code::RECEIPT_UNKNOWN]));
}

#[test]
fn a_receipt_that_does_not_fit_its_request_is_found() {
    let edited =
        |change: fn(&mut Receipt)| tampered(A, "answered", |w, event| edit_receipt(w, event, change));
    let found = |code| set([code, code::RECEIPT_UNKNOWN]);
    assert_eq!(edited(|receipt| receipt.elements[0].1 += 1), found(code::COUNTS_DIFFER));
    assert_eq!(edited(|receipt| receipt.elements.truncate(1)), found(code::COUNTS_DIFFER));
    assert_eq!(edited(|receipt| receipt.protocol.push('0')), found(code::PROTOCOL_UNKNOWN));
    assert_eq!(edited(|receipt| receipt.answered_at_ms += 300_001), found(code::TIME_DIFFERS));
}

#[test]
fn a_receipt_that_says_it_was_asked_for_at_another_time_is_found_in_both_logs() {
    let edited = |party, change: fn(&mut Receipt)| {
        tampered(party, "answered", |world, event| edit_receipt(world, event, change))
    };
    for party in [BANK, A] {
        let later = edited(party, |receipt| receipt.received_at_ms += 300_001);
        let earlier = edited(party, |receipt| receipt.received_at_ms -= 300_001);
        for codes in [later, earlier] {
            assert!(codes.contains(code::TIME_DIFFERS), "{codes:?}");
        }
    }
}

#[test]
fn repeated_sessions_are_found() {
    let mut world = World::usual();
    for (party, kind) in [(BANK, "requested"), (BANK, "answered"), (A, "answered")] {
        let first = world.parties[party].first(kind);
        let entry = world.parties[party].entries[first].clone();
        world.log(party, entry.event);
    }
    assert_eq!(codes(&check(&world, BANK)), set([code::SESSION_REPEATED, code::RECEIPT_REPEATED]));
    assert_eq!(codes(&check(&world, A)), set([code::RECEIPT_REPEATED]));
}

#[test]
fn a_receipt_without_its_request_and_a_countersignature_without_its_receipt_are_found() {
    let mut world = World::usual();
    let (request, receipt) = (world.parties[BANK].first("requested"), world.parties[A].first("answered"));
    world.parties[BANK].entries.remove(request);
    world.parties[A].entries.remove(receipt);
    assert_eq!(codes(&check(&world, BANK)), set([code::REQUEST_MISSING, code::SESSION_UNKNOWN]));
    assert_eq!(codes(&check(&world, A)), set([code::RECEIPT_UNKNOWN]));
}

#[test]
fn quotas_are_summed_over_all_answers() {
    let overrun = |per_day, total, code| {
        let mut world = World::with(|grant| (grant.per_day, grant.total) = (per_day, total));
        world.run(2);
        world.run(1);
        let fine = [check(&world, BANK), check(&world, A)].map(|report| report.is_ok());
        assert_eq!(fine, [true, true]);
        let session = world.run(1)[0];
        for party in [BANK, A] {
            let report = check(&world, party);
            assert_eq!(codes(&report), set([code]));
            let receipt = world.parties[party].entries.iter().position(|entry| {
                matches!(&entry.event, Event::Answered(r) if r.body().request.body().session == session)
            });
            assert_eq!(report.findings[0].entry, receipt.map(|index| index as u64), "{report}");
            assert_eq!(
                report.findings.len(),
                if party == BANK { 4 } else { 2 },
                "one for each key and grant"
            );
        }
    };
    overrun(3, 100, code::QUOTA_DAY);
    overrun(100, 3, code::QUOTA_TOTAL);
}

#[test]
fn a_day_ends_at_midnight_utc() {
    let mut world = World::with(|grant| (grant.per_day, grant.not_after_ms) = (1, NOW_MS + 200_000_000));
    world.run(1);
    world.now_ms += 86_400_000;
    world.run(1);
    assert!(check(&world, A).is_ok());
}

#[test]
fn uses_outside_their_grant_are_found() {
    let mut world = World::new();
    world.run_for(1, "marketing");
    assert_eq!(codes(&check(&world, A)), set([code::OUTSIDE_GRANT]));
    assert_eq!(codes(&check(&world, BANK)), set([code::OUTSIDE_GRANT]));

    let mut world = World::new();
    world.now_ms += 86_400_000;
    world.run(1);
    assert_eq!(codes(&check(&world, A)), set([code::OUTSIDE_GRANT]));

    let mut world = World::with(|grant| grant.epoch_hours = 23);
    world.run(1);
    assert_eq!(codes(&check(&world, A)), set([code::OUTSIDE_GRANT]));
    assert_eq!(codes(&check(&world, BANK)), set([code::OUTSIDE_GRANT]));

    let mut world = World::new();
    world.grants[0].id = GrantId::from_bytes([9; 16]);
    world.run(1);
    assert_eq!(codes(&check(&world, A)), set([code::GRANT_UNKNOWN]));
    assert_eq!(codes(&check(&world, BANK)), set([code::GRANT_UNKNOWN]));
}

#[test]
fn an_epoch_has_one_manifest() {
    for party in [BANK, A] {
        let mut world = World::usual();
        let Event::Published(signed) =
            world.parties[party].entries[world.parties[party].first("published")].event.clone()
        else {
            panic!()
        };
        let key = world.parties[A].key().clone();
        world.log(party, Event::Published(signed.clone()));
        assert!(check(&world, party).is_ok(), "the same once more says nothing new");
        let mut manifest = signed.body().clone();
        manifest.publications[0].id = [9; 16];
        manifest.epoch += 1;
        world.log(party, Event::Published(Signed::sign(manifest.clone(), &key)));
        assert!(check(&world, party).is_ok());
        manifest.publications[0].id = [10; 16];
        world.log(party, Event::Published(Signed::sign(manifest, &key)));
        assert_eq!(codes(&check(&world, party)), set([code::SECOND_MANIFEST]));
    }
}

#[test]
fn a_use_after_the_end_of_its_grant_is_found_and_one_under_way_is_not() {
    let mut world = World::new();
    let id = world.grants[0].id;
    world.run(1);
    let last = world.parties[A].entries.len() - 1;
    let end = Entry::new(world.now_ms, Event::GrantEnded(id));
    world.parties[A].entries.insert(last, end);
    assert!(check(&world, A).is_ok(), "received before the end");
    world.log(BANK, Event::GrantEnded(id));
    world.now_ms += 298_500;
    world.run(1);
    for party in [BANK, A] {
        assert!(check(&world, party).is_ok(), "the end was taken over meanwhile");
    }
    world.run(1);
    for party in [BANK, A] {
        let report = check(&world, party);
        assert_eq!(codes(&report), set([code::GRANT_ENDED]));
        assert_eq!(report.findings.len(), 1);
    }
    world.log(B, Event::GrantEnded(id));
    assert_eq!(codes(&check(&world, B)), set([code::GRANT_UNKNOWN]));
}

#[test]
fn a_grant_cannot_be_replaced_by_another_of_its_name() {
    let mut world = World::usual();
    let mut grant = world.grants[0].clone();
    let again = Signed::sign(grant.clone(), world.parties[A].key());
    world.log(A, Event::Granted(again));
    assert!(check(&world, A).is_ok(), "the same once more says nothing new");
    grant.total = u64::MAX;
    let other = Signed::sign(grant, world.parties[A].key());
    world.log(A, Event::Granted(other));
    assert_eq!(codes(&check(&world, A)), set([code::GRANT_DIFFERS]));
}

#[test]
fn decisions_must_name_sessions_of_the_log_and_open_their_commitments() {
    let decided = |change: fn(&mut Decided)| {
        tampered(BANK, "decided", |_, event| {
            let Event::Decided(decided) = event else { panic!("not a decision") };
            change(decided);
        })
    };
    let unknown = decided(|decided| decided.asked[0].session = SessionId::from_bytes([9; 16]));
    assert_eq!(unknown, set([code::SESSION_UNKNOWN]));
    assert_eq!(decided(|decided| decided.asked[1].index = 2), set([code::CUSTOMER_REPEATED]));
    let mut world = World::usual();
    let last = world.parties[BANK].all("decided")[2];
    let Event::Decided(decided) = &mut world.parties[BANK].entries[last].event else { panic!() };
    decided.asked[1].leaf[63] ^= 1;
    let session = decided.asked[1].session.to_string();
    let report = check(&world, BANK);
    assert_eq!(codes(&report), set([code::COMMITMENT_DIFFERS]));
    assert_eq!(report.findings[0].session, Some(session));
    assert_eq!(report.findings[0].entry, Some(last as u64));
}

#[test]
fn a_decision_stands_once() {
    let mut world = World::usual();
    let first = world.parties[BANK].first("decided");
    let Event::Decided(decided) = world.parties[BANK].entries[first].event.clone() else { panic!() };
    world.log(BANK, Event::Decided(decided.clone()));
    assert!(check(&world, BANK).is_ok(), "the same once more says nothing new");
    let other = Decided { result: [9; 32], ..decided.clone() };
    world.log(BANK, Event::Decided(other));
    assert_eq!(codes(&check(&world, BANK)), set([code::DECISION_REPEATED]));
    world.parties[BANK].entries.pop();
    let other = Decided { verification: [9; 16], ..decided };
    world.log(BANK, Event::Decided(other));
    assert_eq!(codes(&check(&world, BANK)), set([code::CUSTOMER_REPEATED]));
}

#[test]
fn a_removed_decision_is_found_once_the_log_has_moved_on() {
    let mut world = World::usual();
    let first = world.parties[BANK].first("decided");
    world.parties[BANK].entries.remove(first);
    let report = check(&world, BANK);
    assert!(report.is_ok());
    assert!(report.notes.iter().any(|note| note.starts_with("2 answered customers")), "{report}");
    world.now_ms += 130_000;
    world.run(1);
    let report = check(&world, BANK);
    assert_eq!(codes(&report), set([code::DECISION_MISSING]));
    assert_eq!(report.findings.len(), 2, "one for each carrier");
}
