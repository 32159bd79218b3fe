//! System calls of a scenario: counted in one run, and made to fail or to kill, each in a run of its own.
//!
//! `strace` counts and injects by thread, so that the N-th call of a name may be several: those of each thread that
//! comes so far. A number is left out where it would be, in any thread, a call on something else than the parties'
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::process::Template;
use super::scenario::Scenario;

/// Calls that change or make durable what is on a disk, by the names of all architectures' kernels.
const CALLS: [&str; 18] = [
    "openat",
    "write",
    "pwrite64",
    "writev",
    "fsync",
    "fdatasync",
    "syncfs",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "link",
    "linkat",
];

/// Those that need room.
const GROWING: [&str; 11] = [
    "openat",
    "write",
    "pwrite64",
    "writev",
    "ftruncate",
    "fallocate",
    "rename",
    "mkdir",
    "mkdirat",
    "link",
    "linkat",
];

/// What an injected call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Fails: the disk is broken.
    Io,
    /// Fails: the disk is full.
    NoSpace,
    /// Kills the process.
    Kill,
}

impl Effect {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
            Self::Kill => "SIGKILL",
        }
    }
}

/// The N-th call of a name, and what it does.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) call: String,
    number: u64,
    pub(super) effect: Effect,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.call, self.number, self.effect.name())
    }
}

impl Fault {
    fn injection(&self) -> String {
        let Self { call, number, effect } = self;
        match effect {
            // Instead of the call.
            Effect::Kill => format!("inject={call}:error=EIO:signal=KILL:when={number}"),
            _ => format!("inject={call}:error={}:when={number}", effect.name()),
        }
    }

    /// How many calls failed.
    pub(super) fn hits(trace: &str) -> u64 {
        trace.lines().filter(|line| line.contains("(INJECTED)")).count() as u64
    }
}

/// How many numbers of each call are tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sample {
    All,
    Spread(usize),
}

impl Sample {
    pub(super) fn from_environment(spread: usize) -> Self {
        let all = std::env::var("WINDVANE_CRASH_CALLS").is_ok_and(|value| value == "all");
        if all { Self::All } else { Self::Spread(spread) }
    }

    /// The first, the last, and some evenly between.
    fn of(self, numbers: &[u64]) -> Vec<u64> {
        let Self::Spread(count) = self else { return numbers.to_vec() };
        let last = numbers.len().saturating_sub(1);
        let spread: BTreeSet<_> = (0..count).map(|i| i * last / (count - 1).max(1)).collect();
        spread.into_iter().filter_map(|at| numbers.get(at).copied()).collect()
    }
}

/// Numbers of calls on the parties' files.
pub(super) struct Counted(BTreeMap<String, Vec<u64>>);

impl Counted {
    /// Everything: each number with each effect. A sample: the effects by turns.
    pub(super) fn faults(&self, sample: Sample) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (call, numbers) in &self.0 {
            let grows = GROWING.contains(&call.as_str());
            let effects = [Effect::Io, Effect::Kill, Effect::NoSpace];
            let effects = &effects[..if grows { 3 } else { 2 }];
            for (turn, number) in sample.of(numbers).into_iter().enumerate() {
                let chosen = match sample {
                    Sample::All => effects.to_vec(),
                    Sample::Spread(_) => vec![effects[turn % effects.len()]],
                };
                faults.extend(chosen.into_iter().map(|effect| Fault { call: call.clone(), number, effect }));
            }
        }
        faults
    }
}

/// Runs the scenario once without a fault.
pub(super) fn count(template: &Template, scenario: Scenario) -> Counted {
    let run = template.copy();
    let (ended, trace) = run.traced(scenario, &CALLS);
    assert_eq!(ended.codes(), [""; 0], "{scenario:?}: {ended:?}");
    let root = run.root.to_str().unwrap();
    let mut by_thread: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let (mut ours, mut others) = (BTreeMap::<&str, BTreeSet<u64>>::new(), BTreeSet::new());
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        let Some(name) = CALLS.into_iter().find(|known| *known == name) else { continue };
        let number = by_thread.entry((thread, name)).or_default();
        *number += 1;
        let on_files = rest.contains(root) && !(name == "openat" && rest.contains("O_RDONLY"));
        if on_files {
            ours.entry(name).or_default().insert(*number);
        } else {
            others.insert((name, *number));
        }
    }
    let numbers = ours.into_iter().map(|(name, numbers)| {
        let chosen = numbers.into_iter().filter(|number| !others.contains(&(name, *number)));
        (name.to_owned(), chosen.collect::<Vec<_>>())
    });
    Counted(numbers.filter(|(_, numbers)| !numbers.is_empty()).collect())
}

/// A command line to which the program's arguments are added.
pub(super) fn strace(trace: &Path, calls: &[&str], fault: Option<&Fault>) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-q", "-s", "0", "-e", "signal=none"]);
    if fault.is_none_or(|fault| fault.effect != Effect::Kill) {
        // Much faster, but an injected signal does not arrive.
        command.arg("--seccomp-bpf");
    }
    command.arg("-o").arg(trace).args(["-e", &format!("trace={}", calls.join(","))]);
    command.args(fault.map(|fault| ["-e".to_owned(), fault.injection()]).into_iter().flatten());
    command.arg(std::env::current_exe().unwrap());
    command
}

/// Whether `strace` is there and may trace.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let tried = Command::new("strace")
            .args(["-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "inject=rename:error=EIO:when=1", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}
