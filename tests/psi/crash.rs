//! A job that was killed goes on where it was: same result, finished buckets not run again, logs that agree.
//!
//! The party to be killed runs in a process of its own: this test program once more, with one ignored test and
//! `WINDVANE_CRASH_AT`, at which a debug build sends itself SIGKILL.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use windvane::audit::reconcile;
use windvane::clock::SystemClock;
use windvane::config::Config;
use windvane::psi::folder::JobFolder;
use windvane::psi::{JobReport, JobRunner, PsiError, Stage};
use windvane::{Node, telemetry};
use windvane_protocols::party::SessionId;

use super::{World, grant, ids, lines, psi_terms};

const CRASH_AT: &str = "WINDVANE_CRASH_AT";
const CONFIG: &str = "WINDVANE_TEST_CONFIG";
const JOB: &str = "WINDVANE_TEST_JOB";
const READY: &str = "WINDVANE_TEST_READY";
const SIGKILL: i32 = 9;

/// A child that ends with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn child(test: &str, variables: &[(&str, &str)]) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

fn config() -> Config {
    Config::load(Path::new(&std::env::var_os(CONFIG).expect("run by a neighbour"))).unwrap()
}

fn session(text: &str) -> SessionId {
    SessionId::from_bytes(hex::decode(text).unwrap().try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of the tests below"]
async fn bank_process() {
    telemetry::start("warn");
    let runner = JobRunner::open(&config(), Arc::new(SystemClock)).unwrap();
    runner.run(session(&std::env::var(JOB).unwrap()), &()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of the tests below"]
async fn carrier_process() {
    telemetry::start("warn");
    let node = Node::start(&config(), Arc::new(SystemClock)).await.unwrap();
    let ready = PathBuf::from(std::env::var_os(READY).unwrap());
    let fresh = ready.with_extension("fresh");
    std::fs::write(&fresh, node.grpc_address().unwrap().to_string()).unwrap();
    std::fs::rename(fresh, ready).unwrap();
    std::future::pending::<()>().await;
}

/// A job of eight buckets that is not begun.
async fn prepared() -> (World, windvane::psi::JobPlan, SessionId) {
    prepared_with("ecdh").await
}

async fn prepared_with(protocol: &str) -> (World, windvane::psi::JobPlan, SessionId) {
    let world = World::new((0..900).map(|i| 2 * i), &grant(psi_terms(), 0)).await;
    let mut plan = world.plan("job", 0..1_000);
    plan.payload_columns = vec!["tag".into()];
    plan.protocol = protocol.into();
    let runner = runner(&world);
    let job = runner.begin(&plan).unwrap();
    runner.close().await.unwrap();
    (world, plan, job)
}

fn runner(world: &World) -> JobRunner {
    JobRunner::open(&world.bank.config, Arc::new(world.lab.clock.clone())).unwrap()
}

async fn go_on(world: &World, job: SessionId) -> Result<JobReport, PsiError> {
    let runner = runner(world);
    let report = runner.run(job, &()).await;
    runner.close().await.unwrap();
    report
}

/// The result is the whole one, nothing that was finished ran again, and the logs agree.
async fn concluded(
    world: World,
    plan: &windvane::psi::JobPlan,
    job: SessionId,
    before: &windvane::psi::folder::JobState,
) {
    let report = go_on(&world, job).await.unwrap();
    let expected: Vec<_> =
        ids((0..1_000).step_by(2)).into_iter().map(|id| format!("{id},t{}", &id[1..])).collect();
    assert_eq!(lines(&plan.output), expected);
    assert_eq!(report.matches, Some(500));
    let state = |root: &Path| JobFolder::peek(root, job).unwrap().unwrap();
    let (bank, carrier) =
        (state(&world.bank.config.node.data_dir), state(&world.carrier.config.node.data_dir));
    // A bucket's hash covers the number of the connection that it ran on.
    assert!(before.finished.iter().all(|(bucket, hash)| bank.finished.get(bucket) == Some(hash)));
    assert_eq!(bank.finished, carrier.finished);
    assert_eq!(bank.finished.len(), 8);
    let World { bank, carrier, node, .. } = world;
    node.stop().await.unwrap();
    let report = reconcile(&[bank.log_dir(), carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
    assert_eq!((report.pairs[0].jobs_agreed, report.pairs[0].countersigned), (1, 1), "{report}");
}

async fn bank_killed_at(stage: &str) {
    bank_killed_with("ecdh", stage).await;
}

async fn bank_killed_with(protocol: &str, stage: &str) {
    let (world, plan, job) = prepared_with(protocol).await;
    let config = world.lab.dir.path().join("bank/windvane.toml");
    let variables = [(CRASH_AT, stage), (CONFIG, config.to_str().unwrap()), (JOB, &job.to_string())];
    let mut process = child("psi::crash::bank_process", &variables);
    let status = tokio::task::block_in_place(|| process.0.wait()).unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "{stage}: {status}");
    let before = JobFolder::peek(&world.bank.config.node.data_dir, job).unwrap().unwrap();
    if let Some((_, count)) = stage.split_once(':').filter(|(name, _)| *name == Stage::BucketFinished.name())
    {
        // Buckets run beside each other: another one may have been kept in the moment of the kill.
        assert!(before.finished.len() >= count.parse().unwrap());
    }
    // The carrier notices the broken connection by itself.
    concluded(released(world, job).await, &plan, job, &before).await;
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

async fn carrier_killed_at(stage: &str) {
    carrier_killed_with("ecdh", stage).await;
}

async fn carrier_killed_with(protocol: &str, stage: &str) {
    let (mut world, plan, job) = prepared_with(protocol).await;
    world = stopped(world).await;
    let config = world.lab.dir.path().join("carrier-a/windvane.toml");
    let ready = world.lab.dir.path().join("ready");
    let variables = [(CRASH_AT, stage), (CONFIG, config.to_str().unwrap()), (READY, ready.to_str().unwrap())];
    let mut process = child("psi::crash::carrier_process", &variables);
    for _ in 0..3_000 {
        if ready.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.bank.config.providers[0].address = std::fs::read_to_string(&ready).unwrap();
    let error = go_on(&world, job).await.unwrap_err();
    assert!(["PEER_CLOSED", "PEER_UNAVAILABLE", "PEER_ERROR"].contains(&error.code()), "{stage}: {error:?}");
    let status = tokio::task::block_in_place(|| process.0.wait()).unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "{stage}: {status}");
    let before = JobFolder::peek(&world.bank.config.node.data_dir, job).unwrap().unwrap();
    concluded(world.restarted().await, &plan, job, &before).await;
}

/// A world whose carrier does not run: another node stands in until the restart.
async fn stopped(world: World) -> World {
    let World { lab, carrier, node, bank } = world;
    node.stop().await.unwrap();
    let idle = lab.party("idle", "[grpc]\nlisten = \"127.0.0.1:0\"\n");
    let node = lab.start(&idle).await;
    World { lab, carrier, node, bank }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_before_its_buckets_goes_on() {
    for stage in ["open", "accepted", "partitioned"] {
        bank_killed_at(stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_within_its_buckets_goes_on() {
    for stage in ["bucket-started:3", "bucket-sent:2", "bucket-finished:1", "bucket-finished:5"] {
        bank_killed_at(stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_at_its_end_goes_on() {
    for stage in ["receipt", "output"] {
        bank_killed_at(stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_killed_before_its_buckets_goes_on() {
    for stage in ["open", "accepted", "partitioned"] {
        carrier_killed_at(stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_killed_within_its_buckets_goes_on() {
    for stage in ["bucket-started:3", "bucket-sent:2", "bucket-finished:4"] {
        carrier_killed_at(stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_killed_at_its_end_goes_on() {
    carrier_killed_at("receipt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn either_party_killed_within_the_buckets_of_vole_goes_on() {
    for stage in ["bucket-sent:3", "bucket-finished:3"] {
        bank_killed_with("vole", stage).await;
        carrier_killed_with("vole", stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_input_does_not_go_on() {
    let (world, plan, job) = prepared().await;
    let config = world.lab.dir.path().join("bank/windvane.toml");
    let variables =
        [(CRASH_AT, "bucket-finished:2"), (CONFIG, config.to_str().unwrap()), (JOB, &job.to_string())];
    let mut process = child("psi::crash::bank_process", &variables);
    tokio::task::block_in_place(|| process.0.wait()).unwrap();
    let text = std::fs::read_to_string(&plan.input).unwrap();
    std::fs::write(&plan.input, text.replacen("c7,", "c8,", 1)).unwrap();
    assert_eq!(go_on(&world, job).await.unwrap_err().code(), "INPUT_CHANGED");
    assert!(!plan.output.exists());
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_and_can_go_on() {
    let (world, plan, job) = prepared().await;
    let runner = runner(&world);
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
