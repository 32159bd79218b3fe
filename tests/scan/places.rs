//! Everything that the operations left behind, as named bytes. A file of a kind that is not known here fails
//! the scan: whoever adds a kind of place has to tell it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::record::{BACKUPS, KINDS, TREES};

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Log,
    Journal,
    State,
    StateWriteAhead,
    StateIndex,
    /// The cells of every table, which in the file itself may be cut in two between pages.
    StateValues,
    KeyStore,
    Enrolment,
    Configuration,
    Staging,
    Changes,
    Rejects,
    Building,
    Built,
    Published,
    Snapshot,
    Lock,
    /// A set intersection's plan, records, journal and report, on either side.
    Job,
    /// What a set intersection's finished buckets gave.
    Matches,
    /// Which rows of a set intersection were refused or repeated.
    JobRejects,
    /// Records of scoring groups, and models without their parts.
    Score,
    ScoreTable,
    ModelParts,
    /// A training's plan, records, journal, model and report at the bank.
    Training,
    /// What a training lists, and what came of each block.
    TrainingSealed,
    /// What providers answered in a training.
    TrainingAnswers,
    /// A training's records and journal at a provider.
    Session,
    /// Who is listed in a training at a provider.
    SessionSealed,
    /// Ciphertexts of a training at a provider.
    SessionUploads,
    /// A backup's list of files, and its seal.
    Backup,
    FileNames,
    StandardError,
    StandardOutput,
    /// A folder of [`super::record`].
    Recorded(&'static str),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded(name) => f.write_str(name),
            kind => write!(f, "{kind:?}"),
        }
    }
}

/// One place.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads every place below the folder that the operations filled.
pub(crate) fn places(folder: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    for path in files(folder) {
        let relative = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let kind =
            kind(&relative).unwrap_or_else(|| panic!("{relative} is a kind of place that no scan knows"));
        if kind == Kind::State {
            places.push(values(&path, &relative));
        }
        places.push(Place { kind, name: relative, bytes: fs::read(&path).unwrap() });
    }
    let names = places.iter().map(|place| format!("{}\n", place.name)).collect::<String>();
    places.push(Place { kind: Kind::FileNames, name: "all".into(), bytes: names.into_bytes() });
    places
}

