//! A training whose bank was killed goes on where it was, to the same model.
//!
//! The bank runs in a process of its own, and a debug build sends itself SIGKILL at the stage that `WINDVANE_CRASH_AT`
//! names.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::Arc;

use windvane::clock::SystemClock;
use windvane::telemetry;
use windvane::train::audit::audit_training;
use windvane::train::run::{BankStage, TrainProgress, TrainRunner};
use windvane_protocols::party::SessionId;

use super::{World, config};
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

#[test]
fn every_stage_has_its_kill() {
    assert!(BankStage::ALL.iter().all(|stage| KILLS.iter().any(|(kill, _)| kill == stage)));
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
    let audit = audit_training(&world.bank.config, &world.receipt(last, "police")).unwrap();
    assert!(audit.is_ok(), "{audit}");
}

impl World {
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
