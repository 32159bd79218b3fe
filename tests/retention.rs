//! What is due goes, and what leaves service: with a protocol that an auditor can hold against the log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use windvane::admin::Admin;
use windvane::audit::{self, VerifyOptions};
use windvane::bank::Bank;
use windvane::clock::Clock as _;
use windvane::retention::{Class, Outcome};
use windvane::retire::What;
use windvane::retire::node::verify_archive;
use windvane_keys::record::State;
use windvane_keys::rotation::epochs;
use windvane_protocols::audit::destruction::Destruction;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::lookup::DataSet;

use crate::backup::{Pair, restored};
use crate::lab::{Lab, Party, SUBSCRIBERS, error_of, events, zhang};

const DAY_MS: u64 = 86_400_000;

fn protocols(party: &Party) -> Vec<Destruction> {
    let destroyed = |event| match event {
        Event::Destroyed(signed) => Some(signed.body().clone()),
        _ => None,
    };
    events(party).into_iter().filter_map(destroyed).collect()
}

fn is_sound(party: &Party) {
    let report = audit::verify(&party.log_dir(), &VerifyOptions::default());
    assert!(report.is_ok(), "{report}");
}

async fn stored(bank: &Bank, id: &str) -> bool {
    bank.report(id).await.unwrap().is_some()
}

fn subscribers() -> DataSet {
    "subscribers".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_goes_what_is_not_stays_and_the_log_has_counts() {
    let mut pair = Pair::new().await;
    let bank = pair.bank_node.as_ref().unwrap().bank().unwrap().clone();
    let id = bank.verify(zhang()).await.unwrap().id;
    assert!(stored(&bank, &id).await);
    assert!(pair.bank.admin.retain().unwrap().iter().all(|outcome| outcome.items == 0));
    assert_eq!(protocols(&pair.bank), []);

    // The day before it is due, and the day after. The node runs meanwhile.
    pair.lab.clock.advance_ms(1_825 * DAY_MS);
    assert!(pair.bank.admin.retain().unwrap().iter().all(|outcome| outcome.items == 0));
    assert!(stored(&bank, &id).await);
    pair.lab.clock.advance_ms(2 * DAY_MS);
    let plan = pair.bank.admin.retention_plan().unwrap();
    assert_eq!(plan.iter().map(|due| due.items).collect::<Vec<_>>(), [1, 0, 0, 0, 0, 0]);
    let outcomes = pair.bank.admin.retain().unwrap();
    assert_eq!((outcomes[0].class, outcomes[0].items), ("verifications", 1));
    assert!(!stored(&bank, &id).await);
    drop(bank);
    pair.bank_node.take().unwrap().stop().await.unwrap();
    pair.carrier_node.take().unwrap().stop().await.unwrap();
    pair.bank.admin.flush().unwrap();
    let told = protocols(&pair.bank);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].class.as_str(), told[0].cause.as_str(), told[0].items),
        ("verifications", "retention", 1)
    );
    assert!(told[0].bytes > 0 && told[0].bytes == outcomes[0].bytes);
    is_sound(&pair.bank);
}

#[test]
fn an_epoch_past_its_end_goes_with_its_keys_and_rejects_after_a_month() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", &format!("{SUBSCRIBERS}not,a,row\n"));
    let data = &carrier.config.node.data_dir;
    let rejects = data.join("datasets/subscribers/import-rejects.csv");
    assert!(rejects.exists());
    lab.clock.advance_ms(8 * DAY_MS + 3_600_000);
    let outcomes = carrier.admin.retain().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.error.is_none()), "{outcomes:?}");
    let gone = |class: Class| outcomes.iter().find(|outcome| outcome.class == class.name()).unwrap().items;
    assert_eq!((gone(Class::Epochs), gone(Class::Rejects)), (1, 0));
    assert!(!data.join("datasets/subscribers/epochs/1").exists());
    let left = epochs(&carrier.admin.keys().store, &subscribers()).unwrap();
    assert!(left.iter().all(|epoch| epoch.keys.iter().all(|key| key.state == State::Destroyed)));
    lab.clock.advance_ms(23 * DAY_MS);
    carrier.admin.retain().unwrap();
    assert!(!rejects.exists());
    let classes: Vec<_> = protocols(&carrier).into_iter().map(|record| record.class).collect();
    assert!(
        classes.starts_with(&["epochs".to_owned()]) && classes.contains(&"rejects".to_owned()),
        "{classes:?}"
    );
    is_sound(&carrier);
}

