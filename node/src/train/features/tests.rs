//! Tables become bins by position, and what cannot be used is named without its value.

use windvane_protocols::train::tree::{Decision, Split};

use super::*;

fn universe() -> Universe {
    let segments = ["1380013", "1391234"].map(|text| text.parse().unwrap()).to_vec();
    Universe::new("bank".parse().unwrap(), 1, segments).unwrap()
}

/// A table in a folder that is there as long as what is returned.
fn table(text: &str) -> (tempfile::TempDir, FeatureFile) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("features.csv");
    std::fs::write(&path, text).unwrap();
    (dir, FeatureFile { path, number: "phone".into(), features: Vec::new() })
}

const TABLE: &str = "phone,calls,active\n13912340000,3.5,1\n13800130002,,0\n13800130001,-1,\n";

fn fit(text: &str) -> Result<Features, FeatureError> {
    let (_dir, file) = table(text);
    Features::fit(&file, &universe(), &())
}

fn split(feature: u16, bin: u8, left: i32, right: i32) -> Tree {
    let split = Decision::Split(Split { feature, bin });
    Tree::new(vec![split, Decision::Leaf(left), Decision::Leaf(right)]).unwrap()
}

#[test]
fn rows_stand_by_position_with_missing_values_in_bin_zero() {
    let features = fit(TABLE).unwrap();
    assert_eq!(features.positions(), [1, 2, 10_000]);
    assert_eq!(features.names().collect::<Vec<_>>(), ["calls", "active"]);
    assert_eq!(features.bins(), [3, 3]);
    assert_eq!(features.columns, [[1, 0, 2], [0, 1, 2]]);
}

#[test]
fn more_bins_than_a_node_has_cells_are_refused_of_a_provider() {
    let names: String = (0..600).map(|i| format!(",f{i}")).collect();
    let row = |row: usize| format!("1380013{row:04}{}\n", format!(",{row}").repeat(600));
    let text = format!("phone{names}\n{}", (0..40).map(row).collect::<String>());
    let (_dir, file) = table(&text);
    let features = Features::fit(&file, &universe(), &()).unwrap();
    let error = features.check_bins(&file).unwrap_err();
    assert_eq!(error.code(), "TRAIN_BINS");
    assert!(error.to_string().contains("at most 16384"), "{error}");
}

#[test]
fn listed_numbers_that_the_table_lacks_are_missing_for_one_provider_and_absent_for_a_carrier() {
    let features = fit(TABLE).unwrap();
    let listed = [0, 2, 9_999, 10_000, 19_999];
    let column = |alone| features.listed(&listed, alone).unwrap().column(1).to_vec();
    assert_eq!(column(true), [0, 1, 0, 2, 0]);
    assert_eq!(column(false), [ABSENT, 1, ABSENT, 2, ABSENT]);
}

#[test]
fn trees_add_to_every_number_of_the_table_and_to_all_others() {
    let features = fit(TABLE).unwrap();
    let trees = [split(0, 0, -5, 7), split(1, 1, 10, 20)];
    assert_eq!(features.apply(&trees), [17, 5, 27]);
    assert_eq!(features.apply_elsewhere(&trees, true), 5);
    assert_eq!(features.apply_elsewhere(&trees, false), 0);
}

#[test]
fn what_breaks_a_rule_is_named_by_file_line_column_and_rule_and_never_by_its_value() {
    for (from, to, line, column, rule) in [
        ("13912340000", "13912350000", 2, "phone", "OUTSIDE_UNIVERSE"),
        ("13800130001", "13912340000", 4, "phone", "REPEATED_NUMBER"),
        ("3.5", "7e999", 2, "calls", "NOT_A_NUMBER"),
        ("3.5", "nan", 2, "calls", "NOT_A_NUMBER"),
        ("-1", "yes", 4, "calls", "NOT_A_NUMBER"),
        ("13800130002", "12345", 3, "phone", ""),
    ] {
        let error = fit(&TABLE.replacen(from, to, 1)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("features.csv") && !text.contains(to), "{text}");
        match error {
            FeatureError::Cell { line: l, column: c, rule: r, .. } => {
                assert_eq!((l, c.as_str()), (line, column));
                assert!(rule.is_empty() || r == rule, "{r}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn columns_that_are_not_there_and_tables_without_rows_are_refused() {
    let (_dir, file) = table(TABLE);
    let with = |features: &[&str]| {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        Features::fit(&FeatureFile { features, ..file.clone() }, &universe(), &())
    };
    assert_eq!(with(&["active"]).unwrap().bins(), [3]);
    assert_eq!(with(&["salary"]).unwrap_err().code(), "COLUMN_MISSING");
    assert_eq!(with(&[&"x".repeat(MAX_TRAIN_NAME_BYTES + 1)]).unwrap_err().code(), "TRAIN_FEATURE_NAME");
    assert_eq!(fit("phone,calls\n").unwrap_err().code(), "NO_ROWS");
    assert_eq!(fit("phone\n13912340000\n").unwrap_err().code(), "TRAIN_FEATURES");
}

#[test]
fn a_schema_bins_every_carriers_table_alike() {
    let (_dir, file) = table(TABLE);
    let fitted = fit_schema(&file, &()).unwrap();
    let schema = TrainSchema::new("carrier-a".parse().unwrap(), fitted).unwrap();
    let (_dir, other) = table("active,phone,calls\n0,13800130007,2\n1,13800130008,9\n");
    let features = Features::with_schema(&other, &universe(), &schema, &()).unwrap();
    assert_eq!(features.names().collect::<Vec<_>>(), ["calls", "active"]);
    assert_eq!(
        (features.columns.as_slice(), features.bins()),
        ([vec![2, 2], vec![1, 2]].as_slice(), &[3, 3][..])
    );
    let (_dir, without) = table("phone,calls\n13800130007,2\n");
    let error = Features::with_schema(&without, &universe(), &schema, &()).unwrap_err();
    assert_eq!(error.code(), "COLUMN_MISSING");
}

#[test]
fn a_files_digest_changes_with_it() {
    assert_eq!(fit(TABLE).unwrap().digest(), fit(TABLE).unwrap().digest());
    assert_ne!(fit(TABLE).unwrap().digest(), fit(&TABLE.replace("3.5", "3.6")).unwrap().digest());
}
