//! The files of a simulated world.

use std::path::{Path, PathBuf};

use windvane_world::{Date, PARTIES, ScoringFiles, World, WorldConfig};

use super::DemoError;
use crate::clock::{Clock as _, SystemClock};

const APPLICATIONS: &str = "applications.csv";

const TRUTH: &str = "truth.csv";

/// The files that a demonstration needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldFiles {
    /// Each carrier's party id and file.
    pub carriers: Vec<(String, PathBuf)>,
    /// The bank's applicants.
    pub applications: PathBuf,
    /// What is true of each.
    pub truth: PathBuf,
    /// What a joint score takes, with its truth, where the directory has it.
    pub scoring: Option<ScoringFiles>,
}

impl WorldFiles {
    /// The files in a directory that [`simulate`] filled.
    ///
    /// # Errors
    /// [`DemoError::File`] when one is missing.
    pub fn find(dir: &Path) -> Result<Self, DemoError> {
        let file = |name: &str| {
            let path = dir.join(name);
            let missing = || DemoError::File { path: path.clone(), rule: "is not there".to_owned() };
            path.canonicalize().map_err(|_| missing())
        };
        let carrier = |party: &str| Ok((party.to_owned(), file(&format!("{party}.csv"))?));
        let carriers = PARTIES.into_iter().map(carrier).collect::<Result<_, DemoError>>()?;
        let scoring =
            ScoringFiles::at(&dir.canonicalize().map_err(DemoError::io(dir.display().to_string()))?);
        let scoring = scoring.segments.exists().then_some(scoring);
        Ok(Self { carriers, applications: file(APPLICATIONS)?, truth: file(TRUTH)?, scoring })
    }
}

/// Writes a world whose data date is today, the truth first.
///
/// # Errors
/// [`DemoError::Io`].
pub fn simulate(dir: &Path, subscribers: usize, applicants: usize) -> Result<WorldFiles, DemoError> {
    write(dir, subscribers, applicants, false)
}

/// The same with a joint score of the carriers and an authority.
///
/// # Errors
/// [`DemoError::Io`].
pub fn simulate_scored(dir: &Path, subscribers: usize, applicants: usize) -> Result<WorldFiles, DemoError> {
    write(dir, subscribers, applicants, true)
}

fn write(dir: &Path, subscribers: usize, applicants: usize, scored: bool) -> Result<WorldFiles, DemoError> {
    let failed = || DemoError::io(dir.display().to_string());
    std::fs::create_dir_all(dir).map_err(failed())?;
    let world = World::generate(&config(subscribers, applicants));
    if scored {
        world.write_scoring(dir).map_err(failed())?;
    }
    world.write(dir).map_err(failed())?;
    WorldFiles::find(dir)
}

/// A world of today: an import refuses data that is too old.
pub(crate) fn config(subscribers: usize, applicants: usize) -> WorldConfig {
    let today = crate::clock::rfc3339(SystemClock.now_ms());
    let as_of = today.get(..10).and_then(Date::parse).expect("RFC 3339 begins with the date");
    WorldConfig { subscribers_per_carrier: subscribers, applicants, as_of, ..WorldConfig::default() }
}
