//! From hits to lists, without the intersections.

use std::collections::BTreeMap;

use super::*;
use crate::risk::Rules;
use crate::verification::{ScoreReport, ScoreStatus};

fn hit(customer: &str, outlet: &str, provider: &str, tags: &[&str]) -> Hit {
    Hit {
        customer: customer.into(),
        outlet: outlet.into(),
        provider: provider.into(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

fn hits() -> Hits {
    let mut hits = Hits::default();
    hits.apply(hit("K3", "W2", "a", &["bulk_sms"]));
    hits.apply(hit("K1", "W2", "a", &["bulk_sms"]));
    hits.apply(hit("K1", "W2", "b", &["fraud_confirmed"]));
    hits.apply(hit("K2", "W1", "b", &["of_another_schema"]));
    hits
}

/// One customer has a score, and another one should have.
fn scores() -> BTreeMap<String, ScoreReport> {
    let unavailable =
        ScoreReport::unavailable(&"joint-risk".parse().unwrap(), 3, "fraud-1", "SCORE_UNAVAILABLE");
    let band = Some("medium".to_owned());
    let scored = ScoreReport { status: ScoreStatus::Scored, band, error: None, ..unavailable.clone() };
    BTreeMap::from([("K1".to_owned(), scored), ("K2".to_owned(), unavailable)])
}

fn lists(hits: &Hits) -> (ScreenSummary, Vec<Vec<String>>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let summary = write_lists(hits, &scores(), &Rules::shipped(), dir.path()).unwrap();
    let mut reader = csv::Reader::from_path(dir.path().join("risk-list.csv")).unwrap();
    assert_eq!(reader.headers().unwrap(), &RISK_LIST_HEADER[..]);
    let rows = reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
    (summary, rows, dir)
}

#[test]
fn customers_stand_by_outlet_the_worst_first_and_are_never_green() {
    let (summary, rows, _dir) = lists(&hits());
    assert_eq!(summary, ScreenSummary { listed: 3, red: 1, yellow: 2, outlets: 2 });
    let head: Vec<_> = rows.iter().map(|row| row[..5].join(",")).collect();
    assert_eq!(
        head,
        [
            "W1,K2,yellow,b,of_another_schema",
            "W2,K1,red,a|b,bulk_sms|fraud_confirmed",
            "W2,K3,yellow,a,bulk_sms"
        ]
    );
    let bands: Vec<_> = rows.iter().map(|row| row[9].as_str()).collect();
    assert_eq!(bands, ["SCORE_UNAVAILABLE", "medium", ""]);
    assert!(rows[0][7].contains("No joint score"), "{}", rows[0][7]);
    assert!(rows[0][5].contains("风险名单") && rows[0][7].contains("risk list"));
    assert!(rows[1][5].contains("已确认涉诈") && rows[1][7].contains("confirmed fraud"));
}

#[test]
fn hits_survive_their_file_and_changes_apply_to_them() {
    let (_, _, dir) = lists(&hits());
    let mut read = Hits::read(&dir.path().join("hits.csv")).unwrap();
    assert_eq!(read, hits());
    read.apply(hit("K1", "W2", "b", &[]));
    read.apply(hit("K3", "W2", "a", &[]));
    read.apply(hit("K9", "W1", "a", &[]));
    read.apply(hit("K2", "W1", "b", &["money_mule"]));
    let (summary, rows, _dir) = lists(&read);
    assert_eq!(summary, ScreenSummary { listed: 2, red: 1, yellow: 1, outlets: 2 });
    assert_eq!(rows[0][..5].join(","), "W1,K2,red,b,money_mule");
    assert_eq!(rows[1][..5].join(","), "W2,K1,yellow,a,bulk_sms");
}

#[test]
fn a_damaged_file_of_hits_is_refused_with_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hits.csv");
    std::fs::write(&path, "客户号,网点,来源,标签\nK1,W1,a,bulk_sms\nK2,W1,a,\n").unwrap();
    assert!(matches!(Hits::read(&path), Err(ScreenError::Row { row: 2, .. })));
}

#[test]
fn words_become_codes_and_an_unknown_one_is_named_by_its_provider() {
    let words = TagWords::default();
    let codes = words.codes("a", "跑分| fraud_confirmed").unwrap();
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["fraud_confirmed", "money_mule"]);
    assert!(words.codes("a", "").unwrap().is_empty());
    let error = words.codes("a", "新标签").unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("a sent")), ("TAG_UNKNOWN", true));
}
