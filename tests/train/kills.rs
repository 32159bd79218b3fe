//! A training whose bank or one of whose providers was killed goes on where it was, to the same model.
//!
//! Whoever is to be killed runs in a process of its own, and a debug build sends itself SIGKILL at the stage that
//! `WINDVANE_CRASH_AT` names.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::audit::{VerifyOptions, reconcile, verify};
use windvane::clock::SystemClock;
use windvane::retire::node::verify_archive;
use windvane::telemetry;
use windvane::train::Stage;
use windvane::train::audit::audit_training;
use windvane::train::run::{BankStage, TrainProgress, TrainRunner};
use windvane_protocols::party::SessionId;

use super::lapsed::LONG_MS;
use super::{World, config};
use crate::lab::{Party, events};
use crate::psi::process::{CONFIG, Process};

const SIGKILL: i32 = 9;
const TRAINING: &str = "WINDVANE_TEST_TRAINING";

/// The stages at which the bank is killed, and which time that it passes them: levels in the middle of a block.
const KILLS: [(BankStage, u64); 19] = [
    (BankStage::Listed, 1),
    (BankStage::Requested, 1),
    (BankStage::Accepted, 1),
    (BankStage::Begun, 1),
    (BankStage::Uploaded, 1),
    (BankStage::OwnTrees, 2),
    (BankStage::Residuals, 1),
    (BankStage::Residuals, 2),
    (BankStage::Level, 7),
    (BankStage::Level, 40),
    (BankStage::Trees, 2),
    (BankStage::Block, 1),
    (BankStage::Part, 1),
    (BankStage::Part, 2),
    (BankStage::Parts, 1),
    (BankStage::Model, 1),
    (BankStage::Receipts, 1),
    (BankStage::Logged, 1),
    (BankStage::Registered, 1),
];

/// Which provider is killed at which stage, and which time that it passes it: a carrier, which takes two steps for a
/// level, and a provider that is alone; uploads of list, indicator, held-out rows and both blocks' residuals; steps at
/// roots, below them, at the end of a block and in the second block.
const PROVIDER_KILLS: [(&str, Stage, u64); 23] = [
    ("carrier-b", Stage::Opened, 1),
    ("police", Stage::Opened, 1),
    ("carrier-b", Stage::Accepted, 1),
    ("police", Stage::Accepted, 1),
    ("carrier-b", Stage::Begun, 1),
    ("carrier-b", Stage::Uploaded, 1),
    ("carrier-b", Stage::Uploaded, 2),
    ("police", Stage::Uploaded, 3),
    ("carrier-b", Stage::Uploaded, 4),
    ("police", Stage::Uploaded, 5),
    ("carrier-b", Stage::Asked, 1),
    ("carrier-b", Stage::Asked, 2),
    ("police", Stage::Asked, 3),
    ("carrier-b", Stage::Asked, 8),
    ("carrier-b", Stage::Answered, 1),
    ("carrier-b", Stage::Answered, 4),
    ("police", Stage::Answered, 5),
    ("police", Stage::Answered, 9),
    ("carrier-b", Stage::Answered, 16),
    ("carrier-b", Stage::Signed, 1),
    ("police", Stage::Kept, 1),
    ("carrier-b", Stage::Completed, 1),
    ("police", Stage::Completed, 1),
];

