//! Processes that are killed at every named stage: what stands then, and that the work goes on.
//!
//! The test runs this very test program again as its victim; the victim's tests do nothing by themselves.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use super::world::*;
use crate::score::fetch::FetchedTables;
use crate::score::table::{OwnTable, SummedTable};
use crate::score::table_stage::TableStage;

const FOLDER: &str = "WINDVANE_TEST_FOLDER";
const SIGKILL: i32 = 9;

/// Runs a victim until it is killed at a stage.
fn kill(victim: &str, stage: TableStage, root: &Path) {
    let name = format!("score::table_tests::killing::{victim}");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--ignored", "--test-threads", "1"])
        .env("WINDVANE_CRASH_AT", stage.name())
        .env(FOLDER, root)
        .output()
        .unwrap();
    assert_eq!(run.status.signal(), Some(SIGKILL), "{stage}: {run:?}");
}

fn victims_world() -> Option<World> {
    Some(World::new(std::env::var_os(FOLDER)?.as_ref(), 1))
}

#[test]
#[ignore = "the victim of another test"]
fn publishing_victim() {
    if let Some(world) = victims_world() {
        world.publish_parts(0, &world.parts[0]).unwrap();
    }
}

#[tokio::test]
#[ignore = "the victim of another test"]
async fn fetching_victim() {
    if let Some(world) = victims_world()
        && let FetchedTables::Summed(summed) = world.fetch([Lie::None; PROVIDERS]).await.unwrap()
    {
        summed.install().unwrap();
    }
}

#[test]
fn a_publication_that_is_killed_at_any_stage_serves_nothing_early_and_is_finished_by_the_next() {
    for stage in TableStage::ALL.into_iter().take(6).filter(|stage| *stage != TableStage::TablePart) {
        let dir = tempfile::tempdir().unwrap();
        kill("publishing_victim", stage, dir.path());
        let world = World::new(dir.path(), 1);
        let placed = OwnTable::open(&world.own_folder(0), &party(0));
        assert_eq!(placed.is_ok(), stage == TableStage::TablePlaced, "{stage}");
        let root = world.root(0, &world.parts[0]);
        let context = world.epoch().context();
        let noted = world.score_folder("carrier-a").ledger().unwrap().ledger().table(context).copied();
        let early = [TableStage::TableBegun, TableStage::TableBuilt].contains(&stage);
        assert_eq!(noted, (!early).then_some(root), "{stage}");
        // Once the root is noted, other parts come too late, also where no byte has left.
        let other = world.publish_parts(0, &world.some_parts(99));
        assert_eq!(other.err().map(|error| error.code()), noted.map(|_| "SCORE_SECOND_TABLE"), "{stage}");
        if noted.is_some() {
            let manifest = world.publish_parts(0, &world.parts[0]).unwrap();
            assert_eq!(manifest.body().root, root, "{stage}");
            OwnTable::open(&world.own_folder(0), &party(0)).unwrap().verify().unwrap();
        }
    }
}

#[tokio::test]
async fn a_download_that_is_killed_at_any_stage_installs_nothing_early_and_is_finished_by_the_next() {
    for stage in TableStage::ALL.into_iter().skip(6).filter(|stage| *stage != TableStage::FetchPart) {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path(), 1);
        world.publish_all();
        kill("fetching_victim", stage, dir.path());
        let open = || SummedTable::open(&world.folder("bank"), world.epoch());
        assert_eq!(open().is_ok(), stage == TableStage::Installed, "{stage}");
        if let FetchedTables::Summed(summed) = world.fetch([Lie::None; PROVIDERS]).await.unwrap() {
            summed.install().unwrap();
        }
        open().unwrap().verify().unwrap();
    }
}
