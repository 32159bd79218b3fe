//! Change files and deltas: what they leave is what a full file would have given.

use windvane_protocols::limits::MAX_DELTAS;
use windvane_protocols::lookup::manifest::Publication;
use windvane_protocols::lookup::row::LOCATOR_BYTES;
use windvane_protocols::lookup::snapshot::{PageBuilder, count_rows};
use windvane_protocols::transcript::Signed;
use windvane_world::{DayChange, Days, OPERATION_HEADER};

use super::*;
use crate::snapshot::writer::PageWriter;
use crate::snapshot::{MANIFEST, disk};

const FAMILIES: [Family; 4] = [Family::Phone, Family::PhoneId, Family::PhoneName, Family::PhoneIdName];

fn identity(subscriber: &Subscriber) -> Person {
    let kind = match subscriber.document.kind {
        windvane_world::DocumentKind::ResidentId => DocumentKind::ResidentId,
        windvane_world::DocumentKind::Passport => DocumentKind::Passport,
    };
    Person {
        phone: Some(Phone::parse(&subscriber.phone).unwrap()),
        document: Some(Document::parse(kind, &subscriber.document.number).unwrap()),
        name: Some(Name::parse(&subscriber.name).unwrap()),
        other: None,
    }
}

/// A carrier with a published full file of the world, and its days.
fn published(subscribers: usize) -> (Bench, Days, PathBuf) {
    let mut bench = Bench::tolerant();
    let config =
        WorldConfig { subscribers_per_carrier: subscribers, applicants: 30, ..WorldConfig::default() };
    let world = World::generate(&config);
    let files = world.write(bench.data()).unwrap();
    bench.import_file(&files.carriers[0].1).unwrap();
    bench.build(1).unwrap();
    bench.publish(1).unwrap();
    let path = bench.data().join("day.csv");
    (bench, world.carriers[0].days(), path)
}

/// What each person of the days is told by a table, family by family.
fn answers(bench: &Bench, table: &PublishedEpoch, people: &[Person]) -> Vec<Option<Vec<u8>>> {
    let families = |person| FAMILIES.map(|family| bench.look_up(table, family, person));
    people.iter().flat_map(families).collect()
}

#[test]
fn snapshot_and_deltas_say_what_a_full_build_and_a_full_file_say() {
    let (mut bench, mut days, path) = published(700);
    let mut people = Vec::new();
    for day in 1..=4 {
        let changes = days.next_day(90, &path).unwrap();
        let report = bench.change_file(&path).unwrap();
        assert_eq!((report.rejected, report.unexpected.len(), report.change), (0, 0, day), "{report:?}");
        let count = |of: fn(&DayChange) -> bool| changes.iter().filter(|change| of(change)).count() as u64;
        assert_eq!(report.inserted, count(|change| change.before.is_none()));
        assert_eq!(report.deleted, count(|change| change.after.is_none()));
        assert!(report.changed > 20, "{report:?}");
        let everybody = changes.iter().flat_map(|change| change.before.iter().chain(&change.after));
        people.extend(everybody.map(identity));
        // Two days in one delta, too.
        if day != 2 {
            let made = bench.delta().unwrap();
            assert!(made.delta.verify(&bench.receipt.verifying_key()));
            assert_eq!((made.delta.body().carried, made.delta.body().epoch), (0, 1));
        }
    }
    assert_eq!(bench.delta().unwrap_err().code(), "DELTA_NOTHING_NEW");
    let table = bench.open(1);
    assert_eq!(table.chain().deltas().len(), 3);
    let by_deltas = answers(&bench, &table, &people);
    let present = by_deltas.iter().filter(|answer| answer.is_some()).count();
    assert!(present > people.len() && present < by_deltas.len() - people.len(), "{present}");

    // A full build of what was imported, and one of the full file as the carrier would deliver it.
    bench.build(2).unwrap();
    bench.publish(2).unwrap();
    let rebuilt = answers(&bench, &bench.open(2), &people);
    assert_eq!(by_deltas, rebuilt);
    days.write_full(&path).unwrap();
    bench.import_file(&path).unwrap();
    let fresh = bench.build(3).unwrap();
    bench.publish(3).unwrap();
    assert_eq!(by_deltas, answers(&bench, &bench.open(3), &people));
    assert_eq!(bench.open(2).pages().rows(), fresh.rows);
    assert_eq!(bench.delta().unwrap_err().code(), "DELTA_NOTHING_NEW");
}

