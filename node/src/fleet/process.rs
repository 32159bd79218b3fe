//! One node's process.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use windvane_keys::files::read_public;

use super::FleetError;
use super::party::config_path;

/// A node that does not serve after this time has failed.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A node that does not end in this time after SIGTERM is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How often a file or a process is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A ready file is one line.
const MAX_READY_BYTES: usize = 4 << 10;

/// Bytes of a node's log that are searched for its last words.
const MAX_LOG_BYTES: usize = 4 << 20;

/// What a node writes when it serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// The node's party id.
    pub party: String,
    /// Where other nodes reach it.
    pub grpc: Option<SocketAddr>,
    /// Where the organisation's own systems reach it.
    pub http: Option<SocketAddr>,
    /// Its process.
    pub pid: u32,
}

/// A node's process; dropping it stops the node.
#[derive(Debug)]
pub(super) struct Process {
    party: String,
    log: PathBuf,
    child: Option<Child>,
}

/// Where a node's standard error goes.
pub(super) fn log_path(dir: &Path) -> PathBuf {
    dir.join("node.log")
}

fn ready_path(dir: &Path) -> PathBuf {
    dir.join("ready.json")
}

impl Process {
    /// Starts the node whose configuration is in `dir`.
    pub(super) fn spawn(program: &Path, party: &str, dir: &Path) -> Result<Self, FleetError> {
        let failed = || FleetError::io(format!("starting the node of {party}"));
        let _ = std::fs::remove_file(ready_path(dir));
        let log = log_path(dir);
        let child = Command::new(program)
            .arg("node")
            .arg("--config")
            .arg(config_path(dir))
            .arg("--ready-file")
            .arg(ready_path(dir))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).map_err(failed())?)
            // The terminal's Ctrl-C is for whoever runs the fleet; it stops the nodes in order.
            .process_group(0)
            .spawn()
            .map_err(failed())?;
        Ok(Self { party: party.to_owned(), log, child: Some(child) })
    }

    /// Waits until the node serves.
    pub(super) async fn ready(&mut self, dir: &Path) -> Result<Ready, FleetError> {
        let begun = Instant::now();
        while begun.elapsed() < START_LIMIT {
            if let Ok(text) = read_public(&ready_path(dir), MAX_READY_BYTES) {
                return serde_json::from_slice(&text)
                    .map_err(|_| FleetError::NotReady { party: self.party.clone() });
            }
            if let Some(status) = self.status()? {
                self.child = None;
                return Err(self.ended(status));
            }
            tokio::time::sleep(POLL).await;
        }
        Err(FleetError::NotReady { party: self.party.clone() })
    }

    /// Ends the node: SIGTERM, and SIGKILL if that does not help. A node that was stopped already is fine.
    pub(super) fn stop(&mut self) -> Result<(), FleetError> {
        let Some(child) = &self.child else { return Ok(()) };
        // A node that has ended already is found just below.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < STOP_LIMIT {
            if let Some(status) = self.status()? {
                self.child = None;
                return if status.success() { Ok(()) } else { Err(self.ended(status)) };
            }
            std::thread::sleep(POLL);
        }
        self.kill();
        Err(FleetError::Killed { party: self.party.clone() })
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, FleetError> {
        let Some(child) = &mut self.child else { return Ok(None) };
        child.try_wait().map_err(FleetError::io(format!("waiting for the node of {}", self.party)))
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when the process has ended; it is waited for either way.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ended(&self, status: ExitStatus) -> FleetError {
        let log = read_public(&self.log, MAX_LOG_BYTES).unwrap_or_default();
        let said = String::from_utf8_lossy(&log).lines().last().unwrap_or("nothing").to_owned();
        FleetError::Ended { party: self.party.clone(), status: status.to_string(), said }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stop().is_err() {
            self.kill();
        }
    }
}
