//! Whether a running node can do its work, and what keeps it from it.
//!
//! The checks read what is in memory, the state file and a few facts of the file system. They block for as long as
//! those take, so they run on threads that may.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windvane_protocols::lookup::manifest::Manifest;

use super::checks::{self, Age, GRANT_DAYS};
use super::{Finding, Scope, Severity, look};
use crate::bank::{Bank, CIRCUIT_OPEN, Contract};
use crate::functions::Function;
use crate::peer::endings;
use crate::provider::{Provider, Shared};

/// Whether the node can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Nothing fails.
    pub ready: bool,
    /// What fails, by subject and code.
    pub failing: Vec<String>,
    /// What fails and what will soon, with advice.
    pub findings: Vec<Finding>,
}

impl Readiness {
    /// Of all findings.
    pub fn of(findings: Vec<Finding>) -> Self {
        let failing: Vec<_> = findings.iter().filter(|f| f.is_problem()).map(Finding::short).collect();
        Self { ready: failing.is_empty(), failing, findings }
    }
}

/// Whether a running node can do its work; not, where nobody can say it in time.
pub async fn readiness(shared: &Shared) -> Readiness {
    let broken = || {
        let advice = "see whether the disk of data_dir answers, and look at the node's log; start the node again if \
                      it stays";
        vec![Finding::problem("CHECK_BROKEN", "a check did not end", advice)]
    };
    Readiness::of(look(shared, findings).await.unwrap_or_else(broken))
}

/// Everything that is to be said of a running node. Blocks.
pub fn findings(shared: &Shared) -> Vec<Finding> {
    let (observer, now_ms) = (&shared.observer, shared.clock.now_ms());
    let mut found = base(shared, now_ms);
    if let Some(provider) = observer.provider() {
        found.extend(of_provider(shared, &provider, now_ms));
    }
    if let Some(bank) = observer.bank() {
        found.extend(of_bank(shared, &bank, now_ms));
    }
    for off in switched_off(shared) {
        // A bank's contract with a suspended provider says so itself.
        if !found.iter().any(|known| known.short() == off.short()) {
            found.push(off);
        }
    }
    found
}

fn switched_off(shared: &Shared) -> Vec<Finding> {
    let published = shared.observer.provider().is_some_and(|provider| !provider.all_published().is_empty());
    let asks = || shared.observer.bank().is_some_and(|bank| bank.contracts().iter().any(|c| c.has_lookups()));
    let lookups = if published { Some(Scope::Lookup) } else { asks().then_some(Scope::Bank) };
    let is_partner = |party: &str| party.parse().is_ok_and(|party| shared.partners.find(&party).is_some());
    checks::switched_off(&shared.functions, lookups, is_partner)
}

/// What every node needs: keys, state, log, room, a certificate.
fn base(shared: &Shared, now_ms: u64) -> Vec<Finding> {
    let (layout, config) = (&shared.layout, shared.observer.config());
    let mut found = checks::files(layout);
    found.extend(checks::disk(layout.root(), config));
    found.extend(checks::log(&shared.log.condition(), config));
    if let Err(error) = shared.store.condition() {
        let advice = "look at the disk; if the file is damaged, restore it from the last backup";
        found.push(Finding::problem(error.code(), error.to_string(), advice));
    }
    let (certificate, partners) = (shared.tls.certificate(), shared.partners.ends());
    let ends = endings(&certificate, &partners, now_ms, shared.certificates.warn_days);
    found.extend(ends.into_iter().map(checks::ending));
    found
}

fn of_provider(shared: &Shared, provider: &Provider, now_ms: u64) -> Vec<Finding> {
    let (observer, config) = (&shared.observer, shared.observer.config());
    let mut found = Vec::new();
    if provider.is_stopping() {
        found.push(Finding::problem(
            "STOPPING",
            "the node is stopping",
            "ask another node, or wait for its start",
        ));
    }
    let renew = "windvane dataset build, then publish: a fresh epoch of the data set";
    for published in provider.all_published() {
        let manifest = published.manifest().body();
        let ended = checks::epoch(manifest.data_set.as_str(), age(manifest), now_ms, config, renew);
        found.extend(ended.map(|finding| finding.in_scope(Scope::Lookup)));
    }
    if let Some(psi) = observer.psi() {
        let lists = psi.lists().filter(|(_, list)| !list.file.is_file());
        found.extend(lists.map(|(name, list)| gone("LIST_MISSING", name.as_str(), &list.file, Scope::Psi)));
    }
    if let Some(train) = observer.train() {
        let tables = train.tables().filter(|(_, table)| !table.file.is_file());
        found.extend(
            tables.map(|(name, table)| gone("TABLE_MISSING", name.as_str(), &table.file, Scope::Train)),
        );
    }
    let grants = provider.policy().grants_until();
    let ends = grants.iter().filter(|(_, until_ms)| **until_ms >= now_ms);
    found.extend(ends.filter_map(|(peer, until_ms)| checks::grant(peer, *until_ms, now_ms, GRANT_DAYS)));
    let quotas = provider.policy().quotas(now_ms);
    found.extend(quotas.iter().filter_map(|(name, quota)| checks::quota(name, *quota, config.quota_warning)));
    found
}

fn gone(code: &str, name: &str, file: &std::path::Path, scope: Scope) -> Finding {
    let what = format!("{} is not there", file.display());
    Finding::problem(code, what, "deliver the file again, or take the section out of the configuration")
        .about(name)
        .in_scope(scope)
}

