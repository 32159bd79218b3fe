//! Logs held against each other.

use super::*;

const EVERY: [usize; 3] = [BANK, A, B];

fn compare(world: &World) -> ReconcileReport {
    reconcile(&EVERY.map(|party| world.seal(party)))
}

/// Code, lacking party and session of every difference.
fn differences(report: &ReconcileReport) -> Vec<(&'static str, Option<&str>, Option<&str>)> {
    report.differences.iter().map(|d| (d.code, d.lacking.as_deref(), d.session.as_deref())).collect()
}

/// The session of an entry.
fn session_of(world: &World, party: usize, index: usize) -> String {
    match &world.parties[party].entries[index].event {
        Event::Requested(signed) => signed.body().session.to_string(),
        Event::Answered(signed) => signed.body().request.body().session.to_string(),
        _ => panic!("no session"),
    }
}

#[test]
fn clean_logs_have_no_differences_in_any_order() {
    let world = World::usual();
    for order in [[BANK, A, B], [B, A, BANK], [A, BANK, B]] {
        let report = reconcile(&order.map(|party| world.seal(party)));
        assert!(report.is_ok(), "{report}");
        let pairs: Vec<_> =
            report.pairs.iter().map(|p| (p.requester.as_str(), p.provider.as_str())).collect();
        assert_eq!(pairs, [("bank", "carrier-a"), ("bank", "carrier-b")]);
        for pair in &report.pairs {
            let numbers = (pair.sessions, pair.agreed, pair.countersigned, pair.uncountersigned, pair.grants);
            assert_eq!(numbers, (2, 2, 2, 0, 1));
        }
        assert_eq!(report.notes, [""; 0]);
        assert!(report.to_string().contains("verdict          OK"));
    }
}

#[test]
fn a_session_that_the_provider_lacks_is_named() {
    let mut world = World::usual();
    let index = world.parties[A].first("answered");
    let session = session_of(&world, A, index);
    world.parties[A].entries.remove(index);
    let report = compare(&world);
    let missing = (code::SESSION_MISSING, Some("carrier-a"), Some(session.as_str()));
    assert_eq!(differences(&report), [missing]);
    let entry = world.parties[BANK].first("answered") as u64;
    assert_eq!(report.differences[0].places, [Place { party: "bank".into(), entry }]);
    assert!(
        report.to_string().contains(&format!("SESSION_MISSING, session {session}, entry {entry} of bank"))
    );
}

#[test]
fn a_session_that_the_requester_lacks_is_named() {
    let mut world = World::usual();
    let index = world.parties[BANK].first("requested");
    let session = session_of(&world, BANK, index);
    world.parties[BANK].entries.retain(|entry| match &entry.event {
        Event::Requested(signed) => signed.body().session.to_string() != session,
        Event::Answered(signed) => signed.body().request.body().session.to_string() != session,
        Event::Decided(decided) => decided.asked[0].session.to_string() != session,
        Event::Countersigned(_) => false,
        _ => true,
    });
    world.parties[A].entries.retain(|entry| entry.event.kind() != "countersigned");
    world.parties[B].entries.retain(|entry| entry.event.kind() != "countersigned");
    let report = compare(&world);
    assert!(report.logs.iter().all(AuditReport::is_ok), "each log by itself is good: {report}");
    let missing = (code::SESSION_MISSING, Some("bank"), Some(session.as_str()));
    assert_eq!(differences(&report), [missing]);
    assert_eq!(report.verdict(), "1 difference, 0 findings");
}

#[test]
fn every_removed_entry_that_concerns_another_party_is_named() {
    for (party, kind) in [
        (BANK, "requested"),
        (BANK, "answered"),
        (BANK, "countersigned"),
        (BANK, "granted"),
        (A, "answered"),
        (A, "countersigned"),
        (A, "granted"),
        (A, "published"),
    ] {
        let whole = World::usual();
        for index in whole.parties[party].all(kind) {
            let mut world = World::usual();
            world.parties[party].entries.remove(index);
            let report = compare(&world);
            let (name, bank) = (whole.parties[party].id.to_string(), party == BANK);
            let expected = match (kind, bank) {
                ("requested", _) => code::REQUEST_MISSING,
                ("answered", true) => code::ANSWER_NOT_RECEIVED,
                ("answered", false) => code::SESSION_MISSING,
                ("countersigned", _) => code::COUNTERSIGNATURE_MISSING,
                ("granted", _) => code::GRANT_MISSING,
                _ => code::MANIFEST_MISSING,
            };
            assert!(!report.differences.is_empty(), "{kind} {index} of {name}");
            for (code, lacking, _) in differences(&report) {
                assert_eq!((code, lacking), (expected, Some(name.as_str())), "{kind} {index}: {report}");
            }
        }
    }
}

