//! A bank's snapshots and deltas: fetched, checked against all that was seen before, applied, logged.

use std::path::Path;
use std::sync::Arc;

use windvane_keys::enrolment::Partner;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::delta::{Chain, Delta, check_id};
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::transcript::Signed;

use super::Admin;
use crate::bank::fetch::Source;
use crate::config::ProviderConfig;
use crate::error::NodeError;
use crate::functions::{Function, check_job};
use crate::peer::channel_over;
use crate::snapshot::stage::{FetchStage, Stage};
use crate::snapshot::{InstallError, Room, Snapshot, delta, installed_dir};

/// What a fetch brought.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The current epoch's manifest.
    pub manifest: Signed<Manifest>,
    /// Whether its snapshot was installed just now.
    pub installed: bool,
    /// Deltas that were applied just now, in order.
    pub applied: Vec<Signed<Delta>>,
    /// Deltas that were taken off before, because the provider has others in their place.
    pub dropped: usize,
    /// Deltas that are applied here and that the provider does not know any more; they stay.
    pub unknown: usize,
}

impl Fetched {
    const fn is_new(&self) -> bool {
        self.installed || !self.applied.is_empty() || self.dropped > 0 || self.unknown > 0
    }
}

impl Admin {
    /// The sections whose tables are fetched: all that name a data set, or a party's. A section without one is for scores
    /// alone, and nothing is missing there.
    ///
    /// # Errors
    /// [`NodeError`]; `PROVIDER_UNKNOWN` and `DATA_SET_MISSING` for a named party that has no such section.
    pub fn fetched_sections(&self, party: Option<&str>) -> Result<Vec<&ProviderConfig>, NodeError> {
        let named = |section: &&ProviderConfig| party.is_none_or(|party| section.party == party);
        let sections: Vec<_> = self.config.providers.iter().filter(named).collect();
        let looked_up: Vec<_> = sections.iter().copied().filter(|s| s.data_set.is_some()).collect();
        match party {
            Some(party) if sections.is_empty() => Err(NodeError::Given {
                code: "PROVIDER_UNKNOWN",
                message: format!("{party} has no [[provider]] section in the configuration"),
            }),
            Some(party) if looked_up.is_empty() => Err(no_data_set(party)),
            _ => Ok(looked_up),
        }
    }

    /// [`Admin::fetch_section`] of the first section of a party that names a data set.
    ///
    /// # Errors
    /// [`NodeError`]; those of [`Admin::fetched_sections`] and [`Admin::fetch_section`].
    pub async fn fetch_snapshot(
        &self,
        provider: &str,
        progress: impl FnMut(u64, u64),
    ) -> Result<Fetched, NodeError> {
        let sections = self.fetched_sections(Some(provider))?;
        self.fetch_section(sections.first().ok_or_else(|| no_data_set(provider))?, progress).await
    }

