//! A provider's table: made, published again, refused, and resumed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use windvane_protocols::score::table::parts::Coverage;

use super::world::*;
use crate::dataset::Position;
use crate::score::build::{PublishTable, RECORD, TEMPORARY, prepare, prepare_keeping};
use crate::score::parts::DenseParts;
use crate::score::table::OwnTable;

#[test]
fn a_published_table_is_that_of_its_parts_noted_and_signed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2);
    let manifest = world.publish_parts(0, &world.parts[0]).unwrap();
    let body = manifest.body();
    assert!(manifest.verify(&key(0).verifying_key()));
    assert_eq!((body.segments, body.root), (2, world.root(0, &world.parts[0])));
    assert_eq!((body.parts.default, body.parts.distinct, body.built_at_ms), (DEFAULT, 256, NOW_MS));
    let ledger = world.score_folder("carrier-a").ledger().unwrap();
    assert_eq!(ledger.ledger().table(world.epoch().context()), Some(&body.root));
    let table = OwnTable::open(&world.own_folder(0), &party(0)).unwrap();
    assert_eq!(table.manifest(), &manifest);
    table.verify().unwrap();
    let second = world.members[0].sealer().unwrap().rows(10_000, &world.parts[0].as_slice()[10_000..]);
    assert_eq!(table.segment(1).unwrap(), second.as_flattened());
    assert!(table.segment(2).is_err());
    assert!(!world.own_folder(0).join(TEMPORARY).exists());
}

#[test]
fn the_same_parts_again_give_the_same_table_and_the_first_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2);
    let first = world.publish_parts(0, &world.parts[0]).unwrap();
    let later = |job: &PublishTable<'_>| {
        let prepared = prepare(&PublishTable { now_ms: NOW_MS + 1, ..*job }, &()).unwrap();
        (prepared.was_placed(), prepared.place().unwrap())
    };
    assert_eq!(world.with_job(0, &world.parts[0], later), (true, first.clone()));
    // Without the note of what it is made of, it is made again.
    fs::remove_file(world.own_folder(0).join(RECORD)).unwrap();
    assert_eq!(world.with_job(0, &world.parts[0], later), (false, first.clone()));
    // A table that was damaged in its place is made again.
    let path = world.own_folder(0).join("table");
    let mut bytes = fs::read(&path).unwrap();
    bytes[400_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let damaged = OwnTable::open(&world.own_folder(0), &party(0)).unwrap();
    assert_eq!(damaged.verify().unwrap_err().code(), "SCORE_TABLE_DAMAGED");
    assert_eq!(world.with_job(0, &world.parts[0], later), (false, first));
    OwnTable::open(&world.own_folder(0), &party(0)).unwrap().verify().unwrap();
}

#[test]
fn a_second_table_under_one_context_is_refused_and_nothing_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1);
    let manifest = world.publish_parts(0, &world.parts[0]).unwrap();
    let before = fs::read(world.own_folder(0).join("table")).unwrap();
    let other = world.some_parts(77);
    assert_ne!(other, world.parts[0]);
    assert_eq!(world.publish_parts(0, &other).unwrap_err().code(), "SCORE_SECOND_TABLE");
    let table = OwnTable::open(&world.own_folder(0), &party(0)).unwrap();
    assert_eq!(table.manifest(), &manifest);
    assert!(fs::read(world.own_folder(0).join("table")).unwrap() == before, "the table was replaced");
    assert!(!world.own_folder(0).join(TEMPORARY).exists());
    assert_eq!(world.publish_parts(0, &world.parts[0]).unwrap(), manifest);
}

#[test]
fn a_second_table_is_refused_after_the_ledger_was_lost_too() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1);
    let manifest = world.publish_parts(0, &world.parts[0]).unwrap();
    let ledger = dir.path().join("carrier-a/score/ledger");
    fs::remove_file(&ledger).unwrap();
    let other = world.some_parts(77);
    assert_eq!(world.publish_parts(0, &other).unwrap_err().code(), "SCORE_SECOND_TABLE");
    assert!(!ledger.exists() && !world.own_folder(0).join(TEMPORARY).exists());
    let table = OwnTable::open(&world.own_folder(0), &party(0)).unwrap();
    assert_eq!(table.manifest(), &manifest);
    table.verify().unwrap();
    assert_eq!(world.publish_parts(0, &world.parts[0]).unwrap(), manifest);
    assert!(ledger.exists());
}