#[test]
fn every_stage_has_its_kill() {
    assert!(BankStage::ALL.iter().all(|stage| KILLS.iter().any(|(kill, _)| kill == stage)));
    assert!(Stage::ALL.iter().all(|stage| PROVIDER_KILLS.iter().any(|(_, kill, _)| kill == stage)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_was_killed_at_any_stage_goes_on_to_the_model_of_the_clear_engine() {
    let world = World::new().await;
    for (i, (stage, time)) in KILLS.into_iter().enumerate() {
        let plan = world.plan(&format!("killed-{i}"));
        let training = world.begun(&plan);
        let (config, name) = (world.at("bank/windvane.toml"), training.to_string());
        let variables = [(CONFIG, config.as_path()), (TRAINING, Path::new(&name))];
        let crash_at = format!("{stage}:{time}");
        let status = Process::start("train::kills::bank_process", &variables, Some(&crash_at)).ended();
        assert_eq!(status.signal(), Some(SIGKILL), "{crash_at}: {status}");
        assert_eq!(world.runner().unfinished(&plan).unwrap(), Some(training));
        let report = world.go_on(training).await.unwrap_or_else(|error| panic!("{crash_at}: {error}"));
        assert_eq!(report.auc_by_block.len(), 2);
        world.equals_clear(training, &plan);
        // What was decrypted of parts, before the kill or after it, is what the registries have.
        world.known(training, &plan.name);
    }
    let last = world.bank_trainings().pop().unwrap();
    let audit = audit_training(&world.bank.config, &world.receipt(last, "police"), None, &[]).unwrap();
    assert!(audit.is_ok(), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_killed_at_any_stage_goes_on_to_the_model_of_the_clear_engine() {
    let mut world = World::new().await;
    for (i, (name, stage, time)) in PROVIDER_KILLS.into_iter().enumerate() {
        let plan = world.plan(&format!("provider-killed-{i}"));
        let training = world.begun(&plan);
        let crash_at = format!("{}:{time}", stage.name());
        world.provider_killed(name, &crash_at, training).await;
        let report =
            world.go_on(training).await.unwrap_or_else(|error| panic!("{name}, {crash_at}: {error}"));
        assert_eq!(report.auc_by_block.len(), 2, "{name}, {crash_at}");
        world.equals_clear(training, &plan);
    }
    let (bank, providers, _lab) = world.stopped().await;
    let logs: Vec<_> = std::iter::once(&bank).chain(&providers).map(Party::log_dir).collect();
    let agreed = reconcile(&logs);
    assert!(agreed.is_ok(), "{agreed}");
    let all = PROVIDER_KILLS.len() as u64;
    assert!(agreed.pairs.iter().all(|pair| (pair.jobs_agreed, pair.countersigned) == (all, all)), "{agreed}");
}

/// What its log says of the registry and of trainings.
fn told(police: &Party) -> Vec<&'static str> {
    let report = verify(&police.log_dir(), &VerifyOptions::default());
    assert!(report.findings.is_empty(), "{report}");
    let kinds = events(police).into_iter().map(|event| event.kind());
    kinds.filter(|kind| ["score model", "train completed", "train lapsed"].contains(kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_only_the_log_has_not_heard_of_is_told_when_its_bank_stays_away() {
    let mut world = World::new().await;
    let training = world.begun(&world.plan("kept-1"));
    world.provider_killed("police", "train-kept:1", training).await;
    world.lab.clock.advance_ms(LONG_MS);
    for _ in 0..2 {
        world.providers["police"].1.as_ref().unwrap().trainings().unwrap().lapse().await;
    }
    let (_, providers, _lab) = world.stopped().await;
    let police = providers.last().unwrap();
    assert_eq!(told(police), ["score model", "train completed"]);
    let sessions = std::fs::read_dir(police.config.node.data_dir.join("train-sessions")).unwrap();
    let [folder] = &sessions.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()[..] else { panic!() };
    let left = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["acceptance", "journal", "receipt", "salt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_only_the_log_has_not_heard_of_is_told_when_its_provider_leaves_service() {
    let mut world = World::new().await;
    let training = world.begun(&world.plan("kept-1"));
    world.provider_killed("police", "train-kept:1", training).await;
    let (_, providers, lab) = world.stopped().await;
    let (police, archive) = (providers.last().unwrap(), lab.dir.path().join("archive"));
    assert!(told(police).is_empty());
    Admin::open(&police.config, Arc::new(lab.clock.clone())).unwrap().retire_node(&archive, false).unwrap();
    let report = verify_archive(&archive).unwrap();
    let count = |kind| report.log.counts.get(kind).copied().unwrap_or_default();
    assert_eq!((count("score model"), count("train completed"), count("train lapsed")), (1, 1, 0));
}

impl World {
    /// Runs a training until this provider, in a process of its own, is killed; afterwards it runs here again.
    async fn provider_killed(&mut self, name: &'static str, crash_at: &str, training: SessionId) {
        self.stop(name).await;
        let (config, ready) = (self.at(&format!("{name}/windvane.toml")), self.at("ready"));
        if ready.exists() {
            std::fs::remove_file(&ready).unwrap();
        }
        let (mut process, address) = Process::node(&config, &ready, Some(crash_at)).await;
        let mut addresses = self.addresses();
        addresses.insert(name, address.parse().unwrap());
        self.know(&addresses, "");
        let error = self.go_on(training).await.unwrap_err();
        assert!(error.to_string().contains(name), "{crash_at}: {error}");
        assert!(["PEER_UNAVAILABLE", "PEER_ERROR"].contains(&error.code()), "{crash_at}: {error:?}");
        let status = process.ended();
        assert_eq!(status.signal(), Some(SIGKILL), "{name}, {crash_at}: {status}");
        let (party, node) = self.providers.get_mut(name).unwrap();
        *node = Some(self.lab.start(party).await);
        self.know(&self.addresses(), "");
    }

    fn bank_trainings(&self) -> Vec<SessionId> {
        windvane::train::run::TrainFolder::list(&self.bank.config.node.data_dir).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of other tests"]
async fn bank_process() {
    telemetry::start("warn");
    let runner = TrainRunner::open(&config(), Arc::new(SystemClock)).unwrap();
    let bytes = hex::decode(std::env::var(TRAINING).unwrap()).unwrap();
    let progress: Arc<dyn TrainProgress> = Arc::new(());
    runner.run(SessionId::from_bytes(bytes.try_into().unwrap()), &progress).await.unwrap();
}
