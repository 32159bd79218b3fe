//! Whatever ends a node while it writes, or fails under it, what was acknowledged stays and the next run goes on.
//!
//! A process of its own runs a [`Scenario`] on a copy of two parties' files. It is killed at a named stage, or at a
//! system call, or one of its system calls fails as on a failing disk (`strace` injects the fault into the
//! unmodified program), or its disk is full (a small `tmpfs` in a mount namespace of its own). Then [`recovery`] holds
//! what is left against what the process had acknowledged, and runs the scenario again.
//!
//! `WINDVANE_CRASH_CALLS=all` makes every counted system call fail and kill in turn; without it a spread of them.

#![expect(clippy::print_stderr, reason = "what was hit is wanted in the output")]

use std::collections::BTreeMap;

use windvane::bank::stage::Stage as VerificationStage;
use windvane::dataset::stage::FullStage;
use windvane::evidence::stage::Stage as LogStage;
use windvane::snapshot::stage::FetchStage;

mod calls;
mod full;
mod outbox;
mod process;
mod recovery;
mod retire;
mod scenario;

use crate::say::say;
use calls::{Effect, Fault, Sample};
use process::{Ended, Template};
use recovery::recover;
use scenario::Scenario;

/// What a scenario's faults came to.
#[derive(Debug, Default)]
struct Tally {
    /// Calls that failed or killed, by name and effect.
    hit: BTreeMap<(String, &'static str), u64>,
    /// Runs that told of an error, by its code.
    codes: BTreeMap<String, u64>,
    /// Runs in which nothing had to be told.
    absorbed: u64,
    /// Runs whose call did not come.
    missed: u64,
    runs: u64,
}

impl Tally {
    fn add(&mut self, fault: &Fault, ended: &Ended) {
        self.runs += 1;
        let hits = ended.hits;
        if hits == 0 {
            self.missed += 1;
            return;
        }
        *self.hit.entry((fault.call.clone(), fault.effect.name())).or_default() += hits;
        let codes = ended.codes();
        if codes.is_empty() && fault.effect != Effect::Kill {
            self.absorbed += 1;
        }
        for code in codes {
            *self.codes.entry(code).or_default() += 1;
        }
    }
}

/// Makes system calls of a scenario fail, or kill, one after another.
async fn in_turn(scenario: Scenario, sample: Sample) {
    if !calls::available() {
        say(format_args!("NOT RUN: {scenario:?} on a failing disk needs strace and the right to trace"));
        return;
    }
    let template = Template::new().await;
    let faults = calls::count(&template, scenario).faults(sample);
    assert!(!faults.is_empty());
    let mut tally = Tally::default();
    for fault in faults {
        let run = template.copy();
        let ended = run.with_fault(scenario, &fault);
        ended.is_as_designed(&fault);
        recover(&run, scenario, &ended, &fault.to_string()).await;
        tally.add(&fault, &ended);
    }
    eprintln!("{scenario:?}: {tally:#?}");
    assert!(tally.missed * 4 < tally.runs, "{scenario:?}: {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_log_and_state_may_fail_while_two_nodes_verify() {
    in_turn(Scenario::Verify, Sample::from_environment(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_while_a_data_set_is_imported_and_published() {
    in_turn(Scenario::Publish, Sample::from_environment(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_while_a_delta_is_published() {
    in_turn(Scenario::Delta, Sample::from_environment(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_while_a_snapshot_is_fetched() {
    in_turn(Scenario::Fetch, Sample::from_environment(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_while_a_backup_is_made() {
    in_turn(Scenario::Backup, Sample::from_environment(2)).await;
}

/// Kills a scenario at stages, each given with how often it is passed before.
async fn killed_at(scenario: Scenario, stages: impl IntoIterator<Item = (&'static str, u32)>) {
    let template = Template::new().await;
    for (stage, time) in stages {
        let run = template.copy();
        let ended = run.killed_at(scenario, &format!("{stage}:{time}"));
        recover(&run, scenario, &ended, stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_at_any_stage_of_a_full_file_serves_no_table_untold_and_goes_on() {
    killed_at(Scenario::Publish, FullStage::ALL.map(|stage| (stage.name(), 1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_at_any_stage_of_a_snapshot_goes_on_with_it() {
    killed_at(Scenario::Fetch, FetchStage::ALL.map(|stage| (stage.name(), 1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_killed_at_any_stage_of_the_log_keep_what_they_acknowledged() {
    // Both nodes write as they start and at every verification, and publish when they stop.
    let times = |stage| match stage {
        LogStage::Written | LogStage::Durable => [1, 4, 8].as_slice(),
        _ => &[1, 2],
    };
    let stages =
        LogStage::ALL.iter().flat_map(|&stage| times(stage).iter().map(move |&time| (stage.name(), time)));
    killed_at(Scenario::Verify, stages).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_at_any_stage_of_a_verification_countersigns_what_it_logged() {
    let stages = VerificationStage::ALL.iter().flat_map(|stage| [1, 2].map(|time| (stage.name(), time)));
    killed_at(Scenario::Verify, stages).await;
}
