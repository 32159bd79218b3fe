//! `windvane bench hostile`: a partner that attacks a carrier's node beside an honest bank's steady load.
//!
//! The attacker is enrolled, has a grant, and is a process of its own that runs where nothing else wants to (`SCHED_IDLE`):
//! in operation it would have a machine of its own. Everything shares this machine's caches and its network stack all the
//! same, so that a ratio of latencies here includes what the attacker itself takes of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;
use tokio::task::block_in_place;
use windvane_protocols::party::PartyId;

use super::load::Load;
use super::{filesystem, judged_in_place, process};
use crate::config::Config;
use crate::demo::{DemoError, note, percentile, read_cases, rounded, simulate};
use crate::error::NodeError;
use crate::fleet::{Fleet, Plan};
use crate::http::Client;

mod attack;
mod attacker;
mod raw;

pub use attack::{Attack, Told, UnknownAttack};

use attacker::Attacker;

/// The attacker's party id.
const RIVAL: &str = "rival";

/// Applicants that the honest bank asks about.
const APPLICANTS: usize = 2_000;

/// What starts a program in the scheduling class for idle times; without it the attacker has the lowest priority only.
const IDLE: [&str; 3] = ["chrt", "--idle", "0"];

/// The lowest priority.
const NICENESS: i32 = 19;

/// Calls at a time while everything warms up.
const WARM_UP: usize = 4;

/// An attack that waits for the node's patience runs for this long at least: longer than a node leaves an answer
/// unread.
const PATIENCE: Duration = Duration::from_secs(40);

/// How to measure.
#[derive(Debug, Clone)]
pub struct HostileBench {
    /// How long each attack runs, and the quiet load before it.
    pub seconds: u64,
    /// Honest verifications a second.
    pub per_second: f64,
    /// Subscribers of the carrier.
    pub subscribers: usize,
    /// Which attacks; all when none is named.
    pub attacks: Vec<Attack>,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostileFigures {
    /// Honest verifications a second.
    pub per_second: f64,
    /// The type of the file system.
    pub filesystem: String,
    /// Attack by attack.
    pub attacks: Vec<AttackFigures>,
    /// Whether no honest verification failed.
    pub good: bool,
}

impl HostileFigures {
    /// What was wrong, if anything.
    fn wrong(&self) -> Option<String> {
        let failed = |figures: &AttackFigures| {
            let why = figures.honest_failure.as_deref()?;
            Some(format!("an honest verification failed under {}: {why}", figures.attack.as_str()))
        };
        self.attacks.iter().find_map(failed)
    }
}

/// What one attack did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackFigures {
    /// Which.
    pub attack: Attack,
    /// What the attacker was told, and how often.
    pub told: Told,
    /// Resident memory of the carrier's node before, MiB.
    pub idle_mib: f64,
    /// Its peak above that during the attack, MiB.
    pub above_idle_mib: f64,
    /// 99 of 100 honest verifications took no longer just before, milliseconds.
    pub quiet_p99_ms: f64,
    /// And during the attack; none where an honest verification failed.
    pub attacked_p99_ms: Option<f64>,
    /// The latter in terms of the former.
    pub ratio: Option<f64>,
    /// Why an honest verification failed, where one did.
    pub honest_failure: Option<String>,
    /// CPU time of the carrier's node during the attack, in processors.
    pub node_processors: f64,
}

impl HostileBench {
    /// Measures and prints; progress goes to standard error. Needs a runtime of several threads.
    ///
    /// # Errors
    /// [`DemoError`]; [`DemoError::Wrong`] after figures that are not good.
    pub async fn run(&self) -> Result<HostileFigures, DemoError> {
        let measure = async |dir: &Path| self.measure(dir).await;
        judged_in_place(self.dir.as_deref(), self.json, measure, HostileFigures::wrong).await
    }

