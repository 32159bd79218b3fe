//! A bank that leaves a training in its second block: its providers sign what they answered, the logs agree, and the
//! audit finds what a finished training's finds.

use windvane::audit::ReconcileReport;
use windvane::train::audit::{TrainAudit, TrainFinding};
use windvane::train::run::Craft;
use windvane_protocols::train::PROTOCOL;
use windvane_protocols::train::lapse::{Answered, TrainLapse};
use windvane_protocols::train::record::{
    StepHash, TrainAcceptance, TrainReceipt, TrainRequest, announcements_digest,
};
use windvane_protocols::transcript::Signed;

use super::*;

/// Longer than a session is kept.
pub(super) const LONG_MS: u64 = 8 * 86_400_000;

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
        audit_training(&self.bank.config, &self.lapses[of], None, &others).unwrap()
    }

    fn lapse(&self, of: usize) -> TrainLapse {
        read(&self.lapses[of])
    }

    /// Replaces a provider's lapse by one that it signs too.
    fn resign(&self, of: usize, lapse: TrainLapse) {
        let signed = Signed::sign(lapse, self.providers[of].admin.keys().signing_key());
        std::fs::write(&self.lapses[of], signed.as_bytes()).unwrap();
    }

    fn reconciled(&self) -> ReconcileReport {
        let logs: Vec<_> = std::iter::once(&self.bank).chain(&self.providers).map(Party::log_dir).collect();
        reconcile(&logs)
    }
}

