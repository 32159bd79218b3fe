//! Screening between real nodes, on the simulated world: the risk list equals the truth, in full and day by day.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane::Node;
use windvane::admin::GrantTerms;
use windvane::dataset::Progress;
use windvane::http::Client;
use windvane::psi::folder::JobFolder;
use windvane::psi::{JobProgress, Stage};
use windvane::screen::{
    DailyPlan, NewBy, RISK_LIST_HEADER, Route, ScorePlan, ScreenError, ScreenPlan, ScreenProgress,
    ScreenProvider, ScreenReport, Screening,
};
use windvane_protocols::audit::grant::PsiTerms;
use windvane_protocols::identity::Family;
use windvane_protocols::party::SessionId;
use windvane_world::{ScreeningFiles, World, WorldConfig};

use crate::lab::{Lab, Party, terms};

/// More than the carriers have subscribers, so that numbers repeat.
const CUSTOMERS: u64 = 5_400;
const NEW: u64 = 300;

/// Three carriers with their lists, and a bank with its customers.
struct Scene {
    lab: Lab,
    carriers: Vec<(Party, Node)>,
    bank: Party,
    files: ScreeningFiles,
    /// Old and new customers in one file.
    everybody: PathBuf,
}

fn psi_terms(payload_columns: &[&str]) -> GrantTerms {
    let psi = PsiTerms {
        max_requester_rows: 1 << 20,
        max_provider_rows: 1 << 20,
        runs: 100,
        repeated_input: true,
        payload_columns: payload_columns.iter().map(|column| (*column).to_owned()).collect(),
    };
    let lists = ["risk", "risk-changes", "risk-after"];
    GrantTerms {
        data_sets: lists.map(|list| list.parse().unwrap()).to_vec(),
        families: Vec::new(),
        purposes: vec!["screening".into()],
        psi: Some(psi),
        ..terms()
    }
}

fn list_section(list: &str, file: &Path) -> String {
    format!(
        "[[psi]]\nlist = \"{list}\"\nfile = \"{}\"\nkey = \"phone\"\nkey_columns = [\"手机号\"]\n\
         payload_columns = [\"风险标签\"]\n",
        file.display()
    )
}