    async fn measure(&self, dir: &Path) -> Result<HostileFigures, DemoError> {
        let filesystem = filesystem::durable(dir)?;
        let mut files = block_in_place(|| simulate(&dir.join("world"), self.subscribers, APPLICANTS))?;
        let cases = read_cases(&files.applications, &files.truth)?;
        // With the other carriers, who are left alone: an honest answer needs all of them.
        let carriers = std::mem::take(&mut files.carriers);
        let plan = Plan { rivals: vec![RIVAL.to_owned()], ..Plan::new(dir.to_owned(), carriers)? };
        let mut fleet = Fleet::start(&plan, &note).await?;
        let load = Load::new(Client::new(fleet.bank_url(), fleet.token())?, cases);
        note("warming up");
        load.closed(WARM_UP, self.time()).await?;
        let chosen = if self.attacks.is_empty() { Attack::ALL.to_vec() } else { self.attacks.clone() };
        let mut attacks = Vec::with_capacity(chosen.len());
        for attack in chosen {
            attacks.push(self.one(&fleet, &plan.program, &load, attack).await?);
        }
        block_in_place(|| fleet.stop())?;
        let good = attacks.iter().all(|figures: &AttackFigures| figures.honest_failure.is_none());
        Ok(HostileFigures { per_second: self.per_second, filesystem, attacks, good })
    }

    async fn one(
        &self,
        fleet: &Fleet,
        program: &Path,
        load: &Load,
        attack: Attack,
    ) -> Result<AttackFigures, DemoError> {
        let quiet = load.paced(self.per_second, self.time()).await?;
        let nowhere = || DemoError::Unfit("there is no carrier".into());
        let (carrier, address) = fleet.carriers().into_iter().next().ok_or_else(nowhere)?;
        let processes = fleet.processes();
        let pid = processes.iter().find(|(party, _)| *party == carrier).ok_or_else(nowhere)?.1;
        let time = if attack == Attack::SlowReader { self.time().max(PATIENCE) } else { self.time() };
        note(&format!("{}, {} s", attack.as_str(), time.as_secs()));
        let (idle_mib, cpu_ms) = (process::settled_mib(pid)?, process::cpu_ms(&[pid])?);
        let config = fleet.dir().join(RIVAL).join("node.toml");
        let attacking = attacker_process(program, &config, &carrier, address, attack, time);
        let (told, attacked) = tokio::join!(attacking, load.paced(self.per_second, time));
        let above_idle_mib = rounded((process::peak_of_mib(pid)? - idle_mib).max(0.0));
        let node_processors = rounded((process::cpu_ms(&[pid])? - cpu_ms) / 1_000.0 / time.as_secs_f64());
        let quiet_p99_ms = percentile(&quiet.latencies, 0.99);
        let (attacked_p99_ms, honest_failure) = match attacked {
            Ok(run) => (Some(percentile(&run.latencies, 0.99)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Ok(AttackFigures {
            attack,
            told: told?,
            idle_mib: rounded(idle_mib),
            above_idle_mib,
            quiet_p99_ms,
            attacked_p99_ms,
            ratio: attacked_p99_ms.map(|p99| rounded(p99 / quiet_p99_ms)),
            honest_failure,
            node_processors,
        })
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.max(1))
    }
}

async fn attacker_process(
    program: &Path,
    config: &Path,
    carrier: &str,
    address: SocketAddr,
    attack: Attack,
    time: Duration,
) -> Result<Told, DemoError> {
    let mut command = idle(program).await;
    command.args(["bench", "attacker", "--provider", carrier, "--attack", attack.as_str()]);
    command.arg("--address").arg(address.to_string()).arg("--config").arg(config);
    command.arg("--seconds").arg(time.as_secs().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let ended = command.output().await.map_err(DemoError::io("running the attacker"))?;
    serde_json::from_slice(&ended.stdout)
        .map_err(|_| DemoError::Unfit(format!("the attacker ended with {} and told nothing", ended.status)))
}

/// A program that will run where nothing else wants to.
async fn idle(program: &Path) -> Command {
    let [chrt, options @ ..] = IDLE;
    let has_class = Command::new(chrt).args(options).arg("true").stderr(Stdio::null()).status().await;
    if !has_class.is_ok_and(|status| status.success()) {
        note("chrt is missing: the attacker shares the processors at the lowest priority");
        return Command::new(program);
    }
    let mut command = Command::new(chrt);
    command.args(options).arg(program);
    command
}

/// Attacks a provider as a partner of its whose files are given, at a lower priority. Needs a runtime of several threads.
///
/// # Errors
/// [`NodeError`] when the attack cannot begin.
pub async fn attack(
    config: &Config,
    provider: &PartyId,
    address: SocketAddr,
    attack: Attack,
    time: Duration,
) -> Result<Told, NodeError> {
    let attacker = Arc::new(Attacker::open(config, provider, address).await?);
    attack::run(attacker, attack, time).await
}

/// Lets other processes go first.
pub fn give_way() {
    // Where the system refuses, the attacker is as strong as the nodes.
    let _ = rustix::process::nice(NICENESS);
}
