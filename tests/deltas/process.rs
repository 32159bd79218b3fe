//! Commands of changes and deltas in processes of their own.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::clock::SystemClock;
use windvane::telemetry;

use super::{Trial, data_set};
use crate::psi::process::{CONFIG, Process, config};

const FILE: &str = "WINDVANE_TEST_FILE";

/// A command that ends at a stage.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command<'a> {
    /// The carrier's `dataset change`.
    Change(&'a Path),
    /// The carrier's `dataset delta`.
    Delta,
    /// The bank's `snapshot fetch`.
    Fetch,
}

impl Command<'_> {
    pub(super) fn killed_at(self, trial: &Trial, stage: &str) -> ExitStatus {
        let (test, party, file) = match self {
            Self::Change(file) => ("change_process", "carrier-a", file),
            Self::Delta => ("delta_process", "carrier-a", Path::new("")),
            Self::Fetch => ("fetch_process", "bank", Path::new("")),
        };
        let config = trial.lab.dir.path().join(party).join("windvane.toml");
        let variables = [(CONFIG, config.as_path()), (FILE, file)];
        Process::start(&format!("deltas::process::{test}"), &variables, Some(stage)).ended()
    }
}

fn opened() -> Admin {
    telemetry::start("warn");
    Admin::open(&config(), Arc::new(SystemClock)).unwrap()
}

#[test]
#[ignore = "a process of other tests"]
fn change_process() {
    let file = PathBuf::from(std::env::var_os(FILE).unwrap());
    opened().change(&data_set(), &file, &()).unwrap();
}

#[test]
#[ignore = "a process of other tests"]
fn delta_process() {
    opened().publish_delta(&data_set(), &()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of other tests"]
async fn fetch_process() {
    opened().fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
}
