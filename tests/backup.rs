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
use windvane::{Node, error::NodeError};
use windvane_keys::rotation::{epochs, next_epoch};
use windvane_protocols::audit::entry::Event;

use crate::lab::{HEADER, Lab, Party, SUBSCRIBERS, events, terms, zhang};
use crate::psi::process::Process;

mod kills;
mod trust;

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
        let lab = Lab::new();
        let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
        let carrier_node = lab.start(&carrier).await;
        let (bank, bank_node) = lab.bank(&[(&carrier, &carrier_node)], &terms()).await;
        Self { lab, carrier, carrier_node: Some(carrier_node), bank, bank_node: Some(bank_node) }
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

    async fn stop_bank(&mut self) {
        self.bank_node.take().unwrap().stop().await.unwrap();
    }
}

/// A carrier in a process of its own, to be killed, and a bank that asks it.
struct Drill {
    lab: Lab,
    carrier: Party,
    process: Option<Process>,
    bank: Party,
    bank_node: Option<Node>,
}

impl Drill {
    async fn new(terms: GrantTerms) -> Self {
        let lab = Lab::new();
        // The restored node has to be found where the lost one was.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let carrier = lab.party("carrier-a", &format!("[grpc]\nlisten = \"{free}\"\n"));
        let file = lab.dir.path().join("carrier-a.csv");
        std::fs::write(&file, format!("{HEADER}{SUBSCRIBERS}")).unwrap();
        carrier.publish(&file);
        let bank = lab.bank_files(&[(&carrier, free.to_string())], &terms);
        let config = lab.dir.path().join("carrier-a/windvane.toml");
        let (process, _) = Process::node(&config, &lab.dir.path().join("ready"), None).await;
        bank.admin.fetch_snapshot("carrier-a", |_, _| ()).await.unwrap();
        let bank_node = Some(lab.start(&bank).await);
        Self { lab, carrier, process: Some(process), bank, bank_node }
    }

    /// So many verifications at a time; the code of the provider's error in each.
    async fn verify(&self, count: usize) -> Vec<Option<String>> {
        let bank = self.bank_node.as_ref().unwrap().bank().unwrap();
        let ask = |_| {
            let bank = bank.clone();
            tokio::spawn(async move { bank.verify(zhang()).await.unwrap().providers.remove(0).error })
        };
        let mut codes = Vec::new();
        for asked in (0..count).map(ask).collect::<Vec<_>>() {
            codes.push(asked.await.unwrap());
        }
        codes
    }

    fn back_up(&self) -> Made {
        tokio::task::block_in_place(|| {
            self.carrier.admin.back_up(&self.lab.dir.path().join("backups"), None, &|_, _| ()).unwrap()
        })
    }

    /// Kills the carrier, and starts another one from the backup and the log that the kill left.
    async fn kill_and_restore(&mut self) -> (Restored, Party, Node) {
        // SIGKILL: nothing is flushed, nothing is sealed.
        drop(self.process.take());
        let to = self.lab.dir.path().join("restored");
        let from = self.lab.dir.path().join("backups");
        let (restored, carrier) =
            tokio::task::block_in_place(|| restored(&self.lab, &self.carrier, &from, &to));
        let node = self.lab.start(&carrier).await;
        (restored, carrier, node)
    }
}

/// A party's backup in `to`, caught up with the log that its data directory has; gives the party that goes on there.
pub(crate) fn restored(lab: &Lab, party: &Party, from: &Path, to: &Path) -> (Restored, Party) {
    let log = Some(party.config.node.data_dir.as_path());
    let restore = Restore { config: &party.config, from, to, log, log_lost: false, checkpoints: &[] };
    let restored = restore.run(&lab.clock, &|_, _| ()).unwrap();
    (restored, party_at(lab, party, to))
}

