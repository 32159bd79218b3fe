//! One contracted provider: how to reach it, what it granted, and its encrypted table.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;
use tonic::transport::Channel;
use windvane_keys::enrolment::Partner;
use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::identity::Family;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::client::LookupTerms;
use windvane_protocols::party::PartyId;
use windvane_protocols::transcript::Signed;

use super::breaker::{Breaker, BreakerSnapshot, CIRCUIT_OPEN};
use super::granted::{best, permits};
use crate::config::ProviderConfig;
use crate::error::NodeError;
use crate::peer::{Tls, live_channel};
use crate::provider::Shared;
use crate::snapshot::{Snapshot, SnapshotError, installed_dir, installed_epochs};

/// A contracted provider.
#[derive(Debug, Clone)]
pub struct Contract {
    party: PartyId,
    /// Where customers are looked up; a provider without one takes part in scores alone.
    data_set: Option<DataSet>,
    address: String,
    channel: Channel,
    breaker: Arc<Breaker>,
    suspended: bool,
    partner: Option<Arc<Partner>>,
    grants: Vec<Grant>,
    snapshot: Option<Arc<Snapshot>>,
    unopened: Option<Unopened>,
}

/// Why the newest snapshot cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unopened {
    /// The stable code.
    pub(crate) code: &'static str,
    /// What is wrong and what to do.
    pub(crate) text: String,
}

/// What a session with the provider runs under.
#[derive(Debug, Clone)]
pub(super) struct SessionTerms {
    pub(super) partner: Arc<Partner>,
    pub(super) grant: Grant,
    /// Where customers are looked up, if they are.
    pub(super) lookup: Option<LookupPart>,
    /// Whether the session asks for a score.
    pub(super) scores: bool,
}

/// The table of a session and what is looked up in it.
#[derive(Debug, Clone)]
pub(super) struct LookupPart {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) families: Vec<Family>,
}

impl LookupPart {
    /// What a session is told of it.
    pub(super) fn terms(&self) -> LookupTerms<'_> {
        LookupTerms { manifest: self.snapshot.manifest().body(), families: &self.families }
    }
}

impl Contract {
    /// A contract that was not filled in yet; the channel connects when it is first used.
    pub(super) fn new(
        tls: &Arc<Tls>,
        config: &ProviderConfig,
        breaker: Arc<Breaker>,
    ) -> Result<Self, NodeError> {
        let given =
            |code, error: &dyn std::fmt::Display| NodeError::Given { code, message: error.to_string() };
        let party: PartyId = config.party.parse().map_err(|e| given("PARTY_INVALID", &e))?;
        let data_set = config.data_set.as_ref().map(|name| name.parse()).transpose();
        let data_set = data_set.map_err(|e| given("DATA_SET_INVALID", &e))?;
        Ok(Self {
            channel: live_channel(tls, &party, &config.address)?,
            address: config.address.clone(),
            party,
            data_set,
            breaker,
            suspended: false,
            partner: None,
            grants: Vec::new(),
            snapshot: None,
            unopened: None,
        })
    }

    /// Takes over partner, grants and snapshot as they stand now. Where the newest snapshot cannot be opened, the one
    /// that is open stays, if any is, and [`Contract::unopened`] says why.
    ///
    /// # Errors
    /// [`NodeError`] when the grants cannot be read; they stay, and the rest is taken over all the same.
    pub(super) fn renew(&mut self, shared: &Shared) -> Result<(), NodeError> {
        self.partner = shared.partners.find(&self.party);
        self.suspended = shared.functions.check_partner(&self.party).is_err();
        let Some(partner) = self.partner.clone() else {
            (self.grants, self.snapshot, self.unopened) = (Vec::new(), None, None);
            return Ok(());
        };
        self.renew_snapshot(shared, &partner);
        self.grants = self.accepted_grants(shared, &partner)?;
        Ok(())
    }

    /// Forgets grants, by their ids.
    pub(super) fn withdraw(&mut self, ended: &HashSet<[u8; 16]>) {
        self.grants.retain(|grant| !ended.contains(grant.id.as_bytes()));
    }

    /// The same contract over a channel of its own, which connects when it is first used.
    pub(super) fn connected_anew(&self, tls: &Arc<Tls>) -> Self {
        match live_channel(tls, &self.party, &self.address) {
            Ok(channel) => Self { channel, ..self.clone() },
            // It was an address when the bank started.
            Err(_) => self.clone(),
        }
    }

    /// The provider's name.
    pub const fn party(&self) -> &PartyId {
        &self.party
    }

    /// The channel to the provider.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What is known of how it answers.
    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// How it is asked at this moment.
    pub(super) fn breaker_snapshot(&self) -> BreakerSnapshot {
        self.breaker.snapshot(self.party.as_str(), Instant::now())
    }

