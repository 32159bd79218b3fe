//! From a training to served scores: the parts that a training put into the registries are approved and published as they
//! are, and what the bank gets for a number through its node is what the training decrypted for it. So the report's
//! figures are those of served scores, exactly.

use windvane::admin::{Admin, ScoreOutput, ScorePublication};
use windvane::bank::Inquiry;
use windvane::identity::Layout;
use windvane::score::folder::ScoreFolder;
use windvane::score::parts::DenseParts;
use windvane::score::plan::GroupPlan;
use windvane::score::registry::Registry;
use windvane::train::metrics::{Ranking, Scored};
use windvane::verification::{ScoreReport, ScoreStatus};
use windvane_protocols::identity::{Person, Phone};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::calibration::ONE;
use windvane_protocols::score::table::parts::Coverage;

use super::*;
use crate::lab::bank_of;

mod real;

/// Who lets models through: somebody else than who trained.
const OFFICER: &str = "risk-officer";

/// Customers of one call.
const BATCH: usize = 1_024;

/// A listed row that is no decoy.
pub(super) struct Known {
    position: u64,
    label: bool,
    held_out: bool,
    /// What the training decrypted for it.
    sum: u16,
}

fn group() -> DataSet {
    "joint-risk".parse().unwrap()
}

/// Segments of all worlds here follow one another.
fn inquiry(position: u64) -> Inquiry {
    let phone = Phone::parse(&(13_800_130_000 + position).to_string()).unwrap();
    Inquiry { person: Person { phone: Some(phone), ..Person::default() }, ..lab::zhang() }
}

/// The parts that a party's registry has.
fn kept(party: &Party, universe: &Universe, model: &str) -> DenseParts {
    let layout = Layout::new(party.config.node.data_dir.clone());
    let version = Registry::new(ScoreFolder::new(&layout).group(&group())).open(model).unwrap();
    version.parts(&party.admin.keys().storage, universe).unwrap()
}

impl World {
    fn running(&self) -> impl Iterator<Item = (&Party, &Node)> {
        self.providers.values().map(|(party, node)| (party, node.as_ref().unwrap()))
    }

    /// The group file as its members make it: with the card that training left at each of them.
    fn group_plan(&self, model: &str) -> GroupPlan {
        let card = self.bank.admin.model_card(&group(), model).unwrap();
        assert!(self.running().all(|(party, _)| party.admin.model_card(&group(), model).unwrap() == card));
        std::fs::write(self.at("card.toml"), card).unwrap();
        let section = |head: &str, party: &Party| {
            let identity = party.admin.score_identity();
            let (name, print) = (&identity.party, identity.fingerprint());
            format!("{head}\nparty = \"{name}\"\nfingerprint = \"{print}\"\n")
        };
        let providers: String = self.running().map(|(party, _)| section("[[provider]]", party)).collect();
        let alone = if self.providers.len() == 1 { "single_provider = true\n" } else { "" };
        let head = "group = \"joint-risk\"\nuniverse = \"universe.pem\"\nmodel = \"card.toml\"\n";
        let text = format!("{head}{alone}{}{providers}", section("[bank]", &self.bank));
        std::fs::write(self.at("group.toml"), text).unwrap();
        GroupPlan::load(&self.at("group.toml")).unwrap()
    }

    /// Publishes the parts of a trained model and starts the bank, which scores with it.
    async fn serve(&mut self, model: &str) -> Node {
        // Nobody's figures are watched here.
        self.know("[http]\nlisten = \"127.0.0.1:0\"\n[score]\nwindow = 10000000\n");
        self.bank.admin = Admin::open(&self.bank.config, Arc::new(self.lab.clock.clone())).unwrap();
        let (bank, plan) = (&self.bank.admin, self.group_plan(model));
        let output = Some(ScoreOutput::Everything);
        let terms =
            GrantTerms { data_sets: vec![group()], families: Vec::new(), score: output, ..lab::terms() };
        for (party, node) in self.running() {
            bank.accept_grant(&party.admin.issue_grant(&terms).unwrap()).unwrap();
            party.admin.score_join(&plan).unwrap();
            party.taken_over_by(node).await;
        }
        let epoch = bank.score_setup(&plan, None, &()).await.unwrap().epoch;
        let (coverage, overlap_permille) =
            if self.providers.len() == 1 { (Coverage::Alone, 0) } else { (Coverage::Overlapped, 1_000) };
        let publication = ScorePublication { group: group(), epoch: None, coverage, overlap_permille };
        for (party, node) in self.running() {
            // What `score publish --model` does.
            let publish = || {
                let parts = |plan: &GroupPlan| party.admin.approved_parts(plan, model);
                party.admin.score_publish(&publication, parts, &())
            };
            assert_eq!(publish().unwrap_err().code(), "MODEL_NOT_APPROVED");
            party.admin.approve_model(&group(), model, OFFICER).unwrap();
            publish().unwrap();
            party.taken_over_by(node).await;
        }
        bank.score_fetch(&group(), Some(epoch), &()).await.unwrap();
        bank.approve_model(&group(), model, OFFICER).unwrap();
        bank.activate_score(&group(), epoch, model, OFFICER).unwrap();
        self.lab.start(&self.bank).await
    }

