//! Trainings with marked people in everybody's tables: a report, tables and samples that are none, one that is
//! interrupted, and an audit over what stays.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use windvane::train::audit::audit_training;
use windvane::train::features::{FeatureFile, fit_schema};
use windvane::train::run::{TrainError, TrainPlan, TrainProgress, TrainReport};
use windvane_protocols::party::SessionId;

use super::backups;
use super::marks::{Marked, REFUSED, STRANGERS, SUBSCRIBERS};
use super::operations::{look, read_logs};
use super::record::{REPORTS, Record};
use crate::lab::{Lab, Party};
use crate::recorder::Recording;
use crate::train::{FirstBlock, UNITS, World, table};

/// The segments of all subscribers' numbers; the second one is where the unmarked have theirs.
const SEGMENTS: [&str; 6] = ["1367188", "1380013", "1391125", "1588246", "1773120", "1891730"];

/// Unmarked numbers of the bank's sample.
const SAMPLE: u64 = 300;

/// A trained world, and what passed in it.
struct Training<'a> {
    record: &'a Record,
    world: World,
    passed: Vec<(&'static str, Recording)>,
}

/// Everything, from the first training to backups.
pub(crate) async fn run(record: &Record, sections: &str) {
    let training = Training::new(record, sections).await;
    let through = training.trained().await;
    training.refused().await;
    training.interrupted().await;
    training.audited(through);
    training.end().await;
}

impl<'a> Training<'a> {
    async fn new(record: &'a Record, sections: &str) -> Self {
        let mut world = World::within(Lab::with(sections), UNITS, &SEGMENTS, write).await;
        let (mut passed, mut addresses) = (Vec::new(), world.addresses());
        for (name, address) in &mut addresses {
            let provider = &world.providers[name].0;
            let (recording, middle) = Recording::beside(provider, &world.bank, *address).await;
            passed.push((*name, recording));
            *address = middle;
        }
        world.know(&addresses, "");
        Self { record, world, passed }
    }

    /// A small training.
    fn plan(&self, name: &str, blocks: u16) -> TrainPlan {
        let mut plan = self.world.plan(name);
        (plan.model.blocks, plan.model.trees, plan.minimum_count) = (Some(blocks), Some(1), 50);
        plan
    }

    async fn trained(&self) -> SessionId {
        let plan = self.plan("marked-1", 1);
        self.record.debug("training plans", &plan);
        let training = self.world.begun(&plan);
        let report = self.world.go_on(training).await.unwrap();
        self.record.told("trainings", &report);
        self.record.keep(REPORTS, "trainings", report.page().as_bytes());
        training
    }

    /// An error of a plan, whether it is found at its beginning or later.
    async fn attempt(&self, what: &str, code: &str, plan: &TrainPlan) {
        let (runner, progress): (_, Arc<dyn TrainProgress>) = (self.world.runner(), Arc::new(()));
        let ended: Result<TrainReport, TrainError> = match runner.begin(plan) {
            Ok(training) => runner.run(training, &progress).await,
            Err(error) => Err(error),
        };
        runner.close().await.unwrap();
        assert_eq!(self.record.error(what, ended).code(), code, "{what}");
    }

    /// What an operator of the bank may get wrong.
    async fn refused(&self) {
        let good = self.plan("wrong", 1);
        let sample = std::fs::read_to_string(&good.sample).unwrap();
        let (_, headless) = sample.split_once('\n').unwrap();
        let line = |marked: &Marked| format!("{},1\n", marked.phones[0]);
        for (code, text) in [
            ("COLUMN_MISSING", headless.to_owned()),
            ("COLUMN_REPEATED", format!("number,number\n{headless}")),
            ("TRAIN_CELL", format!("{sample}{}", line(&REFUSED[1]))),
            ("TRAIN_CELL", format!("{sample}{}", line(&STRANGERS[0]))),
            ("TRAIN_CELL", format!("{sample}{}", line(&SUBSCRIBERS[0]))),
            ("TRAIN_CELL", format!("{sample}{},{}\n", SUBSCRIBERS[0].phones[0], SUBSCRIBERS[0].names[0])),
            ("TRAIN_LABELS", sample.replace(",0\n", ",1\n")),
        ] {
            let plan = TrainPlan { sample: self.write("wrong.csv", &text), ..good.clone() };
            self.attempt("a wrong sample", code, &plan).await;
        }
        let own = std::fs::read_to_string(good.features.as_ref().unwrap()).unwrap();
        let named = format!("{own}{},{}\n", STRANGERS[0].phones[0], STRANGERS[0].names[0]);
        for (code, text) in
            [("TRAIN_CELL", named), ("COLUMN_MISSING", own.split_once('\n').unwrap().1.into())]
        {
            let features = Some(self.write("wrong.csv", &text));
            self.attempt("wrong features", code, &TrainPlan { features, ..good.clone() }).await;
        }
        for text in [&sample[..], headless] {
            self.record.error("no plan", TrainPlan::load(&self.write("no-plan.toml", text)));
        }
        let wrong = self.write("wrong.csv", &format!("number,x\n{}{}", headless, line(&REFUSED[3])));
        self.record.error("no schema", fit_schema(&FeatureFile::new(&wrong, "phone", &[]), &()));
        self.record.error("no receipt", audit_training(&self.world.bank.config, &wrong, None, &[]));
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        std::fs::write(self.world.at(name), text).unwrap();
        self.world.at(name)
    }

