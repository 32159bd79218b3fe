//! Publishing a provider's table, and fetching the tables of all at the bank.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use windvane::admin::{FetchedScore, ScorePublication};
use windvane::score::parts::{DenseParts, PartsFile, PartsReport};
use windvane::score::plan::GroupPlan;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::oprf::ELEMENT_BYTES;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::score::table::parts::Coverage;

use crate::cli::failure::Failure;
use crate::cli::place::Place;
use crate::cli::progress::{Bar, Unit};
use crate::cli::terminal::table;
use crate::cli::{Answer, runtime};

/// An overlap of all numbers, in 1,000.
const ALL: u16 = 1_000;

/// What to do with tables.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum TablesCommand {
    /// Build this provider's table of an epoch from a file of numbers and parts, and publish it
    Publish(PublishArgs),
    /// Download the tables of all providers of an epoch, check them, and install their sum
    Fetch(FetchArgs),
}

/// Options of `score publish`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PublishArgs {
    /// The scoring group
    #[arg(long, value_name = "NAME")]
    group: DataSet,
    /// The approved model whose parts the table carries
    #[arg(long, value_name = "NAME", required_unless_present = "parts")]
    model: Option<String>,
    /// In place of a model, a file of numbers and parts: CSV, or Parquet by its extension or its first bytes
    #[arg(long, value_name = "FILE", conflicts_with = "model", requires = "default")]
    parts: Option<PathBuf>,
    /// The column of telephone numbers
    #[arg(long, value_name = "NAME", default_value = PartsFile::NUMBER_COLUMN)]
    number_column: String,
    /// The column of parts, whole numbers from 0 to 255
    #[arg(long, value_name = "NAME", default_value = PartsFile::PART_COLUMN)]
    part_column: String,
    /// The part of every number that the file does not have
    #[arg(long, value_name = "N")]
    default: Option<u8>,
    /// Whether, for every number with another part than the default, some other provider holds one too
    #[arg(long, value_name = "WORD")]
    coverage: CoverageWord,
    /// Of 1,000 numbers with another part than the default, how many another provider holds one for
    #[arg(long, value_name = "N", required_if_eq("coverage", "alone"))]
    overlap_permille: Option<u16>,
    /// The epoch; the newest finished one when not given
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of `score fetch`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FetchArgs {
    /// The scoring group
    #[arg(long, value_name = "NAME")]
    group: DataSet,
    /// The epoch; the newest finished one when not given
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Who else holds parts.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CoverageWord {
    /// For every number some other provider does
    Overlapped,
    /// For some numbers nobody else does: there the sum is this provider's part
    Alone,
}

impl TablesCommand {
    pub(in crate::cli) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Publish(args) => args.run(),
            Self::Fetch(args) => args.run(),
        }
    }
}

impl PublishArgs {
    fn run(&self) -> Result<Answer, Failure> {
        let admin = self.place.admin()?;
        let epoch = admin.score_epoch(&self.group, self.epoch)?;
        let rejects = admin.score_rejects(&self.group, epoch);
        let report = RefCell::new(None);
        let source = |plan: &GroupPlan| match (&self.model, &self.parts) {
            (Some(model), _) => admin.approved_parts(plan, model),
            (None, path) => {
                let file = PartsFile {
                    path: path.as_deref().unwrap_or(Path::new("")),
                    number_column: &self.number_column,
                    part_column: &self.part_column,
                    default: self.default.unwrap_or_default(),
                    rejects: &rejects,
                };
                let imported = DenseParts::import(&file, &plan.universe, &Bar::new("reading", Unit::Bytes));
                let (parts, read) = imported?;
                report.replace(Some(read));
                Ok(parts)
            }
        };
        let bar = Bar::new("building, segments", Unit::Things);
        let manifest = admin.score_publish(&self.publication(epoch), source, &bar);
        drop(bar);
        let manifest = manifest?;
        let parts = report.into_inner();
        let view = PublishView { table: TableView::of(manifest.body()), parts, rejects: rejects.clone() };
        Ok(Answer::either(self.json, &view, PublishView::text))
    }

