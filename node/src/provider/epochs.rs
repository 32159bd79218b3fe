//! The published epochs of every data set: the current one, and those before it that still answer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use windvane_keys::rotation::load_epoch;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::transcript::SignedError;

use super::{Published, Shared};
use crate::dataset::published_dir;
use crate::error::{NodeError, Refusal};
use crate::retiring::told_epochs;
use crate::snapshot::Snapshot;

/// What is published. Whoever answers keeps what it began with.
#[derive(Debug, Default)]
pub(super) struct PublishedEpochs {
    by_set: RwLock<Arc<HashMap<DataSet, DataSetEpochs>>>,
}

#[derive(Debug, Clone)]
struct DataSetEpochs {
    current: Arc<Published>,
    /// Each with the time until which it answers.
    retiring: Vec<(u64, Arc<Published>)>,
}

impl DataSetEpochs {
    fn all(&self) -> impl Iterator<Item = &Arc<Published>> {
        std::iter::once(&self.current).chain(self.retiring.iter().map(|(_, published)| published))
    }

    /// Those that were not ended.
    fn left(&self, root: &Path, data_set: &DataSet) -> Option<Self> {
        let is_there =
            |published: &Published| published_dir(root, data_set, published.manifest().body().epoch).is_dir();
        let retiring = self.retiring.iter().filter(|(_, published)| is_there(published)).cloned().collect();
        is_there(&self.current).then(|| Self { current: self.current.clone(), retiring })
    }
}

impl PublishedEpochs {
    /// Opens what is published now; what is open already stays open. Where a data set's current epoch does not open, what
    /// answered for the data set goes on.
    ///
    /// # Errors
    /// The first [`NodeError`]; the other data sets are taken over all the same.
    pub(super) fn reload(&self, shared: &Shared) -> Result<(), NodeError> {
        let known = self.all();
        let (mut by_set, mut done) = (HashMap::new(), Ok(()));
        for data_set in shared.layout.data_sets()? {
            let known = known.get(&data_set);
            let epochs = match epochs_of(shared, known, &data_set) {
                Ok(epochs) => epochs,
                Err(error) => {
                    done = done.and(Err(error));
                    known.and_then(|known| known.left(shared.layout.root(), &data_set))
                }
            };
            by_set.extend(epochs.map(|epochs| (data_set, epochs)));
        }
        *self.by_set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(by_set);
        done
    }

    /// The current epoch.
    pub(super) fn current(&self, data_set: &DataSet) -> Option<Arc<Published>> {
        self.all().get(data_set).map(|epochs| epochs.current.clone())
    }

    /// The current epoch of every data set.
    pub(super) fn every(&self) -> Vec<Arc<Published>> {
        self.all().values().map(|epochs| epochs.current.clone()).collect()
    }

    /// The epoch, where it still answers.
    pub(super) fn answering(
        &self,
        data_set: &DataSet,
        epoch: u64,
        now_ms: u64,
    ) -> Result<Arc<Published>, Refusal> {
        let all = self.all();
        let epochs = all.get(data_set).ok_or(Refusal::DataSetUnknown)?;
        let current = epochs.current.manifest().body().epoch;
        let is_it = |published: &Published| published.manifest().body().epoch == epoch;
        let retiring = || {
            let found = epochs.retiring.iter().find(|(_, published)| is_it(published))?;
            (now_ms <= found.0).then(|| found.1.clone())
        };
        let found = if epoch == current { Some(epochs.current.clone()) } else { retiring() };
        let found = found.ok_or(Refusal::EpochUnknown { current })?;
        if now_ms > found.manifest().body().not_after_ms {
            return Err(Refusal::EpochExpired);
        }
        Ok(found)
    }

    fn all(&self) -> Arc<HashMap<DataSet, DataSetEpochs>> {
        self.by_set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What answers for a data set now, if anything is published.
fn epochs_of(
    shared: &Shared,
    known: Option<&DataSetEpochs>,
    data_set: &DataSet,
) -> Result<Option<DataSetEpochs>, NodeError> {
    // What the log is not told of is not served.
    let published = told_epochs(&shared.store, shared.layout.root(), data_set)?;
    let Some((&last, before)) = published.split_last() else { return Ok(None) };
    let current = match open(shared, known, data_set, last) {
        // A kill came between the end of its keys and the removal of its table.
        Err(error) if error.code() == "KEY_DESTROYED" => {
            tracing::warn!(code = error.code(), %data_set, epoch = last, "the last published epoch has ended");
            return Ok(None);
        }
        current => current?,
    };
    // Read behind what the log was told of: the one that a newer epoch has replaced was announced before.
    let retiring = shared.store.retiring()?;
    let until = |epoch: &u64| {
        let named = retiring.iter().find(|(name, e, _)| name == data_set.as_str() && e == epoch);
        named.map(|(_, _, until_ms)| (*until_ms, *epoch))
    };
    let mut answering = Vec::new();
    for (until_ms, epoch) in before.iter().filter_map(until) {
        // One that ends just now needs no answers; the current one must not wait for it.
        match open(shared, known, data_set, epoch) {
            Ok(published) => answering.push((until_ms, published)),
            Err(error) => {
                tracing::warn!(code = error.code(), %error, epoch, "a retiring epoch does not open");
            }
        }
    }
    Ok(Some(DataSetEpochs { current, retiring: answering }))
}

fn open(
    shared: &Shared,
    known: Option<&DataSetEpochs>,
    data_set: &DataSet,
    epoch: u64,
) -> Result<Arc<Published>, NodeError> {
    let dir = published_dir(shared.layout.root(), data_set, epoch);
    let same =
        |open: &&Arc<Published>| open.manifest().body().epoch == epoch && open.snapshot.is_current(&dir);
    if let Some(open) = known.and_then(|known| known.all().find(same)) {
        return Ok(open.clone());
    }
    // Nor is a delta that it is not told of.
    let snapshot = Snapshot::open_while(&dir, |delta| {
        let known = shared.store.publication(&delta.body().publication.id)?;
        Ok::<_, NodeError>(known == Some(delta.digest()))
    })?;
    if !snapshot.verify(&shared.keys.receipt.verifying_key()) {
        return Err(SignedError::Signature.into());
    }
    Ok(Arc::new(Published { snapshot, keys: load_epoch(&shared.keys.store, data_set, epoch)? }))
}
