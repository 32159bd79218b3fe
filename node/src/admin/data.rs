//! A provider's data sets.

use std::path::Path;

use windvane_keys::record::State;
use windvane_keys::rotation::{create_epoch, destroy_epoch, epochs, next_epoch};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::transcript::Signed;

use super::Admin;
use crate::dataset::{
    Build, BuildReport, DataSetConfig, DataSetStatus, Import, ImportReport, Progress, Publish, build, import,
    index_staging, publish, published_epochs, remove_epoch, status,
};
use crate::error::NodeError;

/// What a publication did.
#[derive(Debug, Clone)]
pub struct Published {
    /// The manifest as the bank will get it.
    pub manifest: Signed<Manifest>,
    /// Epochs whose keys were destroyed and whose tables were removed.
    pub ended: Vec<u64>,
}

impl Admin {
    /// Reads an operator's file into sealed staging.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn import(
        &self,
        config: &DataSetConfig,
        file: &Path,
        progress: &dyn Progress,
    ) -> Result<ImportReport, NodeError> {
        let job = Import {
            data_dir: self.layout.root(),
            config,
            source: file,
            key: &self.keys.storage,
            now_ms: self.clock.now_ms(),
        };
        let report = import(&job, &mut rand::rng(), progress)?;
        if config.takes_changes() {
            index_staging(self.layout.root(), config, &self.keys.storage)?;
        }
        Ok(report)
    }

    /// Builds the encrypted table of a fresh epoch from what was imported.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn build(&self, config: &DataSetConfig, progress: &dyn Progress) -> Result<BuildReport, NodeError> {
        let (name, rng, now_ms) = (config.name(), &mut rand::rng(), self.clock.now_ms());
        let groups: Vec<_> =
            KeyGroup::partition(config.families()).into_iter().map(|(group, _)| group).collect();
        let epoch = next_epoch(&self.keys.store, name)?;
        let keys = create_epoch(&self.keys.store, name, epoch, &groups, now_ms, rng)?;
        self.record_keys(name, epoch, "active")?;
        let job = Build {
            data_dir: self.layout.root(),
            config,
            provider: &self.keys.party,
            storage: &self.keys.storage,
            epoch,
            keys: &keys,
            ids: &self.store,
            now_ms,
        };
        build(&job, rng, progress).map_err(|error| {
            // The epoch's number is used up; its keys serve nobody.
            let destroyed = destroy_epoch(&self.keys.store, name, epoch);
            if let Err(error) =
                destroyed.map_err(NodeError::from).and_then(|()| self.record_keys(name, epoch, "destroyed"))
            {
                tracing::error!(code = error.code(), %error, "keys of a failed build were not destroyed");
            }
            error.into()
        })
    }

    /// Publishes the newest built table, and ends every epoch before it: their keys are destroyed and their
    /// tables removed. Banks then need the new snapshot.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn publish(&self, config: &DataSetConfig) -> Result<Published, NodeError> {
        let name = config.name();
        let built = self.data_set_status(name)?.built;
        let epoch = built.last().map(|summary| summary.epoch).ok_or_else(|| NodeError::Given {
            code: "NOTHING_BUILT",
            message: format!("no table of {name} waits for publication; run `dataset build` first"),
        })?;
        let manifest = publish(&Publish {
            data_dir: self.layout.root(),
            data_set: name,
            epoch,
            epoch_hours: config.epoch_hours(),
            key: &self.keys.receipt,
            now_ms: self.clock.now_ms(),
        })?;
        self.record_manifest(&manifest)?;
        let ended = self.end_epochs_before(name, epoch)?;
        self.flush()?;
        Ok(Published { manifest, ended })
    }

    /// What stands in a data set's directory.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn data_set_status(&self, name: &DataSet) -> Result<DataSetStatus, NodeError> {
        Ok(status(self.layout.root(), name)?)
    }

    fn end_epochs_before(&self, name: &DataSet, current: u64) -> Result<Vec<u64>, NodeError> {
        let before = |epoch: &u64| *epoch < current;
        for epoch in published_epochs(self.layout.root(), name)?.into_iter().filter(before) {
            remove_epoch(self.layout.root(), name, epoch)?;
        }
        let mut ended = Vec::new();
        for known in epochs(&self.keys.store, name)?.into_iter().filter(|known| known.epoch < current) {
            if known.state == State::Active {
                destroy_epoch(&self.keys.store, name, known.epoch)?;
                self.record_keys(name, known.epoch, "destroyed")?;
                ended.push(known.epoch);
            }
        }
        Ok(ended)
    }

    /// Tells the log of an epoch's keys.
    fn record_keys(&self, name: &DataSet, epoch: u64, state: &str) -> Result<(), NodeError> {
        let known = epochs(&self.keys.store, name)?.into_iter().find(|known| known.epoch == epoch);
        for record in known.into_iter().flat_map(|known| known.keys) {
            self.store.queue_entry(&self.entry(Event::Key {
                purpose: record.purpose.to_string(),
                public: record.public,
                state: state.to_owned(),
            }))?;
        }
        self.flush()
    }
}
