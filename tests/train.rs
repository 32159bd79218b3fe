//! Joint trainings between real nodes: two carriers of one schema that grow trees as one, a third provider, and a bank
//! that is a command. What comes of it is held against the same engine in the clear, integer for integer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use windvane::Node;
use windvane::admin::GrantTerms;
use windvane::audit::reconcile;
use windvane::config::Config;
use windvane::score::universe::SignedUniverse;
use windvane::train::audit::audit_training;
use windvane::train::features::{FeatureFile, Features, fit_schema};
use windvane::train::run::{
    BandPlan, Fault, MemberPlan, ModelKind, ModelPlan, TrainError, TrainFolder, TrainPlan, TrainProgress,
    TrainReport, TrainRunner, TrainedTrees, UnitPlan,
};
use windvane::train::sample::Kind;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::TrainTerms;
use windvane_protocols::party::SessionId;
use windvane_protocols::score::universe::Universe;
use windvane_protocols::train::binning::Binned;
use windvane_protocols::train::boosting::{Trained, Unit, train_clear};
use windvane_protocols::train::parameters::{Hyperparameters, Numbers};
use windvane_protocols::train::schema::TrainSchema;
use windvane_protocols::train::tree::ABSENT;

use crate::lab::{self, Lab, Party, events};

mod crafted;
mod ended;
mod kills;
mod lapsed;
mod recorded;
mod resumed;
mod served;

/// Rows of the bank's sample.
const SAMPLE: u64 = 600;

