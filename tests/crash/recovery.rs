//! What must hold once the fault is over: nodes serve, nothing that was acknowledged is gone, nothing that counts went
//! back, the interrupted work goes on, and every log verifies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use windvane::Node;
use windvane::audit::{self, VerifyOptions};
use windvane::backup;
use windvane::dataset::{published_dir, published_epochs, published_manifest};
use windvane::evidence::LogReader;
use windvane::snapshot::Snapshot;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::{Hash, Record as _};

use super::process::{Ended, GRANTED, Run, Told};
use super::scenario::{self, Scenario, VERIFICATIONS};

/// Codes that say that there is nothing more to do.
const DONE: [&str; 2] = ["DELTA_NOTHING_NEW", "SNAPSHOT_INSTALLED"];

/// Holds what a process left against what it told, and goes on from there.
pub(super) async fn recover(run: &Run, scenario: Scenario, ended: &Ended, fault: &str) {
    recover_at(&run.root, scenario, ended.answered(), fault).await;
    is_sound(run, fault);
}

/// The same without the logs.
pub(super) async fn recover_at(root: &Path, scenario: Scenario, answered: u64, fault: &str) {
    if scenario == Scenario::Backup && root.join("backups").exists() {
        no_half_backup(&root.join("backups"), fault);
    }
    if scenario != Scenario::Verify {
        serve(root, fault).await;
    }
    let told = again(root, scenario).await;
    let failed = told.steps.iter().filter_map(|(_, code)| code.as_deref()).find(|code| !DONE.contains(code));
    assert_eq!(failed, None, "{fault}: {told:?}");
    match scenario {
        Scenario::Verify => quota_holds(root, answered + told.answered(), fault).await,
        Scenario::Backup => {
            let newest = backup::resolve(&root.join("backups")).unwrap();
            assert!(backup::verify(&newest).unwrap().is_ok(), "{fault}");
        }
        _ => serve(root, fault).await,
    }
    nothing_untold(root, fault);
}

async fn again(root: &Path, scenario: Scenario) -> Told {
    let root = root.to_owned();
    let run = move || {
        let mut told = Told::default();
        scenario.run(&root, &mut told);
        told
    };
    // Scenarios bring their own runtime.
    std::thread::scope(|scope| tokio::task::block_in_place(|| scope.spawn(run).join().unwrap()))
}

async fn start(root: &Path, fault: &str) -> (Node, Node) {
    let carrier = scenario::started(&scenario::config(root, "carrier-a")).await;
    let carrier = carrier.unwrap_or_else(|error| panic!("{fault}: the carrier does not start: {error}"));
    let bank = scenario::started(&scenario::bank(root, &carrier)).await;
    (carrier, bank.unwrap_or_else(|error| panic!("{fault}: the bank does not start: {error}")))
}

async fn stop(carrier: Node, bank: Node, fault: &str) {
    let stopped = bank.stop().await.and(carrier.stop().await);
    assert!(stopped.is_ok(), "{fault}: {stopped:?}");
}

/// The bank fetches what the carrier has, and asks.
async fn serve(root: &Path, fault: &str) {
    let (carrier, bank) = start(root, fault).await;
    let mut told = Told::default();
    scenario::fetch_from(root, &carrier, &mut told).await;
    let fetched = told.steps.last().unwrap().1.as_deref();
    assert!(fetched.is_none_or(|code| DONE.contains(&code)), "{fault}: {told:?}");
    bank.reload().await.unwrap();
    assert!(scenario::ask(&bank, &mut told).await, "{fault}: {told:?}");
    stop(carrier, bank, fault).await;
}

