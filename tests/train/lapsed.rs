//! A bank that leaves a training in its second block: its providers sign what they answered, the logs agree, and the
//! audit finds what a finished training's finds.

use windvane::audit::ReconcileReport;
use windvane::train::audit::{TrainAudit, TrainFinding};
use windvane::train::run::Craft;

use super::*;

/// Longer than a session is kept.
const LONG_MS: u64 = 8 * 86_400_000;

/// Tells when everybody has the residuals of the second block.
#[derive(Default)]
struct SecondBlock {
    first_is_through: std::sync::atomic::AtomicBool,
    asked: tokio::sync::Notify,
}

impl TrainProgress for SecondBlock {
    fn block(&self, done: u16, _total: u16, _auc: Option<f64>) {
        self.first_is_through.store(done == 1, std::sync::atomic::Ordering::SeqCst);
    }

    fn trees(&self, _done: u64, _total: u64) {
        if self.first_is_through.load(std::sync::atomic::Ordering::SeqCst) {
            self.asked.notify_one();
        }
    }

    fn reading(&self) -> &dyn windvane::dataset::Progress {
        &()
    }
}

/// A training that its bank left.
struct Left {
    training: SessionId,
    bank: Party,
    providers: Vec<Party>,
    lapses: Vec<PathBuf>,
    _lab: Lab,
}

impl World {
    async fn left(self, craft: Option<Craft>) -> Left {
        let mut runner = self.runner();
        if let Some(craft) = craft {
            runner.craft(craft);
        }
        let training = runner.begin(&self.plan("left-1")).unwrap();
        let second = Arc::new(SecondBlock::default());
        let progress: Arc<dyn TrainProgress> = second.clone();
        tokio::select! {
            ended = runner.run(training, &progress) => panic!("{ended:?}"),
            () = second.asked.notified() => {}
        }
        runner.close().await.unwrap();
        self.lab.clock.advance_ms(LONG_MS);
        for (_, node) in self.providers.values() {
            // A call that the bank left running holds its session to its end.
            let node = node.as_ref().unwrap();
            while node.trainings().unwrap().sessions().1 > 0 {
                node.trainings().unwrap().lapse().await;
                tokio::task::yield_now().await;
            }
        }
        let error = loop {
            match self.go_on(training).await.unwrap_err() {
                error if error.to_string().contains("another process") => tokio::task::yield_now().await,
                error => break error,
            }
        };
        assert_eq!(error.code(), "TRAIN_EXPIRED");
        assert!(error.to_string().contains("windvane train --anew"), "{error}");
        let (bank, providers, lab) = self.stopped().await;
        let lapse = |party: &Party| {
            let all = std::fs::read_dir(party.config.node.data_dir.join("train-sessions")).unwrap();
            all.map(|entry| entry.unwrap().path().join("lapse")).next().unwrap()
        };
        let lapses = providers.iter().map(lapse).collect();
        Left { training, bank, providers, lapses, _lab: lab }
    }
}

impl Left {
    /// Holds a provider's lapse against the bank's folder, with the others' beside it.
    fn audit(&self, of: usize) -> TrainAudit {
        let others: Vec<_> = self.lapses.iter().enumerate().filter(|(i, _)| *i != of).collect();
        let others: Vec<_> = others.into_iter().map(|(_, lapse)| lapse.clone()).collect();
        audit_training(&self.bank.config, &self.lapses[of], &others).unwrap()
    }

    fn reconciled(&self) -> ReconcileReport {
        let logs: Vec<_> = std::iter::once(&self.bank).chain(&self.providers).map(Party::log_dir).collect();
        reconcile(&logs)
    }
}

fn codes(findings: &[TrainFinding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_bank_that_left_is_told_as_such_and_one_that_loses_answers_is_found() {
    let left = World::new().await.left(None).await;
    for of in 0..left.lapses.len() {
        let audit = left.audit(of);
        assert!(audit.is_ok(), "{audit}");
        assert!(audit.answered.is_some_and(|answered| answered > 0) && audit.blocks == 2, "{audit}");
        assert!(audit.to_string().contains("did not end it"), "{audit}");
    }
    let agreed = left.reconciled();
    assert!(agreed.is_ok(), "{agreed}");
    assert!(agreed.pairs.iter().all(|pair| (pair.jobs, pair.jobs_lapsed) == (1, 1)), "{agreed}");
    // What the others signed is not at hand: a finding for each, and no error.
    let alone = audit_training(&left.bank.config, &left.lapses[0], &[]).unwrap();
    assert_eq!(codes(&alone.findings), ["RECEIPT_MISSING", "RECEIPT_MISSING"]);
    let folder = TrainFolder::path_of(&left.bank.config.node.data_dir, left.training);
    std::fs::write(folder.join("carrier-a").join("answers"), b"").unwrap();
    let audit = left.audit(0);
    assert!(codes(&audit.findings).contains(&"TRAIN_STEPS"), "{audit}");
    std::fs::remove_file(folder.join("block-0")).unwrap();
    assert!(codes(&left.audit(0).findings).contains(&"TRAIN_REPLAY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_crafts_residuals_and_leaves_is_found_by_block() {
    let left = World::new().await.left(Some(Craft::Residual)).await;
    for of in 0..left.lapses.len() {
        let audit = left.audit(of);
        let [only] = &audit.findings[..] else { panic!("{audit}") };
        assert_eq!((only.code, only.block, only.row), ("TRAIN_RESIDUAL", Some(1), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_decides_otherwise_and_leaves_is_found() {
    let left = World::new().await.left(Some(Craft::Leaves)).await;
    let audit = left.audit(0);
    let [only] = &audit.findings[..] else { panic!("{audit}") };
    assert_eq!((only.code, only.block), ("TRAIN_DECISIONS", Some(0)));
}
