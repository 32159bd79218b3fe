//! Scoring groups between real nodes: setups, what ends them, and what survives a kill.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use windvane::Node;
use windvane::admin::Admin;
use windvane::error::NodeError;
use windvane::identity::Layout;
use windvane::score::folder::ScoreFolder;
use windvane::score::plan::GroupPlan;
use windvane::score::setup::{Round, SetupProgress, SetupReport};
use windvane::score::status::EpochStatus;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::limits::MAX_EPOCH_STEP;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Member;
use windvane_protocols::score::group::{Fingerprint, GroupTerms};
use windvane_protocols::score::shares::Evidence;
use windvane_protocols::transcript::{Hash, Record as _};

use crate::lab::{Lab, Party, events, failures};

mod attacks;
pub(crate) mod calls;
mod hostile;
mod kills;
mod liars;
mod restored;

/// The providers of the tests' group.
const PROVIDERS: [&str; 3] = ["carrier-a", "carrier-b", "police"];

const CARD: &str = "name = \"fraud-1\"\n[[knot]]\nsum = 0\nprobability = 0.001\n[[knot]]\nsum = 700\n\
    probability = 0.9\n[[band]]\nname = \"low\"\nfrom = 0\nshare = 0.9\n[[band]]\nname = \"high\"\nfrom = 400\n\
    share = 0.1\n";

/// A bank and three providers that are enrolled with it; the providers run.
pub(crate) struct Group {
    pub(crate) lab: Lab,
    pub(crate) bank: Party,
    pub(crate) providers: Vec<Party>,
    pub(crate) nodes: Vec<Option<Node>>,
}

impl Group {
    /// Nobody has joined yet.
    pub(crate) async fn new() -> Self {
        let lab = Lab::new();
        let provider = |name: &&str| lab.party(name, "[grpc]\nlisten = \"127.0.0.1:0\"\n");
        let providers: Vec<_> = PROVIDERS.iter().map(provider).collect();
        let mut nodes = Vec::new();
        let mut sections = "[http]\nlisten = \"127.0.0.1:0\"\n".to_owned();
        for party in &providers {
            let node = lab.start(party).await;
            let (name, address) = (&party.config.node.party, node.grpc_address().unwrap());
            sections += &format!(
                "[[provider]]\nparty = \"{name}\"\naddress = \"{address}\"\ndata_set = \"subscribers\"\n"
            );
            nodes.push(Some(node));
        }
        let bank = lab.party("bank", &sections);
        for (provider, node) in providers.iter().zip(nodes.iter().flatten()) {
            provider.admin.import_enrolment(&bank.enrolment).unwrap();
            bank.admin.import_enrolment(&provider.enrolment).unwrap();
            provider.taken_over_by(node).await;
        }
        let segments = vec!["1380013".parse().unwrap(), "1391234".parse().unwrap()];
        let universe = bank.admin.score_universe(segments, 1).unwrap();
        std::fs::write(lab.dir.path().join("universe.pem"), universe).unwrap();
        std::fs::write(lab.dir.path().join("card.toml"), CARD).unwrap();
        Self { lab, bank, providers, nodes }
    }

    /// All providers have joined with a threshold of two.
    pub(crate) async fn joined() -> Self {
        let group = Self::new().await;
        for index in 0..PROVIDERS.len() {
            group.join(index, &group.plan(2)).await;
        }
        group
    }

    /// The group file.
    fn file(&self, threshold: usize) -> String {
        let section = |head: &str, party: &Party| {
            let identity = party.admin.score_identity();
            let (name, fingerprint) = (&identity.party, identity.fingerprint());
            format!("{head}\nparty = \"{name}\"\nfingerprint = \"{fingerprint}\"\n")
        };
        let providers = self.providers.iter().map(|party| section("[[provider]]", party));
        let head = "group = \"joint-risk\"\nuniverse = \"universe.pem\"\nmodel = \"card.toml\"\n";
        let bank = section("[bank]", &self.bank);
        format!("{head}threshold = {threshold}\n{bank}{}", providers.collect::<String>())
    }

