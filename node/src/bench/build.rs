//! `windvane bench build`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use windvane_world::write_carrier_stream;

use super::{BASE, conclude, filesystem, process};
use crate::admin::Admin;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::dataset::{BuildReport, DataSetConfig, ImportReport};
use crate::demo::{DemoError, Place, note, rounded, world_config};
use crate::error::NodeError;

/// How to measure.
#[derive(Debug, Clone)]
pub struct BuildBench {
    /// Row-families to build: rows of the table before equal ones collapse.
    pub rows: usize,
    /// Where everything is written and stays; without it a temporary directory below `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildFigures {
    /// Row-families a second, from the sealed staging file to the finished table on disk.
    pub rows_per_s: f64,
    /// Bytes of the table for each of its rows.
    pub bytes_per_row: f64,
    /// The peak of resident memory while importing and building, MiB.
    pub peak_rss_mb: f64,
    /// Subscribers a second, from the operator's file to the sealed staging file.
    pub import_rows_per_s: f64,
    /// Row-families that were built.
    pub rows: u64,
    /// The type of the file system.
    pub filesystem: String,
}

impl BuildBench {
    /// Measures and prints; progress goes to standard error. Blocks.
    ///
    /// # Errors
    /// [`DemoError`].
    pub fn run(&self) -> Result<BuildFigures, DemoError> {
        let place = Place::new(self.dir.as_deref(), Path::new(BASE))?;
        let figures = self.measure(place.path());
        conclude(&place, self.json, figures, |_| None)
    }

    fn measure(&self, dir: &Path) -> Result<BuildFigures, DemoError> {
        let filesystem = filesystem::durable(dir)?;
        let config = DataSetConfig::carrier();
        let subscribers = self.rows.div_ceil(config.families().len());
        let file = dir.join("carrier.csv");
        note(&format!("writing {subscribers} subscribers"));
        write_carrier_stream(&world_config(subscribers, 0), 0, subscribers, &file)
            .map_err(DemoError::io(file.display().to_string()))?;
        let admin = carrier(dir)?;
        process::reset_peak();
        note("importing");
        let begun = Instant::now();
        let import: ImportReport = admin.import(&config, &file, &())?;
        let import_s = begun.elapsed().as_secs_f64();
        note("building");
        let begun = Instant::now();
        let built: BuildReport = admin.build(&config, &())?;
        let build_s = begun.elapsed().as_secs_f64();
        let rows = import.accepted * config.families().len() as u64;
        Ok(BuildFigures {
            rows_per_s: (rows as f64 / build_s).round(),
            bytes_per_row: rounded(built.bytes as f64 / built.rows.max(1) as f64),
            peak_rss_mb: process::peak_mib()?.round(),
            import_rows_per_s: (import.rows as f64 / import_s).round(),
            rows,
            filesystem,
        })
    }
}

/// A carrier's keys, enough to import and build.
fn carrier(dir: &Path) -> Result<Admin, NodeError> {
    let text = "[node]\nparty = \"carrier-a\"\ndata_dir = \"data\"\n\n\
                [keys]\npassphrase_file = \"passphrase\"\n\n\
                [grpc]\nlisten = \"127.0.0.1:0\"\n";
    let path = dir.join("node.toml");
    windvane_keys::files::write_public(&path, text.as_bytes())?;
    Admin::init(&Config::load(&path)?, Arc::new(SystemClock))
}
