//! Set intersections with marked people on both sides, in the key and in what comes with matches; and screenings over the
//! same nodes.

use std::path::PathBuf;

use tokio::sync::Notify;
use windvane::dataset::Progress;
use windvane::psi::folder::JobFolder;
use windvane::psi::key::KeyKind;
use windvane::psi::{JobPlan, JobProgress, JobReport, PsiError, Stage};
use windvane::table::{TableOptions, TableReader};
use windvane_protocols::audit::grant::PsiTerms;
use windvane_protocols::limits::MAX_PSI_PAYLOAD_BYTES;

use super::marks::{Marked, REFUSED, STRANGERS, SUBSCRIBERS};
use super::operations::{look, read_logs};
use super::record::Record;
use super::{backups, screens};
use crate::lab::Lab;
use crate::psi::{World, grant, phone, psi_terms};
use crate::recorder::Recording;

/// Numbers on both sides that nobody has, so that a job has several buckets.
const UNMARKED: u64 = 300;

/// A bucket's rows.
const BUCKET_ROWS: u64 = 32;

/// Two of those whom a carrier refuses have numbers that are none.
const WRONG_NUMBERS: usize = 2;

/// Columns of the bank's customers.
pub(crate) const CUSTOMERS: &str = "id,outlet,phone,name";

/// A bank and a carrier, with somebody in the middle.
pub(crate) struct Sets<'a> {
    pub(crate) record: &'a Record,
    pub(crate) world: World,
    passed: Recording,
}

/// Says when the first bucket is through.
#[derive(Default)]
struct FirstBucket(Notify);

impl JobProgress for FirstBucket {
    fn stage(&self, _: Stage) {}

    fn buckets(&self, finished: u64, _: u64) {
        if finished > 0 {
            self.0.notify_one();
        }
    }

    fn reading(&self) -> &dyn Progress {
        &()
    }
}

/// Everything, from the first job to the backups of both nodes.
pub(crate) async fn run(record: &Record, sections: &str) {
    let mut sets = Sets::new(record, sections).await;
    sets.intersect().await;
    sets.refused().await;
    sets.lists_that_are_none().await;
    sets.interrupted().await;
    screens::run(&mut sets).await;
    sets.end().await;
}

impl<'a> Sets<'a> {
    async fn new(record: &'a Record, sections: &str) -> Self {
        let columns = ["tag", "note"].map(str::to_owned).to_vec();
        let terms = grant(PsiTerms { payload_columns: columns, ..psi_terms() }, 0);
        let mut world = World::within(Lab::with(sections), listed(), &terms, "").await;
        let to = world.node.grpc_address().unwrap();
        let (passed, middle) = Recording::beside(&world.carrier, &world.bank, to).await;
        world.bank.config.providers[0].address = middle.to_string();
        Self { record, world, passed }
    }

    /// A file of the bank's operator.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.world.lab.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A plan over the marked customers and the others.
    fn plan(&self, name: &str) -> JobPlan {
        let mut plan = self.world.plan(name, 0..0);
        let repeated = format!("K-twice,W1,{},\n", SUBSCRIBERS[0].phones[0]);
        let unmarked = (0..UNMARKED).map(|i| format!("k{i},W3,{},n\n", phone(i)));
        let rows = customers(people()) + &repeated + &unmarked.collect::<String>();
        std::fs::write(&plan.input, format!("{CUSTOMERS}\n{rows}")).unwrap();
        plan.bucket_rows = BUCKET_ROWS;
        plan.payload_columns = vec!["tag".into(), "note".into()];
        plan.columns = vec!["id".into(), "name".into()];
        plan
    }

    /// Every protocol and mode.
    async fn intersect(&self) {
        let matches = (SUBSCRIBERS.len() + REFUSED.len() - WRONG_NUMBERS) as u64 + UNMARKED;
        for (protocol, mode) in [("vole", "intersection"), ("ecdh", "intersection"), ("ecdh", "minimum")] {
            let mut plan = self.plan(&format!("{protocol}-{mode}"));
            (plan.protocol, plan.mode) = (protocol.into(), mode.into());
            if mode == "minimum" {
                plan.payload_columns.clear();
            }
            let report = self.world.run(&plan).await.unwrap();
            assert_eq!(report.matches, Some(matches), "{protocol} {mode}");
            // The result is the operator's, and there are people in it.
            assert!(std::fs::read_to_string(&plan.output).unwrap().contains(SUBSCRIBERS[0].names[0]));
            self.record.told("set intersections", &report);
        }
        let counted =
            JobPlan { mode: "cardinality".into(), payload_columns: Vec::new(), ..self.plan("cardinality") };
        self.record.told("set intersections", &self.world.run(&counted).await.unwrap());
    }

    /// An error of a plan, whether it is found at its beginning or by the provider.
    async fn attempt(&self, what: &str, code: &str, plan: &JobPlan) {
        let runner = self.world.runner();
        let ended: Result<JobReport, PsiError> = match runner.begin(plan) {
            Ok(job) => runner.run(job, &()).await,
            Err(error) => Err(error),
        };
        runner.close().await.unwrap();
        assert_eq!(self.record.error(what, ended).code(), code, "{what}");
    }