#[test]
fn a_table_that_is_not_in_its_place_is_served_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1);
    let open = || OwnTable::open(&world.own_folder(0), &party(0));
    let signed = world.with_job(0, &world.parts[0], |job| {
        let prepared = prepare(job, &()).unwrap();
        assert_eq!(open().unwrap_err().code(), "SCORE_TABLE_MISSING");
        let busy = prepare(job, &()).unwrap_err();
        assert_eq!(busy.code(), "SCORE_BUSY");
        prepared.manifest().clone()
    });
    // The first one was dropped as a kill would leave it.
    assert_eq!(open().unwrap_err().code(), "SCORE_TABLE_MISSING");
    assert_eq!(world.publish_parts(0, &world.parts[0]).unwrap(), signed);
    open().unwrap().verify().unwrap();
}

#[test]
fn an_interrupted_build_goes_on_with_the_same_parts_only() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 6);
    // One thread makes four segments at a time, so there are two batches.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let interrupt = |provider: usize, parts: &DenseParts| {
        let stop = |position: Position| assert_ne!(position.done, 6, "interrupted on purpose");
        let run = |job: &PublishTable<'_>| pool.install(|| prepare_keeping(job, &stop, 1));
        let run = AssertUnwindSafe(|| world.with_job(provider, parts, run));
        assert!(catch_unwind(run).is_err());
    };
    let reports = |provider: usize, parts: &DenseParts| {
        let seen = Mutex::new(Vec::new());
        let watch = |position: Position| seen.lock().unwrap().push(position.done);
        let run = |job: &PublishTable<'_>| pool.install(|| publish(job, &watch));
        let manifest = world.with_job(provider, parts, run).unwrap();
        assert_eq!(manifest.body().root, world.root(provider, parts));
        seen.into_inner().unwrap()
    };
    interrupt(0, &world.parts[0]);
    assert_eq!(reports(0, &world.parts[0]), [4, 6], "it does not go on");
    interrupt(1, &world.parts[0]);
    assert_eq!(reports(1, &world.parts[1]), [0, 4, 6], "other parts went on");
    interrupt(2, &world.parts[2]);
    let path = world.own_folder(2).join(TEMPORARY);
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(reports(2, &world.parts[2]), [0, 4, 6], "a damaged beginning went on");
}

#[test]
fn what_does_not_belong_together_or_must_not_be_declared_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (world, other) = (World::new(dir.path(), 1), World::new(dir.path(), 2));
    let code = |change: &dyn Fn(PublishTable<'_>) -> Result<(), &'static str>| {
        world.with_job(0, &world.parts[0], |job| change(*job).unwrap_err())
    };
    let run = |job: &PublishTable<'_>| publish(job, &()).map(drop).map_err(|error| error.code());
    assert_eq!(code(&|job| run(&PublishTable { parts: &other.parts[0], ..job })), "SCORE_EPOCH_MISMATCH");
    assert_eq!(code(&|job| run(&PublishTable { universe: &other.universe, ..job })), "SCORE_EPOCH_MISMATCH");
    let elsewhere = world.score_folder("carrier-a").group(&"fraud".parse().unwrap()).epoch(EPOCH + 1);
    assert_eq!(code(&|job| run(&PublishTable { folder: &elsewhere, ..job })), "SCORE_EPOCH_MISMATCH");
    assert_eq!(code(&|job| run(&PublishTable { key: &key(1), ..job })), "SCORE_EPOCH_MISMATCH");
    let alone = (Coverage::Alone, 300);
    let declared = |(coverage, overlap_permille), job: &PublishTable<'_>| {
        run(&PublishTable { coverage, overlap_permille, ..*job })
    };
    assert_eq!(code(&|job| declared(alone, &job)), "SCORE_PARTS_VALUES");
    assert_eq!(code(&|job| run(&PublishTable { overlap_permille: 999, ..job })), "SCORE_PARTS_TERMS");
    assert!(!world.own_folder(0).join(TEMPORARY).exists());
    let [single] = &members(&world.universe, 1)[..] else { panic!("a group of one") };
    assert_eq!(code(&|job| run(&PublishTable { member: single, ..job })), "SCORE_PARTS_TERMS");
    let few = DenseParts::uniform(&world.universe, 9);
    let lone = |job: &PublishTable<'_>| {
        run(&PublishTable { parts: &few, coverage: Coverage::Alone, overlap_permille: 300, ..*job })
    };
    assert_eq!(world.with_job(0, &few, lone), Ok(()));
    assert_eq!(world.with_job(0, &few, run), Err("SCORE_DECLARATION_CHANGED"));
    fs::write(world.own_folder(0).join("retired"), b"").unwrap();
    assert_eq!(world.with_job(0, &few, lone), Err("SCORE_EPOCH_RETIRED"));
}
