//! `windvane check-config`: everything that would keep a node from starting, and what it still lacks.
//!
//! A **problem** keeps the node from starting or its work from being right; with one the exit code is 1. A
//! **note** names a step that is still to do, such as a grant or a publication. The network is not used, so
//! whether partners answer is not known here; the log's content is checked by `audit verify`.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use windvane::admin::Admin;
use windvane::clock::{Clock as _, SystemClock};
use windvane::config::Config;
use windvane::error::NodeError;
use windvane::identity::{Layout, passphrase};
use windvane::risk::{Rules, Vocabulary};

use super::Answer;
use super::failure::Failure;

mod contracts;
mod offers;

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
    /// Keeps the value, or the error as a problem.
    fn need<T, E: Into<Failure>>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.fail(&error.into())).ok()
    }

    fn fail(&mut self, failure: &Failure) {
        let (code, message) = (failure.code().to_owned(), failure.advice().into_owned());
        self.problems.push(Found { code, message });
    }

    fn problem(&mut self, code: &str, message: impl Into<String>) {
        self.problems.push(Found { code: code.to_owned(), message: message.into() });
    }

    fn note(&mut self, code: &str, message: impl Into<String>) {
        self.notes.push(Found { code: code.to_owned(), message: message.into() });
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
        let mut found = Findings::default();
        if let Some(config) = found.need(Config::load(&self.file).map_err(NodeError::from)) {
            check(&config, &mut found);
        }
        let sound = found.problems.is_empty();
        Answer::either(self.json, &found, Findings::text).sound(sound)
    }
}

fn check(config: &Config, found: &mut Findings) {
    check_sections(config, found);
    check_rules(config, found);
    for list in &config.lists {
        found.need(windvane::psi::check_list(list).map_err(Failure::psi(None)));
    }
    if found.need(passphrase(&config.keys)).is_none() {
        return;
    }
    if !Layout::new(config.node.data_dir.clone()).keys().exists() {
        return found.problem("KEYS_MISSING", "the node has no keys; run windvane keys init");
    }
    let Some(admin) = found.need(Admin::open(config, Arc::new(SystemClock))) else { return };
    for table in &config.tables {
        found.need(windvane::train::serve::check_table(table, admin.keys()));
    }
    if found.need(admin.certificate()).is_none() {
        return;
    }
    check_work(config, &admin, found);
}

fn check_sections(config: &Config, found: &mut Findings) {
    match (&config.grpc, &config.http) {
        (None, None) => found.problem(
            "INTERFACE_MISSING",
            "neither [grpc] nor [http]: the node would serve nobody; a provider needs [grpc], a bank [http]",
        ),
        (_, Some(_)) if config.providers.is_empty() => {
            found.note(
                "PROVIDER_MISSING",
                "[http] without a [[provider]]: nobody is asked; add the contracts",
            );
        }
        (_, None) if !config.providers.is_empty() => {
            found.problem("INTERFACE_MISSING", "[[provider]] without [http]: nobody can ask; add [http]");
        }
        _ => {}
    }
}

fn check_rules(config: &Config, found: &mut Findings) {
    if let Some(path) = &config.verification.rules {
        found.need(Rules::load(path, &Vocabulary::carrier()).map_err(NodeError::from));
    }
}

/// What only an enrolled node can be asked.
fn check_work(config: &Config, admin: &Admin, found: &mut Findings) {
    let now_ms = SystemClock.now_ms();
    found.need(admin.check_own_enrolment(now_ms));
    let (Some(partners), Some(grants)) = (found.need(admin.partners()), found.need(admin.grants())) else {
        return;
    };
    for ending in found.need(admin.endings()).into_iter().flatten() {
        found.note(ending.code, ending.message);
    }
    if config.http.is_some() {
        let bank = contracts::Known { config, partners: &partners, grants: &grants, now_ms };
        bank.check(found);
    }
    if config.grpc.is_some() {
        offers::check(config, &grants, now_ms, found);
    }
    if partners.is_empty() {
        found.note("PARTNER_MISSING", "no partner is enrolled; run windvane partner import");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_counted_and_a_note_does_not_spoil_the_result() {
        let mut found = Findings::default();
        assert_eq!(found.text(), "OK");
        found.note("GRANT_MISSING", "ask for one");
        assert!(found.text().starts_with("note GRANT_MISSING: ask for one\nOK"), "{}", found.text());
        found.problem("KEYS_MISSING", "make them");
        assert!(found.text().ends_with("1 to correct before the node can start"), "{}", found.text());
    }
}