#[test]
fn a_receipt_that_the_provider_edited_and_signed_anew_is_named() {
    let mut world = World::usual();
    let index = world.parties[A].first("answered");
    let session = session_of(&world, A, index);
    let mut event = world.parties[A].entries[index].event.clone();
    edit_receipt(&world, &mut event, |receipt| receipt.transcript[0] ^= 1);
    world.parties[A].entries[index].event = event;
    let report = compare(&world);
    let found = differences(&report);
    assert!(found.contains(&(code::RECEIPT_DIFFERS, None, Some(session.as_str()))), "{report}");
    assert!(found.contains(&(code::COUNTERSIGNATURE_MISSING, Some("carrier-a"), Some(session.as_str()))));
    let places = [(BANK, "bank"), (A, "carrier-a")].map(|(party, name)| Place {
        party: name.into(),
        entry: world.parties[party].first("answered") as u64,
    });
    assert_eq!(report.differences.iter().find(|d| d.code == code::RECEIPT_DIFFERS).unwrap().places, places);
}

#[test]
fn a_request_that_the_bank_edited_and_signed_anew_is_named() {
    let mut world = World::usual();
    let index = world.parties[BANK].first("requested");
    let session = session_of(&world, BANK, index);
    let Event::Requested(signed) = &world.parties[BANK].entries[index].event else { panic!() };
    let mut request = signed.body().clone();
    request.purpose = "loan_review".into();
    let signed = Signed::sign(request, world.parties[BANK].key());
    world.parties[BANK].entries[index].event = Event::Requested(signed);
    let report = compare(&world);
    assert_eq!(codes(&report.logs[0]), set([code::REQUEST_DIFFERS]));
    assert_eq!(differences(&report), [(code::REQUEST_DIFFERS, None, Some(session.as_str()))]);
}

#[test]
fn an_entry_that_was_made_unreadable_is_named_by_its_session() {
    let world = World::usual();
    let index = world.parties[A].first("answered");
    let mut entries: Vec<_> = world.parties[A].entries.iter().map(|e| e.encode().into_bytes()).collect();
    entries[index].pop();
    let dirs = [world.seal(BANK), world.seal_bytes(A, entries).0, world.seal(B)];
    let report = reconcile(&dirs);
    let session = session_of(&world, A, index);
    assert_eq!(differences(&report), [(code::SESSION_MISSING, Some("carrier-a"), Some(session.as_str()))]);
    assert!(codes(&report.logs[1]).contains(code::ENTRY_MALFORMED));
}

#[test]
fn an_answer_that_was_lost_is_a_difference_unless_the_bank_said_why() {
    let mut world = World::new();
    let session = world.run(1)[0];
    let index = world.parties[BANK].first("answered");
    world.parties[BANK].entries.remove(index);
    let name = session.to_string();
    let lost = (code::ANSWER_NOT_RECEIVED, Some("bank"), Some(name.as_str()));
    assert_eq!(differences(&compare(&world)), [lost]);
    let peer = world.parties[BANK].id.clone();
    world.log(A, Event::Failed { session: Some(session), peer, code: "SESSION_REPLAYED".into() });
    assert_eq!(differences(&compare(&world)), [lost], "the provider answered: it explains nothing");
    let peer = world.parties[A].id.clone();
    world.log(BANK, Event::Failed { session: Some(session), peer, code: "DEADLINE_EXCEEDED".into() });
    let report = compare(&world);
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.pairs[0].explained["DEADLINE_EXCEEDED"], 1);
}

#[test]
fn a_reason_of_the_bank_explains_no_answer_away_that_it_countersigned() {
    let mut world = World::usual();
    let index = world.parties[BANK].first("answered");
    let session = session_of(&world, BANK, index);
    let Event::Answered(receipt) = world.parties[BANK].entries[index].event.clone() else { panic!() };
    let key = world.parties[BANK].key().clone();
    world.parties[BANK].entries.retain(|entry| match &entry.event {
        Event::Answered(answered) => *answered != receipt,
        Event::Decided(decided) => decided.asked.iter().all(|asked| asked.session.to_string() != session),
        _ => true,
    });
    for entry in &mut world.parties[BANK].entries {
        let Event::Countersigned(signed) = &mut entry.event else { continue };
        let mut body = signed.body().clone();
        body.receipts.retain(|digest| *digest != receipt.digest());
        *signed = Signed::sign(body, &key);
    }
    let (peer, asked) = (world.parties[A].id.clone(), receipt.body().request.body().session);
    world.log(BANK, Event::Failed { session: Some(asked), peer, code: "DEADLINE_EXCEEDED".into() });
    let report = compare(&world);
    assert!(report.logs.iter().all(AuditReport::is_ok), "each log by itself is good: {report}");
    let lacks = (code::ANSWER_NOT_RECEIVED, Some("bank"), Some(session.as_str()));
    assert_eq!(differences(&report), [lacks]);
    assert!(report.pairs.iter().all(|pair| pair.explained.is_empty()), "{report}");
}

