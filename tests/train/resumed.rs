//! A training that did not come through goes on: under its plan from wherever it is named, and after an outage that was
//! longer than a request is good for.

use windvane_protocols::train::record::TrainRequest;
use windvane_protocols::transcript::Signed;

use super::*;

/// Longer than the clocks of two parties may differ.
const OUTAGE_MS: u64 = 600_000;

impl World {
    async fn started(&mut self, name: &'static str) {
        let (party, node) = self.providers.get_mut(name).unwrap();
        *node = Some(self.lab.start(party).await);
        self.know(&self.addresses(), "");
    }

    /// What a provider was asked with last.
    fn request(&self, training: SessionId, party: &str) -> TrainRequest {
        let bytes = std::fs::read(self.receipt(training, party).with_file_name("request")).unwrap();
        Signed::<TrainRequest>::from_bytes_unverified(bytes).unwrap().body().clone()
    }

    /// Under which session that was.
    fn asked(&self, training: SessionId, party: &str) -> SessionId {
        self.request(training, party).session
    }

    /// A small training that one provider was not there for, often enough that it tells by whom it is opened again.
    async fn without_police(&mut self, name: &str) -> SessionId {
        self.stop("police").await;
        let mut plan = self.plan(name);
        (plan.model.blocks, plan.model.trees) = (Some(1), Some(1));
        let training = self.begun(&plan);
        for _ in 0..2 {
            assert_eq!(self.go_on(training).await.unwrap_err().code(), "PEER_UNAVAILABLE");
        }
        training
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_time_or_grant_is_over_is_signed_afresh_and_others_keep_their_sessions() {
    let mut world = World::new().await;
    for name in ["late", "granted"] {
        let training = world.without_police(name).await;
        let before = UNITS.concat().into_iter().map(|party| world.asked(training, party)).collect::<Vec<_>>();
        if name == "late" {
            world.lab.clock.advance_ms(OUTAGE_MS);
        } else {
            let police = &world.providers["police"].0;
            let id = police.admin.grants().unwrap()[0].0.id.to_string();
            police.admin.end_grant(&id).unwrap();
            world.bank.admin.end_grant(&id).unwrap();
            world.bank.admin.accept_grant(&police.admin.issue_grant(&grant("police")).unwrap()).unwrap();
        }
        world.started("police").await;
        world.go_on(training).await.unwrap();
        let after = UNITS.concat().into_iter().map(|party| world.asked(training, party)).collect::<Vec<_>>();
        assert_eq!(before[..2], after[..2]);
        assert_ne!(before[2], after[2]);
    }
    let (bank, providers, _lab) = world.stopped().await;
    // Opened with the others the first time, and once more when the last one was there.
    let opened = |party: &Party| {
        events(party).iter().filter(|event| matches!(event, Event::TrainAttempted { .. })).count()
    };
    assert_eq!(providers.iter().map(opened).collect::<Vec<_>>(), [4, 4, 2]);
    let logs: Vec<_> = std::iter::once(&bank).chain(&providers).map(Party::log_dir).collect();
    let agreed = reconcile(&logs);
    assert!(agreed.is_ok(), "{agreed}");
    assert!(agreed.pairs.iter().all(|pair| pair.jobs_agreed == 2), "{agreed}");
    let options = windvane::audit::VerifyOptions::default();
    let verified = windvane::audit::verify(&bank.log_dir(), &options);
    assert!(verified.findings.is_empty(), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_forgot_a_session_ends_the_training_and_no_clock_is_blamed() {
    let mut world = World::new().await;
    let training = world.without_police("forgotten").await;
    world.stop("carrier-a").await;
    // As a restore from a backup does.
    let sessions = world.providers["carrier-a"].0.config.node.data_dir.join("train-sessions");
    std::fs::remove_dir_all(sessions).unwrap();
    world.lab.clock.advance_ms(OUTAGE_MS);
    world.started("carrier-a").await;
    world.started("police").await;
    let error = world.go_on(training).await.unwrap_err();
    assert_eq!(error.code(), "TRAIN_SESSION_UNKNOWN");
    let text = error.to_string();
    assert!(text.contains("carrier-a") && text.contains("windvane train --anew"), "{text}");
    assert!(!text.contains("clock") && !text.contains("--resume"), "{text}");
    world.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_is_under_the_newest_grant_that_permits_it_and_has_runs_left() {
    let world = World::new().await;
    let police = &world.providers["police"];
    let issued = |change: &dyn Fn(&mut TrainTerms)| {
        let mut terms = grant("police");
        change(terms.train.as_mut().unwrap());
        let grant = police.0.admin.issue_grant(&terms).unwrap();
        world.bank.admin.accept_grant(&grant).unwrap();
        police.0.admin.grants().unwrap().last().unwrap().0.id
    };
    let first = police.0.admin.grants().unwrap()[0].0.id;
    let once = issued(&|terms| terms.runs = 1);
    issued(&|terms| terms.max_rows = 10);
    police.0.taken_over_by(police.1.as_ref().unwrap()).await;
    for (name, under) in [("once", once), ("again", first)] {
        let mut plan = world.plan(name);
        (plan.model.blocks, plan.model.trees) = (Some(1), Some(1));
        let training = world.begun(&plan);
        world.go_on(training).await.unwrap();
        assert_eq!(world.request(training, "police").grant, under, "{name}");
    }
    // Where all are used up or permit less, that is what it is told.
    police.0.admin.end_grant(&first.to_string()).unwrap();
    world.bank.admin.end_grant(&first.to_string()).unwrap();
    police.0.taken_over_by(police.1.as_ref().unwrap()).await;
    let error = world.go_on(world.begun(&world.plan("none"))).await.unwrap_err();
    assert_eq!(error.code(), "GRANT_EXHAUSTED");
    world.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_other_threads_and_patience_takes_its_training_up_and_another_plan_does_not() {
    let world = World::new().await;
    let plan = world.plan("resumed-1");
    let training = world.begun(&plan);
    let runner = world.runner();
    let patient = TrainPlan { node: Some(world.at("bank.toml")), threads: 1, idle_s: 240, ..plan.clone() };
    assert_eq!(runner.unfinished(&patient).unwrap(), Some(training));
    runner.take_up(training, &patient).unwrap();
    let kept = TrainFolder::plan(&world.bank.config.node.data_dir, training).unwrap();
    assert_eq!(kept, Some(patient));
    let other = TrainPlan { held_out: 25, ..plan.clone() };
    assert_eq!(runner.unfinished(&other).unwrap(), None);
    assert_eq!(runner.take_up(training, &other).unwrap_err().code(), "TRAIN_FOLDER");
    // One whose plan is damaged keeps no other from being found or begun.
    let damaged = runner.begin(&TrainPlan { name: "resumed-2".to_owned(), ..other }).unwrap();
    let folder = TrainFolder::path_of(&world.bank.config.node.data_dir, damaged);
    std::fs::write(folder.join("plan.json"), b"{").unwrap();
    assert_eq!(runner.unfinished(&plan).unwrap(), Some(training));
    world.stopped().await;
}
