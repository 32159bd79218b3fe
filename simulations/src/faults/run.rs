//! One seed, from its machines' start to the audit of their logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use windvane::audit::{ReconcileReport, VerifyOptions, reconcile, verify};
use windvane::evidence::LogReader;
use windvane_protocols::audit::entry::Entry;
use windvane_protocols::transcript::Record as _;

use super::SimulationError;
use super::ledger::{Checks, Invariant, Violation};
use super::machine::{Machine, Place};
use super::net::{Counts, Network, Rates};
use super::operation::Operation;
use super::panics::Panics;
use super::template::{CARRIERS, Template};
use super::time::{Outside, virtual_time};
use super::world::World;

/// Operations under way at a time.
const UNDER_WAY: usize = 24;

/// Mean time between the beginnings of two operations, milliseconds.
const PACE_MS: f64 = 6.0;

/// Longest time that a fallen machine stays down.
const LONGEST_DOWN_MS: u64 = 2_000;

/// Longest time that operations get to end, once no more begin.
const WIND_DOWN: Duration = Duration::from_secs(120);

/// Operations of which a report says how they ended, before a violation.
const LAST: usize = 40;

/// What one seed is run with.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Operations to begin.
    pub operations: u64,
    /// What the network does.
    pub rates: Rates,
    /// Whether machines fall, disks fail and clocks jump.
    pub accidents: bool,
    /// A deliberate bug of every node.
    #[cfg(feature = "bugs")]
    pub bug: Option<windvane::faults::Bug>,
}

impl Plan {
    /// The command that runs it again: with other operations it runs otherwise.
    fn again(&self) -> String {
        let Self { seed, operations, accidents, .. } = self;
        let calm = if *accidents { "" } else { " --calm" };
        #[cfg(feature = "bugs")]
        let bug = self.bug.and_then(|bug| clap::ValueEnum::to_possible_value(&bug));
        #[cfg(feature = "bugs")]
        let bug = bug.map_or(String::new(), |bug| format!(" --bug {}", bug.get_name()));
        #[cfg(not(feature = "bugs"))]
        let bug = "";
        format!("faults --seed {seed} --seeds 1 --operations {operations}{calm}{bug}")
    }
}

/// What became of one seed.
#[derive(Debug, Default)]
pub struct Ran {
    /// The seed.
    pub seed: u64,
    /// The command that runs it again.
    pub again: String,
    /// Operations carried out, by name.
    pub operations: BTreeMap<&'static str, u64>,
    /// How calls ended, by what they said.
    pub outcomes: BTreeMap<String, u64>,
    /// Conditions that were held, by invariant.
    pub checks: Checks,
    /// Entries in all logs at the end.
    pub entries: u64,
    /// What does not hold.
    pub violations: Vec<Violation>,
    /// SHA-256 over all operations and how they ended, in the order in which they began.
    pub trace: String,
    /// The last operations before a violation, in words.
    pub last: Vec<String>,
    /// Virtual time that passed.
    pub virtual_time: Duration,
}

/// Carries a seed out.
///
/// # Errors
/// [`SimulationError`]: the simulation itself failed.
pub fn run(template: &Template, plan: &Plan, counts: &Arc<Counts>) -> Result<Ran, SimulationError> {
    let root = template.dir().join(format!("seed-{}", plan.seed));
    let outside = Arc::<Outside>::default();
    let watch = Panics::watch();
    let runtime = virtual_time(&outside)?;
    let ran = runtime.block_on(async {
        let network = Network::new(plan.seed, plan.rates, counts.clone());
        let place = Place {
            root: &root,
            network: &network,
            outside: &outside,
            #[cfg(feature = "bugs")]
            bug: plan.bug,
        };
        let world = Arc::new(World::new(template, &place)?);
        conduct(&world, plan, watch.panics()).await
    });
    // What is left of fallen nodes must not outlive their files.
    runtime.shutdown_timeout(Duration::from_secs(10));
    let removed = std::fs::remove_dir_all(&root);
    let ran = ran?;
    removed?;
    Ok(ran)
}