/// The same party with its restored files.
pub(crate) fn party_at(lab: &Lab, party: &Party, data_dir: &Path) -> Party {
    let mut config: Config = party.config.clone();
    config.node.data_dir = data_dir.to_owned();
    let admin = Admin::open(&config, Arc::new(lab.clock.clone())).unwrap();
    Party { admin, config, enrolment: party.enrolment.clone() }
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
    let mut drill = Drill::new(terms()).await;
    let (asked, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let load = async {
        while !over.load(Ordering::SeqCst) {
            let codes = drill.verify(8).await;
            assert!(codes.iter().all(Option::is_none), "{codes:?}");
            asked.fetch_add(codes.len() as u64, Ordering::SeqCst);
        }
    };
    let reached = async |count: u64| {
        while asked.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    };
    let back_up = async {
        reached(200).await;
        let first = drill.back_up();
        reached(asked.load(Ordering::SeqCst) + 100).await;
        let second = drill.back_up();
        reached(asked.load(Ordering::SeqCst) + 100).await;
        over.store(true, Ordering::SeqCst);
        (first, second)
    };
    let ((), (first, second)) = tokio::join!(load, back_up);
    for made in [&first, &second] {
        let report = backup::verify(&made.path).unwrap();
        assert!(report.is_ok(), "{report}");
        assert!(verify_log(&made.path.join("log"), None, &[]).findings.is_empty());
    }
    assert!(second.linked_bytes > 0 && first.linked_bytes == 0, "{second:?}");
    assert!(second.log_size >= first.log_size + 100, "{first:?} {second:?}");

    let (restored, carrier, node) = drill.kill_and_restore().await;
    assert!(restored.log_size >= restored.backup_size + 100, "{restored:?}");
    // The first call may find the connection to the node that was killed.
    let codes = [drill.verify(1).await, drill.verify(1).await].concat();
    assert_eq!(codes[1], None, "{codes:?}");
    node.stop().await.unwrap();
    drill.bank_node.take().unwrap().stop().await.unwrap();
    let told = events(&carrier);
    let receipts = told.iter().filter(|event| matches!(event, Event::Answered(_))).count() as u64;
    assert!(receipts > asked.load(Ordering::SeqCst), "{receipts} of {asked:?}");
    let returns =
        told.iter().filter(|event| matches!(event, Event::Restored { log, .. } if log == "complete"));
    assert_eq!(returns.count(), 1);
    is_sound(&carrier, &first.path);
    is_sound(&carrier, &second.path);
    let report = audit::reconcile(&[drill.bank.log_dir(), carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_provider_counts_what_was_used_after_the_backup() {
    let mut drill = Drill::new(GrantTerms { total: 20, ..terms() }).await;
    drill.back_up();
    let exhausted = Some("GRANT_EXHAUSTED".to_owned());
    let mut answered = 0;
    while drill.verify(1).await[0] != exhausted {
        answered += 1;
        assert!(answered <= 20);
    }
    assert!(answered > 0);
    let (_, carrier, node) = drill.kill_and_restore().await;
    let codes = [drill.verify(1).await, drill.verify(1).await].concat();
    assert!(codes.iter().all(Option::is_some) && codes[1] == exhausted, "{codes:?}");
    node.stop().await.unwrap();
    drill.bank_node.take().unwrap().stop().await.unwrap();
    let report = audit::reconcile(&[drill.bank.log_dir(), carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
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
    let (restored, carrier) = restored(&lab, &carrier, &repository, &to);
    assert!(restored.notes.iter().any(|note| note.contains("epoch 2 of subscribers")), "{restored:?}");
    assert_eq!(next_epoch(&carrier.admin.keys().store, &name).unwrap(), 3);
    assert_eq!(carrier.admin.data_set_status(&name).unwrap().published, []);
    let alive = epochs(&carrier.admin.keys().store, &name).unwrap();
    assert!(alive.iter().all(|epoch| epoch.state == windvane_keys::record::State::Destroyed), "{alive:?}");
    // The next one goes on as always.
    carrier.publish(&lab.dir.path().join("carrier-a.csv"));
    let published = carrier.admin.data_set_status(&name).unwrap().published;
    assert_eq!(published.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [3]);
    let report = audit::verify(&carrier.log_dir(), &VerifyOptions::default());
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
    let carrier = party_at(&pair.lab, &pair.carrier, &to);
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
fn a_key_that_is_being_overwritten_is_in_no_backup() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let keys = carrier.config.node.data_dir.join("keys");
    for left in ["old.key.wipe", "new.key.tmp"] {
        std::fs::write(keys.join(left), b"sealed").unwrap();
    }
    let made = carrier.admin.back_up(&lab.dir.path().join("backups"), None, &|_, _| ()).unwrap();
    let copied = std::fs::read_dir(made.path.join("keys")).unwrap();
    let names: Vec<_> = copied.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() > 1 && names.iter().all(|name| name == "kek" || name.ends_with(".key")), "{names:?}");
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
