//! The parties as their operators set them up: made once, copied for every seed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use windvane::admin::{Admin, GrantTerms};
use windvane::clock::{Clock, SystemClock};
use windvane::config::Config;
use windvane::dataset::{CARRIER_DATASET, CARRIER_SCHEMA, DataSetConfig, Quality};
use windvane::error::NodeError;
use windvane::evidence::disk::SystemDisk;
use windvane::{Node, Surroundings};
use windvane_keys::authority::CertificateAuthority;
use windvane_keys::enrolment::EnrolmentRequest;
use windvane_keys::store::MemoryStore;
use windvane_protocols::identity::Family;

use super::net::{Counts, Life, Network, Rates};
use super::people::Facts;
use super::time::{Outside, virtual_time};
use super::{SimulationError, people};

/// The bank's machine.
pub const BANK: &str = "bank";
/// Another requester, whose messages the simulation makes itself.
pub const DESK: &str = "desk";
/// The carriers' machines.
pub const CARRIERS: [&str; 2] = ["carrier-a", "carrier-b"];

/// All parties, as the template makes them: requesters, then carriers.
pub const PARTIES: [&str; 4] = [BANK, DESK, CARRIERS[0], CARRIERS[1]];

/// The purpose that the grants name.
pub const PURPOSE: &str = "account_opening";

/// Hours that an epoch is valid: longer than the simulated time of a seed, clock jumps included.
const EPOCH_HOURS: u32 = 2_000;

/// Days that the standing grants run: the same.
const GRANT_DAYS: u64 = 80;

/// Everything that a seed begins with.
#[derive(Debug)]
pub struct Template {
    dir: TempDir,
    configs: Vec<Config>,
    authority: Arc<CertificateAuthority>,
    enrolments: Vec<String>,
    now_ms: u64,
}

/// Where a carrier is reached.
pub fn address(carrier: usize) -> String {
    format!("10.0.0.{}:7443", carrier + 2)
}

/// How a carrier reads its file.
pub fn data_set() -> DataSetConfig {
    let text = CARRIER_DATASET.replace("epoch_hours = 24", &format!("epoch_hours = {EPOCH_HOURS}"));
    // How old the data may be is the import's own test.
    DataSetConfig::parse(&text, CARRIER_SCHEMA)
        .expect("the shipped sample parses")
        .with_quality(Quality::anything())
}

/// What a requester is granted.
pub fn terms(requester: &str, families: &[Family]) -> GrantTerms {
    GrantTerms {
        requester: requester.parse().expect("a constant that is a party id"),
        data_sets: vec!["subscribers".parse().expect("a constant that is a data set's name")],
        families: families.to_vec(),
        purposes: vec![PURPOSE.to_owned()],
        columns: Vec::new(),
        epoch_hours: EPOCH_HOURS.into(),
        rate_per_s: 1_000_000,
        per_day: 10_000_000,
        total: 100_000_000,
        days: GRANT_DAYS,
        minimum_result: 0,
        psi: None,
        score: None,
        train: None,
    }
}

impl Template {
    /// Makes keys, certificates, data sets, snapshots and grants.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn make() -> Result<Self, SimulationError> {
        // Memory, where there is such a place: a simulation says itself what a disk loses.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory)? } else { TempDir::new()? };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = MemoryStore::new();
        let authority =
            CertificateAuthority::create(&store, "Simulation", 120, clock.now_ms(), &mut rand::rng())
                .map_err(NodeError::from)?;
        let mut configs = Vec::new();
        let mut admins = Vec::new();
        let mut enrolments = Vec::new();
        for (name, sections) in sections() {
            let config = configure(dir.path(), name, &sections)?;
            let admin = Admin::init(&config, clock.clone())?;
            let request = EnrolmentRequest::from_pem(&admin.enrolment_request()?).map_err(NodeError::from)?;
            let enrolment = authority.sign(&request, 100, clock.now_ms(), &mut rand::rng());
            let enrolment = enrolment.map_err(NodeError::from)?.to_pem();
            admin.import_enrolment(&enrolment)?;
            configs.push(config);
            admins.push(admin);
            enrolments.push(enrolment);
        }
        acquaint(&admins, &enrolments)?;
        for carrier in 0..CARRIERS.len() {
            publish(&admins[2 + carrier], dir.path(), carrier)?;
        }
        admins.drain(1..);
        install(&configs, admins.remove(0), &clock)?;
        Ok(Self { dir, configs, authority: Arc::new(authority), enrolments, now_ms: clock.now_ms() })
    }

    /// The configuration of a party, and its files.
    pub fn party(&self, name: &str) -> &Config {
        let found = self.configs.iter().find(|config| config.node.party == name);
        found.expect("a party of the template")
    }

    /// Who signs certificates, and every party's enrolment, in the order of [`PARTIES`].
    pub fn trust(&self) -> (Arc<CertificateAuthority>, Vec<String>) {
        (self.authority.clone(), self.enrolments.clone())
    }

    /// Where the template, and below it every seed, is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// When the template was finished, milliseconds of Unix time.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

