//! The work folder, `work/` in the folder for the lists: what an interrupted screening goes on from.
//!
//! It holds the names of the jobs, whose own folders know how far they are, and the matched rows so far. It is
//! bound to the plan, the form, and the files by their sizes and times; anything else is refused until the
//! folder is removed, which begins the screening anew. A finished screening removes it, its state first: what stands
//! there without a state is cleared, and not gone on from. The plan's words of tags and
//! who asks for scores may be others when it is gone on with: no job depends on them, and what the words made of lookups
//! is dropped.
//!
//! The daily form asks about a day: what is left of another day (UTC) is cleared, and the day begins anew. The old
//! jobs expire by themselves. A full screening may take days, and its report says when it began.
//!
//! Yesterday's hits are copied when the day begins, and only the copy is read: the file itself may be replaced by
//! this day's result before the folder is removed, and an end in between must not keep another run from going on.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use windvane_keys::files::{parent_of, read_private, write_private};
use windvane_protocols::party::SessionId;

use super::list::HITS;
use super::{ScreenError, ScreenPlan, rows};
use crate::clock::rfc3339;
use crate::snapshot::disk::{
    DirectoryLock, create_directory, create_file, put_in_place, remove_file, sync_directory,
};

const MAX_STATE_BYTES: usize = 1 << 20;

const DAY_MS: u64 = 86_400_000;