    /// A group file's plan.
    fn plan_of(&self, text: &str) -> Result<GroupPlan, NodeError> {
        let path = self.lab.dir.path().join("group.toml");
        std::fs::write(&path, text).unwrap();
        Ok(GroupPlan::load(&path)?)
    }

    pub(crate) fn plan(&self, threshold: usize) -> GroupPlan {
        self.plan_of(&self.file(threshold)).unwrap()
    }

    async fn join(&self, index: usize, plan: &GroupPlan) {
        self.providers[index].admin.score_join(plan).unwrap();
        self.providers[index].taken_over_by(self.node(index)).await;
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().unwrap()
    }

    /// The bank sets up with a threshold of two.
    pub(crate) async fn setup(&self) -> Result<SetupReport, NodeError> {
        self.bank.admin.score_setup(&self.plan(2), None, &()).await
    }

    /// Sets up, and stops a provider when a round begins.
    async fn setup_stopping(&mut self, index: usize, round: Round) {
        let stopper = Stopper { round, node: Mutex::new(self.nodes[index].take()) };
        let error = self.bank.admin.score_setup(&self.plan(2), None, &stopper).await.unwrap_err();
        assert!(["PEER_UNAVAILABLE", "PEER_ERROR"].contains(&error.code()), "{error:?}");
    }

    /// Starts a provider again, at its new address.
    async fn restart(&mut self, index: usize) {
        let node = self.started(index).await;
        self.bank.config.providers[index].address = node.grpc_address().unwrap().to_string();
        self.bank.admin = Admin::open(&self.bank.config, Arc::new(self.lab.clock.clone())).unwrap();
        self.nodes[index] = Some(node);
    }

    /// A node that was abandoned holds its log until its last connection has ended.
    async fn started(&self, index: usize) -> Node {
        for _ in 0..600 {
            let clock = Arc::new(self.lab.clock.clone());
            match Node::start(&self.providers[index].config, clock).await {
                Err(error) if error.code() == "LOG_IN_USE" => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                started => return started.unwrap(),
            }
        }
        panic!("an abandoned node holds on to its log");
    }

    async fn stop(&mut self) {
        for node in self.nodes.drain(..).flatten() {
            node.stop().await.unwrap();
        }
    }
}

/// Ends a node when a round begins. It is stopped in good order so that it surely does not hear of the round; what it
/// keeps of a setup is the same as after a kill, which `hostile.rs` rehearses.
struct Stopper {
    round: Round,
    node: Mutex<Option<Node>>,
}

impl SetupProgress for Stopper {
    fn round(&self, _epoch: u64, round: Round, done: usize, _total: usize) {
        let victim = if round == self.round && done == 0 { self.node.lock().unwrap().take() } else { None };
        if let Some(node) = victim {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(node.stop())).unwrap();
        }
    }

    fn lost(&self, _epoch: u64, _provider: &PartyId, _code: &str) {}
}

fn name() -> DataSet {
    "joint-risk".parse().unwrap()
}

fn epochs(party: &Party) -> Vec<EpochStatus> {
    party.admin.score_status(Some(&name())).unwrap().remove(0).epochs
}

/// A running provider's part in an epoch that it has finished.
fn member(party: &Party, node: &Node, epoch: u64) -> Option<Arc<Member>> {
    let context = epochs(party).into_iter().find(|known| known.epoch == epoch)?.context?;
    let context: Hash = hex::decode(context).unwrap().try_into().unwrap();
    node.provider().unwrap().members().by_context(&context)
}

/// The setups in a log: epoch, state and digest.
fn told(party: &Party) -> Vec<(u64, String, Hash)> {
    let told = |event| match event {
        Event::ScoreEpoch { epoch, state, digest, .. } => Some((epoch, state, digest)),
        _ => None,
    };
    events(party).into_iter().filter_map(told).collect()
}

fn states(party: &Party) -> Vec<String> {
    told(party).into_iter().map(|(epoch, state, _)| format!("{state} {epoch}")).collect()
}

fn failures_of_bank(bank: &Party) -> Vec<(String, String)> {
    let failed = |event| match event {
        Event::Failed { peer, code, .. } => Some((peer.to_string(), code)),
        _ => None,
    };
    events(bank).into_iter().filter_map(failed).collect()
}

