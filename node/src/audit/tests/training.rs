//! Trainings in the logs of both sides: they reconcile as set intersections do, and what does not hold is named.

use windvane_protocols::audit::grant::{Grant, Operation, TrainTerms};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::score::group::Identity;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::charter::{Charter, Unit};
use windvane_protocols::train::lapse::{Answered, TrainLapse};
use windvane_protocols::train::parameters::{Hyperparameters, Numbers};
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainReceipt, TrainRequest};

use super::*;

const SESSION: SessionId = SessionId::from_bytes([7; 16]);

fn permits(grant: &mut Grant) {
    grant.operations.push(Operation::Train);
    grant.train = TrainTerms {
        max_rows: 100,
        runs: 1,
        decoy_factor: 2,
        minimum_count: 50,
        max_blocks: 2,
        max_trees: 3,
        max_depth: 3,
        named_features: false,
        alone: true,
    };
}

fn charter(world: &World) -> Charter {
    let numbers = Numbers {
        blocks: 2,
        trees: 3,
        depth: 3,
        rate_micros: 100_000,
        lambda: 1,
        minimum_rows: 20,
        minimum_count: 50,
    };
    let carrier = &world.parties[A];
    let member = Identity { party: carrier.id.clone(), key: carrier.receipt.verifying_key() };
    Charter {
        training: SessionId::from_bytes([8; 16]),
        requester: world.parties[BANK].id.clone(),
        units: vec![Unit { members: vec![member] }],
        hyperparameters: Hyperparameters::new(numbers).unwrap(),
        decoy_factor: 2,
        held_out: 20,
        universe: [4; 64],
        rows: 90,
        list: [5; 64],
        public_key: [6; 32],
        model: "fraud-2026-11".into(),
    }
}

/// What both sides log of a training from its request to its countersignature.
fn train(world: &mut World, session: SessionId, names: &[&str], change: impl Fn(&mut Charter)) {
    train_at(world, session, names, (0, 0), change);
}

/// The same, going on some time after the request, with an acceptance that says that it was made some time before that.
fn train_at(
    world: &mut World,
    session: SessionId,
    names: &[&str],
    (after_ms, before_ms): (u64, u64),
    change: impl Fn(&mut Charter),
) {
    let (bank, carrier) = (world.parties[BANK].key().clone(), world.parties[A].key().clone());
    let mut charter = charter(world);
    change(&mut charter);
    let announcement = TrainAnnouncement {
        charter: charter.digest(),
        party: world.parties[A].id.clone(),
        schema: [0; 64],
        mask_key: [1; 32],
    };
    let request = TrainRequest {
        session,
        charter,
        provider: world.parties[A].id.clone(),
        grant: world.grants[0].id,
        purpose: "account_opening".into(),
        data_set: "subscribers".parse().unwrap(),
        seed: [2; 32],
        software: [1; 64],
        configuration: [2; 64],
        requested_at_ms: world.now_ms,
    };
    let request = Signed::sign(request, &bank);
    world.now_ms += after_ms;
    let acceptance = TrainAcceptance {
        request: request.clone(),
        announcement: Signed::sign(announcement, &carrier),
        bins: vec![3; 2],
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        input: [3; 32],
        accepted_at_ms: world.now_ms - before_ms,
    };
    let acceptance = Signed::sign(acceptance, &carrier);
    let receipt = TrainReceipt {
        acceptance: acceptance.clone(),
        protocol: PROTOCOL.into(),
        software: [1; 64],
        configuration: [2; 64],
        attempts: 1,
        indicator: [1; 64],
        held_out: [7; 64],
        residuals: vec![[2; 64]; 2],
        steps: [3; 64],
        contributions: vec![[4; 64]; 2],
        card: [5; 64],
        trees: [6; 32],
        completed_at_ms: world.now_ms,
        witnessed_size: 0,
        witnessed_root: Vec::new(),
    };
    let receipt = Signed::sign(receipt, &carrier);
    let countersignature = Countersignature {
        requester: world.parties[BANK].id.clone(),
        provider: world.parties[A].id.clone(),
        receipts: vec![receipt.digest()],
        signed_at_ms: world.now_ms,
    };
    let countersignature = Signed::sign(countersignature, &bank);
    let peer = world.parties[BANK].id.clone();
    world.log(BANK, Event::TrainRequested(Box::new(request)));
    world.log(A, Event::TrainAccepted(Box::new(acceptance)));
    world.log(A, Event::TrainAttempted { session, peer, number: 1 });
    world.log(BANK, Event::TrainResult { session, result: [9; 32] });
    for party in [A, BANK] {
        world.log(party, Event::TrainCompleted(Box::new(receipt.clone())));
        world.log(party, Event::Countersigned(countersignature.clone()));
    }
}

