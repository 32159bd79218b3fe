//! A provider's data sets.

use std::path::Path;

use windvane_keys::rotation::{create_epoch, load_epoch, next_epoch};
use windvane_keys::store::StoreError;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::transcript::Signed;

use super::Admin;
use crate::background::at_low_priority;
use crate::dataset::stage::FullStage;
use crate::dataset::{
    Build, BuildReport, DataSetConfig, DataSetStatus, EpochTables, Import, ImportReport, Progress, Publish,
    PublishError, build, built_epochs, import, index_staging, publish, published_epochs, published_manifest,
    status,
};
use crate::error::NodeError;
use crate::retiring::Epochs;

/// What a publication did.
#[derive(Debug, Clone)]
pub struct Published {
    /// The manifest as the bank will get it.
    pub manifest: Signed<Manifest>,
    /// Epochs that still answer what was built against them, until [`Self::retiring_until_ms`] at most.
    pub retiring: Vec<u64>,
    /// When the epoch before this one ends, milliseconds of Unix time.
    pub retiring_until_ms: u64,
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
        at_low_priority(|| {
            let report = import(&job, &mut rand::rng(), progress)?;
            if config.takes_changes() {
                index_staging(self.layout.root(), config, &self.keys.storage, &mut rand::rng())?;
                FullStage::ImportIndexed.reached();
            }
            Ok(report)
        })
    }

    /// Builds the encrypted table of a fresh epoch from what was imported.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn build(&self, config: &DataSetConfig, progress: &dyn Progress) -> Result<BuildReport, NodeError> {
        let (name, now_ms) = (config.name(), self.clock.now_ms());
        let groups: Vec<_> =
            KeyGroup::partition(config.families()).into_iter().map(|(group, _)| group).collect();
        let epoch = next_epoch(&self.keys.store, name)?;
        // Where something runs in the data set, no epoch is begun: it could not be ended either.
        drop(EpochTables::hold(self.layout.root(), name, epoch)?);
        let keys = create_epoch(&self.keys.store, name, epoch, &groups, now_ms, &mut rand::rng())?;
        self.epochs().tell_made(name, epoch)?;
        self.flush()?;
        FullStage::BuildKeys.reached();
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
        at_low_priority(|| build(&job, &mut rand::rng(), progress)).map_err(|error| {
            // The epoch's number is used up; its keys serve nobody.
            let ended = self.epochs().end(name, epoch).and_then(|()| self.flush());
            if let Err(error) = ended {
                tracing::error!(code = error.code(), %error, "keys of a failed build were not destroyed");
            }
            error.into()
        })
    }

    /// Publishes the newest built table. The epoch before it retires: it answers what was built against it for the
    /// configured overlap, and then its keys are destroyed and its table is removed. Banks should fetch the new
    /// snapshot meanwhile. Older tables that wait are removed. A publication that was killed is finished first, and
    /// when no other table waits, that is all that there is to do.
    ///
    /// # Errors
    /// [`NodeError`]; `EPOCH_SUPERSEDED` when the table is older than what is published, `KEY_DESTROYED` when its epoch was
    /// ended. An error from what a publication ends is given when the log was told of the publication.
    pub fn publish(&self, config: &DataSetConfig) -> Result<Published, NodeError> {
        let name = config.name();
        let finished = self.finish_publication(config)?;
        let epoch = match (built_epochs(self.layout.root(), name)?.last(), finished) {
            (Some(epoch), _) => *epoch,
            (None, Some(finished)) => return Ok(finished),
            (None, None) => {
                return Err(NodeError::Given {
                    code: "NOTHING_BUILT",
                    message: format!("no table of {name} waits for publication; run `dataset build` first"),
                });
            }
        };
        if published_epochs(self.layout.root(), name)?.last().is_none_or(|last| *last < epoch) {
            // One that is behind is refused for that.
            self.check_keys(name, epoch)?;
        }
        let manifest = publish(&Publish {
            data_dir: self.layout.root(),
            data_set: name,
            epoch,
            epoch_hours: config.epoch_hours(),
            key: &self.keys.receipt,
            clock: &*self.clock,
        })?;
        let until_ms = self.announce(config)?;
        self.succeed(config, manifest, until_ms)
    }

    /// An epoch's keys open: a table without them, put in place, would take the data set out of service.
    fn check_keys(&self, name: &DataSet, epoch: u64) -> Result<(), NodeError> {
        match load_epoch(&self.keys.store, name, epoch) {
            Err(StoreError::Destroyed { .. }) => Err(NodeError::Given {
                code: "KEY_DESTROYED",
                message: format!(
                    "epoch {epoch} of {name} was ended and its keys are destroyed; run: windvane dataset end {name} \
                     --epoch {epoch}, which removes its table, then windvane dataset build"
                ),
            }),
            keys => Ok(keys.map(drop)?),
        }
    }

    /// Says until when the epoch before answers. Its time begins when its successor is in place, and is noted before
    /// that is told of, so that a node that looks in between finds the epoch before answering.
    fn announce(&self, config: &DataSetConfig) -> Result<u64, NodeError> {
        let until_ms = self.until_ms(config);
        self.epochs().announce(config.name(), until_ms)?;
        Ok(until_ms)
    }

    /// Finishes the publication that a kill interrupted, if there is one: its table is in place, and the log does not
    /// know it or the epoch before it does not retire.
    pub(super) fn finish_publication(&self, config: &DataSetConfig) -> Result<Option<Published>, NodeError> {
        let name = config.name();
        let Some(epoch) = self.epochs().interrupted(name)? else { return Ok(None) };
        let manifest = published_manifest(self.layout.root(), name, epoch)?;
        if !manifest.verify(&self.keys.receipt.verifying_key()) {
            return Err(PublishError::PublishedDamaged { data_set: name.clone(), epoch }.into());
        }
        self.check_keys(name, epoch)?;
        let until_ms = match self.epochs().told(name)?.contains(&epoch) {
            true => self.until_ms(config),
            // Only now does it take the place of the one before.
            false => self.announce(config)?,
        };
        self.succeed(config, manifest, until_ms).map(Some)
    }

    /// Tells of a table in place, and has it take the place of the one before.
    fn succeed(
        &self,
        config: &DataSetConfig,
        manifest: Signed<Manifest>,
        until_ms: u64,
    ) -> Result<Published, NodeError> {
        let (name, epoch) = (config.name(), manifest.body().epoch);
        self.record_manifest(&manifest)?;
        FullStage::PublishRecorded.reached();
        let epochs = self.epochs();
        let mut retiring = epochs.succeed(name, epoch)?;
        FullStage::PublishSucceeded.reached();
        if config.overlap_minutes() == 0 {
            epochs.begin_end(name, &std::mem::take(&mut retiring))?;
        }
        let mut ended = Vec::new();
        let done = epochs.end_due(Some(name), |_, epoch| ended.push(epoch));
        // Whatever could not be ended: the publication stands.
        self.flush()?;
        done?;
        retiring.retain(|epoch| !ended.contains(epoch));
        Ok(Published { manifest, retiring, retiring_until_ms: until_ms, ended })
    }

    /// What stands in a data set's directory.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn data_set_status(&self, name: &DataSet) -> Result<DataSetStatus, NodeError> {
        Ok(status(self.layout.root(), name)?)
    }

    /// Ends a retiring epoch before its time: its keys are destroyed and its table is removed.
    ///
    /// # Errors
    /// [`NodeError`]; `EPOCH_CURRENT` for the one that is published last.
    pub fn end_epoch(&self, name: &DataSet, epoch: u64) -> Result<(), NodeError> {
        let published = self.epochs().told(name)?;
        if published.last() == Some(&epoch) {
            return Err(NodeError::Given {
                code: "EPOCH_CURRENT",
                message: format!("epoch {epoch} of {name} is the current one; publish the next one first"),
            });
        }
        self.epochs().end(name, epoch)?;
        self.flush()
    }

    fn epochs(&self) -> Epochs<'_> {
        let now_ms = self.clock.now_ms();
        Epochs { keys: &self.keys.store, store: &self.store, root: self.layout.root(), now_ms }
    }

    /// Until when the epoch before answers whose successor is published now.
    fn until_ms(&self, config: &DataSetConfig) -> u64 {
        self.clock.now_ms().saturating_add(u64::from(config.overlap_minutes()) * 60_000)
    }
}
