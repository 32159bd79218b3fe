//! Copies of two parties' files, and processes that run a scenario on them.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use windvane::admin::GrantTerms;
use windvane::error::NodeError;
use windvane::evidence::LogReader;
use windvane_protocols::audit::checkpoint::Checkpoint;

use super::calls::{self, Effect, Fault};
use super::scenario::{self, Scenario, VERIFICATIONS, data_set};
use crate::lab::{Lab, SUBSCRIBERS, terms};

pub(super) const ROOT: &str = "WINDVANE_TEST_ROOT";
pub(super) const OUTCOME: &str = "WINDVANE_TEST_OUTCOME";
pub(super) const SCENARIO: &str = "WINDVANE_TEST_SCENARIO";
const SCENARIO_PROCESS: &str = "crash::scenario::scenario_process";
const CRASH_AT: &str = "WINDVANE_CRASH_AT";

const SIGKILL: i32 = 9;

/// A process that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Verifications that the bank's grant is good for.
pub(super) const GRANTED: u64 = 2 * VERIFICATIONS;

/// Elements that are counted for one verification, in its fullest group.
const ELEMENTS: u64 = 3;

/// The files of a carrier with two epochs, and of a bank that has the first.
pub(super) struct Template {
    lab: Lab,
    /// The last checkpoints of the carrier's and the bank's log.
    pub(super) checkpoints: [Checkpoint; 2],
    runs: AtomicU64,
}

impl Template {
    pub(super) async fn new() -> Self {
        // The disk of some runs is smaller than what a bank is to leave free.
        let lab = Lab::with("[observability]\nmin_free_disk_mb = 0\n");
        scenario::write_files(lab.dir.path());
        let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
        let carrier_node = lab.start(&carrier).await;
        let granted = GrantTerms { total: GRANTED * ELEMENTS, ..terms() };
        let (bank, bank_node) = lab.bank(&[(&carrier, &carrier_node)], &granted).await;
        bank_node.stop().await.unwrap();
        carrier_node.stop().await.unwrap();
        carrier.admin.build(&data_set(), &()).unwrap();
        carrier.admin.publish(&data_set()).unwrap();
        let checkpoint = |dir: PathBuf| LogReader::open(&dir).unwrap().checkpoint().unverified().clone();
        let checkpoints = [carrier.log_dir(), bank.log_dir()].map(checkpoint);
        Self { lab, checkpoints, runs: AtomicU64::new(0) }
    }

    pub(super) fn copy(&self) -> Run {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let base = self.lab.dir.path();
        let root = base.join(format!("run-{number}"));
        self.copy_to(&root);
        let [outcome, trace, errors] =
            ["outcome", "trace", "errors"].map(|n| base.join(format!("{n}-{number}")));
        Run { root, outcome, trace, errors, checkpoints: self.checkpoints.clone() }
    }

    pub(super) fn copy_to(&self, root: &Path) {
        std::fs::create_dir_all(root).unwrap();
        let base = self.lab.dir.path();
        let parts = ["carrier-a", "bank", "full.csv", "changes.csv"].map(|name| base.join(name));
        let copied = Command::new("cp").arg("-a").args(parts).arg(root).status().unwrap();
        assert!(copied.success());
    }
}

/// One copy, and where its process leaves what it has to tell.
pub(super) struct Run {
    pub(super) root: PathBuf,
    outcome: PathBuf,
    trace: PathBuf,
    errors: PathBuf,
    pub(super) checkpoints: [Checkpoint; 2],
}

impl Drop for Run {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // The template's directory goes anyway.
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// How a process ended, and what it told before.
#[derive(Debug)]
pub(super) struct Ended {
    status: ExitStatus,
    pub(super) told: Told,
    pub(super) hits: u64,
    errors: String,
}

impl Ended {
    /// The codes of all steps that failed.
    pub(super) fn codes(&self) -> Vec<String> {
        self.told.steps.iter().filter_map(|(_, code)| code.clone()).collect()
    }

    pub(super) fn answered(&self) -> u64 {
        self.told.answered()
    }