/// What a screening is bound to, and its jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    plan: ScreenPlan,
    daily: bool,
    /// Unix time; what an earlier version left has none, and is of another day.
    #[serde(default)]
    began_at_ms: u64,
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
    /// Makes the folder, or goes on in it; in the daily form only on the day on which it began.
    ///
    /// # Errors
    /// [`ScreenError`]: the folder is in use, or of another screening.
    pub(super) fn open(plan: &ScreenPlan, daily: bool, now_ms: u64) -> Result<Self, ScreenError> {
        let path = plan.output.join("work");
        create_directory(&path)?;
        let lock =
            DirectoryLock::try_acquire(&path)?.ok_or_else(|| ScreenError::Busy { path: path.clone() })?;
        let hits = daily.then(|| plan.hits()).filter(|hits| !is_replaced(hits, &plan.output));
        let files =
            [Some(plan.customers.clone()), plan.new_customers().filter(|_| daily).map(Path::to_owned), hits];
        let files = files.iter().flatten().map(|path| Mark::of(path)).collect::<Result<_, _>>()?;
        let state = State { plan: plan.clone(), daily, began_at_ms: now_ms, files, jobs: BTreeMap::new() };
        let mut work = Self { path, state, _lock: lock };
        match work.known()? {
            Some(known) if work.is_of_another_day(&known) => work.begin_anew(&known)?,
            Some(known) => work.go_on(known)?,
            None => work.begin()?,
        }
        Ok(work)
    }

    /// What an earlier run left, if it left anything.
    fn known(&self) -> Result<Option<State>, ScreenError> {
        if !self.state_path().exists() {
            return Ok(None);
        }
        let bytes = read_private(&self.state_path(), MAX_STATE_BYTES)?;
        let known = serde_json::from_slice(&bytes).map_err(|_| self.other("version of the program"))?;
        Ok(Some(known))
    }

    /// Whether both are of the daily form, and of different days.
    const fn is_of_another_day(&self, known: &State) -> bool {
        let (then, now) = (known.began_at_ms / DAY_MS, self.state.began_at_ms / DAY_MS);
        known.daily && self.state.daily && then != now
    }

    /// Begins where another day left something: its answers are about lists of that day.
    fn begin_anew(&self, known: &State) -> Result<(), ScreenError> {
        tracing::warn!(
            code = "SCREEN_ANEW",
            began = rfc3339(known.began_at_ms),
            jobs = known.jobs.len(),
            "a daily screening of another day was not finished; this day's begins anew, and its lists of changes \
             must reach back to the last finished one"
        );
        self.begin()
    }

    /// Clears the folder, copies yesterday's hits, in the daily form, and then writes the state: where that stands, the copy
    /// is whole, and the rest is this screening's own.
    fn begin(&self) -> Result<(), ScreenError> {
        self.forget()?;
        for entry in std::fs::read_dir(&self.path).map_err(ScreenError::io(&self.path))? {
            remove_file(&entry.map_err(ScreenError::io(&self.path))?.path())?;
        }
        if self.state.daily {
            let (from, to) = (self.state.plan.hits(), self.path.join("hits.tmp"));
            let mut hits = File::open(&from).map_err(ScreenError::io(&from))?;
            let mut copy = create_file(&to)?;
            std::io::copy(&mut hits, &mut copy)
                .and_then(|_| copy.sync_all())
                .map_err(ScreenError::io(&to))?;
            put_in_place(&to, &self.hits())?;
        }
        self.keep()
    }

    /// Yesterday's hits as they were when the day began.
    pub(super) fn hits(&self) -> PathBuf {
        self.path.join(HITS)
    }

    /// Takes over the jobs of an earlier run of the same screening.
    fn go_on(&mut self, known: State) -> Result<(), ScreenError> {
        if known.daily != self.state.daily {
            return Err(self.other("form"));
        }
        let plan = self.state.plan.clone();
        if known.plan.jobs_alone() != plan.jobs_alone() {
            return Err(self.other("plan"));
        }
        if known.files != self.state.files {
            return Err(ScreenError::InputChanged { path: self.path.clone() });
        }
        let (same, same_words) = (known.plan == plan, known.plan.tags == plan.tags);
        self.state = State { plan, ..known };
        if same {
            return Ok(());
        }
        // The state last: with the words of before in it, another run drops them again.
        if !same_words {
            self.drop_rows()?;
        }
        self.keep()
    }

    /// Drops kept answers of lookups, in which words are codes already; what jobs gave has the lists' own words.
    fn drop_rows(&self) -> Result<(), ScreenError> {
        for entry in std::fs::read_dir(&self.path).map_err(ScreenError::io(&self.path))? {
            let path = entry.map_err(ScreenError::io(&self.path))?.path();
            if rows::is_kept(&path) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn other(&self, what: &'static str) -> ScreenError {
        ScreenError::Other { path: self.path.clone(), what }
    }

    /// When the screening began, Unix milliseconds.
    pub(super) const fn began_at_ms(&self) -> u64 {
        self.state.began_at_ms
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

    /// The screening is through: nothing is to be gone on from, wherever a kill comes between.
    pub(super) fn remove(self) -> Result<(), ScreenError> {
        self.forget()?;
        std::fs::remove_dir_all(&self.path).map_err(ScreenError::io(&self.path))
    }

    /// Removes the state; gone from the disk when this returns.
    fn forget(&self) -> Result<(), ScreenError> {
        remove_file(&self.state_path())?;
        Ok(sync_directory(&self.path)?)
    }

    fn state_path(&self) -> PathBuf {
        self.path.join("state.json")
    }

    fn keep(&self) -> Result<(), ScreenError> {
        let json = serde_json::to_vec_pretty(&self.state).expect("a state is plain data");
        Ok(write_private(&self.state_path(), &json)?)
    }
}

/// Whether a finished screening puts its own hits in the place of these.
fn is_replaced(hits: &Path, output: &Path) -> bool {
    let same = |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?);
    hits.ends_with(HITS) && same(parent_of(hits), output).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::super::SAMPLE;
    use super::super::plan::ScorePlan;
    use super::*;

    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;
    const JOB: SessionId = SessionId::from_bytes([7; 16]);

    /// A plan whose files are in a folder of the test.
    fn plan(dir: &Path) -> ScreenPlan {
        let mut plan = ScreenPlan::parse(SAMPLE).unwrap();
        (plan.customers, plan.output) = (dir.join("c.csv"), dir.join("out"));
        std::fs::write(&plan.customers, "x").unwrap();
        plan
    }

    /// The same for the daily form, with yesterday's hits among the lists.
    fn daily_plan(dir: &Path) -> ScreenPlan {
        let mut plan = plan(dir);
        let daily = plan.daily.as_mut().unwrap();
        (daily.hits, daily.new_customers) = (None, None);
        std::fs::create_dir(&plan.output).unwrap();
        std::fs::write(plan.hits(), "yesterday").unwrap();
        plan
    }

    #[test]
    fn the_same_screening_goes_on_and_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path());
        let mut work = Work::open(&plan, false, NOON).unwrap();
        assert_eq!(Work::open(&plan, false, NOON).unwrap_err().code(), "SCREEN_BUSY");
        work.note("a.list", Some(JOB)).unwrap();
        drop(work);
        assert_eq!(Work::open(&plan, false, NOON).unwrap().job("a.list"), Some(JOB));
        let other = ScreenPlan { purpose: "other".into(), ..plan.clone() };
        assert_eq!(Work::open(&other, false, NOON).unwrap_err().code(), "SCREEN_OTHER");
        std::fs::write(&plan.customers, "xy").unwrap();
        assert_eq!(Work::open(&plan, false, NOON).unwrap_err().code(), "INPUT_CHANGED");
        std::fs::remove_dir_all(plan.output.join("work")).unwrap();
        let work = Work::open(&plan, false, NOON).unwrap();
        assert_eq!(work.job("a.list"), None);
        work.remove().unwrap();
        assert!(!plan.output.join("work").exists());
    }

    #[test]
    fn other_words_and_scores_keep_the_jobs_and_other_words_alone_drop_what_they_made_of_lookups() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = daily_plan(dir.path());
        let mut work = Work::open(&plan, true, NOON).unwrap();
        work.note("a.changes", Some(JOB)).unwrap();
        let looked_up = work.result(&rows::step_of(&["a".to_owned()]));
        let kept = [looked_up.with_extension("rejects.csv"), looked_up, work.result("x.rows.new")];
        kept.iter().for_each(|path| std::fs::write(path, "kept").unwrap());
        drop(work);
        plan.score = Some(ScorePlan { operator: "o".into(), consent: "c".into() });
        assert_eq!(Work::open(&plan, true, NOON).unwrap().job("a.changes"), Some(JOB));
        assert!(kept.iter().all(|path| path.exists()));
        plan.tags.insert("新标签".into(), "bulk_sms".into());
        for _ in 0..2 {
            assert_eq!(Work::open(&plan, true, NOON + 1).unwrap().job("a.changes"), Some(JOB));
            assert_eq!(kept.each_ref().map(|path| path.exists()), [false, false, true]);
        }
    }

    #[test]
    fn a_day_goes_on_until_midnight_and_the_next_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let plan = daily_plan(dir.path());
        let mut work = Work::open(&plan, true, NOON).unwrap();
        work.note("a.changes", Some(JOB)).unwrap();
        std::fs::write(work.result("a.changes"), "yesterday's").unwrap();
        drop(work);
        let midnight = NOON + DAY_MS / 2;
        let work = Work::open(&plan, true, midnight - 1).unwrap();
        assert_eq!((work.job("a.changes"), work.began_at_ms()), (Some(JOB), NOON));
        drop(work);
        // The customers are other ones by now, and the plan may be: that does not keep the day from beginning.
        std::fs::write(&plan.customers, "xy").unwrap();
        let other = ScreenPlan { purpose: "other".into(), ..plan.clone() };
        let work = Work::open(&other, true, midnight).unwrap();
        assert_eq!((work.job("a.changes"), work.began_at_ms()), (None, midnight));
        assert!(!work.result("a.changes").exists());
        drop(work);
        assert_eq!(Work::open(&other, true, midnight + 1).unwrap().began_at_ms(), midnight);
    }

    #[test]
    fn what_a_kill_leaves_while_a_finished_screening_is_cleared_is_not_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let plan = daily_plan(dir.path());
        let mut work = Work::open(&plan, true, NOON).unwrap();
        work.note("a.changes", Some(JOB)).unwrap();
        let left = [work.result(&rows::step_of(&["a".to_owned()])), work.result("a.changes")];
        left.iter().for_each(|path| std::fs::write(path, "of before").unwrap());
        std::fs::write(plan.hits(), "today").unwrap();
        work.forget().unwrap();
        drop(work);
        let work = Work::open(&plan, true, NOON).unwrap();
        assert_eq!(std::fs::read_to_string(work.hits()).unwrap(), "today");
        assert_eq!((work.job("a.changes"), left.each_ref().map(|path| path.exists())), (None, [false; 2]));
    }

    #[test]
    fn a_full_screening_goes_on_for_days_and_no_daily_one_clears_it() {
        let dir = tempfile::tempdir().unwrap();
        let plan = daily_plan(dir.path());
        Work::open(&plan, false, NOON).unwrap().note("a.list", Some(JOB)).unwrap();
        assert_eq!(Work::open(&plan, true, NOON + DAY_MS).unwrap_err().code(), "SCREEN_OTHER");
        let work = Work::open(&plan, false, NOON + DAY_MS).unwrap();
        assert_eq!((work.job("a.list"), work.began_at_ms()), (Some(JOB), NOON));
    }

    #[test]
    fn a_day_keeps_yesterdays_hits_when_its_own_take_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = daily_plan(dir.path());
        drop(Work::open(&plan, true, NOON).unwrap());
        std::fs::write(plan.hits(), "today").unwrap();
        let work = Work::open(&plan, true, NOON).unwrap();
        assert_eq!(std::fs::read_to_string(work.hits()).unwrap(), "yesterday");
        work.remove().unwrap();
        let work = Work::open(&plan, true, NOON).unwrap();
        assert_eq!(std::fs::read_to_string(work.hits()).unwrap(), "today");
        work.remove().unwrap();
        // Hits that no screening of this plan writes are an input like any other.
        let elsewhere = dir.path().join("hits.csv");
        std::fs::copy(plan.hits(), &elsewhere).unwrap();
        plan.daily.as_mut().unwrap().hits = Some(elsewhere.clone());
        drop(Work::open(&plan, true, NOON).unwrap());
        std::fs::write(&elsewhere, "of somebody else").unwrap();
        assert_eq!(Work::open(&plan, true, NOON).unwrap_err().code(), "INPUT_CHANGED");
    }
}
