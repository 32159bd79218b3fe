//! Every operation with marked people, in a process of its own: its standard error is then the structured log as an
//! operator has it, and the place where panics end. Here stand importing, publishing, verifying and auditing; set
//! intersections and screenings, scores, trainings and backups have modules of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::net::TcpListener;
use windvane::Node;
use windvane::admin::GrantTerms;
use windvane::audit::{self, VerifyOptions};
use windvane::bank::Inquiry;
use windvane::dataset::{DataSetConfig, Position};
use windvane::evidence::verify::verify_log;
use windvane::verification::VerificationReport;
use windvane_protocols::identity::{DocumentKind, Person};

use super::marks::{Marked, REFUSED, STRANGERS, SUBSCRIBERS, WRONG_NAME};
use super::record::{DEBUG, DOCUMENTS, METRICS, REPORTS, Record, TRACES};
use super::{backups, debug, imports, rest, scores, sets, trainings};
use crate::lab::{Lab, Party, bank_of, terms};
use crate::liar::{Liar, Lie};
use crate::observe::{Collector, page, shown_to};
use crate::recorder::Recording;

/// Names the folder in which the scan wants what the operations leave behind.
pub(crate) const FOLDER: &str = "WINDVANE_SCAN_FOLDER";

/// The purpose of most questions.
pub(crate) const PURPOSE: &str = "account_opening";

/// The nodes, the operators' own files, which are outside of them, and the record.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) desk: TempDir,
    pub(crate) record: Record,
}

impl Stage {
    /// A copy of every node's folder.
    pub(crate) fn moment(&self, name: &str) {
        self.record.trees(self.lab.dir.path(), name);
    }

    /// Copies the folders once, in the middle of a step.
    pub(crate) fn within(&self, name: &'static str) -> impl Fn(Position) + Sync {
        let (taken, record, from) =
            (AtomicBool::new(false), self.record.clone(), self.lab.dir.path().to_owned());
        move |_| {
            if !taken.swap(true, Ordering::Relaxed) {
                record.trees(&from, name);
            }
        }
    }
}

/// A question of the bank about a person.
pub(crate) fn inquiry(person: Person) -> Inquiry {
    Inquiry {
        person,
        customer_type: Some("personal".into()),
        document_type: None,
        purpose: PURPOSE.into(),
        ticket: "KH-0001".into(),
        consent: "SQ-0001".into(),
        operator: "teller-1".into(),
        outlet: Some("outlet-3".into()),
        branch: Some("branch-1".into()),
    }
}

/// Everybody whom a bank can ask about, one of them under a wrong name.
pub(crate) fn questions() -> Vec<Inquiry> {
    let known = SUBSCRIBERS.iter().chain(&STRANGERS).map(|marked| marked.person().unwrap());
    let mut people: Vec<_> = known.collect();
    people[1].name = Some(windvane_protocols::identity::Name::parse(WRONG_NAME.names[0]).unwrap());
    people.into_iter().map(inquiry).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the scan runs it in a process of its own"]
async fn every_operation_with_marked_people() {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    let spare = tempfile::tempdir().unwrap();
    let record = Record::new(folder.unwrap_or_else(|| spare.path().to_owned()));
    let (_, collector) = Collector::serve(Some(record.file(TRACES, "spans"))).await;
    let sections = shown_to(collector);
    let stage = Stage { lab: Lab::with(&sections), desk: tempfile::tempdir().unwrap(), record };
    let carriers = carriers(&stage);
    let (bank, nodes) = ask(&stage, &carriers).await;
    let bank = fail(&stage, &carriers, bank, nodes).await;
    check_logs(&stage, &carriers);
    debug::everything(&stage, &carriers);
    stage.moment("at the end");
    for (party, moment) in [(&bank, "a bank"), (&carriers.a, "a carrier")] {
        backups::run(&stage.record, &stage.lab, party, moment);
    }
    sets::run(&stage.record, &sections).await;
    scores::run(&stage.record, &sections).await;
    trainings::run(&stage.record, &sections).await;
}

pub(crate) struct Carriers {
    pub(crate) a: Party,
    pub(crate) b: Arc<Party>,
}

struct Nodes {
    bank: Node,
    a: Node,
    b: Node,
    /// What passes between the bank and the first carrier.
    passed: Recording,
}

/// Keeps what a node shows of itself.
pub(crate) async fn look(record: &Record, name: &str, node: &Node) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (_, body) = page(node.observability_address().unwrap(), path).await;
        record.keep(METRICS, name, body.as_bytes());
    }
}

