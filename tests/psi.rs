//! Set intersection jobs between real nodes: results, grants, evidence, and what an early end leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use windvane::Node;
use windvane::admin::GrantTerms;
use windvane::psi::{JobPlan, JobReport, JobResult, JobRunner, PsiError};
use windvane::table::{TableOptions, TableReader, TableWriter};
use windvane_protocols::audit::grant::PsiTerms;
use windvane_protocols::party::SessionId;

use crate::lab::{Lab, Party, terms};

mod crash;
mod evidence;
mod flood;
mod hostile;
pub(crate) mod process;
mod refusals;
mod unanswered;

/// Seed of the tests' random numbers.
const SEED: u64 = 20_261_125;

/// A bank and a carrier with a risk list, enrolled with each other.
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) carrier: Party,
    pub(crate) node: Node,
    pub(crate) bank: Party,
}

/// What the tests' grants permit.
pub(crate) fn psi_terms() -> PsiTerms {
    PsiTerms {
        max_requester_rows: 1 << 20,
        max_provider_rows: 1 << 20,
        runs: 100,
        repeated_input: true,
        payload_columns: vec!["tag".into()],
    }
}

pub(crate) fn grant(psi: PsiTerms, minimum_result: u64) -> GrantTerms {
    GrantTerms {
        data_sets: vec!["risk".parse().unwrap()],
        families: Vec::new(),
        purposes: vec!["screening".into()],
        minimum_result,
        score: None,
        train: None,
        psi: Some(psi),
        ..terms()
    }
}

/// Telephone numbers by their index.
pub(crate) fn phone(index: u64) -> String {
    format!("13{:09}", index % 1_000_000_000)
}

fn write_table(path: &Path, header: &str, lines: impl IntoIterator<Item = String>) {
    let body: String = lines.into_iter().map(|line| line + "\n").collect();
    std::fs::write(path, format!("{header}\n{body}")).unwrap();
}

impl World {
    /// A carrier whose list has these numbers, tagged by their index.
    async fn new(list: impl IntoIterator<Item = u64>, grant: &GrantTerms) -> Self {
        Self::with(list, grant, "").await
    }

    async fn with(list: impl IntoIterator<Item = u64>, grant: &GrantTerms, service: &str) -> Self {
        let rows = list.into_iter().map(|i| format!("{},t{i},n", phone(i)));
        Self::within(Lab::new(), rows, grant, service).await
    }

    /// The same in a lab of the caller's, with these rows of numbers, tags and notes.
    pub(crate) async fn within(
        lab: Lab,
        rows: impl IntoIterator<Item = String>,
        grant: &GrantTerms,
        service: &str,
    ) -> Self {
        let file = lab.dir.path().join("risk.csv");
        write_table(&file, "phone,tag,note", rows);
        let section = format!(
            "[grpc]\nlisten = \"127.0.0.1:0\"\n{service}\n[[psi]]\nlist = \"risk\"\nfile = \"{}\"\nkey = \"phone\"\n\
             key_columns = [\"phone\"]\npayload_columns = [\"tag\", \"note\"]\n",
            file.display()
        );
        let carrier = lab.party("carrier-a", &section);
        let node = lab.start(&carrier).await;
        let address = node.grpc_address().unwrap();
        let bank = lab.party("bank", &provider_section(&address.to_string()));
        carrier.admin.import_enrolment(&bank.enrolment).unwrap();
        bank.admin.import_enrolment(&carrier.enrolment).unwrap();
        let world = Self { lab, carrier, node, bank };
        world.grant(grant).await;
        world
    }

    /// Issues and accepts another grant.
    async fn grant(&self, grant: &GrantTerms) {
        let text = self.carrier.admin.issue_grant(grant).unwrap();
        self.bank.admin.accept_grant(&text).unwrap();
        self.carrier.taken_over_by(&self.node).await;
    }

    /// A plan over these numbers.
    pub(crate) fn plan(&self, name: &str, customers: impl IntoIterator<Item = u64>) -> JobPlan {
        let input = self.lab.dir.path().join(format!("{name}.csv"));
        write_table(&input, "id,phone", customers.into_iter().map(|i| format!("c{i},{}", phone(i))));
        let mut plan = JobPlan::new("carrier-a", "risk", input, self.output(name));
        plan.purpose = "screening".into();
        plan.columns = vec!["id".into()];
        plan.protocol = "ecdh".into();
        plan.bucket_rows = 128;
        plan.idle_s = 20;
        plan
    }

    /// The same carrier after a stop and a start, at its new address.
    async fn restarted(self) -> Self {
        let Self { lab, carrier, node, mut bank } = self;
        node.stop().await.unwrap();
        let node = lab.start(&carrier).await;
        bank.config.providers[0].address = node.grpc_address().unwrap().to_string();
        Self { lab, carrier, node, bank }
    }

