//! A bank that cheats in a training over real nodes is found by the audit of each of its receipts, by block and row.

use windvane::train::audit::{TrainFinding, audit_training};
use windvane::train::run::Craft;

use super::*;

/// What the audits of all receipts of a training find that was run so, once each.
async fn findings(world: &World, name: &str, craft: Craft) -> (SessionId, Vec<TrainFinding>) {
    let mut runner = world.runner();
    runner.craft(craft);
    let training = runner.begin(&world.plan(name)).unwrap();
    let progress: Arc<dyn TrainProgress> = Arc::new(());
    runner.run(training, &progress).await.unwrap();
    runner.close().await.unwrap();
    let audit = |party| {
        audit_training(&world.bank.config, &world.receipt(training, party), None, &[]).unwrap().findings
    };
    let all: Vec<_> = UNITS.concat().into_iter().map(audit).collect();
    assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
    (training, all.into_iter().next().unwrap())
}

/// The first listed row to train on.
fn first(world: &World, training: SessionId) -> usize {
    let listed = world.trees(training).listed;
    listed.kinds().iter().position(|kind| matches!(kind, Kind::Training(_))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crafted_residual_is_named_by_block_and_row() {
    let world = World::new().await;
    let (training, found) = findings(&world, "crafted-1", Craft::Residual).await;
    let [only] = &found[..] else { panic!("{found:?}") };
    let row = first(&world, training);
    assert_eq!((only.code, only.block, only.row), ("TRAIN_RESIDUAL", Some(1), Some(row)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_indicator_other_decoys_another_scale_and_undecided_leaves_are_found() {
    let world = World::new().await;
    let (_, found) = findings(&world, "crafted-2", Craft::Indicator).await;
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["TRAIN_INDICATOR"]);
    let (_, found) = findings(&world, "crafted-3", Craft::List).await;
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["TRAIN_LIST"]);
    let (_, found) = findings(&world, "crafted-6", Craft::Scale).await;
    assert!(!found.is_empty() && found.iter().all(|finding| finding.code == "TRAIN_DECISIONS"), "{found:?}");
    assert!(found.iter().all(|finding| finding.what.contains("parts")), "{found:?}");
    let (_, found) = findings(&world, "crafted-4", Craft::Leaves).await;
    let [only] = &found[..] else { panic!("{found:?}") };
    assert_eq!((only.code, only.block), ("TRAIN_DECISIONS", Some(0)));
    assert!(only.what.contains("carrier-a"), "{only:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_is_resumed_encrypts_nothing_else_under_its_seed() {
    let world = World::new().await;
    let mut runner = world.runner();
    let training = runner.begin(&world.plan("crafted-5")).unwrap();
    let first = Arc::new(FirstBlock::default());
    let progress: Arc<dyn TrainProgress> = first.clone();
    tokio::select! {
        ended = runner.run(training, &progress) => panic!("{ended:?}"),
        () = first.through.notified() => {}
    }
    runner.craft(Craft::Indicator);
    // What was under way on a thread that blocks holds the folder to its end.
    let error = loop {
        match runner.run(training, &progress).await.unwrap_err() {
            error if error.to_string().contains("another process") => tokio::task::yield_now().await,
            error => break error,
        }
    };
    assert_eq!(error.code(), "TRAIN_FOLDER");
    assert!(error.to_string().contains("encrypted before"), "{error}");
    runner.close().await.unwrap();
    world.go_on(training).await.unwrap();
}
