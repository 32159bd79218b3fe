//! The bank's download and sum over gRPC, honest and not.

use std::fs;

use rand_core::Rng as _;
use windvane_protocols::score::query::ask;

use super::world::*;
use crate::score::fetch::{FetchedTables, ScoreFetchError};
use crate::score::sum::{RECORD, TEMPORARY};
use crate::score::table::SummedTable;

const HONEST: [Lie; PROVIDERS] = [Lie::None; PROVIDERS];

/// Fetches and installs.
async fn installed(world: &World, lies: [Lie; PROVIDERS]) -> SummedTable {
    match world.fetch(lies).await.unwrap() {
        FetchedTables::Summed(summed) => drop(summed.install().unwrap()),
        FetchedTables::Installed(_) => panic!("it is there already"),
    }
    SummedTable::open(&world.folder("bank"), world.epoch()).unwrap()
}

async fn refused(world: &World, lies: [Lie; PROVIDERS]) -> ScoreFetchError {
    let error = world.fetch(lies).await.unwrap_err();
    let open = SummedTable::open(&world.folder("bank"), world.epoch());
    assert_eq!(open.unwrap_err().code(), "SCORE_TABLE_MISSING");
    error
}

fn check_root(world: &World, table: &SummedTable) {
    table.verify().unwrap();
    let sealers: Vec<_> = world.members.iter().map(|member| member.sealer().unwrap()).collect();
    for position in [0, 9_999, 10_000, table.len() - 1] {
        let at = position as usize..position as usize + 1;
        let rows = sealers.iter().zip(&world.parts);
        let rows: Vec<_> = rows.map(|(s, parts)| s.rows(position, &parts.as_slice()[at.clone()])).collect();
        let stretches: Vec<_> = rows.iter().map(|rows| rows.as_flattened()).collect();
        let sum = windvane_protocols::score::table::sum::add(world.epoch(), &stretches).unwrap();
        assert_eq!(table.rows(&[position]).unwrap(), sum);
    }
}

#[tokio::test]
async fn fetched_tables_add_up_to_the_sums_of_parts() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2);
    let manifests = world.publish_all();
    let table = installed(&world, HONEST).await;
    assert_eq!((table.manifests(), table.len(), table.is_empty()), (&manifests[..], 20_000, false));
    check_root(&world, &table);
    let mut rng = rng(7);
    let positions: Vec<u64> = (0..1_000).map(|_| rng.next_u64() % 20_000).collect();
    let phones: Vec<_> = positions.iter().map(|position| phone(*position)).collect();
    let mut numbers: Vec<_> = phones.iter().map(Some).collect();
    numbers.insert(500, None);
    let (state, question) = ask(world.epoch(), &world.universe, &numbers, &mut rng).unwrap();
    let wanted: Vec<_> = state.positions().iter().flatten().copied().collect();
    assert_eq!(wanted, positions);
    let answers: Vec<_> = world.members.iter().map(|m| m.answer(&question, &mut rng).unwrap()).collect();
    let sums = state.on_answers(&answers).unwrap().open(&table.rows(&wanted).unwrap());
    let mut truth: Vec<_> = positions.iter().map(|p| Some(Ok(world.truth(*p as usize)))).collect();
    truth.insert(500, None);
    assert_eq!(sums, truth);
    assert!(table.rows(&[20_000]).is_err());
    assert!(matches!(world.fetch(HONEST).await.unwrap(), FetchedTables::Installed(_)));
}

#[tokio::test]
async fn whoever_lies_is_named_and_nothing_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2);
    world.publish_all();
    let cases = [
        (Lie::NoElement { segment: 1, row: 77 }, "SCORE_ROW_INVALID"),
        (Lie::Short { segments: 1 }, "SCORE_TABLE_TRUNCATED"),
        (Lie::Malformed, "MESSAGE_MALFORMED"),
        (Lie::Forged, "SCORE_MANIFEST_INVALID"),
        (Lie::Broken { segment: 1 }, "PEER_UNAVAILABLE"),
        (Lie::Long, "SCORE_TABLE_TOO_LONG"),
    ];
    for (lie, code) in cases {
        for liar in [0, 2] {
            let _ = fs::remove_dir_all(world.folder("bank").path());
            let mut lies = HONEST;
            lies[liar] = lie;
            let error = refused(&world, lies).await;
            assert_eq!((error.code(), error.party()), (code, Some(&party(liar))), "{lie:?}: {error}");
        }
    }
    fs::remove_dir_all(world.folder("bank").path()).unwrap();
    let error = refused(&world, [Lie::None, Lie::NoElement { segment: 1, row: 77 }, Lie::None]).await;
    assert!(error.to_string().starts_with("row 10077 of the table of carrier-b"), "{error}");
    check_root(&world, &installed(&world, HONEST).await);
}

