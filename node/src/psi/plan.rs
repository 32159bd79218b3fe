//! What a bank's operator orders: a job's plan, kept in the job's folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windvane_keys::files::{read_public, write_private};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::psi::{Mode, Protocol, Sizes};

use super::engine::Patience;
use super::input::InputFile;
use super::key::KeyKind;
use super::partition::DEFAULT_MEMORY_BYTES;
use super::{PsiError, folder::JobFolder};
use crate::config::ListConfig;
use crate::error::NodeError;
use crate::table::{TableOptions, TableReader, TableWriter};
use crate::toml_text;

/// Leaves the protocol to the mode.
const AUTO: &str = "auto";

/// A plan is a page of text.
const MAX_PLAN_BYTES: usize = 64 << 10;

/// What a job is to do. As a file: TOML with these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobPlan {
    /// Whom to ask; the configuration has its address.
    pub provider: String,
    /// Which of its lists.
    pub list: String,
    /// For which purpose of the grant.
    pub purpose: String,
    /// The own table.
    pub input: PathBuf,
    /// What the items are.
    pub key: KeyKind,
    /// The columns of the key, in the order of its fields.
    pub key_columns: Vec<String>,
    /// Where the matched rows go: CSV, or Parquet by its extension.
    pub output: PathBuf,
    /// Which of the own columns go there; the key's when none is named.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Columns of the list that are to come with matches.
    #[serde(default)]
    pub payload_columns: Vec<String>,
    /// How the intersection is computed: `vole`, `ecdh`, or `auto`: `ecdh` where the mode needs it, else `vole`.
    #[serde(default = "defaults::protocol")]
    pub protocol: String,
    /// What is to be learnt: `intersection`, `cardinality` or `minimum`.
    #[serde(default = "defaults::mode")]
    pub mode: String,
    /// Rows that a bucket is meant to hold.
    #[serde(default = "defaults::bucket_rows")]
    pub bucket_rows: u64,
    /// Memory for the table's records, MiB.
    #[serde(default = "defaults::memory_mb")]
    pub memory_mb: usize,
    /// A provider that is silent for so long is given up.
    #[serde(default = "defaults::idle_s")]
    pub idle_s: u64,
    /// One connection may take so long.
    #[serde(default = "defaults::deadline_s")]
    pub deadline_s: u64,
}

pub(super) mod defaults {
    use super::{DEFAULT_MEMORY_BYTES, Mode, Protocol, Sizes};

    pub(in crate::psi) fn protocol() -> String {
        super::AUTO.to_owned()
    }

    pub(in crate::psi) fn mode() -> String {
        Mode::Intersection.name().to_owned()
    }

    pub(in crate::psi) const fn bucket_rows() -> u64 {
        Sizes::new(Protocol::Ecdh, Mode::Intersection, 0, 0).bucket_rows
    }

    pub(in crate::psi) const fn memory_mb() -> usize {
        DEFAULT_MEMORY_BYTES >> 20
    }

    pub(in crate::psi) const fn idle_s() -> u64 {
        60
    }

    pub(in crate::psi) const fn deadline_s() -> u64 {
        86_400
    }
}

/// A plan whose words were understood.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) plan: JobPlan,
    pub(super) provider: PartyId,
    pub(super) list: DataSet,
    pub(super) protocol: Protocol,
    pub(super) mode: Mode,
}

impl JobPlan {
    /// A plan with the usual buckets, memory and patience.
    pub fn new(provider: &str, list: &str, input: PathBuf, output: PathBuf) -> Self {
        Self {
            provider: provider.to_owned(),
            list: list.to_owned(),
            purpose: String::new(),
            input,
            key: KeyKind::Phone,
            key_columns: vec!["phone".to_owned()],
            output,
            columns: Vec::new(),
            payload_columns: Vec::new(),
            protocol: defaults::protocol(),
            mode: defaults::mode(),
            bucket_rows: defaults::bucket_rows(),
            memory_mb: defaults::memory_mb(),
            idle_s: defaults::idle_s(),
            deadline_s: defaults::deadline_s(),
        }
    }