fn epoch_dir(party: &Party, epoch: u64) -> PathBuf {
    party.config.node.data_dir.join("score/joint-risk/epochs").join(epoch.to_string())
}

/// The messages that a party keeps of a finished epoch.
fn evidence(party: &Party, epoch: u64) -> Evidence {
    Evidence::decode(&std::fs::read(epoch_dir(party, epoch).join("evidence")).unwrap()).unwrap()
}

fn terms(party: &Party, epoch: u64) -> GroupTerms {
    evidence(party, epoch).terms
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_set_up_and_all_parties_keep_and_log_the_same() {
    let mut group = Group::joined().await;
    let report = group.setup().await.unwrap();
    assert_eq!((report.epoch, report.threshold, report.lost.len()), (1, 2, 0));
    assert_eq!(report.providers, PROVIDERS);
    let context: Hash = hex::decode(&report.context).unwrap().try_into().unwrap();
    for (index, provider) in group.providers.iter().enumerate() {
        let member = group.node(index).provider().unwrap().members().by_context(&context).unwrap();
        assert_eq!((member.party().as_str(), member.epoch().number()), (PROVIDERS[index], 1));
        assert_eq!(evidence(provider, 1), evidence(&group.bank, 1));
        assert!(!epoch_dir(provider, 1).join("setup").exists());
    }
    assert_eq!(group.setup().await.unwrap().epoch, 2);
    group.stop().await;
    let transcript: Hash = hex::decode(&report.transcript).unwrap().try_into().unwrap();
    for party in group.providers.iter().chain([&group.bank]) {
        let status = epochs(party).remove(0);
        assert_eq!((status.state, status.context.as_deref()), ("finished", Some(report.context.as_str())));
        assert_eq!(status.transcript.as_deref(), Some(report.transcript.as_str()));
        let told = told(party);
        let digest = |state: &str| told.iter().find(|(e, s, _)| *e == 1 && s == state).map(|(.., d)| *d);
        assert_eq!(digest("begun"), Some(terms(party, 1).encode().digest()));
        assert_eq!((digest("confirmed"), digest("finished")), (Some(transcript), Some(context)));
    }
    let joined = told(&group.providers[0]).remove(0);
    assert_eq!(joined, (0, "joined".to_owned(), group.plan(2).digest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_there_again_after_a_restart() {
    let mut group = Group::joined().await;
    let report = group.setup().await.unwrap();
    let context: Hash = hex::decode(&report.context).unwrap().try_into().unwrap();
    group.stop().await;
    let node = group.lab.start(&group.providers[2]).await;
    let members = node.provider().unwrap().members();
    assert_eq!(members.by_context(&context).unwrap().party().as_str(), "police");
    assert!(members.by_context(&[0; 64]).is_none());
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_epoch_stays_when_the_groups_plan_is_damaged() {
    let mut group = Group::joined().await;
    let report = group.setup().await.unwrap();
    let context: Hash = hex::decode(&report.context).unwrap().try_into().unwrap();
    let (provider, members) = (&group.providers[0], group.node(0).provider().unwrap().members());
    std::fs::write(provider.config.node.data_dir.join("score/joint-risk/plan"), b"no plan").unwrap();
    group.node(0).provider().unwrap().reload().unwrap();
    assert!(members.group(&name()).is_none());
    assert!(members.by_context(&context).is_some());
    group.stop().await;
    let node = group.lab.start(&group.providers[0]).await;
    assert!(node.provider().unwrap().members().by_context(&context).is_some());
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_a_kill_left_beside_its_evidence_is_told_as_finished() {
    let mut group = Group::joined().await;
    group.setup().await.unwrap();
    let dir = epoch_dir(&group.bank, 1);
    std::fs::copy(dir.join("evidence"), dir.join("setup")).unwrap();
    assert_eq!(group.bank.admin.score_setup(&group.plan(2), Some(2), &()).await.unwrap().epoch, 2);
    assert!(!dir.join("setup").exists());
    group.stop().await;
    assert_eq!(
        states(&group.bank),
        ["begun 1", "confirmed 1", "finished 1", "finished 1", "begun 2", "confirmed 2", "finished 2"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_epoch_and_a_folder_without_a_plan_do_not_hide_the_rest() {
    let mut group = Group::joined().await;
    group.setup().await.unwrap();
    group.setup().await.unwrap();
    let score = group.bank.config.node.data_dir.join("score");
    std::fs::create_dir(score.join("other")).unwrap();
    std::fs::write(epoch_dir(&group.bank, 1).join("evidence"), b"no evidence").unwrap();
    let known = group.bank.admin.score_status(None).unwrap();
    assert_eq!(known.iter().map(|known| known.group.as_str()).collect::<Vec<_>>(), ["joint-risk"]);
    let states = known[0].epochs.iter().map(|epoch| (epoch.epoch, epoch.state));
    assert_eq!(states.collect::<Vec<_>>(), [(1, "damaged"), (2, "finished")]);
    let other = group.bank.admin.score_status(Some(&"other".parse().unwrap()));
    assert_eq!(other.unwrap_err().code(), "SCORE_GROUP_UNKNOWN");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_did_not_join_refuses_and_the_epoch_goes_on_when_it_has() {
    let mut group = Group::new().await;
    group.join(0, &group.plan(2)).await;
    group.join(1, &group.plan(2)).await;
    let error = group.setup().await.unwrap_err();
    assert_eq!(error.code(), "SCORE_GROUP_UNKNOWN");
    assert!(error.to_string().starts_with("police: "), "{error}");
    assert_eq!(failures(&group.providers[2], group.node(2)).await, ["SCORE_GROUP_UNKNOWN"]);
    assert_eq!(failures_of_bank(&group.bank), [("police".to_owned(), "SCORE_GROUP_UNKNOWN".to_owned())]);
    group.join(2, &group.plan(2)).await;
    assert_eq!(group.setup().await.unwrap().epoch, 1);
    group.stop().await;
    assert_eq!(states(&group.providers[0]), ["joined 0", "begun 1", "confirmed 1", "finished 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_joined_with_another_threshold_refuses() {
    let mut group = Group::joined().await;
    group.join(1, &group.plan(3)).await;
    let error = group.setup().await.unwrap_err();
    assert_eq!(error.code(), "SCORE_TERMS_DIFFER");
    assert!(error.to_string().contains("carrier-b: the threshold"), "{error}");
    assert_eq!(failures(&group.providers[1], group.node(1)).await, ["SCORE_TERMS_DIFFER"]);
    // With the same file everywhere, other terms are another epoch.
    for index in [0, 2] {
        group.join(index, &group.plan(3)).await;
    }
    let report = group.bank.admin.score_setup(&group.plan(3), None, &()).await.unwrap();
    assert_eq!((report.epoch, report.threshold), (2, 3));
    assert_eq!(epochs(&group.bank).iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [2]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_fingerprint_is_found_before_anything_is_sent() {
    let mut group = Group::new().await;
    let pin = |party: &Party| party.admin.score_identity().fingerprint().to_string();
    let wrong = "ab".repeat(32);
    assert!(wrong.parse::<Fingerprint>().is_ok());
    let of = |party: &Party| group.file(2).replace(&pin(party), &wrong);
    let plan = group.plan_of(&of(&group.providers[1])).unwrap();
    let error = group.bank.admin.score_setup(&plan, None, &()).await.unwrap_err();
    assert_eq!(error.code(), "SCORE_FINGERPRINT");
    for text in ["carrier-b", &wrong, &pin(&group.providers[1])] {
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(group.providers[1].admin.score_join(&plan).unwrap_err().code(), "SCORE_NOT_MEMBER");
    assert_eq!(group.bank.admin.score_join(&plan).unwrap_err().code(), "SCORE_NOT_MEMBER");
    assert!(!group.bank.config.node.data_dir.join("score").exists());
    // The universe is signed by the bank, whose pin is wrong.
    assert_eq!(group.plan_of(&of(&group.bank)).unwrap_err().code(), "SCORE_FINGERPRINT");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_an_address_and_one_that_is_not_enrolled_are_named() {
    let mut group = Group::joined().await;
    group.bank.config.providers.remove(1);
    let clock = Arc::new(group.lab.clock.clone());
    let admin = Admin::open(&group.bank.config, clock).unwrap();
    let error = admin.score_setup(&group.plan(2), None, &()).await.unwrap_err();
    assert_eq!(error.code(), "PROVIDER_UNKNOWN");
    assert!(error.to_string().contains("[[provider]] section with party = \"carrier-b\""), "{error}");
    let stranger = group.lab.party("stranger", "[grpc]\nlisten = \"127.0.0.1:0\"\n");
    let pin = |party: &Party| party.admin.score_identity().fingerprint().to_string();
    let text = group.file(2).replace(&pin(&group.providers[2]), &pin(&stranger));
    let plan = group.plan_of(&text.replace("\"police\"", "\"stranger\"")).unwrap();
    assert_eq!(stranger.admin.score_join(&plan).unwrap_err().code(), "PARTNER_MISSING");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_away_at_the_end_finishes_after_its_restart() {
    let mut group = Group::joined().await;
    group.setup_stopping(0, Round::Finish).await;
    assert_eq!(epochs(&group.bank)[0].state, "confirmed");
    group.restart(0).await;
    assert_eq!(epochs(&group.providers[0])[0].state, "confirmed");
    let report = group.setup().await.unwrap();
    assert_eq!((report.epoch, report.lost.len()), (1, 0));
    assert_eq!(evidence(&group.providers[0], 1), evidence(&group.bank, 1));
    let context: Hash = hex::decode(&report.context).unwrap().try_into().unwrap();
    assert!(group.node(0).provider().unwrap().members().by_context(&context).is_some());
    group.stop().await;
    for provider in &group.providers {
        assert_eq!(states(provider), ["joined 0", "begun 1", "confirmed 1", "finished 1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_restarted_before_its_confirmation_costs_the_epoch_and_is_named() {
    let mut group = Group::joined().await;
    group.setup_stopping(1, Round::Deal).await;
    group.restart(1).await;
    let report = group.setup().await.unwrap();
    assert_eq!(report.epoch, 2);
    let lost = &report.lost[0];
    let found = (lost.epoch, lost.provider.as_str(), lost.code.as_str());
    assert_eq!(found, (1, "carrier-b", "SCORE_SETUP_UNKNOWN"));
    group.stop().await;
    assert_eq!(states(&group.bank), ["begun 1", "failed 1", "begun 2", "confirmed 2", "finished 2"]);
    assert!(!epoch_dir(&group.bank, 1).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_that_missed_the_farthest_step_follow_the_next() {
    let mut group = Group::joined().await;
    let layout = Layout::new(group.bank.config.node.data_dir.clone());
    let name: DataSet = "joint-risk".parse().unwrap();
    ScoreFolder::new(&layout).ledger().unwrap().choose(&name, MAX_EPOCH_STEP).unwrap();
    let epoch = 2 * MAX_EPOCH_STEP;
    let report = group.bank.admin.score_setup(&group.plan(2), Some(epoch), &()).await.unwrap();
    assert_eq!(report.epoch, epoch);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_used_once_on_either_side() {
    let mut group = Group::joined().await;
    group.bank.admin.score_setup(&group.plan(2), Some(7), &()).await.unwrap();
    for used in [0, 6, 7] {
        let error = group.bank.admin.score_setup(&group.plan(2), Some(used), &()).await.unwrap_err();
        assert_eq!(error.code(), "SCORE_EPOCH_USED", "{used}");
    }
    let error = group.bank.admin.score_setup(&group.plan(2), Some(u64::MAX), &()).await.unwrap_err();
    assert_eq!(error.code(), "SCORE_EPOCH_TOO_LARGE");
    // A bank that lost its memory is held by the providers'.
    std::fs::remove_file(group.bank.config.node.data_dir.join("score/ledger")).unwrap();
    let error = group.bank.admin.score_setup(&group.plan(2), Some(5), &()).await.unwrap_err();
    assert_eq!(error.code(), "SCORE_EPOCH_USED");
    assert!(error.to_string().starts_with("carrier-a: epochs up to 7 "), "{error}");
    assert_eq!(failures(&group.providers[0], group.node(0)).await, ["SCORE_EPOCH_USED"]);
    assert_eq!(group.bank.admin.score_setup(&group.plan(2), Some(8), &()).await.unwrap().epoch, 8);
    group.stop().await;
}
