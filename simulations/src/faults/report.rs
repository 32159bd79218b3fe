//! The table of a run: what was simulated, what went wrong on purpose, and what held.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::ledger::{Checks, Invariant, Violation};
use super::net::Counts;
use super::run::Ran;

/// A seed whose run has a violation.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// The command that runs it again.
    pub again: String,
    /// What does not hold.
    pub violation: Violation,
}

/// The table.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Operations in all.
    pub operations: u64,
    /// Operations by kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// How calls ended, by what they said.
    pub outcomes: BTreeMap<String, u64>,
    /// Faults of the network by kind, and what it carried.
    pub network: BTreeMap<&'static str, u64>,
    /// Entries of all logs, each audited at its seed's end.
    pub entries: u64,
    /// Conditions that were held while operations ran and as logs were read, by invariant: every one is named.
    pub checks: Checks,
    /// Violations by invariant: every invariant is named.
    pub invariants: BTreeMap<Invariant, u64>,
    /// The violations.
    pub violations: Vec<Failed>,
    /// What happened last before them.
    pub last: Vec<String>,
    /// Virtual seconds that passed in all seeds.
    pub virtual_s: f64,
    /// Seconds that the run took.
    pub elapsed_s: f64,
    /// Operations a second.
    pub per_second: f64,
    /// The trace of each seed.
    pub traces: BTreeMap<u64, String>,
}

impl Report {
    /// Adds a seed.
    pub fn add(&mut self, ran: Ran) {
        self.seeds += 1;
        let operations: u64 = ran.operations.values().sum();
        self.operations += operations;
        for (kind, count) in ran.operations {
            *self.by_kind.entry(kind).or_default() += count;
        }
        for (outcome, count) in ran.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.entries += ran.entries;
        for invariant in Invariant::ALL {
            self.invariants.entry(invariant).or_default();
            *self.checks.entry(invariant).or_default() +=
                ran.checks.get(&invariant).copied().unwrap_or_default();
        }
        for violation in ran.violations {
            *self.invariants.entry(violation.invariant).or_default() += 1;
            self.violations.push(Failed { seed: ran.seed, again: ran.again.clone(), violation });
        }
        self.last.extend(ran.last);
        self.virtual_s += ran.virtual_time.as_secs_f64();
        self.traces.insert(ran.seed, ran.trace);
    }

    /// Takes over what the network counted, and the time.
    pub fn take_stock(&mut self, counts: &Counts, elapsed: Duration) {
        let counters = [
            ("connections", &counts.connections),
            ("segments", &counts.segments),
            ("delayed", &counts.delayed),
            ("dropped", &counts.dropped),
            ("duplicated", &counts.duplicated),
            ("reordered", &counts.reordered),
            ("corrupted", &counts.corrupted),
            ("cut", &counts.cut),
        ];
        self.network =
            counters.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect();
        self.elapsed_s = elapsed.as_secs_f64();
        self.per_second = self.operations as f64 / self.elapsed_s;
    }

    /// One line about how far it is.
    pub fn progress(&self, seeds: u64) -> String {
        let Self { operations, elapsed_s, per_second, violations, .. } = self;
        let (done, found) = (self.seeds, violations.len());
        format!(
            "{done} of {seeds} seeds, {operations} operations in {elapsed_s:.0} s, {per_second:.0} a second, \
             {found} violations"
        )
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers are JSON")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.progress(self.seeds))?;
        let tables = [("operations", &self.by_kind), ("network", &self.network)];
        for (name, table) in tables {
            writeln!(f, "{name}")?;
            table.iter().try_for_each(|(kind, count)| writeln!(f, "  {kind:<28}{count:>12}"))?;
        }
        writeln!(f, "outcomes")?;
        self.outcomes.iter().try_for_each(|(said, count)| writeln!(f, "  {said:<28}{count:>12}"))?;
        let checks: u64 = self.checks.values().sum();
        writeln!(f, "violations, after {checks} checks and the audit of {} entries", self.entries)?;
        for (invariant, count) in &self.invariants {
            let checks = self.checks.get(invariant).copied().unwrap_or_default();
            writeln!(f, "  {:<28}{count:>12} in {checks:>10} checks", format!("{invariant:?}"))?;
        }
        self.last.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        for Failed { seed, again, violation: Violation { invariant, operation, text } } in &self.violations {
            writeln!(f, "seed {seed}, operation {operation}: {invariant:?}: {text}")?;
            writeln!(f, "  again: {again}")?;
        }
        Ok(())
    }
}
