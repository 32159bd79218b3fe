//! Backups of nodes that run, and nodes that go on from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use windvane::admin::{Admin, GrantTerms};
use windvane::audit::{self, VerifyOptions};
use windvane::backup::{self, Made};
use windvane::config::Config;
use windvane::evidence::LogReader;
use windvane::evidence::verify::verify_log;
use windvane::restore::{Restore, Restored, SAFE_STEP};
use windvane::verification::VerificationReport as Report;
use windvane::{Node, error::NodeError};
use windvane_keys::rotation::{epochs, next_epoch};
use windvane_protocols::audit::entry::Event;

use crate::lab::{Lab, Party, SUBSCRIBERS, bank_of, events, terms, zhang};

mod kills;

/// A carrier and a bank that asks it.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    pub(crate) carrier: Party,
    pub(crate) carrier_node: Option<Node>,
    pub(crate) bank: Party,
    pub(crate) bank_node: Option<Node>,
}

impl Pair {
    pub(crate) async fn new() -> Self {
        Self::with(terms()).await
    }

    async fn with(terms: GrantTerms) -> Self {
        let lab = Lab::new();
        let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
        let carrier_node = lab.start(&carrier).await;
        let (bank, bank_node) = lab.bank(&[(&carrier, &carrier_node)], &terms).await;
        Self { lab, carrier, carrier_node: Some(carrier_node), bank, bank_node: Some(bank_node) }
    }

    fn bank_node(&self) -> &Node {
        self.bank_node.as_ref().unwrap()
    }

    async fn verify(&self) -> Report {
        bank_of(self.bank_node()).verify(zhang()).await.unwrap()
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.lab.dir.path().join("backups")
    }

    pub(crate) fn back_up(&self, party: &Party) -> Made {
        party.admin.back_up(&self.repository(), None, &|_, _| ()).unwrap()
    }

    pub(crate) fn restore(
        &self,
        party: &Party,
        to: &Path,
        log: Option<&Path>,
    ) -> Result<Restored, NodeError> {
        self.restore_with(party, to, log, log.is_none(), &[])
    }

    fn restore_with(
        &self,
        party: &Party,
        to: &Path,
        log: Option<&Path>,
        log_lost: bool,
        checkpoints: &[PathBuf],
    ) -> Result<Restored, NodeError> {
        let from = self.repository();
        let restore = Restore { config: &party.config, from: &from, to, log, log_lost, checkpoints };
        restore.run(&self.lab.clock, &|_, _| ())
    }

    /// The same party with its restored files.
    pub(crate) fn party_at(&self, party: &Party, data_dir: &Path) -> Party {
        let mut config: Config = party.config.clone();
        config.node.data_dir = data_dir.to_owned();
        let admin = Admin::open(&config, Arc::new(self.lab.clock.clone())).unwrap();
        Party { admin, config, enrolment: party.enrolment.clone() }
    }

    async fn stop_bank(&mut self) {
        self.bank_node.take().unwrap().stop().await.unwrap();
    }
}

/// Whether the only provider answered.
fn answered(report: &Report) -> Result<(), String> {
    report.providers[0].error.clone().map_or(Ok(()), Err)
}

/// Elements that the log of a carrier has receipts for.
fn answers(party: &Party) -> usize {
    events(party).iter().filter(|event| matches!(event, Event::Answered(_))).count()
}

fn log_size(dir: &Path) -> u64 {
    LogReader::open(&dir.join("log")).unwrap().checkpoint().unverified().size
}

