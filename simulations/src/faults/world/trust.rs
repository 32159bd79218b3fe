//! Certificates that are renewed, and peers that are revoked and come back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windvane::admin::Admin;
use windvane::error::NodeError;
use windvane_keys::authority::CertificateAuthority;
use windvane_keys::enrolment::{Enrolment, EnrolmentRequest};
use windvane_keys::revocation::RevocationList;

use super::super::SimulationError;
use super::super::ledger::Invariant;
use super::super::operation::REQUESTERS;
use super::super::template::{PARTIES, Template};
use super::{ENDED_WITHIN, Outcome, REVOKED_WITHIN, World, lock};

/// Days that certificates and lists are valid: longer than the simulated time of a seed.
const DAYS: u32 = 100;

/// How much earlier than the template lists are said to be made, so that no machine's clock is before it.
const BACKDATED_MS: u64 = 120_000;

/// How long calls that began before a change of trust may still tell of it.
const AFTERMATH: Duration = Duration::from_secs(10);

/// Longer than any change of trust takes.
const LONG: Duration = Duration::from_secs(3_600);

/// The authority, and what it issued last.
#[derive(Debug)]
pub(super) struct Trust {
    authority: Arc<CertificateAuthority>,
    /// Of all parties, in their order.
    enrolments: Vec<String>,
    list: Option<RevocationList>,
    /// When everything is issued. TLS goes by the system's clock, which stands still beside the virtual hours.
    at_ms: u64,
}

impl Trust {
    pub(super) fn new(template: &Template) -> Self {
        let (authority, enrolments) = template.trust();
        Self { authority, enrolments, list: None, at_ms: template.now_ms() }
    }
}

impl World {
    /// A party gets a new key and certificate; the others know them first.
    pub(super) async fn renew(&self, party: usize, number: u64) -> Outcome {
        let mut trust = self.trust.lock().await;
        self.distrust(LONG);
        let renewed = self.renewed(&mut trust, party).await;
        self.distrust(AFTERMATH);
        self.done(renewed, number)
    }

    /// A requester's certificate is revoked; it comes back with another after a while.
    pub(super) async fn revoke(&self, requester: usize, lasting: Duration, number: u64) -> Outcome {
        let mut trust = self.trust.lock().await;
        self.distrust(LONG);
        let revoked = match self.revoked(&mut trust, requester).await {
            Ok(()) => {
                *lock(&self.revoked[requester]) = Some(Instant::now());
                sleep(REVOKED_WITHIN + lasting).await;
                *lock(&self.revoked[requester]) = None;
                self.renewed(&mut trust, requester).await
            }
            failed => failed,
        };
        self.distrust(AFTERMATH);
        self.done(revoked, number)
    }

    async fn renewed(&self, trust: &mut Trust, party: usize) -> Result<(), SimulationError> {
        let _operators = self.operators().await;
        let admin = self.admin_of(party)?;
        let request = EnrolmentRequest::from_pem(&admin.renewal_request()?).map_err(NodeError::from)?;
        let signed = trust.authority.sign(&request, DAYS, trust.at_ms, &mut rand::rng());
        let enrolment = signed.map_err(NodeError::from)?.to_pem();
        let partners = if party < REQUESTERS { REQUESTERS..PARTIES.len() } else { 0..REQUESTERS };
        for partner in partners {
            self.admin_of(partner)?.import_enrolment(&enrolment)?;
        }
        sleep(ENDED_WITHIN).await;
        admin.import_enrolment(&enrolment)?;
        sleep(ENDED_WITHIN).await;
        self.desk.reconnect()?;
        trust.enrolments[party] = enrolment;
        Ok(())
    }

    async fn revoked(&self, trust: &mut Trust, requester: usize) -> Result<(), SimulationError> {
        let _operators = self.operators().await;
        let enrolment = Enrolment::from_pem(&trust.enrolments[requester]).map_err(NodeError::from)?;
        let at_ms = trust.at_ms - BACKDATED_MS;
        let serial = enrolment.certificate().serial.as_slice();
        let list = trust.authority.revoke(trust.list.as_ref(), &[serial], DAYS, at_ms);
        let list = list.map_err(NodeError::from)?;
        for carrier in REQUESTERS..PARTIES.len() {
            self.admin_of(carrier)?.import_revocations(list.der())?;
        }
        trust.list = Some(list);
        Ok(())
    }

    /// Nobody stops a machine or works on its files meanwhile.
    async fn operators(&self) -> Vec<tokio::sync::MutexGuard<'_, ()>> {
        let mut operators = Vec::new();
        for machine in &self.machines {
            operators.push(machine.operator.lock().await);
        }
        operators
    }

    fn admin_of(&self, party: usize) -> Result<Arc<Admin>, NodeError> {
        match PARTIES[party] {
            super::DESK => Ok(self.desk.admin()),
            name => {
                let machine = self.machines.iter().find(|machine| machine.name() == name);
                machine.expect("a machine for each party but the desk").admin()
            }
        }
    }

    /// For how long from now on a party may be unknown to another.
    fn distrust(&self, lasting: Duration) {
        *lock(&self.distrusted_until) = Some(Instant::now() + lasting);
    }

    pub(super) fn is_distrusted(&self) -> bool {
        lock(&self.distrusted_until).is_some_and(|until| Instant::now() < until)
    }

    fn done(&self, done: Result<(), SimulationError>, number: u64) -> Outcome {
        match done {
            Ok(()) => "renewed".into(),
            Err(error) => {
                self.ledger.violate(
                    Invariant::Recovery,
                    number,
                    format!("a change of trust failed: {error}"),
                );
                "violation".into()
            }
        }
    }
}