    /// Reads a plan from TOML; relative paths in it are within its folder, and become absolute, for the job may go on
    /// from elsewhere.
    ///
    /// # Errors
    /// [`PsiError`].
    pub fn load(path: &Path) -> Result<Self, PsiError> {
        let bytes = read_public(path, MAX_PLAN_BYTES).map_err(NodeError::from)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut plan: Self = toml_text::parse(&text)
            .map_err(|error| given("JOB_FILE", format!("{}: {error}", path.display())))?;
        let path = std::path::absolute(path).map_err(PsiError::io(path))?;
        let base = path.parent().unwrap_or(Path::new("/"));
        plan.input = base.join(&plan.input);
        plan.output = base.join(&plan.output);
        Ok(plan)
    }

    /// Keeps the plan in a job's folder.
    pub(super) fn keep(&self, folder: &JobFolder) -> Result<(), PsiError> {
        let json = serde_json::to_vec_pretty(self).expect("a plan is plain data");
        Ok(write_private(&Self::path(folder.path()), &json).map_err(NodeError::from)?)
    }

    /// The plan of a job's folder.
    ///
    /// # Errors
    /// [`PsiError`].
    pub fn kept(folder: &Path) -> Result<Self, PsiError> {
        let path = Self::path(folder);
        let bytes = read_public(&path, MAX_PLAN_BYTES).map_err(NodeError::from)?;
        serde_json::from_slice(&bytes).map_err(|error| PsiError::Folder { path, what: error.to_string() })
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("plan.json")
    }

    /// The own columns of the result.
    pub(super) fn own_columns(&self) -> &[String] {
        if self.columns.is_empty() { &self.key_columns } else { &self.columns }
    }

    /// Whether the own table has the columns of key and result, and the result one of each name: what is found when
    /// the result is written is found too late, for the job is fixed by then, and a run of the grant is spent.
    pub(super) fn check_columns(&self) -> Result<(), PsiError> {
        let own = self.own_columns();
        let read: Vec<_> = self.key_columns.iter().chain(own).collect();
        TableReader::open(&self.input, TableOptions::default())?.choose(&read)?;
        let written: Vec<_> = own.iter().chain(&self.payload_columns).collect();
        Ok(TableWriter::check_header(&self.output, &written)?)
    }

    /// Understands the plan's words.
    pub(super) fn check(&self) -> Result<Checked, PsiError> {
        let bad = |what: &str, error: &dyn std::fmt::Display| given("JOB_PLAN", format!("{what}: {error}"));
        check_columns(self.key, &self.key_columns).map_err(|error| given("JOB_PLAN", error))?;
        let mode: Mode = self.mode.parse().map_err(|e| bad("mode", &e))?;
        let protocol = match self.protocol.as_str() {
            AUTO if mode.counts_first() => Protocol::Ecdh,
            AUTO => Protocol::Vole,
            name => name.parse().map_err(|e| bad("protocol", &e))?,
        };
        Ok(Checked {
            plan: self.clone(),
            provider: self.provider.parse().map_err(|e| bad("provider", &e))?,
            list: self.list.parse().map_err(|e| bad("list", &e))?,
            protocol,
            mode,
        })
    }
}

impl Checked {
    pub(super) fn input(&self) -> InputFile {
        InputFile {
            path: self.plan.input.clone(),
            key: self.plan.key,
            key_columns: self.plan.key_columns.clone(),
            payload_columns: Vec::new(),
            memory_bytes: self.plan.memory_mb << 20,
        }
    }

    pub(super) const fn patience(&self) -> Patience {
        Patience {
            idle: Duration::from_secs(self.plan.idle_s),
            total: Duration::from_secs(self.plan.deadline_s),
        }
    }
}

/// A key kind by its name in configurations.
pub(super) fn key_kind(name: &str) -> Option<KeyKind> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

/// The name of a key kind in configurations and requests.
pub(super) fn key_name(kind: KeyKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("a kind without fields is written as its name"),
    }
}

/// Holds a list's key against what such a key needs.
///
/// # Errors
/// The rule that is broken.
pub fn check_key(key: &str, columns: &[String]) -> Result<(), String> {
    let kind = key_kind(key).ok_or_else(|| format!("{key} is no kind of key"))?;
    check_columns(kind, columns)
}