#[test]
fn every_row_of_a_delta_is_sealed_under_its_own_id() {
    let (mut bench, mut days, path) = published(300);
    days.next_day(60, &path).unwrap();
    bench.change_file(&path).unwrap();
    let made = bench.delta().unwrap();
    let table = bench.open(1);
    let pages = table.publication(&made.delta.body().publication.id).unwrap();
    let bytes = pages.read_pages(0, 64).unwrap();
    let page = bytes.as_chunks::<PAGE_BYTES>().0;
    let rows: usize = page.iter().map(|page| count_rows(page, pages.table())).sum();
    assert_eq!(rows as u64, made.delta.body().publication.rows);
    for row in
        page.iter().flat_map(|page| page.chunks_exact(40).take_while(|row| row.iter().any(|b| *b != 0)))
    {
        assert_eq!(row[LOCATOR_BYTES..LOCATOR_BYTES + 2], [0, 1]);
    }
    // The same change in a second try, after the first was lost, shares no sealed byte.
    disk::remove_whole(&bench.path("epochs/1/deltas/1")).unwrap();
    let again = bench.delta().unwrap();
    assert_ne!(again.delta.body().publication.id, made.delta.body().publication.id);
    let again =
        bench.open(1).publication(&again.delta.body().publication.id).unwrap().read_pages(0, 64).unwrap();
    let sealed = |bytes: &[u8]| -> std::collections::BTreeSet<Vec<u8>> {
        bytes
            .as_chunks::<PAGE_BYTES>()
            .0
            .iter()
            .flat_map(|p| p.chunks_exact(40))
            .map(|r| r[10..].to_vec())
            .collect()
    };
    assert!(sealed(&bytes).intersection(&sealed(&again)).all(|row| row.iter().all(|byte| *byte == 0)));
}

fn day_file(rows: &[(&str, [&str; 11])]) -> String {
    let header = [OPERATION_HEADER].into_iter().chain(CARRIER_HEADER).collect::<Vec<_>>().join(",");
    let row = |(word, cells): &(&str, [&str; 11])| format!("{word},{}\n", cells.join(","));
    header + "\n" + &rows.iter().map(row).collect::<String>()
}

fn change_text(bench: &mut Bench, text: &str) -> Result<ChangeReport, ChangesError> {
    let path = bench.data().join("day.csv");
    fs::write(&path, text).unwrap();
    bench.change_file(&path)
}

/// A bench with three numbers, published.
fn three() -> Bench {
    let mut bench = Bench::tolerant();
    let rows = ["13800000001", "13800000002", "13800000003"].map(|phone| with(&[(0, phone)]));
    bench.import_bytes(file(&rows).as_bytes()).unwrap();
    bench.build(1).unwrap();
    bench.publish(1).unwrap();
    bench
}

#[test]
fn bad_rows_are_named_and_nothing_of_a_bad_file_is_kept() {
    let mut bench = three();
    let good = with(&[(0, "13800000001"), (4, "停机")]);
    let rows = [
        ("变更", good),
        ("更新", good),
        ("", good),
        ("新增", with(&[(0, "1380000000")])),
        ("删除", with(&[(0, "")])),
        ("变更", with(&[(0, "13800000002"), (4, "不明")])),
        ("变更", with(&[(0, "13800000002"), (10, "2026-13-01")])),
        ("D", ["13800000003", "", "", "", "", "", "", "", "", "", ""]),
    ];
    let text = day_file(&rows) + "变更,13800000001\n";
    let report = change_text(&mut bench, &text).unwrap();
    assert_eq!((report.rows, report.accepted, report.rejected), (9, 2, 7));
    let rejects = bench.rejects("change-rejects.csv");
    let named: Vec<_> =
        rejects.iter().map(|[line, field, rule]| (line.as_str(), field.as_str(), rule.as_str())).collect();
    let expected = [
        ("3", "operation", "OPERATION_UNKNOWN"),
        ("4", "operation", "OPERATION_EMPTY"),
        ("5", "phone", "PHONE_LENGTH"),
        ("6", "phone", "PHONE_EMPTY"),
        ("7", "status", "CODE_UNKNOWN"),
        ("8", "data_date", "DATE_INVALID"),
        ("10", "row", "ROW_LENGTH"),
    ];
    assert_eq!(named.len(), expected.len());
    for (found, expected) in named.iter().zip(expected) {
        assert_eq!((found.0, found.1), (expected.0, expected.1), "{found:?}");
    }
    assert!([0, 1, 4, 5, 6].iter().all(|at| named[*at].2 == expected[*at].2), "{named:?}");
    // The same file under the usual limits.
    bench.config = DataSetConfig::carrier();
    let error = change_text(&mut bench, &text).unwrap_err();
    assert!(matches!(&error, ChangesError::QualityGate { failures, .. } if failures.len() >= 2), "{error}");
    assert_eq!(status(bench.data(), bench.config.name()).unwrap().changes.len(), 1);
    for (text, code) in [
        (day_file(&[]), "NO_ROWS"),
        (file(&[GOOD]), "COLUMN_MISSING"),
        (day_file(&[("更新", GOOD)]), "NO_ROWS"),
    ] {
        assert_eq!(change_text(&mut bench, &text).unwrap_err().code(), code);
    }
}

