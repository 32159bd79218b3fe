//! Order, refusals, interruptions.

use super::*;

/// Makes a run's options another run's.
type Change = fn(&mut BatchOptions);

const REFUSE: Option<Twist> = Some(Twist::Refuse(503, None));

fn chunked(count: usize) -> Case {
    let mut case = Case::new(good(count));
    case.options.chunk_rows = 2;
    case
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("t-{i}")).collect()
}

async fn uninterrupted(case: &Case) -> Vec<u8> {
    let fresh = Case::new(fs::read(&case.options.input).unwrap());
    fresh.run(&Script::default()).await.unwrap();
    fresh.output()
}

#[tokio::test]
async fn results_keep_the_order_of_the_file_when_later_chunks_finish_first() {
    let case = chunked(9);
    // The first chunk waits for three others, of which at most one is under way beside it.
    let script = Script::twisted([Some(Twist::After(3))]);
    case.run(&script).await.unwrap();
    let tickets: Vec<_> = case.rows().into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(tickets, numbered(0..9));
    assert_eq!(case.output(), uninterrupted(&case).await);
}

#[tokio::test]
async fn a_rerun_asks_only_about_the_chunks_that_are_not_kept() {
    let case = chunked(9);
    let script = Script::twisted([None, None, REFUSE]);
    let error = case.run(&script).await.unwrap_err();
    assert_eq!(error.to_string(), "lines 6 to 7: REFUSED: refused; wait; run again to continue");
    assert_eq!(error.code(), "REFUSED");
    assert_eq!(case.files(), ["in.csv", "out.csv.partial"]);
    let asked = script.tickets();
    let rerun = Script::default();
    let summary = case.run(&rerun).await.unwrap();
    assert!(rerun.tickets().starts_with(&numbered(4..6)), "the refused chunk comes first");
    let twice = rerun.tickets().into_iter().filter(|ticket| asked.contains(ticket));
    assert_eq!(twice.collect::<Vec<_>>(), numbered(4..6), "only the refused chunk is asked about again");
    assert_eq!((summary.rows, summary.rows - summary.resumed_rows), (9, rerun.tickets().len() as u64));
    assert_eq!(case.output(), uninterrupted(&case).await);
    assert_eq!(case.files(), ["in.csv", "out.csv"]);
}

#[tokio::test]
async fn what_a_crash_cut_off_is_dropped_wherever_it_was_cut() {
    let case = chunked(6);
    case.run(&Script::twisted([None, REFUSE])).await.unwrap_err();
    let path = case.directory.path().join("out.csv.partial");
    let kept = fs::read(&path).unwrap();
    let expected = uninterrupted(&case).await;
    let whole = |length: usize| kept[..length].iter().filter(|b| **b == b'\n').count().saturating_sub(1);
    // Every run is durable and so not quick: around line ends, and now and then between.
    let edge = |length: &usize| kept[length.saturating_sub(2)..=*length].contains(&b'\n');
    for length in (0..kept.len()).filter(|length| length.is_multiple_of(61) || edge(length)) {
        fs::write(&path, &kept[..length]).unwrap();
        let script = Script::default();
        let summary = case.run(&script).await.unwrap();
        assert_eq!(summary.resumed_rows, 2 * whole(length) as u64, "cut at {length}");
        assert_eq!(script.calls().len(), 3 - whole(length), "cut at {length}");
        assert_eq!(case.output(), expected);
    }
    for tail in ["{\"chunk\":1,\"rows\":[[]]}\n", "\0\0\0\0\n"] {
        fs::write(&path, [&kept, tail.as_bytes()].concat()).unwrap();
        let summary = case.run(&Script::default()).await.unwrap();
        assert_eq!(summary.resumed_rows, 2 * whole(kept.len()) as u64);
        assert_eq!(case.output(), expected);
    }
}

