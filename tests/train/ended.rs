//! Ends that do not come to everybody at once: one provider refuses its own, and a bank that does not come to countersign.

use rusqlite::Connection;

use super::*;
use crate::lab::bank_of;

/// Has a provider hold a model of this folder once the first block is through.
struct Taken(PathBuf);

impl TrainProgress for Taken {
    fn block(&self, done: u16, _total: u16, _auc: Option<f64>) {
        if done == 1 {
            std::fs::create_dir_all(&self.0).unwrap();
        }
    }

    fn trees(&self, _done: u64, _total: u64) {}

    fn reading(&self) -> &dyn windvane::dataset::Progress {
        &()
    }
}

impl World {
    fn small_plan(&self, name: &str) -> TrainPlan {
        let mut plan = self.plan(name);
        (plan.model.blocks, plan.model.trees) = (Some(1), Some(1));
        plan
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_came_are_logged_and_countersigned_though_one_provider_refuses_the_end() {
    let world = World::new().await;
    let training = world.begun(&world.small_plan("refused-1"));
    let models = "score/joint-risk/models/refused-1";
    let taken = Taken(world.providers["police"].0.config.node.data_dir.join(models));
    let error = world.go_on_telling(training, Arc::new(taken)).await.unwrap_err();
    // As often as the bank goes on.
    let again = world.go_on(training).await.unwrap_err();
    for error in [error, again] {
        assert_eq!(error.code(), "TRAIN_MODEL_EXISTS");
        assert!(error.to_string().contains("police, finishing"), "{error}");
    }
    let (bank, providers, _lab) = world.stopped().await;
    let count = |kind| events(&bank).iter().filter(|event| event.kind() == kind).count();
    assert_eq!((count("train completed"), count("train result"), count("countersigned")), (2, 2, 2));
    let failed = events(&bank).into_iter().filter_map(|event| match event {
        Event::Failed { peer, code, .. } => Some((peer.to_string(), code)),
        _ => None,
    });
    let refused = ("police".to_owned(), "TRAIN_MODEL_EXISTS".to_owned());
    assert_eq!(failed.collect::<Vec<_>>(), [refused.clone(), refused]);
    let logs: Vec<_> = std::iter::once(&bank).chain(&providers).map(Party::log_dir).collect();
    let agreed = reconcile(&logs);
    assert!(agreed.is_ok(), "{agreed}");
    let ends = agreed.pairs.iter().map(|pair| (pair.jobs_agreed, pair.countersigned, pair.explained.len()));
    assert_eq!(ends.collect::<Vec<_>>(), [(1, 1, 0), (1, 1, 0), (0, 0, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_told_under_the_code_of_another_provider() {
    let mut world = World::new().await;
    world.stop("police").await;
    let error = world.go_on(world.begun(&world.small_plan("stopped-1"))).await.unwrap_err();
    assert_eq!(error.code(), "PEER_UNAVAILABLE");
    let (bank, _, _lab) = world.stopped().await;
    let failed = events(&bank).into_iter().filter_map(|event| match event {
        Event::Failed { peer, code, .. } => Some((peer.to_string(), code)),
        _ => None,
    });
    let told =
        [("carrier-a", "TRAIN_STOPPED"), ("carrier-b", "TRAIN_STOPPED"), ("police", "PEER_UNAVAILABLE")];
    assert_eq!(failed.collect::<Vec<_>>(), told.map(|(peer, code)| (peer.to_owned(), code.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_only_the_log_has_are_countersigned_by_the_next_start_of_the_banks_node() {
    let mut world = World::new().await;
    let training = world.begun(&world.small_plan("uncountersigned-1"));
    let state = Connection::open(world.bank.config.node.data_dir.join("state.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON uncountersigned BEGIN SELECT RAISE(ABORT, 'full'); END";
    state.execute_batch(full).unwrap();
    world.go_on(training).await.unwrap_err();
    state.execute_batch("DROP TRIGGER full").unwrap();
    world.know(&world.addresses(), "[http]\nlisten = \"127.0.0.1:0\"\n");
    // Longer than a test runs.
    world.bank.config.verification.countersign_interval_ms = 600_000;
    let node = world.lab.start(&world.bank).await;
    for party in UNITS.concat() {
        assert_eq!(bank_of(&node).uncountersigned(party, 10).unwrap().len(), 1, "{party}");
    }
    bank_of(&node).countersign().await;
    node.stop().await.unwrap();
    let (bank, providers, _lab) = world.stopped().await;
    let logs: Vec<_> = std::iter::once(&bank).chain(&providers).map(Party::log_dir).collect();
    let agreed = reconcile(&logs);
    assert!(agreed.is_ok(), "{agreed}");
    assert!(agreed.pairs.iter().all(|pair| (pair.jobs_agreed, pair.countersigned) == (1, 1)), "{agreed}");
}
