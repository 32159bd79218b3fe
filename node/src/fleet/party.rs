//! One party's folder before its node runs, as its operator would fill it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane_keys::files::write_public;
use windvane_protocols::audit::grant::{PsiTerms, TrainTerms};
use windvane_protocols::identity::Family;
use windvane_protocols::limits::{
    MAX_BLOCK_TREES, MAX_PSI_ROWS, MAX_TRAIN_BLOCKS, MAX_TRAINING_ROWS, MAX_TREE_DEPTH,
};

use super::authority::Authority;
use super::scoring::GROUP;
use super::{FleetError, PURPOSE};
use crate::admin::{Admin, GrantTerms, ScoreOutput};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::dataset::{CARRIER_DATASET, CARRIER_SCHEMA, DataSetConfig, ImportReport};
use crate::error::NodeError;
use crate::http::Token;

/// The carriers' data set.
const DATA_SET: &str = "subscribers";

/// No trial comes near it, and sums of it stay far from overflowing.
const PLENTY: u64 = 1 << 40;

/// Days that the grants run.
const GRANT_DAYS: u64 = 30;

/// All nodes and their caller share one machine, so the bank waits longer than in operation.
const DEADLINE_MS: u64 = 5_000;

/// Calls after which the score's monitor judges: more than any trial makes, because a trial's applicants are chosen
/// by class and their scores are not spread as those of all numbers.
const SCORE_WINDOW: u64 = 10_000_000;

/// A list of numbers that a carrier serves for set intersection.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    pub(super) name: &'a str,
    pub(super) file: &'a Path,
    pub(super) key_column: &'a str,
    pub(super) payload_column: Option<&'a str>,
}

/// A party whose node does not run.
#[derive(Debug)]
pub(super) struct Party {
    name: String,
    dir: PathBuf,
    admin: Admin,
}

impl Party {
    /// Makes the keys of a bank that knows no carrier yet.
    pub(super) fn bank(dir: &Path, name: &str) -> Result<Self, FleetError> {
        Self::create(dir, name, &bank_config(name, &[]))
    }

    /// Makes the keys of a carrier.
    pub(super) fn carrier(dir: &Path, name: &str) -> Result<Self, FleetError> {
        let party = Self::create(dir, name, &carrier_config(name))?;
        party.describe(CARRIER_DATASET, ("carrier-schema.toml", CARRIER_SCHEMA))?;
        Ok(party)
    }

    /// Makes the keys of a provider that takes part in scores alone.
    pub(super) fn scorer(dir: &Path, name: &str) -> Result<Self, FleetError> {
        Self::create(dir, name, &carrier_config(name))
    }

