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

    let mut world = World::new();
    world.grants[0].id = GrantId::from_bytes([9; 16]);
    world.run(1);
    assert_eq!(codes(&check(&world, A)), set([code::GRANT_UNKNOWN]));
    assert_eq!(codes(&check(&world, BANK)), set([code::GRANT_UNKNOWN]));
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

#[test]
fn enrolments_must_hold_and_name_the_keys_of_their_entry() {
    let enrolled = |change: fn(&World, &mut Keys, &mut Vec<u8>)| {
        tampered(A, "enrolled", |world, event| {
            let Event::Enrolled { keys, enrolment } = event else { panic!("not an enrolment") };
            change(world, keys, enrolment);
        })
    };
    let with_unknown = |code| set([code, code::SIGNER_UNKNOWN]);
    let keys = enrolled(|world, keys, _| keys.receipt = world.parties[B].keys().receipt);
    assert_eq!(keys, with_unknown(code::ENROLMENT_KEYS));
    assert_eq!(enrolled(|_, keys, _| keys.log = STRANGER), with_unknown(code::ENROLMENT_KEYS));
    let party = enrolled(|world, keys, _| keys.party = world.parties[B].id.clone());
    assert_eq!(party, with_unknown(code::ENROLMENT_KEYS));
    let cut = enrolled(|_, _, document| document.truncate(document.len() / 2));
    assert_eq!(cut, with_unknown(code::ENROLMENT_INVALID));
    let latin = enrolled(|_, _, document| document[0] = 0xff);
    assert_eq!(latin, with_unknown(code::ENROLMENT_INVALID));
}

#[test]
fn an_enrolment_must_be_valid_at_the_time_of_its_entry() {
    let mut world = World::new();
    let expired = world.enrolment(BANK);
    world.now_ms += 11 * 86_400_000;
    world.log(A, expired);
    assert_eq!(codes(&check(&world, A)), set([code::ENROLMENT_INVALID]));
}

#[test]
fn a_record_is_checked_against_the_keys_that_the_log_had_by_then() {
    let mut world = World::usual();
    world.renew(A);
    world.run(1);
    world.enrol(BANK, A);
    world.enrol(A, A);
    let early = [BANK, A].map(|party| codes(&check(&world, party)));
    assert_eq!(early, [set([code::RECEIPT_SIGNATURE]), set([code::RECEIPT_SIGNATURE])]);

    let mut world = World::usual();
    world.renew(A);
    world.enrol(BANK, A);
    world.enrol(A, A);
    world.run(1);
    world.countersign(A);
    for party in [BANK, A] {
        assert!(check(&world, party).is_ok(), "{}", check(&world, party));
    }
}

#[test]
fn records_that_do_not_concern_the_party_are_found() {
    let mut world = World::usual();
    let request = world.parties[BANK].entries[world.parties[BANK].first("requested")].event.clone();
    let receipt = world.parties[B].entries[world.parties[B].first("answered")].event.clone();
    let grant = world.parties[B].entries[world.parties[B].first("granted")].event.clone();
    world.log(A, request);
    assert_eq!(codes(&check(&world, A)), set([code::FOREIGN_RECORD]));
    world.parties[A].entries.pop();
    world.log(A, grant);
    assert_eq!(codes(&check(&world, A)), set([code::FOREIGN_RECORD, code::SIGNER_UNKNOWN]));
    world.log(A, receipt);
    assert_eq!(codes(&check(&world, A)), set([code::FOREIGN_RECORD, code::SIGNER_UNKNOWN]));
}

#[test]
fn the_first_entry_opens_the_log_and_no_other() {
    let mut world = World::usual();
    let opened = world.parties[A].entries[0].clone();
    world.log(A, opened.event);
    assert_eq!(codes(&check(&world, A)), set([code::OPENED_AGAIN]));
    world.parties[A].entries.remove(0);
    let headless = codes(&check(&world, A));
    assert!(headless.is_superset(&set([code::OPENING_MISSING, code::OPENED_AGAIN])), "{headless:?}");
    let (empty, _) = world.seal_bytes(A, Vec::new());
    assert_eq!(codes(&verify(&empty, &VerifyOptions::default())), set([code::OPENING_MISSING]));
}