#[test]
fn the_last_row_of_a_number_wins_and_a_file_that_came_twice_is_refused() {
    let mut bench = three();
    let text = day_file(&[
        ("删除", with(&[(0, "13800000001")])),
        ("新增", with(&[(0, "13800000001"), (1, "李四")])),
        ("变更", with(&[(0, "13800000002"), (4, "停机")])),
        ("删除", with(&[(0, "13800000002")])),
        ("新增", with(&[(0, "13800000009")])),
    ]);
    let report = change_text(&mut bench, &text).unwrap();
    assert_eq!((report.superseded, report.inserted, report.changed, report.deleted), (2, 1, 1, 1));
    assert!(report.unexpected.is_empty(), "a row follows the one above it: {report:?}");
    bench.delta().unwrap();
    let table = bench.open(1);
    let there =
        |phone, name| bench.look_up(&table, Family::PhoneName, &person(phone, name, GOOD[3])).is_some();
    assert!(there("13800000001", "李四") && !there("13800000001", "张三"));
    assert!(!there("13800000002", "张三") && there("13800000003", "张三") && there("13800000009", "张三"));
    bench.config = DataSetConfig::carrier();
    let error = change_text(&mut bench, &text).unwrap_err();
    let ChangesError::QualityGate { failures, report, .. } = error else { panic!("{error}") };
    assert_eq!(failures[0].gate, "unexpected");
    let expected = [("SUBJECT_EXISTS".to_owned(), 1), ("SUBJECT_MISSING".to_owned(), 1)];
    assert_eq!(report.unexpected, BTreeMap::from(expected));
    assert_eq!(status(bench.data(), bench.config.name()).unwrap().changes.len(), 1);
}

#[test]
fn a_number_with_more_records_than_a_change_replaces_is_left_to_the_full_file() {
    let mut bench = Bench::tolerant();
    for (records, told) in [(255, None), (256, Some("CHANGE_RECORDS_LIMIT"))] {
        let row = |at: u32| {
            let name = format!("张{}", char::from_u32(0x4E00 + at).unwrap());
            format!("{},{name},{}\n", GOOD[0], GOOD[2..].join(","))
        };
        bench.import_bytes((file(&[]) + &(0..records).map(row).collect::<String>()).as_bytes()).unwrap();
        let changed = change_text(&mut bench, &day_file(&[("删除", GOOD)]));
        assert_eq!(changed.as_ref().err().map(ChangesError::code), told, "{records}");
        assert!(changed.is_err() || changed.is_ok_and(|report| report.deleted == 1));
        let kept = status(bench.data(), bench.config.name()).unwrap().changes.len();
        assert_eq!(kept, usize::from(told.is_none()));
    }
}

#[test]
fn a_new_full_file_or_another_configuration_asks_for_a_full_publication() {
    let mut bench = three();
    let text = day_file(&[("删除", with(&[(0, "13800000001")]))]);
    change_text(&mut bench, &text).unwrap();
    bench.config = bench.config.clone().with_encoding(Encoding::Utf8);
    let schema = CARRIER_SCHEMA.replacen("version = 1", "version = 2", 1);
    let config =
        std::mem::replace(&mut bench.config, DataSetConfig::parse(CARRIER_DATASET, &schema).unwrap());
    assert_eq!(bench.delta().unwrap_err().code(), "CONFIGURATION_CHANGED");
    assert_eq!(change_text(&mut bench, &text).unwrap_err().code(), "CONFIGURATION_CHANGED");
    bench.config = config;
    bench.import_bytes(file(&[GOOD]).as_bytes()).unwrap();
    assert_eq!(bench.delta().unwrap_err().code(), "DELTA_FILE_REPLACED");
    // Changes of the old file are not changes of the new one.
    assert_eq!(status(bench.data(), bench.config.name()).unwrap().changes.len(), 0);
    let report = change_text(&mut bench, &day_file(&[("删除", GOOD)])).unwrap();
    assert_eq!((report.change, report.deleted), (1, 1));
}