    /// A training that ends behind its first block as by a kill, and goes on.
    async fn interrupted(&self) {
        let plan = self.plan("marked-2", 2);
        let training = self.world.begun(&plan);
        let (runner, first) = (self.world.runner(), Arc::new(FirstBlock::default()));
        let progress: Arc<dyn TrainProgress> = first.clone();
        tokio::select! {
            ended = runner.run(training, &progress) => panic!("it is through: {ended:?}"),
            () = first.through.notified() => {}
        }
        runner.close().await.unwrap();
        self.record.trees(self.world.lab.dir.path(), "an interrupted training");
        self.record.told("trainings", &self.world.go_on(training).await.unwrap());
    }

    /// What an auditor is told of a training, and where the bank's features are others by then.
    fn audited(&self, training: SessionId) {
        let audit =
            |party| audit_training(&self.world.bank.config, &self.world.receipt(training, party), None, &[]);
        for party in UNITS.concat() {
            let audit = audit(party).unwrap();
            assert!(audit.is_ok(), "{audit}");
            self.record.report("audits of trainings", &audit);
        }
        let features = self.world.at("bank.csv");
        let text = std::fs::read_to_string(&features).unwrap();
        std::fs::write(&features, text.replacen(",40\n", ",41\n", 1)).unwrap();
        self.record.error("other features", audit("police"));
        std::fs::write(&features, text).unwrap();
    }

    async fn end(self) {
        let Self { record, world, passed } = self;
        for (name, recording) in &passed {
            look(record, name, world.providers[name].1.as_ref().unwrap()).await;
            record.passed(name, recording);
        }
        record.trees(world.lab.dir.path(), "after trainings");
        let (bank, providers, lab) = world.stopped().await;
        let parties: Vec<_> = std::iter::once(&bank).chain(&providers).collect();
        let logs: Vec<_> = parties.iter().map(|party| Party::log_dir(party)).collect();
        read_logs(record, &logs);
        for (party, moment) in parties.into_iter().zip(["a bank with trainings", "a carrier with trainings"])
        {
            backups::run(record, &lab, party, moment);
        }
    }
}

/// Everybody's tables, with the marked subscribers in each, and the bank's sample.
fn write(dir: &Path) {
    let at = |file: &str| dir.join(file);
    table(&at("carrier-a.csv"), (0..2_000).filter(|p| p % 2 == 0), &[2, 3, 4]);
    table(&at("carrier-b.csv"), (0..2_000).filter(|p| p % 2 == 1), &[2, 3, 4]);
    table(&at("police.csv"), (0..2_000).filter(|p| p % 3 == 0), &[5, 6]);
    table(&at("bank.csv"), (0..SAMPLE).map(|row| row * 5), &[7]);
    let sample: String = (0..SAMPLE).map(|row| format!("1380013{:04},{}\n", row * 5, row % 2)).collect();
    std::fs::write(at("sample.csv"), format!("number,label\n{sample}")).unwrap();
    // A number is one carrier's: the two are one unit.
    let (of_a, of_b) = SUBSCRIBERS.split_at(SUBSCRIBERS.len() / 2);
    for (file, people, cells) in [
        ("carrier-a.csv", of_a, "40,50,60"),
        ("carrier-b.csv", of_b, "40,50,60"),
        ("police.csv", &SUBSCRIBERS, "40,50"),
        ("bank.csv", &SUBSCRIBERS, "40"),
        ("sample.csv", &SUBSCRIBERS, "1"),
    ] {
        let mut file = OpenOptions::new().append(true).open(at(file)).unwrap();
        for marked in people {
            file.write_all(format!("{},{cells}\n", marked.phones[0]).as_bytes()).unwrap();
        }
    }
}