#[test]
fn a_request_that_nobody_answered_is_a_difference_unless_somebody_said_why() {
    let mut world = World::new();
    let session = world.run(1)[0];
    for party in [BANK, A] {
        let index = world.parties[party].first("answered");
        world.parties[party].entries.remove(index);
    }
    let name = session.to_string();
    let unexplained = (code::UNEXPLAINED, Some("carrier-a"), Some(name.as_str()));
    assert_eq!(differences(&compare(&world)), [unexplained]);
    let peer = world.parties[BANK].id.clone();
    world.log(A, Event::Failed { session: Some(session), peer, code: "GRANT_EXHAUSTED".into() });
    let report = compare(&world);
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.pairs[0].explained["GRANT_EXHAUSTED"], 1);
}

#[test]
fn uncountersigned_receipts_are_counted_and_are_no_difference() {
    let mut world = World::usual();
    world.run(1);
    let report = compare(&world);
    assert!(report.is_ok());
    assert_eq!(report.pairs.iter().map(|pair| pair.uncountersigned).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_log_made_with_other_keys_than_its_partner_enrolled_is_named() {
    let world = World::usual();
    let mut forged = World::usual();
    forged.renew(A);
    let keys = forged.parties[A].keys();
    forged.parties[A].entries[0].event = Event::Opened(keys);
    let report = reconcile(&[world.seal(BANK), forged.seal(A), world.seal(B)]);
    assert!(differences(&report).contains(&(code::KEYS_DIFFER, None, None)), "{report}");
}

#[test]
fn grants_of_one_name_with_other_content_are_named() {
    let mut world = World::usual();
    let mut grant = world.grants[0].clone();
    grant.total += 1;
    let index = world.parties[A].first("granted");
    world.parties[A].entries[index].event = Event::Granted(Signed::sign(grant, world.parties[A].key()));
    assert_eq!(differences(&compare(&world)), [(code::GRANT_DIFFERS, None, None)]);
}

#[test]
fn a_grant_that_only_one_party_ended_is_noted() {
    let mut world = World::usual();
    let id = world.grants[0].id;
    world.log(A, Event::GrantEnded(id));
    let report = compare(&world);
    assert!(report.is_ok());
    assert_eq!(report.notes, [format!("grant {id} was ended in the log of carrier-a alone")]);
    world.log(BANK, Event::GrantEnded(id));
    assert_eq!(compare(&world).notes, [""; 0]);
}

#[test]
fn a_table_of_a_joint_score_that_the_provider_has_otherwise_or_not_at_all_is_named() {
    let compared = |published: Option<u8>| {
        let mut world = World::usual();
        if let Some(root) = published {
            let event = world.table(A, root);
            world.log(A, event);
        }
        let event = world.table(A, 1);
        world.log(BANK, event);
        let report = compare(&world);
        assert!(report.logs.iter().all(AuditReport::is_ok), "each log by itself is good: {report}");
        report
    };
    assert_eq!(differences(&compared(Some(1))), []);
    assert_eq!(differences(&compared(Some(2))), [(code::SECOND_TABLE, None, None)]);
    assert_eq!(differences(&compared(None)), [(code::MANIFEST_MISSING, Some("carrier-a"), None)]);
}

#[test]
fn logs_that_cannot_be_compared_are_named() {
    let world = World::usual();
    let (bank, a) = (world.seal(BANK), world.seal(A));
    let codes = |dirs: &[PathBuf]| {
        let report = reconcile(dirs);
        assert!(!report.is_ok());
        report.differences.iter().map(|d| d.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&[a.clone(), world.seal(B)]), [code::NOTHING_IN_COMMON]);
    assert_eq!(codes(&[bank.clone(), a.clone(), a.clone()]), [code::PARTY_REPEATED]);
    assert_eq!(codes(&[bank.clone(), a.clone(), world.root().join("none")]), [code::PARTY_UNKNOWN]);
    assert_eq!(reconcile(&[bank, a]).notes, ["bank had to do with carrier-b, whose log was not given"]);
}
