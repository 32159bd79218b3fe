//! What is due in each class.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use windvane_keys::files::FileError;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::SessionId;

use super::{Class, Retention};
use crate::dataset::{PublishedEpoch, published_dir, published_epochs};
use crate::error::NodeError;
use crate::psi::folder::JobFolder;
use crate::snapshot::MANIFEST;
use crate::snapshot::disk::{self, DirectoryLock};
use crate::train::run::TrainFolder;

const DAY_MS: u64 = 86_400_000;

/// Reports of a job that name rows, and are of no use once its operator has looked at them.
const ROW_REPORTS: [&str; 2] = ["rejects.csv", "duplicates.csv"];

/// Reports of a data set's refused rows.
const REJECTS: [&str; 3] = ["import-rejects.csv", "build-rejects.csv", "change-rejects.csv"];

/// One thing that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// A file or a folder.
    pub(super) path: PathBuf,
    /// The epoch whose table it is, and which ends with it.
    pub(super) epoch: Option<(DataSet, u64)>,
}

impl From<PathBuf> for Found {
    fn from(path: PathBuf) -> Self {
        Self { path, epoch: None }
    }
}

/// What is due of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Due {
    /// The class.
    #[serde(serialize_with = "by_name")]
    pub class: Class,
    /// For how many days it is kept.
    pub days: u32,
    /// Everything from before this time, milliseconds of Unix time.
    pub before_ms: u64,
    /// How many: rows, folders or files.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    #[serde(skip)]
    pub(super) found: Vec<Found>,
}

fn by_name<S: serde::Serializer>(class: &Class, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(class.name())
}

