//! What a grant does not permit is refused before anything of either table moves.

use std::sync::Mutex;

use windvane::admin::GrantTerms;
use windvane::dataset::Progress;
use windvane::psi::{JobProgress, Stage};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::PsiTerms;

use super::{World, grant, lines, psi_terms};
use crate::lab::{events, failures};

/// The stages that a job reaches.
#[derive(Default)]
struct Stages(Mutex<Vec<Stage>>);

impl JobProgress for Stages {
    fn stage(&self, stage: Stage) {
        self.0.lock().unwrap().push(stage);
    }

    fn buckets(&self, _: u64, _: u64) {}

    fn reading(&self) -> &dyn Progress {
        &()
    }
}

/// The codes that the bank and the carrier's log have for one job.
async fn refused(terms: &GrantTerms, change: impl FnOnce(&mut windvane::psi::JobPlan)) -> String {
    let world = World::new(0..50, terms).await;
    let mut plan = world.plan("job", 0..60);
    change(&mut plan);
    let (runner, stages) = (world.runner(), Stages::default());
    let job = runner.begin(&plan).unwrap();
    let error = runner.run(job, &stages).await.unwrap_err();
    runner.close().await.unwrap();
    // Tables are partitioned, and buckets move, behind the acceptance only.
    assert_eq!(*stages.0.lock().unwrap(), [Stage::Requested, Stage::Open]);
    assert_eq!(failures(&world.carrier, &world.node).await, [error.code()]);
    world.node.stop().await.unwrap();
    let accepted = events(&world.carrier).iter().any(|event| matches!(event, Event::PsiAccepted(_)));
    assert!(!accepted && !plan.output.exists());
    error.code().to_owned()
}

fn with(change: impl FnOnce(&mut PsiTerms)) -> GrantTerms {
    let mut terms = psi_terms();
    change(&mut terms);
    grant(terms, 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_beyond_the_grant_are_refused_on_either_side() {
    assert_eq!(refused(&with(|t| t.max_requester_rows = 59), |_| ()).await, "GRANT_ROWS");
    assert_eq!(refused(&with(|t| t.max_provider_rows = 49), |_| ()).await, "GRANT_ROWS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_not_granted_or_not_there_is_refused() {
    let column = |name: &str| {
        let name = name.to_owned();
        move |plan: &mut windvane::psi::JobPlan| plan.payload_columns = vec![name]
    };
    assert_eq!(refused(&grant(psi_terms(), 0), column("note")).await, "GRANT_COLUMN");
    assert_eq!(refused(&with(|t| t.payload_columns = vec!["x".into()]), column("x")).await, "GRANT_COLUMN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_no_result_can_have_is_refused_before_anybody_is_asked() {
    let world = World::new(0..50, &with(|t| t.runs = 1)).await;
    let mut plan = world.plan("job", 0..60);
    plan.columns = vec!["name".into()];
    let runner = world.runner();
    assert_eq!(runner.begin(&plan).unwrap_err().code(), "COLUMN_MISSING");
    plan.columns = vec!["tag".into()];
    plan.payload_columns = vec!["tag".into()];
    std::fs::write(&plan.input, "tag,phone\n").unwrap();
    assert_eq!(runner.begin(&plan).unwrap_err().code(), "COLUMN_REPEATED");
    runner.close().await.unwrap();
    // The grant's one run is still there.
    world.run(&world.plan("other", 0..60)).await.unwrap();
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimum_cannot_be_avoided() {
    assert_eq!(refused(&grant(psi_terms(), 5), |_| ()).await, "GRANT_MINIMUM");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_rows_than_the_minimum_are_not_counted() {
    for mode in ["cardinality", "minimum"] {
        let counted = |plan: &mut windvane::psi::JobPlan| plan.mode = mode.into();
        assert_eq!(refused(&grant(psi_terms(), 61), counted).await, "GRANT_MINIMUM", "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_cannot_be_are_refused() {
    let tiny = |plan: &mut windvane::psi::JobPlan| plan.bucket_rows = 0;
    assert_eq!(refused(&grant(psi_terms(), 0), tiny).await, "PARAMETERS_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_other_items_is_refused() {
    let other = |plan: &mut windvane::psi::JobPlan| plan.key = windvane::psi::key::KeyKind::Text;
    assert_eq!(refused(&grant(psi_terms(), 0), other).await, "LIST_KEY");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_grant_is_refused() {
    let world = World::new(0..50, &GrantTerms { days: 1, ..grant(psi_terms(), 0) }).await;
    world.lab.clock.advance_ms(86_400_001);
    let error = world.run(&world.plan("late", 0..10)).await.unwrap_err();
    assert_eq!(error.code(), "GRANT_EXPIRED");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_counted_and_stay_counted_after_a_restart() {
    let world = World::new(0..50, &with(|t| t.runs = 2)).await;
    for name in ["first", "second"] {
        world.run(&world.plan(name, 0..60)).await.unwrap();
    }
    assert_eq!(world.run(&world.plan("third", 0..60)).await.unwrap_err().code(), "GRANT_EXHAUSTED");
    let world = world.restarted().await;
    assert_eq!(world.run(&world.plan("fourth", 0..60)).await.unwrap_err().code(), "GRANT_EXHAUSTED");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_comes_once_unless_the_grant_says_otherwise() {
    let world = World::new(0..50, &with(|t| t.repeated_input = false)).await;
    let first = world.plan("first", 0..60);
    world.run(&first).await.unwrap();
    assert_eq!(lines(&first.output).len(), 50);
    let again = world.plan("again", 0..60);
    assert_eq!(world.run(&again).await.unwrap_err().code(), "REPEATED_INPUT");
    // The items of another column are another input.
    world.run(&windvane::psi::JobPlan { key_columns: vec!["id".into()], ..again }).await.unwrap();
    world.run(&world.plan("other", 0..61)).await.unwrap();
    world.node.stop().await.unwrap();
}