/// Each party's name, and what its configuration has beside its name and keys.
fn sections() -> Vec<(&'static str, String)> {
    let carrier = |i: usize| {
        let name = CARRIERS[i];
        format!(
            "\n[[provider]]\nparty = \"{name}\"\naddress = \"{}\"\ndata_set = \"subscribers\"\n",
            address(i)
        )
    };
    let carriers: String = (0..CARRIERS.len()).map(carrier).collect();
    let bank = "[http]\nlisten = \"127.0.0.1:0\"\n[verification]\ndeadline_ms = 2000\n\
                countersign_interval_ms = 4000\n"
        .to_owned();
    let served = (0..CARRIERS.len()).map(|i| (CARRIERS[i], format!("[grpc]\nlisten = \"{}\"\n", address(i))));
    [(BANK, bank + &carriers), (DESK, carriers.clone())].into_iter().chain(served).collect()
}

fn configure(dir: &Path, name: &str, sections: &str) -> Result<Config, SimulationError> {
    let root = dir.join(name);
    fs::create_dir_all(&root)?;
    let file = root.join("windvane.toml");
    let head =
        format!("[node]\nparty = \"{name}\"\ndata_dir = \"data\"\n[keys]\npassphrase_file = \"pass\"\n");
    fs::write(&file, head + sections)?;
    let mut config = Config::load(&file).map_err(NodeError::from)?;
    // Checkpoints are made when the simulation asks for one: the log's own timer is not of the virtual time.
    config.log.checkpoint_interval_ms = u64::MAX;
    Ok(config)
}

/// Enrols requesters and carriers with each other, and grants.
fn acquaint(admins: &[Admin], enrolments: &[String]) -> Result<(), SimulationError> {
    let all = [Family::Phone, Family::PhoneId, Family::PhoneName, Family::PhoneIdName];
    for carrier in 2..admins.len() {
        for (requester, name) in [BANK, DESK].into_iter().enumerate() {
            admins[carrier].import_enrolment(&enrolments[requester])?;
            admins[requester].import_enrolment(&enrolments[carrier])?;
            let grant = admins[carrier].issue_grant(&terms(name, &all))?;
            admins[requester].accept_grant(&grant)?;
        }
    }
    Ok(())
}

fn publish(admin: &Admin, dir: &Path, carrier: usize) -> Result<(), SimulationError> {
    let file: PathBuf = dir.join(format!("{}.csv", CARRIERS[carrier]));
    fs::write(&file, people::file(carrier, &Facts::default()))?;
    let config = data_set();
    admin.import(&config, &file, &())?;
    // Twice: then there are publication ids of an earlier epoch, too.
    for _ in 0..2 {
        admin.build(&config, &())?;
        admin.publish(&config)?;
    }
    Ok(())
}

/// Lets the bank fetch both carriers' tables, from real nodes over a network without faults.
fn install(configs: &[Config], bank: Admin, clock: &Arc<dyn Clock>) -> Result<(), SimulationError> {
    let network = Network::new(0, Rates::default(), Arc::<Counts>::default());
    let bank = bank.over(network.attach(Life { machine: BANK, number: 0 }, None));
    virtual_time(&Arc::<Outside>::default())?.block_on(async {
        for (name, config) in CARRIERS.into_iter().zip(&configs[2..]) {
            let transport = network.attach(Life { machine: name, number: 0 }, None);
            let surroundings = Surroundings::new(clock.clone(), transport, Arc::new(SystemDisk));
            let node = Node::start_in(config, surroundings).await?;
            bank.fetch_snapshot(name, |_, _| ()).await?;
            node.stop().await?;
        }
        Ok(())
    })
}