/// A folder of an installed table that came so long before the clock's time.
fn installed(lab: &Lab, party: &Party, name: &str, days_ago: u64) -> PathBuf {
    let folder = party.config.node.data_dir.join("snapshots/carrier-a").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("pages"), [7; 100]).unwrap();
    let manifest = File::create(folder.join("manifest")).unwrap();
    let arrived_ms = lab.clock.now_ms() - days_ago * DAY_MS;
    manifest.set_modified(UNIX_EPOCH + Duration::from_millis(arrived_ms)).unwrap();
    folder
}

fn of_class(outcomes: Vec<Outcome>, class: Class) -> Outcome {
    outcomes.into_iter().find(|outcome| outcome.class == class.name()).unwrap()
}

#[test]
fn a_table_goes_once_the_next_one_has_stood_long_enough_however_many_came_since() {
    let lab = Lab::new();
    let bank = lab.party("bank", "");
    let [first, second, third] =
        [(1, 5), (2, 2), (3, 0)].map(|(epoch, ago)| installed(&lab, &bank, &format!("set/{epoch}"), ago));
    // As a delta does it: the folder changes now.
    fs::create_dir_all(second.join("deltas/1")).unwrap();
    let outcome = of_class(bank.admin.retain().unwrap(), Class::Snapshots);
    assert_eq!((outcome.items, outcome.error), (1, None));
    assert!(!first.exists() && second.exists() && third.exists());

    lab.clock.advance_ms(2 * DAY_MS);
    let outcome = of_class(bank.admin.retain().unwrap(), Class::Snapshots);
    assert_eq!((outcome.items, outcome.error), (1, None));
    assert!(!second.exists() && third.exists());
    is_sound(&bank);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_whose_table_cannot_be_removed_has_no_keys_and_goes_at_the_next_run() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let tables = carrier.config.node.data_dir.join("datasets/subscribers/epochs");
    // No folder, so what is swept before a table goes cannot be.
    fs::write(tables.join(".removing-0"), "").unwrap();
    lab.clock.advance_ms(8 * DAY_MS + 3_600_000);
    let outcome = of_class(carrier.admin.retain().unwrap(), Class::Epochs);
    assert_eq!(outcome.items, 0);
    assert!(outcome.error.is_some());
    assert!(tables.join("1").exists());
    let left = epochs(&carrier.admin.keys().store, &subscribers()).unwrap();
    assert!(left.iter().all(|epoch| epoch.state == State::Destroyed), "{left:?}");
    lab.start(&carrier).await.stop().await.unwrap();

    fs::remove_file(tables.join(".removing-0")).unwrap();
    let outcome = of_class(carrier.admin.retain().unwrap(), Class::Epochs);
    assert_eq!((outcome.items, outcome.error), (1, None));
    assert!(!tables.join("1").exists());
    is_sound(&carrier);
}