    /// The same world with a carrier that does not run: another node stands in until the restart.
    async fn stopped(self) -> Self {
        let Self { lab, carrier, node, bank } = self;
        node.stop().await.unwrap();
        let idle = lab.party("idle", "[grpc]\nlisten = \"127.0.0.1:0\"\n");
        let node = lab.start(&idle).await;
        Self { lab, carrier, node, bank }
    }

    fn output(&self, name: &str) -> PathBuf {
        self.lab.dir.path().join(format!("{name}-out.csv"))
    }

    /// What runs the bank's jobs.
    pub(crate) fn runner(&self) -> JobRunner {
        JobRunner::open(&self.bank.config, Arc::new(self.lab.clock.clone())).unwrap()
    }

    /// A job that can be run.
    pub(crate) async fn begun(&self, plan: &JobPlan) -> SessionId {
        let runner = self.runner();
        let job = runner.begin(plan).unwrap();
        runner.close().await.unwrap();
        job
    }

    /// Runs a job from where it is.
    pub(crate) async fn go_on(&self, job: SessionId) -> Result<JobReport, PsiError> {
        let runner = self.runner();
        let report = runner.run(job, &()).await;
        runner.close().await.unwrap();
        report
    }

    pub(crate) async fn run(&self, plan: &JobPlan) -> Result<JobReport, PsiError> {
        let job = self.begun(plan).await;
        self.go_on(job).await
    }
}

fn provider_section(address: &str) -> String {
    format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[[provider]]\nparty = \"carrier-a\"\naddress = \"{address}\"\ndata_set = \"risk\"\n"
    )
}