fn trained() -> World {
    let mut world = World::with(permits);
    train(&mut world, SESSION, &[], |_| ());
    world
}

fn compare(world: &World) -> ReconcileReport {
    reconcile(&[BANK, A].map(|party| world.seal(party)))
}

fn difference_codes(world: &World) -> Vec<&'static str> {
    compare(world).differences.iter().map(|difference| difference.code).collect()
}

#[test]
fn a_training_holds_in_both_logs_and_reconciles() {
    let world = trained();
    for party in [BANK, A] {
        let report = check(&world, party);
        assert_eq!(codes(&report), set([]), "{report}");
        assert_eq!(report.uncountersigned, 0);
    }
    let report = compare(&world);
    assert_eq!(report.differences, []);
    let pair = &report.pairs[0];
    assert_eq!((pair.jobs, pair.jobs_agreed, pair.countersigned), (1, 1, 1));
}

#[test]
fn what_is_lacking_in_one_log_is_named() {
    for (party, kind, expected) in [
        (A, "train completed", code::SESSION_MISSING),
        (BANK, "train completed", code::ANSWER_NOT_RECEIVED),
        (A, "countersigned", code::COUNTERSIGNATURE_MISSING),
    ] {
        let mut world = trained();
        let index = world.parties[party].first(kind);
        world.parties[party].entries.remove(index);
        assert!(difference_codes(&world).contains(&expected), "{kind}");
    }
}

#[test]
fn a_reason_of_the_bank_explains_no_job_away_of_which_it_countersigned_the_receipt() {
    let mut world = trained();
    let removed = ["train completed", "countersigned", "train result"];
    world.parties[BANK].entries.retain(|entry| !removed.contains(&entry.event.kind()));
    let peer = world.parties[A].id.clone();
    world.log(BANK, Event::Failed { session: Some(SESSION), peer, code: "DEADLINE_EXCEEDED".into() });
    let report = compare(&world);
    assert!(report.logs.iter().all(AuditReport::is_ok), "each log by itself is good: {report}");
    assert_eq!(difference_codes(&world), [code::ANSWER_NOT_RECEIVED]);
    // Without the countersignature nobody can tell.
    world.parties[A].entries.retain(|entry| entry.event.kind() != "countersigned");
    assert_eq!(difference_codes(&world), [""; 0]);
}

#[test]
fn a_bank_without_the_result_of_a_training_that_was_completed_is_found() {
    let mut world = trained();
    let index = world.parties[BANK].first("train result");
    let result = world.parties[BANK].entries.remove(index);
    assert_eq!(codes(&check(&world, BANK)), set([code::DECISION_MISSING]));
    world.log(BANK, result.event);
    assert_eq!(codes(&check(&world, BANK)), set([code::DECISION_MISSING]), "it comes first");
}

#[test]
fn a_receipt_without_its_request_or_acceptance_or_with_a_wrong_signature_is_found() {
    for (party, kind) in [(BANK, "train requested"), (A, "train accepted")] {
        let mut world = trained();
        let index = world.parties[party].first(kind);
        world.parties[party].entries.remove(index);
        assert!(codes(&check(&world, party)).contains(code::REQUEST_MISSING), "{kind}");
    }
    let mut world = trained();
    let index = world.parties[A].first("train completed");
    let Event::TrainCompleted(receipt) = world.parties[A].entries[index].event.clone() else { panic!() };
    world.parties[A].entries[index].event = Event::TrainCompleted(Box::new(unsigned(&receipt)));
    assert!(codes(&check(&world, A)).contains(code::RECEIPT_SIGNATURE));
}

