//! Import: encodings, refused rows, gates, and the sealed staging file.

use super::*;

fn table_error(error: ImportError) -> TableError {
    match error {
        ImportError::Table(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn every_refused_row_stands_in_the_reject_file_with_line_field_and_rule() {
    let faults: [(usize, &str, &str, &str); 27] = [
        (0, "", "phone", "PHONE_EMPTY"),
        (0, "1381234567", "phone", "PHONE_LENGTH"),
        (0, "23812345678", "phone", "PHONE_PREFIX"),
        (0, "1381234567a", "phone", "PHONE_CHARACTER"),
        (0, "+1 555 0100", "phone", "PHONE_PLAN"),
        (1, "", "name", "NAME_EMPTY"),
        (1, "张\u{7}三", "name", "NAME_CHARACTER"),
        (2, "", "document_type", "DOCUMENT_TYPE_EMPTY"),
        (2, "军官证", "document_type", "DOCUMENT_TYPE_UNKNOWN"),
        (3, "", "document", "DOCUMENT_EMPTY"),
        (3, "110105194912310021", "document", "DOCUMENT_CHECK"),
        (3, "11010519491331002X", "document", "DOCUMENT_BIRTH_DATE"),
        (3, "1101051949123100", "document", "DOCUMENT_LENGTH"),
        (3, "1101051949123X002X", "document", "DOCUMENT_CHARACTER"),
        (4, "冻结", "status", "CODE_UNKNOWN"),
        (5, "2025-02-29", "tenure", "DATE_INVALID"),
        (5, "2026-11-02", "tenure", "DATE_IN_FUTURE"),
        (6, "yesterday", "sim_swap", "DATE_INVALID"),
        (7, "maybe", "recycled", "CODE_UNKNOWN"),
        (8, "one", "numbers_under_id", "COUNT_INVALID"),
        (8, "-1", "numbers_under_id", "COUNT_INVALID"),
        (8, "0", "numbers_under_id", "COUNT_TOO_SMALL"),
        (9, "跑分|未知", "tags", "CODE_UNKNOWN"),
        (10, "", "data_date", "DATA_DATE_EMPTY"),
        (10, "2026-13-01", "data_date", "DATE_INVALID"),
        (10, "01.11.2026", "data_date", "DATE_INVALID"),
        (10, "1999-12-31", "tenure", "DATE_IN_FUTURE"),
    ];
    let mut rows = vec![GOOD];
    rows.extend(faults.iter().map(|(at, cell, ..)| with(&[(*at, cell)])));
    let text = file(&rows) + "13812345678,张三\n" + "\"13812345\n678\",a\n" + &GOOD.join(",") + ",\n";
    let mut bench = Bench::tolerant();
    let report = bench.import_bytes(text.as_bytes()).unwrap();
    let mut expected: Vec<_> =
        (3..).zip(faults).map(|(line, (_, _, field, rule))| (line, field, rule)).collect();
    expected.extend([(30, "row", "ROW_LENGTH"), (31, "row", "ROW_LENGTH"), (33, "row", "ROW_LENGTH")]);
    let expected: Vec<_> = expected
        .iter()
        .map(|(line, field, rule)| [line.to_string(), (*field).into(), (*rule).into()])
        .collect();
    assert_eq!(bench.rejects("import-rejects.csv"), expected);
    assert_eq!((report.rows, report.accepted, report.rejected, report.missing), (31, 1, 30, 5));
    assert_eq!(report.rejected_by_rule["ROW_LENGTH"], 3);
}

#[test]
fn a_date_before_the_schemas_first_day_is_refused() {
    let mut bench = Bench::tolerant();
    let early = with(&[(5, "1999-01-01"), (10, "1999-12-31")]);
    bench.import_bytes(file(&[GOOD, early]).as_bytes()).unwrap();
    assert_eq!(bench.rejects("import-rejects.csv"), [["3", "valid_on", "DATE_RANGE"]]);
}

#[test]
fn utf8_with_and_without_a_mark_and_gb18030_give_the_same_records() {
    let text = file(&[GOOD, with(&[(0, "13812345679"), (1, "艾力・木拉提")])]);
    let (gb18030, _, _) = GB18030.encode(&text);
    let inputs = [text.as_bytes(), &[b"\xEF\xBB\xBF", text.as_bytes()].concat(), &gb18030];
    let mut found = Vec::new();
    for (bytes, encoding) in inputs.into_iter().zip(["utf-8", "utf-8", "gb18030"]) {
        let mut bench = Bench::new();
        assert_eq!(bench.import_bytes(bytes).unwrap().encoding, encoding);
        let reader = StagingReader::open(bench.data(), bench.config.name(), 14, &bench.storage).unwrap();
        found.push(reader.into_iter().map(Result::unwrap).collect::<Vec<_>>());
    }
    assert_eq!(found[0].iter().map(|record| record.line).collect::<Vec<_>>(), [2, 3]);
    assert!(found[0][1].person == person("13812345679", "艾力·木拉提", GOOD[3]));
    assert!(found[1] == found[0] && found[2] == found[0]);
}

#[test]
fn a_later_row_of_another_encoding_is_an_error_and_leaves_nothing() {
    let mut bytes = good_rows(30_000).into_bytes();
    bytes.extend_from_slice(&GB18030.encode(&GOOD.join(",")).0);
    let mut bench = Bench::new();
    let error = bench.import_bytes(&bytes).unwrap_err();
    let error = table_error(error);
    assert!(matches!(error, TableError::Encoding { line: 30_002, expected: "utf-8", .. }), "{error}");
    assert_eq!(bench.entries(), ["import-rejects.csv"]);
}

#[test]
fn a_missing_and_a_repeated_column_are_named() {
    let mut bench = Bench::new();
    let text = file(&[GOOD]);
    let error = bench.import_bytes(text.replacen("入网日期", "开户日期", 1).as_bytes()).unwrap_err();
    assert_eq!(error.code(), "COLUMN_MISSING");
    assert!(error.to_string().contains("入网日期"));
    let error = bench.import_bytes(text.replacen("入网日期", "换卡日期", 1).as_bytes()).unwrap_err();
    assert!(error.code() == "COLUMN_MISSING" || error.code() == "COLUMN_REPEATED", "{error}");
    let error = bench.import_bytes(text.replacen("手机号", "姓名", 1).as_bytes()).unwrap_err();
    assert!(matches!(table_error(error), TableError::ColumnMissing { column, .. } if column == "手机号"));
    let twice = text.replacen("数据日期\n", "数据日期,姓名\n", 1);
    assert_eq!(bench.import_bytes(twice.as_bytes()).unwrap_err().code(), "COLUMN_REPEATED");
    assert_eq!(bench.import_bytes(b"").unwrap_err().code(), "TABLE_EMPTY");
}

#[test]
fn columns_may_stand_in_any_order_beside_others() {
    let mut bench = Bench::new();
    let mut text = String::new();
    for row in [CARRIER_HEADER, GOOD] {
        let cells: Vec<_> = row.iter().rev().chain(&["x"]).copied().collect();
        text += &(cells.join(",") + "\r\n");
    }
    bench.import_bytes(text.as_bytes()).unwrap();
    let reader = StagingReader::open(bench.data(), bench.config.name(), 14, &bench.storage).unwrap();
    let records: Vec<_> = reader.into_iter().map(Result::unwrap).collect();
    assert!(records[0].person == person(GOOD[0], GOOD[1], GOOD[3]));
}

#[test]
fn an_open_quotation_mark_does_not_swallow_the_file() {
    let mut bench = Bench::new();
    let text = good_rows(2) + "\"" + &good_rows(40_000);
    assert_eq!(bench.import_bytes(text.as_bytes()).unwrap_err().code(), "ROW_TOO_LONG");
}

#[test]
fn every_quality_gate_refuses_the_whole_file_and_keeps_the_import_before() {
    let empty_cell = with(&[(0, "13800000001"), (4, "")]);
    let old = with(&[(0, "13800000001"), (10, "2026-09-30")]);
    let future = with(&[(0, "13800000001"), (10, "2026-11-13")]);
    let bad = with(&[(0, "1380000000")]);
    let differing = with(&[(0, "13900000000"), (1, "李四")]);
    let repeated = with(&[(0, "13900000000")]);
    for (gate, row) in [
        ("missing", empty_cell),
        ("out_of_date", old),
        ("out_of_date", future),
        ("rejected", bad),
        ("inconsistent", differing),
        ("duplicate", repeated),
    ] {
        let mut bench = Bench::new();
        let before = bench.import_bytes(good_rows(3).as_bytes()).unwrap();
        let rows = (row.join(",") + "\n").repeat(if gate == "duplicate" { 2 } else { 1 });
        let error = bench.import_bytes((good_rows(9) + &rows).as_bytes()).unwrap_err();
        let ImportError::QualityGate { failures, .. } = &error else { panic!("{gate}: {error}") };
        assert!(failures.iter().any(|failure| failure.gate == gate), "{gate}: {error}");
        assert_eq!(error.code(), "QUALITY_GATE");
        assert_eq!(bench.entries(), ["import-rejects.csv", "staging"]);
        let status = status(bench.data(), bench.config.name()).unwrap();
        assert_eq!(status.imported, Some(before));
    }
}

#[test]
fn a_gate_that_refuses_the_first_import_leaves_only_the_reject_file() {
    let mut bench = Bench::new();
    let error = bench.import_bytes(file(&[with(&[(0, "1")])]).as_bytes()).unwrap_err();
    assert_eq!(error.code(), "QUALITY_GATE");
    assert_eq!(bench.entries(), ["import-rejects.csv"]);
    assert_eq!(bench.rejects("import-rejects.csv"), [["2", "phone", "PHONE_LENGTH"]]);
    assert_eq!(bench.import_bytes(file(&[]).as_bytes()).unwrap_err().code(), "NO_ROWS");
    assert_eq!(bench.build(1).unwrap_err().code(), "STAGING_MISSING");
}

#[test]
fn progress_ends_at_the_whole_file() {
    let bench = Bench::new();
    let source = bench.data().join("input.csv");
    fs::write(&source, good_rows(40_000)).unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let job = Import {
        data_dir: bench.data(),
        config: &bench.config,
        source: &source,
        key: &bench.storage,
        now_ms: NOW,
    };
    let mut rng = bench.rng.clone();
    import(&job, &mut rng, &|position| seen.lock().unwrap().push(position)).unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() > 1 && seen.is_sorted_by_key(|position| position.done));
    let last = seen.last().unwrap();
    assert_eq!((last.rows, last.done), (40_000, last.total));
}

#[test]
fn the_staging_file_holds_no_identity_in_clear() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(600).as_bytes()).unwrap();
    let bytes = fs::read(bench.path("staging")).unwrap();
    for mark in ["13900000001", "张三", "11010519491231002X", "1949123"] {
        assert!(!bytes.windows(mark.len()).any(|window| window == mark.as_bytes()), "{mark}");
    }
}