impl Scene {
    async fn new(granted: &[&str]) -> Self {
        let lab = Lab::new();
        let world = world();
        let files = world.write_screening(CUSTOMERS, NEW, lab.dir.path()).unwrap();
        let mut carriers = Vec::new();
        for (party, list, changes, after) in &files.lists {
            let lists = [("risk", list), ("risk-changes", changes), ("risk-after", after)];
            let lists: String = lists.map(|(name, file)| list_section(name, file)).concat();
            let party = lab.party(party, &format!("[grpc]\nlisten = \"127.0.0.1:0\"\n{lists}"));
            let node = lab.start(&party).await;
            carriers.push((party, node));
        }
        let address = |(party, node): &'_ (Party, Node)| {
            (party.config.node.party.clone(), node.grpc_address().unwrap())
        };
        let addresses: Vec<_> = carriers.iter().map(address).collect();
        let known: Vec<_> = carriers
            .iter()
            .zip(&addresses)
            .map(|((party, _), (_, address))| (party, address.to_string()))
            .collect();
        let bank = lab.bank_files(&known, &psi_terms(granted));
        for (party, node) in &carriers {
            party.taken_over_by(node).await;
        }
        let everybody = lab.dir.path().join("everybody.csv");
        let [old, new] =
            [&files.customers, &files.new_customers].map(|p| std::fs::read_to_string(p).unwrap());
        std::fs::write(&everybody, old + new.split_once('\n').unwrap().1).unwrap();
        Self { lab, carriers, bank, files, everybody }
    }

    /// Lets the bank look numbers up in the carriers' subscribers, which are those of the first day.
    async fn with_rows(&self) -> (Node, Client) {
        let files = world().write(self.lab.dir.path()).unwrap();
        for ((party, node), (_, file)) in self.carriers.iter().zip(&files.carriers) {
            party.publish(file);
            let grant =
                GrantTerms { families: vec![Family::Phone], purposes: vec!["screening".into()], ..terms() };
            // A newer one for another purpose is not the one to ask under.
            for grant in [grant, terms()] {
                let grant = party.admin.issue_grant(&grant).unwrap();
                self.bank.admin.accept_grant(&grant).unwrap();
            }
            party.taken_over_by(node).await;
            self.bank.admin.fetch_snapshot(&party.config.node.party, |_, _| ()).await.unwrap();
        }
        self.bank_node().await
    }

    async fn bank_node(&self) -> (Node, Client) {
        let token = self.bank.admin.admit_caller("screening").unwrap();
        let node = self.lab.start(&self.bank).await;
        let url = format!("http://{}", node.http_address().unwrap());
        let client = Client::new(&url, &token).unwrap();
        (node, client)
    }

    /// A plan with this list of customers and these lists of the carriers.
    fn plan(&self, customers: &Path, list: &str, output: &str) -> ScreenPlan {
        let provider = |(party, _): &(Party, Node)| ScreenProvider {
            party: party.config.node.party.clone(),
            list: list.to_owned(),
            tag_columns: vec!["风险标签".into()],
            changes: Some("risk-changes".into()),
            new_customers: Route::Auto,
        };
        ScreenPlan {
            score: None,
            purpose: "screening".into(),
            customers: customers.to_owned(),
            customer_column: "客户号".into(),
            outlet_column: "网点".into(),
            key: windvane::psi::key::KeyKind::Phone,
            key_columns: vec!["手机号".into()],
            output: self.lab.dir.path().join(output),
            idle_s: Some(20),
            memory_mb: None,
            tags: Default::default(),
            daily: Some(DailyPlan {
                hits: Some(self.lab.dir.path().join("first/hits.csv")),
                new_customers: Some(self.files.new_customers.clone()),
                operator: "screening".into(),
                consent: "screening-2026".into(),
            }),
            providers: self.carriers.iter().map(provider).collect(),
        }
    }

    fn screening(&self, plan: &ScreenPlan, daily: bool) -> Screening {
        Screening {
            config: self.bank.config.clone(),
            plan: plan.clone(),
            daily,
            client: None,
            clock: Arc::new(self.lab.clock.clone()),
            progress: Arc::new(()),
        }
    }

    async fn full(&self, plan: &ScreenPlan) -> Result<ScreenReport, ScreenError> {
        self.screening(plan, false).run().await
    }

    /// The first day's screening, in the folder that the daily plans go on from.
    async fn first_day(&self) -> ScreenReport {
        self.full(&self.plan(&self.files.customers, "risk", "first")).await.unwrap()
    }

    /// The new customers, and behind them a row with a number that is none and one without a number.
    fn new_with_rejects(&self) -> PathBuf {
        let path = self.lab.dir.path().join("new-with-rejects.csv");
        let text = std::fs::read_to_string(&self.files.new_customers).unwrap();
        std::fs::write(&path, text + "KX,W001,1380013800\nKY,W001\n").unwrap();
        path
    }

    async fn stop(self) {
        for (_, node) in self.carriers {
            node.stop().await.unwrap();
        }
    }
}

fn world() -> World {
    World::generate(&WorldConfig { subscribers_per_carrier: 1_500, ..WorldConfig::default() })
}

/// Customer, outlet, carrier, tags in order, colour.
type Listed = BTreeSet<[String; 5]>;

