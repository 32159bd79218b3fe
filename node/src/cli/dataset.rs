//! `windvane dataset`: a provider's data sets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde::Serialize;
use windvane::clock::rfc3339;
use windvane::dataset::{
    BuildReport, DataSetConfig, DataSetStatus, Encoding, EpochSummary, GateFailure, ImportError,
    ImportReport, import_rejects, status,
};
use windvane::error::NodeError;
use windvane::identity::Layout;
use windvane_protocols::lookup::DataSet;

use super::Answer;
use super::failure::Failure;
use super::place::Place;
use super::progress::{Bar, Unit};
use super::terminal::table;

/// What to do with a data set.
#[derive(Debug, clap::Subcommand)]
pub(super) enum DatasetCommand {
    /// Read an operator's CSV or Parquet file into sealed staging, and report its quality
    Import(ImportArgs),
    /// Build the encrypted table of a fresh epoch from what was imported
    Build(TableArgs),
    /// Publish the newest built table; the epoch before it answers for the configured overlap, and then its keys are
    /// destroyed
    Publish(TableArgs),
    /// End an epoch that still answers beside a newer one: destroy its keys and remove its table
    End {
        /// The data set
        data_set: DataSet,
        /// The epoch
        #[arg(long)]
        epoch: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Show what is imported, built and published; needs no key
    Status {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Options of `dataset import`.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The file: CSV, or Parquet by its extension or its first bytes; columns are found by their names
    file: PathBuf,
    #[command(flatten)]
    table: TableArgs,
    /// A CSV file's encoding, instead of the one in the data set's configuration
    #[arg(long, value_parser = encoding())]
    encoding: Option<Encoding>,
}

/// Options of every command on one data set.
#[derive(Debug, clap::Args)]
pub(super) struct TableArgs {
    /// The data set's configuration, or `carrier` for the shipped one
    #[arg(long, value_name = "FILE", default_value = CARRIER)]
    data_set_config: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The word for the shipped configuration of a carrier's subscribers.
const CARRIER: &str = "carrier";

fn encoding() -> impl clap::builder::TypedValueParser<Value = Encoding> {
    PossibleValuesParser::new(["auto", "utf-8", "gb18030"]).map(|word| match word.as_str() {
        "utf-8" => Encoding::Utf8,
        "gb18030" => Encoding::Gb18030,
        _ => Encoding::Auto,
    })
}

impl DatasetCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Import(args) => args.run(),
            Self::Build(args) => args.build(),
            Self::Publish(args) => args.publish(),
            Self::End { data_set, epoch, place } => {
                place.admin()?.end_epoch(&data_set, epoch)?;
                Ok(Answer::text(format!("epoch {epoch} of {data_set} is over; its keys are destroyed")))
            }
            Self::Status { place, json } => show_status(&place, json),
        }
    }
}

impl TableArgs {
    fn data_set(&self) -> Result<DataSetConfig, Failure> {
        if self.data_set_config == Path::new(CARRIER) {
            return Ok(DataSetConfig::carrier());
        }
        Ok(DataSetConfig::load(&self.data_set_config)?)
    }

    fn build(&self) -> Result<Answer, Failure> {
        let (admin, data_set) = (self.place.admin()?, self.data_set()?);
        let report = admin.build(&data_set, &Bar::new("building", Unit::Things))?;
        let view = BuildView::of(&report, data_set.name());
        Ok(Answer::either(self.json, &view, BuildView::text))
    }

    fn publish(&self) -> Result<Answer, Failure> {
        let (admin, data_set) = (self.place.admin()?, self.data_set()?);
        let published = admin.publish(&data_set)?;
        let manifest = published.manifest.body();
        let view = PublishView {
            data_set: manifest.data_set.to_string(),
            epoch: manifest.epoch,
            rows: manifest.publications.iter().map(|publication| publication.rows).sum(),
            not_after: rfc3339(manifest.not_after_ms),
            retiring_until: rfc3339(published.retiring_until_ms),
            retiring_epochs: published.retiring,
            ended_epochs: published.ended,
        };
        Ok(Answer::either(self.json, &view, PublishView::text))
    }
}

impl ImportArgs {
    fn run(&self) -> Result<Answer, Failure> {
        let (config, mut data_set) = (self.table.place.load()?, self.table.data_set()?);
        if let Some(encoding) = self.encoding {
            data_set = data_set.with_encoding(encoding);
        }
        let rejects = import_rejects(&config.node.data_dir, data_set.name());
        let imported =
            self.table.place.admin()?.import(&data_set, &self.file, &Bar::new("importing", Unit::Bytes));
        let (view, failure) = match imported {
            Ok(report) => (ImportView { report, failures: Vec::new(), rejects }, None),
            Err(error) => match ImportView::refused(&error) {
                Some(view) => (view, Some(error.into())),
                None => return Err(error.into()),
            },
        };
        Ok(Answer::either(self.table.json, &view, ImportView::text).with_failure(failure))
    }
}

/// An import's quality report.
#[derive(Debug, Serialize)]
struct ImportView {
    #[serde(flatten)]
    report: ImportReport,
    /// Quality gates that the file fails; then nothing was imported.
    failures: Vec<String>,
    rejects: PathBuf,
}

