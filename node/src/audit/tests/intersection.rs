//! Set intersections in the logs of both sides: what was accepted is what was asked for, in size, way and time.

use windvane_protocols::audit::grant::{Grant, Operation, PsiTerms};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::psi::{Mode, PROTOCOL, Protocol, PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest};

use super::*;

const SESSION: SessionId = SessionId::from_bytes([7; 16]);

fn permits(grant: &mut Grant) {
    grant.operations.push(Operation::Psi);
    grant.psi = PsiTerms {
        max_requester_rows: 1_000,
        max_provider_rows: 500,
        runs: 1,
        repeated_input: false,
        payload_columns: Vec::new(),
    };
}

/// What both sides log of a set intersection from its request to its countersignature, accepted as `change` has it.
fn intersected(change: impl Fn(&mut PsiAcceptance)) -> World {
    let mut world = World::with(permits);
    let (bank, carrier) = (world.parties[BANK].key().clone(), world.parties[A].key().clone());
    let request = PsiRequest {
        session: SESSION,
        requester: world.parties[BANK].id.clone(),
        provider: world.parties[A].id.clone(),
        grant: world.grants[0].id,
        purpose: "account_opening".into(),
        data_set: "subscribers".parse().unwrap(),
        protocol: Protocol::Ecdh,
        mode: Mode::MinimumThenRelease,
        minimum: 10,
        key: "phone".into(),
        payload_columns: Vec::new(),
        rows: 1_000,
        bucket_rows: 64,
        nonce: [1; 32],
        input: [2; 32],
        software: [1; 64],
        configuration: [2; 64],
        requested_at_ms: world.now_ms,
    };
    let mut acceptance = PsiAcceptance {
        parameters: PsiAcceptance::parameters(&request, 500, 0).unwrap(),
        request: Signed::sign(request.clone(), &bank),
        nonce: [3; 32],
        input: [4; 32],
        accepted_at_ms: world.now_ms,
    };
    change(&mut acceptance);
    let acceptance = Signed::sign(acceptance, &carrier);
    let release = PsiRelease { session: SESSION, count: [5; 32], signed_at_ms: world.now_ms };
    let release = Signed::sign(release, &bank);
    let receipt = PsiReceipt {
        acceptance: acceptance.clone(),
        protocol: PROTOCOL.into(),
        software: [1; 64],
        configuration: [2; 64],
        attempts: 1,
        transcript: [6; 64],
        release: release.digest().to_vec(),
        finished_at_ms: world.now_ms,
        witnessed_size: 0,
        witnessed_root: Vec::new(),
    };
    let receipt = Signed::sign(receipt, &carrier);
    let countersignature = Countersignature {
        requester: request.requester.clone(),
        provider: request.provider.clone(),
        receipts: vec![receipt.digest()],
        signed_at_ms: world.now_ms,
    };
    let countersignature = Signed::sign(countersignature, &bank);
    world.log(BANK, Event::PsiRequested(Box::new(Signed::sign(request, &bank))));
    world.log(A, Event::PsiAccepted(Box::new(acceptance)));
    for party in [A, BANK] {
        world.log(party, Event::PsiReleased(release.clone()));
    }
    world.log(BANK, Event::PsiResult { session: SESSION, result: [9; 32] });
    for party in [A, BANK] {
        world.log(party, Event::PsiCompleted(Box::new(receipt.clone())));
        world.log(party, Event::Countersigned(countersignature.clone()));
    }
    world
}

/// What the logs of both sides are found to have.
fn found(change: impl Fn(&mut PsiAcceptance)) -> [BTreeSet<&'static str>; 2] {
    let world = intersected(change);
    [BANK, A].map(|party| codes(&check(&world, party)))
}

#[test]
fn a_set_intersection_holds_in_both_logs_and_reconciles() {
    assert_eq!(found(|_| ()), [set([]), set([])]);
    let world = intersected(|_| ());
    let report = reconcile(&[BANK, A].map(|party| world.seal(party)));
    assert!(report.is_ok(), "{report}");
    assert_eq!((report.pairs[0].jobs_agreed, report.pairs[0].countersigned), (1, 1));
}

#[test]
fn a_bank_without_the_result_of_a_set_intersection_that_was_completed_is_found() {
    let mut world = intersected(|_| ());
    let index = world.parties[BANK].first("psi result");
    world.parties[BANK].entries.remove(index);
    assert_eq!(codes(&check(&world, BANK)), set([code::DECISION_MISSING]));
}

#[test]
fn an_acceptance_of_other_rows_or_another_mode_than_were_asked_for_is_found() {
    let differs = [set([code::COUNTS_DIFFER]), set([code::COUNTS_DIFFER])];
    let accepted = |change: fn(&mut PsiRequest)| {
        found(|acceptance| {
            let mut request = acceptance.request.body().clone();
            change(&mut request);
            acceptance.parameters = PsiAcceptance::parameters(&request, 500, 0).unwrap();
        })
    };
    assert_eq!(accepted(|request| request.rows = 2_000), differs);
    assert_eq!(accepted(|request| request.mode = Mode::Intersection), differs);
    assert_eq!(accepted(|_| ()), [set([]), set([])]);
}

#[test]
fn an_acceptance_of_a_time_before_its_request_is_found() {
    let before = |ms: u64| {
        let found = found(|acceptance| acceptance.accepted_at_ms -= ms);
        found.map(|codes| codes.contains(code::TIME_DIFFERS))
    };
    assert_eq!(before(300_000), [false; 2]);
    assert_eq!(before(300_001), [true; 2]);
}
