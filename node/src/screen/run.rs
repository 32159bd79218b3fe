//! A screening from its plan to its lists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;
use windvane_protocols::party::SessionId;

use super::border::{Contracts, choose};
use super::matches::{Matches, Untagged};
use super::register::Register;
use super::rows::{self, Found, Lookup};
use super::scores::{Scores, is_off, scores};
use super::work::Work;
use super::{
    Hit, Hits, NewBy, ProviderReport, ScreenError, ScreenPlan, ScreenProvider, ScreenReport, TagWords,
    write_lists,
};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::Client;
use crate::psi::folder::JobFolder;
use crate::psi::key::KeyKind;
use crate::psi::{JobProgress, JobReport, JobRunner, PsiError};
use crate::risk::{Rules, Vocabulary};
use crate::snapshot::disk::remove_file;
use crate::verification::ScoreStatus;

/// The report of new customers whose keys are none; the daily form writes it always.
const NEW_REJECTS: &str = "new-rejects.csv";

/// How far a screening is, for whoever watches.
pub trait ScreenProgress: Send + Sync {
    /// An intersection begins, or goes on: the provider and its list.
    fn job(&self, provider: &str, list: &str);

    /// Who watches the intersection.
    fn watch(&self) -> &dyn JobProgress;

    /// So many new customers of so many are looked up.
    fn lookups(&self, done: u64, total: u64);
}

impl ScreenProgress for () {
    fn job(&self, _provider: &str, _list: &str) {}

    fn watch(&self) -> &dyn JobProgress {
        &()
    }

    fn lookups(&self, _done: u64, _total: u64) {}
}

/// A screening that is to run.
pub struct Screening {
    /// The bank's configuration.
    pub config: Config,
    /// What to do.
    pub plan: ScreenPlan,
    /// Whether it is the daily form.
    pub daily: bool,
    /// The bank's running node, for scores, and for lookups in the daily form; without it new customers are intersected.
    pub client: Option<Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub progress: Arc<dyn ScreenProgress>,
}

impl std::fmt::Debug for Screening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screening")
            .field("plan", &self.plan)
            .field("daily", &self.daily)
            .finish_non_exhaustive()
    }
}

/// What needs no keys: files that were read, and lookups under way, which end when this is dropped.
struct Prepared {
    work: Work,
    report: ScreenReport,
    /// Yesterday's, in the daily form.
    hits: Hits,
    /// The new customers' numbers.
    new: Vec<String>,
    /// How they meet every provider's list.
    routes: BTreeMap<String, NewBy>,
    /// One task, or none.
    lookups: JoinSet<Result<Found, ScreenError>>,
}

/// A screening under way.
struct Run<'a> {
    screening: &'a Screening,
    runner: &'a JobRunner,
    prepared: Prepared,
    words: TagWords,
    /// The report of customers whose keys are none, by the first job that read them.
    rejects: Option<PathBuf>,
    /// Lines of new customers whose keys are none, with the rule that each breaks, by whatever route.
    new_rejects: BTreeMap<u64, String>,
}

/// An intersection that is a part of a screening.
struct Step<'a> {
    name: String,
    provider: &'a ScreenProvider,
    list: &'a str,
    customers: &'a Path,
    /// Whether they are the new ones.
    is_of_new: bool,
    untagged: Untagged,
}

impl Screening {
    /// Screens, and writes the lists. Needs a runtime of several threads. What is interrupted goes on where it
    /// was when it is run again, in the daily form on the same day (UTC); another day begins anew.
    ///
    /// # Errors
    /// [`ScreenError`]. Until every provider has answered, no list is written or changed. An error of writing the
    /// lists, or of what comes behind them (the report, the end of the work folder and of the log), may find
    /// some of them in place: run again, which gives the same lists.
    pub async fn run(&self) -> Result<ScreenReport, ScreenError> {
        if self.daily {
            self.plan.need_daily()?;
        }
        if self.plan.score.is_some() && self.client.is_none() {
            let what = "score: give --token-file, so that the running node can be asked".to_owned();
            return Err(ScreenError::Plan { what });
        }
        let rules = self.rules()?;
        // Opening keys takes one core a while; meanwhile files are read, and lookups begin.
        let (config, clock) = (self.config.clone(), self.clock.clone());
        let runner = blocking(move || JobRunner::open(&config, clock));
        let prepared = self.prepare().await;
        let runner = runner.await?.map_err(own)?;
        let screened = match prepared {
            Ok(prepared) => self.screen(&runner, prepared, &rules).await,
            Err(error) => Err(error),
        };
        let closed = runner.close().await.map_err(own);
        screened.and_then(|report| closed.map(|()| report))
    }