    /// The rows that the bank knows, once what the training decrypted is what the registries hold: of all rows but
    /// decoys, of which it decrypted nothing.
    pub(super) fn known(&self, training: SessionId, model: &str) -> Vec<Known> {
        let trees = self.trees(training);
        let parts: Vec<_> = self.running().map(|(party, _)| kept(party, &self.universe, model)).collect();
        let (mut known, mut hidden) = (Vec::new(), 0);
        let rows = trees.listed.positions().iter().zip(trees.listed.kinds()).zip(trees.sums.unwrap());
        for ((&position, kind), sum) in rows {
            let held = parts.iter().map(|parts| u16::from(parts.as_slice()[position as usize])).sum::<u16>();
            let (label, held_out) = match kind {
                Kind::Training(label) => (*label, false),
                Kind::HeldOut(label) => (*label, true),
                Kind::Decoy => {
                    assert_eq!(sum, 0);
                    hidden += u16::from(held > 0);
                    continue;
                }
            };
            assert_eq!(sum, held);
            known.push(Known { position, label, held_out, sum });
        }
        assert!(hidden > 100, "decoys have parts, which are not told");
        known
    }

    /// Holds the served scores of rows against what the training decrypted and the bank's own parts, and those of the
    /// held-out ones against the report's figures.
    async fn check(&self, node: &Node, rows: &[Known], report: &TrainReport) {
        let own = kept(&self.bank, &self.universe, &report.model);
        let positions: Vec<_> = rows.iter().map(|row| row.position).collect();
        let scores = served(node, &positions).await;
        for (row, score) in rows.iter().zip(&scores) {
            let own = u16::from(own.as_slice()[row.position as usize]);
            assert_eq!((score.status, score.sum), (ScoreStatus::Scored, Some(own + row.sum)));
        }
        let held_out: Vec<_> = rows.iter().zip(&scores).filter(|(row, _)| row.held_out).collect();
        assert_eq!(held_out.len(), report.held_out);
        let scored = held_out
            .iter()
            .map(|(row, score)| Scored { score: i64::from(score.sum.unwrap()), label: row.label });
        let ranking = Ranking::new(&scored.collect::<Vec<_>>()).unwrap();
        let same = |served: f64, told: f64| assert_eq!(served.to_bits(), told.to_bits(), "{served}, {told}");
        same(ranking.auc(), report.auc);
        same(ranking.ks(), report.ks);
        same(ranking.information_value(10), report.information_value);
        let plan = GroupPlan::load(&self.at("group.toml")).unwrap();
        same(ranking.calibration_error(plan.model.calibration()), report.calibration_error);
        // The card's reference is the share of each band, but for what rounding leaves, which the largest has.
        let bands = plan.model.bands().as_slice().iter().zip(plan.model.reference());
        for (band, share) in bands {
            let there = held_out.iter().filter(|(_, score)| score.band.as_ref() == Some(&band.name)).count();
            let exact = (there * ONE as usize / held_out.len()) as u32;
            assert!((exact..exact + 16).contains(share), "{}: {exact}, {share}", band.name);
        }
    }
}

/// Scores through the bank's node: one alone, and all in batches.
async fn served(node: &Node, positions: &[u64]) -> Vec<ScoreReport> {
    let mut scores = Vec::new();
    for positions in positions.chunks(BATCH) {
        let inquiries = positions.iter().map(|position| inquiry(*position)).collect();
        let reports = bank_of(node).score_batch(inquiries).await.unwrap();
        scores.extend(reports.into_iter().map(|report| report.score.unwrap()));
    }
    let alone = bank_of(node).verify(inquiry(positions[0])).await.unwrap().score.unwrap();
    assert_eq!(alone.sum, scores[0].sum);
    scores
}

fn bands() -> Vec<BandPlan> {
    let band = |(name, share): (&str, u32)| BandPlan { name: name.to_owned(), share };
    [("low", 60), ("middle", 25), ("high", 15)].map(band).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn served_scores_of_held_out_rows_have_the_figures_of_the_report() {
    let mut world = World::new().await;
    let plan = TrainPlan { bands: bands(), ..world.plan("served-1") };
    let training = world.begun(&plan);
    let report = world.go_on(training).await.unwrap();
    let rows = world.known(training, "served-1");
    let node = world.serve("served-1").await;
    world.check(&node, &rows, &report).await;
    node.stop().await.unwrap();
    world.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_alone_tells_and_serves_few_values() {
    let world = World::of(&[&["police"]], &["1380013"], |dir| {
        table(&dir.join("police.csv"), (0..10_000).filter(|p| p % 3 > 0), &[5, 6]);
    });
    let mut world = world.await;
    world.write_sample();
    let plan = TrainPlan { bands: bands(), ..world.plan("served-2") };
    let training = world.begun(&plan);
    let report = world.go_on(training).await.unwrap();
    let rows = world.known(training, "served-2");
    let mut values: Vec<_> = rows.iter().map(|row| row.sum).collect();
    values.sort_unstable();
    values.dedup();
    assert!((4..=16).contains(&values.len()), "{values:?}");
    let node = world.serve("served-2").await;
    world.check(&node, &rows, &report).await;
    node.stop().await.unwrap();
    world.stopped().await;
}
