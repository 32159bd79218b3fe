//! Jobs whose first request nobody answered: they go on with another one, and both logs say what became of the first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;

use windvane::clock::{Clock as _, ShiftedClock};
use windvane::psi::folder::JobFolder;
use windvane::psi::{JobPlan, JobRunner, PsiError};
use windvane_proto::convert::PsiFrame;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::limits::MAX_PSI_ATTEMPTS;
use windvane_protocols::party::SessionId;
use windvane_protocols::psi::PsiRequest;

use super::evidence::agree;
use super::hostile::between;
use super::process::Process;
use super::{World, grant, ids, lines, psi_terms};
use crate::lab::{Party, events};

/// Longer than the carrier's clock tolerance, and than the audit's.
const LATE_MS: u64 = 600_000;

/// A grant that permits one job with one input.
async fn once() -> (World, JobPlan, SessionId) {
    let mut terms = psi_terms();
    (terms.runs, terms.repeated_input) = (1, false);
    let world = World::new(0..300, &grant(terms, 0)).await;
    let plan = world.plan("job", 200..500);
    let job = world.begun(&plan).await;
    (world, plan, job)
}

/// A bank that is killed when it has noted its first connection, before it says anything on it.
async fn opening_lost(world: &World, job: SessionId) {
    let status = Process::bank(world, job, Some("open")).ended();
    assert_eq!(status.signal(), Some(9), "{status}");
    assert_eq!(attempts(world, job), 1);
}

/// The connections of the bank's present request.
fn attempts(world: &World, job: SessionId) -> u64 {
    JobFolder::peek(&world.bank.config.node.data_dir, job).unwrap().unwrap().attempts
}

/// The requests in a bank's log.
fn requests(bank: &Party) -> Vec<PsiRequest> {
    let request = |event| match event {
        Event::PsiRequested(request) => Some(request.body().clone()),
        _ => None,
    };
    events(bank).into_iter().filter_map(request).collect()
}

/// The job goes through; its requests have sessions of their own, all but the last are explained so, and one was
/// accepted.
async fn concluded(world: World, plan: &JobPlan, job: SessionId, explained: &[(&str, u64)]) {
    let report = world.go_on(job).await.unwrap();
    assert_eq!(lines(&plan.output), ids(200..300));
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    let requests = requests(&bank);
    assert_eq!(requests[0].session, job);
    let last = requests.last().unwrap().session.to_string();
    assert_eq!((report.job, report.session), (job.to_string(), last));
    let pair = agree(&bank, &carrier).pairs.remove(0);
    let expected: BTreeMap<_, _> = explained.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect();
    assert_eq!(pair.explained, expected);
    assert_eq!((pair.jobs, pair.jobs_agreed), (requests.len() as u64, 1));
    assert_eq!(requests.len() as u64, 1 + explained.iter().map(|(_, n)| n).sum::<u64>());
    let accepted =
        events(&carrier).into_iter().filter(|event| matches!(event, Event::PsiAccepted(_))).count();
    assert_eq!(accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_carrier_was_down_for_long_goes_through() {
    let (world, plan, job) = once().await;
    let world = world.stopped().await;
    assert_eq!(world.go_on(job).await.unwrap_err().code(), "PEER_UNAVAILABLE");
    world.lab.clock.advance_ms(LATE_MS);
    concluded(world.restarted().await, &plan, job, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_is_down_uses_up_no_connections_of_a_job() {
    let (world, plan, job) = once().await;
    opening_lost(&world, job).await;
    let world = world.stopped().await;
    for _ in 0..2 {
        assert_eq!(world.go_on(job).await.unwrap_err().code(), "PEER_UNAVAILABLE");
    }
    assert_eq!(attempts(&world, job), 1);
    concluded(world.restarted().await, &plan, job, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_accepted_on_all_its_connections_is_followed_by_another() {
    let (world, plan, job) = once().await;
    opening_lost(&world, job).await;
    let journal = JobFolder::path_of(&world.bank.config.node.data_dir, job).join("journal");
    let at_ms = world.lab.clock.now_ms();
    let spent = format!("{{\"attempt\":{{\"number\":{MAX_PSI_ATTEMPTS},\"at_ms\":{at_ms}}}}}\n");
    File::options().append(true).open(journal).unwrap().write_all(spent.as_bytes()).unwrap();
    assert_eq!(attempts(&world, job), MAX_PSI_ATTEMPTS);
    concluded(world, &plan, job, &[("JOB_ATTEMPTS", 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_grant_ran_out_before_it_was_accepted_goes_on_under_the_next() {
    let (world, plan, job) = once().await;
    opening_lost(&world, job).await;
    world.lab.clock.advance_ms(11 * 86_400_000);
    world.grant(&grant(psi_terms(), 0)).await;
    concluded(world, &plan, job, &[("GRANT_EXPIRED", 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_acceptance_was_lost_is_still_accepted() {
    let (mut world, plan, job) = once().await;
    let honest = world.bank.config.providers[0].address.clone();
    let lost = |frame| match frame {
        PsiFrame::Accept(_) => Some(PsiFrame::Done(0)),
        other => Some(other),
    };
    between(&mut world, lost, |_| true).await;
    assert_eq!(world.go_on(job).await.unwrap_err().code(), "PEER_CLOSED");
    world.bank.config.providers[0].address = honest;
    let world = world.restarted().await;
    world.lab.clock.advance_ms(LATE_MS);
    concluded(world, &plan, job, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_kept_and_not_sent_never_is() {
    let (world, plan, job) = once().await;
    let status = Process::bank(&world, job, Some("requested")).ended();
    assert_eq!(status.signal(), Some(9), "{status}");
    world.lab.clock.advance_ms(LATE_MS);
    concluded(world, &plan, job, &[("INTERRUPTED", 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_are_told_and_end_no_job() {
    let (world, plan, job) = once().await;
    let wrong = ShiftedClock::default();
    wrong.advance_ms(120_000);
    let run = async || -> PsiError {
        let runner = JobRunner::open(&world.bank.config, Arc::new(wrong.clone())).unwrap();
        let error = runner.run(job, &()).await.unwrap_err();
        runner.close().await.unwrap();
        error
    };
    // Every run asks with one new request, and no run with more.
    for asked in [1, 2] {
        assert_eq!(run().await.code(), "CLOCK_SKEW");
        assert_eq!(requests(&world.bank).len(), asked);
    }
    assert!(wrong.now_ms() > world.lab.clock.now_ms());
    concluded(world, &plan, job, &[("CLOCK_SKEW", 2)]).await;
}
