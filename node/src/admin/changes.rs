//! A provider's change files and deltas.

use std::path::Path;

use windvane_keys::rotation::load_epoch;

use super::Admin;
use crate::dataset::stage::Stage;
use crate::dataset::{
    ChangeImport, ChangeReport, DataSetConfig, DeltaBuild, DeltaBuildError, DeltaReport, Progress, change,
    delta, published_dir, published_epochs,
};
use crate::error::NodeError;
use crate::snapshot::Snapshot;

impl Admin {
    /// Takes a change file of the data set.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn change(
        &self,
        config: &DataSetConfig,
        file: &Path,
        progress: &dyn Progress,
    ) -> Result<ChangeReport, NodeError> {
        let job = ChangeImport {
            data_dir: self.layout.root(),
            config,
            source: file,
            key: &self.keys.storage,
            now_ms: self.clock.now_ms(),
        };
        Ok(change(&job, &mut rand::rng(), progress)?)
    }

    /// Publishes what changed since the current epoch's last publication, as the epoch's next delta. A running node
    /// serves it within moments.
    ///
    /// # Errors
    /// [`NodeError`]; `DELTA_NOTHING_NEW` when the epoch holds every change.
    pub fn publish_delta(
        &self,
        config: &DataSetConfig,
        progress: &dyn Progress,
    ) -> Result<DeltaReport, NodeError> {
        let name = config.name();
        let epochs = published_epochs(self.layout.root(), name)?;
        let epoch = *epochs.last().ok_or(DeltaBuildError::NotPublished)?;
        self.settle(config, epoch)?;
        let job = DeltaBuild {
            data_dir: self.layout.root(),
            config,
            storage: &self.keys.storage,
            keys: &load_epoch(&self.keys.store, name, epoch)?,
            receipt: &self.keys.receipt,
            ids: &self.store,
            now_ms: self.clock.now_ms(),
        };
        let made = delta(&job, &mut rand::rng(), progress)?;
        self.record_delta(&made.delta)?;
        Stage::DeltaLogged.reached();
        self.flush()?;
        Ok(made)
    }

    /// Tells the log of what a kill left in place untold: a table, and deltas.
    fn settle(&self, config: &DataSetConfig, epoch: u64) -> Result<(), NodeError> {
        self.finish_publication(config)?;
        let snapshot = Snapshot::open(&published_dir(self.layout.root(), config.name(), epoch))?;
        snapshot.chain().deltas().iter().try_for_each(|delta| self.record_delta(delta))?;
        self.flush()
    }
}