#[test]
fn a_training_outside_of_its_grant_or_beyond_its_runs_is_found() {
    let outside = |names: &[&str], change: &dyn Fn(&mut Charter)| {
        let mut world = World::with(permits);
        train(&mut world, SESSION, names, change);
        [BANK, A].map(|party| codes(&check(&world, party)))
    };
    let found = [set([code::OUTSIDE_GRANT]), set([code::OUTSIDE_GRANT])];
    assert_eq!(outside(&["calls", "active"], &|_| ()), found);
    assert_eq!(outside(&[], &|charter| charter.decoy_factor = 1), found);
    assert_eq!(outside(&[], &|charter| charter.rows = 101), found);
    let mut world = World::with(|grant| {
        permits(grant);
        grant.train.alone = false;
    });
    train(&mut world, SESSION, &[], |_| ());
    assert_eq!([BANK, A].map(|party| codes(&check(&world, party))), found);
    let mut world = trained();
    train(&mut world, SessionId::from_bytes([9; 16]), &[], |_| ());
    assert_eq!(codes(&check(&world, A)), set([code::QUOTA_TOTAL]));
    assert_eq!(codes(&check(&world, BANK)), set([code::QUOTA_TOTAL]));
}

#[test]
fn connections_of_a_training_only_count_up() {
    let mut world = trained();
    let peer = world.parties[BANK].id.clone();
    world.log(A, Event::TrainAttempted { session: SESSION, peer, number: 1 });
    assert_eq!(codes(&check(&world, A)), set([code::SESSION_REPEATED]));
}

/// What the carrier signs when it gives the training up.
fn lapse(world: &World, acceptance: Signed<TrainAcceptance>, attempts: u64) -> Event {
    let lapse = TrainLapse {
        acceptance,
        protocol: PROTOCOL.into(),
        software: [1; 64],
        configuration: [2; 64],
        attempts,
        announcements: [3; 64],
        indicator: [1; 64],
        held_out: [0; 64],
        residuals: vec![[2; 64]],
        answered: Answered { count: 1, steps: [4; 64], before: [5; 64], last: [6; 64] },
        lapsed_at_ms: world.now_ms,
    };
    Event::TrainLapsed(Box::new(Signed::sign(lapse, world.parties[A].key())))
}

fn acceptance(world: &World) -> Signed<TrainAcceptance> {
    let accepted = world.parties[A].first("train accepted");
    let Event::TrainAccepted(acceptance) = &world.parties[A].entries[accepted].event else { panic!() };
    (**acceptance).clone()
}

/// The training, which its bank did not end.
fn lapsed() -> World {
    let mut world = trained();
    let over = ["train completed", "countersigned", "train result"];
    for party in [A, BANK] {
        world.parties[party].entries.retain(|entry| !over.contains(&entry.event.kind()));
    }
    let event = lapse(&world, acceptance(&world), 1);
    world.log(A, event);
    world
}

#[test]
fn a_training_that_its_bank_did_not_end_is_told_as_such_and_is_no_difference() {
    let mut world = lapsed();
    for reported in [false, true] {
        // Whatever the bank says of it.
        if reported {
            let peer = world.parties[A].id.clone();
            world.log(BANK, Event::Failed { session: Some(SESSION), peer, code: "TRAIN_EXPIRED".into() });
        }
        for party in [BANK, A] {
            assert_eq!(codes(&check(&world, party)), set([]));
        }
        let report = compare(&world);
        assert_eq!(report.differences, []);
        let pair = &report.pairs[0];
        assert_eq!((pair.jobs, pair.jobs_agreed, pair.jobs_lapsed), (1, 0, 1));
        assert!(pair.explained.is_empty() && report.to_string().contains("the 1 step that"), "{report}");
    }
    let again = world.parties[A].entries.last().unwrap().event.clone();
    world.log(A, again);
    assert_eq!(codes(&check(&world, A)), set([]));
    // The provider was killed before it logged what it had accepted.
    let mut world = lapsed();
    let of_the_begin = ["train accepted", "train attempted"];
    world.parties[A].entries.retain(|entry| !of_the_begin.contains(&entry.event.kind()));
    assert_eq!(codes(&check(&world, A)), set([]));
}

