//! `windvane check-config`: what would keep a node from starting, and what it still lacks, without the network.
//!
//! With a **problem** the exit code is 1. A **note** names a step that is still to do. The log's content is checked by
//! `audit verify`; `doctor` checks more, and asks partners.

use std::path::PathBuf;

use serde::Serialize;
use windvane::observe::Finding;
use windvane::observe::setup::Setup;

use super::Answer;

/// Options of `check-config`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The configuration
    #[arg(value_name = "FILE", env = "WINDVANE_CONFIG", default_value = "windvane.toml")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing found.
#[derive(Debug, Serialize)]
struct Found {
    code: String,
    message: String,
}

/// Everything found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    problems: Vec<Found>,
    notes: Vec<Found>,
}

impl Findings {
    fn of(findings: Vec<Finding>) -> Self {
        let mut sorted = Self::default();
        for finding in findings {
            let found = Found { code: finding.code.clone(), message: finding.message() };
            if finding.is_problem() { sorted.problems.push(found) } else { sorted.notes.push(found) }
        }
        sorted
    }

    fn text(&self) -> String {
        let line = |kind: &str, found: &Found| format!("{kind} {}: {}\n", found.code, found.message);
        let problems = self.problems.iter().map(|found| line("problem", found));
        let notes = self.notes.iter().map(|found| line("note", found));
        let end = match (self.problems.len(), self.notes.len()) {
            (0, 0) => "OK".to_owned(),
            (0, notes) => format!("OK, with {notes} still to do before the node can work with its partners"),
            (problems, _) => format!("{problems} to correct before the node can start"),
        };
        problems.chain(notes).collect::<String>() + &end
    }
}

impl CheckArgs {
    pub(super) fn run(&self) -> Answer {
        let found = Findings::of(Setup::of(&self.file).findings);
        let sound = found.problems.is_empty();
        Answer::either(self.json, &found, Findings::text).sound(sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_counted_and_a_note_does_not_spoil_the_result() {
        assert_eq!(Findings::of(Vec::new()).text(), "OK");
        let note = || Finding::note("GRANT_MISSING", "there is none", "ask for one");
        let found = Findings::of(vec![note()]);
        assert!(
            found.text().starts_with("note GRANT_MISSING: there is none; ask for one\nOK"),
            "{}",
            found.text()
        );
        let found = Findings::of(vec![note(), Finding::problem("KEYS_MISSING", "none", "make them")]);
        assert!(found.text().ends_with("1 to correct before the node can start"), "{}", found.text());
    }
}