#[test]
fn a_delta_is_sealed_under_the_keys_of_the_published_epoch_alone() {
    let mut bench = three();
    let first = bench.keys.clone();
    bench.keys =
        [KeyGroup::Attribute, KeyGroup::Match].map(|g| (g, PrivateKey::random(&mut bench.rng))).into();
    bench.build(2).unwrap();
    // Published while a delta of epoch 1 was prepared, and changes came after its build.
    bench.publish(2).unwrap();
    change_text(&mut bench, &day_file(&[("删除", with(&[(0, "13800000001")]))])).unwrap();
    let second = std::mem::replace(&mut bench.keys, first);
    assert_eq!(bench.delta().unwrap_err().code(), "DELTA_OVERTAKEN");
    bench.keys = second;
    assert_eq!(bench.delta().unwrap().delta.body().deleted, 1);
}

#[test]
fn what_change_files_need_is_said() {
    let mut bench = Bench::tolerant();
    bench.import_bytes(file(&[GOOD]).as_bytes()).unwrap();
    assert_eq!(bench.delta().unwrap_err().code(), "EPOCH_NOT_PUBLISHED");
    let without = CARRIER_DATASET.split("[changes]").next().unwrap().to_owned()
        + "[quality]"
        + CARRIER_DATASET.split("[quality]").nth(1).unwrap();
    bench.config = DataSetConfig::parse(&without, CARRIER_SCHEMA).unwrap();
    assert_eq!(
        change_text(&mut bench, &day_file(&[("删除", GOOD)])).unwrap_err().code(),
        "CHANGES_NOT_DESCRIBED"
    );
    let families = CARRIER_DATASET.replacen("families = [1, 2, 3, 4]", "families = [1, 5]", 1);
    bench.config = DataSetConfig::parse(&families, CARRIER_SCHEMA).unwrap();
    assert_eq!(change_text(&mut bench, &day_file(&[("删除", GOOD)])).unwrap_err().code(), "CHANGES_FAMILIES");
}

#[test]
fn a_damaged_or_missing_change_file_is_found_and_the_next_full_file_mends_it() {
    let mut bench = three();
    for phone in ["13800000001", "13800000002"] {
        change_text(&mut bench, &day_file(&[("删除", with(&[(0, phone)]))])).unwrap();
    }
    let sealed = bench.path("changes/1/sealed");
    let whole = fs::read(&sealed).unwrap();
    let mut bytes = whole.clone();
    bytes[70] ^= 1;
    fs::write(&sealed, bytes).unwrap();
    assert_eq!(bench.delta().unwrap_err().code(), "STAGING_DAMAGED");
    assert_eq!(bench.build(2).unwrap_err().code(), "STAGING_DAMAGED");
    fs::write(&sealed, whole).unwrap();
    fs::rename(bench.path("changes/1"), bench.path("changes/3")).unwrap();
    assert_eq!(bench.delta().unwrap_err().code(), "CHANGES_SERIES");
    fs::rename(bench.path("changes/2"), bench.path("changes/1")).unwrap();
    fs::rename(bench.path("changes/3"), bench.path("changes/2")).unwrap();
    assert_eq!(bench.delta().unwrap_err().code(), "CHANGES_SERIES");
    fs::write(bench.path("changes/1/sealed"), b"cut off").unwrap();
    bench.import_bytes(file(&[GOOD]).as_bytes()).unwrap();
    assert_eq!(status(bench.data(), bench.config.name()).unwrap().changes.len(), 0);
    assert_eq!(bench.build(2).unwrap().rows, 4);
    bench.publish(2).unwrap();
    assert_eq!(change_text(&mut bench, &day_file(&[("删除", GOOD)])).unwrap().change, 1);
    bench.delta().unwrap();
}

