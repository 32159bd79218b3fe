//! A job that was killed goes on where it was: same result, finished buckets not run again, logs that agree.
//!
//! The party to be killed runs in a process of its own, and a debug build sends itself SIGKILL at the stage that
//! `WINDVANE_CRASH_AT` names.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use windvane::audit::reconcile;
use windvane::psi::folder::{JobFolder, JobState};
use windvane::psi::{JobPlan, Stage};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::SessionId;

use super::process::{Process, session};
use super::{World, grant, ids, lines, psi_terms};
use crate::lab::{Party, events};

const SIGKILL: i32 = 9;

/// A job of eight buckets that is not begun.
async fn prepared(protocol: &str) -> (World, JobPlan, SessionId) {
    let world = World::new((0..900).map(|i| 2 * i), &grant(psi_terms(), 0)).await;
    let mut plan = world.plan("job", 0..1_000);
    plan.payload_columns = vec!["tag".into()];
    plan.protocol = protocol.into();
    let job = world.begun(&plan).await;
    (world, plan, job)
}

/// The result is the whole one, nothing that was finished ran again, and both logs agree on the transcript.
async fn concluded(world: World, plan: &JobPlan, job: SessionId, before: &JobState) {
    let report = world.go_on(job).await.unwrap();
    let expected: Vec<_> =
        ids((0..1_000).step_by(2)).into_iter().map(|id| format!("{id},t{}", &id[1..])).collect();
    assert_eq!(lines(&plan.output), expected);
    assert_eq!(report.matches, Some(500));
    let state = |party: &Party, name: &str| {
        JobFolder::peek(&party.config.node.data_dir, session(name)).unwrap().unwrap()
    };
    let (bank, carrier) = (state(&world.bank, &report.job), state(&world.carrier, &report.session));
    // A bucket's hash covers the number of the connection that it ran on.
    assert!(before.finished.iter().all(|(bucket, hash)| bank.finished.get(bucket) == Some(hash)));
    assert_eq!(bank.finished, carrier.finished);
    assert_eq!(bank.finished.len(), 8);
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    for party in [&bank, &carrier] {
        assert_eq!(transcripts(party), [report.transcript.as_str()]);
    }
    let report = reconcile(&[bank.log_dir(), carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
    assert_eq!((report.pairs[0].jobs_agreed, report.pairs[0].countersigned), (1, 1), "{report}");
}

/// The transcripts of the receipts in a party's log.
fn transcripts(party: &Party) -> Vec<String> {
    let transcript = |event| match event {
        Event::PsiCompleted(receipt) => Some(hex::encode(receipt.body().transcript)),
        _ => None,
    };
    events(party).into_iter().filter_map(transcript).collect()
}

/// A job whose bank was killed at a stage, and what the bank kept by then.
async fn bank_killed(protocol: &str, stage: &str) -> (World, JobPlan, SessionId, JobState) {
    let (world, plan, job) = prepared(protocol).await;
    let status = Process::bank(&world, job, Some(stage)).ended();
    assert_eq!(status.signal(), Some(SIGKILL), "{protocol}, {stage}: {status}");
    let before = JobFolder::peek(&world.bank.config.node.data_dir, job).unwrap().unwrap();
    // The carrier notices the broken connection by itself.
    (released(world, job).await, plan, job, before)
}

/// Waits until the carrier has given up the killed bank's connection.
async fn released(world: World, job: SessionId) -> World {
    let root = &world.carrier.config.node.data_dir;
    for _ in 0..600 {
        match JobFolder::peek(root, job).unwrap() {
            Some(state) if state.ended.is_none() && state.completed_at_ms.is_none() => {}
            _ => return world,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the carrier holds on to a connection that is gone");
}

/// As [`bank_killed`], of the carrier; it runs again.
async fn carrier_killed(protocol: &str, stage: &str) -> (World, JobPlan, SessionId, JobState) {
    let (world, plan, job) = prepared(protocol).await;
    let mut world = world.stopped().await;
    let (mut process, address) = Process::carrier(&world, Some(stage)).await;
    world.bank.config.providers[0].address = address;
    let error = world.go_on(job).await.unwrap_err();
    assert!(["PEER_CLOSED", "PEER_UNAVAILABLE", "PEER_ERROR"].contains(&error.code()), "{stage}: {error:?}");
    let status = process.ended();
    assert_eq!(status.signal(), Some(SIGKILL), "{protocol}, {stage}: {status}");
    let before = JobFolder::peek(&world.bank.config.node.data_dir, job).unwrap().unwrap();
    (world.restarted().await, plan, job, before)
}

/// The stages at which a party is killed, and which time that it passes them: buckets in the middle of the job.
const KILLS: [(Stage, u64); 10] = [
    (Stage::Requested, 1),
    (Stage::Open, 1),
    (Stage::Accepted, 1),
    (Stage::Partitioned, 1),
    (Stage::BucketStarted, 3),
    (Stage::BucketSent, 2),
    (Stage::BucketFinished, 1),
    (Stage::BucketFinished, 5),
    (Stage::Receipt, 1),
    (Stage::Output, 1),
];

#[test]
fn every_stage_has_its_kill() {
    assert!(Stage::ALL.iter().all(|stage| KILLS.iter().any(|(kill, _)| kill == stage)));
}

async fn bank_killed_everywhere(protocol: &str) {
    for (stage, times) in KILLS {
        let (world, plan, job, before) = bank_killed(protocol, &format!("{stage}:{times}")).await;
        if stage == Stage::BucketFinished {
            // Buckets run beside each other: another one may have been kept in the moment of the kill.
            assert!(before.finished.len() as u64 >= times);
        }
        concluded(world, &plan, job, &before).await;
    }
}

async fn carrier_killed_everywhere(protocol: &str) {
    // The request and the output are the bank's own.
    let own = [Stage::Requested, Stage::Output];
    for (stage, times) in KILLS.into_iter().filter(|(stage, _)| !own.contains(stage)) {
        let (world, plan, job, before) = carrier_killed(protocol, &format!("{stage}:{times}")).await;
        concluded(world, &plan, job, &before).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_at_any_stage_of_ecdh_goes_on() {
    bank_killed_everywhere("ecdh").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_at_any_stage_of_vole_goes_on() {
    bank_killed_everywhere("vole").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_killed_at_any_stage_of_ecdh_goes_on() {
    carrier_killed_everywhere("ecdh").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_killed_at_any_stage_of_vole_goes_on() {
    carrier_killed_everywhere("vole").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_input_does_not_go_on() {
    let (world, plan, job, _) = bank_killed("ecdh", "bucket-finished:2").await;
    let text = std::fs::read_to_string(&plan.input).unwrap();
    std::fs::write(&plan.input, text.replacen("c7,", "c8,", 1)).unwrap();
    assert_eq!(world.go_on(job).await.unwrap_err().code(), "INPUT_CHANGED");
    assert!(!plan.output.exists());
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_key_columns_changed_is_another_list() {
    let (mut world, plan, job, _) = bank_killed("ecdh", "bucket-finished:2").await;
    world.carrier.config.lists[0].key_columns = vec!["note".into()];
    let world = world.restarted().await;
    assert_eq!(world.go_on(job).await.unwrap_err().code(), "LIST_CHANGED");
    assert!(!plan.output.exists());
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_behind_its_last_bucket_reports_repeated_rows_all_the_same() {
    let (world, plan, job) = prepared("ecdh").await;
    let text = std::fs::read_to_string(&plan.input).unwrap();
    std::fs::write(&plan.input, format!("{text}c0,{}\n", super::phone(0))).unwrap();
    let status = Process::bank(&world, job, Some("bucket-finished:8")).ended();
    assert_eq!(status.signal(), Some(SIGKILL), "{status}");
    let root = world.bank.config.node.data_dir.clone();
    let duplicates = JobFolder::path_of(&root, job).join("duplicates.csv");
    assert!(!duplicates.exists());
    let before = JobFolder::peek(&root, job).unwrap().unwrap();
    assert_eq!(before.finished.len(), 8);
    let world = released(world, job).await;
    world.go_on(job).await.unwrap();
    assert_eq!(lines(&duplicates), ["1000,0"]);
    concluded(world, &plan, job, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_behind_its_last_bucket_gets_its_receipt_whatever_became_of_list_and_grant() {
    for stage in ["bucket-finished:8", "receipt:1"] {
        let (world, plan, job, before) = bank_killed("ecdh", stage).await;
        assert_eq!(before.finished.len(), 8);
        let kept = JobFolder::path_of(&world.bank.config.node.data_dir, job).join("receipt");
        if kept.exists() {
            // As if it had been killed before it kept what its log has.
            std::fs::remove_file(kept).unwrap();
        }
        let ended = || JobFolder::peek(&world.carrier.config.node.data_dir, job).unwrap().unwrap().ended;
        while ended().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::remove_file(world.lab.dir.path().join("risk.csv")).unwrap();
        world.lab.clock.advance_ms(11 * 86_400_000);
        let report = world.go_on(job).await.unwrap();
        assert_eq!((report.matches, lines(&plan.output).len()), (Some(500), 500), "{stage}");
        let World { bank, carrier, node, .. } = world;
        node.stop().await.unwrap();
        let report = reconcile(&[bank.log_dir(), carrier.log_dir()]);
        assert!(report.is_ok(), "{stage}: {report}");
        assert_eq!((report.pairs[0].jobs_agreed, report.pairs[0].countersigned), (1, 1), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_countersignature_that_a_kill_kept_back_comes_from_the_banks_node() {
    let (world, ..) = bank_killed("ecdh", "receipt:1").await;
    let bank_node = world.lab.start(&world.bank).await;
    // A node countersigns what waits at the latest before it stops.
    bank_node.stop().await.unwrap();
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    let report = reconcile(&[bank.log_dir(), carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
    assert_eq!((report.pairs[0].countersigned, report.pairs[0].uncountersigned), (1, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_cut_from_no_other_input_than_the_jobs_also_behind_its_receipt() {
    let (world, plan, job, before) = bank_killed("ecdh", "receipt:1").await;
    let text = std::fs::read_to_string(&plan.input).unwrap();
    let shorter: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    for changed in [text.replacen("c7,", "c8,", 1), text.clone() + "c9,x\n", shorter] {
        std::fs::write(&plan.input, changed).unwrap();
        assert_eq!(world.go_on(job).await.unwrap_err().code(), "INPUT_CHANGED");
        let left = plan.output.with_extension("csv.tmp");
        assert!(!plan.output.exists() && !left.exists());
    }
    std::fs::write(&plan.input, text).unwrap();
    concluded(world, &plan, job, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_went_on_with_for_a_month_is_over_and_its_matches_are_gone() {
    let (world, plan, job, before) = bank_killed("ecdh", "bucket-finished:2").await;
    assert!(!before.finished.is_empty());
    let folder = JobFolder::path_of(&world.bank.config.node.data_dir, job);
    assert!(folder.join("matches").exists());
    world.lab.clock.advance_ms(31 * 86_400_000);
    assert_eq!(world.go_on(job).await.unwrap_err().code(), "JOB_EXPIRED");
    let left = std::fs::read_dir(folder.join("matches")).map_or(0, Iterator::count);
    assert!(left == 0 && !plan.output.exists());
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_and_can_go_on() {
    let (world, plan, job) = prepared("ecdh").await;
    let runner = world.runner();
    let root = world.bank.config.node.data_dir.clone();
    struct Canceller(PathBuf, SessionId);
    impl windvane::psi::JobProgress for Canceller {
        fn stage(&self, stage: Stage) {
            if stage == Stage::Accepted {
                JobFolder::cancel(&self.0, self.1).unwrap();
            }
        }
        fn buckets(&self, _: u64, _: u64) {}
        fn reading(&self) -> &dyn windvane::dataset::Progress {
            &()
        }
    }
    let error = runner.run(job, &Canceller(root.clone(), job)).await.unwrap_err();
    runner.close().await.unwrap();
    assert_eq!(error.code(), "JOB_CANCELLED");
    assert!(!plan.output.exists());
    let before = JobFolder::peek(&root, job).unwrap().unwrap();
    assert_eq!(before.ended.as_deref(), Some("JOB_CANCELLED"));
    concluded(released(world, job).await, &plan, job, &before).await;
}