#[test]
fn a_log_of_another_key_or_name_is_found() {
    let world = World::usual();
    let entries = || world.parties[A].entries.iter().map(|entry| entry.encode().into_bytes()).collect();
    let stranger = SigningKey::from_bytes(&STRANGER);
    let (dir, _) = world.seal_as("windvane/carrier-a/log", &stranger, entries());
    let own = verify(&dir, &VerifyOptions::default());
    assert_eq!(codes(&own), set([files::CHECKPOINT_SIGNATURE]));
    let vkey = LogVerifier::new("windvane/carrier-a/log", stranger.verifying_key()).unwrap();
    let given = verify(&dir, &VerifyOptions { vkey: Some(vkey), since: None });
    assert_eq!(codes(&given), set([code::LOG_KEY_DIFFERS]));
    let (dir, _) = world.seal_as("windvane/carrier-z/log", &stranger, entries());
    let vkey = LogVerifier::new("windvane/carrier-z/log", stranger.verifying_key()).unwrap();
    let other = verify(&dir, &VerifyOptions { vkey: Some(vkey), since: None });
    assert_eq!(codes(&other), set([code::LOG_KEY_DIFFERS, code::ORIGIN_DIFFERS]));
    let options = VerifyOptions { vkey: Some(world.parties[B].verifier()), since: None };
    let foreign = verify(&world.seal(A), &options);
    assert_eq!(codes(&foreign), set([files::OTHER_LOG, code::LOG_KEY_DIFFERS]));
}

#[test]
fn a_log_that_was_rolled_back_or_rewritten_is_found_with_an_earlier_checkpoint() {
    let world = World::usual();
    let entries: Vec<_> = world.parties[A].entries.iter().map(|entry| entry.encode().into_bytes()).collect();
    let (whole, checkpoint) = world.seal_bytes(A, entries.clone());
    let since = VerifyOptions { vkey: None, since: Some(checkpoint) };
    assert!(verify(&whole, &since).is_ok());
    let (short, _) = world.seal_bytes(A, entries[..entries.len() - 1].to_vec());
    assert_eq!(codes(&verify(&short, &since)), set([files::ROLLED_BACK]));
    let mut other = entries;
    other.remove(1);
    other.push(Entry::new(world.now_ms, Event::GrantEnded(world.grants[0].id)).encode().into_bytes());
    let (rewritten, _) = world.seal_bytes(A, other);
    assert_eq!(codes(&verify(&rewritten, &since)), set([files::HISTORY]));
}

