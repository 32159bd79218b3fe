//! Carriers' files: every way in which an import is refused, and the one in which it is not.

use std::path::PathBuf;

use encoding_rs::GB18030;
use windvane::dataset::{CARRIER_DATASET, CARRIER_SCHEMA, DataSetConfig};

use super::marks::SUBSCRIBERS;
use super::operations::{Stage, lenient, refused_rows, rows};
use super::record::ERRORS;
use crate::lab::{HEADER, Party};

/// Subscribers who are not marked, so that tables have more than one page.
const UNMARKED: u64 = 300;

/// Every mistake; nothing is imported.
pub(crate) fn refused(stage: &Stage, carrier: &Party) {
    let good = rows(&SUBSCRIBERS);
    let strict = DataSetConfig::carrier();
    let attempt = |what: &str, config: &DataSetConfig, content: &[u8], code: &str| {
        let file = write(stage, "mistake.csv", content);
        let error = stage.record.error(what, carrier.admin.import(config, &file, &()));
        assert_eq!(error.code(), code, "{what}");
    };
    attempt("no header", &strict, good.as_bytes(), "COLUMN_MISSING");
    let twice = format!("手机号,{HEADER}{good}");
    attempt("a column twice", &strict, twice.as_bytes(), "COLUMN_REPEATED");
    let utf8 = CARRIER_DATASET.replacen("encoding = \"auto\"", "encoding = \"utf-8\"", 1);
    let utf8 = DataSetConfig::parse(&utf8, CARRIER_SCHEMA).unwrap();
    let content = format!("{HEADER}{good}");
    attempt("another encoding", &utf8, &GB18030.encode(&content).0, "ENCODING_INVALID");
    let mixed = format!("{HEADER}{good}{}", refused_rows());
    attempt("bad quality", &strict, mixed.as_bytes(), "QUALITY_GATE");
    let none = format!("{HEADER}{}", refused_rows());
    attempt("no good row", &lenient(), none.as_bytes(), "NO_ROWS");
    let open = format!("{HEADER}\"{good}{}", unmarked().repeat(100));
    attempt("an open quotation mark", &strict, open.as_bytes(), "ROW_TOO_LONG");
    let gone = stage.desk.path().join("nowhere.csv");
    stage.record.error("no file", carrier.admin.import(&strict, &gone, &()));
    stage.record.error("nothing imported", carrier.admin.build(&strict, &()));
    stage.record.error("nothing built", carrier.admin.publish(&strict));
}

/// A file in each encoding, refused rows among the accepted; two epochs of the first.
pub(crate) fn accepted(stage: &Stage, a: &Party, b: &Party) {
    let content = format!("{HEADER}{}{}{}", rows(&SUBSCRIBERS), refused_rows(), unmarked());
    let file = write(stage, "a.csv", content.as_bytes());
    let report = a.admin.import(&lenient(), &file, &stage.within("while importing")).unwrap();
    assert_eq!((report.accepted, report.rejected), (SUBSCRIBERS.len() as u64 + UNMARKED, 4));
    stage.record.told("imports", &report);
    for (moment, built_moment) in [("while building", "built"), ("while building again", "built again")] {
        let built = a.admin.build(&lenient(), &stage.within(moment)).unwrap();
        stage.record.debug("builds", &built);
        stage.moment(built_moment);
        stage.record.debug("status", &a.admin.data_set_status(lenient().name()).unwrap());
        stage.record.debug("publications", &a.admin.publish(&lenient()).unwrap());
    }
    changed(stage, a);
    let content = format!("{HEADER}{}{}", rows(&SUBSCRIBERS[3..]), unmarked());
    let file = write(stage, "b.csv", &GB18030.encode(&content).0);
    b.admin.import(&lenient(), &file, &()).unwrap();
    b.admin.build(&lenient(), &()).unwrap();
    b.admin.publish(&lenient()).unwrap();
    let again = stage.record.error("nothing new built", a.admin.publish(&lenient()));
    stage.record.keep(ERRORS, "codes", again.code().as_bytes());
}

/// Change files there and back, with refused rows among them, and their deltas.
fn changed(stage: &Stage, carrier: &Party) {
    let day = |rows: String| {
        let rows = rows + &refused_rows();
        let rows = rows.lines().map(|row| format!("变更,{row}\n"));
        format!("操作类型,{HEADER}{}", rows.collect::<String>())
    };
    let there = rows(&SUBSCRIBERS).replace(",正常,", ",停机,");
    let error = stage.record.error(
        "bad changes",
        carrier.admin.change(
            &DataSetConfig::carrier(),
            &write(stage, "day.csv", day(there.clone()).as_bytes()),
            &(),
        ),
    );
    assert_eq!(error.code(), "QUALITY_GATE");
    for rows in [there, rows(&SUBSCRIBERS)] {
        let file = write(stage, "day.csv", day(rows).as_bytes());
        let report = carrier.admin.change(&lenient(), &file, &stage.within("while changing")).unwrap();
        assert!(report.changed > 0 && report.rejected == 4, "{report:?}");
        stage.record.told("changes", &report);
        let made = carrier.admin.publish_delta(&lenient(), &stage.within("while sealing")).unwrap();
        stage.record.debug("deltas", &made);
        stage.moment("changed");
    }
    let again = stage.record.error("nothing changed", carrier.admin.publish_delta(&lenient(), &()));
    stage.record.keep(ERRORS, "codes", again.code().as_bytes());
}

fn write(stage: &Stage, name: &str, content: &[u8]) -> PathBuf {
    let path = stage.desk.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn unmarked() -> String {
    let line = |i: u64| {
        let (phone, serial) = (13_500_000_000 + i, 100_000 + i);
        format!("{phone},甲乙{i},护照,P{serial},正常,2019-01-01,,否,1,,2026-11-01\n")
    };
    (0..UNMARKED).map(line).collect()
}
