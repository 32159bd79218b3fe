//! Publishing a provider's table of an epoch, and fetching the tables of all at the bank.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::parts::Coverage;
use windvane_protocols::transcript::Signed;

use super::super::Admin;
use crate::dataset::Progress;
use crate::error::NodeError;
use crate::functions::{Function, check_job};
use crate::peer::channel;
use crate::score::build::{PublishTable, prepare};
use crate::score::fetch::{FetchTables, FetchedTables, ScoreFetchError, fetch};
use crate::score::folder::{GroupFolder, ScoreFolder};
use crate::score::member::load_member;
use crate::score::parts::DenseParts;
use crate::score::plan::GroupPlan;

/// What a provider publishes, apart from its parts.
#[derive(Debug, Clone)]
pub struct ScorePublication {
    /// The scoring group.
    pub group: DataSet,
    /// The epoch; the newest finished one when not given.
    pub epoch: Option<u64>,
    /// Who else holds parts.
    pub coverage: Coverage,
    /// Of 1,000 numbers with a part other than the default, how many another provider holds one for.
    pub overlap_permille: u16,
}

/// What the bank has of an epoch.
#[derive(Debug, Clone)]
pub struct FetchedScore {
    /// The manifests of all providers, in their order.
    pub manifests: Vec<Signed<TableManifest>>,
    /// Whether the sum was there before.
    pub was_installed: bool,
}

impl Admin {
    /// Builds and publishes this node's table of an epoch. Where the parts come from is the caller's: `parts` is
    /// given what this very epoch was set up under.
    ///
    /// # Errors
    /// [`NodeError`]; a build that was interrupted goes on when called again with the same parts.
    pub fn score_publish(
        &self,
        publication: &ScorePublication,
        parts: impl FnOnce(&GroupPlan) -> Result<DenseParts, NodeError>,
        progress: &dyn Progress,
    ) -> Result<Signed<TableManifest>, NodeError> {
        let ledger = ScoreFolder::new(&self.layout);
        let folder = ledger.group(&publication.group);
        let epoch = self.score_epoch(&publication.group, publication.epoch)?;
        let plan = GroupPlan::open_for(&folder, epoch)?;
        let member = load_member(&self.keys, &folder, &plan, epoch)?;
        let parts = parts(&plan)?;
        let job = PublishTable {
            member: &member,
            universe: &plan.universe,
            parts: &parts,
            coverage: publication.coverage,
            overlap_permille: publication.overlap_permille,
            folder: &folder.epoch(epoch),
            ledger: &ledger,
            key: self.keys.signing_key(),
            now_ms: self.clock.now_ms(),
        };
        let prepared = prepare(&job, progress).or_else(|error| {
            if error.is_second_table() {
                self.score_failed(&self.keys.party, error.code())?;
            }
            Err(NodeError::from(error))
        })?;
        if !prepared.was_placed() {
            // Told before the first byte can leave; a kill in between tells it twice.
            self.store.queue_entry(&self.entry(Event::ScorePublished(prepared.manifest().clone())))?;
        }
        let manifest = prepared.place()?;
        self.flush()?;
        Ok(manifest)
    }

    /// Downloads the tables of all providers of an epoch, checks them, and installs their sum.
    ///
    /// # Errors
    /// [`NodeError`]; a broken download goes on where it ended when called again.
    pub async fn score_fetch(
        &self,
        group: &DataSet,
        epoch: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<FetchedScore, NodeError> {
        let folder = ScoreFolder::new(&self.layout).group(group);
        let number = self.score_epoch(group, epoch)?;
        let plan = GroupPlan::open_for(&folder, number)?;
        let folder = folder.epoch(number);
        let epoch = folder.evidence(&plan.pins())?;
        let (mut channels, certificate) = (BTreeMap::new(), self.certificate()?);
        for identity in epoch.charter().providers() {
            check_job(&self.config, &self.store, Function::Scoring, &identity.party)?;
            let configured = self.config.providers.iter().find(|p| p.party == identity.party.as_str());
            let address = || ScoreFetchError::Address { party: identity.party.clone() };
            let configured = configured.ok_or_else(address)?;
            let channel = channel(&certificate, &identity.party, &configured.address)?;
            channels.insert(identity.party.clone(), channel);
        }
        let job =
            FetchTables { epoch: &epoch, universe: &plan.universe, folder: &folder, channels: &channels };
        let summed = match fetch(&job, progress).await {
            Ok(FetchedTables::Summed(summed)) => summed,
            Ok(FetchedTables::Installed(table)) => {
                return Ok(FetchedScore { manifests: table.manifests().to_vec(), was_installed: true });
            }
            Err(error) => {
                if let Some(party) = error.party() {
                    self.score_failed(party, error.code())?;
                }
                return Err(error.into());
            }
        };
        for manifest in summed.manifests() {
            self.store.queue_entry(&self.entry(Event::ScorePublished(manifest.clone())))?;
        }
        let manifests = summed.install()?;
        self.flush()?;
        Ok(FetchedScore { manifests, was_installed: false })
    }

    /// Where the refused lines of a file of parts are listed.
    pub fn score_rejects(&self, group: &DataSet, epoch: u64) -> PathBuf {
        ScoreFolder::new(&self.layout).group(group).epoch(epoch).join("parts-rejects.csv")
    }

    /// Tells the log who failed, or what was tried here.
    fn score_failed(&self, peer: &PartyId, code: &str) -> Result<(), NodeError> {
        let event = Event::Failed { session: None, peer: peer.clone(), code: code.to_owned() };
        self.tell([event])
    }

    /// The given epoch, or the newest that is finished and not retired. A setup may end at any moment, so a command
    /// asks once and stays with the answer.
    ///
    /// # Errors
    /// [`NodeError`]; `SCORE_EPOCH_UNFINISHED` when there is none.
    pub fn score_epoch(&self, group: &DataSet, epoch: Option<u64>) -> Result<u64, NodeError> {
        let folder = ScoreFolder::new(&self.layout).group(group);
        match epoch {
            Some(epoch) => Ok(epoch),
            None => newest(&folder)?.ok_or_else(|| NodeError::Given {
                code: "SCORE_EPOCH_UNFINISHED",
                message: format!(
                    "{group} has no finished epoch here; the bank sets one up with `score setup`"
                ),
            }),
        }
    }
}

fn newest(folder: &GroupFolder) -> Result<Option<u64>, NodeError> {
    let usable = |epoch: &u64| {
        let folder = folder.epoch(*epoch);
        folder.is_finished() && !folder.is_retired()
    };
    Ok(folder.epochs()?.into_iter().rev().find(usable))
}