    /// Makes the keys of a carrier that serves lists for set intersection.
    pub(super) fn carrier_with_lists(dir: &Path, name: &str, lists: &[List<'_>]) -> Result<Self, FleetError> {
        let lists: String = lists.iter().map(list_config).collect();
        Self::create(dir, name, &(carrier_config(name) + &lists))
    }

    /// Puts a data set's configuration, and the schema that it names, where [`Self::publish`] finds them.
    pub(super) fn describe(&self, data_set: &str, (schema, text): (&str, &str)) -> Result<(), FleetError> {
        for (file, text) in [("dataset.toml", data_set), (schema, text)] {
            write_public(&self.dir.join(file), text.as_bytes()).map_err(self.failed())?;
        }
        Ok(())
    }

    /// Opens a party's folder that was filled before; its node may run.
    pub(super) fn open(dir: &Path, name: &str) -> Result<Self, FleetError> {
        let open = || Admin::open(&load(dir)?, Arc::new(SystemClock));
        let admin = open().map_err(FleetError::party(name))?;
        Ok(Self { name: name.to_owned(), dir: dir.to_owned(), admin })
    }

    fn create(dir: &Path, name: &str, config: &str) -> Result<Self, FleetError> {
        std::fs::create_dir_all(dir).map_err(FleetError::io(dir.display().to_string()))?;
        let create = || {
            write_public(&config_path(dir), config.as_bytes())?;
            Admin::init(&load(dir)?, Arc::new(SystemClock))
        };
        let admin = create().map_err(FleetError::party(name))?;
        Ok(Self { name: name.to_owned(), dir: dir.to_owned(), admin })
    }

    /// Has the party's request signed, and takes over its own enrolment, which is for its partners too.
    pub(super) fn enrol(&self, authority: &Authority) -> Result<String, FleetError> {
        let request = self.admin.enrolment_request().map_err(self.failed())?;
        let enrolment = authority.sign(&request).map_err(self.failed())?;
        self.import_enrolment(&enrolment)?;
        Ok(enrolment)
    }

    /// The party's own enrolment, once it has one.
    pub(super) fn enrolment(&self) -> Result<String, FleetError> {
        let path = crate::identity::Layout::new(self.dir.join("data")).enrolment();
        crate::admin::read_text(&path).map_err(self.failed())
    }

    /// Takes over an enrolment.
    pub(super) fn import_enrolment(&self, pem: &str) -> Result<(), FleetError> {
        self.admin.import_enrolment(pem).map(drop).map_err(self.failed())
    }

    /// Issues a grant of everything to the bank.
    pub(super) fn grant(&self, bank: &str) -> Result<String, FleetError> {
        let families = vec![Family::Phone, Family::PhoneId, Family::PhoneName, Family::PhoneIdName];
        self.issue(&GrantTerms { families, ..plenty(bank, DATA_SET) })
    }

    /// Issues a grant of everything and of joint scores, so that both ride in one session.
    pub(super) fn grant_with_score(&self, bank: &str) -> Result<String, FleetError> {
        let families = vec![Family::Phone, Family::PhoneId, Family::PhoneName, Family::PhoneIdName];
        let mut terms =
            GrantTerms { families, score: Some(ScoreOutput::Everything), ..plenty(bank, DATA_SET) };
        terms.data_sets.push(GROUP.parse().expect("a constant that is a group's name"));
        self.issue(&terms)
    }

    /// Issues a grant of joint scores alone.
    pub(super) fn grant_score(&self, bank: &str) -> Result<String, FleetError> {
        self.issue(&GrantTerms { score: Some(ScoreOutput::Everything), ..plenty(bank, GROUP) })
    }

    /// Issues a grant of lookups by telephone number alone.
    pub(super) fn grant_numbers(&self, bank: &str) -> Result<String, FleetError> {
        self.issue(&GrantTerms { families: vec![Family::Phone], ..plenty(bank, DATA_SET) })
    }

    /// Issues a grant of any set intersection with lists, with these columns as payload.
    pub(super) fn grant_intersection(
        &self,
        bank: &str,
        lists: &[&str],
        payload_columns: &[&str],
    ) -> Result<String, FleetError> {
        let psi = PsiTerms {
            max_requester_rows: MAX_PSI_ROWS,
            max_provider_rows: MAX_PSI_ROWS,
            runs: PLENTY,
            repeated_input: true,
            payload_columns: payload_columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let name = |list: &&str| list.parse().expect("a constant that is a list's name");
        let data_sets = lists.iter().map(name).collect();
        self.issue(&GrantTerms { data_sets, psi: Some(psi), ..plenty(bank, DATA_SET) })
    }

    /// Issues a grant of any training on a table.
    pub(super) fn grant_training(&self, bank: &str, table: &str) -> Result<String, FleetError> {
        let train = TrainTerms {
            max_rows: MAX_TRAINING_ROWS as u64,
            runs: PLENTY,
            decoy_factor: 2,
            minimum_count: 50,
            max_blocks: MAX_TRAIN_BLOCKS.into(),
            max_trees: MAX_BLOCK_TREES.into(),
            max_depth: MAX_TREE_DEPTH.into(),
            named_features: false,
            alone: true,
        };
        self.issue(&GrantTerms { train: Some(train), ..plenty(bank, table) })
    }

    /// Adds sections to the party's configuration.
    pub(super) fn extend_config(&mut self, sections: &str) -> Result<(), FleetError> {
        let reopen = || {
            let path = config_path(&self.dir);
            let text = std::fs::read_to_string(&path).map_err(NodeError::io(path.display().to_string()))?;
            write_public(&path, (text + sections).as_bytes())?;
            Admin::open(&load(&self.dir)?, Arc::new(SystemClock))
        };
        self.admin = reopen().map_err(self.failed())?;
        Ok(())
    }

    fn issue(&self, terms: &GrantTerms) -> Result<String, FleetError> {
        self.admin.issue_grant(terms).map_err(self.failed())
    }

    /// Accepts a carrier's grant.
    pub(super) fn accept(&self, grant: &str) -> Result<(), FleetError> {
        self.admin.accept_grant(grant).map(drop).map_err(self.failed())
    }

    /// Imports a carrier's file, builds its table and publishes it.
    pub(super) fn publish(&self, file: &Path, note: &dyn Fn(&str)) -> Result<ImportReport, FleetError> {
        note(&format!("{}: importing and building {}", self.name, file.display()));
        let publish = || {
            let config = DataSetConfig::load(&self.dir.join("dataset.toml"))?;
            let report = self.admin.import(&config, file, &())?;
            self.admin.build(&config, &())?;
            self.admin.publish(&config)?;
            Ok::<_, NodeError>(report)
        };
        publish().map_err(self.failed())
    }

    /// Writes the carriers' addresses into the bank's configuration.
    pub(super) fn know(&mut self, carriers: &[(String, SocketAddr)]) -> Result<(), FleetError> {
        self.know_all(carriers, &[])
    }

    /// Writes the addresses of carriers and of those who take part in scores alone into the bank's configuration.
    pub(super) fn know_all(
        &mut self,
        carriers: &[(String, SocketAddr)],
        scorers: &[(String, SocketAddr)],
    ) -> Result<(), FleetError> {
        let reopen = || {
            let config =
                bank_config(&self.name, carriers) + &scorers.iter().map(scorer_section).collect::<String>();
            write_public(&config_path(&self.dir), config.as_bytes())?;
            Admin::open(&load(&self.dir)?, Arc::new(SystemClock))
        };
        self.admin = reopen().map_err(self.failed())?;
        Ok(())
    }

    /// Downloads a carrier's snapshot.
    pub(super) async fn fetch(&self, carrier: &str) -> Result<(), FleetError> {
        self.admin.fetch_snapshot(carrier, |_, _| ()).await.map(drop).map_err(self.failed())
    }

    /// Admits a caller of the REST interface.
    pub(super) fn admit(&self, caller: &str) -> Result<Token, FleetError> {
        self.admin.admit_caller(caller).map_err(self.failed())
    }

    /// The verifier key of the party's log.
    pub(super) fn log_verifier(&self) -> Result<String, FleetError> {
        self.admin.log_verifier().map_err(self.failed())
    }

    /// The party's folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The party's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The operator's commands.
    pub(super) const fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Lets go of the files, for the node: name and folder.
    pub(super) fn close(self) -> (String, PathBuf) {
        (self.name, self.dir)
    }

    fn failed<E: Into<NodeError>>(&self) -> impl Fn(E) -> FleetError + use<E> {
        FleetError::party(&self.name)
    }
}

/// Where a party's configuration is.
pub(super) fn config_path(dir: &Path) -> PathBuf {
    dir.join("node.toml")
}

/// Reads a party's configuration.
pub(super) fn load(dir: &Path) -> Result<Config, NodeError> {
    Ok(Config::load(&config_path(dir))?)
}

/// Terms that permit nothing yet, but plenty of it.
fn plenty(bank: &str, data_set: &str) -> GrantTerms {
    GrantTerms {
        requester: bank.parse().expect("a constant that is a party id"),
        data_sets: vec![data_set.parse().expect("a constant that is a data set's name")],
        families: Vec::new(),
        purposes: vec![PURPOSE.to_owned()],
        columns: Vec::new(),
        epoch_hours: DataSetConfig::carrier().epoch_hours().into(),
        rate_per_s: PLENTY,
        per_day: PLENTY,
        total: PLENTY,
        days: GRANT_DAYS,
        minimum_result: 0,
        score: None,
        train: None,
        psi: None,
    }
}

fn common(name: &str) -> String {
    format!("[node]\nparty = \"{name}\"\ndata_dir = \"data\"\n\n[keys]\npassphrase_file = \"passphrase\"\n\n")
}

fn carrier_config(name: &str) -> String {
    common(name) + "[grpc]\nlisten = \"127.0.0.1:0\"\n"
}

fn list_config(list: &List<'_>) -> String {
    let List { name, file, key_column, payload_column } = list;
    let file = toml::Value::String(file.display().to_string());
    let payload: Vec<_> = payload_column.iter().collect();
    format!(
        "\n[[psi]]\nlist = \"{name}\"\nfile = {file}\nkey = \"phone\"\nkey_columns = [\"{key_column}\"]\n\
         payload_columns = {payload:?}\n"
    )
}

fn bank_config(name: &str, carriers: &[(String, SocketAddr)]) -> String {
    let mut text = common(name) + "[http]\nlisten = \"127.0.0.1:0\"\n\n[verification]\n";
    // Writing to a string cannot fail.
    let _ = write!(text, "deadline_ms = {DEADLINE_MS}\n\n[score]\nwindow = {SCORE_WINDOW}\n");
    for (party, address) in carriers {
        let _ = write!(
            text,
            "\n[[provider]]\nparty = \"{party}\"\naddress = \"{address}\"\ndata_set = \"{DATA_SET}\"\n"
        );
    }
    text
}

/// A provider without a data set takes part in scores alone.
fn scorer_section((party, address): &(String, SocketAddr)) -> String {
    format!("\n[[provider]]\nparty = \"{party}\"\naddress = \"{address}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_configurations_are_valid() {
        let carriers = [("carrier-a".to_owned(), "127.0.0.1:7443".parse().unwrap())];
        let bank = Config::parse(&bank_config("bank", &carriers)).unwrap();
        assert_eq!(bank.providers[0].address, "127.0.0.1:7443");
        let config =
            bank_config("bank", &carriers) + &scorer_section(&("authority".to_owned(), carriers[0].1));
        let bank = Config::parse(&config).unwrap();
        assert_eq!((bank.providers[1].party.as_str(), &bank.providers[1].data_set), ("authority", &None));
        assert!(Config::parse(&carrier_config("carrier-a")).unwrap().grpc.is_some());
        let file = Path::new("a \"list\".csv");
        let list = List { name: "risk", file, key_column: "手机号", payload_column: Some("风险标签") };
        let config = Config::parse(&(carrier_config("carrier-a") + &list_config(&list))).unwrap();
        assert_eq!((config.lists[0].file.as_path(), config.lists[0].payload_columns.len()), (file, 1));
        let bare = List { payload_column: None, ..list };
        let config = Config::parse(&(carrier_config("carrier-a") + &list_config(&bare))).unwrap();
        assert!(config.lists[0].payload_columns.is_empty());
    }
}