    /// Downloads and installs the current snapshot of a provider's data set, and applies its deltas.
    ///
    /// A delta that breaks a rule is refused and noted in the log; what is installed stays. Where the provider's
    /// deltas are others than those applied here, the table goes back to the last publication that both have, the
    /// snapshot at the latest, and takes the provider's from there.
    ///
    /// # Errors
    /// [`NodeError`]; `PARTNER_SUSPENDED` and `VERIFICATION_OFF` before anybody is asked; `SNAPSHOT_INSTALLED` when there
    /// is nothing new. A broken download goes on where it ended when called again. A provider that stalls is given up
    /// after a minute, and a slow one after an hour and 4 ms a page.
    pub async fn fetch_section(
        &self,
        section: &ProviderConfig,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Fetched, NodeError> {
        let partner = self.partner(&section.party)?;
        check_job(&self.config, &self.store, Function::Verification, &partner.party)?;
        let data_set = data_set(section)?;
        let certificate = self.certificate()?;
        let channel = channel_over(&self.transport, &certificate, &partner.party, &section.address)?;
        let room = Room {
            largest_mb: section.max_snapshot_mb,
            kept_free_mb: self.config.observability.min_free_disk_mb,
        };
        let mut source = Source::new(&self.layout, &partner, channel, &data_set, room);
        let fetched = self.fetch_from(&mut source, &partner, &data_set, &mut progress).await;
        if let Err(NodeError::Install(error)) = &fetched
            && is_the_peers(error)
        {
            let event =
                Event::Failed { session: None, peer: partner.party.clone(), code: error.code().to_owned() };
            self.store.queue_entry(&self.entry(event))?;
        }
        self.flush()?;
        let fetched = fetched?;
        if fetched.is_new() {
            return Ok(fetched);
        }
        Err(InstallError::Installed { epoch: fetched.manifest.body().epoch }.into())
    }

    async fn fetch_from(
        &self,
        source: &mut Source<'_>,
        partner: &Partner,
        data_set: &DataSet,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Fetched, NodeError> {
        let manifest = source.manifest().await?;
        self.check_manifest(&manifest)?;
        let installed = match source.snapshot(&manifest, &mut *progress).await {
            Ok(()) => true,
            Err(NodeError::Install(InstallError::Installed { .. })) => false,
            Err(error) => return Err(error),
        };
        self.record_manifest(&manifest)?;
        FetchStage::Recorded.reached();
        let epoch = manifest.body().epoch;
        let dir = installed_dir(self.layout.root(), &partner.party, data_set, epoch);
        let chain = self.admitted(&manifest, source.deltas(epoch).await?, partner)?;
        Stage::Checked.reached();
        let Common { deltas, dropped, unknown } = self.agreed(&dir, &chain)?;
        let mut applied = Vec::new();
        for next in chain.deltas().iter().skip(deltas).filter(|_| unknown == 0) {
            let before = Arc::new(Snapshot::open(&dir)?);
            source.delta(&dir, before, next, &mut *progress).await?;
            self.record_delta(next)?;
            Stage::Recorded.reached();
            applied.push(next.clone());
        }
        Ok(Fetched { manifest, installed, applied, dropped, unknown })
    }

    /// The time of publication, and the publication-id rule, before a page of the snapshot is fetched.
    fn check_manifest(&self, manifest: &Signed<Manifest>) -> Result<(), NodeError> {
        let Manifest { epoch, published_at_ms, .. } = *manifest.body();
        let ahead_ms = published_at_ms.saturating_sub(self.clock.now_ms());
        if ahead_ms > self.config.service.clock_tolerance_ms {
            return Err(InstallError::PublishedAhead { epoch, ahead_ms }.into());
        }
        for publication in &manifest.body().publications {
            let known = self.store.publication(&publication.id)?;
            check_id(&manifest.digest(), known).map_err(InstallError::from)?;
        }
        Ok(())
    }

    /// The provider's chain, every rule checked.
    fn admitted(
        &self,
        manifest: &Signed<Manifest>,
        deltas: Vec<Signed<Delta>>,
        partner: &Partner,
    ) -> Result<Chain, NodeError> {
        let mut chain = Chain::new(manifest.clone()).map_err(InstallError::from)?;
        for delta in deltas {
            let known = self.store.publication(&delta.body().publication.id)?;
            chain.admit(delta, &partner.receipt_key, |_| known).map_err(InstallError::from)?;
        }
        Ok(chain)
    }

    /// What is applied here and the provider has too. Where the two part, the deltas here are taken off; where the
    /// provider's chain merely ends earlier, they stay.
    fn agreed(&self, dir: &Path, theirs: &Chain) -> Result<Common, NodeError> {
        let ours = Snapshot::open(dir)?;
        let ours = ours.chain().deltas();
        // What a kill kept from the log when it was applied.
        ours.iter().try_for_each(|delta| self.record_delta(delta))?;
        let deltas = ours.iter().zip(theirs.deltas()).take_while(|(a, b)| a == b).count();
        let more = ours.len() - deltas;
        if more == 0 || deltas == theirs.deltas().len() {
            return Ok(Common { deltas, dropped: 0, unknown: more });
        }
        tracing::warn!(code = "DELTA_FORKED", kept = deltas, dropped = more, "a provider has other deltas");
        let index = u16::try_from(deltas).unwrap_or(u16::MAX);
        let provider = theirs.manifest().body().provider.clone();
        let event = Event::Failed { session: None, peer: provider, code: "DELTA_FORKED".into() };
        self.store.queue_entry(&self.entry(event))?;
        delta::drop_after(dir, index)?;
        Ok(Common { deltas, dropped: more, unknown: 0 })
    }

    /// Keeps a manifest's ids with the entry of its publication, or installation.
    pub(super) fn record_manifest(&self, manifest: &Signed<Manifest>) -> Result<(), NodeError> {
        let ids: Vec<_> = manifest.body().publications.iter().map(|publication| publication.id).collect();
        let entry = self.entry(Event::Published(manifest.clone()));
        Ok(self.store.put_publications(&ids, &manifest.digest(), &entry)?)
    }

    /// Keeps a delta's id with the entry of its publication, or application.
    pub(super) fn record_delta(&self, delta: &Signed<Delta>) -> Result<(), NodeError> {
        let entry = self.entry(Event::DeltaPublished(delta.clone()));
        Ok(self.store.put_publications(&[delta.body().publication.id], &delta.digest(), &entry)?)
    }
}

/// Where two chains part.
struct Common {
    deltas: usize,
    dropped: usize,
    unknown: usize,
}

/// Whether an error is evidence against the provider.
const fn is_the_peers(error: &InstallError) -> bool {
    matches!(
        error,
        InstallError::Delta(_)
            | InstallError::EpochReused { .. }
            | InstallError::PublishedAhead { .. }
            | InstallError::PageInvalid { .. }
            | InstallError::TooLong { .. }
            | InstallError::RootMismatch
    )
}

fn no_data_set(party: &str) -> NodeError {
    NodeError::Given {
        code: "DATA_SET_MISSING",
        message: format!("no [[provider]] section of {party} names a data_set: nothing is looked up there"),
    }
}

fn data_set(section: &ProviderConfig) -> Result<DataSet, NodeError> {
    let name = section.data_set.as_ref().ok_or_else(|| no_data_set(&section.party))?;
    name.parse().map_err(|error| NodeError::Given { code: "DATA_SET_INVALID", message: format!("{error}") })
}