/// Places and bytes of every kind.
pub(crate) fn census(places: &[Place]) -> BTreeMap<Kind, (usize, usize)> {
    let mut census = BTreeMap::new();
    for place in places {
        let (count, bytes): &mut (usize, usize) = census.entry(place.kind).or_default();
        *count += 1;
        *bytes += place.bytes.len();
    }
    census
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The kind by the path below the folder.
fn kind(relative: &str) -> Option<Kind> {
    let parts: Vec<_> = relative.split('/').collect();
    match parts[..] {
        ["stderr"] => Some(Kind::StandardError),
        ["stdout"] => Some(Kind::StandardOutput),
        [TREES, _moment, _party, ref rest @ ..] => in_tree(rest),
        [BACKUPS, _moment, _time, "MANIFEST" | "SEAL"] => Some(Kind::Backup),
        [BACKUPS, _moment, _time, ref rest @ ..] => in_data(rest),
        [kind, _source] => KINDS.into_iter().find(|known| *known == kind).map(Kind::Recorded),
        _ => None,
    }
}

fn in_tree(parts: &[&str]) -> Option<Kind> {
    Some(match parts {
        ["windvane.toml"] => Kind::Configuration,
        ["pass"] => Kind::KeyStore,
        ["data", rest @ ..] => in_data(rest)?,
        _ => return None,
    })
}

fn in_data(parts: &[&str]) -> Option<Kind> {
    Some(match parts {
        ["keys", ..] => Kind::KeyStore,
        ["state.db"] => Kind::State,
        ["state.db-wal"] => Kind::StateWriteAhead,
        ["state.db-shm"] => Kind::StateIndex,
        ["log", ..] => Kind::Log,
        [name] if name.starts_with("journal") => Kind::Journal,
        ["enrolment.pem"] => Kind::Enrolment,
        ["datasets", _, rest @ ..] => in_data_set(rest)?,
        ["snapshots", ..] => Kind::Snapshot,
        ["psi", _job, rest @ ..] => in_job(rest)?,
        ["list-rejects", _list] => Kind::JobRejects,
        ["score", rest @ ..] => in_score(rest)?,
        ["train", _training, rest @ ..] => in_training(rest)?,
        ["train-sessions", _session, rest @ ..] => in_session(rest)?,
        _ => return None,
    })
}

fn in_job(parts: &[&str]) -> Option<Kind> {
    Some(match parts {
        ["plan.json" | "journal" | "request" | "acceptance" | "receipt" | "report.json"] => Kind::Job,
        ["result-salt" | "count-salt" | "cancel" | "release"] => Kind::Job,
        ["matches", _bucket] => Kind::Matches,
        ["rejects.csv" | "duplicates.csv"] => Kind::JobRejects,
        _ => return None,
    })
}

fn in_score(parts: &[&str]) -> Option<Kind> {
    Some(match parts {
        ["ledger"] | [_, "plan" | "state"] | [_, "models", _, "card" | "record.json"] => Kind::Score,
        [_, "models", _, "parts"] => Kind::ModelParts,
        [_, "epochs", _, "table" | "table.tmp" | "sum.tmp"] => Kind::ScoreTable,
        [_, "epochs", _, "parts-rejects.csv"] => Kind::Rejects,
        [_, "epochs", _, "manifests", _] => Kind::Score,
        [_, "epochs", _, "setup" | "evidence" | "plan" | "sum-root" | "table.record"] => Kind::Score,
        _ => return None,
    })
}

fn in_training(parts: &[&str]) -> Option<Kind> {
    Some(match parts {
        ["plan.json" | "inputs.json" | "journal" | "model" | "report.json"] => Kind::Training,
        [_party, "request" | "acceptance" | "receipt"] => Kind::Training,
        ["secrets" | "listed"] => Kind::TrainingSealed,
        [name] if name.starts_with("block-") => Kind::TrainingSealed,
        [_party, "answers"] => Kind::TrainingAnswers,
        _ => return None,
    })
}

fn in_session(parts: &[&str]) -> Option<Kind> {
    Some(match parts {
        ["journal" | "acceptance" | "receipt" | "lapse" | "salt"] => Kind::Session,
        ["mask" | "list"] => Kind::SessionSealed,
        ["indicator" | "held-out"] => Kind::SessionUploads,
        [name] if name.starts_with("residuals-") => Kind::SessionUploads,
        _ => return None,
    })
}

fn in_data_set(parts: &[&str]) -> Option<Kind> {
    Some(match parts {
        ["lock"] => Kind::Lock,
        [name] if name.starts_with("staging") => Kind::Staging,
        [name] if name.ends_with("rejects.csv") => Kind::Rejects,
        [name, ..] if name.starts_with("building") => Kind::Building,
        ["built", ..] => Kind::Built,
        ["epochs", ..] => Kind::Published,
        ["changes", ..] => Kind::Changes,
        _ => return None,
    })
}

/// All cells of a state file, each behind a line feed. A copy of a file in use opens with its write-ahead log.
fn values(path: &Path, name: &str) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("state.db");
    for end in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{end}", path.display()));
        if from.exists() {
            fs::copy(from, format!("{}{end}", copy.display())).unwrap();
        }
    }
    Place { kind: Kind::StateValues, name: name.to_owned(), bytes: cells(&copy) }
}

/// All cells of all tables, each behind a line feed.
pub(crate) fn cells(path: &Path) -> Vec<u8> {
    let state = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut tables = state.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut bytes = Vec::new();
    for table in tables {
        let mut select = state.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                bytes.push(b'\n');
                add_cell(&mut bytes, row.get_ref(column).unwrap());
            }
        }
    }
    bytes
}

fn add_cell(bytes: &mut Vec<u8>, cell: ValueRef<'_>) {
    match cell {
        ValueRef::Null => {}
        ValueRef::Integer(number) => bytes.extend(number.to_be_bytes()),
        ValueRef::Real(number) => bytes.extend(number.to_be_bytes()),
        ValueRef::Text(cell) | ValueRef::Blob(cell) => bytes.extend(cell),
    }
}