    fn rules(&self) -> Result<Rules, ScreenError> {
        match &self.config.verification.rules {
            Some(path) => Ok(Rules::load(path, &Vocabulary::carrier())?),
            None => Ok(Rules::shipped()),
        }
    }

    async fn prepare(&self) -> Result<Prepared, ScreenError> {
        let (plan, daily) = (self.plan.clone(), self.daily);
        let register = move || if daily { Register::daily(&plan) } else { Register::full(&plan) };
        let register = blocking(register).await??;
        let provider =
            |p: &ScreenProvider| ProviderReport { provider: p.party.clone(), ..ProviderReport::default() };
        let work = Work::open(&self.plan, self.daily, self.clock.now_ms())?;
        let mut prepared = Prepared {
            report: ScreenReport {
                daily: self.daily,
                began_at_ms: work.began_at_ms(),
                customers: register.customers,
                new_customers: register.new.len() as u64,
                providers: self.plan.providers.iter().map(provider).collect(),
                ..ScreenReport::default()
            },
            work,
            hits: Hits::default(),
            new: register.new,
            routes: BTreeMap::new(),
            lookups: JoinSet::new(),
        };
        if self.daily {
            prepared.routes = self.routes(&mut prepared.report)?;
            self.look_up(&mut prepared);
            match Hits::read(&prepared.work.hits()) {
                Ok(hits) => prepared.hits = hits,
                // Kept, the damaged copy would stand in the way of the full screening that mends it.
                Err(ScreenError::Row { row, rule, .. }) => {
                    prepared.work.remove()?;
                    return Err(ScreenError::Row { path: self.plan.hits(), row, rule });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(prepared)
    }

    /// How the new customers meet every provider's list; nothing where there are none.
    fn routes(&self, report: &mut ScreenReport) -> Result<BTreeMap<String, NewBy>, ScreenError> {
        let Self { plan, config, clock, client, .. } = self;
        let (new, rows) = (report.new_customers, ScreenReport::list_rows(&plan.hits()));
        let contracts = Contracts::read(config, clock.now_ms())?;
        let mut routes = BTreeMap::new();
        for (provider, report) in plan.providers.iter().zip(&mut report.providers) {
            report.list_rows = rows.get(&provider.party).copied();
            if new == 0 {
                continue;
            }
            let possible = match (client, plan.key) {
                (None, _) => Err("give --token-file, so that the running node can be asked"),
                (_, KeyKind::Phone) => contracts.gives_tags(&provider.party, &plan.purpose),
                _ => Err("only telephone numbers can be looked up"),
            };
            let by = choose(&provider.party, provider.new_customers, possible, new, report.list_rows)?;
            report.new_by = Some(by);
            routes.insert(provider.party.clone(), by);
        }
        Ok(routes)
    }

    /// Begins the lookups beside everything else, or reads what an earlier run found.
    fn look_up(&self, prepared: &mut Prepared) {
        let by_rows = prepared.routes.iter().filter(|(_, by)| **by == NewBy::Rows);
        let providers: Vec<_> = by_rows.map(|(party, _)| party.clone()).collect();
        let Some(client) = self.client.clone().filter(|_| !providers.is_empty()) else { return };
        // Which providers are looked up can be another decision by now; then an earlier answer does not do.
        let kept = prepared.work.result(&rows::step_of(&providers));
        let lookup = Lookup { client, plan: self.plan.clone(), providers };
        let (progress, new) = (self.progress.clone(), prepared.report.new_customers);
        prepared.lookups.spawn(async move {
            if kept.exists() {
                return Found::kept(&kept);
            }
            let found = lookup.run(new, &*progress).await?;
            found.keep(&kept)?;
            Ok(found)
        });
    }

    async fn screen(
        &self,
        runner: &JobRunner,
        prepared: Prepared,
        rules: &Rules,
    ) -> Result<ScreenReport, ScreenError> {
        let words = self.plan.words();
        let mut run =
            Run { screening: self, runner, prepared, words, rejects: None, new_rejects: BTreeMap::new() };
        if self.daily {
            run.daily().await?;
        } else {
            run.full().await?;
        }
        run.report_rejects()?;
        let Prepared { work, mut report, hits, .. } = run.prepared;
        let scores = match (&self.plan.score, &self.client) {
            (Some(asks), Some(client)) => scores(&self.plan, asks, client, &hits, self.daily).await,
            _ => Ok(Scores::new()),
        };
        let scores = match scores {
            Err(ScreenError::Scoring(problem)) if is_off(&problem) => {
                tracing::warn!(code = %problem.code, "nobody is scored at present: the lists have no scores");
                report.unscored = Some(problem.code);
                Scores::new()
            }
            scores => scores?,
        };
        report.scored = scores.values().filter(|score| score.status == ScoreStatus::Scored).count() as u64;
        report.summary = write_lists(&hits, &scores, rules, &self.plan.output)?;
        report.keep(&self.plan.output)?;
        work.remove()?;
        Ok(report)
    }
}

impl Run<'_> {
    /// Every provider's list against the whole file.
    async fn full(&mut self) -> Result<(), ScreenError> {
        let plan = &self.screening.plan;
        for (at, provider) in plan.providers.iter().enumerate() {
            let name = format!("{}.list", provider.party);
            let (list, customers) = (provider.list.as_str(), plan.customers.as_path());
            let step = Step { name, provider, list, customers, is_of_new: false, untagged: Untagged::Listed };
            let (found, job) = self.step(&step).await?;
            let report = &mut self.prepared.report.providers[at];
            (report.hits, report.list_rows) = (found.len() as u64, Some(job.provider_rows));
            report.jobs.push(job.job);
            found.into_iter().for_each(|hit| self.prepared.hits.apply(hit));
        }
        Ok(())
    }

    /// Yesterday's hits, then the new customers, then the changes.
    async fn daily(&mut self) -> Result<(), ScreenError> {
        let (mut new, changed) = self.daily_jobs().await?;
        if let Some(found) = self.prepared.lookups.join_next().await {
            let found = found.map_err(|_| ScreenError::Stopped)??;
            new.extend(found.hits);
            self.new_rejects.extend(found.rejects);
        }
        let Prepared { report, hits, new: customers, .. } = &mut self.prepared;
        customers.iter().for_each(|customer| hits.forget(customer));
        for hit in &new {
            let report = report.providers.iter_mut().find(|report| report.provider == hit.provider);
            report.into_iter().for_each(|report| report.new_hits += 1);
        }
        new.into_iter().chain(changed).for_each(|hit| hits.apply(hit));
        Ok(())
    }

    /// The intersections of a day: hits of new customers, and changes.
    async fn daily_jobs(&mut self) -> Result<(Vec<Hit>, Vec<Hit>), ScreenError> {
        let plan = &self.screening.plan;
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for (at, provider) in plan.providers.iter().enumerate() {
            let name = format!("{}.changes", provider.party);
            let list = provider.changes.as_deref().unwrap_or_default();
            let step = Step {
                name,
                provider,
                list,
                customers: &plan.customers,
                is_of_new: false,
                untagged: Untagged::Left,
            };
            let (mut found, job) = self.step(&step).await?;
            let report = &mut self.prepared.report;
            (report.customers, report.providers[at].hits) = (job.rows, found.len() as u64);
            report.providers[at].jobs.push(job.job);
            changed.append(&mut found);
            let by = self.prepared.routes.get(&provider.party);
            let (Some(NewBy::Psi), Some(customers)) = (by, plan.new_customers()) else { continue };
            let name = format!("{}.new", provider.party);
            let step = Step {
                name,
                provider,
                list: &provider.list,
                customers,
                is_of_new: true,
                untagged: Untagged::Listed,
            };
            let (mut found, job) = self.step(&step).await?;
            let report = &mut self.prepared.report.providers[at];
            report.list_rows = Some(job.provider_rows);
            report.jobs.push(job.job);
            new.append(&mut found);
        }
        Ok((new, changed))
    }

    /// Runs one intersection, or goes on with it; gives its hits. A job that can never go on is let go of, so that
    /// the next run begins another.
    async fn step(&mut self, step: &Step<'_>) -> Result<(Vec<Hit>, JobReport), ScreenError> {
        let ran = self.run_step(step).await;
        if matches!(&ran, Err(error) if error.must_begin_anew()) {
            self.prepared.work.note(&step.name, None)?;
        }
        ran
    }

    async fn run_step(&mut self, step: &Step<'_>) -> Result<(Vec<Hit>, JobReport), ScreenError> {
        let Screening { plan, config, progress, .. } = self.screening;
        let root = config.node.data_dir.clone();
        let failed = |job| {
            let (provider, list) = (step.provider.party.clone(), step.list.to_owned());
            move |error| ScreenError::Job { provider, list, job, error: Box::new(error) }
        };
        let matched = self.prepared.work.result(&step.name);
        // A job that no provider has accepted yet has nothing to go on from, and may be what was refused.
        let known = self.prepared.work.job(&step.name).filter(|job| JobFolder::was_accepted(&root, *job));
        let job = match known {
            Some(job) => job,
            None => {
                let order = plan.job(step.provider, step.list, step.customers, matched.clone());
                let job = self.runner.begin(&order).map_err(failed(None))?;
                self.prepared.work.note(&step.name, Some(job))?;
                job
            }
        };
        progress.job(&step.provider.party, step.list);
        let report = self.runner.run(job, progress.watch()).await.map_err(failed(Some(job)))?;
        let rejects = JobFolder::path_of(&root, job).join("rejects.csv");
        if step.is_of_new {
            self.new_rejects.extend(rows::read_rejects(&rejects)?);
        } else if self.rejects.is_none() {
            self.rejects = Some(rejects);
        }
        Ok((self.matched(step, &root, job, &matched)?, report))
    }

    /// Puts the reports of rows that are no customers beside the lists, and counts them.
    fn report_rejects(&mut self) -> Result<(), ScreenError> {
        let output = &self.screening.plan.output;
        if let Some(rejects) = self.rejects.as_ref().filter(|path| path.exists()) {
            self.prepared.report.rejected = rows::copy_rejects(rejects, &output.join("rejects.csv"))?;
        }
        // Nothing of an earlier day stays beside this day's lists.
        let new_rejects = output.join(NEW_REJECTS);
        if !self.screening.daily {
            return Ok(remove_file(&new_rejects)?);
        }
        self.prepared.report.new_rejected = self.new_rejects.len() as u64;
        rows::write_rejects(&self.new_rejects, &new_rejects)
    }

    fn matched(
        &self,
        step: &Step<'_>,
        root: &Path,
        job: SessionId,
        matched: &Path,
    ) -> Result<Vec<Hit>, ScreenError> {
        let duplicates: PathBuf = JobFolder::path_of(root, job).join("duplicates.csv");
        let Step { provider, customers, untagged, .. } = *step;
        let matches =
            Matches { plan: &self.screening.plan, provider, words: &self.words, customers, untagged };
        tokio::task::block_in_place(|| matches.read(matched, &duplicates))
    }
}

/// Runs work that blocks, beginning now.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, ScreenError>> {
    let work = tokio::task::spawn_blocking(work);
    async move { work.await.map_err(|_| ScreenError::Stopped) }
}

/// An error of the bank's own files, which is about no job.
fn own(error: PsiError) -> ScreenError {
    match error {
        PsiError::Node(error) => ScreenError::Node(*error),
        error => ScreenError::Psi(Box::new(error)),
    }
}
