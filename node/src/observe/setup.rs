//! A configuration and what it names: everything that would keep a node from starting, and what it still lacks.
//!
//! A **problem** keeps the node from starting or its work from being right. A **note** names a step that is still to
//! do, such as a grant or a publication. The network is not used, so whether partners answer is not known here.

use std::path::Path;
use std::sync::Arc;

use windvane_keys::enrolment::Partner;

use super::{Finding, Scope, Severity, checks};
use crate::admin::{Admin, Enrolled};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::error::NodeError;
use crate::identity::{Certificate, Layout, passphrase};
use crate::peer::CERTIFICATE_REVOKED;
use crate::risk::{Rules, Vocabulary};

mod contracts;
mod offers;

/// What was found, and what could be opened on the way.
#[derive(Debug, Default)]
pub struct Setup {
    /// Everything found.
    pub findings: Vec<Finding>,
    /// The configuration, where it is one.
    pub config: Option<Config>,
    /// The node's own files, where they open.
    pub admin: Option<Admin>,
    /// The certificate, where the node is enrolled.
    pub certificate: Option<Certificate>,
}

impl Setup {
    /// Reads and checks a configuration's file and all that it names.
    pub fn of(file: &Path) -> Self {
        let mut setup = Self::default();
        let config = Config::load(file).map_err(NodeError::from);
        if let Some(config) = setup.need(config) {
            setup.check(&config);
            setup.config = Some(config);
        }
        setup
    }

    /// Keeps the value, or the error as a problem.
    fn need<T, E: Into<NodeError>>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.findings.push(of_node(&error.into()))).ok()
    }

    /// `text` is what was found, a semicolon, and what to do.
    fn problem(&mut self, code: &str, text: &str) {
        self.findings.push(Finding::of_error(code, text));
    }

    fn note(&mut self, code: &str, text: &str) {
        let found = Finding::of_error(code, text);
        self.findings.push(Finding { severity: Severity::Note, ..found });
    }

    /// Adds what a shared check found. Before the start, what will not work yet is a step to do.
    fn step(&mut self, found: Option<Finding>) {
        self.findings.extend(found.map(|found| Finding { severity: Severity::Note, ..found }));
    }

    fn check(&mut self, config: &Config) {
        self.check_sections(config);
        if let Some(path) = &config.verification.rules {
            self.need(Rules::load(path, &Vocabulary::carrier()));
        }
        for list in &config.lists {
            if let Err(error) = crate::psi::check_list(list) {
                self.problem(error.code(), &error.to_string());
            }
        }
        if self.need(passphrase(&config.keys)).is_none() {
            return;
        }
        if !Layout::new(config.node.data_dir.clone()).keys().exists() {
            let text = "the node has no keys; run windvane keys init for a new one, or windvane restore where it was lost: \
                        with new keys no partner knows it";
            return self.problem("KEYS_MISSING", text);
        }
        let layout = Layout::new(config.node.data_dir.clone());
        if layout.log().is_dir() && !layout.state().is_file() {
            // Opening it would make an empty one.
            let text = "the state file is not there, and the log is; restore it from the last backup";
            return self.problem("STATE_MISSING", text);
        }
        let Some(admin) = self.need(Admin::open(config, Arc::new(SystemClock))) else { return };
        for table in &config.tables {
            self.need(crate::train::serve::check_table(table, admin.keys()));
        }
        self.certificate = self.need(admin.certificate());
        if self.certificate.is_some() {
            self.check_work(config, &admin);
        }
        self.admin = Some(admin);
    }

    fn check_sections(&mut self, config: &Config) {
        match (&config.grpc, &config.http) {
            (None, None) => self.problem(
                "INTERFACE_MISSING",
                "neither [grpc] nor [http]: the node would serve nobody; a provider needs [grpc], a bank [http]",
            ),
            (_, Some(_)) if config.providers.is_empty() => self.note(
                "PROVIDER_MISSING",
                "[http] without a [[provider]]: nobody is asked; add the contracts",
            ),
            (_, None) if !config.providers.is_empty() => {
                self.problem("INTERFACE_MISSING", "[[provider]] without [http]: nobody can ask; add [http]");
            }
            _ => {}
        }
    }

    /// What only an enrolled node can be asked.
    fn check_work(&mut self, config: &Config, admin: &Admin) {
        let now_ms = SystemClock.now_ms();
        self.need(admin.check_own_enrolment(now_ms));
        let (Some(enrolled), Some(grants)) = (self.need(admin.enrolled()), self.need(admin.grants())) else {
            return;
        };
        let endings = self.need(admin.endings()).unwrap_or_default();
        for found in endings.into_iter().map(checks::ending) {
            // To be renewed now: it is no end that is still to come.
            if found.code == CERTIFICATE_REVOKED { self.findings.push(found) } else { self.step(Some(found)) }
        }
        if enrolled.is_empty() {
            self.note("PARTNER_MISSING", "no partner is enrolled; run windvane partner import");
        }
        let partners = self.believed(enrolled, now_ms);
        if let Some(functions) = self.need(admin.functions()) {
            let lookups = config.providers.iter().any(|provider| provider.data_set.is_some())
                || admin.layout().data_sets().is_ok_and(|data_sets| !data_sets.is_empty());
            let is_partner = |party: &str| partners.iter().any(|partner| partner.party.as_str() == party);
            let off = checks::switched_off(&functions, lookups.then_some(Scope::Node), is_partner);
            // What the configuration itself keeps off is no step to do.
            off.into_iter().filter(|off| off.severity > Severity::Note).for_each(|off| self.step(Some(off)));
        }
        if config.http.is_some() {
            contracts::Known { config, partners: &partners, grants: &grants, now_ms }.check(self);
        }
        if config.grpc.is_some() {
            offers::check(config, &grants, now_ms, self);
        }
    }

    /// The partners that are believed. That a certificate has run out is told as its end.
    fn believed(&mut self, enrolled: Vec<Enrolled>, now_ms: u64) -> Vec<Partner> {
        let mut believed = Vec::new();
        for Enrolled { enrolment, partner } in enrolled {
            match partner {
                Ok(partner) => believed.push(partner),
                Err(_) if enrolment.certificate().not_after_ms < now_ms => {}
                Err(error) => self.note(error.code(), &error.to_string()),
            }
        }
        believed
    }
}

/// An error of the library as a finding.
pub(super) fn of_node(error: &NodeError) -> Finding {
    match error {
        NodeError::Config(source @ ConfigError::Read { .. }) => Finding::problem(
            source.code(),
            source.to_string(),
            "name the file with --config or WINDVANE_CONFIG",
        ),
        other => Finding::of_error(other.code(), &other.to_string()),
    }
}