#[tokio::test]
async fn a_table_with_another_root_discards_the_sum_and_an_honest_one_follows() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2);
    world.publish_all();
    let error = refused(&world, [Lie::None, Lie::None, Lie::Swapped { segment: 0 }]).await;
    assert_eq!((error.code(), error.party()), ("SCORE_ROOT_MISMATCH", Some(&party(2))));
    assert!(!world.folder("bank").join(TEMPORARY).exists());
    check_root(&world, &installed(&world, HONEST).await);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_was_unless_what_stands_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 3);
    world.publish_all();
    let broken = [Lie::None, Lie::Broken { segment: 2 }, Lie::None];
    let not_before = [Lie::NotBefore { segment: 2 }, Lie::None, Lie::None];
    assert_eq!(refused(&world, broken).await.code(), "PEER_UNAVAILABLE");
    let kept = fs::read(world.folder("bank").join(TEMPORARY)).unwrap();
    // What a crash leaves behind what was kept does not matter; what stands before that does.
    fs::write(world.folder("bank").join(TEMPORARY), [&kept[..], &[9; 1_000]].concat()).unwrap();
    check_root(&world, &installed(&world, not_before).await);
    assert!(!world.folder("bank").join(RECORD).exists());
    for damage in [TEMPORARY, RECORD] {
        fs::remove_dir_all(world.folder("bank").path()).unwrap();
        refused(&world, broken).await;
        let path = world.folder("bank").join(damage);
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(refused(&world, not_before).await.party(), Some(&party(0)), "{damage}");
        check_root(&world, &installed(&world, HONEST).await);
    }
}

#[tokio::test]
async fn a_changed_sum_is_found_and_an_installed_one_needs_all_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2);
    world.publish_all();
    drop(installed(&world, HONEST).await);
    let folder = world.folder("bank");
    let open = || SummedTable::open(&folder, world.epoch());
    let mut bytes = fs::read(folder.join("table")).unwrap();
    let before = open().unwrap();
    fs::remove_file(folder.join("table")).unwrap();
    assert!(!before.is_replaced());
    fs::write(folder.join("table"), &bytes).unwrap();
    assert!(before.is_replaced() && !open().unwrap().is_replaced());
    bytes[123_456] ^= 1;
    fs::write(folder.join("table"), &bytes).unwrap();
    assert_eq!(open().unwrap().verify().unwrap_err().code(), "SCORE_TABLE_DAMAGED");
    fs::write(folder.join("table"), &bytes[32..]).unwrap();
    assert_eq!(open().unwrap_err().code(), "SCORE_TABLE_DAMAGED");
    fs::write(folder.join("table"), &bytes).unwrap();
    let root = fs::read(folder.join("sum-root")).unwrap();
    let manifest = folder.join("manifests/carrier-b");
    let signed = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    assert_eq!(open().unwrap_err().code(), "SCORE_TABLE_MISSING");
    let mut other = signed.clone();
    *other.last_mut().unwrap() ^= 1;
    windvane_keys::files::write_private(&manifest, &other).unwrap();
    assert_eq!(open().unwrap_err().code(), "SCORE_MANIFEST_INVALID");
    windvane_keys::files::write_private(&manifest, b"no manifest").unwrap();
    let error = open().unwrap_err();
    assert_eq!(error.code(), "SCORE_MANIFEST_INVALID");
    assert!(error.to_string().contains("remove it, and publish or fetch"), "{error}");
    windvane_keys::files::write_private(&manifest, &signed).unwrap();
    let mut changed = root;
    // Within the last table's root, before the sum's.
    let at = changed.len() - 50;
    changed[at] ^= 1;
    windvane_keys::files::write_private(&folder.join("sum-root"), &changed).unwrap();
    assert_eq!(open().unwrap_err().code(), "SCORE_TABLE_DAMAGED");
}
