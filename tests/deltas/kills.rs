//! SIGKILL at every named stage: what is left is the data set, or the table, before or after, and the next command
//! goes on.

use std::os::unix::process::ExitStatusExt as _;

use windvane::dataset::stage::Stage as Provider;
use windvane::snapshot::stage::Stage as Bank;

use super::process::Command;
use super::{Trial, data_set};

const SIGKILL: i32 = 9;

fn changes(trial: &Trial) -> usize {
    let name = data_set().name().clone();
    trial.carrier.admin.data_set_status(&name).unwrap().changes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_killed_at_any_stage_of_a_change_file_has_it_or_has_it_not() {
    let mut trial = Trial::start().await;
    let stages =
        [(Provider::ChangeRead, false), (Provider::ChangeSealed, false), (Provider::ChangePlaced, true)];
    for (number, (stage, taken)) in stages.into_iter().enumerate() {
        let file = trial.next_file();
        let status = Command::Change(&file).killed_at(&trial, stage.name());
        assert_eq!(status.signal(), Some(SIGKILL), "{stage}: {status}");
        assert_eq!(changes(&trial), number + usize::from(taken), "{stage}");
        if !taken {
            let report = trial.carrier.admin.change(&data_set(), &file, &()).unwrap();
            assert!(report.unexpected.is_empty(), "{stage}: {report:?}");
        }
        trial.carrier.admin.publish_delta(&data_set(), &()).unwrap();
        trial.carrier.taken_over_by(&trial.node).await;
        trial.fetch().await.unwrap();
        assert_eq!(trial.wrong(&trial.days).await, [""; 0], "{stage}");
    }
    trial.conclude(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_killed_at_any_stage_of_a_delta_publishes_it_once() {
    let mut trial = Trial::start().await;
    let stages =
        [(Provider::DeltaSealed, false), (Provider::DeltaPlaced, true), (Provider::DeltaLogged, true)];
    for (number, (stage, placed)) in stages.into_iter().enumerate() {
        let (before, file) = (trial.days.clone(), trial.next_file());
        trial.carrier.admin.change(&data_set(), &file, &()).unwrap();
        let status = Command::Delta.killed_at(&trial, stage.name());
        assert_eq!(status.signal(), Some(SIGKILL), "{stage}: {status}");
        // A delta that no log knows is not served.
        trial.carrier.taken_over_by(&trial.node).await;
        let served = trial.fetch().await;
        assert_eq!(served.is_ok(), stage == Provider::DeltaLogged, "{stage}");
        let truth = if served.is_ok() { &trial.days } else { &before };
        assert_eq!(trial.wrong(truth).await, [""; 0], "{stage}");
        let again = trial.carrier.admin.publish_delta(&data_set(), &());
        assert_eq!(
            again.map_err(|error| error.code().to_owned()).err(),
            placed.then(|| "DELTA_NOTHING_NEW".into())
        );
        trial.carrier.taken_over_by(&trial.node).await;
        assert_eq!(trial.fetch().await.is_ok(), stage != Provider::DeltaLogged, "{stage}");
        assert_eq!((trial.applied(), trial.wrong(&trial.days).await), (number + 1, Vec::new()), "{stage}");
    }
    trial.conclude(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_at_any_stage_of_a_delta_has_it_or_has_it_not() {
    let mut trial = Trial::start().await;
    for (number, stage) in Bank::ALL.into_iter().enumerate() {
        let before = trial.days.clone();
        trial.next_delta().await;
        let status = Command::Fetch.killed_at(&trial, stage.name());
        assert_eq!(status.signal(), Some(SIGKILL), "{stage}: {status}");
        let applied = matches!(stage, Bank::Applied | Bank::Recorded);
        assert_eq!(trial.applied(), number + usize::from(applied), "{stage}");
        // A running node takes over what a command tells of, and the command was killed before it could.
        if stage != Bank::Applied {
            trial.bank.0.taken_over_by(&trial.bank.1).await;
            let truth = if applied { &trial.days } else { &before };
            assert_eq!(trial.wrong(truth).await, [""; 0], "{stage}");
        }
        assert_eq!(trial.fetch().await.is_ok(), !applied, "{stage}");
        assert_eq!((trial.applied(), trial.wrong(&trial.days).await), (number + 1, Vec::new()), "{stage}");
    }
    trial.conclude(Bank::ALL.len()).await;
}

#[test]
fn every_stage_has_its_kill() {
    assert_eq!((Provider::ALL.len(), Bank::ALL.len()), (6, 5));
}