fn records(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn sorted(tags: &str) -> String {
    let mut tags: Vec<_> = tags.split('|').collect();
    tags.sort_unstable();
    tags.join("|")
}

fn truth(path: &Path) -> Listed {
    let row = |r: Vec<String>| [r[0].clone(), r[1].clone(), r[2].clone(), sorted(&r[3]), r[4].clone()];
    records(path).into_iter().map(row).collect()
}

fn listed(plan: &ScreenPlan) -> Listed {
    let path = plan.output.join("risk-list.csv");
    assert_eq!(csv::Reader::from_path(&path).unwrap().headers().unwrap(), &RISK_LIST_HEADER[..]);
    let rows = records(&path);
    assert!(rows.windows(2).all(|two| two[0][0] <= two[1][0]), "rows stand by outlet");
    assert!(rows.iter().all(|row| !row[5].is_empty() && !row[7].is_empty()), "every colour has its reasons");
    let count = rows.len();
    let row = |r: Vec<String>| [r[1].clone(), r[0].clone(), r[3].clone(), sorted(&r[4]), r[2].clone()];
    let listed: Listed = rows.into_iter().map(row).collect();
    assert_eq!(listed.len(), count, "a customer is listed once");
    listed
}

fn lists_of(plan: &ScreenPlan) -> [Vec<u8>; 3] {
    ["risk-list.csv", "outlets.csv", "hits.csv"].map(|file| std::fs::read(plan.output.join(file)).unwrap())
}

/// What is reported of [`Scene::new_with_rejects`]; the header is line 1.
fn assert_new_rejects(plan: &ScreenPlan, report: &ScreenReport) {
    let expected = [(NEW + 2, "PHONE_LENGTH"), (NEW + 3, "ROW_LENGTH")];
    let expected = expected.map(|(line, rule)| vec![line.to_string(), rule.to_owned()]);
    assert_eq!(records(&plan.output.join("new-rejects.csv")), expected);
    assert_eq!((report.new_customers, report.new_rejected), (NEW + 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn full_and_daily_screenings_by_intersection_equal_the_truth_and_each_other() {
    let scene = Scene::new(&["风险标签"]).await;
    let report = scene.first_day().await;
    let expected = truth(&scene.files.truth);
    assert_eq!(listed(&scene.plan(&scene.files.customers, "risk", "first")), expected);
    assert!(expected.len() > 50);
    assert_eq!((report.summary.listed as usize, report.customers), (expected.len(), CUSTOMERS - NEW));
    assert_eq!((report.summary.red + report.summary.yellow, report.rejected), (report.summary.listed, 0));

    // Without a running node, new customers are intersected, here with the list as it is now.
    let mut daily = scene.plan(&scene.files.customers, "risk-after", "daily");
    daily.daily.as_mut().unwrap().new_customers = Some(scene.new_with_rejects());
    let report = scene.screening(&daily, true).run().await.unwrap();
    assert_eq!(listed(&daily), truth(&scene.files.truth_after));
    assert!(report.daily);
    assert_new_rejects(&daily, &report);
    assert!(report.providers.iter().all(|p| p.new_by == Some(NewBy::Psi) && p.hits > 0 && p.jobs.len() == 2));
    assert!(report.providers.iter().any(|p| p.new_hits > 0));

    let whole = scene.plan(&scene.everybody, "risk-after", "whole");
    let stale = whole.output.join("new-rejects.csv");
    std::fs::create_dir(&whole.output).unwrap();
    std::fs::write(&stale, "line,rule\n2,PHONE_LENGTH\n").unwrap();
    scene.full(&whole).await.unwrap();
    assert_eq!(lists_of(&daily), lists_of(&whole));
    assert!(!stale.exists(), "a day's rejects stay beside a full screening's lists");

    // Where today's hits take the place of yesterday's, an end behind the lists leaves a day that can go on.
    let same = scene.plan(&scene.files.customers, "risk-after", "first");
    let report = same.output.join("screening.json");
    std::fs::remove_file(&report).unwrap();
    std::fs::create_dir(&report).unwrap();
    scene.screening(&same, true).run().await.unwrap_err();
    assert_eq!(lists_of(&same), lists_of(&whole));
    let state = std::fs::read_to_string(same.output.join("work/state.json")).unwrap();
    std::fs::remove_dir(&report).unwrap();
    let report = scene.screening(&same, true).run().await.unwrap();
    assert!(report.providers.iter().flat_map(|provider| &provider.jobs).all(|job| state.contains(job)));
    assert_eq!(lists_of(&same), lists_of(&whole));
    assert!(!same.output.join("work").exists());
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daily_screening_by_lookup_rows_equals_the_truth_and_names_no_number() {
    let scene = Scene::new(&["风险标签"]).await;
    scene.first_day().await;
    let (node, client) = scene.with_rows().await;
    // The rows are yesterday's, so the changes are held against everybody.
    let mut daily = scene.plan(&scene.everybody, "risk", "daily");
    daily.providers.iter_mut().for_each(|provider| provider.new_customers = Route::Rows);
    daily.daily.as_mut().unwrap().new_customers = Some(scene.new_with_rejects());
    let mut screening = Screening { client: Some(client), ..scene.screening(&daily, true) };
    let report = screening.run().await.unwrap();
    assert_new_rejects(&daily, &report);
    assert_eq!(listed(&daily), truth(&scene.files.truth_after));
    assert!(report.providers.iter().all(|p| p.new_by == Some(NewBy::Rows) && p.jobs.len() == 1));
    assert!(report.providers.iter().any(|p| p.new_hits > 0));
    assert!(!daily.output.join("work").exists());
    // Once more on the same day changes nothing, but for the rows that were mended.
    let before = lists_of(&daily);
    screening.plan =
        ScreenPlan { daily: scene.plan(&scene.everybody, "risk", "daily").daily, ..daily.clone() };
    screening.run().await.unwrap();
    assert_eq!(lists_of(&daily), before);
    assert!(records(&daily.output.join("new-rejects.csv")).is_empty());
    let written: String = std::fs::read_dir(&daily.output)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for customer in world().customers(0..CUSTOMERS) {
        let digits = customer.phone.trim_start_matches("+86");
        assert!(!written.contains(digits), "a list names a number");
    }
    node.stop().await.unwrap();
    scene.stop().await;
}

/// Who is listed gets another outlet, and another one an unlisted number; who is not listed gets a listed number. Gives
/// everybody as they are then, and the new and changed ones.
fn changed(scene: &Scene) -> (PathBuf, PathBuf) {
    let mut reader = csv::Reader::from_path(&scene.everybody).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut rows = records(&scene.everybody);
    let [customer, outlet, phone] =
        ["客户号", "网点", "手机号"].map(|name| header.iter().position(|column| column == name).unwrap());
    let names = |path| truth(path).into_iter().map(|row| row[0].clone()).collect::<BTreeSet<_>>();
    let (before, after) = (names(&scene.files.truth), names(&scene.files.truth_after));
    let old = (CUSTOMERS - NEW) as usize;
    let find = |both: bool, nth: usize| {
        let is =
            |at: &usize| [&before, &after].iter().all(|names| names.contains(&rows[*at][customer]) == both);
        (0..old).filter(is).nth(nth).unwrap()
    };
    let (moved, left, came, other) = (find(true, 0), find(true, 1), find(false, 0), find(false, 1));
    rows[moved][outlet] = "W999".to_owned();
    rows[came][phone] = rows[left][phone].clone();
    rows[left][phone] = rows[other][phone].clone();
    let write = |name: &str, rows: &mut dyn Iterator<Item = &Vec<String>>| {
        let path = scene.lab.dir.path().join(name);
        let mut writer = csv::Writer::from_path(&path).unwrap();
        writer.write_record(&header).unwrap();
        rows.for_each(|row| writer.write_record(row).unwrap());
        writer.flush().unwrap();
        path
    };
    let mut new = rows[old..].iter().chain([moved, left, came].map(|at| &rows[at]));
    (write("everybody-now.csv", &mut rows.iter()), write("new-and-changed.csv", &mut new))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_changed_numbers_and_outlets_among_the_new_customers_equals_a_full_screening() {
    let scene = Scene::new(&["风险标签"]).await;
    scene.first_day().await;
    let (everybody, new) = changed(&scene);
    let mut daily = scene.plan(&everybody, "risk-after", "daily");
    daily.daily.as_mut().unwrap().new_customers = Some(new);
    scene.screening(&daily, true).run().await.unwrap();
    let whole = scene.plan(&everybody, "risk-after", "whole");
    scene.full(&whole).await.unwrap();
    assert_eq!(lists_of(&daily), lists_of(&whole));
    assert_ne!(listed(&daily), truth(&scene.files.truth_after));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_that_are_not_granted_are_refused_or_replaced() {
    let scene = Scene::new(&["风险标签"]).await;
    scene.first_day().await;
    let mut daily = scene.plan(&scene.everybody, "risk", "daily");
    daily.providers[1].new_customers = Route::Rows;
    let error = scene.screening(&daily, true).run().await.unwrap_err();
    assert_eq!(error.code(), "ROWS_UNFIT");
    assert!(error.to_string().contains("carrier-b"), "{error}");
    assert!(!daily.output.join("hits.csv").exists());
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_customer_files_and_missing_grants_leave_no_list() {
    let scene = Scene::new(&[]).await;
    let text = std::fs::read_to_string(&scene.files.customers).unwrap();
    let file = scene.lab.dir.path().join("bad.csv");
    let plan = scene.plan(&file, "risk", "bad");
    let repeated = text.clone() + text.lines().nth(7).unwrap() + "\n";
    for (text, code) in [
        (text.replacen("客户号", "编号", 1), "COLUMN_MISSING"),
        (repeated, "CUSTOMER_REPEATED"),
        (text.replacen("KH00000003", "", 1), "CUSTOMER_MISSING"),
        (String::new(), "TABLE_EMPTY"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = scene.full(&plan).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains("bad.csv"), "{error}");
        assert!(!plan.output.exists());
    }
    std::fs::write(&file, &text).unwrap();
    let error = scene.full(&plan).await.unwrap_err();
    assert_eq!(error.code(), "GRANT_COLUMN");
    assert!(error.to_string().contains("risk of carrier-a"), "{error}");
    let left = std::fs::read_dir(&plan.output).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["work"]);
    // What was refused is asked anew once it is granted.
    for (party, node) in &scene.carriers {
        let grant = party.admin.issue_grant(&psi_terms(&["风险标签"])).unwrap();
        scene.bank.admin.accept_grant(&grant).unwrap();
        party.taken_over_by(node).await;
    }
    scene.full(&plan).await.unwrap();
    assert_eq!(listed(&plan), truth(&scene.files.truth));
    scene.stop().await;
}

/// Cancels the jobs that are not through, at the party whose data directory this is.
fn cancel_unfinished(root: &Path) {
    for entry in std::fs::read_dir(JobFolder::all(root)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let job = SessionId::from_bytes(hex::decode(name).unwrap().try_into().unwrap());
        if JobFolder::peek(root, job).unwrap().unwrap().completed_at_ms.is_none() {
            JobFolder::cancel(root, job).unwrap();
        }
    }
}

/// Cancels the job that reaches the second acceptance.
struct Canceller {
    root: PathBuf,
    accepted: std::sync::atomic::AtomicU32,
}

impl ScreenProgress for Canceller {
    fn job(&self, _: &str, _: &str) {}

    fn watch(&self) -> &dyn JobProgress {
        self
    }

    fn lookups(&self, _: u64, _: u64) {}
}

impl JobProgress for Canceller {
    fn stage(&self, stage: Stage) {
        let is_second =
            stage == Stage::Accepted && self.accepted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        if is_second {
            cancel_unfinished(&self.root);
        }
    }

    fn buckets(&self, _: u64, _: u64) {}

    fn reading(&self) -> &dyn Progress {
        &()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_screening_goes_on_with_its_jobs_unless_its_inputs_changed() {
    let scene = Scene::new(&["风险标签"]).await;
    let customers = scene.lab.dir.path().join("mine.csv");
    std::fs::copy(&scene.files.customers, &customers).unwrap();
    let plan = scene.plan(&customers, "risk", "again");
    let root = scene.bank.config.node.data_dir.clone();
    let canceller = Canceller { root: root.clone(), accepted: Default::default() };
    let screening = Screening { progress: Arc::new(canceller), ..scene.screening(&plan, false) };
    let error = screening.run().await.unwrap_err();
    assert_eq!(error.code(), "JOB_CANCELLED");
    assert!(error.to_string().contains("carrier-b"), "{error}");
    assert!(!plan.output.join("risk-list.csv").exists());

    let text = std::fs::read_to_string(&customers).unwrap();
    std::fs::write(&customers, text.replacen("W0", "W9", 1) + "KX,W001,13800138000\n").unwrap();
    assert_eq!(scene.full(&plan).await.unwrap_err().code(), "INPUT_CHANGED");
    let daily = scene.screening(&plan, true).run().await.unwrap_err();
    assert_eq!(daily.code(), "FILE_IO", "yesterday's hits are not there");

    std::fs::remove_dir_all(plan.output.join("work")).unwrap();
    std::fs::write(&customers, text).unwrap();
    let canceller = Canceller { root: root.clone(), accepted: Default::default() };
    let screening = Screening { progress: Arc::new(canceller), ..scene.screening(&plan, false) };
    screening.run().await.unwrap_err();
    let state = std::fs::read_to_string(plan.output.join("work/state.json")).unwrap();
    scene.lab.clock.advance_ms(1_000);
    let report = scene.full(&plan).await.unwrap();
    assert!(state.contains(&format!("\"began_at_ms\": {},", report.began_at_ms)), "{state}");
    for provider in &report.providers[..2] {
        assert!(state.contains(&provider.jobs[0]), "the job of {} was not gone on with", provider.provider);
    }
    assert_eq!(listed(&plan), truth(&scene.files.truth));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screening_goes_on_with_mended_words_and_without_a_score_that_is_not_to_be_had() {
    let scene = Scene::new(&["风险标签"]).await;
    let mut plan = scene.plan(&scene.files.customers, "risk", "mended");
    plan.tags.insert("没有的词".into(), "bulk_sms".into());
    assert_eq!(scene.full(&plan).await.unwrap_err().code(), "TAG_UNKNOWN");
    let state = std::fs::read_to_string(plan.output.join("work/state.json")).unwrap();
    plan.tags.clear();
    plan.score = Some(ScorePlan { operator: "screening".into(), consent: "screening-2026".into() });
    let (node, client) = scene.bank_node().await;
    let report = Screening { client: Some(client), ..scene.screening(&plan, false) }.run().await.unwrap();
    assert!(state.contains(&report.providers[0].jobs[0]), "{state}");
    assert_eq!((report.unscored.as_deref(), report.scored), (Some("SCORE_INACTIVE"), 0));
    assert_eq!(listed(&plan), truth(&scene.files.truth));
    node.stop().await.unwrap();
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_its_provider_cancelled_is_followed_by_a_new_one() {
    let scene = Scene::new(&["风险标签"]).await;
    let plan = scene.plan(&scene.files.customers, "risk", "anew");
    let canceller = Canceller { root: scene.bank.config.node.data_dir.clone(), accepted: Default::default() };
    let screening = Screening { progress: Arc::new(canceller), ..scene.screening(&plan, false) };
    screening.run().await.unwrap_err();
    cancel_unfinished(&scene.carriers[1].0.config.node.data_dir);
    let state = || std::fs::read_to_string(plan.output.join("work/state.json")).unwrap();
    let first = state();

    let error = scene.full(&plan).await.unwrap_err();
    assert_eq!(error.code(), "JOB_CANCELLED");
    assert!(error.to_string().contains("begins a new job"), "{error}");
    assert!(!state().contains("carrier-b.list"), "the job is not gone on with");
    let report = scene.full(&plan).await.unwrap();
    assert!(first.contains(&report.providers[0].jobs[0]) && !first.contains(&report.providers[1].jobs[0]));
    assert_eq!(listed(&plan), truth(&scene.files.truth));
    scene.stop().await;
}