/// One operation that has ended.
struct Ended {
    number: u64,
    operation: Operation,
    outcome: String,
}

async fn conduct(world: &Arc<World>, plan: &Plan, panics: &Panics) -> Result<Ran, SimulationError> {
    let began = tokio::time::Instant::now();
    for machine in &world.machines {
        machine.start().await?;
    }
    let keepers: Vec<_> = (0..).zip(&world.machines).map(|(i, m)| keep_up(world, m, plan.seed, i)).collect();
    let mut ended = operate(world, plan, panics).await;
    let begun = ended.iter().map(|ended| ended.number + 1).max().unwrap_or(0);
    finish(world, begun, &keepers).await;
    hold_panics(world, panics, begun);
    ended.sort_by_key(|ended| ended.number);
    let mut ran = Ran {
        seed: plan.seed,
        again: plan.again(),
        entries: world.ledger.entries(),
        checks: world.ledger.checks(),
        violations: world.ledger.violations(),
        virtual_time: began.elapsed(),
        ..Ran::default()
    };
    let mut trace = Sha256::new();
    for Ended { number, operation, outcome } in &ended {
        *ran.operations.entry(operation.name()).or_default() += operation.weight();
        outcome.split(' ').for_each(|word| *ran.outcomes.entry(word.to_owned()).or_default() += 1);
        trace.update(format!("{number} {operation:?} {outcome}\n"));
    }
    ran.trace = hex::encode(trace.finalize());
    if !ran.violations.is_empty() {
        let last = ended.iter().rev().take(LAST).rev();
        ran.last = last.map(|e| format!("{} {:?}: {}", e.number, e.operation, e.outcome)).collect();
    }
    Ok(ran)
}

/// What panicked since this was held last: a task of an operation or of a node, or a thread.
fn hold_panics(world: &World, panics: &Panics, number: u64) {
    let told = panics.take();
    world.ledger.hold(Invariant::Panics, number, told.is_empty(), || told.join("; "));
}

/// Begins operations until there were enough, or something does not hold. What becomes of one that panics stands among
/// the panics.
async fn operate(world: &Arc<World>, plan: &Plan, panics: &Panics) -> Vec<Ended> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let places = Arc::new(Semaphore::new(UNDER_WAY));
    let mut under_way = JoinSet::new();
    let mut ended = Vec::new();
    let mut number = 0;
    while number < plan.operations && world.ledger.is_clean() {
        let operation = Operation::draw(&mut rng);
        let pause = -rng.random_range(f64::MIN_POSITIVE..1.0_f64).ln() * PACE_MS;
        if operation.is_accident() && !plan.accidents {
            continue;
        }
        sleep(Duration::from_secs_f64(pause / 1_000.0)).await;
        let place = places.clone().acquire_owned().await;
        let performing = world.clone();
        under_way.spawn(async move {
            let outcome = performing.perform(operation, number).await;
            drop(place);
            Ended { number, operation, outcome }
        });
        number += operation.weight();
        while let Some(done) = under_way.try_join_next() {
            ended.extend(done.ok());
        }
        hold_panics(world, panics, number);
    }
    let rest = async {
        while let Some(done) = under_way.join_next().await {
            ended.extend(done.ok());
        }
    };
    if tokio::time::timeout(WIND_DOWN, rest).await.is_err() {
        world.ledger.violate(Invariant::Answers, number, "a call hangs");
    }
    ended
}

/// Starts a machine again whenever it has fallen.
fn keep_up(world: &Arc<World>, machine: &Arc<Machine>, seed: u64, index: u64) -> JoinHandle<()> {
    let (world, machine) = (world.clone(), machine.clone());
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (index + 1) << 32);
    tokio::spawn(async move {
        loop {
            machine.fallen.notified().await;
            sleep(Duration::from_millis(rng.random_range(0..=LONGEST_DOWN_MS))).await;
            let _operator = machine.operator.lock().await;
            raise(&world, &machine).await;
        }
    })
}