/// Every answer stays counted: the grant's total is not exceeded, whatever was interrupted.
async fn quota_holds(root: &Path, mut answered: u64, fault: &str) {
    let (carrier, bank) = start(root, fault).await;
    let mut told = Told::default();
    for _ in 0..=GRANTED {
        answered += u64::from(scenario::ask(&bank, &mut told).await);
    }
    assert!(answered <= GRANTED, "{fault}: {answered} of {GRANTED} were answered");
    let last = told.steps.last().unwrap().1.as_deref();
    assert_eq!(last, Some("GRANT_EXHAUSTED"), "{fault}: {told:?}");
    stop(carrier, bank, fault).await;
    let logged = |party: &str| {
        let is_answer = |event: &Event| match party {
            "bank" => matches!(event, Event::Decided(_)),
            _ => matches!(event, Event::Answered(_)),
        };
        events(root, party).iter().filter(|event| is_answer(event)).count() as u64
    };
    for party in ["carrier-a", "bank"] {
        assert!(logged(party) >= answered, "{fault}: {party} has {} of {answered}", logged(party));
    }
    assert!(answered >= VERIFICATIONS, "{fault}: {answered}");
    none_uncountersigned(root, fault);
}

/// A bank that stopped has countersigned every receipt that its log has.
fn none_uncountersigned(root: &Path, fault: &str) {
    let (mut receipts, mut countersigned) = (BTreeSet::new(), BTreeSet::new());
    for event in events(root, "bank") {
        match event {
            Event::Answered(receipt) => drop(receipts.insert(receipt.digest())),
            Event::Countersigned(signed) => countersigned.extend(signed.body().receipts.iter().copied()),
            _ => {}
        }
    }
    assert!(receipts.is_subset(&countersigned), "{fault}: {} of {}", countersigned.len(), receipts.len());
}

fn events(root: &Path, party: &str) -> Vec<Event> {
    let reader = LogReader::open(&log(root, party)).unwrap();
    reader.entries(0).map(|entry| Entry::decode(&entry.unwrap().1).unwrap().event).collect()
}

fn log(root: &Path, party: &str) -> PathBuf {
    root.join(party).join("data/log")
}

/// Digests of what a party's log tells was published.
fn told(root: &Path, party: &str) -> Vec<Hash> {
    let digest = |event| match event {
        Event::Published(manifest) => Some(manifest.digest()),
        Event::DeltaPublished(delta) => Some(delta.digest()),
        _ => None,
    };
    events(root, party).into_iter().filter_map(digest).collect()
}

/// Every table and delta in place stands in the carrier's log, once, and so does what the bank took.
fn nothing_untold(root: &Path, fault: &str) {
    let published = told(root, "carrier-a");
    let distinct: BTreeSet<_> = published.iter().copied().collect();
    assert_eq!(distinct.len(), published.len(), "{fault}: a publication stands twice in the log");
    let (data, name) = (root.join("carrier-a/data"), "subscribers".parse().unwrap());
    for epoch in published_epochs(&data, &name).unwrap() {
        let manifest = published_manifest(&data, &name, epoch).unwrap();
        assert!(distinct.contains(&manifest.digest()), "{fault}: no log knows epoch {epoch}");
        let snapshot = Snapshot::open(&published_dir(&data, &name, epoch)).unwrap();
        let deltas = snapshot.chain().deltas();
        assert!(deltas.iter().all(|delta| distinct.contains(&delta.digest())), "{fault}: epoch {epoch}");
    }
    let taken = told(root, "bank");
    assert!(taken.iter().all(|digest| distinct.contains(digest)), "{fault}: the bank has what no log knows");
}

/// What is called a backup is whole.
fn no_half_backup(repository: &Path, fault: &str) {
    match backup::resolve(repository) {
        Ok(newest) => assert!(backup::verify(&newest).unwrap().is_ok(), "{fault}"),
        Err(error) => assert_eq!(error.code(), "BACKUP_MISSING", "{fault}"),
    }
}

/// Each log verifies and goes on from where it was before the fault, and both agree.
fn is_sound(run: &Run, fault: &str) {
    for (party, since) in ["carrier-a", "bank"].iter().zip(&run.checkpoints) {
        let options = VerifyOptions { vkey: None, since: Some(since.clone()) };
        let report = audit::verify(&log(&run.root, party), &options);
        assert!(report.is_ok(), "{fault}: {report}");
    }
    let report = audit::reconcile(&[log(&run.root, "bank"), log(&run.root, "carrier-a")]);
    assert!(report.is_ok(), "{fault}: {report}");
}