    /// Terms that a call is made under now, unless the provider has not been answering.
    pub(super) fn admitted(
        &self,
        terms: Result<SessionTerms, &'static str>,
    ) -> Result<SessionTerms, &'static str> {
        let terms = terms?;
        if self.breaker.admits(Instant::now()) { Ok(terms) } else { Err(CIRCUIT_OPEN) }
    }

    /// The partner, once it is enrolled.
    pub(super) fn partner(&self) -> Option<&Arc<Partner>> {
        self.partner.as_ref()
    }

    /// Whether customers are looked up there.
    pub(crate) const fn has_lookups(&self) -> bool {
        self.data_set.is_some()
    }

    /// The downloaded snapshot, where there is one.
    pub(crate) const fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// Why the newest snapshot is not the one in use, where it cannot be opened.
    pub(crate) const fn unopened(&self) -> Option<&Unopened> {
        self.unopened.as_ref()
    }

    /// When the last grant ends, milliseconds of Unix time.
    pub(crate) fn granted_until(&self) -> Option<u64> {
        self.grants.iter().map(|grant| grant.not_after_ms).max()
    }

    /// The code of what lookups lack now, where customers are looked up there; nothing where those for any purpose lack
    /// nothing.
    pub(crate) fn lacks(&self, now_ms: u64) -> Option<&'static str> {
        let lacking = self.has_lookups().then(|| self.terms(None, now_ms).err()).flatten()?;
        let mut purposes = self.grants.iter().flat_map(|grant| &grant.purposes);
        (!purposes.any(|purpose| self.terms(Some(purpose), now_ms).is_ok())).then_some(lacking)
    }

    /// What a lookup may run under now, for a purpose or for any, or the code of what is missing.
    pub(super) fn terms(&self, purpose: Option<&str>, now_ms: u64) -> Result<SessionTerms, &'static str> {
        let data_set = self.data_set.as_ref().ok_or("DATA_SET_MISSING")?;
        let (partner, grant) = self.grant(Operation::Verify, data_set, purpose, now_ms)?;
        let missing = || self.unopened.as_ref().map_or("SNAPSHOT_MISSING", |unopened| unopened.code);
        let snapshot = self.snapshot.clone().ok_or_else(missing)?;
        let manifest = snapshot.manifest().body();
        if now_ms > manifest.not_after_ms {
            return Err("EPOCH_EXPIRED");
        }
        if grant.permits_epoch(manifest.hours()).is_err() {
            return Err("GRANT_EPOCH");
        }
        let families: Vec<_> =
            manifest.families.iter().copied().filter(|family| grant.families.contains(family)).collect();
        if families.is_empty() {
            return Err("GRANT_SCOPE");
        }
        Ok(SessionTerms { partner, grant, lookup: Some(LookupPart { snapshot, families }), scores: false })
    }

    /// What a score alone may run under now, or the code of what is missing.
    pub(super) fn score_terms(
        &self,
        group: &DataSet,
        purpose: &str,
        now_ms: u64,
    ) -> Result<SessionTerms, &'static str> {
        let (partner, grant) = self.grant(Operation::Score, group, Some(purpose), now_ms)?;
        Ok(SessionTerms { partner, grant, lookup: None, scores: true })
    }

    /// The grant of a call, unless none may be made.
    fn grant(
        &self,
        operation: Operation,
        data_set: &DataSet,
        purpose: Option<&str>,
        now_ms: u64,
    ) -> Result<(Arc<Partner>, Grant), &'static str> {
        let partner = self.partner.clone().ok_or("PARTNER_MISSING")?;
        if self.suspended {
            return Err("PARTNER_SUSPENDED");
        }
        let permitting = self.grants.iter().filter(|grant| permits(grant, operation, data_set));
        let grant = best(permitting, purpose, now_ms).ok_or("GRANT_MISSING")?;
        Ok((partner, grant.clone()))
    }

    fn accepted_grants(&self, shared: &Shared, partner: &Partner) -> Result<Vec<Grant>, NodeError> {
        let mut grants = Vec::new();
        for stored in shared.store.grants()?.into_iter().filter(|g| !g.issued && g.ended_at_ms.is_none()) {
            let grant = Signed::<Grant>::from_bytes_unverified(stored.signed)?;
            let body = grant.body();
            let ours = body.provider == self.party && body.requester == shared.keys.party;
            if ours && grant.verify(&partner.receipt_key) {
                grants.push(body.clone());
            }
        }
        Ok(grants)
    }

    fn renew_snapshot(&mut self, shared: &Shared, partner: &Partner) {
        let told = self.unopened.take();
        match self.newest_snapshot(shared, partner) {
            Ok(snapshot) => self.snapshot = snapshot,
            Err(error) => {
                let unopened = Unopened { code: error.code(), text: error.to_string() };
                // It is tried again and again.
                if told.as_ref() != Some(&unopened) {
                    let (code, provider) = (unopened.code, &self.party);
                    tracing::error!(code, %provider, %error, "the newest snapshot cannot be opened");
                }
                self.unopened = Some(unopened);
            }
        }
    }

    fn newest_snapshot(
        &self,
        shared: &Shared,
        partner: &Partner,
    ) -> Result<Option<Arc<Snapshot>>, SnapshotError> {
        let root = shared.layout.root();
        let Some(data_set) = &self.data_set else { return Ok(None) };
        let Some(&epoch) = installed_epochs(root, &self.party, data_set)?.last() else {
            return Ok(None);
        };
        let dir = installed_dir(root, &self.party, data_set, epoch);
        let same = |s: &&Arc<Snapshot>| s.manifest().body().epoch == epoch && s.is_current(&dir);
        if let Some(open) = self.snapshot.as_ref().filter(same) {
            return Ok(Some(open.clone()));
        }
        let snapshot = Snapshot::open(&dir)?;
        let body = snapshot.manifest().body();
        let theirs = body.provider == self.party && body.data_set == *data_set;
        if !theirs || !snapshot.verify(&partner.receipt_key) {
            tracing::error!(code = "MANIFEST_INVALID", provider = %self.party, "a manifest does not hold");
            return Ok(None);
        }
        Ok(Some(Arc::new(snapshot)))
    }
}