#[test]
fn a_bank_that_hides_or_changes_the_request_of_a_training_that_lapsed_is_found() {
    let mut world = lapsed();
    let index = world.parties[BANK].first("train requested");
    let Event::TrainRequested(request) = world.parties[BANK].entries.remove(index).event else { panic!() };
    assert_eq!(difference_codes(&world), [code::SESSION_MISSING]);
    let other = TrainRequest { seed: [9; 32], ..request.body().clone() };
    let other = Signed::sign(other, world.parties[BANK].key());
    world.log(BANK, Event::TrainRequested(Box::new(other)));
    assert_eq!(difference_codes(&world), [code::REQUEST_DIFFERS]);
}

#[test]
fn a_provider_that_goes_on_after_a_lapse_or_has_a_receipt_too_is_found() {
    let contradicted = |mut world: World, event: Event| {
        world.log(A, event);
        assert_eq!(codes(&check(&world, A)), set([code::SESSION_LAPSED]));
    };
    let (done, given_up) = (trained(), lapsed());
    let after = lapse(&done, acceptance(&done), 1);
    contradicted(done, after);
    let other = lapse(&given_up, acceptance(&given_up), 2);
    contradicted(given_up, other);
    let given_up = lapsed();
    let peer = given_up.parties[BANK].id.clone();
    contradicted(given_up, Event::TrainAttempted { session: SESSION, peer, number: 2 });
}

#[test]
fn a_lapse_is_signed_by_the_provider_stands_in_its_own_log_and_is_of_no_later_time() {
    let mut world = lapsed();
    let index = world.parties[A].first("train lapsed");
    let Event::TrainLapsed(lapsed) = world.parties[A].entries[index].event.clone() else { panic!() };
    world.parties[A].entries[index].event = Event::TrainLapsed(Box::new(unsigned(&lapsed)));
    assert_eq!(codes(&check(&world, A)), set([code::RECEIPT_SIGNATURE]));
    let later = TrainLapse { lapsed_at_ms: world.now_ms + 3_600_000, ..lapsed.body().clone() };
    let later = Signed::sign(later, world.parties[A].key());
    world.parties[A].entries[index].event = Event::TrainLapsed(Box::new(later));
    assert_eq!(codes(&check(&world, A)), set([code::TIME_DIFFERS]));
    world.log(BANK, Event::TrainLapsed(lapsed));
    assert!(codes(&check(&world, BANK)).contains(code::FOREIGN_RECORD));
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn an_acceptance_may_be_logged_long_after_it_was_kept_and_not_before_it_was_made() {
    let mut world = trained();
    let index = world.parties[A].first("train accepted");
    let made = acceptance(&world).body().accepted_at_ms;
    let mut at = |at_ms| {
        world.parties[A].entries[index].at_ms = at_ms;
        codes(&check(&world, A))
    };
    assert!(!at(made + DAY_MS).contains(code::TIME_DIFFERS));
    assert!(at(made - DAY_MS).contains(code::TIME_DIFFERS));
}

#[test]
fn a_training_may_be_accepted_long_after_it_was_asked_for_and_not_before() {
    let accepted = |after_ms: u64, before_ms: u64| {
        let mut world = World::with(permits);
        train_at(&mut world, SESSION, &[], (after_ms, before_ms), |_| ());
        [BANK, A].map(|party| codes(&check(&world, party)).contains(code::TIME_DIFFERS))
    };
    assert_eq!(accepted(DAY_MS / 2, 0), [false; 2]);
    assert_eq!(accepted(0, 300_000), [false; 2]);
    assert_eq!(accepted(0, 300_001), [true; 2]);
}

#[test]
fn a_receipt_may_be_logged_long_after_it_was_kept_and_not_before_it_was_made() {
    let mut world = trained();
    let index = world.parties[A].first("train completed");
    let Event::TrainCompleted(kept) = world.parties[A].entries[index].event.clone() else { panic!() };
    let mut at = |completed_at_ms| {
        let receipt = TrainReceipt { completed_at_ms, ..kept.body().clone() };
        let receipt = Signed::sign(receipt, world.parties[A].key());
        world.parties[A].entries[index].event = Event::TrainCompleted(Box::new(receipt));
        codes(&check(&world, A))
    };
    let made = kept.body().completed_at_ms;
    assert!(!at(made - DAY_MS).contains(code::TIME_DIFFERS));
    assert!(at(made + DAY_MS).contains(code::TIME_DIFFERS));
}