/// Two carriers; the first one's operator makes every mistake before the file is right.
fn carriers(stage: &Stage) -> Carriers {
    let listen = "[grpc]\nlisten = \"127.0.0.1:0\"\n";
    let [a, b] = ["carrier-a", "carrier-b"].map(|name| stage.lab.party(name, listen));
    let b = Arc::new(b);
    imports::refused(stage, &a);
    imports::accepted(stage, &a, &b);
    stage.moment("published");
    Carriers { a, b }
}

/// The good path, in the process and over REST, with somebody in the middle.
async fn ask(stage: &Stage, carriers: &Carriers) -> (Party, Nodes) {
    let (a, b) = (stage.lab.start(&carriers.a).await, stage.lab.start(&carriers.b).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let middle = listener.local_addr().unwrap().to_string();
    let addresses = [(&carriers.a, middle), (&*carriers.b, b.grpc_address().unwrap().to_string())];
    let terms = GrantTerms { purposes: vec![PURPOSE.into(), "review".into()], ..terms() };
    let bank = stage.lab.bank_files(&addresses, &terms);
    let passed = Recording::serve(listener, &carriers.a, &bank, a.grpc_address().unwrap());
    for (party, node) in [(&carriers.a, &a), (&*carriers.b, &b)] {
        party.taken_over_by(node).await;
        bank.admin.fetch_snapshot(&party.config.node.party, |_, _| ()).await.unwrap();
    }
    let token = bank.admin.admit_caller("counter-system").unwrap();
    let nodes = Nodes { bank: stage.lab.start(&bank).await, a, b, passed };
    let reports = verify_all(stage, &nodes.bank).await;
    let results: Vec<_> = reports.iter().map(|report| report.result.as_str()).collect();
    assert_eq!(results[..3], ["match", "mismatch", "match"], "{results:?}");
    assert_eq!(results[6], "no_record");
    rest::calls(stage, &nodes.bank, &token, &reports[0].id).await;
    bank_of(&nodes.bank).countersign().await;
    nodes.bank.log().publish().await.unwrap();
    for (name, node) in [("bank", &nodes.bank), ("carrier-a", &nodes.a), ("carrier-b", &nodes.b)] {
        look(&stage.record, name, node).await;
    }
    stage.moment("while the nodes run");
    (bank, nodes)
}

/// Asks about everybody, one by one and together, and keeps the reports.
async fn verify_all(stage: &Stage, node: &Node) -> Vec<VerificationReport> {
    let bank = bank_of(node);
    let mut reports = Vec::new();
    for question in questions() {
        reports.push(bank.verify(question).await.unwrap());
    }
    let batch = bank.verify_batch(questions()).await.unwrap();
    for report in reports.iter().chain(&batch) {
        stage.record.keep(REPORTS, "verifications", format!("{report:?}").as_bytes());
        stage.record.keep(REPORTS, "verifications", &serde_json::to_vec(report).unwrap());
        assert_eq!(bank.report(&report.id).await.unwrap().as_ref(), Some(report));
    }
    reports
}

/// What goes wrong: questions that no grant covers, a carrier that is down, one that lies, a node that is
/// killed, a damaged record. Gives the bank, which is at rest then.
async fn fail(stage: &Stage, carriers: &Carriers, mut bank: Party, nodes: Nodes) -> Party {
    let running = bank_of(&nodes.bank);
    let mut outside = questions();
    outside.iter_mut().for_each(|question| question.purpose = "marketing".into());
    running.verify_batch(outside.clone()).await.unwrap();
    outside[0].purpose = PURPOSE.into();
    stage.record.error("mixed batch", running.verify_batch(outside).await);
    stage.record.error("empty batch", running.verify_batch(Vec::new()).await);
    stage.record.error("large batch", running.verify_batch(vec![questions().remove(0); 4_097]).await);
    rest::hostile_peer(stage, &bank, &carriers.a, &nodes.a).await;

    nodes.b.stop().await.unwrap();
    verify_all(stage, &nodes.bank).await;
    // A killed node leaves its journal and its write-ahead log as they are.
    nodes.bank.abandon().await;
    stage.moment("after a kill");

    bank.config.providers[1].address = Liar::serve(&carriers.b, Lie::WrongProof).await.to_string();
    let node = stage.lab.start(&bank).await;
    let reports = verify_all(stage, &node).await;
    assert_eq!(reports[0].providers[1].error.as_deref(), Some("PROOF_INVALID"));
    end_grants(stage, &bank);
    bank.taken_over_by(&node).await;
    verify_all(stage, &node).await;
    look(&stage.record, "bank", &node).await;
    look(&stage.record, "carrier-a", &nodes.a).await;
    damage(&bank);
    stage.record.error("damaged record", bank_of(&node).report(&reports[0].id).await);
    node.stop().await.unwrap();
    nodes.a.stop().await.unwrap();
    stage.record.passed("carrier-a", &nodes.passed);
    bank
}

fn end_grants(stage: &Stage, bank: &Party) {
    let grants = bank.admin.grants().unwrap();
    stage.record.debug("grants", &grants);
    for (grant, _) in grants {
        bank.admin.end_grant(&grant.id.to_string()).unwrap();
    }
    bank.admin.dismiss_caller("counter-system").unwrap();
}

/// Changes every sealed record, as a broken disk might.
fn damage(bank: &Party) {
    let state = rusqlite::Connection::open(bank.config.node.data_dir.join("state.db")).unwrap();
    let changed = state.execute("UPDATE verification SET sealed = zeroblob(length(sealed))", []).unwrap();
    assert!(changed > 0);
}

/// What auditors and partners read.
fn check_logs(stage: &Stage, carriers: &Carriers) {
    let bank = stage.lab.dir.path().join("bank/data/log");
    let logs = [bank, carriers.a.log_dir(), carriers.b.log_dir()];
    read_logs(&stage.record, &logs);
    let text = carriers.a.admin.issue_grant(&terms()).unwrap();
    stage.record.keep(DOCUMENTS, "grant", text.as_bytes());
    stage.record.keep(DOCUMENTS, "enrolment", carriers.a.enrolment.as_bytes());
    let refused = carriers.b.admin.accept_grant(&text);
    stage.record.error("a grant for another", refused);
}

/// Checks logs alone and all together, and keeps what an auditor reads.
pub(crate) fn read_logs(record: &Record, logs: &[PathBuf]) {
    for dir in logs {
        let files = verify_log(dir, None, &[]);
        assert!(files.findings.is_empty(), "{:?}", files.findings);
        record.keep(DEBUG, "log files", format!("{files:?}").as_bytes());
        record.report("audit", &audit::verify(dir, &VerifyOptions::default()));
    }
    record.report("audit", &audit::reconcile(logs));
}

/// One line of a carrier's file.
pub(crate) fn row(marked: &Marked) -> String {
    let kind = match marked.kind {
        DocumentKind::Passport => "护照",
        _ => "居民身份证",
    };
    let (phone, name, document) = (marked.phones[0], marked.names[0], marked.documents[0]);
    format!("{phone},{name},{kind},{document},正常,2015-05-01,,否,1,疑似涉诈,2026-11-01\n")
}

/// Lines of all of these.
pub(crate) fn rows<'a>(people: impl IntoIterator<Item = &'a Marked>) -> String {
    people.into_iter().map(row).collect()
}

/// A configuration that admits every quality.
pub(crate) fn lenient() -> DataSetConfig {
    DataSetConfig::carrier().with_quality(windvane::dataset::Quality::anything())
}

/// People whose rows a carrier must refuse.
pub(crate) fn refused_rows() -> String {
    rows(&REFUSED)
}