#[tokio::test]
async fn kept_chunks_belong_to_one_input_and_one_set_of_options() {
    let case = chunked(4);
    case.run(&Script::twisted([None, REFUSE])).await.unwrap_err();
    let input = fs::read(&case.options.input).unwrap();
    let changes: [(&str, Change); 6] = [
        ("purpose", |options| options.purpose = "other".into()),
        ("operator", |options| options.operator = "other".into()),
        ("outlet", |options| options.outlet = None),
        ("branch", |options| options.branch = Some("b".into())),
        ("chunk size", |options| options.chunk_rows = 3),
        ("input", |options| fs::write(&options.input, good(5)).unwrap()),
    ];
    for (field, change) in changes {
        let mut options = case.options.clone();
        change(&mut options);
        let script = Script::default();
        let error = run(&script, &options, &ProgressBar::hidden()).await.unwrap_err();
        assert_eq!(error.code(), "PARTIAL_MISMATCH");
        assert!(error.to_string().contains(&format!("another {field};")), "{error}");
        assert!(script.calls().is_empty());
    }
    fs::write(&case.options.input, input).unwrap();
    case.run(&Script::default()).await.unwrap();
    fs::write(case.directory.path().join("out.csv.partial"), "not ours\n").unwrap();
    assert_eq!(case.run(&Script::default()).await.unwrap_err().code(), "PARTIAL_DAMAGED");
}

#[tokio::test]
async fn two_runs_do_not_share_an_output() {
    let case = chunked(2);
    let path = case.directory.path().join("out.csv.partial");
    let held = fs::File::create(&path).unwrap();
    held.lock().unwrap();
    assert_eq!(case.run(&Script::default()).await.unwrap_err().code(), "BATCH_BUSY");
    drop(held);
    case.run(&Script::default()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_says_when_to_come_back_is_asked_again_a_few_times() {
    let busy = |status| Some(Twist::Refuse(status, Some(0)));
    let (case, script) = (chunked(2), Script::twisted([busy(429), busy(503), busy(503), busy(429)]));
    case.run(&script).await.unwrap();
    assert_eq!(script.calls().len(), 5);
    let calls = script.calls();
    assert!(calls.iter().all(|call| *call == calls[0]), "every attempt has the same content");
    for (twist, attempts) in [(busy(503), 5), (busy(500), 1), (REFUSE, 1)] {
        let (case, script) = (chunked(2), Script::twisted(vec![twist; 9]));
        assert_eq!(case.run(&script).await.unwrap_err().code(), "REFUSED");
        assert_eq!(script.calls().len(), attempts);
    }
}

#[tokio::test]
async fn an_input_that_changes_underway_has_no_output() {
    let case = chunked(12);
    let script = Script::twisted([Some(Twist::Change(case.options.input.clone()))]);
    assert_eq!(case.run(&script).await.unwrap_err().code(), "INPUT_CHANGED");
    assert_eq!(case.files(), ["in.csv", "out.csv.partial"]);
}

#[tokio::test]
async fn nothing_is_asked_or_kept_of_a_content_that_the_first_reading_did_not_find() {
    let case = chunked(8);
    let expected = uninterrupted(&case).await;
    for changed in [good(8).replacen("t-3,", "t-9,", 1), good(9), good(3), good(8) + "\n"] {
        let input = Input::open(&case.options.input, case.options.kind, 2).unwrap();
        fs::write(&case.options.input, &changed).unwrap();
        let mut partial = Partial::open(&case.options.output, &Binding::new(&case.options, &input)).unwrap();
        let script = Script::default();
        let sent = send::all(&script, &case.options, &input, &mut partial, &ProgressBar::hidden()).await;
        assert_eq!(sent.unwrap_err().code(), "INPUT_CHANGED");
        assert!(numbered(0..8).starts_with(&script.tickets()), "{:?}", script.tickets());
        drop(partial);
        fs::write(&case.options.input, good(8)).unwrap();
        let summary = case.run(&Script::default()).await.unwrap();
        assert_eq!(summary.resumed_rows as usize, script.tickets().len());
        assert_eq!(case.output(), expected);
    }
}

#[tokio::test]
async fn options_that_cannot_work_are_refused_at_once() {
    let mut case = chunked(2);
    for found in [0, 4_097] {
        case.options.chunk_rows = found;
        assert_eq!(case.run(&Script::default()).await.unwrap_err().code(), "CHUNK_ROWS");
    }
    case.options.chunk_rows = 1;
    case.options.output = case.directory.path().join(".").join("in.csv");
    assert_eq!(case.run(&Script::default()).await.unwrap_err().code(), "OUTPUT_IS_INPUT");
    case.options.output = case.directory.path().join("none").join("out.csv");
    assert_eq!(case.run(&Script::default()).await.unwrap_err().code(), "FILE_IO");
    case.options.input = case.directory.path().join("none.csv");
    assert_eq!(case.run(&Script::default()).await.unwrap_err().code(), "FILE_IO");
}
