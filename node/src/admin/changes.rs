//! A provider's change files and deltas.

use std::path::Path;

use windvane_keys::rotation::load_epoch;
#[cfg(feature = "faults")]
use windvane_protocols::lookup::DataSet;

use super::Admin;
use crate::background::at_low_priority;
use crate::dataset::stage::Stage;
use crate::dataset::{
    ChangeImport, ChangeReport, DataSetConfig, DeltaBuild, DeltaBuildError, DeltaReport, Progress, change,
    delta, published_dir, published_epochs,
};
use crate::error::NodeError;
use crate::snapshot::Snapshot;
use crate::store::KnownIds;

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
        Ok(at_low_priority(|| change(&job, &mut rand::rng(), progress))?)
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
        #[cfg(feature = "faults")]
        let repeating = self.repeating(name, epoch)?;
        let ids: &dyn KnownIds = &self.store;
        #[cfg(feature = "faults")]
        let ids = repeating.as_ref().map_or(ids, |repeating| repeating);
        let job = DeltaBuild {
            data_dir: self.layout.root(),
            config,
            storage: &self.keys.storage,
            keys: &load_epoch(&self.keys.store, name, epoch)?,
            receipt: &self.keys.receipt,
            ids,
            now_ms: self.clock.now_ms(),
        };
        let made = at_low_priority(|| delta(&job, &mut rand::rng(), progress))?;
        #[cfg(feature = "faults")]
        if repeating.is_some() {
            self.record_repeated(&made.delta)?;
        }
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

/// A deliberate bug.
#[cfg(feature = "faults")]
impl Admin {
    /// An id of an earlier epoch, where it is to be drawn again.
    fn repeating(&self, name: &DataSet, epoch: u64) -> Result<Option<crate::faults::Repeating>, NodeError> {
        if self.bug != Some(crate::faults::Bug::PublicationIdReused) {
            return Ok(None);
        }
        let snapshot = Snapshot::open(&published_dir(self.layout.root(), name, epoch))?;
        let present: Vec<_> = (0..).map_while(|index| snapshot.chain().publication(index)).collect();
        Ok(self.store.other_publication(&present)?.map(crate::faults::Repeating))
    }

    fn record_repeated(
        &self,
        delta: &windvane_protocols::transcript::Signed<windvane_protocols::lookup::delta::Delta>,
    ) -> Result<(), NodeError> {
        let entry = self.entry(windvane_protocols::audit::entry::Event::DeltaPublished(delta.clone()));
        let id = delta.body().publication.id;
        Ok(self.store.replace_publication(&id, &delta.digest(), &entry)?)
    }
}