/// Whether a list's file is there and has its columns.
///
/// # Errors
/// [`PsiError`].
pub fn check_list(list: &ListConfig) -> Result<(), PsiError> {
    let columns: Vec<_> = list.key_columns.iter().chain(&list.payload_columns).collect();
    TableReader::open(&list.file, TableOptions::default())?.choose(&columns)?;
    Ok(())
}

fn check_columns(kind: KeyKind, columns: &[String]) -> Result<(), String> {
    let fields = kind.fields();
    if columns.len() == fields.len() {
        return Ok(());
    }
    Err(format!("the key {} has {} columns: {}", key_name(kind), fields.len(), fields.join(", ")))
}

pub(super) fn given(code: &'static str, message: String) -> PsiError {
    NodeError::Given { code, message }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_plan_holds_and_its_paths_are_beside_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/psi-job.toml");
        let plan = JobPlan::load(&path).unwrap();
        assert_eq!(plan.input, path.with_file_name("customers.csv"));
        // Tests run in the package's folder.
        assert_eq!(JobPlan::load(Path::new("samples/psi-job.toml")).unwrap(), plan);
        let checked = plan.check().unwrap();
        assert_eq!((checked.protocol, checked.mode), (Protocol::Vole, Mode::Intersection));
        let counted = JobPlan { mode: "cardinality".into(), ..plan }.check().unwrap();
        assert_eq!(counted.protocol, Protocol::Ecdh);
    }

    #[test]
    fn words_that_are_not_understood_are_named() {
        let plan = JobPlan::new("carrier-a", "risk", "in.csv".into(), "out.csv".into());
        assert!(plan.check().is_ok());
        let columns = vec!["a".to_owned(), "b".to_owned()];
        for (plan, word) in [
            (JobPlan { provider: "A".into(), ..plan.clone() }, "provider"),
            (JobPlan { protocol: "rsa".into(), ..plan.clone() }, "protocol"),
            (JobPlan { mode: "all".into(), ..plan.clone() }, "mode"),
            (JobPlan { key_columns: columns, ..plan.clone() }, "phone has 1 columns"),
        ] {
            let error = plan.check().unwrap_err();
            assert_eq!(error.code(), "JOB_PLAN");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn columns_that_a_result_cannot_have_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in.csv");
        std::fs::write(&input, "phone,id,twice,twice\n").unwrap();
        let plan = JobPlan::new("carrier-a", "risk", input, dir.path().join("out.csv"));
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let tagged = columns(&["tag"]);
        for (own, payload) in [(vec![], tagged.clone()), (columns(&["id", "phone"]), vec![])] {
            JobPlan { columns: own, payload_columns: payload, ..plan.clone() }.check_columns().unwrap();
        }
        for (own, payload, code) in [
            (columns(&["ids"]), vec![], "COLUMN_MISSING"),
            (columns(&["twice"]), vec![], "COLUMN_REPEATED"),
            (columns(&["id", "id"]), vec![], "COLUMN_REPEATED"),
            (columns(&["id"]), columns(&["tag", "id"]), "COLUMN_REPEATED"),
            (vec![], columns(&["phone"]), "COLUMN_REPEATED"),
        ] {
            let plan = JobPlan { columns: own, payload_columns: payload, ..plan.clone() };
            assert_eq!(plan.check_columns().unwrap_err().code(), code, "{plan:?}");
        }
        let absent = JobPlan { key_columns: columns(&["telephone"]), columns: tagged, ..plan };
        assert_eq!(absent.check_columns().unwrap_err().code(), "COLUMN_MISSING");
    }

    #[test]
    fn every_kind_of_key_has_a_name_that_is_understood() {
        for kind in [KeyKind::Phone, KeyKind::PhoneIdName, KeyKind::SocialCredit, KeyKind::Text] {
            assert_eq!(key_kind(&key_name(kind)), Some(kind));
        }
        assert!(check_key("telephone", &[]).is_err());
        assert!(check_key("id_name", &["id".into(), "name".into()]).is_ok());
    }
}