/// The lines of a result, without its header.
fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().skip(1).map(str::to_owned).collect()
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|i| format!("c{i}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_is_the_true_intersection_in_many_buckets_with_duplicates_in_both() {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let mut draw = |count| (0..count).map(|_| rng.random_range(0..4_000)).collect::<Vec<u64>>();
    let (list, customers) = (draw(2_500), draw(2_000));
    let world = World::new(list.iter().copied(), &grant(psi_terms(), 0)).await;
    let plan = world.plan("many", customers.iter().copied());
    let report = world.run(&plan).await.unwrap();
    let on_list: BTreeSet<_> = list.iter().copied().collect();
    let mut seen = BTreeSet::new();
    let expected: Vec<_> =
        customers.iter().copied().filter(|c| on_list.contains(c) && seen.insert(*c)).collect();
    assert_eq!(lines(&plan.output), ids(expected.iter().copied()));
    assert_eq!(report.matches, Some(expected.len() as u64));
    assert_eq!((report.rows, report.provider_rows, report.buckets), (2_000, 2_500, 32));
    let duplicates = world.bank.config.node.data_dir.join("psi").join(&report.job).join("duplicates.csv");
    let distinct: BTreeSet<_> = customers.iter().collect();
    assert_eq!(lines(&duplicates).len(), 2_000 - distinct.len());
    assert!(report.failure_bits >= 40);
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_give_the_same_result_with_payload_on_random_tables() {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED + 1);
    let mut draw = |count| (0..count).map(|_| rng.random_range(0..6_000)).collect::<Vec<u64>>();
    let (list, customers) = (draw(3_000), draw(2_500));
    let world = World::new(list.iter().copied(), &grant(psi_terms(), 0)).await;
    let mut results = Vec::new();
    for (protocol, bucket_rows) in [("ecdh", 500), ("vole", 500), ("vole", 1 << 18)] {
        let mut plan = world.plan(&format!("{protocol}-{bucket_rows}"), customers.iter().copied());
        plan.protocol = protocol.into();
        plan.bucket_rows = bucket_rows;
        plan.payload_columns = vec!["tag".into()];
        let report = world.run(&plan).await.unwrap();
        assert!(report.failure_bits >= 40 && report.protocol == protocol);
        results.push(lines(&plan.output));
    }
    assert!(results[0].len() > 500);
    assert!(results.iter().all(|result| *result == results[0]));
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_unequal_tables_work_with_vole() {
    let world = World::new(0..600, &grant(psi_terms(), 0)).await;
    for (name, customers, expected) in
        [("empty", 0..0, 0..0), ("one", 7..8, 7..8), ("equal", 0..600, 0..600), ("few", 590..610, 590..600)]
    {
        let mut plan = world.plan(name, customers);
        plan.protocol = "vole".into();
        world.run(&plan).await.unwrap();
        assert_eq!(lines(&plan.output), ids(expected), "{name}");
    }
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_single_equal_disjoint_and_unequal_tables_give_their_intersection() {
    let world = World::new(0..600, &grant(psi_terms(), 0)).await;
    for (name, customers, expected) in [
        ("empty", 0..0, 0..0),
        ("one", 7..8, 7..8),
        ("absent", 900..901, 0..0),
        ("equal", 0..600, 0..600),
        ("disjoint", 600..900, 0..0),
        ("few", 590..610, 590..600),
    ] {
        let plan = world.plan(name, customers);
        world.run(&plan).await.unwrap();
        assert_eq!(lines(&plan.output), ids(expected), "{name}");
    }
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_matches_nothing() {
    let world = World::new(0..0, &grant(psi_terms(), 0)).await;
    let plan = world.plan("nothing", 0..10);
    assert_eq!(world.run(&plan).await.unwrap().matches, Some(0));
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_come_with_their_own_matches_only() {
    let world = World::new((0..700).map(|i| i * 3), &grant(psi_terms(), 0)).await;
    let mut plan = world.plan("payload", 0..900);
    plan.payload_columns = vec!["tag".into()];
    world.run(&plan).await.unwrap();
    let found: BTreeMap<_, _> = lines(&plan.output)
        .into_iter()
        .map(|line| line.split_once(',').map(|(id, tag)| (id.to_owned(), tag.to_owned())).unwrap())
        .collect();
    let expected = (0..900).step_by(3).map(|i| (format!("c{i}"), format!("t{i}"))).collect();
    assert_eq!(found, expected);
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cardinality_is_a_number_and_no_file() {
    let world = World::new(0..500, &grant(psi_terms(), 0)).await;
    let mut plan = world.plan("count", 400..1_000);
    plan.mode = "cardinality".into();
    let report = world.run(&plan).await.unwrap();
    assert_eq!((report.result, report.matches, report.buckets), (JobResult::Counted, Some(100), 1));
    assert!(!plan.output.exists());
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimum_releases_what_reaches_it_and_nothing_below() {
    let world = World::new(0..500, &grant(psi_terms(), 100)).await;
    for (name, from, result) in
        [("above", 400, JobResult::Released), ("below", 401, JobResult::ResultBelowMinimum)]
    {
        let mut plan = world.plan(name, from..1_000);
        plan.mode = "minimum".into();
        let report = world.run(&plan).await.unwrap();
        assert_eq!(report.result, result, "{name}");
        if result == JobResult::Released {
            assert_eq!(lines(&plan.output), ids(400..500));
        } else {
            assert_eq!(report.matches, None);
            assert!(!plan.output.exists());
        }
    }
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_comes_in_and_goes_out() {
    let world = World::new(0..300, &grant(psi_terms(), 0)).await;
    let mut plan = world.plan("parquet", 0..1);
    plan.input = world.lab.dir.path().join("in.parquet");
    plan.output = world.lab.dir.path().join("out.parquet");
    plan.payload_columns = vec!["tag".into()];
    let mut table = TableWriter::create(&plan.input, &["id", "phone"]).unwrap();
    for i in 250..350 {
        let cells = [format!("c{i}"), phone(i)];
        table.row(cells.iter().map(String::as_bytes)).unwrap();
    }
    table.finish().unwrap();
    world.run(&plan).await.unwrap();
    let options = TableOptions::default();
    let mut found = TableReader::open(&plan.output, options).unwrap().choose(&["id", "tag"]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next_row().unwrap() {
        rows.push(format!("{},{}", row.text(0), row.text(1)));
    }
    assert_eq!(rows, (250..300).map(|i| format!("c{i},t{i}")).collect::<Vec<_>>());
    world.node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_beside_the_banks_own_node_and_its_entries_stand_in_the_one_log() {
    let world = World::new(0..300, &grant(psi_terms(), 0)).await;
    let bank_node = world.lab.start(&world.bank).await;
    let plan = world.plan("beside", 200..400);
    world.run(&plan).await.unwrap();
    assert_eq!(lines(&plan.output), ids(200..300));
    bank_node.stop().await.unwrap();
    world.node.stop().await.unwrap();
    let report = windvane::audit::reconcile(&[world.bank.log_dir(), world.carrier.log_dir()]);
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.pairs[0].jobs_agreed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_items_are_reported_and_match_nothing() {
    let world = World::new(0..10, &grant(psi_terms(), 0)).await;
    let plan = world.plan("rejects", 5..15);
    let text = std::fs::read_to_string(&plan.input).unwrap();
    std::fs::write(&plan.input, format!("{text}c99,not a number\nc98\n")).unwrap();
    let report = world.run(&plan).await.unwrap();
    assert_eq!(lines(&plan.output), ids(5..10));
    assert_eq!(report.rows, 12);
    let rejects = world.bank.config.node.data_dir.join("psi").join(&report.job).join("rejects.csv");
    assert_eq!(lines(&rejects).len(), 2);
    world.node.stop().await.unwrap();
}
