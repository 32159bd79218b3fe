//! `windvane screen`.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use windvane::clock::SystemClock;
use windvane::psi::JobProgress;
use windvane::screen::{NewBy, ScreenPlan, ScreenProgress, ScreenReport, Screening};

use super::failure::Failure;
use super::progress::{Bar, Unit};
use super::psi::Bars;
use super::verify::Reach;
use super::{Answer, runtime};

/// What to do with existing customers.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ScreenCommand {
    /// Intersect the customer file with every provider's list, and write the risk list of every outlet
    ///
    /// What was interrupted goes on where it was when the same line is run again, with --daily on the same day (UTC);
    /// another day begins anew.
    Run(Box<RunArgs>),
}

/// Options of `screen run`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// A TOML file with the screening's plan
    #[arg(long, value_name = "FILE")]
    plan_file: PathBuf,
    /// Apply a day's changes and new customers, among them those with another number or outlet, to yesterday's hits,
    /// instead of intersecting everything; new customers are looked up through the running node where that is cheaper
    /// and a token is given
    #[arg(long)]
    daily: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ScreenCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Run(args) => args.run(),
        }
    }
}

impl RunArgs {
    fn run(self) -> Result<Answer, Failure> {
        let plan = ScreenPlan::load(&self.plan_file).map_err(Failure::screen)?;
        let asks = self.daily || plan.score.is_some();
        let client = if asks { self.reach.optional_client()? } else { None };
        let output = plan.output.clone();
        let screening = Screening {
            config: self.reach.place.load()?,
            plan,
            daily: self.daily,
            client,
            clock: Arc::new(SystemClock),
            progress: Arc::new(Progress { job: Bars::new(), lookups: Bar::new("looking up", Unit::Things) }),
        };
        let report = runtime()?.block_on(screening.run()).map_err(Failure::screen)?;
        drop(screening);
        if self.json {
            let peak_rss_mb = windvane::bench::peak_mib().map_err(Failure::demo)?;
            return Ok(Answer::json(&Ran { report, peak_rss_mb }));
        }
        Ok(Answer::text(format!("{}\nThe lists are in {}", words(&report), output.display())))
    }
}

/// A screening's report, and what this command spent on it.
#[derive(Debug, Serialize)]
struct Ran {
    #[serde(flatten)]
    report: ScreenReport,
    /// MiB.
    peak_rss_mb: f64,
}

fn words(report: &ScreenReport) -> String {
    let summary = &report.summary;
    let mut lines = vec![format!(
        "{} of {} customers are listed in {} outlets: {} red, {} yellow",
        summary.listed, report.customers, summary.outlets, summary.red, summary.yellow
    )];
    for provider in &report.providers {
        let new = match provider.new_by {
            Some(by) => {
                let by = if by == NewBy::Rows { "lookup" } else { "intersection" };
                format!("; {} of {} new ones by {by}", provider.new_hits, report.new_customers)
            }
            None => String::new(),
        };
        let what = if report.daily { "changed" } else { "listed" };
        lines.push(format!("{}: {} {what}{new}", provider.provider, provider.hits));
    }
    if let Some(code) = &report.unscored {
        lines.push(format!("nobody was scored ({code}); the lists have no scores"));
    }
    if report.rejected + report.new_rejected > 0 {
        lines.push(format!(
            "{} rows, and {} of new customers, have no number that holds; see the reject files",
            report.rejected, report.new_rejected
        ));
    }
    lines.join("\n")
}

/// Progress on the terminal.
struct Progress {
    job: Bars,
    lookups: Bar,
}

impl ScreenProgress for Progress {
    fn job(&self, provider: &str, list: &str) {
        self.job.about(&format!("{provider} {list}"));
    }

    fn watch(&self) -> &dyn JobProgress {
        &self.job
    }

    fn lookups(&self, done: u64, total: u64) {
        self.lookups.reach(done, total);
    }
}
