//! Commands of the joint score in processes of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::clock::SystemClock;
use windvane::score::plan::GroupPlan;
use windvane::telemetry;

use crate::psi::process::{CONFIG, Process, config};
use crate::score::calls::{Scored, group, publish_parts};

const SEGMENTS: &str = "WINDVANE_TEST_SEGMENTS";
const FROM: &str = "WINDVANE_TEST_FROM";

/// A command that ends by itself, or at a stage.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    /// The bank's `score setup`.
    Setup,
    /// The first provider's `score publish`.
    Publish,
    /// The bank's `score fetch`.
    Fetch,
    /// The bank's `score rollback` from this epoch.
    Rollback(u64),
}

impl Command {
    /// Runs it until it ends.
    pub(super) fn killed_at(self, scored: &Scored, stage: &str) -> std::process::ExitStatus {
        let (test, party) = match self {
            Self::Setup => ("setup_process", "bank"),
            Self::Publish => ("publish_process", "provider-0"),
            Self::Fetch => ("fetch_process", "bank"),
            Self::Rollback(_) => ("rollback_process", "bank"),
        };
        let from = if let Self::Rollback(from) = self { from.to_string() } else { String::new() };
        let config = scored.lab.dir.path().join(party).join("windvane.toml");
        let segments = scored.segments.to_string();
        let variables =
            [(CONFIG, config.as_path()), (SEGMENTS, Path::new(&segments)), (FROM, Path::new(&from))];
        Process::start(&format!("score::kills::process::{test}"), &variables, Some(stage)).ended()
    }
}

fn opened() -> (Admin, PathBuf) {
    telemetry::start("warn");
    let lab = PathBuf::from(std::env::var_os(CONFIG).unwrap()).parent().unwrap().parent().unwrap().to_owned();
    (Admin::open(&config(), Arc::new(SystemClock)).unwrap(), lab)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of other tests"]
async fn setup_process() {
    let (admin, lab) = opened();
    let plan = GroupPlan::load(&lab.join("group.toml")).unwrap();
    admin.score_setup(&plan, None, &()).await.unwrap();
}

#[test]
#[ignore = "a process of other tests"]
fn publish_process() {
    let (admin, lab) = opened();
    publish_parts(&lab, &admin, 0, std::env::var(SEGMENTS).unwrap().parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of other tests"]
async fn fetch_process() {
    let (admin, _) = opened();
    admin.score_fetch(&group(), None, &()).await.unwrap();
}

#[test]
#[ignore = "a process of other tests"]
fn rollback_process() {
    let (admin, _) = opened();
    admin.roll_back_score(&group(), std::env::var(FROM).unwrap().parse().unwrap(), "dave").unwrap();
}
