//! Which node's files a command works on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::clock::SystemClock;
use windvane::config::Config;
use windvane::error::NodeError;
use windvane_keys::files::{parent_of, write_public};

use super::Answer;
use super::failure::Failure;

/// The option that names the configuration.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Place {
    /// The node's configuration file
    #[arg(long, value_name = "FILE", env = "WINDVANE_CONFIG", default_value = "windvane.toml")]
    pub(super) config: PathBuf,
}

impl Place {
    /// Reads the configuration.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        Config::load(&self.config).map_err(|error| NodeError::from(error).into())
    }

    /// Opens the node's files.
    pub(super) fn admin(&self) -> Result<Admin, Failure> {
        Ok(Admin::open(&self.load()?, Arc::new(SystemClock))?)
    }

    /// Refuses a place for a secret inside of the data directory: a backup takes its files along as they are.
    pub(super) fn check_outside(&self, file: &Path) -> Result<(), Failure> {
        let data_dir = self.load()?.node.data_dir;
        // Where one of them is not there, the file is not in the directory, or cannot be written.
        let inside = parent_of(file).canonicalize().ok().zip(data_dir.canonicalize().ok());
        if inside.is_some_and(|(parent, data_dir)| parent.starts_with(data_dir)) {
            let message = format!(
                "--out {} lies in the data directory, of which every backup would hold it readable; name a file outside \
                 of {}",
                file.display(),
                data_dir.display()
            );
            return Err(Failure::given("OUT_IN_DATA_DIR", message));
        }
        Ok(())
    }
}

/// Writes a document to hand over into a file, or prints it.
pub(super) fn hand_over(out: Option<&Path>, document: String, what: &str) -> Result<Answer, Failure> {
    let Some(path) = out else { return Ok(Answer::text(document)) };
    write_public(path, document.as_bytes())?;
    Ok(Answer::text(format!("{what} written to {}", path.display())))
}