fn read_all(bench: &Bench, key: &StorageKey) -> Result<usize, StagingError> {
    let reader = StagingReader::open(bench.data(), bench.config.name(), 14, key)?;
    reader.into_iter().try_fold(0, |count, record| record.map(|_| count + 1))
}

#[test]
fn every_flipped_byte_of_a_staging_file_is_found() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(3).as_bytes()).unwrap();
    let path = bench.path("staging");
    let good = fs::read(&path).unwrap();
    assert_eq!(read_all(&bench, &bench.storage).unwrap(), 3);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        fs::write(&path, &bytes).unwrap();
        let code = read_all(&bench, &bench.storage).unwrap_err().code();
        assert!(code == "STAGING_DAMAGED" || code == "STAGING_KEY", "byte {at}: {code}");
    }
}

#[test]
fn a_cut_or_reordered_staging_file_is_refused() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(1_200).as_bytes()).unwrap();
    let path = bench.path("staging");
    let good = fs::read(&path).unwrap();
    let length = |at: usize| u32::from_be_bytes(good[at + 1..at + 5].try_into().unwrap()) as usize + 5;
    let first = 52..52 + length(52);
    let second = first.end..first.end + length(first.end);
    let swapped = [&good[..52], &good[second.clone()], &good[first.clone()], &good[second.end..]].concat();
    let shorter = [&good[..first.start], &good[first.end..]].concat();
    for bytes in [&swapped, &shorter, &good[..good.len() - 1], &good[..60], &good[..0]] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(read_all(&bench, &bench.storage).unwrap_err().code(), "STAGING_DAMAGED");
    }
}

#[test]
fn a_staging_file_of_another_storage_key_is_told_apart() {
    let mut bench = Bench::new();
    bench.import_bytes(good_rows(3).as_bytes()).unwrap();
    let other = StorageKey::generate(&MemoryStore::new(), 0, &mut bench.rng).unwrap();
    assert_eq!(read_all(&bench, &other).unwrap_err().code(), "STAGING_KEY");
}