#[test]
fn entries_that_are_no_entries_are_found_all_of_them() {
    let world = World::usual();
    let mut entries: Vec<_> =
        world.parties[A].entries.iter().map(|entry| entry.encode().into_bytes()).collect();
    entries[1].push(0);
    entries[2].pop();
    let (dir, _) = world.seal_bytes(A, entries);
    let report = verify(&dir, &VerifyOptions::default());
    let malformed = report.findings.iter().filter(|finding| finding.code == code::ENTRY_MALFORMED);
    assert_eq!(malformed.map(|finding| finding.entry).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn a_clock_that_steps_back_is_found_once() {
    let mut world = World::with(|grant| grant.not_before_ms = 0);
    world.run(1);
    world.now_ms -= 290_000;
    world.run(1);
    assert!(check(&world, BANK).is_ok(), "within the tolerance");
    world.now_ms += 290_000;
    world.run(1);
    world.now_ms -= 302_000;
    world.run(1);
    world.run(1);
    let report = check(&world, BANK);
    assert_eq!((codes(&report), report.findings.len()), (set([code::TIME_BACKWARDS]), 1));
}

#[test]
fn unanswered_requests_are_noted_with_their_reasons() {
    let mut world = World::usual();
    for (kind, party) in [("answered", BANK), ("decided", BANK), ("countersigned", BANK)] {
        let kept = |entry: &Entry| entry.event.kind() != kind;
        world.parties[party].entries.retain(kept);
    }
    let request = world.parties[BANK].first("requested");
    let Event::Requested(request) = &world.parties[BANK].entries[request].event else { panic!() };
    let (session, peer) = (Some(request.body().session), world.parties[A].id.clone());
    world.log(BANK, Event::Failed { session, peer, code: "DEADLINE_EXCEEDED".into() });
    let report = check(&world, BANK);
    assert!(report.is_ok(), "{report}");
    let noted = |text: &str| report.notes.iter().any(|note| note == text);
    assert!(noted("1 request without a receipt: DEADLINE_EXCEEDED"), "{report}");
    assert!(noted("3 requests without a receipt: no reason logged"), "{report}");
}

#[test]
fn what_a_log_says_cannot_drive_the_readers_terminal() {
    let mut world = World::new();
    let session = world.run(1)[0];
    let index = world.parties[BANK].first("answered");
    world.parties[BANK].entries.remove(index);
    let peer = world.parties[A].id.clone();
    world.log(BANK, Event::Failed { session: Some(session), peer, code: "\u{1b}[2J".into() });
    let dir = world.seal(BANK);
    fs::write(dir.join("\u{1b}[2J"), "").unwrap();
    let report = verify(&dir, &VerifyOptions::default());
    assert_eq!(codes(&report), set([files::FOREIGN_FILE]));
    assert!(report.notes.iter().any(|note| note.ends_with(": MALFORMED_CODE")), "{report}");
    assert!(!report.to_string().contains('\u{1b}'));
}

#[test]
fn a_report_can_be_read_and_parsed() {
    let mut world = World::usual();
    let text = check(&world, A).to_string();
    for expected in ["Log of carrier-a", "answered", "UNCOUNTERSIGNED  0", "verdict          OK"] {
        assert!(text.contains(expected), "{text}");
    }
    let first = world.parties[A].first("answered");
    let Event::Answered(receipt) = &mut world.parties[A].entries[first].event else { panic!() };
    **receipt = unsigned(receipt);
    let session = receipt.body().request.body().session.to_string();
    let report = check(&world, A);
    let text = report.to_string();
    assert!(text.contains(&format!("RECEIPT_SIGNATURE at entry {first}, session {session}: ")), "{text}");
    assert!(text.contains("verdict          2 findings"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][0]["code"], "RECEIPT_SIGNATURE");
    assert_eq!(json["findings"][0]["entry"], first);
    assert_eq!(json["counts"]["answered"], 2);
}

/// The smallest log that has every kind of signature which a provider's log has.
fn small(world: &mut World) -> PathBuf {
    world.run(1);
    world.countersign(A);
    let drop = ["started", "published"];
    world.parties[A].entries.retain(|entry| !drop.contains(&entry.event.kind()));
    world.seal(A)
}

#[test]
fn every_changed_byte_of_a_small_sealed_log_is_found() {
    let mut world = World::new();
    let dir = small(&mut world);
    assert!(verify(&dir, &VerifyOptions::default()).is_ok());
    let paths: Vec<PathBuf> = files_below(&dir);
    let bytes: Vec<_> = paths.iter().map(|path| fs::read(dir.join(path)).unwrap()).collect();
    let places: Vec<_> = (0..paths.len()).flat_map(|f| (0..bytes[f].len()).map(move |i| (f, i))).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for (thread, places) in places.chunks(places.len().div_ceil(threads)).enumerate() {
            let copy = world.root().join(format!("copy-{thread}"));
            let (paths, bytes) = (&paths, &bytes);
            scope.spawn(move || {
                let write = |file: usize, content: &[u8]| {
                    let path = copy.join(&paths[file]);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, content).unwrap();
                };
                (0..paths.len()).for_each(|file| write(file, &bytes[file]));
                for &(file, i) in places {
                    let mut altered = bytes[file].clone();
                    altered[i] ^= 1 << (i % 8);
                    write(file, &altered);
                    let report = verify(&copy, &VerifyOptions::default());
                    assert!(!report.is_ok(), "byte {i} of {}", paths[file].display());
                    write(file, &bytes[file]);
                }
                assert!(verify(&copy, &VerifyOptions::default()).is_ok());
            });
        }
    });
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut pending = vec![dir.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    files
}
