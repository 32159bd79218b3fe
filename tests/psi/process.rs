//! A party in a process of its own: this test program once more, with one ignored test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use windvane::clock::SystemClock;
use windvane::config::Config;
use windvane::psi::JobRunner;
use windvane::{Node, telemetry};
use windvane_protocols::party::SessionId;

use super::World;

/// At which stage a debug build sends itself SIGKILL.
const CRASH_AT: &str = "WINDVANE_CRASH_AT";
pub(crate) const CONFIG: &str = "WINDVANE_TEST_CONFIG";
const JOB: &str = "WINDVANE_TEST_JOB";
const READY: &str = "WINDVANE_TEST_READY";

/// A child that ends with its test.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub(crate) fn start(test: &str, variables: &[(&str, &Path)], crash_at: Option<&str>) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .envs(variables.iter().copied())
            .envs(crash_at.map(|stage| (CRASH_AT, stage)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// A bank that runs a job which was begun.
    pub(super) fn bank(world: &World, job: SessionId, crash_at: Option<&str>) -> Self {
        let (config, job) = (world.lab.dir.path().join("bank/windvane.toml"), job.to_string());
        let variables = [(CONFIG, config.as_path()), (JOB, Path::new(&job))];
        Self::start("psi::process::bank_process", &variables, crash_at)
    }

    /// The world's carrier, and its address.
    pub(super) async fn carrier(world: &World, crash_at: Option<&str>) -> (Self, String) {
        let root = world.lab.dir.path();
        Self::node(&root.join("carrier-a/windvane.toml"), &root.join("ready"), crash_at).await
    }

    /// A node of this configuration, and its address.
    pub(crate) async fn node(config: &Path, ready: &Path, crash_at: Option<&str>) -> (Self, String) {
        let variables = [(CONFIG, config), (READY, ready)];
        let process = Self::start("psi::process::carrier_process", &variables, crash_at);
        for _ in 0..3_000 {
            if ready.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (process, std::fs::read_to_string(ready).unwrap())
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        tokio::task::block_in_place(|| self.0.wait()).unwrap()
    }
}

pub(crate) fn config() -> Config {
    Config::load(Path::new(&std::env::var_os(CONFIG).expect("run by a neighbour"))).unwrap()
}

pub(super) fn session(text: &str) -> SessionId {
    SessionId::from_bytes(hex::decode(text).unwrap().try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of other tests"]
async fn bank_process() {
    telemetry::start("warn");
    let runner = JobRunner::open(&config(), Arc::new(SystemClock)).unwrap();
    runner.run(session(&std::env::var(JOB).unwrap()), &()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of other tests"]
async fn carrier_process() {
    telemetry::start("warn");
    let node = Node::start(&config(), Arc::new(SystemClock)).await.unwrap();
    let ready = PathBuf::from(std::env::var_os(READY).unwrap());
    let fresh = ready.with_extension("fresh");
    std::fs::write(&fresh, node.grpc_address().unwrap().to_string()).unwrap();
    std::fs::rename(fresh, ready).unwrap();
    std::future::pending::<()>().await;
}