    fn publication(&self, epoch: u64) -> ScorePublication {
        let coverage = match self.coverage {
            CoverageWord::Overlapped => Coverage::Overlapped,
            CoverageWord::Alone => Coverage::Alone,
        };
        ScorePublication {
            group: self.group.clone(),
            epoch: Some(epoch),
            coverage,
            overlap_permille: self.overlap_permille.unwrap_or(ALL),
        }
    }
}

impl FetchArgs {
    fn run(&self) -> Result<Answer, Failure> {
        let admin = self.place.admin()?;
        let bar = Bar::new("fetching, segments", Unit::Things);
        let fetched = runtime()?.block_on(admin.score_fetch(&self.group, self.epoch, &bar));
        drop(bar);
        let view = FetchView::of(&fetched?);
        Ok(Answer::either(self.json, &view, FetchView::text))
    }
}

/// One provider's table.
#[derive(Debug, Serialize)]
struct TableView {
    provider: String,
    group: String,
    epoch: u64,
    segments: u64,
    rows: u64,
    /// Bytes of the table on the disk.
    bytes: u64,
    root: String,
    default: u8,
    distinct: u16,
    alone: bool,
    overlap_permille: u16,
}

impl TableView {
    fn of(manifest: &TableManifest) -> Self {
        Self {
            provider: manifest.provider.to_string(),
            group: manifest.group.to_string(),
            epoch: manifest.epoch,
            segments: manifest.segments,
            rows: manifest.rows(),
            bytes: manifest.rows() * ELEMENT_BYTES as u64,
            root: hex::encode(manifest.root),
            default: manifest.parts.default,
            distinct: manifest.parts.distinct,
            alone: manifest.parts.coverage == Coverage::Alone,
            overlap_permille: manifest.parts.overlap_permille,
        }
    }
}

/// A publication.
#[derive(Debug, Serialize)]
struct PublishView {
    table: TableView,
    /// What the file had.
    parts: Option<PartsReport>,
    rejects: PathBuf,
}

impl PublishView {
    fn text(&self) -> String {
        let TableView { group, epoch, rows, root, distinct, .. } = &self.table;
        let parts = self.parts.as_ref().map_or_else(String::new, |parts| {
            format!(
                "{} lines: {} used, {} duplicate, {} outside the universe, {} rejected; see {}\n",
                parts.rows,
                parts.used,
                parts.duplicate,
                parts.outside,
                parts.rejected,
                self.rejects.display()
            )
        });
        format!(
            "{parts}Epoch {epoch} of {group} is published: {rows} rows, {distinct} values of parts, root {root}.\n\
             Next: the bank runs `windvane score fetch --group {group}`."
        )
    }
}

/// What the bank has.
#[derive(Debug, Serialize)]
struct FetchView {
    was_installed: bool,
    tables: Vec<TableView>,
}

impl FetchView {
    fn of(fetched: &FetchedScore) -> Self {
        let tables = fetched.manifests.iter().map(|manifest| TableView::of(manifest.body())).collect();
        Self { was_installed: fetched.was_installed, tables }
    }

    fn text(&self) -> String {
        let row = |view: &TableView| {
            let coverage = if view.alone { "alone" } else { "overlapped" };
            [
                view.provider.clone(),
                view.rows.to_string(),
                view.distinct.to_string(),
                coverage.to_owned(),
                view.overlap_permille.to_string(),
                view.root.clone(),
            ]
        };
        let header = ["provider", "rows", "values", "coverage", "overlap/1000", "root"];
        let tables = table(header, self.tables.iter().map(row));
        let state = if self.was_installed { "was installed already" } else { "is installed" };
        let epoch = self.tables.first().map_or(0, |view| view.epoch);
        format!("{tables}The sum of {} tables of epoch {epoch} {state}.", self.tables.len())
    }
}
