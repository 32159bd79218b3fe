//! The provider's data sets: from an operator's CSV or Parquet file to a published encrypted table.
//!
//! [`import()`] reads the file into a sealed staging file, [`build()`] turns it into rows under an epoch's keys,
//! [`publish()`] signs the manifest. The three are separate so that the file can be checked long before an
//! epoch begins, and every epoch is built from the same staging file. Between full files, [`change()`] takes change
//! files, and [`delta()`] publishes what they changed within the epoch (`changes`, `delta`).
//!
//! **Promised**: memory is bounded whatever the size of the file (what does not fit
//! is sorted on the disk, in a sealed file without a name); every step either completes and appears by one
//! rename, or leaves what was there before; no identity reaches the disk in clear; every refused row stands
//! in a reject file with its line, field and rule, never its value. **Not promised**: that an interrupted
//! build is continued. It is begun anew under a fresh publication id, because two runs under one id that
//! differ in one label would seal two labels under one key. Nor that the table reader's own buffers are wiped.
//!
//! ```text
//! <data>/datasets/<name>/staging             sealed records of the last import
//! <data>/datasets/<name>/import-rejects.csv  refused rows of the last import, also of a refused one
//! <data>/datasets/<name>/build-rejects.csv   rows refused by the last build
//! <data>/datasets/<name>/.building-*         a build that runs, or was interrupted
//! <data>/datasets/<name>/built/<epoch>/      a complete table that is not published
//! <data>/datasets/<name>/epochs/<epoch>/     a published table, with its deltas under deltas/<index>/
//! ```

use std::path::{Path, PathBuf};

use windvane_keys::files::FileError;
use windvane_protocols::lookup::DataSet;

use crate::snapshot::disk::{self, DirectoryLock};

mod build;
mod changes;
mod config;
mod delta;
mod fields;
mod import;
mod progress;
mod publish;
mod quality;
pub(crate) mod rejects;
mod row;
mod sort;
pub mod stage;
mod staging;
#[cfg(test)]
mod tests;

pub use build::{Build, BuildError, BuildReport, build};
pub use changes::{
    ChangeImport, ChangeReport, ChangesError, MAX_CHANGE_FILES, MAX_CHANGE_ROWS, change, index_staging,
};
pub use config::{CARRIER_DATASET, CARRIER_SCHEMA, ConfigError, DataSetConfig};
pub use delta::{DeltaBuild, DeltaBuildError, DeltaReport, delta};
pub use import::{Import, ImportError, import};
pub use progress::{Position, Progress};
pub use publish::{
    DataSetStatus, EpochSummary, EpochTables, Publish, PublishError, PublishedEpoch, built_epochs, publish,
    published_dir, published_epochs, published_manifest, status,
};
pub use quality::{GateFailure, ImportReport, Quality};
pub use row::{PackedLabel, StagedRecord};
pub use staging::{StagedRecords, StagingError, StagingReader};

pub use crate::table::Encoding;

/// Where the refused rows of a data set's last import stand.
pub fn import_rejects(data_dir: &Path, data_set: &DataSet) -> PathBuf {
    DataSetDir::new(data_dir, data_set).import_rejects()
}

/// Where the refused rows of a data set's last change file stand.
pub fn change_rejects(data_dir: &Path, data_set: &DataSet) -> PathBuf {
    DataSetDir::new(data_dir, data_set).change_rejects()
}

/// A data set's directory, and what stands where in it.
#[derive(Debug, Clone)]
struct DataSetDir(PathBuf);

impl DataSetDir {
    fn new(data_dir: &Path, data_set: &DataSet) -> Self {
        Self(data_dir.join("datasets").join(data_set.as_str()))
    }

    /// Makes the directory and holds it for one writer; `None` when another import, build or publication of
    /// the same data set is running.
    fn lock(&self) -> Result<Option<DirectoryLock>, FileError> {
        disk::create_directory(&self.0)?;
        DirectoryLock::try_acquire(&self.0)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn staging(&self) -> PathBuf {
        self.0.join("staging")
    }

    fn import_rejects(&self) -> PathBuf {
        self.0.join("import-rejects.csv")
    }

    fn build_rejects(&self) -> PathBuf {
        self.0.join("build-rejects.csv")
    }

    fn staging_index(&self) -> PathBuf {
        self.0.join("staging-index")
    }

    fn changes(&self) -> PathBuf {
        self.0.join("changes")
    }

    fn change_rejects(&self) -> PathBuf {
        self.0.join("change-rejects.csv")
    }

    fn built(&self) -> PathBuf {
        self.0.join("built")
    }

    fn epochs(&self) -> PathBuf {
        self.0.join("epochs")
    }
}
