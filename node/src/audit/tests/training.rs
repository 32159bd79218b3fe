//! Trainings in the logs of both sides: they reconcile as set intersections do, and what does not hold is named.

use windvane_protocols::audit::grant::{Grant, Operation, TrainTerms};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::score::group::Identity;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::charter::{Charter, Unit};
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
    let acceptance = TrainAcceptance {
        request: request.clone(),
        announcement: Signed::sign(announcement, &carrier),
        bins: vec![3; 2],
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        input: [3; 32],
        accepted_at_ms: world.now_ms,
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
    for party in [A, BANK] {
        world.log(party, Event::TrainCompleted(Box::new(receipt.clone())));
        world.log(party, Event::Countersigned(countersignature.clone()));
    }
    world.log(BANK, Event::TrainResult { session, result: [9; 32] });
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