/// What stands in a signed record.
fn read<T: windvane_protocols::transcript::Record + Clone>(path: &Path) -> T {
    Signed::<T>::from_bytes_unverified(std::fs::read(path).unwrap()).unwrap().body().clone()
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
    let alone = audit_training(&left.bank.config, &left.lapses[0], None, &[]).unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn what_others_were_sent_beyond_the_first_provider_is_looked_at_too() {
    let left = World::new().await.left(Some(Craft::Residual)).await;
    let mut short = left.lapse(0);
    short.residuals.truncate(1);
    left.resign(0, short);
    let audit = left.audit(0);
    let [only] = &audit.findings[..] else { panic!("{audit}") };
    assert_eq!((only.code, only.block, audit.blocks), ("TRAIN_RESIDUAL", Some(1), 2));
    // A provider that was sent residuals was sent the rest before.
    let without = TrainLapse { held_out: [0; 64], ..left.lapse(1) };
    left.resign(1, without);
    assert!(codes(&left.audit(1).findings).contains(&"TRAIN_HELD_OUT"));
    assert!(codes(&left.audit(0).findings).contains(&"TRAIN_UPLOADS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_who_has_logs_alone_finds_the_records_in_them() {
    let left = World::new().await.left(None).await;
    let dirs: Vec<_> = left.providers.iter().map(|party| party.config.node.data_dir.clone()).collect();
    let audit = |training, own: usize| {
        audit_training(&left.bank.config, &dirs[own], training, &[&dirs[..own], &dirs[own + 1..]].concat())
    };
    let training = Some(left.training);
    for own in 0..dirs.len() {
        assert_eq!(audit(training, own).unwrap(), left.audit(own));
    }
    assert_eq!(audit(None, 0).unwrap_err().code(), "TRAINING_MISSING");
    assert_eq!(audit(Some(SessionId::from_bytes([7; 16])), 0).unwrap_err().code(), "RECEIPT_MISSING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_bank_replaced_by_another_says_nothing_about_it() {
    let left = World::new().await.left(None).await;
    let key = left.bank.admin.keys().signing_key();
    let honest = left.lapse(0);
    let request = honest.request().clone();
    let request = TrainRequest { session: SessionId::from_bytes([9; 16]), ..request };
    let acceptance =
        TrainAcceptance { request: Signed::sign(request, key), ..honest.acceptance.body().clone() };
    let of_provider = left.providers[0].admin.keys().signing_key();
    let acceptance = Signed::sign(acceptance, of_provider);
    let zero = [0; 64];
    let nothing = StepHash::new(&acceptance.digest(), &[]).finish();
    let answered = Answered { count: 0, steps: nothing, before: nothing, last: zero };
    let void = TrainLapse {
        acceptance,
        announcements: zero,
        indicator: zero,
        held_out: zero,
        residuals: Vec::new(),
        answered,
        ..honest.clone()
    };
    let beside = left.bank.config.node.data_dir.join("replaced");
    std::fs::write(&beside, Signed::sign(void.clone(), of_provider).as_bytes()).unwrap();
    let audit = audit_training(&left.bank.config, &beside, None, &[]).unwrap();
    assert!(audit.is_ok() && audit.replaced && audit.to_string().contains("asked anew"), "{audit}");
    let forged = left.bank.config.node.data_dir.join("forged");
    std::fs::write(&forged, Signed::sign(void.clone(), key).as_bytes()).unwrap();
    let audit = audit_training(&left.bank.config, &forged, None, &[]).unwrap();
    assert_eq!(codes(&audit.findings), ["RECEIPT_INVALID"]);
    let audit =
        audit_training(&left.bank.config, &left.lapses[0], None, &[&left.lapses[1..], &[beside]].concat());
    assert!(audit.as_ref().unwrap().is_ok(), "{audit:?}");
    // One in which something was handed over is none of these.
    left.resign(0, TrainLapse { announcements: honest.announcements, ..void });
    assert!(codes(&left.audit(0).findings).contains(&"REQUEST_DIFFERS"));
}

/// How many answers a bank keeps of a provider.
fn kept(answers: &[u8]) -> u64 {
    let mut rest = answers;
    std::iter::from_fn(|| {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        rest = &rest[8 + length..];
        Some(())
    })
    .count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_behind_the_last_one_is_found_though_its_answer_is_lost() {
    let world = World::new().await;
    let training = world.begun(&world.plan("lapsed-end"));
    world.go_on(training).await.unwrap();
    let (bank, providers, _lab) = world.stopped().await;
    let folder = TrainFolder::path_of(&bank.config.node.data_dir, training);
    let of = |party: &Party, name: &str| folder.join(party.config.party().as_str()).join(name);
    let receipts: Vec<TrainReceipt> = providers.iter().map(|party| read(&of(party, "receipt"))).collect();
    let announced = |receipt: &TrainReceipt| receipt.acceptance.body().announcement.clone();
    let announcements = announcements_digest(&receipts.iter().map(announced).collect::<Vec<_>>());
    // What each would have signed, had the bank left before the end.
    let lapse = |party: &Party, receipt: &TrainReceipt| {
        let count = kept(&std::fs::read(of(party, "answers")).unwrap());
        TrainLapse {
            acceptance: receipt.acceptance.clone(),
            protocol: PROTOCOL.to_owned(),
            software: receipt.software,
            configuration: receipt.configuration,
            attempts: 1,
            announcements,
            indicator: receipt.indicator,
            held_out: receipt.held_out,
            residuals: receipt.residuals.clone(),
            answered: Answered { count, steps: receipt.steps, before: [6; 64], last: [7; 64] },
            lapsed_at_ms: 1,
        }
    };
    let honest: Vec<_> =
        providers.iter().zip(&receipts).map(|(party, receipt)| lapse(party, receipt)).collect();
    let lapses: Vec<_> = providers.iter().map(|party| of(party, "receipt").with_file_name("lapse")).collect();
    let audit = |more: Option<usize>| {
        for (i, (party, lapse)) in providers.iter().zip(&honest).enumerate() {
            let Answered { count, steps, .. } = lapse.answered;
            let further = Answered { count: count + 1, before: steps, steps: [8; 64], last: [7; 64] };
            let answered = if more == Some(i) { further } else { lapse.answered };
            let signed =
                Signed::sign(TrainLapse { answered, ..lapse.clone() }, party.admin.keys().signing_key());
            std::fs::write(&lapses[i], signed.as_bytes()).unwrap();
        }
        audit_training(&bank.config, &lapses[0], None, &lapses[1..]).unwrap()
    };
    // Nobody signs both.
    assert_eq!(codes(&audit(None).findings), ["RECEIPT_REPEATED"; 3]);
    providers.iter().for_each(|party| std::fs::remove_file(of(party, "receipt")).unwrap());
    let found = audit(None);
    assert!(found.is_ok(), "{found}");
    for i in 0..providers.len() {
        let found = audit(Some(i));
        assert_eq!(codes(&found.findings), ["TRAIN_DECISIONS"], "{found}");
    }
}
