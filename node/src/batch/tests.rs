//! Files in and out, with a stand-in for the node.

mod reading;
mod resuming;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;
use crate::http::{BatchBody, BatchItem, BatchResult, BatchResults, Problem};
use crate::verification::{Advice, Colour, Decision, MatchResult, Mismatch, Reason, VerificationReport};

const NAME: &str = "王小明";
const ID_NUMBER: &str = "11010519491231002X";
const PHONE: &str = "13800138000";
const REQUIRED: &str = "客户类型,证件类型,证件号码,客户名称,手机号";

/// What a call does instead of answering.
#[derive(Debug, Clone)]
enum Twist {
    /// Refuses with this status and time to wait.
    Refuse(u16, Option<u64>),
    /// Answers only after this many calls were answered.
    After(usize),
    /// Appends a line to a file first.
    Change(PathBuf),
}

/// Answers like a node: a mismatch in the name for tickets that end in an odd digit, else a match.
#[derive(Debug, Clone, Default)]
struct Script {
    calls: Arc<Mutex<Vec<BatchBody>>>,
    twists: Arc<Mutex<VecDeque<Option<Twist>>>>,
    answered: tokio::sync::watch::Sender<usize>,
}

impl Script {
    fn twisted(twists: impl IntoIterator<Item = Option<Twist>>) -> Self {
        Self { twists: Arc::new(Mutex::new(twists.into_iter().collect())), ..Self::default() }
    }

    fn calls(&self) -> Vec<BatchBody> {
        self.calls.lock().unwrap().clone()
    }

    fn items(&self) -> Vec<BatchItem> {
        self.calls().into_iter().flat_map(|call| call.items).collect()
    }

    fn tickets(&self) -> Vec<String> {
        self.items().into_iter().map(|item| item.ticket).collect()
    }
}

impl SendBatch for Script {
    async fn send(&self, body: &BatchBody) -> Result<BatchResults, Problem> {
        self.calls.lock().unwrap().push(body.clone());
        let twist = self.twists.lock().unwrap().pop_front().flatten();
        match twist {
            Some(Twist::Refuse(status, retry_after_ms)) => {
                let problem = Problem::new(status, "REFUSED", "refused", "wait");
                return Err(Problem { retry_after_ms, ..problem });
            }
            Some(Twist::After(count)) => {
                self.answered.subscribe().wait_for(|answered| *answered >= count).await.unwrap();
            }
            Some(Twist::Change(path)) => {
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text + "\n").unwrap();
            }
            None => {}
        }
        let results = body.items.iter().map(|item| BatchResult::Report(Box::new(report(item)))).collect();
        self.answered.send_modify(|count| *count += 1);
        Ok(BatchResults { results })
    }
}

fn report(item: &BatchItem) -> VerificationReport {
    let odd = item.ticket.ends_with(['1', '3', '5', '7', '9']);
    let (result, colour) =
        if odd { (MatchResult::Mismatch, Colour::Red) } else { (MatchResult::Match, Colour::Green) };
    let (zh, en) = ("姓名不符", "no fit");
    VerificationReport {
        id: format!("v-{}", item.ticket),
        result,
        mismatch: odd.then_some(Mismatch { name: true, id: true }),
        attributes: [("status", "active"), ("tenure", "ge_3y")].map(|(a, b)| (a.into(), b.into())).into(),
        tags: ["bulk_sms", "shared_device"].map(Into::into).into(),
        providers: Vec::new(),
        score: None,
        decision: Decision {
            colour,
            reasons: vec![Reason { rule: "r".into(), zh: zh.into(), en: en.into() }; 2],
            advice: vec![Advice { zh: "当面核对".into(), en: "check".into() }],
            restriction: None,
            missing_sources: vec!["carrier-a".into(), "carrier-b".into()],
        },
        elapsed_ms: 1.0,
        at: "2025-01-31T08:00:00Z".into(),
    }
}

/// A directory with one input and the options for it.
struct Case {
    directory: TempDir,
    options: BatchOptions,
}

impl Case {
    fn new(input: impl AsRef<[u8]>) -> Self {
        let directory = TempDir::new().unwrap();
        let input_path = directory.path().join("in.csv");
        fs::write(&input_path, input).unwrap();
        let options = BatchOptions {
            kind: BatchKind::Verification,
            input: input_path,
            output: directory.path().join("out.csv"),
            purpose: "account_opening".into(),
            operator: "teller-1".into(),
            outlet: Some("o-1".into()),
            branch: None,
            encoding: None,
            chunk_rows: DEFAULT_CHUNK_ROWS,
        };
        Self { directory, options }
    }

    async fn run(&self, script: &Script) -> Result<BatchSummary, BatchError> {
        run(script, &self.options, &ProgressBar::hidden()).await
    }

    fn output(&self) -> Vec<u8> {
        fs::read(&self.options.output).unwrap()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let output = self.output();
        let mut reader = csv::Reader::from_reader(output.as_slice());
        assert_eq!(reader.headers().unwrap(), HEADER.as_slice());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A file of good rows whose tickets are `t-0` to `t-<count - 1>`.
fn good(count: usize) -> String {
    let row = |i| format!("个人,身份证,{ID_NUMBER},{NAME},{PHONE},t-{i},c-{i}\n");
    format!("{REQUIRED},申请号,授权编号\n{}", (0..count).map(row).collect::<String>())
}

fn digest_of(input: &Path) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(fs::read(input).unwrap()))
}