    /// What an operator of the bank may get wrong.
    async fn refused(&self) {
        let good = self.plan("wrong");
        let text = std::fs::read_to_string(&good.input).unwrap();
        let (_, headless) = text.split_once('\n').unwrap();
        let input = |name: &str, text: &str| JobPlan { input: self.write(name, text), ..good.clone() };
        let wrong = input("headless.csv", headless);
        self.record.debug("tables", &TableReader::open(&wrong.input, TableOptions::default()).unwrap());
        self.attempt("no header", "COLUMN_MISSING", &wrong).await;
        let twice = text.replacen("id,", "phone,", 1);
        self.attempt("a column twice", "COLUMN_REPEATED", &input("twice.csv", &twice)).await;
        self.attempt("no rows", "TABLE_EMPTY", &input("empty.csv", "")).await;
        let open = input("open.csv", &format!("{CUSTOMERS}\n\"{}", headless.repeat(200)));
        self.attempt("an open quotation mark", "ROW_TOO_LONG", &open).await;
        let plan = JobPlan { payload_columns: vec!["phone".into()], ..good.clone() };
        self.attempt("a column that is not granted", "GRANT_COLUMN", &plan).await;
        let plan = JobPlan { key: KeyKind::Text, ..good.clone() };
        self.attempt("another kind of items", "LIST_KEY", &plan).await;
        let plan = JobPlan { purpose: "marketing".into(), ..good.clone() };
        self.attempt("another purpose", "GRANT_MISSING", &plan).await;
        for (name, text) in [("customers.toml", &text[..]), ("headless.toml", headless)] {
            let error = self.record.error("no plan", JobPlan::load(&self.write(name, text)));
            assert_eq!(error.code(), "JOB_FILE");
        }
    }

    /// What an operator of the carrier may get wrong, which its own log tells it.
    async fn lists_that_are_none(&self) {
        let list = self.world.lab.dir.path().join("risk.csv");
        let text = std::fs::read_to_string(&list).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let long = SUBSCRIBERS[0].names[0].repeat(MAX_PSI_PAYLOAD_BYTES);
        for (what, text) in [
            ("a list without a header", rows.to_owned()),
            ("a list with a long note", format!("{header}\n{},t,{long}\n", SUBSCRIBERS[0].phones[0])),
        ] {
            std::fs::write(&list, text).unwrap();
            self.attempt(what, "INTERNAL", &self.plan("no-list")).await;
        }
        std::fs::write(&list, text).unwrap();
    }

    /// A job that ends behind its first bucket as by a kill, whose folder is damaged and put right, and that goes on.
    async fn interrupted(&self) {
        let plan = self.plan("interrupted");
        let job = self.world.begun(&plan).await;
        let (runner, first) = (self.world.runner(), FirstBucket::default());
        tokio::select! {
            ended = runner.run(job, &first) => panic!("it is through: {ended:?}"),
            () = first.0.notified() => {}
        }
        runner.close().await.unwrap();
        self.record.trees(self.world.lab.dir.path(), "an interrupted set intersection");
        let matches = JobFolder::path_of(&self.world.bank.config.node.data_dir, job).join("matches");
        let kept = std::fs::read_dir(&matches).unwrap().next().expect("a bucket was through");
        let kept = kept.unwrap().path();
        let whole = std::fs::read(&kept).unwrap();
        std::fs::write(&kept, &whole[1..]).unwrap();
        let error = self.record.error("a damaged bucket", self.world.go_on(job).await);
        assert_eq!(error.code(), "JOB_FOLDER");
        std::fs::write(&kept, whole).unwrap();
        std::fs::rename(&plan.input, plan.input.with_extension("away")).unwrap();
        self.record.error("customers that are gone", self.world.go_on(job).await);
        std::fs::write(&plan.input, format!("{CUSTOMERS}\n{}", customers(people()))).unwrap();
        let error = self.record.error("other customers", self.world.go_on(job).await);
        assert_eq!(error.code(), "INPUT_CHANGED");
        std::fs::rename(plan.input.with_extension("away"), &plan.input).unwrap();
        self.record.told("set intersections", &self.world.go_on(job).await.unwrap());
    }

    async fn end(self) {
        let Self { record, world, passed } = self;
        look(record, "carrier-a", &world.node).await;
        world.node.stop().await.unwrap();
        record.passed("carrier-a", &passed);
        record.trees(world.lab.dir.path(), "after set intersections");
        read_logs(record, &[world.bank.log_dir(), world.carrier.log_dir()]);
        for (party, moment) in [(&world.bank, "a bank with jobs"), (&world.carrier, "a carrier with jobs")] {
            backups::run(record, &world.lab, party, moment);
        }
    }
}

/// Everybody whom a bank may have as a customer.
pub(crate) fn people() -> impl Iterator<Item = &'static Marked> {
    static LISTS: [&[Marked]; 3] = [&SUBSCRIBERS, &STRANGERS, &REFUSED];
    LISTS.into_iter().flatten()
}

/// Rows below [`CUSTOMERS`], as the bank spells them.
pub(crate) fn customers<'a>(people: impl Iterator<Item = &'a Marked>) -> String {
    let row = |(i, marked): (usize, &Marked)| {
        let [phone, name] = [marked.phones, marked.names].map(|spellings| spellings[spellings.len() - 1]);
        format!("K{i},W{},{phone},{name}\n", i % 2)
    };
    people.enumerate().map(row).collect()
}

/// A list's rows of number, tag and note, as the carrier spells them. Somebody marked comes with every match, so that it does
/// not matter which buckets are through when a job is interrupted.
fn listed() -> impl Iterator<Item = String> {
    let marked = SUBSCRIBERS.iter().chain(&REFUSED);
    let marked = marked.map(|marked| format!("{},疑似涉诈,{}", marked.phones[0], marked.names[0]));
    marked.chain((0..UNMARKED).map(|i| format!("{},,{}", phone(i), SUBSCRIBERS[0].names[0])))
}
