//! Build and publication.

use super::*;

fn label(bench: &Bench, table: &PublishedEpoch, person: &Person) -> Option<Decoded> {
    let schema = bench.config.schema();
    let packed = bench.look_up(table, Family::Phone, person)?;
    Some(schema.decode(&schema.unpack(&packed).unwrap()))
}

#[test]
fn equal_rows_collapse_and_differing_ones_are_refused_in_every_family() {
    let twin = with(&[(0, "13800000001")]);
    let before = with(&[(0, "13800000002")]);
    let after = with(&[(0, "13800000002"), (4, "停机")]);
    let sharer = with(&[(0, "13800000003"), (1, "李四")]);
    let mut bench = Bench::tolerant();
    let rows = [GOOD, twin, before, twin, after, with(&[(0, "13800000003")]), sharer];
    bench.import_bytes(file(&rows).as_bytes()).unwrap();
    let report = bench.build(1).unwrap();
    assert_eq!(
        bench.rejects("build-rejects.csv"),
        [["4", "key", "DUPLICATE_KEY"], ["6", "key", "DUPLICATE_KEY"]]
    );
    // One number with two names: its phone and phone + ID rows collapse, those with a name stay apart.
    assert_eq!((report.rows, report.collapsed, report.rejected), (4 + 4 + 6, 4 + 2, 2));
    let manifest = bench.publish(1).unwrap();
    assert_eq!((manifest.body().rejected, manifest.body().publications[0].rows), (2, 14));
    let table = bench.open(1);
    assert!(label(&bench, &table, &person("13800000001", "张三", GOOD[3])).is_some());
    for family in [Family::Phone, Family::PhoneId, Family::PhoneName, Family::PhoneIdName] {
        let refused = person("13800000002", "张三", GOOD[3]);
        assert_eq!(bench.look_up(&table, family, &refused), None, "{family:?}");
    }
    for name in ["张三", "李四"] {
        let sharer = person("13800000003", name, GOOD[3]);
        assert_eq!(bench.look_up(&table, Family::PhoneIdName, &sharer), Some(vec![0; 14]));
    }
}

#[test]
fn a_conflict_costs_its_own_rows_alone_in_a_file_whose_rows_end_with_a_return() {
    let (before, after) = (with(&[(0, "13800000002")]), with(&[(0, "13800000002"), (4, "停机")]));
    let mut bench = Bench::tolerant();
    let rows = file(&[GOOD, before, after, with(&[(0, "13800000003")])]).replace('\n', "\r");
    bench.import_bytes(rows.as_bytes()).unwrap();
    let report = bench.build(1).unwrap();
    assert_eq!((report.rows, report.rejected), (4 + 4, 2));
    assert_eq!(
        bench.rejects("build-rejects.csv"),
        [["3", "key", "DUPLICATE_KEY"], ["4", "key", "DUPLICATE_KEY"]]
    );
}

#[test]
fn presence_families_tell_nothing_but_presence() {
    let mut bench = Bench::new();
    bench.import_bytes(file(&[GOOD]).as_bytes()).unwrap();
    bench.build(1).unwrap();
    bench.publish(1).unwrap();
    let (table, person) = (bench.open(1), person(GOOD[0], GOOD[1], GOOD[3]));
    let words = label(&bench, &table, &person).unwrap();
    assert_eq!(words.attributes["tenure"], "ge_3y");
    for family in [Family::PhoneId, Family::PhoneName, Family::PhoneIdName] {
        assert_eq!(bench.look_up(&table, family, &person), Some(vec![0; 14]));
    }
}

#[test]
fn two_builds_of_one_epoch_share_no_row() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(50).as_bytes()).unwrap();
    let pages = |bench: &Bench| fs::read(bench.path("built/1/pages")).unwrap();
    bench.build(1).unwrap();
    let first = pages(&bench);
    bench.build(1).unwrap();
    let second = pages(&bench);
    let rows = |pages: &[u8]| -> Vec<Vec<u8>> {
        let rows = pages.chunks(PAGE_BYTES).flat_map(|page| page.chunks_exact(40));
        rows.filter(|row| row.iter().any(|byte| *byte != 0)).map(<[u8]>::to_vec).collect()
    };
    assert_eq!(rows(&first).len(), 200);
    assert!(rows(&first).iter().zip(rows(&second)).all(|(a, b)| a[..8] == b[..8] && a[10..] != b[10..]));
}

#[test]
fn what_an_interrupted_build_left_is_removed_by_the_next() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    fs::create_dir(bench.path(".building-0123")).unwrap();
    fs::write(bench.path(".building-0123/pages"), b"half").unwrap();
    bench.build(1).unwrap();
    assert_eq!(bench.entries(), ["build-rejects.csv", "built", "import-rejects.csv", "staging"]);
}

#[test]
fn a_build_that_fails_leaves_nothing() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    let matching = bench.keys.remove(&KeyGroup::Match).unwrap();
    assert_eq!(bench.build(1).unwrap_err().code(), "KEY_MISSING");
    bench.keys.insert(KeyGroup::Match, matching);
    let path = bench.path("staging");
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(bench.build(1).unwrap_err().code(), "STAGING_DAMAGED");
    assert_eq!(bench.entries(), ["import-rejects.csv", "staging"]);
}