    /// A call that failed ends in stated errors and no panic; a kill is a kill.
    pub(super) fn is_as_designed(&self, fault: &Fault) {
        let panicked = self.errors.contains("panicked at");
        assert!(!panicked, "{fault}: {:?}\n{}", self.told, self.errors);
        if fault.effect == Effect::Kill {
            assert!(
                self.status.signal() == Some(SIGKILL) || self.status.success(),
                "{fault}: {}",
                self.status
            );
            return;
        }
        assert!(self.status.success(), "{fault}: {}\n{}", self.status, self.errors);
        assert_eq!(
            self.told.steps.last().map(|(step, _)| step.as_str()),
            Some("end"),
            "{fault}: {:?}",
            self.told
        );
        let unstated =
            self.codes().iter().any(|code| code.is_empty() || code == "INTERNAL" && self.errors.is_empty());
        assert!(!unstated, "{fault}: {:?}\n{}", self.told, self.errors);
    }
}

impl Run {
    /// The scenario under `strace`, which writes down every call of these names.
    pub(super) fn traced(&self, scenario: Scenario, calls: &[&str]) -> (Ended, String) {
        let mut command = calls::strace(&self.trace, calls, None);
        command.env(SCENARIO, scenario.name());
        let ended = self.end(command, SCENARIO_PROCESS);
        (ended, std::fs::read_to_string(&self.trace).unwrap())
    }

    pub(super) fn with_fault(&self, scenario: Scenario, fault: &Fault) -> Ended {
        let mut command = calls::strace(&self.trace, &[&fault.call], Some(fault));
        command.env(SCENARIO, scenario.name());
        let mut ended = self.end(command, SCENARIO_PROCESS);
        ended.hits = match fault.effect {
            Effect::Kill => u64::from(ended.status.signal() == Some(SIGKILL)),
            _ => Fault::hits(&std::fs::read_to_string(&self.trace).unwrap()),
        };
        ended
    }

    pub(super) fn killed_at(&self, scenario: Scenario, stage: &str) -> Ended {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(SCENARIO, scenario.name());
        self.killed(command, SCENARIO_PROCESS, stage)
    }

    /// Another test's process, killed at a stage.
    pub(super) fn killed_in(&self, test: &str, stage: &str) {
        self.killed(Command::new(std::env::current_exe().unwrap()), test, stage);
    }

    fn killed(&self, mut command: Command, test: &str, stage: &str) -> Ended {
        command.env(CRASH_AT, stage);
        let ended = self.end(command, test);
        assert_eq!(ended.status.signal(), Some(SIGKILL), "{stage}: {:?}\n{}", ended.told, ended.errors);
        ended
    }

    fn end(&self, mut command: Command, test: &str) -> Ended {
        command
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(ROOT, &self.root)
            .env(OUTCOME, &self.outcome)
            .stdout(Stdio::null())
            .stderr(File::create(&self.errors).unwrap())
            .process_group(0);
        let status = tokio::task::block_in_place(|| wait(command.spawn().unwrap()));
        let errors = std::fs::read_to_string(&self.errors).unwrap();
        let status = status.unwrap_or_else(|| panic!("{test} hangs\n{errors}"));
        Ended { status, told: Told::read(&self.outcome), hits: 0, errors }
    }
}

/// How it ended; `None` when it had to be killed because it does not.
fn wait(mut child: Child) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if started.elapsed() > LIMIT {
            let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            kill_process_group(group, Signal::KILL).unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The steps of a scenario, each with the code of its error if it failed; written down as they are done, because the
/// process may be killed.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) steps: Vec<(String, Option<String>)>,
    file: Option<File>,
}

impl Told {
    pub(super) fn create(path: &Path) -> Self {
        Self { file: Some(File::create(path).unwrap()), ..Self::default() }
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let step = |line: &str| {
            let (step, code) = line.split_once('\t').unwrap();
            (step.to_owned(), (code != "ok").then(|| code.to_owned()))
        };
        Self { steps: text.lines().map(step).collect(), file: None }
    }

    pub(super) fn step<T>(&mut self, step: &str, result: Result<T, NodeError>) -> Option<T> {
        self.line(step, result.as_ref().err().map(NodeError::code));
        result.inspect_err(|error| eprintln!("{step}: {error}")).ok()
    }

    pub(super) fn line(&mut self, step: &str, code: Option<&str>) {
        self.steps.push((step.to_owned(), code.map(ToOwned::to_owned)));
        if let Some(file) = &mut self.file {
            file.write_all(format!("{step}\t{}\n", code.unwrap_or("ok")).as_bytes()).unwrap();
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.steps.iter().filter(|(step, code)| step == "verify" && code.is_none()).count() as u64
    }
}
