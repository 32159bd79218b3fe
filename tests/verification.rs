//! The main job: every verification equals the ground truth, and follows the carriers' rows.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use windvane::Node;
use windvane::admin::{Admin, GrantTerms};
use windvane::audit::reconcile;
use windvane::bank::Inquiry;
use windvane::config::ProviderConfig;
use windvane::dataset::{CARRIER_DATASET, CARRIER_SCHEMA, DataSetConfig, Quality};
use windvane::verification::{Colour, MatchResult, VerificationReport};
use windvane_protocols::identity::{Document, DocumentKind, Name, Person, Phone};
use windvane_world::{Applicant, ExpectedResult, World, WorldConfig};

use crate::lab::{Lab, Party, SUBSCRIBERS, bank_of, terms};

const APPLICANTS: usize = 400;

fn world() -> World {
    World::generate(&WorldConfig {
        subscribers_per_carrier: 2_000,
        applicants: APPLICANTS,
        ..WorldConfig::default()
    })
}

fn inquiry(applicant: &Applicant) -> Inquiry {
    let a = &applicant.application;
    let kind = match a.document_kind {
        windvane_world::DocumentKind::ResidentId => DocumentKind::ResidentId,
        windvane_world::DocumentKind::Passport => DocumentKind::Passport,
    };
    Inquiry {
        person: Person {
            phone: Some(Phone::parse(&a.phone).unwrap()),
            document: Some(Document::parse(kind, &a.document_number).unwrap()),
            name: Some(Name::parse(&a.name).unwrap()),
            other: None,
        },
        customer_type: None,
        document_type: None,
        purpose: "account_opening".into(),
        ticket: a.number.clone(),
        consent: a.consent.clone(),
        operator: "teller-1".into(),
        outlet: None,
        branch: None,
    }
}

fn is_right(report: &VerificationReport, applicant: &Applicant) -> bool {
    let truth = &applicant.truth;
    let result = match truth.result {
        ExpectedResult::Match => report.result == MatchResult::Match,
        ExpectedResult::NoRecord => report.result == MatchResult::NoRecord,
        ExpectedResult::Mismatch { name, id } => {
            report.result == MatchResult::Mismatch
                && report.mismatch.is_some_and(|m| (m.name, m.id) == (name, id))
        }
    };
    let colour = report.decision.colour.as_str() == truth.colour.code();
    let tags: BTreeSet<String> = truth.tags.iter().map(|tag| tag.code().to_owned()).collect();
    result && colour && tags == report.tags
}

struct Running {
    carriers: Vec<(Party, Node)>,
    bank: (Party, Node),
}

async fn start(lab: &Lab, files: &[(String, std::path::PathBuf)]) -> Running {
    let mut carriers = Vec::new();
    for (name, file) in files {
        let party = lab.party(name, "[grpc]\nlisten = \"127.0.0.1:0\"\n");
        party.publish(file);
        let node = lab.start(&party).await;
        carriers.push((party, node));
    }
    let providers: Vec<_> = carriers.iter().map(|(party, node)| (party, node)).collect();
    let bank = lab.bank(&providers, &terms()).await;
    Running { carriers, bank }
}

impl Running {
    /// Stops all nodes; then every log must verify, and they must agree.
    async fn stop(self) {
        self.bank.1.stop().await.unwrap();
        let mut logs = vec![self.bank.0.log_dir()];
        for (party, node) in self.carriers {
            node.stop().await.unwrap();
            logs.push(party.log_dir());
        }
        let report = reconcile(&logs);
        assert!(report.is_ok(), "{report}");
    }

