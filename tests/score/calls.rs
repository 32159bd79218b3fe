//! Scores through real nodes: sums equal the truth for every quorum, alone and in batches, and what keeps them away.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use windvane::Node;
use windvane::admin::{Admin, GrantTerms, ModelFiles, ScoreOutput, ScorePublication};
use windvane::bank::{Bank, Inquiry};
use windvane::clock::Clock as _;
use windvane::evidence::LogReader;
use windvane::score::parts::{DenseParts, PartsFile};
use windvane::score::plan::GroupPlan;
use windvane::score::registry::Description;
use windvane::verification::{Colour, MatchResult, ScoreReport, ScoreStatus, VerificationReport};
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::identity::{Person, Phone};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::score::calibration::{Band, Bands};
use windvane_protocols::score::table::parts::Coverage;
use windvane_protocols::transcript::Record as _;

use super::epoch_dir;
use crate::lab::{self, Lab, Party, bank_of, failures};

const MODEL: &str = "fraud-1";

/// Customers of one batch.
const BATCH: usize = 4_096;

/// Numbers of a universe's segments, as ten thousands; more of them where the environment says so.
fn segments() -> usize {
    std::env::var("WINDVANE_SCORE_SEGMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A running bank and its providers, with an active epoch.
pub(crate) struct Scored {
    pub(crate) lab: Lab,
    pub(crate) providers: Vec<(Party, Node)>,
    pub(crate) bank: Party,
    pub(crate) bank_node: Node,
    pub(crate) segments: usize,
}

impl Scored {
    /// `providers` of which `threshold` must answer, all asked about scores alone.
    pub(crate) async fn new(providers: usize, threshold: usize, segments: usize) -> Self {
        // What the parts here add up to is far from any card.
        Self::watched(providers, threshold, segments, "window = 10000000").await
    }

    /// [`Self::new`] with its own `[score]`.
    async fn watched(providers: usize, threshold: usize, segments: usize, monitor: &str) -> Self {
        Self::within(Lab::new(), providers, threshold, segments, monitor).await
    }

    /// The same in a lab of the caller's.
    pub(crate) async fn within(
        lab: Lab,
        providers: usize,
        threshold: usize,
        segments: usize,
        monitor: &str,
    ) -> Self {
        let mut running = Vec::new();
        let mut sections =
            "[http]\nlisten = \"127.0.0.1:0\"\n[verification]\ndeadline_ms = 5000\n".to_owned();
        let _ = writeln!(sections, "[score]\n{monitor}");
        for i in 0..providers {
            let party = lab.party(&format!("provider-{i}"), "[grpc]\nlisten = \"127.0.0.1:0\"\n");
            let node = lab.start(&party).await;
            let address = node.grpc_address().unwrap();
            let _ = write!(sections, "[[provider]]\nparty = \"provider-{i}\"\naddress = \"{address}\"\n");
            running.push((party, node));
        }
        let bank = lab.party("bank", &sections);
        for (provider, _) in &running {
            provider.admin.import_enrolment(&bank.enrolment).unwrap();
            bank.admin.import_enrolment(&provider.enrolment).unwrap();
        }
        for (provider, node) in &running {
            grant(&bank, provider, node, ScoreOutput::Everything).await;
        }
        let plan = plan(&lab, &bank, &running, threshold, segments);
        for (provider, node) in &running {
            provider.admin.score_join(&plan).unwrap();
            provider.taken_over_by(node).await;
        }
        bank.admin.score_setup(&plan, None, &()).await.unwrap();
        for (i, (provider, node)) in running.iter().enumerate() {
            publish(&lab, provider, i, segments);
            provider.taken_over_by(node).await;
        }
        activate(&lab, &bank, 1).await;
        let bank_node = lab.start(&bank).await;
        Self { lab, providers: running, bank, bank_node, segments }
    }

    pub(crate) fn bank(&self) -> &Bank {
        bank_of(&self.bank_node)
    }

    /// The score of one number by itself.
    pub(crate) async fn score(&self, phone: &str) -> ScoreReport {
        let report = self.bank().verify(inquiry(phone)).await.unwrap();
        report.score.expect("a group is active")
    }

    /// Ends every grant of a provider at its side alone.
    pub(crate) async fn revoke(&self, provider: usize) {
        let (party, node) = &self.providers[provider];
        for (grant, ended) in party.admin.grants().unwrap() {
            if ended.is_none() {
                party.admin.end_grant(&grant.id.to_string()).unwrap();
            }
        }
        party.taken_over_by(node).await;
    }

    /// Grants scores again, in this form.
    pub(crate) async fn grant(&self, provider: usize, output: ScoreOutput) {
        let (party, node) = &self.providers[provider];
        grant(&self.bank, party, node, output).await;
        self.bank.taken_over_by(&self.bank_node).await;
    }

    pub(crate) async fn stop(self) {
        self.bank_node.stop().await.unwrap();
        for (_, node) in self.providers {
            node.stop().await.unwrap();
        }
    }
}

pub(crate) fn group() -> DataSet {
    "joint-risk".parse().unwrap()
}

/// The number at a position.
pub(crate) fn number(position: usize) -> String {
    format!("{}{:04}", 1_380_013 + position / 10_000, position % 10_000)
}

/// A provider's part: the default for every seventh number.
pub(crate) fn part(provider: usize, position: usize) -> u8 {
    if position % 7 == provider { 3 } else { ((position * 31 + provider * 17) % 251) as u8 }
}

/// The sum of some providers' parts.
pub(crate) fn sum(providers: usize, position: usize) -> u16 {
    (0..providers).map(|provider| u16::from(part(provider, position))).sum()
}

pub(crate) fn inquiry(phone: &str) -> Inquiry {
    let person = Person { phone: Some(Phone::parse(phone).unwrap()), ..Person::default() };
    Inquiry { person, ..lab::zhang() }
}

async fn grant(bank: &Party, provider: &Party, node: &Node, output: ScoreOutput) {
    let terms =
        GrantTerms { data_sets: vec![group()], families: Vec::new(), score: Some(output), ..lab::terms() };
    let grant = provider.admin.issue_grant(&terms).unwrap();
    bank.admin.accept_grant(&grant).unwrap();
    provider.taken_over_by(node).await;
}

fn plan(
    lab: &Lab,
    bank: &Party,
    providers: &[(Party, Node)],
    threshold: usize,
    segments: usize,
) -> GroupPlan {
    let section = |head: &str, party: &Party| {
        let identity = party.admin.score_identity();
        format!("{head}\nparty = \"{}\"\nfingerprint = \"{}\"\n", identity.party, identity.fingerprint())
    };
    let providers: String = providers.iter().map(|(party, _)| section("[[provider]]", party)).collect();
    let head = "group = \"joint-risk\"\nuniverse = \"universe.pem\"\nmodel = \"card.toml\"\n";
    let text = format!("{head}threshold = {threshold}\n{}{providers}", section("[bank]", bank));
    let list = (0..segments).map(|i| (1_380_013 + i as u32).try_into().unwrap()).collect();
    let file = |name: &str, text: &str| std::fs::write(lab.dir.path().join(name), text).unwrap();
    file("universe.pem", &bank.admin.score_universe(list, 1).unwrap());
    file("card.toml", CARD);
    file("group.toml", &text);
    GroupPlan::load(&lab.dir.path().join("group.toml")).unwrap()
}

const CARD: &str = "name = \"fraud-1\"\n[[knot]]\nsum = 0\nprobability = 0.001\n[[knot]]\nsum = 1000\n\
    probability = 0.901\n[[band]]\nname = \"low\"\nfrom = 0\nshare = 0.7\n[[band]]\nname = \"high\"\nfrom = 400\n\
    share = 0.3\n";

/// Publishes a provider's parts of the newest epoch.
pub(crate) fn publish(lab: &Lab, provider: &Party, index: usize, segments: usize) {
    publish_parts(lab.dir.path(), &provider.admin, index, segments);
}

/// [`publish`] with the lab's folder alone.
pub(crate) fn publish_parts(dir: &Path, admin: &Admin, index: usize, segments: usize) {
    let mut csv = "number,part\n".to_owned();
    for position in (0..segments * 10_000).filter(|position| position % 7 != index) {
        let _ = writeln!(csv, "{},{}", number(position), part(index, position));
    }
    let file = dir.join(format!("parts-{index}.csv"));
    std::fs::write(&file, csv).unwrap();
    let publication = ScorePublication {
        group: group(),
        epoch: None,
        coverage: Coverage::Overlapped,
        overlap_permille: 1_000,
    };
    let rejects = dir.join(format!("rejects-{index}.csv"));
    let parts = |plan: &GroupPlan| {
        let (number_column, part_column) = (PartsFile::NUMBER_COLUMN, PartsFile::PART_COLUMN);
        let file = PartsFile { path: &file, number_column, part_column, default: 3, rejects: &rejects };
        Ok(DenseParts::import(&file, &plan.universe, &())?.0)
    };
    admin.score_publish(&publication, parts, &()).unwrap();
}

/// Fetches the tables of an epoch and activates it at the bank.
pub(crate) async fn activate(lab: &Lab, bank: &Party, epoch: u64) {
    bank.admin.score_fetch(&group(), Some(epoch), &()).await.unwrap();
    let card = lab.dir.path().join("card.toml");
    let files = ModelFiles { card: &card, parts: None, training_receipt: None };
    let by = |name: &str| Description { by: name.to_owned(), ..Description::default() };
    if bank.admin.models(&group()).unwrap().is_empty() {
        bank.admin.add_model(&group(), &files, &by("alice"), &()).unwrap();
        bank.admin.approve_model(&group(), MODEL, "bob").unwrap();
    }
    bank.admin.activate_score(&group(), epoch, MODEL, "bob").unwrap();
}

/// All subsets of `0..n` with `t` members.
fn quorums(n: usize, t: usize) -> Vec<Vec<usize>> {
    let subset = |mask: usize| (0..n).filter(|i| mask >> i & 1 == 1).collect::<Vec<_>>();
    (0..1_usize << n).map(subset).filter(|subset| subset.len() == t).collect()
}

async fn batch(scored: &Scored, positions: std::ops::Range<usize>) -> Vec<VerificationReport> {
    let inquiries = positions.map(|position| inquiry(&number(position))).collect();
    scored.bank().score_batch(inquiries).await.unwrap()
}

/// Holds every sum against the truth: all in batches, some alone.
async fn check_all(scored: &Scored, quorum: &[usize], singles: usize) {
    let (n, all) = (scored.providers.len(), scored.segments * 10_000);
    let missing: Vec<_> = (0..n).filter(|i| !quorum.contains(i)).map(|i| format!("provider-{i}")).collect();
    for begin in (0..all).step_by(BATCH) {
        let end = all.min(begin + BATCH);
        for (position, report) in (begin..end).zip(batch(scored, begin..end).await) {
            let score = report.score.unwrap();
            assert_eq!((score.status, score.sum), (ScoreStatus::Scored, Some(sum(n, position))));
            let named: Vec<_> = score.missing.iter().map(|source| source.provider.clone()).collect();
            assert_eq!(named, missing);
        }
    }
    for i in 0..singles {
        let position = i * 7_919 % all;
        assert_eq!(scored.score(&number(position)).await.sum, Some(sum(n, position)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_equal_the_truth_for_every_group_threshold_and_quorum() {
    for n in 2..=4 {
        for t in 2..=n {
            let scored = Scored::new(n, t, segments()).await;
            let quorums = quorums(n, t);
            for quorum in &quorums {
                let away: Vec<_> = (0..n).filter(|i| !quorum.contains(i)).collect();
                for &i in &away {
                    scored.revoke(i).await;
                }
                check_all(&scored, quorum, 2_000 / quorums.len() / 6).await;
                for &i in &away {
                    scored.grant(i, ScoreOutput::Everything).await;
                }
            }
            scored.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_that_is_missing_names_who_is_and_leaves_the_rest_alone() {
    let scored = Scored::new(3, 3, 1).await;
    let outside = scored.score("13912345678").await;
    assert_eq!((outside.status, outside.sum, outside.error), (ScoreStatus::Outside, None, None));
    scored.revoke(1).await;
    let score = scored.score(&number(5)).await;
    assert_eq!(score.status, ScoreStatus::Unavailable);
    assert_eq!(score.error.as_deref(), Some("SCORE_UNAVAILABLE"));
    let missing: Vec<_> = score.missing.iter().map(|s| (s.provider.as_str(), s.error.as_str())).collect();
    assert_eq!(missing, [("provider-1", "GRANT_UNKNOWN")]);
    assert_eq!(failures(&scored.providers[1].0, &scored.providers[1].1).await, ["GRANT_UNKNOWN"]);
    // Who would have no score anyway is not without one for that.
    let outside = scored.bank().verify(inquiry("13912345678")).await.unwrap();
    assert_eq!(outside.score.map(|score| score.status), Some(ScoreStatus::Outside));
    assert!(!outside.decision.reasons.iter().any(|reason| reason.rule == "score_missing"));
    let report = scored.bank().verify(inquiry(&number(5))).await.unwrap();
    let reasons: Vec<_> = report.decision.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    assert!(reasons.contains(&"score_missing"), "{reasons:?}");
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_that_name_bands_leave_nothing_but_the_band() {
    let scored = Scored::new(2, 2, 1).await;
    let all = scored.score(&number(23)).await;
    assert_eq!((all.sum, all.band.as_deref()), (Some(sum(2, 23)), Some("high")));
    assert_eq!(all.probability, Some(0.001 + 0.0009 * f64::from(sum(2, 23))));
    let two = bands(&[("below", 0), ("above", 100)]);
    scored.revoke(0).await;
    scored.grant(0, two.clone()).await;
    let score = scored.score(&number(23)).await;
    assert_eq!((score.band.as_deref(), score.sum, score.probability), (Some("above"), None, None));
    scored.revoke(1).await;
    scored.grant(1, two).await;
    assert_eq!(scored.score(&number(23)).await.band.as_deref(), Some("above"));
    scored.revoke(1).await;
    scored.grant(1, bands(&[("all", 0)])).await;
    let score = scored.score(&number(23)).await;
    assert_eq!(
        (score.status, score.error.as_deref()),
        (ScoreStatus::Unavailable, Some("SCORE_BANDS_DIFFER"))
    );
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grant_of_a_provider_that_is_not_asked_leaves_nothing_but_the_band() {
    let scored = Scored::new(3, 2, 1).await;
    scored.revoke(2).await;
    scored.grant(2, bands(&[("below", 0), ("above", 100)])).await;
    scored.bank.admin.suspend(&"provider-2".parse().unwrap()).unwrap();
    scored.bank.taken_over_by(&scored.bank_node).await;
    let score = scored.score(&number(23)).await;
    let missing: Vec<_> = score.missing.iter().map(|s| (s.provider.as_str(), s.error.as_str())).collect();
    assert_eq!(missing, [("provider-2", "PARTNER_SUSPENDED")]);
    assert_eq!((score.band.as_deref(), score.sum, score.probability), (Some("above"), None, None));
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_grant_a_partner_or_a_section_leaves_nothing_but_the_band() {
    let mut scored = Scored::new(3, 2, 1).await;
    // The one of before, of everything, stays at the bank.
    scored.grant(2, bands(&[("below", 0), ("above", 100)])).await;
    let (grant, _) = scored.bank.admin.grants().unwrap().pop().unwrap();
    scored.bank.admin.end_grant(&grant.id.to_string()).unwrap();
    scored.bank.taken_over_by(&scored.bank_node).await;
    banded(&scored, &[]).await;
    scored.bank.admin.end_partner(&grant.provider).unwrap();
    scored.bank.taken_over_by(&scored.bank_node).await;
    banded(&scored, &["PARTNER_MISSING"]).await;
    scored.bank_node.stop().await.unwrap();
    scored.bank.config.providers.pop();
    scored.bank_node = scored.lab.start(&scored.bank).await;
    banded(&scored, &["NO_CONTRACT"]).await;
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_grant_for_another_purpose_neither_answers_nor_restricts() {
    let scored = Scored::new(2, 2, 1).await;
    let (provider, node) = &scored.providers[0];
    let score = Some(bands(&[("below", 0), ("above", 100)]));
    let purposes = vec!["screening".into()];
    let terms =
        GrantTerms { data_sets: vec![group()], families: Vec::new(), purposes, score, ..lab::terms() };
    scored.bank.admin.accept_grant(&provider.admin.issue_grant(&terms).unwrap()).unwrap();
    provider.taken_over_by(node).await;
    scored.bank.taken_over_by(&scored.bank_node).await;
    let score = scored.score(&number(23)).await;
    assert_eq!((score.sum, score.missing), (Some(sum(2, 23)), vec![]));
    scored.stop().await;
}

/// A score that says the band alone, and why providers are missing.
async fn banded(scored: &Scored, missing: &[&str]) {
    let score = scored.score(&number(23)).await;
    assert_eq!((score.band.as_deref(), score.sum, score.probability), (Some("above"), None, None));
    assert_eq!(score.missing.iter().map(|source| source.error.as_str()).collect::<Vec<_>>(), missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_repaired_is_used_by_the_running_node() {
    let scored = Scored::new(2, 2, 1).await;
    let table = epoch_dir(&scored.bank, 1).join("table");
    let rows = std::fs::read(&table).unwrap();
    // In place, as a disk damages it.
    std::fs::write(&table, vec![0; rows.len()]).unwrap();
    assert_eq!(scored.score(&number(5)).await.status, ScoreStatus::Undecodable);
    std::fs::remove_file(&table).unwrap();
    // The fetch alone: its entry may come before its table, and nothing comes after that.
    scored.bank.admin.score_fetch(&group(), Some(1), &()).await.unwrap();
    assert_eq!(std::fs::read(&table).unwrap(), rows);
    let mut score = scored.score(&number(5)).await;
    for _ in 0..1_000 {
        if score.status == ScoreStatus::Scored {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        score = scored.score(&number(5)).await;
    }
    assert_eq!(score.sum, Some(sum(2, 5)));
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_command_left_is_told_by_the_running_node() {
    let scored = Scored::new(2, 2, 1).await;
    let path = scored.bank.config.node.data_dir.join("score/joint-risk/state");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let event = Event::ScoreModel {
        group: group(),
        model: [7; 64],
        action: "fallback".to_owned(),
        by: "dave".to_owned(),
    };
    let began_ms = scored.lab.clock.now_ms();
    let entry = Entry::new(began_ms - 3_600_000, event).encode();
    state["rules_only"] = true.into();
    state["pending"] = vec![hex::encode(entry.as_bytes())].into();
    std::fs::write(&path, state.to_string()).unwrap();
    // Any command makes the node look.
    scored.bank.admin.suspend(&"provider-0".parse().unwrap()).unwrap();
    assert!(fallback_ms(&scored).await >= began_ms);
    let error = scored.bank().score_batch(vec![inquiry(&number(5))]).await.unwrap_err();
    assert_eq!(error.code, "SCORE_INACTIVE");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("pending"));
    scored.stop().await;
}

/// When the bank's log says that the score's use was stopped; waits for the entry.
async fn fallback_ms(scored: &Scored) -> u64 {
    let stopped =
        |entry: &Entry| matches!(&entry.event, Event::ScoreModel { action, .. } if action == "fallback");
    for _ in 0..1_000 {
        scored.bank.taken_over_by(&scored.bank_node).await;
        scored.bank_node.log().publish().await.unwrap();
        let reader = LogReader::open(&scored.bank.log_dir()).unwrap();
        let mut entries = reader.entries(0).map(|entry| Entry::decode(&entry.unwrap().1).unwrap());
        if let Some(entry) = entries.find(stopped) {
            return entry.at_ms;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the score's use was not stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_scored_alone_does_not_stop_the_score_for_applicants() {
    let monitor = "window = 400\npsi_alert = 0.01\npsi_fallback = 0.01";
    let scored = Scored::watched(2, 2, 1, monitor).await;
    assert_eq!(batch(&scored, 0..400).await.len(), 400);
    scored.lab.clock.advance_ms(60_000);
    let began_ms = scored.lab.clock.now_ms();
    let applicants = (0..400).map(|position| inquiry(&number(position))).collect();
    scored.bank().verify_batch(applicants).await.unwrap();
    assert!(fallback_ms(&scored).await >= began_ms);
    scored.stop().await;
}

fn bands(names: &[(&str, u16)]) -> ScoreOutput {
    let band = |(name, from): &(&str, u16)| Band { name: (*name).to_owned(), from: *from };
    ScoreOutput::Bands(Bands::new(names.iter().map(band).collect()).unwrap())
}

impl Scored {
    /// The first provider publishes subscribers too, under a grant of its own, whose name this gives.
    async fn looked_up(mut self) -> (Self, String) {
        self.bank_node.stop().await.unwrap();
        let (provider, node) = &self.providers[0];
        let file = self.lab.dir.path().join("subscribers.csv");
        std::fs::write(&file, format!("{}{}", lab::HEADER, lab::SUBSCRIBERS)).unwrap();
        provider.publish(&file);
        let grant = provider.admin.issue_grant(&lab::terms()).unwrap();
        let grant = self.bank.admin.accept_grant(&grant).unwrap().id.to_string();
        provider.taken_over_by(node).await;
        self.bank.config.providers[0].data_set = Some("subscribers".parse().unwrap());
        self.bank.admin = Admin::open(&self.bank.config, Arc::new(self.lab.clock.clone())).unwrap();
        self.bank.admin.fetch_snapshot("provider-0", |_, _| ()).await.unwrap();
        self.bank_node = self.lab.start(&self.bank).await;
        (self, grant)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_to_look_up_and_answers_about_the_score_is_missing_from_the_lookup_alone() {
    let (scored, lookups) = Scored::new(2, 2, 1).await.looked_up().await;
    let (provider, node) = &scored.providers[0];
    provider.admin.end_grant(&lookups).unwrap();
    provider.taken_over_by(node).await;
    let report = scored.bank().verify(lab::zhang()).await.unwrap();
    let looked_up = report.providers.iter().find(|answer| answer.provider == "provider-0").unwrap();
    assert_eq!(looked_up.error.as_deref(), Some("GRANT_UNKNOWN"));
    let score = report.score.unwrap();
    assert_eq!((score.sum, score.missing), (Some(sum(2, 8_000)), vec![]));
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_a_grant_of_scores_is_missing_from_the_score_alone() {
    let (scored, lookups) = Scored::new(2, 2, 1).await.looked_up().await;
    for (grant, _) in scored.bank.admin.grants().unwrap() {
        if grant.provider.as_str() == "provider-0" && grant.id.to_string() != lookups {
            scored.bank.admin.end_grant(&grant.id.to_string()).unwrap();
        }
    }
    scored.bank.taken_over_by(&scored.bank_node).await;
    let report = scored.bank().verify(lab::zhang()).await.unwrap();
    let named: Vec<_> =
        report.providers.iter().map(|answer| (answer.provider.as_str(), answer.result)).collect();
    assert_eq!(named, [("provider-0", MatchResult::Match)]);
    assert_eq!(report.decision.missing_sources, Vec::<String>::new());
    let score = report.score.unwrap();
    let missing: Vec<_> = score.missing.iter().map(|s| (s.provider.as_str(), s.error.as_str())).collect();
    assert_eq!((score.status, missing), (ScoreStatus::Unavailable, vec![("provider-0", "GRANT_MISSING")]));
    let reports = scored.bank().score_batch(vec![inquiry(&number(5))]).await.unwrap();
    assert_eq!(reports[0].providers, []);
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_alone_that_is_refused_leaves_a_failure_and_no_answer_in_the_log() {
    let scored = Scored::new(2, 2, 1).await;
    scored.revoke(1).await;
    let reports = scored.bank().score_batch(vec![inquiry(&number(5))]).await.unwrap();
    assert_eq!(reports[0].score.as_ref().map(|score| score.status), Some(ScoreStatus::Unavailable));
    // No rule has fired, and there is nothing that could be green.
    assert_eq!(reports[0].decision.colour, Colour::Yellow);
    let (provider, node) = &scored.providers[1];
    assert_eq!(failures(provider, node).await, ["GRANT_UNKNOWN"]);
    assert!(!lab::events(provider).iter().any(|event| matches!(event, Event::Answered(_))));
    scored.stop().await;
}