impl Retention<'_> {
    /// Before which time a class is due.
    pub(super) fn before_ms(&self, class: Class) -> u64 {
        self.now_ms.saturating_sub(u64::from(class.days(self.config)) * DAY_MS)
    }

    pub(super) fn due(&self, class: Class) -> Result<Due, NodeError> {
        let before_ms = self.before_ms(class);
        let found = match class {
            Class::Verifications => Vec::new(),
            Class::Trainings => whole(self.trainings(before_ms)?),
            Class::Working => whole(self.working(before_ms)?),
            Class::Rejects => whole(self.rejects(before_ms)?),
            Class::Epochs => self.epochs(before_ms)?,
            Class::Snapshots => whole(self.snapshots(before_ms)?),
        };
        let (items, bytes) = match class {
            Class::Verifications => self.store.verifications_before(before_ms)?,
            _ => (found.len() as u64, found.iter().map(|found| size(&found.path)).sum()),
        };
        Ok(Due { class, days: class.days(self.config), before_ms, items, bytes, found })
    }

    /// Trainings that ended, or that nobody went on with.
    fn trainings(&self, before_ms: u64) -> Result<Vec<PathBuf>, NodeError> {
        let root = self.layout.root();
        let mut due = Vec::new();
        for path in entries(&TrainFolder::all(root))? {
            let Some(id) = session(&path) else { continue };
            let state = TrainFolder::peek(root, id).ok().flatten();
            let ended = state.and_then(|state| state.completed_at_ms).unwrap_or_else(|| changed_ms(&path));
            if ended < before_ms && changed_ms(&path) < before_ms {
                due.push(path);
            }
        }
        Ok(due)
    }

    fn working(&self, before_ms: u64) -> Result<Vec<PathBuf>, NodeError> {
        let root = self.layout.root();
        let mut due = Vec::new();
        for job in entries(&JobFolder::all(root))? {
            let state = session(&job).and_then(|id| JobFolder::peek(root, id).ok().flatten());
            if state.is_some_and(|state| state.completed_at_ms.or(state.expired_at_ms).is_some()) {
                due.extend(
                    ROW_REPORTS.iter().map(|name| job.join(name)).filter(|path| is_old(path, before_ms)),
                );
            }
        }
        for holder in self.holders()? {
            for path in entries(&holder)? {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let leftover = disk::UNFINISHED.iter().any(|prefix| name.starts_with(prefix));
                // One that is being made is held by whoever makes it.
                if leftover && is_old(&path, before_ms) && DirectoryLock::try_acquire(&path)?.is_some() {
                    due.push(path);
                }
            }
        }
        Ok(due)
    }

    /// Where something is made, or removed.
    fn holders(&self) -> Result<Vec<PathBuf>, NodeError> {
        let [data_sets, snapshots] = ["datasets", "snapshots"].map(|name| self.root(name));
        let mut holders = vec![TrainFolder::all(self.layout.root())];
        for data_set in entries(&data_sets)? {
            holders.extend([data_set.join("epochs"), data_set.join("built"), data_set]);
        }
        for provider in entries(&snapshots)? {
            holders.extend(entries(&provider)?);
        }
        holders.extend([data_sets, snapshots]);
        Ok(holders)
    }

    fn rejects(&self, before_ms: u64) -> Result<Vec<PathBuf>, NodeError> {
        let mut all = entries(&self.root("list-rejects"))?;
        for data_set in entries(&self.root("datasets"))? {
            all.extend(REJECTS.iter().map(|name| data_set.join(name)));
        }
        all.retain(|path| is_old(path, before_ms));
        Ok(all)
    }

    /// Epochs whose manifest's end is past.
    fn epochs(&self, before_ms: u64) -> Result<Vec<Found>, NodeError> {
        let root = self.layout.root();
        let mut due = Vec::new();
        for data_set in self.layout.data_sets()? {
            for epoch in published_epochs(root, &data_set)? {
                let path = published_dir(root, &data_set, epoch);
                let end_ms = PublishedEpoch::open(&path)?.manifest().body().not_after_ms;
                if end_ms < before_ms {
                    due.push(Found { path, epoch: Some((data_set.clone(), epoch)) });
                }
            }
        }
        Ok(due)
    }

    /// Installed tables of which the next has stood long enough.
    fn snapshots(&self, before_ms: u64) -> Result<Vec<PathBuf>, NodeError> {
        let mut due = Vec::new();
        for provider in entries(&self.root("snapshots"))? {
            for data_set in entries(&provider)? {
                let installed = disk::numbered(&data_set)?;
                for (epoch, next) in installed.iter().zip(installed.iter().skip(1)) {
                    // Written when a download is complete, and never again: deltas change the directory.
                    let arrived = data_set.join(next.to_string()).join(MANIFEST);
                    if is_old(&arrived, before_ms) {
                        due.push(data_set.join(epoch.to_string()));
                    }
                }
            }
        }
        Ok(due)
    }
}

fn whole(paths: Vec<PathBuf>) -> Vec<Found> {
    paths.into_iter().map(Found::from).collect()
}

/// A directory's entries in the order of their names; none when there is no directory.
fn entries(path: &Path) -> Result<Vec<PathBuf>, NodeError> {
    let found = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.and_then(Iterator::collect::<Result<Vec<_>, _>>),
    };
    let found = found.map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    let mut paths: Vec<_> = found.into_iter().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    Ok(paths)
}

fn session(path: &Path) -> Option<SessionId> {
    let bytes: [u8; 16] = hex::decode(path.file_name()?.to_str()?).ok()?.try_into().ok()?;
    Some(SessionId::from_bytes(bytes))
}

/// When it was last changed; what cannot be told counts as new.
fn changed_ms(path: &Path) -> u64 {
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = changed.unwrap_or_else(|_| SystemTime::now()).duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn is_old(path: &Path, before_ms: u64) -> bool {
    path.exists() && changed_ms(path) < before_ms
}

fn size(path: &Path) -> u64 {
    let metadata = std::fs::symlink_metadata(path);
    match metadata {
        Ok(metadata) if metadata.is_dir() => {
            entries(path).unwrap_or_default().iter().map(|path| size(path)).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}
