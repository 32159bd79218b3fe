//! What a process does until something fails. Run again afterwards, it goes on.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::clock::SystemClock;
use windvane::config::Config;
use windvane::dataset::{DataSetConfig, Quality};
use windvane::error::NodeError;
use windvane::{Node, telemetry};
use windvane_world::OPERATION_HEADER;

use super::process::{OUTCOME, ROOT, SCENARIO, Told};
use crate::lab::{HEADER, SUBSCRIBERS, bank_of, zhang};

/// Verifications of [`Scenario::Verify`].
pub(super) const VERIFICATIONS: u64 = 3;

/// Work that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// A carrier's and a bank's node start, verify [`VERIFICATIONS`] times, and stop.
    Verify,
    /// The carrier imports, builds and publishes a full file.
    Publish,
    /// The carrier takes a change file and publishes its delta.
    Delta,
    /// The bank fetches the carrier's snapshot.
    Fetch,
    /// The carrier is backed up.
    Backup,
}

impl Scenario {
    const ALL: [Self; 5] = [Self::Verify, Self::Publish, Self::Delta, Self::Fetch, Self::Backup];

    pub(super) fn name(self) -> String {
        format!("{self:?}")
    }

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).unwrap()
    }

    /// Runs it; what fails is told, and ends what depends on it.
    pub(super) fn run(self, root: &Path, told: &mut Told) {
        match self {
            Self::Publish => drop(publish(root, told)),
            Self::Delta => drop(delta(root, told)),
            Self::Backup => drop(backup(root, told)),
            Self::Verify => runtime().block_on(verify(root, told)),
            Self::Fetch => drop(runtime().block_on(fetch(root, told))),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Writes the files that scenarios read.
pub(super) fn write_files(root: &Path) {
    std::fs::write(root.join("full.csv"), format!("{HEADER}{SUBSCRIBERS}")).unwrap();
    let row = "13900139000,李四,居民身份证,440524188001010014,正常,2016-01-01,,否,2,,2026-11-02\n";
    std::fs::write(root.join("changes.csv"), format!("{OPERATION_HEADER},{HEADER}变更,{row}")).unwrap();
}

pub(super) fn data_set() -> DataSetConfig {
    DataSetConfig::carrier().with_quality(Quality::anything())
}

pub(super) fn config(root: &Path, party: &str) -> Config {
    Config::load(&root.join(party).join("windvane.toml")).unwrap()
}

fn admin(root: &Path, party: &str, told: &mut Told) -> Option<Admin> {
    told.step("open", Admin::open(&config(root, party), Arc::new(SystemClock)))
}

fn publish(root: &Path, told: &mut Told) -> Option<()> {
    let admin = admin(root, "carrier-a", told)?;
    told.step("import", admin.import(&data_set(), &root.join("full.csv"), &()))?;
    told.step("build", admin.build(&data_set(), &()))?;
    told.step("publish", admin.publish(&data_set())).map(drop)
}

fn delta(root: &Path, told: &mut Told) -> Option<()> {
    let admin = admin(root, "carrier-a", told)?;
    told.step("change", admin.change(&data_set(), &root.join("changes.csv"), &()))?;
    told.step("delta", admin.publish_delta(&data_set(), &())).map(drop)
}

fn backup(root: &Path, told: &mut Told) -> Option<()> {
    let admin = admin(root, "carrier-a", told)?;
    told.step("backup", admin.back_up(&root.join("backups"), None, &|_, _| ())).map(drop)
}

async fn fetch(root: &Path, told: &mut Told) -> Option<()> {
    let carrier = told.step("carrier", started(&config(root, "carrier-a")).await)?;
    let fetched = fetch_from(root, &carrier, told).await;
    told.step("stop", carrier.stop().await)?;
    fetched
}

pub(super) async fn fetch_from(root: &Path, carrier: &Node, told: &mut Told) -> Option<()> {
    let opened = Admin::open(&bank(root, carrier), Arc::new(SystemClock));
    let admin = told.step("bank", opened)?;
    told.step("fetch", admin.fetch_snapshot("carrier-a", |_, _| ()).await).map(drop)
}

async fn verify(root: &Path, told: &mut Told) {
    let Some(carrier) = told.step("carrier", started(&config(root, "carrier-a")).await) else { return };
    if let Some(bank) = told.step("bank", started(&bank(root, &carrier)).await) {
        for _ in 0..VERIFICATIONS {
            ask(&bank, told).await;
        }
        told.step("stop bank", bank.stop().await);
    }
    told.step("stop carrier", carrier.stop().await);
}

/// One verification; whether it was answered.
pub(super) async fn ask(bank: &Node, told: &mut Told) -> bool {
    let failed = match bank_of(bank).verify(zhang()).await {
        Ok(report) => report.providers[0].error.clone(),
        Err(error) => Some(error.code.to_owned()),
    };
    told.line("verify", failed.as_deref());
    failed.is_none()
}

/// The bank's configuration, with the carrier where it listens now.
pub(super) fn bank(root: &Path, carrier: &Node) -> Config {
    let mut config = config(root, "bank");
    config.providers[0].address = carrier.grpc_address().unwrap().to_string();
    config
}

pub(super) async fn started(config: &Config) -> Result<Node, NodeError> {
    Node::start(config, Arc::new(SystemClock)).await
}

fn path(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).expect("run by a neighbour"))
}

#[test]
#[ignore = "a process of other tests"]
fn scenario_process() {
    telemetry::start("warn");
    let mut told = Told::create(&path(OUTCOME));
    Scenario::named(&std::env::var(SCENARIO).unwrap()).run(&path(ROOT), &mut told);
    told.line("end", None);
}