/// Starts a machine that is down.
async fn raise(world: &World, machine: &Arc<Machine>) {
    machine.bury().await;
    machine.mend();
    if machine.up().is_none() {
        world.hold_recovery(machine, "does not start", machine.start().await, u64::MAX);
    }
}

/// Lets everything settle, stops all machines in order, and audits their logs.
async fn finish(world: &Arc<World>, number: u64, keepers: &[JoinHandle<()>]) {
    world.machines.iter().for_each(|machine| machine.light(0));
    // Cuts and skews pass, and changes are taken over.
    sleep(Duration::from_secs(10)).await;
    keepers.iter().for_each(JoinHandle::abort);
    for machine in &world.machines {
        let _operator = machine.operator.lock().await;
        raise(world, machine).await;
    }
    settle(world).await;
    for machine in &world.machines {
        let _operator = machine.operator.lock().await;
        world.hold_recovery(machine, "does not stop", machine.stop().await, number);
    }
    let dirs: Vec<_> = world.machines.iter().map(|machine| machine.data_dir().join("log")).collect();
    for (machine, dir) in world.machines.iter().zip(&dirs) {
        world.ledger.read(machine.name(), dir, number, number / 2);
    }
    world.ledger.settle(number);
    audit(world, &dirs, number);
}

/// Countersigns everything, over a network that may fail now and then.
async fn settle(world: &World) {
    let bank = world.machines[0].up().and_then(|up| up.bank);
    for _ in 0..20 {
        if let Some(bank) = &bank {
            bank.countersign().await;
            let open = |name: &str| bank.uncountersigned(name, 1).is_ok_and(|open| !open.is_empty());
            if !CARRIERS.iter().any(|name| open(name)) {
                break;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    if let Some(bank) = bank {
        for name in CARRIERS {
            let open = bank.uncountersigned(name, 1).map_or(1, |open| open.len());
            world.ledger.hold(Invariant::Receipts, u64::MAX, open == 0, || {
                format!("receipts of {name} cannot be countersigned")
            });
        }
    }
}

/// The auditor's own checks of every log, and of each pair.
fn audit(world: &World, dirs: &[PathBuf], number: u64) {
    for (machine, dir) in world.machines.iter().zip(dirs) {
        let options = VerifyOptions { vkey: None, since: world.ledger.earlier(machine.name()) };
        for finding in verify(dir, &options).findings {
            let there = finding.entry.map_or(String::new(), |entry| kinds(dir, entry));
            let text = format!("the log of {}: {finding}{there}", machine.name());
            world.ledger.violate(invariant_of(finding.code), number, text);
        }
    }
    let ReconcileReport { differences, .. } = reconcile(dirs);
    for difference in differences {
        world.ledger.violate(
            invariant_of(difference.code),
            number,
            format!("{}: {}", difference.code, difference.text),
        );
    }
}

/// What stands in a log at an entry and before it.
fn kinds(dir: &Path, entry: u64) -> String {
    let from = entry.saturating_sub(3);
    let Ok(reader) = LogReader::open(dir) else { return String::new() };
    let entries = reader.entries(from).take(4).filter_map(|entry| Entry::decode(&entry.ok()?.1).ok());
    let told: Vec<_> = entries.map(|entry| format!("{} at {}", entry.event.kind(), entry.at_ms)).collect();
    format!(" (from entry {from} on: {})", told.join(", "))
}

fn invariant_of(code: &str) -> Invariant {
    match code {
        "QUOTA_TOTAL" | "QUOTA_DAY" => Invariant::Quota,
        "OUTSIDE_GRANT" | "GRANT_ENDED" | "GRANT_UNKNOWN" | "GRANT_DIFFERS" => Invariant::Grant,
        "SESSION_MISSING" | "RECEIPT_UNKNOWN" | "RECEIPT_MISSING" => Invariant::Acknowledged,
        "PUBLICATION_ID_REUSED" => Invariant::Publications,
        "ROLLED_BACK" | "HISTORY" => Invariant::AppendOnly,
        _ => Invariant::Receipts,
    }
}