#[test]
fn an_epoch_of_many_or_large_deltas_asks_for_a_full_publication() {
    let mut bench = three();
    let toggle = |bench: &mut Bench, state| {
        let row = with(&[(0, "13800000001"), (4, state)]);
        change_text(bench, &day_file(&[("变更", row)])).unwrap();
    };
    for number in 0..MAX_DELTAS {
        toggle(&mut bench, if number % 2 == 0 { "停机" } else { "正常" });
        let made = bench.delta().unwrap();
        assert_eq!((made.deltas_left, made.delta.body().publication.rows), (MAX_DELTAS - 1 - number, 1));
    }
    toggle(&mut bench, "停机");
    let error = bench.delta().unwrap_err();
    assert_eq!(error.code(), "DELTA_COUNT_LIMIT");
    assert!(error.to_string().contains("windvane dataset build"), "{error}");
    // After a full publication the change that waited is in.
    bench.build(2).unwrap();
    bench.publish(2).unwrap();
    assert_eq!(bench.delta().unwrap_err().code(), "DELTA_NOTHING_NEW");
    let rows: String = (0..1_100_u64)
        .map(|i| {
            format!(
                "新增,{},张三,居民身份证,{},正常,2020-01-31,,否,1,,2026-11-01\n",
                13_700_000_000 + i,
                GOOD[3]
            )
        })
        .collect();
    change_text(&mut bench, &(day_file(&[]) + &rows)).unwrap();
    assert_eq!(bench.delta().unwrap_err().code(), "DELTA_SIZE_LIMIT");
    assert!(!bench.path("epochs/2/deltas").exists());
}

/// Publishes epoch 1 again with one more row, of an unknown key, at the place of a person's attributes.
fn with_neighbour(bench: &Bench, person: &Person) -> Vec<u8> {
    let dir = published_dir(bench.data(), bench.config.name(), 1);
    let open = bench.open(1);
    let (table, mut manifest) = (open.pages().table().clone(), open.manifest().body().clone());
    let input = Family::Phone.encode(bench.config.name().as_str(), person).unwrap();
    let output = bench.keys[&KeyGroup::Attribute].evaluate(&Context::LOOKUP, &[input.as_bytes()]).remove(0);
    let locator = *RowKeys::new(&table, &output).locator();
    let mut neighbour = vec![0x5a; table.row_bytes()];
    neighbour[..LOCATOR_BYTES].copy_from_slice(&locator);
    neighbour[LOCATOR_BYTES..LOCATOR_BYTES + 2].fill(0);
    let bytes = open.pages().read_pages(0, 64).unwrap();
    let rows = bytes.as_chunks::<PAGE_BYTES>().0.iter().flat_map(|page| page.chunks_exact(table.row_bytes()));
    let mut rows: Vec<Vec<u8>> =
        rows.filter(|row| row.iter().any(|byte| *byte != 0)).map(<[u8]>::to_vec).collect();
    rows.push(neighbour.clone());
    rows.sort();
    drop(open);
    let (mut writer, mut builder) = (PageWriter::create(&dir, &table).unwrap(), PageBuilder::new(&table));
    for group in rows.chunk_by(|a, b| a[..LOCATOR_BYTES] == b[..LOCATOR_BYTES]) {
        builder.push(&group.concat()).unwrap().iter().for_each(|page| writer.append(page).unwrap());
    }
    builder.finish().iter().for_each(|page| writer.append(page).unwrap());
    let written = writer.finish().unwrap();
    let id = manifest.publications[0].id;
    manifest.publications =
        vec![Publication { id, rows: written.rows, pages: written.pages, root: written.root }];
    let manifest = Signed::sign(manifest, bench.receipt.signing_key());
    fs::write(dir.join(MANIFEST), manifest.as_bytes()).unwrap();
    neighbour
}

#[test]
fn a_row_of_another_key_at_the_same_place_is_carried_along() {
    let mut bench = three();
    let person = person("13800000001", "张三", GOOD[3]);
    let neighbour = with_neighbour(&bench, &person);
    change_text(&mut bench, &day_file(&[("删除", with(&[(0, "13800000001")]))])).unwrap();
    let made = bench.delta().unwrap();
    assert_eq!((made.delta.body().carried, made.delta.body().publication.rows), (1, 5));
    let table = bench.open(1);
    assert_eq!(bench.look_up(&table, Family::Phone, &person), None);
    let rows = table.rows(neighbour.first_chunk().unwrap()).unwrap();
    assert_eq!((rows.len(), &rows[..40]), (80, neighbour.as_slice()));
}