impl ImportView {
    /// The report of a file that fails its quality gates; `None` for other errors.
    fn refused(error: &NodeError) -> Option<Self> {
        let NodeError::Import(ImportError::QualityGate { failures, rejects, report }) = error else {
            return None;
        };
        let failures = failures.iter().map(GateFailure::to_string).collect();
        Some(Self { report: (**report).clone(), failures, rejects: rejects.clone() })
    }

    fn text(&self) -> String {
        let r = &self.report;
        let share = |count: u64| format!("{count} ({:.3} %)", count as f64 * 100.0 / r.rows.max(1) as f64);
        let mut text = format!(
            "data set      {} ({}, {} bytes)\nrows          {}\naccepted      {}\nrejected      {}\n",
            r.data_set,
            r.encoding,
            r.source_bytes,
            r.rows,
            share(r.accepted),
            share(r.rejected)
        );
        for (rule, count) in &r.rejected_by_rule {
            let _ = writeln!(text, "              {rule}: {count}");
        }
        let _ = writeln!(text, "missing       {}", share(r.missing));
        let _ = writeln!(text, "duplicate     {}", share(r.duplicate));
        let _ = writeln!(text, "inconsistent  {}", share(r.inconsistent));
        let _ = writeln!(text, "out of date   {}", share(r.out_of_date));
        if let (Some(oldest), Some(newest)) = (&r.oldest, &r.newest) {
            let _ = writeln!(text, "data dates    {oldest} to {newest}");
        }
        let _ = writeln!(text, "reject file   {}\n", self.rejects.display());
        text.push_str(&self.verdict());
        text
    }

    fn verdict(&self) -> String {
        if self.failures.is_empty() {
            return "Imported. Next: windvane dataset build".to_owned();
        }
        let failures = self.failures.join("\n  ");
        format!(
            "NOT imported, the file fails its quality gates:\n  {failures}\n\
             Correct the file as the reject file says, or change [quality] in the data set's configuration; \
             what was imported before stays."
        )
    }
}

/// A build's result.
#[derive(Debug, Serialize)]
struct BuildView {
    data_set: String,
    epoch: u64,
    rows: u64,
    pages: u64,
    bytes: u64,
    collapsed: u64,
    rejected: u64,
}

impl BuildView {
    fn of(report: &BuildReport, name: &DataSet) -> Self {
        let &BuildReport { epoch, rows, pages, bytes, collapsed, rejected } = report;
        Self { data_set: name.to_string(), epoch, rows, pages, bytes, collapsed, rejected }
    }

    fn text(&self) -> String {
        format!(
            "Epoch {} of {} is built: {} rows in {} pages, {} bytes; {} equal rows collapsed, {} lines \
             rejected for differing labels.\nNext: windvane dataset publish",
            self.epoch, self.data_set, self.rows, self.pages, self.bytes, self.collapsed, self.rejected
        )
    }
}

/// A publication's result.
#[derive(Debug, Serialize)]
struct PublishView {
    data_set: String,
    epoch: u64,
    rows: u64,
    not_after: String,
    /// Epochs that still answer, the newest of them until `retiring_until`.
    retiring_epochs: Vec<u64>,
    retiring_until: String,
    ended_epochs: Vec<u64>,
}

impl PublishView {
    fn text(&self) -> String {
        let Self { data_set, epoch, rows, not_after, .. } = self;
        let list = |epochs: &[u64]| epochs.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let retiring = match self.retiring_epochs.as_slice() {
            [] => String::new(),
            retiring => format!(" Still answering until {}: epoch {}.", self.retiring_until, list(retiring)),
        };
        let ended = match self.ended_epochs.as_slice() {
            [] => String::new(),
            ended => format!(" Ended, with their keys destroyed: epoch {}.", list(ended)),
        };
        format!("Epoch {epoch} of {data_set} is published until {not_after}: {rows} rows.{retiring}{ended}")
    }
}

fn show_status(place: &Place, json: bool) -> Result<Answer, Failure> {
    let layout = Layout::new(place.load()?.node.data_dir);
    let mut all = BTreeMap::new();
    for name in layout.data_sets()? {
        all.insert(name.to_string(), status(layout.root(), &name)?);
    }
    Ok(Answer::either(json, &all, |all| match all.is_empty() {
        true => "no data set yet; run windvane dataset import".to_owned(),
        false => all.iter().map(|(name, status)| status_text(name, status)).collect(),
    }))
}

fn status_text(name: &str, status: &DataSetStatus) -> String {
    let imported = match &status.imported {
        None => "nothing imported".to_owned(),
        Some(r) => format!("{} of {} rows imported {}", r.accepted, r.rows, rfc3339(r.imported_at_ms)),
    };
    if status.built.is_empty() && status.published.is_empty() {
        return format!("{name}: {imported}\n");
    }
    let row = |state: &str, epoch: &EpochSummary| {
        [
            epoch.epoch.to_string(),
            state.to_owned(),
            epoch.rows.to_string(),
            epoch.bytes.to_string(),
            rfc3339(epoch.built_at_ms),
            epoch.not_after_ms.map_or_else(|| "-".to_owned(), rfc3339),
        ]
    };
    let built = status.built.iter().map(|epoch| row("built", epoch));
    let published = status.published.iter().map(|epoch| row("published", epoch));
    let header = ["EPOCH", "STATE", "ROWS", "BYTES", "BUILT", "UNTIL"];
    format!("{name}: {imported}\n{}", table(header, built.chain(published)))
}