/// Who grows trees with whom.
pub(crate) type Units = &'static [&'static [&'static str]];

pub(crate) const UNITS: Units = &[&["carrier-a", "carrier-b"], &["police"]];

/// A bank, two carriers and a third provider, enrolled with each other; the providers run.
pub(crate) struct World {
    pub(crate) lab: Lab,
    units: Units,
    universe: Universe,
    pub(crate) bank: Party,
    pub(crate) providers: BTreeMap<&'static str, (Party, Option<Node>)>,
}

/// Tells when the first block is through, and pauses after each.
#[derive(Default)]
pub(crate) struct FirstBlock {
    pub(crate) through: tokio::sync::Notify,
    pause: Duration,
}

impl TrainProgress for FirstBlock {
    fn block(&self, done: u16, _total: u16, _auc: Option<f64>) {
        if done == 1 {
            self.through.notify_one();
        }
        std::thread::sleep(self.pause);
    }

    fn trees(&self, _done: u64, _total: u64) {}

    fn reading(&self) -> &dyn windvane::dataset::Progress {
        &()
    }
}

/// What a provider permits; carriers have their features named, and the third provider has not.
fn grant(provider: &str) -> GrantTerms {
    let train = TrainTerms {
        max_rows: 20_000,
        runs: 100,
        decoy_factor: 2,
        minimum_count: 50,
        max_blocks: 10,
        max_trees: 5,
        max_depth: 3,
        named_features: provider != "police",
        alone: provider == "police",
    };
    GrantTerms {
        data_sets: vec!["telecom-risk".parse().unwrap()],
        families: Vec::new(),
        purposes: vec!["risk_model".into()],
        train: Some(train),
        ..lab::terms()
    }
}

/// Something that looks drawn, the same every time.
fn mixed(position: u64, salt: u64) -> u64 {
    let mut state =
        (position + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..3 {
        state ^= state >> 29;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    state >> 33
}

/// The position of a row of the bank's sample.
fn sampled(row: u64) -> u64 {
    mixed(row, 9) % 16 + 16 * row
}

fn label(position: u64) -> bool {
    habit(position) + mixed(position, 8) % 60 > 90
}

/// A person's habit, from which everybody's features and the label follow, with noise.
fn habit(position: u64) -> u64 {
    mixed(position, 1) % 100
}

fn number(position: u64) -> String {
    format!("1380013{position:04}")
}

fn feature(position: u64, salt: u64) -> String {
    match mixed(position, salt) % 10 {
        0 => String::new(),
        noise => format!("{}", habit(position) + 7 * noise),
    }
}

pub(crate) fn table(path: &Path, positions: impl Iterator<Item = u64>, salts: &[u64]) {
    let names: Vec<_> = salts.iter().map(|salt| format!("feature-{salt}")).collect();
    let mut text = format!("number,{}\n", names.join(","));
    for position in positions {
        let cells: Vec<_> = salts.iter().map(|salt| feature(position, *salt)).collect();
        text += &format!("{},{}\n", number(position), cells.join(","));
    }
    std::fs::write(path, text).unwrap();
}

impl World {
    async fn new() -> Self {
        let world = Self::of(UNITS, &["1380013"], |dir| {
            let at = |file: &str| dir.join(file);
            table(&at("carrier-a.csv"), (0..10_000).filter(|p| p % 2 == 0), &[2, 3, 4]);
            table(&at("carrier-b.csv"), (0..10_000).filter(|p| p % 2 == 1), &[2, 3, 4]);
            table(&at("police.csv"), (0..10_000).filter(|p| p % 3 == 0), &[5, 6]);
        });
        let world = world.await;
        world.write_sample();
        world
    }

    /// Everybody in `units`, each with a table that bears its name, which `write` leaves in the lab's folder.
    async fn of(units: Units, segments: &[&str], write: impl FnOnce(&Path)) -> Self {
        Self::within(Lab::new(), units, segments, write).await
    }

    /// The same in a lab of the caller's.
    pub(crate) async fn within(lab: Lab, units: Units, segments: &[&str], write: impl FnOnce(&Path)) -> Self {
        let bank = lab.party("bank", "");
        let segments = segments.iter().map(|segment| segment.parse().unwrap()).collect();
        let universe = Universe::new("bank".parse().unwrap(), 1, segments).unwrap();
        let document = SignedUniverse::sign(universe.clone(), bank.admin.keys().signing_key());
        let at = |file: &str| lab.dir.path().join(file);
        std::fs::write(at("universe.pem"), document.to_pem()).unwrap();
        write(lab.dir.path());
        let names = units.concat();
        let parties: Vec<_> = names.iter().map(|name| lab.party(name, "")).collect();
        for unit in units.iter().filter(|unit| unit.len() > 1) {
            let first = &parties[names.iter().position(|name| *name == unit[0]).unwrap()];
            let fitted = at(&format!("{}.csv", unit[0]));
            let schema = first.admin.sign_train_schema(&fitted, "number", &[]).unwrap();
            std::fs::write(at("schema.pem"), schema).unwrap();
        }
        let pin = |party: &Party| {
            let identity = party.admin.score_identity();
            let print = identity.fingerprint();
            format!("[[train.peers]]\nparty = \"{}\"\nidentity = \"{print}\"\n", identity.party)
        };
        let pins: String = parties.iter().chain([&bank]).map(pin).collect();
        let mut providers = BTreeMap::new();
        for (name, mut party) in names.into_iter().zip(parties) {
            let alone = units.contains(&&[name][..]);
            let schema = if alone { "" } else { "schema = \"../schema.pem\"\n" };
            let section = format!(
                "[grpc]\nlisten = \"127.0.0.1:0\"\n[[train]]\nname = \"telecom-risk\"\nfile = \"../{name}.csv\"\n\
                 universe = \"../universe.pem\"\ngroup = \"joint-risk\"\n{schema}{pins}"
            );
            party.config = lab.config(name, &section);
            party.admin.import_enrolment(&bank.enrolment).unwrap();
            bank.admin.import_enrolment(&party.enrolment).unwrap();
            bank.admin.accept_grant(&party.admin.issue_grant(&grant(name)).unwrap()).unwrap();
            let node = lab.start(&party).await;
            providers.insert(name, (party, Some(node)));
        }
        let mut world = Self { lab, units, universe, bank, providers };
        world.know(&world.addresses(), "");
        world
    }

    /// Where the providers' nodes are.
    pub(crate) fn addresses(&self) -> BTreeMap<&'static str, SocketAddr> {
        let address = |(name, (_, node)): (&&'static str, &(Party, Option<Node>))| {
            Some((*name, node.as_ref()?.grpc_address()?))
        };
        self.providers.iter().filter_map(address).collect()
    }

    /// Writes addresses of providers into the bank's configuration, beside `more`.
    pub(crate) fn know(&mut self, addresses: &BTreeMap<&'static str, SocketAddr>, more: &str) {
        let section = |(name, address): (&&str, &SocketAddr)| {
            format!("[[provider]]\nparty = \"{name}\"\naddress = \"{address}\"\n")
        };
        let sections: String = addresses.iter().map(section).collect();
        self.bank.config = self.lab.config("bank", &format!("{more}{sections}"));
    }

    pub(crate) fn at(&self, file: &str) -> PathBuf {
        self.lab.dir.path().join(file)
    }

    fn write_sample(&self) {
        let positions = || (0..SAMPLE).map(sampled);
        let rows: String = positions().map(|p| format!("{},{}\n", number(p), u8::from(label(p)))).collect();
        std::fs::write(self.at("sample.csv"), format!("number,label\n{rows}")).unwrap();
        table(&self.at("bank.csv"), positions(), &[7]);
    }

    pub(crate) fn plan(&self, name: &str) -> TrainPlan {
        let unit = |members: &&[&str]| {
            let member = |name: &&str| MemberPlan {
                party: (*name).to_owned(),
                data_set: "telecom-risk".to_owned(),
                identity: self.providers[name].0.admin.score_identity().fingerprint().to_string(),
            };
            UnitPlan { members: members.iter().map(member).collect() }
        };
        TrainPlan {
            name: name.to_owned(),
            group: "joint-risk".to_owned(),
            by: "modeller".to_owned(),
            purpose: "risk_model".to_owned(),
            node: None,
            universe: self.at("universe.pem"),
            sample: self.at("sample.csv"),
            number: "number".to_owned(),
            label: "label".to_owned(),
            features: Some(self.at("bank.csv")),
            columns: Vec::new(),
            decoy_factor: 2,
            minimum_count: 50,
            held_out: 20,
            threads: 2,
            idle_s: 60,
            model: ModelPlan { blocks: Some(2), trees: Some(2), ..ModelPlan::usual(ModelKind::Boosted) },
            bands: vec![BandPlan { name: "all".to_owned(), share: 100 }],
            units: self.units.iter().map(unit).collect(),
        }
    }

    pub(crate) fn runner(&self) -> TrainRunner {
        TrainRunner::open(&self.bank.config, Arc::new(self.lab.clock.clone())).unwrap()
    }

    pub(crate) fn begun(&self, plan: &TrainPlan) -> SessionId {
        self.runner().begin(plan).unwrap()
    }

    pub(crate) async fn go_on(&self, training: SessionId) -> Result<TrainReport, TrainError> {
        self.go_on_telling(training, Arc::new(())).await
    }

    async fn go_on_telling(
        &self,
        training: SessionId,
        progress: Arc<dyn TrainProgress>,
    ) -> Result<TrainReport, TrainError> {
        let runner = self.runner();
        let report = runner.run(training, &progress).await;
        runner.close().await.unwrap();
        report
    }

    fn trees(&self, training: SessionId) -> TrainedTrees {
        TrainedTrees::read(&self.bank.config, training).unwrap()
    }

    /// The plan's numbers.
    fn numbers(plan: &TrainPlan) -> Hyperparameters {
        Hyperparameters::new(Numbers {
            blocks: plan.model.blocks.unwrap(),
            trees: plan.model.trees.unwrap(),
            ..plan.model.kind.numbers(plan.minimum_count)
        })
        .unwrap()
    }

    /// A party's table by bins: those of a carrier by the schema.
    fn features(&self, name: &str) -> Features {
        let file = |name: &str| FeatureFile::new(&self.at(&format!("{name}.csv")), "number", &[]);
        if !name.starts_with("carrier") {
            return Features::fit(&file(name), &self.universe, &()).unwrap();
        }
        let features = fit_schema(&file("carrier-a"), &()).unwrap();
        let schema = TrainSchema::new("carrier-a".parse().unwrap(), features).unwrap();
        Features::with_schema(&file(name), &self.universe, &schema, &()).unwrap()
    }

    /// Listed rows by bins: the bank's, which has no decoys, and those of every unit's members.
    fn binned_units(&self, positions: &[u64], kinds: &[Kind]) -> (Binned, Vec<Vec<Binned>>) {
        let own = self.features("bank").listed(positions, true).unwrap();
        let column = |feature: usize| {
            let bins = own.column(feature).iter().zip(kinds);
            bins.map(|(bin, kind)| if *kind == Kind::Decoy { ABSENT } else { *bin }).collect()
        };
        let columns = (0..own.bins().len()).map(column).collect();
        let unit = |members: &&[&str]| {
            let listed = |name: &&str| self.features(name).listed(positions, members.len() == 1).unwrap();
            members.iter().map(listed).collect()
        };
        (Binned::new(columns, own.bins().to_vec()).unwrap(), UNITS.iter().map(unit).collect())
    }

    /// The same engine in the clear, on what the training lists.
    fn clear(&self, trees: &TrainedTrees, plan: &TrainPlan) -> Trained {
        let numbers = Self::numbers(plan);
        let (own, units) = self.binned_units(trees.listed.positions(), trees.listed.kinds());
        let others: Vec<_> = units.into_iter().map(|unit| Unit::providers(unit, &numbers).unwrap()).collect();
        let holder = Unit::label_holder(own, &numbers);
        train_clear(&holder, &others, &trees.listed.labels(), &numbers).unwrap()
    }

    /// The training's trees are those of the engine in the clear.
    fn equals_clear(&self, training: SessionId, plan: &TrainPlan) -> TrainedTrees {
        let trees = self.trees(training);
        let clear = self.clear(&trees, plan);
        let found: Vec<_> = std::iter::once(trees.own.clone()).chain(trees.units.clone()).collect();
        assert_eq!(found, clear.trees);
        trees
    }

    pub(crate) fn receipt(&self, training: SessionId, party: &str) -> PathBuf {
        TrainFolder::path_of(&self.bank.config.node.data_dir, training).join(party).join("receipt")
    }

    async fn stop(&mut self, name: &str) {
        let node = self.providers.get_mut(name).unwrap().1.take().unwrap();
        node.stop().await.unwrap();
    }

    /// Stops everybody; gives the log folders, the bank's first.
    pub(crate) async fn stopped(mut self) -> (Party, Vec<Party>, Lab) {
        for name in self.units.concat() {
            if self.providers[name].1.is_some() {
                self.stop(name).await;
            }
        }
        let providers = std::mem::take(&mut self.providers).into_values().map(|(party, _)| party);
        (self.bank, providers.collect(), self.lab)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn carriers_as_one_and_a_third_provider_train_the_model_of_the_clear_engine() {
    let world = World::new().await;
    let plan = world.plan("fraud-1");
    let training = world.begun(&plan);
    let report = world.go_on(training).await.unwrap();
    let trees = world.equals_clear(training, &plan);
    assert!(trees.units.iter().flatten().any(|tree| tree.nodes().len() > 3), "trees have splits");
    let held_out = trees.listed.kinds().iter().filter(|kind| matches!(kind, Kind::HeldOut(_))).count();
    assert_eq!((report.rows + report.held_out, report.held_out), (SAMPLE as usize, held_out));
    assert!((80..160).contains(&held_out), "{held_out}");
    assert_eq!(report.listed, 3 * SAMPLE as usize);
    assert_eq!((report.decoy_factor, report.minimum_count, report.figures_of_held_out), (2, 50, true));
    // The joint model knows more than the bank alone does after its first trees.
    assert!(report.auc > 0.7 && report.auc_of_contributions > 0.7, "{report:?}");
    assert!(report.auc_by_block.iter().all(|auc| auc.unwrap() > 0.6));
    let (bank, providers, _lab) = world.stopped().await;
    for party in providers.iter().chain([&bank]) {
        let group = "joint-risk".parse().unwrap();
        let models = windvane::score::registry::Registry::new(
            windvane::score::folder::ScoreFolder::new(&windvane::identity::Layout::new(
                party.config.node.data_dir.clone(),
            ))
            .group(&group),
        );
        let version = models.open("fraud-1").unwrap();
        assert_eq!(hex::encode(version.digest()), report.card);
        assert!(version.record().approval.is_none() && version.record().parts.is_some());
    }
    let logs: Vec<_> = std::iter::once(&bank).chain(&providers).map(Party::log_dir).collect();
    let agreed = reconcile(&logs);
    assert!(agreed.is_ok(), "{agreed}");
    assert!(agreed.pairs.iter().all(|pair| (pair.jobs_agreed, pair.countersigned) == (1, 1)), "{agreed}");
    let results = events(&bank).into_iter().filter(|event| matches!(event, Event::TrainResult { .. }));
    assert_eq!(results.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_accepts_an_honest_training_and_a_second_run_gives_the_same_report() {
    let world = World::new().await;
    let plan = world.plan("fraud-2");
    let training = world.begun(&plan);
    let report = world.go_on(training).await.unwrap();
    assert_eq!(world.go_on(training).await.unwrap(), report);
    // Another training of this name could not end.
    assert_eq!(world.runner().begin(&plan).unwrap_err().code(), "TRAIN_MODEL_EXISTS");
    assert_eq!(world.runner().unfinished(&plan).unwrap(), None);
    for party in UNITS.concat() {
        let audit = audit_training(&world.bank.config, &world.receipt(training, party), None, &[]).unwrap();
        assert!(audit.is_ok(), "{audit}");
        let rows = audit.rows;
        assert_eq!((audit.blocks, rows.training, rows.held_out), (2, report.rows, report.held_out));
        assert_eq!(rows.training + rows.held_out + rows.decoys, report.listed);
    }
    // What is not there ends the audit with a finding.
    let receipt = world.receipt(training, "police");
    for (file, code) in [
        (world.receipt(training, "carrier-b"), "RECEIPT_MISSING"),
        (receipt.with_file_name("../model"), "TRAIN_MODEL"),
    ] {
        std::fs::remove_file(file).unwrap();
        let audit = audit_training(&world.bank.config, &receipt, None, &[]).unwrap();
        assert_eq!(audit.findings.last().unwrap().code, code, "{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_gone_or_refuses_is_named_with_what_was_being_done() {
    let mut world = World::new().await;
    let refused = TrainPlan { minimum_count: 49, ..world.plan("fraud-3") };
    let error = world.go_on(world.begun(&refused)).await.unwrap_err();
    assert_eq!(error.code(), "TRAIN_TERMS");
    let TrainError::Provider { stage, fault: Fault::Refused(_), .. } = &error else { panic!("{error}") };
    assert_eq!(*stage, "opening the session");
    let mut lone = world.plan("fraud-5");
    lone.units.truncate(1);
    lone.units[0].members.truncate(1);
    let error = world.go_on(world.begun(&lone)).await.unwrap_err();
    assert_eq!(error.code(), "GRANT_MISSING");
    assert!(
        error.to_string().contains("carrier-a") && error.to_string().contains("--train-alone"),
        "{error}"
    );
    world.stop("police").await;
    let error = world.go_on(world.begun(&world.plan("fraud-4"))).await.unwrap_err();
    assert_eq!(error.code(), "PEER_UNAVAILABLE");
    assert!(error.to_string().contains("police, opening the session"), "{error}");
}

/// The configuration of a process.
fn config() -> Config {
    crate::psi::process::config()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_under_way_ends_within_five_seconds_when_a_provider_is_revoked() {
    let world = World::new().await;
    let mut plan = world.plan("revoked");
    plan.model.blocks = Some(10);
    let training = world.begun(&plan);
    let first = Arc::new(FirstBlock { pause: Duration::from_millis(300), ..FirstBlock::default() });
    let revoke = async {
        first.through.notified().await;
        let list = world.lab.revoke(None, &[&world.providers["police"].0.enrolment]);
        world.bank.admin.import_revocations(list.der()).unwrap();
        Instant::now()
    };
    let (ended, revoked) = tokio::join!(world.go_on_telling(training, first.clone()), revoke);
    let error = ended.unwrap_err();
    assert_eq!(error.code(), "PARTNER_ENDED");
    assert!(error.to_string().contains("police") && revoked.elapsed() < Duration::from_secs(5), "{error}");
    assert_eq!(world.go_on(training).await.unwrap_err().code(), "PARTNER_MISSING");
    world.stopped().await;
}