    async fn right(&self, applicants: &[Applicant]) -> Vec<bool> {
        let inquiries = applicants.iter().map(inquiry).collect();
        let reports = bank_of(&self.bank.1).verify_batch(inquiries).await.unwrap();
        reports.iter().zip(applicants).map(|(report, applicant)| is_right(report, applicant)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verification_equals_the_truth_one_by_one_and_in_a_batch() {
    let lab = Lab::new();
    let world = world();
    let files = world.write(lab.dir.path()).unwrap();
    let running = start(&lab, &files.carriers).await;
    for applicant in &world.applicants {
        let report = bank_of(&running.bank.1).verify(inquiry(applicant)).await.unwrap();
        assert!(is_right(&report, applicant), "{report:?} is not {:?}", applicant.truth);
        let stored = bank_of(&running.bank.1).report(&report.id).await.unwrap().unwrap();
        assert_eq!(stored, report);
    }
    assert!(running.right(&world.applicants).await.iter().all(|right| *right));
    running.stop().await;
}

/// Exchanges the names of rows of one carrier's file.
fn alter(file: &Path, rows: &[u64]) {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().enumerate().map(|(i, line)| {
        let altered = i > 0 && rows.contains(&(i as u64 - 1));
        if !altered {
            return format!("{line}\n");
        }
        let mut fields: Vec<_> = line.split(',').collect();
        fields[1] = "变更后";
        format!("{}\n", fields.join(","))
    });
    std::fs::write(file, lines.collect::<String>()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_rows_of_a_carrier_make_exactly_their_applicants_wrong() {
    let lab = Lab::new();
    let world = world();
    let files = world.write(lab.dir.path()).unwrap();
    let concerned = |a: &&Applicant| {
        let right = matches!(a.truth.result, ExpectedResult::Match);
        right && a.truth.carrier.as_deref() == Some("carrier-a")
    };
    let rows: Vec<u64> =
        world.applicants.iter().filter(concerned).filter_map(|a| a.truth.row).take(12).collect();
    let (name, file) = &files.carriers[0];
    assert_eq!(name, "carrier-a");
    alter(file, &rows);
    let running = start(&lab, &files.carriers).await;
    let expected: Vec<bool> = world
        .applicants
        .iter()
        .map(|a| {
            let altered = a.truth.carrier.as_deref() == Some("carrier-a")
                && a.truth.row.is_some_and(|row| rows.contains(&row));
            // Who was red for another name stays red for it; every other applicant of an altered row changes.
            !altered || matches!(a.truth.result, ExpectedResult::Mismatch { name: true, .. })
        })
        .collect();
    let wrong = expected.iter().filter(|right| !**right).count();
    assert!(wrong >= 10, "only {wrong} applicants are concerned");
    assert_eq!(running.right(&world.applicants).await, expected);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_named_and_the_others_answer() {
    let lab = Lab::new();
    let world = world();
    let files = world.write(lab.dir.path()).unwrap();
    let mut running = start(&lab, &files.carriers).await;
    let (party, down) = running.carriers.pop().unwrap();
    down.stop().await.unwrap();
    let of = |carrier: &str| {
        let right =
            |a: &&Applicant| a.truth.carrier.as_deref() == Some(carrier) && a.truth.colour.code() == "green";
        world.applicants.iter().find(right).unwrap()
    };
    let there = bank_of(&running.bank.1).verify(inquiry(of("carrier-a"))).await.unwrap();
    assert_eq!((there.result, there.decision.colour), (MatchResult::Match, Colour::Green));
    assert_eq!(there.decision.missing_sources, ["carrier-c"]);
    let gone = bank_of(&running.bank.1).verify(inquiry(of("carrier-c"))).await.unwrap();
    assert_eq!((gone.result, gone.decision.colour), (MatchResult::Unavailable, Colour::Yellow));
    assert_eq!(gone.providers[2].error.as_deref(), Some("PEER_UNAVAILABLE"));
    let restarted = lab.start(&party).await;
    running.carriers.push((party, restarted));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_section_that_names_a_data_set_has_its_own_table_fetched() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let risk = CARRIER_DATASET.replace("name = \"subscribers\"", "name = \"risk\"");
    let risk = DataSetConfig::parse(&risk, CARRIER_SCHEMA).unwrap().with_quality(Quality::anything());
    carrier.admin.import(&risk, &lab.dir.path().join("carrier-a.csv"), &()).unwrap();
    carrier.admin.build(&risk, &()).unwrap();
    carrier.admin.publish(&risk).unwrap();
    let node = lab.start(&carrier).await;
    let data_sets = ["subscribers", "risk"].map(|name| name.parse().unwrap()).to_vec();
    let address = node.grpc_address().unwrap().to_string();
    let mut bank = lab.bank_files(&[(&carrier, address)], &GrantTerms { data_sets, ..terms() });
    carrier.taken_over_by(&node).await;
    let subscribers = bank.config.providers[0].clone();
    // For scores alone: there is nothing to be fetched, and nothing is missing.
    let scorer = ProviderConfig { party: "carrier-b".into(), data_set: None, ..subscribers.clone() };
    let scored = ProviderConfig { data_set: None, ..subscribers.clone() };
    let risk = ProviderConfig { data_set: Some("risk".into()), ..subscribers };
    bank.config.providers.extend([scorer, scored, risk]);
    bank.admin = Admin::open(&bank.config, Arc::new(lab.clock.clone())).unwrap();
    for party in [None, Some("carrier-a")] {
        let sections = bank.admin.fetched_sections(party).unwrap();
        let named: Vec<_> = sections.iter().map(|section| section.data_set.as_deref()).collect();
        assert_eq!(named, [Some("subscribers"), Some("risk")]);
    }
    for section in bank.admin.fetched_sections(None).unwrap() {
        let fetched = bank.admin.fetch_section(section, |_, _| ()).await.unwrap();
        assert_eq!(Some(fetched.manifest.body().data_set.to_string()), section.data_set);
    }
    let refused = |party| bank.admin.fetched_sections(Some(party)).unwrap_err().code().to_owned();
    assert_eq!(["carrier-b", "carrier-c"].map(refused), ["DATA_SET_MISSING", "PROVIDER_UNKNOWN"]);
    node.stop().await.unwrap();
}
