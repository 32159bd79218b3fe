//! A bank that takes answers and stays away: its session is given up by the provider's own upkeep, and what was answered
//! is in the log.

use std::sync::Arc;

use windvane::admin::Admin;
use windvane::audit::{VerifyOptions, verify};
use windvane::retire::node::verify_archive;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::train::lapse::TrainLapse;

use super::*;

/// Longer than a session is kept.
const LONG_MS: u64 = 8 * 86_400_000;

const FIRST: Place = Place::first(0);
const NEXT: Place = Place { block: 0, tree: 1, level: 0 };

/// What a carrier that has stopped logged of trainings that it gave up.
fn lapses(carrier: &Party) -> Vec<Signed<TrainLapse>> {
    let lapse = |event| match event {
        Event::TrainLapsed(lapse) => Some(*lapse),
        _ => None,
    };
    let report = verify(&carrier.log_dir(), &VerifyOptions::default());
    assert!(report.findings.is_empty(), "{report}");
    lab::events(carrier).into_iter().filter_map(lapse).collect()
}

fn refused<T>(result: Result<T, Status>) -> String {
    code(&result.err().expect("a refusal"))
}

impl World {
    /// Stops the provider, which ends its upkeep first, has the journal of a session end before its last fact, as after a
    /// kill, and starts the provider again after a time.
    async fn killed_before_last_fact(self, training: &Training, after_ms: u64) -> Self {
        let path = self.folder(training).join("journal");
        self.node.stop().await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
        std::fs::write(path, format!("{kept}\n")).unwrap();
        self.lab.clock.advance_ms(after_ms);
        let node = self.lab.start(&self.carrier).await;
        Self { node, ..self }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_ends_leaves_a_signed_record_of_what_was_answered() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    training.grow(FIRST, &[]).await.unwrap();
    training.grow(NEXT, &[Decision::Leaf(1)]).await.unwrap();
    let trainings = world.node.trainings().unwrap();
    trainings.lapse().await;
    training.grow(NEXT, &[Decision::Leaf(1)]).await.unwrap();
    world.lab.clock.advance_ms(LONG_MS);
    assert_eq!(refused(training.grow(NEXT, &[Decision::Leaf(1)]).await), "TRAIN_EXPIRED");
    for _ in 0..2 {
        trainings.lapse().await;
        assert_eq!(refused(training.open().await), "TRAIN_EXPIRED");
        assert_eq!(refused(training.grow(NEXT, &[Decision::Leaf(1)]).await), "TRAIN_EXPIRED");
    }
    // Nothing that tells of people is left.
    let left = std::fs::read_dir(world.folder(&training)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["acceptance", "journal", "lapse"]);
    world.node.stop().await.unwrap();
    let all = lapses(&world.carrier);
    let [lapse] = &all[..] else { panic!("{all:?}") };
    assert!(lapse.verify(&world.carrier.admin.keys().receipt.verifying_key()));
    let (body, mut hash) = (lapse.body(), training.step_hash());
    assert_eq!(body.acceptance, training.acceptance.clone().unwrap());
    assert_eq!((body.attempts, body.answered.count, body.residuals.len()), (1, 2, 1));
    assert!(body.is_begun() && body.indicator != [0; 64] && body.held_out == [0; 64]);
    let [first, last] = training.steps[..] else { panic!("two steps") };
    hash.step(&first.0, &first.1);
    assert_eq!((body.answered.before, body.answered.last), (hash.clone().finish(), last.0));
    hash.step(&last.0, &last.1);
    assert_eq!(body.answered.steps, hash.finish());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_only_opened_is_given_up_once_by_whichever_start_comes_first() {
    let mut world = World::new().await;
    let mut training = world.training(5);
    training.open().await.unwrap();
    world.lab.clock.advance_ms(LONG_MS);
    for _ in 0..2 {
        world = world.restarted().await;
    }
    world.node.stop().await.unwrap();
    let all = lapses(&world.carrier);
    let [lapse] = &all[..] else { panic!("{all:?}") };
    assert!(!lapse.body().is_begun() && lapse.body().answered.count == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_logged_before_a_kill_is_logged_again_as_it_was() {
    let mut world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    training.grow(FIRST, &[]).await.unwrap();
    world.lab.clock.advance_ms(LONG_MS);
    world = world.restarted().await.killed_before_last_fact(&training, 3_600_000).await;
    world.node.stop().await.unwrap();
    let all = lapses(&world.carrier);
    assert!(all.len() == 2 && all[0] == all[1], "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_receipt_is_logged_is_through_though_a_kill_kept_its_journal_from_saying_so() {
    let mut world = World::new().await;
    let mut training = world.training(5);
    let (finish, receipt) = training.whole().await;
    // The second start finds nothing more to do, and so has no hold on the session.
    world = world.killed_before_last_fact(&training, LONG_MS).await.restarted().await;
    training.client = world.client(&world.bank);
    assert_eq!(training.finish(&finish).await.unwrap(), receipt);
    world.node.stop().await.unwrap();
    assert_eq!(lapses(&world.carrier), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_a_kill_kept_back_is_had_though_the_table_is_gone_and_the_grant_ended() {
    let mut world = World::new().await;
    let mut training = world.training(5);
    let (finish, receipt) = training.whole().await;
    world = world.killed_before_last_fact(&training, 0).await;
    training.client = world.client(&world.bank);
    std::fs::remove_file(world.lab.dir.path().join("features.csv")).unwrap();
    let id = world.bank.admin.grants().unwrap()[0].0.id.to_string();
    world.carrier.admin.end_grant(&id).unwrap();
    world.carrier.taken_over_by(&world.node).await;
    let other = TrainFinish { steps: [0; 64], ..finish.clone() };
    assert_eq!(refused(training.finish(&other).await), "GRANT_UNKNOWN");
    for _ in 0..2 {
        assert_eq!(training.finish(&finish).await.unwrap(), receipt);
    }
    world.node.stop().await.unwrap();
    assert_eq!(lapses(&world.carrier), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_leaves_service_signs_what_it_answered_until_then() {
    let world = World::new().await;
    let mut training = world.training(5);
    training.prepared().await;
    training.grow(FIRST, &[]).await.unwrap();
    let journal = world.folder(&training).join("journal");
    world.node.stop().await.unwrap();
    let archive = world.lab.dir.path().join("archive");
    let retire = |dry_run| {
        let admin = Admin::open(&world.carrier.config, Arc::new(world.lab.clock.clone())).unwrap();
        admin.retire_node(&archive, dry_run)
    };
    retire(true).unwrap();
    // What cannot be read is not destroyed either.
    let whole = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, "no journal\n").unwrap();
    assert_eq!(retire(false).unwrap_err().code(), "TRAIN_FOLDER");
    std::fs::write(&journal, whole).unwrap();
    assert_eq!(lapses(&world.carrier), []);
    retire(false).unwrap();
    let report = verify_archive(&archive).unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.log.counts["train lapsed"], 1);
}
