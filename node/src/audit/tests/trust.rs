//! Keys, the log's name and first entry, its checkpoints, its times, and every byte of it.

use super::*;

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
fn a_party_that_enrols_with_another_log_key_than_its_logs_is_found() {
    let mut world = World::usual();
    let other = world.enrolment_of_another_log(A);
    world.log(A, other.clone());
    assert_eq!(codes(&check(&world, A)), set([code::LOG_KEY_DIFFERS]));
    world.parties[A].entries.pop();
    world.log(BANK, other);
    let dirs = [BANK, A, B].map(|party| world.seal(party));
    let differences: Vec<_> = reconcile(&dirs).differences.iter().map(|d| d.code).collect();
    assert_eq!(differences, [code::KEYS_DIFFER]);
}

#[test]
fn a_key_that_cannot_verify_is_found() {
    let opened = |change: fn(&mut Keys)| {
        tampered(A, "opened", |_, event| {
            let Event::Opened(keys) = event else { panic!("not an opening") };
            change(keys);
        })
    };
    assert!(opened(|keys| keys.receipt = [0; 32]).contains(code::KEY_INVALID));
    assert!(opened(|keys| keys.log = [0; 32]).contains(code::KEY_INVALID));
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