/// A log that is at rest is whole, says nothing wrong, and goes on from a backup's.
fn is_sound(party: &Party, since: &Path) {
    let since = LogReader::open(&since.join("log")).unwrap().checkpoint().unverified().clone();
    let report = audit::verify(&party.log_dir(), &VerifyOptions { vkey: None, since: Some(since) });
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_and_a_kill_give_a_node_that_goes_on_where_the_log_is() {
    let mut pair = Pair::new().await;
    let (asked, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let load = async {
        while !over.load(Ordering::SeqCst) {
            let reports = futures_of(&pair, 8).await;
            assert!(reports.iter().all(|report| answered(report).is_ok()));
            asked.fetch_add(reports.len() as u64, Ordering::SeqCst);
        }
    };
    let back_up = async {
        while asked.load(Ordering::SeqCst) < 300 {
            tokio::task::yield_now().await;
        }
        let made = tokio::task::block_in_place(|| {
            let first = pair.back_up(&pair.carrier);
            (first, pair.back_up(&pair.carrier))
        });
        let enough = asked.load(Ordering::SeqCst) + 100;
        while asked.load(Ordering::SeqCst) < enough {
            tokio::task::yield_now().await;
        }
        over.store(true, Ordering::SeqCst);
        made
    };
    let ((), (first, second)) = tokio::join!(load, back_up);
    let report = backup::verify(&second.path).unwrap();
    assert!(report.is_ok(), "{report}");
    assert!(second.linked_bytes > 0 && first.linked_bytes == 0, "{second:?}");
    assert!(verify_log(&second.path.join("log"), None, None).findings.is_empty());

    // The node dies; its data directory stays as the kill left it.
    let address = pair.carrier_node.as_ref().unwrap().grpc_address().unwrap();
    pair.carrier_node.take().unwrap().abandon().await;
    let to = pair.lab.dir.path().join("restored");
    let lost = pair.carrier.config.node.data_dir.clone();
    let restored = pair.restore(&pair.carrier, &to, Some(&lost)).unwrap();
    assert!(restored.log_size >= restored.backup_size, "{restored:?}");
    let carrier = pair.party_at(&pair.carrier, &to);
    let (receipts, total) = (answers(&carrier), asked.load(Ordering::SeqCst));
    assert!(receipts as u64 >= total, "{receipts} of {total}");
    let told = events(&carrier);
    assert!(
        matches!(told.last(), Some(Event::Restored { log, .. }) if log == "complete"),
        "{:?}",
        told.last()
    );

    let mut config = carrier.config.clone();
    config.grpc.as_mut().unwrap().listen = address;
    let carrier = Party { config, ..carrier };
    let node = pair.lab.start(&carrier).await;
    let first = pair.verify().await;
    // The bank's connection may still be the old one.
    let again = pair.verify().await;
    assert!(answered(&first).is_ok() || answered(&again).is_ok(), "{again:?}");
    node.stop().await.unwrap();
    pair.stop_bank().await;
    is_sound(&carrier, &second.path);
    let report = audit::reconcile(&[pair.bank.log_dir(), carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
}

/// So many verifications at a time.
async fn futures_of(pair: &Pair, count: usize) -> Vec<Report> {
    let bank = pair.bank_node().bank().unwrap().clone();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let bank = bank.clone();
            tokio::spawn(async move { bank.verify(zhang()).await.unwrap() })
        })
        .collect();
    let mut reports = Vec::new();
    for task in tasks {
        reports.push(task.await.unwrap());
    }
    reports
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_provider_counts_what_was_used_after_the_backup() {
    let mut pair = Pair::with(GrantTerms { total: 20, ..terms() }).await;
    tokio::task::block_in_place(|| pair.back_up(&pair.carrier));
    while answered(&pair.verify().await).is_ok() {}
    let exhausted = answered(&pair.verify().await).unwrap_err();
    assert_eq!(exhausted, "GRANT_EXHAUSTED");
    let address = pair.carrier_node.as_ref().unwrap().grpc_address().unwrap();
    pair.carrier_node.take().unwrap().abandon().await;

    let (to, lost) = (pair.lab.dir.path().join("restored"), pair.carrier.config.node.data_dir.clone());
    pair.restore(&pair.carrier, &to, Some(&lost)).unwrap();
    let mut carrier = pair.party_at(&pair.carrier, &to);
    carrier.config.grpc.as_mut().unwrap().listen = address;
    let node = pair.lab.start(&carrier).await;
    let codes: Vec<_> = [pair.verify().await, pair.verify().await].iter().map(answered).collect();
    assert!(codes.contains(&Err("GRANT_EXHAUSTED".to_owned())), "{codes:?}");
    assert!(codes.iter().all(Result::is_err), "{codes:?}");
    node.stop().await.unwrap();
    pair.stop_bank().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_published_after_the_backup_is_never_published_again() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let (repository, to) = (lab.dir.path().join("backups"), lab.dir.path().join("restored"));
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    carrier.publish(&lab.dir.path().join("carrier-a.csv"));
    let name = "subscribers".parse().unwrap();
    assert_eq!(next_epoch(&carrier.admin.keys().store, &name).unwrap(), 3);
    let restore = Restore {
        config: &carrier.config,
        from: &repository,
        to: &to,
        log: Some(&carrier.config.node.data_dir),
        log_lost: false,
        checkpoints: &[],
    };
    let restored = restore.run(&lab.clock, &|_, _| ()).unwrap();
    assert!(restored.notes.iter().any(|note| note.contains("epoch 2 of subscribers")), "{restored:?}");
    let mut config = carrier.config.clone();
    config.node.data_dir.clone_from(&to);
    let admin = Admin::open(&config, Arc::new(lab.clock.clone())).unwrap();
    assert_eq!(next_epoch(&admin.keys().store, &name).unwrap(), 3);
    assert_eq!(admin.data_set_status(&name).unwrap().published, []);
    let alive = epochs(&admin.keys().store, &name).unwrap();
    assert!(alive.iter().all(|epoch| epoch.state == windvane_keys::record::State::Destroyed), "{alive:?}");
    // The next one goes on as always.
    let restored = Party { admin, config, enrolment: carrier.enrolment.clone() };
    restored.publish(&lab.dir.path().join("carrier-a.csv"));
    let published = restored.admin.data_set_status(&name).unwrap().published;
    assert_eq!(published.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [3]);
    let report = audit::verify(&restored.log_dir(), &VerifyOptions::default());
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_log_is_lost_nothing_that_counts_goes_on() {
    let mut pair = Pair::new().await;
    pair.carrier_node.take().unwrap().stop().await.unwrap();
    pair.stop_bank().await;
    pair.back_up(&pair.carrier);
    let to = pair.lab.dir.path().join("restored");
    let refused = pair.restore_with(&pair.carrier, &to, None, false, &[]).unwrap_err();
    assert_eq!(refused.code(), "RESTORE_LOG_NOT_NAMED");
    let restored = pair.restore(&pair.carrier, &to, None).unwrap();
    assert!(restored.notes.iter().any(|note| note.contains("is ended")), "{restored:?}");
    let carrier = pair.party_at(&pair.carrier, &to);
    let name = "subscribers".parse().unwrap();
    assert!(next_epoch(&carrier.admin.keys().store, &name).unwrap() > SAFE_STEP);
    assert_eq!(carrier.admin.data_set_status(&name).unwrap().published, []);
    let told = events(&carrier);
    let ended = told.iter().filter(|event| matches!(event, Event::Restored { log, .. } if log == "lost"));
    assert_eq!(ended.count(), 1);
    let node = pair.lab.start(&carrier).await;
    node.stop().await.unwrap();
    assert_eq!(events(&carrier).iter().filter(|event| matches!(event, Event::GrantEnded(_))).count(), 1);
    let report = audit::verify(&carrier.log_dir(), &VerifyOptions::default());
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_behind_what_others_have_seen_is_refused() {
    let mut pair = Pair::new().await;
    pair.carrier_node.take().unwrap().stop().await.unwrap();
    pair.stop_bank().await;
    pair.back_up(&pair.carrier);
    let old = pair.lab.dir.path().join("old-log");
    copy(&pair.carrier.log_dir(), &old);
    pair.carrier.admin.admit_caller("teller").unwrap();
    let seen = pair.lab.dir.path().join("seen");
    std::fs::copy(pair.carrier.log_dir().join("checkpoint"), &seen).unwrap();
    let to = pair.lab.dir.path().join("restored");
    let behind = |log: Option<&Path>| {
        pair.restore_with(&pair.carrier, &to, log, log.is_none(), std::slice::from_ref(&seen))
    };
    assert_eq!(behind(None).unwrap_err().code(), "RESTORE_LOG_BEHIND");
    assert_eq!(behind(Some(&old)).unwrap_err().code(), "RESTORE_LOG_BEHIND");
    assert!(!to.exists());
    let restored = behind(Some(&pair.carrier.config.node.data_dir)).unwrap();
    assert_eq!(restored.log_size, log_size(&pair.carrier.config.node.data_dir));
    assert!(restored.notes.iter().any(|note| note.contains("teller")), "{restored:?}");
    // Another node's log is none.
    let other = pair.restore(
        &pair.carrier,
        &pair.lab.dir.path().join("other"),
        Some(&pair.bank.config.node.data_dir),
    );
    assert!(other.is_err());
    assert!(!pair.lab.dir.path().join("other").exists());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_damaged_a_foreign_or_an_unfinished_backup_is_refused_and_a_full_directory_stays() {
    let lab = Lab::new();
    let (carrier, other) = (lab.carrier("carrier-a", SUBSCRIBERS), lab.carrier("carrier-b", SUBSCRIBERS));
    let repository = lab.dir.path().join("backups");
    let made = carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    let to = lab.dir.path().join("restored");
    let restore = |party: &Party, to: &Path| {
        let log = Some(carrier.config.node.data_dir.as_path());
        let restore =
            Restore { config: &party.config, from: &repository, to, log, log_lost: false, checkpoints: &[] };
        restore.run(&lab.clock, &|_, _| ())
    };
    assert_eq!(restore(&other, &to).unwrap_err().code(), "BACKUP_FOREIGN");
    let full = &carrier.config.node.data_dir;
    assert_eq!(restore(&carrier, full).unwrap_err().code(), "RESTORE_NOT_EMPTY");
    let pages = made.path.join("datasets/subscribers/epochs/1/pages");
    for file in [pages, made.path.join("MANIFEST"), made.path.join("SEAL"), made.path.join("state.db")] {
        let whole = std::fs::read(&file).unwrap();
        let mut altered = whole.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        std::fs::write(&file, altered).unwrap();
        let error = restore(&carrier, &to).unwrap_err();
        assert_eq!(error.code(), "BACKUP_DAMAGED", "{}: {error}", file.display());
        assert!(!to.exists());
        std::fs::write(&file, whole).unwrap();
    }
    std::fs::write(made.path.join("added"), b"x").unwrap();
    assert_eq!(restore(&carrier, &to).unwrap_err().code(), "BACKUP_DAMAGED");
    std::fs::remove_file(made.path.join("added")).unwrap();
    std::fs::remove_file(made.path.join("log/checkpoint")).unwrap();
    assert_eq!(restore(&carrier, &to).unwrap_err().code(), "BACKUP_DAMAGED");
    std::fs::remove_dir_all(&made.path).unwrap();
    assert_eq!(restore(&carrier, &to).unwrap_err().code(), "BACKUP_MISSING");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let file = lab.dir.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let error = carrier.admin.back_up(&file.join("backups"), None, &|_, _| ()).unwrap_err();
    assert_eq!(error.code(), "BACKUP_TARGET", "{error}");
    let inside = carrier.config.node.data_dir.join("backups");
    assert_eq!(carrier.admin.back_up(&inside, None, &|_, _| ()).unwrap_err().code(), "BACKUP_INSIDE");
}

#[test]
fn a_repository_keeps_so_many_and_shares_what_did_not_change() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let repository = lab.dir.path().join("backups");
    let made: Vec<_> =
        (0..3).map(|_| carrier.admin.back_up(&repository, Some(2), &|_, _| ()).unwrap()).collect();
    assert_eq!(made[2].removed, [made[0].path.clone()]);
    assert!(!made[0].path.exists() && backup::verify(&made[1].path).unwrap().is_ok());
    let newest = backup::resolve(&repository).unwrap();
    assert_eq!(newest, made[2].path);
    assert!(backup::verify(&newest).unwrap().is_ok());
    assert!(made[2].linked_bytes > 0);
}
