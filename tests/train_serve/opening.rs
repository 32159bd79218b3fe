//! What opening a session costs its provider, and which moment counts, while a table is being read.

use std::fs::OpenOptions;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;

/// A table that is being read for as long as this is there: a pipe that nobody writes to stands in its place.
struct Reading {
    table: PathBuf,
    pipe: PathBuf,
}

impl Reading {
    fn of(world: &World) -> Self {
        let table = world.lab.dir.path().join("features.csv");
        let pipe = table.with_extension("pipe");
        std::fs::rename(&table, table.with_extension("kept")).unwrap();
        mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
        std::fs::rename(&pipe, &table).unwrap();
        Self { table, pipe }
    }
}

impl Drop for Reading {
    /// The table is as it was, and who waits at the pipe finds nothing in it.
    fn drop(&mut self) {
        std::fs::rename(&self.table, &self.pipe).unwrap();
        std::fs::rename(self.table.with_extension("kept"), &self.table).unwrap();
        let _writer = OpenOptions::new().read(true).write(true).open(&self.pipe).unwrap();
        std::fs::remove_file(&self.pipe).unwrap();
    }
}

/// An answer that does not wait for the table.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), answer).await.expect("an answer")
}

fn refused<T>(result: Result<T, Status>) -> String {
    code(&result.err().expect("a refusal"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_for_no_list_of_segments_but_the_providers_own() {
    let world = World::new().await;
    std::fs::remove_file(world.lab.dir.path().join("features.csv")).unwrap();
    let key = TrainingKey::derive(&TrainingSeed::from_bytes([5; 32]));
    let mut request = world.request(5, &key);
    request.charter.universe = [7; 64];
    assert_eq!(refused(world.training_of(request, key).open().await), "TRAIN_UNIVERSE");
    assert_eq!(refused(world.training(5).open().await), "TRAIN_TABLE");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_opens_one_session_at_a_time_whether_it_waits_for_it_or_not() {
    let world = World::new().await;
    let reading = Reading::of(&world);
    let mut first = world.training(5);
    let waiting = tokio::spawn(async move { first.open().await.map(drop) });
    world.running(1).await;
    let mut second = world.training(6);
    assert_eq!(refused(soon(second.open()).await), "TRAIN_BUSY");
    waiting.abort();
    assert_eq!(refused(soon(second.open()).await), "TRAIN_BUSY");
    drop(reading);
    while let Err(refusal) = second.open().await {
        assert_eq!(code(&refusal), "TRAIN_BUSY");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_as_old_as_when_it_came_and_its_grant_permits_when_it_is_accepted() {
    let mut world = World::new().await;
    let mut before = world.training(5);
    before.open().await.unwrap();
    world = world.restarted().await;
    before.client = world.client(&world.bank);
    let (mut late, mut ended) = (world.training(6), world.training(7));

    let reading = Reading::of(&world);
    let (begun, opened) = tokio::join!(before.begin(), async {
        let meanwhile = async {
            world.running(2).await;
            world.lab.clock.advance_ms(120_000);
            drop(reading);
        };
        world.running(1).await;
        tokio::join!(late.open(), meanwhile).0
    });
    assert_eq!(refused(begun), "TRAIN_TABLE");
    assert!(world.lab.clock.now_ms() - opened.unwrap().body().accepted_at_ms < 60_000);

    let reading = Reading::of(&world);
    let (begun, opened) = tokio::join!(before.begin(), async {
        let meanwhile = async {
            world.running(2).await;
            let id = world.bank.admin.grants().unwrap()[0].0.id.to_string();
            world.carrier.admin.end_grant(&id).unwrap();
            world.carrier.taken_over_by(&world.node).await;
            drop(reading);
        };
        world.running(1).await;
        ended.request = Signed::sign(
            TrainRequest { requested_at_ms: world.lab.clock.now_ms(), ..ended.request.body().clone() },
            world.bank.admin.keys().signing_key(),
        );
        tokio::join!(ended.open(), meanwhile).0
    });
    assert_eq!(refused(begun), "TRAIN_TABLE");
    assert_eq!(refused(opened), "GRANT_UNKNOWN");
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_before_a_restore_is_not_opened_again_and_one_that_was_killed_as_it_was_counted_is() {
    let mut world = World::new().await;
    let (mut lost, mut killed) = (world.training(5), world.training(6));
    lost.open().await.unwrap();
    killed.open().await.unwrap();
    let text = world.carrier.admin.issue_grant(&grant(train_terms())).unwrap();
    world.bank.admin.accept_grant(&text).unwrap();
    world = world.restarted().await;
    // A restore brings no session back that was under way; a kill leaves what was written before the acceptance.
    std::fs::remove_dir_all(world.folder(&lost)).unwrap();
    std::fs::remove_file(world.folder(&killed).join("acceptance")).unwrap();
    std::fs::write(world.folder(&killed).join("journal"), "").unwrap();
    for known in [&lost, &killed] {
        let (first, key) = (known.request.body(), TrainingKey::derive(&TrainingSeed::from_bytes([9; 32])));
        let grants = world.bank.admin.grants().unwrap();
        let other = grants.iter().map(|(grant, _)| grant.id).find(|id| *id != first.grant).unwrap();
        let request = TrainRequest {
            charter: world.charter(&key),
            grant: other,
            requested_at_ms: world.lab.clock.now_ms(),
            ..first.clone()
        };
        assert_eq!(refused(world.training_of(request, key).open().await), "TRAIN_SESSION_DIFFERS");
    }
    assert_eq!(
        refused(world.training_of(lost.request.body().clone(), lost.key).open().await),
        "TRAIN_SESSION_DIFFERS"
    );
    killed.client = world.client(&world.bank);
    killed.open().await.unwrap();
    world.node.stop().await.unwrap();
}