#[test]
fn what_went_before_an_error_is_told_and_a_half_removed_table_goes_as_working_data() {
    let lab = Lab::new();
    let bank = lab.party("bank", "");
    for (name, ago) in [("a/1", 9), ("a/2", 8), ("b/1", 9), ("b/2", 8)] {
        installed(&lab, &bank, name, ago);
    }
    let snapshots = bank.config.node.data_dir.join("snapshots/carrier-a");
    fs::write(snapshots.join("b/.removing-0"), "").unwrap();
    let outcome = of_class(bank.admin.retain().unwrap(), Class::Snapshots);
    assert_eq!((outcome.items, outcome.bytes), (1, 100));
    assert!(outcome.error.is_some());
    assert!(!snapshots.join("a/1").exists() && snapshots.join("b/1").exists());
    let told = protocols(&bank);
    assert_eq!((told.len(), told[0].items, told[0].bytes), (1, 1, 100));
    assert!(told[0].method.contains("not everything"), "{}", told[0].method);

    fs::remove_file(snapshots.join("b/.removing-0")).unwrap();
    // As a kill leaves it between the rename and the removal.
    fs::rename(snapshots.join("b/1"), snapshots.join("b/.removing-1")).unwrap();
    lab.clock.advance_ms(31 * DAY_MS);
    let outcome = of_class(bank.admin.retain().unwrap(), Class::Working);
    assert_eq!((outcome.items, outcome.error), (1, None));
    assert!(!snapshots.join("b/.removing-1").exists());
    let told = protocols(&bank);
    assert_eq!((told.len(), told[1].class.as_str(), told[1].items), (2, "working data", 1));
    is_sound(&bank);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_and_a_partner_leave_a_running_provider() {
    let mut pair = Pair::new().await;
    let node = pair.carrier_node.take().unwrap();
    let bank_node = pair.bank_node.take().unwrap();
    assert_eq!(error_of(&bank_node, zhang()).await, None);
    let what = What::DataSet(subscribers());
    let shown = pair.carrier.admin.retire(&what, true).unwrap();
    assert!(shown.dry_run && shown.items > 0);
    assert_eq!(error_of(&bank_node, zhang()).await, None);
    let gone = pair.carrier.admin.retire(&what, false).unwrap();
    assert_eq!((gone.items, gone.bytes, &gone.digest), (shown.items, shown.bytes, &shown.digest));
    pair.carrier.taken_over_by(&node).await;
    assert!(error_of(&bank_node, zhang()).await.is_some());
    assert!(!pair.carrier.config.node.data_dir.join("datasets/subscribers").exists());
    assert_eq!(pair.carrier.admin.retire(&what, false).unwrap_err().code(), "NOTHING_TO_RETIRE");

    pair.carrier.admin.retire(&What::Partner("bank".parse().unwrap()), false).unwrap();
    pair.carrier.taken_over_by(&node).await;
    assert!(pair.carrier.admin.partners().unwrap().is_empty());
    bank_node.stop().await.unwrap();
    node.stop().await.unwrap();
    let told: Vec<_> =
        protocols(&pair.carrier).into_iter().map(|record| (record.class, record.subject)).collect();
    let expected = [("data set", "subscribers"), ("partner", "bank")];
    assert_eq!(told, expected.map(|(class, subject)| (class.to_owned(), subject.to_owned())));
    is_sound(&pair.carrier);
}

#[test]
fn a_retired_epoch_does_not_come_back_with_a_backup() {
    let lab = Lab::new();
    let carrier = lab.carrier("carrier-a", SUBSCRIBERS);
    let (repository, to) = (lab.dir.path().join("backups"), lab.dir.path().join("restored"));
    carrier.admin.back_up(&repository, None, &|_, _| ()).unwrap();
    carrier.admin.retire(&What::Epoch(subscribers(), 1), false).unwrap();
    let (_, restored) = restored(&lab, &carrier, &repository, &to);
    assert!(!to.join("datasets/subscribers/epochs/1").exists());
    let left = epochs(&restored.admin.keys().store, &subscribers()).unwrap();
    assert!(left.iter().all(|epoch| epoch.state == State::Destroyed), "{left:?}");
}

fn files(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![fs::read(path).unwrap()] })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_node_leaves_an_archive_that_an_auditor_can_check_and_nothing_else() {
    let mut pair = Pair::new().await;
    let bank_node = pair.bank_node.take().unwrap();
    assert_eq!(error_of(&bank_node, zhang()).await, None);
    let archive = pair.lab.dir.path().join("archive");
    let opened = || Admin::open(&pair.bank.config, Arc::new(pair.lab.clock.clone())).unwrap();
    let running = tokio::task::block_in_place(|| opened().retire_node(&archive, false)).unwrap_err();
    assert_eq!(running.code(), "LOG_IN_USE");
    bank_node.stop().await.unwrap();
    pair.carrier_node.take().unwrap().stop().await.unwrap();

    let data = pair.bank.config.node.data_dir.clone();
    let shown = opened().retire_node(&archive, true).unwrap();
    assert!(shown.notes.iter().any(|note| note.contains("1 verifications")), "{shown:?}");
    assert!(data.join("keys").exists() && !archive.exists());
    let sealed: Vec<_> = files(&data.join("keys")).into_iter().filter(|file| file.len() > 200).collect();
    let gone = opened().retire_node(&archive, false).unwrap();
    assert!(!data.exists());
    let report = verify_archive(&archive).unwrap();
    assert!(report.ok, "{report:?}");
    let kept = files(&report.path);
    assert!(!sealed.iter().any(|key| kept.contains(key)), "a key is in the archive");
    assert!(report.path.join("enrolment.pem").exists() && report.path.join("keys.json").exists());
    assert_eq!(fs::read_dir(report.path.join("grants")).unwrap().count(), 1);
    // With the other side's log it still reconciles, and any change in it is found.
    let both = audit::reconcile(&[report.path.join("log"), pair.carrier.log_dir()]);
    assert!(both.is_ok(), "{both}");
    assert_eq!(gone.archive.as_ref(), Some(&report.path));
    let grant = fs::read_dir(report.path.join("grants")).unwrap().next().unwrap().unwrap().path();
    let mut altered = fs::read(&grant).unwrap();
    altered[7] ^= 1;
    fs::write(&grant, altered).unwrap();
    assert!(!verify_archive(&archive).unwrap().ok);
}