#[test]
fn a_changed_schema_asks_for_another_import() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    let schema = CARRIER_SCHEMA.replacen("version = 1", "version = 2", 1);
    bench.config = DataSetConfig::parse(CARRIER_DATASET, &schema).unwrap();
    assert_eq!(bench.build(1).unwrap_err().code(), "CONFIGURATION_CHANGED");
}

#[test]
fn a_file_of_which_every_line_conflicts_gives_no_table() {
    let mut bench = Bench::tolerant();
    bench.import_bytes(file(&[GOOD, with(&[(4, "停机")])]).as_bytes()).unwrap();
    assert_eq!(bench.build(1).unwrap_err().code(), "NO_ROWS");
    assert!(!bench.path("built").exists());
}

#[test]
fn publication_signs_the_manifest_and_ends_with_its_hours() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(500).as_bytes()).unwrap();
    assert_eq!(bench.publish(1).unwrap_err().code(), "EPOCH_NOT_BUILT");
    let report = bench.build(1).unwrap();
    let waiting = status(bench.data(), bench.config.name()).unwrap();
    assert_eq!((waiting.built[0].rows, waiting.built[0].not_after_ms), (2_000, None));
    let manifest = bench.publish(1).unwrap();
    assert!(manifest.verify(&bench.receipt.verifying_key()));
    assert_eq!(bench.open(1).manifest(), &manifest);
    let body = manifest.body();
    assert_eq!((body.built_at_ms, body.published_at_ms), (NOW, NOW));
    assert_eq!((body.not_after_ms, body.hours()), (NOW + 24 * 3_600_000, 24));
    assert_eq!(body.publications[0].pages, report.pages);
    assert_eq!(bench.publish(1).unwrap_err().code(), "EPOCH_PUBLISHED");
    assert_eq!(bench.build(1).unwrap_err().code(), "EPOCH_PUBLISHED");
    bench.build(12).unwrap();
    bench.publish(12).unwrap();
    let status = status(bench.data(), bench.config.name()).unwrap();
    assert_eq!((status.built.len(), status.published.len()), (0, 2));
    assert_eq!(status.published[0].bytes, report.bytes);
    assert_eq!(published_epochs(bench.data(), bench.config.name()).unwrap(), [1, 12]);
    EpochTables::hold(bench.data(), bench.config.name(), 1).unwrap().remove().unwrap();
    assert_eq!(published_epochs(bench.data(), bench.config.name()).unwrap(), [12]);
}

#[test]
fn a_table_that_changed_since_its_build_is_not_published() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    bench.build(1).unwrap();
    let path = bench.path("built/1/pages");
    let good = fs::read(&path).unwrap();
    let mut bytes = good.clone();
    bytes[30] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(bench.publish(1).unwrap_err().code(), "BUILD_DAMAGED");
    fs::write(&path, good).unwrap();
    bench.publish(1).unwrap();
}

/// A clock that damages a table when it is read.
#[derive(Debug)]
struct Damaging(PathBuf);

impl crate::clock::Clock for Damaging {
    fn now_ms(&self) -> u64 {
        fs::write(&self.0, "damaged").unwrap();
        NOW
    }
}

#[test]
fn a_table_is_checked_before_the_time_of_its_publication_is_taken() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    bench.build(1).unwrap();
    let published = publish(&Publish {
        data_dir: bench.data(),
        data_set: bench.config.name(),
        epoch: 1,
        epoch_hours: 1,
        key: &bench.receipt,
        clock: &Damaging(bench.path("built/1/pages")),
    });
    assert_eq!(published.unwrap().body().published_at_ms, NOW);
    assert_eq!(fs::read(bench.path("epochs/1/pages")).unwrap(), b"damaged");
}

#[test]
fn a_publication_that_was_interrupted_before_its_rename_is_done_again() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    bench.build(1).unwrap();
    bench.publish(1).unwrap();
    fs::rename(bench.path("epochs/1"), bench.path("built/1")).unwrap();
    assert_eq!(bench.publish(1).unwrap().body().not_after_ms, NOW + 24 * 3_600_000);
}

#[test]
fn a_table_behind_the_last_publication_is_refused_and_goes_with_its_epoch() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    bench.build(5).unwrap();
    bench.build(6).unwrap();
    bench.publish(6).unwrap();
    assert_eq!(bench.publish(5).unwrap_err().code(), "EPOCH_SUPERSEDED");
    assert_eq!(built_epochs(bench.data(), bench.config.name()).unwrap(), [5]);
    EpochTables::hold(bench.data(), bench.config.name(), 5).unwrap().remove().unwrap();
    assert_eq!(built_epochs(bench.data(), bench.config.name()).unwrap(), [] as [u64; 0]);
    assert_eq!(published_epochs(bench.data(), bench.config.name()).unwrap(), [6]);
}

#[test]
fn one_writer_at_a_time() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(10).as_bytes()).unwrap();
    let lock = DataSetDir::new(bench.data(), bench.config.name()).lock().unwrap();
    assert_eq!(bench.import_bytes(good_rows(10).as_bytes()).unwrap_err().code(), "DATASET_BUSY");
    assert_eq!(bench.build(1).unwrap_err().code(), "DATASET_BUSY");
    assert_eq!(bench.publish(1).unwrap_err().code(), "DATASET_BUSY");
    // Of an epoch without a table too: a build may be making it.
    let held = EpochTables::hold(bench.data(), bench.config.name(), 1);
    assert_eq!(held.unwrap_err().code(), "DATASET_BUSY");
    drop(lock);
    bench.build(1).unwrap();
}