fn of_bank(shared: &Shared, bank: &Bank, now_ms: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    let contracts = bank.contracts();
    if contracts.is_empty() {
        let advice = "add a [[provider]] section for each contract";
        found.push(Finding::warning("PROVIDER_MISSING", "there is nobody to ask", advice));
    }
    for contract in contracts.iter() {
        found.extend(of_contract(shared, contract, now_ms));
    }
    for breaker in bank.breakers().into_iter().filter(|breaker| breaker.state != "closed") {
        let last = breaker.last_failure.unwrap_or_default();
        let what = format!("it is not asked for a while, after {last}");
        let advice = "see whether it is reached; it is asked again by itself";
        found.push(Finding::problem(CIRCUIT_OPEN, what, advice).about(breaker.provider));
    }
    found.extend(bank.score_failure().map(|(group, code)| {
        Finding::problem(&code, "the joint score is not used", "windvane score model list, then activate")
            .about(group)
    }));
    found.into_iter().map(|finding| finding.in_scope(Scope::Bank)).collect()
}

/// One provider of the bank: what lookups lack, and how old its snapshot is.
fn of_contract(shared: &Shared, contract: &Contract, now_ms: u64) -> Vec<Finding> {
    let (party, config) = (contract.party().as_str(), shared.observer.config());
    let fetch = format!("windvane snapshot fetch {party}");
    let snapshot = contract
        .snapshot()
        .and_then(|snapshot| checks::epoch(party, age(snapshot.manifest().body()), now_ms, config, &fetch));
    let mut found: Vec<_> = snapshot.into_iter().collect();
    found.extend(contract.unopened().map(|unopened| {
        let unopened = Finding::of_error(unopened.code, &unopened.text).about(party);
        // With an older one it can be asked.
        if contract.snapshot().is_some() {
            Finding { severity: Severity::Warning, ..unopened }
        } else {
            unopened
        }
    }));
    if let Some(code) = contract.lacks(now_ms)
        && !found.iter().any(|finding| finding.code == code)
    {
        let (what, advice) = lacking(code, party);
        found.push(Finding::problem(code, what, advice).about(party));
    }
    let until = contract.granted_until();
    found.extend(until.and_then(|until_ms| checks::grant(party, until_ms, now_ms, GRANT_DAYS)));
    found
}

/// What a code of [`Contract::terms`] means.
fn lacking(code: &str, party: &str) -> (&'static str, String) {
    match code {
        "PARTNER_MISSING" => {
            ("it is not enrolled here, or its certificate ended", "windvane partner import".into())
        }
        "GRANT_MISSING" => {
            ("there is no running grant of it", "ask for one, then windvane grant accept".into())
        }
        "SNAPSHOT_MISSING" => ("there is no snapshot of it", format!("windvane snapshot fetch {party}")),
        "GRANT_EPOCH" => {
            ("its epoch is longer than its grant permits", "ask for a grant of more epoch hours".into())
        }
        "GRANT_SCOPE" => ("its grant permits no family of its table", "ask for a wider grant".into()),
        "PARTNER_SUSPENDED" => ("it is suspended here", format!("windvane partner resume {party}")),
        _ => ("it cannot be asked", "see windvane doctor".into()),
    }
}

pub(super) const fn age(manifest: &Manifest) -> Age {
    Age { built_at_ms: manifest.built_at_ms, until_ms: manifest.not_after_ms }
}

/// A provider's services by their full names, and under no name all of them.
pub const SERVICES: [&str; 7] = ["", AUDIT, PEER, LOOKUP, PSI, SCORE, TRAIN];

const AUDIT: &str = "windvane.audit.v1.Audit";
const PEER: &str = "windvane.common.v1.Peer";
const LOOKUP: &str = "windvane.lookup.v1.Lookup";
const PSI: &str = "windvane.psi.v1.Psi";
const SCORE: &str = "windvane.score.v1.Score";
const TRAIN: &str = "windvane.train.v1.Train";

/// Which of a provider's services can answer, by their full names, and under no name whether all that are offered can. One
/// whose function is switched off is not offered, but for lookups: that these are refused is a problem of the whole.
/// What the node lacks as a bank is no fact about them.
pub fn services(shared: &Shared, findings: &[Finding]) -> BTreeMap<&'static str, bool> {
    let observer = &shared.observer;
    let sound =
        |scope| !findings.iter().any(|f| f.is_problem() && (f.scope == Scope::Node || f.scope == scope));
    let Some(provider) = observer.provider() else { return BTreeMap::new() };
    let offers = |scope, function, has: bool| has && shared.functions.has(function) && sound(scope);
    let lists = observer.psi().is_some_and(|psi| psi.lists().next().is_some());
    let tables = observer.train().is_some_and(|train| train.tables().next().is_some());
    BTreeMap::from([
        ("", !findings.iter().any(|f| f.is_problem() && f.scope != Scope::Bank)),
        (AUDIT, sound(Scope::Node)),
        (PEER, sound(Scope::Node)),
        (LOOKUP, offers(Scope::Lookup, Function::Verification, !provider.all_published().is_empty())),
        (PSI, offers(Scope::Psi, Function::Screening, lists)),
        (SCORE, offers(Scope::Score, Function::Scoring, !provider.members().groups().is_empty())),
        (TRAIN, offers(Scope::Train, Function::Training, tables)),
    ])
}
