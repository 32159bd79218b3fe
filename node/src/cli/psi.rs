//! `windvane psi`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde::Serialize;
use windvane::clock::{SystemClock, rfc3339};
use windvane::dataset::Progress;
use windvane::psi::folder::{JobFolder, JobState};
use windvane::psi::key::KeyKind;
use windvane::psi::{JobPlan, JobProgress, JobReport, JobResult, JobRunner, Stage};
use windvane_protocols::party::SessionId;

use super::failure::Failure;
use super::place::Place;
use super::progress::{Bar, Unit};
use super::terminal::table;
use super::{Answer, runtime};

/// What to do with set intersections.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PsiCommand {
    /// Intersect a file with a provider's list
    Run(Box<RunArgs>),
    /// Tell how far jobs are, on either side
    Status {
        /// The job; all when not given
        job: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a running job to end, on either side
    Cancel {
        /// The job
        job: String,
        #[command(flatten)]
        place: Place,
    },
    /// Go on with a job that ended early
    Resume {
        /// The job
        job: String,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Options of `psi run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// A TOML file with the job's plan, in place of the options below
    #[arg(long, value_name = "FILE", conflicts_with_all = ["provider", "list", "input", "output", "purpose"])]
    job_file: Option<PathBuf>,
    /// Whom to ask
    #[arg(long, value_name = "PARTY", required_unless_present = "job_file")]
    provider: Option<String>,
    /// Which of its lists
    #[arg(long, value_name = "NAME", required_unless_present = "job_file")]
    list: Option<String>,
    /// For which purpose of the grant
    #[arg(long, value_name = "CODE", required_unless_present = "job_file")]
    purpose: Option<String>,
    /// The own file: CSV with a header, or Parquet
    #[arg(long, value_name = "FILE", required_unless_present = "job_file")]
    input: Option<PathBuf>,
    /// Where the matched rows go: CSV, or Parquet by its extension
    #[arg(long, value_name = "FILE", required_unless_present = "job_file")]
    output: Option<PathBuf>,
    /// What the items are: phone, phone_id, phone_name, phone_id_name, id, id_name, social_credit, account,
    /// device, ip_address or text
    #[arg(long, value_name = "KIND", default_value = "phone", value_parser = key_kind)]
    key: KeyKind,
    /// The columns of the key, in the order of its name
    #[arg(long, value_name = "COLUMN", num_args = 1.., value_delimiter = ',', default_value = "phone")]
    key_columns: Vec<String>,
    /// Which of the own columns go into the output; the key's when not given
    #[arg(long, value_name = "COLUMN", num_args = 1.., value_delimiter = ',')]
    columns: Vec<String>,
    /// Columns of the list that are to come with matches
    #[arg(long, value_name = "COLUMN", num_args = 1.., value_delimiter = ',')]
    payload_columns: Vec<String>,
    /// How the intersection is computed: vole, ecdh, or auto, which takes ecdh where the mode needs it
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    /// What is to be learnt: intersection, cardinality or minimum
    #[arg(long, value_name = "NAME")]
    mode: Option<String>,
    /// Rows that a bucket is meant to hold
    #[arg(long, value_name = "N")]
    bucket_rows: Option<u64>,
    /// Memory for the file's records, MiB
    #[arg(long, value_name = "MIB")]
    memory_mb: Option<usize>,
    /// Seconds of silence after which the provider is given up
    #[arg(long, value_name = "S")]
    idle_s: Option<u64>,
    /// Seconds that one connection may take
    #[arg(long, value_name = "S")]
    deadline_s: Option<u64>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn key_kind(text: &str) -> Result<KeyKind, String> {
    serde_json::from_value(text.into()).map_err(|_| format!("{text} is no kind of key"))
}

fn job_id(text: &str) -> Result<SessionId, Failure> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or_else(|| Failure::given("JOB_INVALID", "a job's name has 32 hex digits"))?;
    Ok(SessionId::from_bytes(bytes))
}

impl PsiCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Run(args) => args.run(),
            Self::Status { job, place, json } => status(&place, job.as_deref(), json),
            Self::Cancel { job, place } => cancel(&place, &job),
            Self::Resume { job, place, json } => execute(&place, None, Some(job_id(&job)?), json),
        }
    }
}

impl RunArgs {
    fn run(self) -> Result<Answer, Failure> {
        let plan = self.plan()?;
        execute(&self.place, Some(&plan), None, self.json)
    }

    fn plan(&self) -> Result<JobPlan, Failure> {
        if let Some(file) = &self.job_file {
            return JobPlan::load(file).map_err(Failure::psi(None));
        }
        let text = |value: &Option<String>| value.clone().expect("required without a job file");
        let path = |value: &Option<PathBuf>| {
            std::path::absolute(value.as_ref().expect("required without a job file"))
                .map_err(|source| Failure::io("finding a file", source))
        };
        let mut plan =
            JobPlan::new(&text(&self.provider), &text(&self.list), path(&self.input)?, path(&self.output)?);
        plan.purpose = text(&self.purpose);
        plan.key = self.key;
        plan.key_columns.clone_from(&self.key_columns);
        plan.columns.clone_from(&self.columns);
        plan.payload_columns.clone_from(&self.payload_columns);
        plan.protocol = self.protocol.clone().unwrap_or(plan.protocol);
        plan.mode = self.mode.clone().unwrap_or(plan.mode);
        plan.bucket_rows = self.bucket_rows.unwrap_or(plan.bucket_rows);
        plan.memory_mb = self.memory_mb.unwrap_or(plan.memory_mb);
        plan.idle_s = self.idle_s.unwrap_or(plan.idle_s);
        plan.deadline_s = self.deadline_s.unwrap_or(plan.deadline_s);
        Ok(plan)
    }
}

/// Runs a new job, or an old one again.
fn execute(
    place: &Place,
    plan: Option<&JobPlan>,
    job: Option<SessionId>,
    json: bool,
) -> Result<Answer, Failure> {
    let config = place.load()?;
    let runner = JobRunner::open(&config, Arc::new(SystemClock)).map_err(Failure::psi(job))?;
    let job = match (job, plan) {
        (Some(job), _) => job,
        (None, Some(plan)) => runner.begin(plan).map_err(Failure::psi(None))?,
        (None, None) => unreachable!("a job is new, or has a name"),
    };
    let bars = Bars::new();
    let runtime = runtime()?;
    let report = runtime.block_on(async {
        let report = runner.run(job, &bars).await;
        let closed = runner.close().await;
        report.and_then(|report| closed.map(|()| report))
    });
    let protocol_seconds = bars.protocol_seconds();
    drop(bars);
    let report = report.map_err(Failure::psi(Some(job)))?;
    if report.result == JobResult::ResultBelowMinimum {
        let text = format!("job {job}: fewer matches than the grant's minimum, so nothing was released");
        return Err(Failure::given("RESULT_BELOW_MINIMUM", text));
    }
    if json {
        let peak_rss_mb = windvane::bench::peak_mib().map_err(Failure::demo)?;
        return Ok(Answer::json(&Ran { report, protocol_seconds, peak_rss_mb }));
    }
    Ok(Answer::text(words(&report)))
}

/// A job's report, and what this command spent on it.
#[derive(Debug, Serialize)]
struct Ran {
    #[serde(flatten)]
    report: JobReport,
    /// From the partitioned file to the last bucket.
    protocol_seconds: f64,
    /// MiB.
    peak_rss_mb: f64,
}

fn words(report: &JobReport) -> String {
    let matches = report.matches.unwrap_or_default();
    format!(
        "job {}: {matches} of {} rows are among the {} rows of {} at {}\n{} buckets, padded to {} and {} rows, \
         fails with at most 2^-{}",
        report.job,
        report.rows,
        report.provider_rows,
        report.list,
        report.provider,
        report.buckets,
        report.padded_rows,
        report.provider_padded_rows,
        report.failure_bits,
    )
}

/// Progress on the terminal.
pub(super) struct Bars {
    reading: Bar,
    buckets: Bar,
    /// When the first bucket could begin, and when the last one was finished.
    began: OnceLock<Instant>,
    ended: OnceLock<Instant>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self {
            reading: Bar::new("reading", Unit::Bytes),
            buckets: Bar::new("buckets", Unit::Things),
            began: OnceLock::new(),
            ended: OnceLock::new(),
        }
    }

    /// Says which of several jobs the buckets are of.
    pub(super) fn about(&self, job: &str) {
        self.buckets.rename(job);
    }

    fn protocol_seconds(&self) -> f64 {
        let times = self.began.get().zip(self.ended.get());
        times.map_or(0.0, |(began, ended)| (*ended - *began).as_secs_f64())
    }
}

impl JobProgress for Bars {
    fn stage(&self, stage: Stage) {
        if stage == Stage::Partitioned {
            self.began.get_or_init(Instant::now);
        }
    }

    fn buckets(&self, finished: u64, total: u64) {
        self.buckets.reach(finished, total);
        if finished == total {
            self.ended.get_or_init(Instant::now);
        }
    }

    fn reading(&self) -> &dyn Progress {
        &self.reading
    }
}

/// A job in a listing.
#[derive(Debug, Serialize)]
struct JobView {
    job: String,
    state: &'static str,
    code: Option<String>,
    attempts: u64,
    finished_buckets: usize,
    matches: Option<u64>,
    completed_at: Option<String>,
    provider: Option<String>,
    list: Option<String>,
}

impl JobView {
    fn of(job: &str, state: JobState, plan: Option<JobPlan>) -> Self {
        let name = match () {
            () if state.completed_at_ms.is_some() => "completed",
            () if state.expired_at_ms.is_some() => "expired",
            () if state.ended.is_some() => "ended",
            () => "open",
        };
        Self {
            job: job.to_owned(),
            state: name,
            code: state.ended,
            attempts: state.attempts,
            finished_buckets: state.finished.len(),
            matches: state.matches,
            completed_at: state.completed_at_ms.map(rfc3339),
            list: plan.as_ref().map(|plan| plan.list.clone()),
            provider: plan.map(|plan| plan.provider),
        }
    }

    fn row(&self) -> [String; 6] {
        [
            self.job.clone(),
            self.state.to_owned(),
            self.code.clone().unwrap_or_default(),
            self.attempts.to_string(),
            self.finished_buckets.to_string(),
            self.matches.map(|matches| matches.to_string()).unwrap_or_default(),
        ]
    }
}

fn status(place: &Place, job: Option<&str>, json: bool) -> Result<Answer, Failure> {
    let root = place.load()?.node.data_dir;
    let all = JobFolder::all(&root);
    let mut names = match job {
        Some(job) => vec![job.to_owned()],
        None => std::fs::read_dir(&all)
            .map(|entries| entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
            .unwrap_or_default(),
    };
    names.sort_unstable();
    let mut views = Vec::new();
    for name in names {
        let state = JobFolder::peek(&root, job_id(&name)?).map_err(Failure::psi(None))?;
        match state {
            Some(state) => views.push(JobView::of(&name, state, JobPlan::kept(&all.join(&name)).ok())),
            None if job.is_some() => {
                return Err(Failure::given("NOT_FOUND", format!("there is no job {name}")));
            }
            // A folder that was made for a job which was killed before it began.
            None => {}
        }
    }
    if json {
        return Ok(Answer::json(&views));
    }
    let header = ["JOB", "STATE", "CODE", "CONNECTIONS", "BUCKETS", "MATCHES"];
    Ok(Answer::text(table(header, views.iter().map(JobView::row))))
}

fn cancel(place: &Place, job: &str) -> Result<Answer, Failure> {
    let (root, id) = (place.load()?.node.data_dir, job_id(job)?);
    if JobFolder::peek(&root, id).map_err(Failure::psi(None))?.is_none() {
        return Err(Failure::given("NOT_FOUND", format!("there is no job {job}")));
    }
    JobFolder::cancel(&root, id).map_err(Failure::psi(Some(id)))?;
    // A provider has no plan of a job, and refuses what it cancelled.
    let then = match JobPlan::kept(&JobFolder::path_of(&root, id)) {
        Ok(_) => "`psi resume` goes on with it",
        Err(_) => "for good: whoever asked for it has to begin a new one",
    };
    Ok(Answer::text(format!("job {job} ends within moments; {then}")))
}
