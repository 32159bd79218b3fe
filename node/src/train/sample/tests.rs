//! Which rows are listed, and what is refused by name.

use std::collections::BTreeSet;

use super::*;

const SEED: [u8; 32] = [7; 32];

fn universe() -> Universe {
    let segments = ["1380013", "1391234"].map(|text| text.parse().unwrap()).to_vec();
    Universe::new("bank".parse().unwrap(), 1, segments).unwrap()
}

fn read(text: &str) -> Result<Sample, SampleError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.csv");
    std::fs::write(&path, text).unwrap();
    Sample::read(&SampleFile { path: &path, number: "phone", label: "bad" }, &universe(), &())
}

fn sample(rows: u64) -> Sample {
    Sample((0..rows).map(|row| (3 * row, row % 3 == 0)).collect())
}

#[test]
fn rows_stand_by_position_with_their_labels() {
    let sample = read("bad,phone\n1,13912340000\n0,138 0013 0002\n").unwrap();
    assert_eq!(sample.0, [(2, false), (10_000, true)]);
}

#[test]
fn what_cannot_be_used_is_named_by_line_column_and_rule() {
    for (text, named, code) in [
        ("phone,bad\n13800130001,1\n13800130002,2\n", "line 3, column bad: LABEL_0_OR_1", "TRAIN_CELL"),
        ("phone,bad\n13800140001,1\n", "line 2, column phone: OUTSIDE_UNIVERSE", "TRAIN_CELL"),
        ("phone,bad\n13800130001,1\n13800130001,0\n", "line 3, column phone: REPEATED_NUMBER", "TRAIN_CELL"),
        ("phone,bad\n13800130001,1\n", "1 rows with label 1 and 0 with label 0", "TRAIN_LABELS"),
        ("phone\n13800130001\n", "bad", "COLUMN_MISSING"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(error.code(), code);
        assert!(!error.to_string().contains("1380013"));
    }
}

#[test]
fn decoys_are_of_the_whole_universe_and_never_of_the_sample() {
    let sample = sample(500);
    let listed = Listed::draw(&sample, 20_000, 2, 0, &SEED).unwrap();
    assert_eq!((listed.rows(), listed.real(), listed.held_out()), (1_500, 500, 0));
    assert!(listed.positions().is_sorted_by(|a, b| a < b));
    let own: BTreeSet<_> = sample.0.iter().map(|row| row.0).collect();
    let of = |kind: fn(&Kind) -> bool| {
        let rows = listed.positions.iter().zip(&listed.kinds).filter(move |(_, k)| kind(k));
        rows.map(|(at, _)| *at).collect::<BTreeSet<_>>()
    };
    assert_eq!(of(|kind| matches!(kind, Kind::Training(_))), own);
    let decoys = of(|kind| *kind == Kind::Decoy);
    assert!(decoys.is_disjoint(&own));
    // 1,000 of 19,500: each tenth of the universe has about a hundred of them.
    for tenth in 0..10 {
        let found = decoys.range(2_000 * tenth..2_000 * (tenth + 1)).count();
        assert!((50..=150).contains(&found), "{found}");
    }
}

#[test]
fn all_other_numbers_can_be_decoys_and_no_more_than_there_are() {
    let sample = sample(10);
    let listed = Listed::draw(&sample, 30, 2, 0, &SEED).unwrap();
    assert_eq!(listed.positions(), (0..30).collect::<Vec<_>>());
    let error = Listed::draw(&sample, 29, 2, 0, &SEED).unwrap_err();
    assert!(matches!(error, SampleError::Universe { wanted: 20, others: 19 }));
    let many = Sample((0..50_000).map(|at| (at, at == 0)).collect());
    assert!(matches!(Listed::draw(&many, 1 << 20, 2, 0, &SEED), Err(SampleError::Rows { .. })));
}

#[test]
fn rows_of_one_label_are_neither_held_out_nor_trained_on_alone() {
    let rare = |positive| Sample((0..2_000).map(|row| (3 * row, row % 100 == 7 && row < positive)).collect());
    let draw = |positive, seed: u8| Listed::draw(&rare(positive), 20_000, 2, 20, &[seed; 32]);
    // One row of a label is either held out or trained on, and the other needs one too.
    let mut refused = BTreeSet::new();
    for seed in 0..64 {
        let error = draw(100, seed).unwrap_err();
        assert_eq!(error.code(), "TRAIN_LABELS");
        let text = error.to_string();
        assert!(text.contains("0 have label 1") && text.contains("held_out"), "{text}");
        refused.insert(matches!(error, SampleError::Trained { positive: 0, .. }));
    }
    assert_eq!(refused.len(), 2);
    let listed = (0..64).find_map(|seed| draw(300, seed).ok()).unwrap();
    assert!(listed.labels().contains(&Some(true)) && listed.judged().any(|(_, label)| label));
    // With nothing held out all are judged.
    assert_eq!(Listed::draw(&rare(100), 20_000, 2, 0, &SEED).unwrap().judged().count(), 2_000);
}

#[test]
fn the_same_seed_lists_and_holds_out_the_same_and_another_does_not() {
    let sample = sample(2_000);
    let draw = |seed, share| Listed::draw(&sample, 20_000, 2, share, seed).unwrap();
    let listed = draw(&SEED, 20);
    assert_eq!(listed, draw(&SEED, 20));
    assert_ne!(listed.positions(), draw(&[8; 32], 20).positions());
    assert!((330..=470).contains(&listed.held_out()), "{}", listed.held_out());
    assert_eq!(listed.real() + listed.held_out(), 2_000);
    // A held-out row is as a decoy for the training.
    let rows = listed.begin(341);
    for (row, kind) in rows.iter().zip(listed.kinds()) {
        let expected =
            if let Kind::Training(label) = kind { Row::new(Some(*label), 341) } else { Row::default() };
        assert_eq!(*row, expected);
    }
    assert_eq!(Listed::decode(listed.encode().as_bytes()), Ok(listed));
}
