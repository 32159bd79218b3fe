//! The work folder, `work/` in the folder for the lists: what an interrupted screening goes on from.
//!
//! It holds the names of the jobs, whose own folders know how far they are, and the matched rows so far. It is
//! bound to the plan, the form, and the files by their sizes and times; anything else is refused until the
//! folder is removed, which begins the screening anew. A finished screening removes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use windvane_keys::files::{read_private, write_private};
use windvane_protocols::party::SessionId;

use super::{ScreenError, ScreenPlan};
use crate::snapshot::disk::{DirectoryLock, create_directory};

const MAX_STATE_BYTES: usize = 1 << 20;

/// What a screening is bound to, and its jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    plan: ScreenPlan,
    daily: bool,
    files: Vec<Mark>,
    jobs: BTreeMap<String, String>,
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    path: PathBuf,
    bytes: u64,
    modified_ns: u64,
}

impl Mark {
    fn of(path: &Path) -> Result<Self, ScreenError> {
        let metadata = std::fs::metadata(path).map_err(ScreenError::io(path))?;
        let modified = metadata.modified().map_err(ScreenError::io(path))?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { path: path.to_owned(), bytes: metadata.len(), modified_ns })
    }
}

/// The work folder; one process at a time works in it.
#[derive(Debug)]
pub(super) struct Work {
    path: PathBuf,
    state: State,
    _lock: DirectoryLock,
}

impl Work {
    /// Makes the folder, or goes on in it.
    ///
    /// # Errors
    /// [`ScreenError`]: the folder is in use, or of another screening.
    pub(super) fn open(plan: &ScreenPlan, daily: bool) -> Result<Self, ScreenError> {
        let path = plan.output.join("work");
        create_directory(&path)?;
        let lock =
            DirectoryLock::try_acquire(&path)?.ok_or_else(|| ScreenError::Busy { path: path.clone() })?;
        let hits = daily.then(|| plan.hits());
        let files =
            [Some(plan.customers.clone()), plan.new_customers().filter(|_| daily).map(Path::to_owned), hits];
        let files = files.iter().flatten().map(|path| Mark::of(path)).collect::<Result<_, _>>()?;
        let mut work = Self {
            path,
            state: State { plan: plan.clone(), daily, files, jobs: BTreeMap::new() },
            _lock: lock,
        };
        if work.state_path().exists() {
            work.state.jobs = work.known()?;
        } else {
            work.keep()?;
        }
        Ok(work)
    }

    /// The jobs of an earlier run of the same screening.
    fn known(&self) -> Result<BTreeMap<String, String>, ScreenError> {
        let other = |what| ScreenError::Other { path: self.path.clone(), what };
        let bytes = read_private(&self.state_path(), MAX_STATE_BYTES)?;
        let known: State = serde_json::from_slice(&bytes).map_err(|_| other("version of the program"))?;
        match () {
            () if known.daily != self.state.daily => Err(other("form")),
            () if known.plan != self.state.plan => Err(other("plan")),
            () if known.files != self.state.files => {
                Err(ScreenError::InputChanged { path: self.path.clone() })
            }
            () => Ok(known.jobs),
        }
    }

    /// Where a step's result goes.
    pub(super) fn result(&self, step: &str) -> PathBuf {
        self.path.join(format!("{step}.csv"))
    }

    /// The job of a step, where it has one.
    pub(super) fn job(&self, step: &str) -> Option<SessionId> {
        let bytes = hex::decode(self.state.jobs.get(step)?).ok()?;
        Some(SessionId::from_bytes(bytes.try_into().ok()?))
    }

    /// Notes the job of a step, or that it has none any more; durable when this returns.
    pub(super) fn note(&mut self, step: &str, job: Option<SessionId>) -> Result<(), ScreenError> {
        match job {
            Some(job) => self.state.jobs.insert(step.to_owned(), job.to_string()),
            None => self.state.jobs.remove(step),
        };
        self.keep()
    }

    /// The screening is through: nothing is to be gone on from.
    pub(super) fn remove(self) -> Result<(), ScreenError> {
        std::fs::remove_dir_all(&self.path).map_err(ScreenError::io(&self.path))
    }

    fn state_path(&self) -> PathBuf {
        self.path.join("state.json")
    }

    fn keep(&self) -> Result<(), ScreenError> {
        let json = serde_json::to_vec_pretty(&self.state).expect("a state is plain data");
        Ok(write_private(&self.state_path(), &json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SAMPLE;
    use super::*;

    #[test]
    fn the_same_screening_goes_on_and_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = ScreenPlan::parse(SAMPLE).unwrap();
        (plan.customers, plan.output) = (dir.path().join("c.csv"), dir.path().join("out"));
        std::fs::write(&plan.customers, "x").unwrap();
        let job = SessionId::from_bytes([7; 16]);
        let mut work = Work::open(&plan, false).unwrap();
        assert_eq!(Work::open(&plan, false).unwrap_err().code(), "SCREEN_BUSY");
        work.note("a.list", Some(job)).unwrap();
        drop(work);
        assert_eq!(Work::open(&plan, false).unwrap().job("a.list"), Some(job));
        let other = ScreenPlan { purpose: "other".into(), ..plan.clone() };
        assert_eq!(Work::open(&other, false).unwrap_err().code(), "SCREEN_OTHER");
        std::fs::write(&plan.customers, "xy").unwrap();
        assert_eq!(Work::open(&plan, false).unwrap_err().code(), "INPUT_CHANGED");
        std::fs::remove_dir_all(plan.output.join("work")).unwrap();
        let work = Work::open(&plan, false).unwrap();
        assert_eq!(work.job("a.list"), None);
        work.remove().unwrap();
        assert!(!plan.output.join("work").exists());
    }
}
