//! What a bank needs of every provider that it asks.

use windvane_keys::enrolment::Partner;
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;

use super::Setup;
use crate::config::{Config, ProviderConfig};
use crate::observe::{checks, health};
use crate::snapshot::{Snapshot, SnapshotError, installed_dir, installed_epochs};

/// What a node knows of its partners.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) config: &'a Config,
    pub(super) partners: &'a [Partner],
    pub(super) grants: &'a [(Grant, Option<u64>)],
    pub(super) now_ms: u64,
}

impl Known<'_> {
    /// Checks every contract.
    pub(super) fn check(&self, found: &mut Setup) {
        for provider in &self.config.providers {
            // Both were checked when the configuration was read.
            let Ok(party) = provider.party.parse() else { continue };
            let data_set = provider.data_set.as_ref().and_then(|name| name.parse().ok());
            self.check_contract(provider, &party, data_set.as_ref(), found);
        }
    }

    fn check_contract(
        &self,
        provider: &ProviderConfig,
        party: &PartyId,
        data_set: Option<&DataSet>,
        found: &mut Setup,
    ) {
        let name = &provider.party;
        let Some(partner) = self.partners.iter().find(|partner| partner.party == *party) else {
            let advice =
                format!("no enrolment of {name} holds here; run windvane partner import with its newest one");
            return found.note("PARTNER_MISSING", &advice);
        };
        let Some(data_set) = data_set else { return };
        if !self.grants.iter().any(|grant| self.runs(grant, party, data_set)) {
            let advice =
                format!("no running grant of {name} for {data_set}; ask for one, windvane grant accept");
            found.note("GRANT_MISSING", &advice);
        }
        self.check_snapshot(partner, data_set, found);
    }

    fn runs(&self, (grant, ended_at_ms): &(Grant, Option<u64>), party: &PartyId, data_set: &DataSet) -> bool {
        ended_at_ms.is_none()
            && grant.provider == *party
            && grant.requester == self.config.party()
            && grant.data_sets.contains(data_set)
            && grant.runs_at(self.now_ms)
    }

    fn check_snapshot(&self, partner: &Partner, data_set: &DataSet, found: &mut Setup) {
        let (root, party) = (&self.config.node.data_dir, &partner.party);
        let Some(epochs) = found.need(installed_epochs(root, party, data_set).map_err(SnapshotError::from))
        else {
            return;
        };
        let missing = |why: &str| format!("{why} {data_set} of {party}; run windvane snapshot fetch {party}");
        let Some(&epoch) = epochs.last() else {
            return found.note("SNAPSHOT_MISSING", &missing("no snapshot of"));
        };
        let opened = Snapshot::open(&installed_dir(root, party, data_set, epoch));
        let Some(snapshot) = found.need(opened) else { return };
        if !snapshot.verify(&partner.receipt_key) {
            let advice =
                format!("the manifest of {data_set} is not signed by {party}; remove it, fetch again");
            found.problem("MANIFEST_INVALID", &advice);
        } else {
            let age = health::age(snapshot.manifest().body());
            let fetch = format!("run windvane snapshot fetch {party}");
            let config = &self.config.observability;
            found.step(checks::epoch(party.as_str(), age, self.now_ms, config, &fetch));
        }
    }
}
