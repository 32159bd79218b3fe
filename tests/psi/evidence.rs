//! What both logs hold of jobs, and that an auditor finds them to agree.

use windvane::audit::{VerifyOptions, reconcile, verify};
use windvane::clock::Clock as _;
use windvane::identity::Layout;
use windvane::store::Store;
use windvane_proto::psi::v1::frame::Body;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::{Record as _, Signed};

use super::hostile::{HASTY, between};
use super::{World, grant, psi_terms};
use crate::lab::{Party, events};

/// Both logs at rest, held against each other.
pub(super) fn agree(bank: &Party, carrier: &Party) -> windvane::audit::ReconcileReport {
    let report = reconcile(&[bank.log_dir(), carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn both_logs_hold_the_same_receipt_and_the_audit_finds_nothing() {
    let world = World::new(0..300, &grant(psi_terms(), 0)).await;
    let mut plan = world.plan("job", 200..500);
    plan.payload_columns = vec!["tag".into()];
    let report = world.run(&plan).await.unwrap();
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();

    let receipt = |party: &Party| {
        let found = events(party).into_iter().find_map(|event| match event {
            Event::PsiCompleted(receipt) => Some(receipt),
            _ => None,
        });
        found.unwrap()
    };
    assert_eq!(receipt(&bank), receipt(&carrier));
    let receipt = receipt(&bank);
    assert!(Signed::verify(&receipt, &carrier.admin.keys().receipt.verifying_key()));
    let (request, acceptance) = (receipt.body().request(), receipt.body().acceptance.body());
    assert_eq!(request.payload_columns, ["tag"]);
    assert_eq!(request.purpose, "screening");
    assert_eq!(acceptance.parameters.failure_bits(), report.failure_bits);
    assert_eq!(hex::encode(receipt.body().transcript), report.transcript);

    let pair = agree(&bank, &carrier).pairs.remove(0);
    assert_eq!((pair.jobs, pair.jobs_agreed, pair.countersigned), (1, 1, 1));
    let result = |party: &Party| events(party).iter().any(|e| matches!(e, Event::PsiResult { .. }));
    assert!(result(&bank) && !result(&carrier), "the result stands in the receiver's log alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_job_is_explained_in_both_logs() {
    let mut terms = psi_terms();
    terms.max_requester_rows = 5;
    let world = World::new(0..300, &grant(terms, 0)).await;
    world.run(&world.plan("job", 0..10)).await.unwrap_err();
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    let pair = agree(&bank, &carrier).pairs.remove(0);
    assert_eq!((pair.jobs, pair.jobs_agreed), (1, 0));
    assert_eq!(pair.explained.get("GRANT_ROWS"), Some(&1));
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_and_withheld_results_pass_the_audit() {
    let world = World::new(0..300, &grant(psi_terms(), 50)).await;
    for (name, customers) in [("above", 0..60), ("below", 290..400)] {
        let mut plan = world.plan(name, customers);
        plan.mode = "minimum".into();
        world.run(&plan).await.unwrap();
    }
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    assert_eq!(agree(&bank, &carrier).pairs[0].jobs_agreed, 2);
    for party in [&bank, &carrier] {
        let released = events(party).iter().filter(|e| matches!(e, Event::PsiReleased(_))).count();
        assert_eq!(released, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_log_verifies_alone() {
    let world = World::new(0..50, &grant(psi_terms(), 0)).await;
    world.run(&world.plan("job", 0..60)).await.unwrap();
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    let report = verify(&carrier.log_dir(), &VerifyOptions::default());
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.counts["psi accepted"], 1);
    assert_eq!(report.uncountersigned, 0);
    let report = verify(&bank.log_dir(), &VerifyOptions::default());
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.counts["psi requested"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_wait_come_into_a_jobs_log_before_its_own() {
    let world = World::new(0..50, &grant(psi_terms(), 0)).await;
    let store = Store::open(&Layout::new(world.bank.config.node.data_dir.clone()).state()).unwrap();
    let wait = |name: &str| {
        let event = Event::User { name: name.into(), action: "admitted".into() };
        let entry = Entry::new(world.lab.clock.now_ms(), event).encode().into_bytes();
        store.queue_entry(&entry).unwrap();
    };
    // What a node left when it stopped, long before the job; and what a command does while the job has the log.
    wait("before");
    world.lab.clock.advance_ms(600_000);
    let runner = world.runner();
    wait("beside");
    world.lab.clock.advance_ms(600_000);
    let job = runner.begin(&world.plan("job", 0..60)).unwrap();
    runner.run(job, &()).await.unwrap();
    wait("at the end");
    runner.close().await.unwrap();
    assert!(store.outbox().unwrap().is_empty());
    let bank_node = world.lab.start(&world.bank).await;
    bank_node.stop().await.unwrap();
    world.node.stop().await.unwrap();
    let place = |wanted: &dyn Fn(&Event) -> bool| events(&world.bank).iter().position(wanted).unwrap();
    let user =
        |wanted: &'static str| place(&move |e| matches!(e, Event::User { name, .. } if name == wanted));
    let requested = place(&|event| matches!(event, Event::PsiRequested(_)));
    let completed = place(&|event| matches!(event, Event::PsiCompleted(_)));
    assert!(user("before") < user("beside") && user("beside") < requested && completed < user("at the end"));
    let report = verify(&world.bank.log_dir(), &VerifyOptions::default());
    assert!(report.is_ok(), "{report}");
}

/// A world in which a job ran whose countersignature was lost on the way.
async fn countersignature_lost() -> World {
    let mut world = World::with(0..300, &grant(psi_terms(), 0), HASTY).await;
    let honest = world.bank.config.providers[0].address.clone();
    between(&mut world, Some, |frame| !matches!(frame.body, Some(Body::Countersign(_)))).await;
    let report = world.run(&world.plan("first", 200..500)).await.unwrap();
    assert_eq!(report.matches, Some(100));
    world.bank.config.providers[0].address = honest;
    let countersigned = events(&world.carrier).iter().any(|e| matches!(e, Event::Countersigned(_)));
    assert!(!countersigned);
    world
}

/// Every one of the world's jobs is countersigned in both logs.
async fn all_countersigned(world: World, jobs: u64) {
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    let pair = agree(&bank, &carrier).pairs.remove(0);
    assert_eq!((pair.jobs_agreed, pair.countersigned, pair.uncountersigned), (jobs, jobs, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_countersignature_that_was_lost_comes_with_the_banks_next_job() {
    let world = countersignature_lost().await;
    world.run(&world.plan("second", 0..10)).await.unwrap();
    all_countersigned(world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_countersignature_that_was_lost_comes_from_the_banks_node() {
    let world = countersignature_lost().await;
    let bank_node = world.lab.start(&world.bank).await;
    // A node countersigns what waits at the latest before it stops.
    bank_node.stop().await.unwrap();
    all_countersigned(world, 1).await;
}
