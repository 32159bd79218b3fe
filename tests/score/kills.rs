//! A process that is killed at any named stage of a setup, a publication or a download leaves nothing half-active, and
//! one of a rollback goes back once.
//!
//! The party to be killed runs in a process of its own, and a debug build sends itself SIGKILL at the stage that
//! `WINDVANE_CRASH_AT` names. Each kill is one more epoch of a group that goes on scoring; afterwards the epoch, or
//! the one that replaced it, is finished at everybody, published, fetched, activated, and scores rightly.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use windvane::admin::Admin;
use windvane::score::Stage;
use windvane::score::activation::ChoiceStage;
use windvane::score::plan::GroupPlan;
use windvane::score::setup::SetupReport;
use windvane::score::table_stage::TableStage;
use windvane_protocols::audit::entry::Event;

use super::calls::{Scored, activate, group, number, publish, sum};
use super::{epoch_dir, states};
use crate::lab::{Party, events};
use crate::psi::process::Process;

mod process;

use process::Command;

const SIGKILL: i32 = 9;

const PROVIDERS: usize = 2;

fn was_killed(status: ExitStatus, stage: &str) {
    assert_eq!(status.signal(), Some(SIGKILL), "{stage}: {status}");
}

fn plan(scored: &Scored) -> GroupPlan {
    GroupPlan::load(&scored.lab.dir.path().join("group.toml")).unwrap()
}

async fn set_up(scored: &Scored) -> SetupReport {
    scored.bank.admin.score_setup(&plan(scored), None, &()).await.unwrap()
}

/// The bank and all providers.
fn parties(scored: &Scored) -> impl Iterator<Item = &Party> {
    scored.providers.iter().map(|(party, _)| party).chain([&scored.bank])
}

/// Whoever has evidence of an epoch has the same as everybody.
fn evidence_agrees(scored: &Scored, newest: u64) {
    for epoch in 1..=newest {
        let kept: Vec<_> = parties(scored)
            .map(|party| std::fs::read(epoch_dir(party, epoch).join("evidence")).ok())
            .collect();
        assert!(kept.windows(2).all(|pair| pair[0] == pair[1]), "epoch {epoch}");
        let setups = parties(scored).filter(|party| epoch_dir(party, epoch).join("setup").exists());
        assert!(kept[0].is_none() || setups.count() == 0, "epoch {epoch} is both finished and under way");
    }
    assert!(epoch_dir(&scored.bank, newest).join("evidence").exists());
}

/// The active epoch scores rightly.
async fn scores(scored: &Scored, epoch: u64) {
    for position in [5, 4_321, scored.segments * 10_000 - 1] {
        let score = scored.score(&number(position)).await;
        assert_eq!((score.epoch, score.sum), (epoch, Some(sum(PROVIDERS, position))), "{score:?}");
    }
}

async fn published(scored: &Scored, provider: usize) {
    let (party, node) = &scored.providers[provider];
    publish(&scored.lab, party, provider, scored.segments);
    party.taken_over_by(node).await;
}

/// Fetches, activates and scores with an epoch; the logs tell of its tables.
async fn carried_on(scored: &Scored, epoch: u64) {
    activate(&scored.lab, &scored.bank, epoch).await;
    scored.bank.taken_over_by(&scored.bank_node).await;
    scores(scored, epoch).await;
    scored.bank_node.log().publish().await.unwrap();
    for (party, node) in &scored.providers {
        node.log().publish().await.unwrap();
        let name = party.config.party();
        for log in [party, &scored.bank] {
            let told = events(log).into_iter().any(|event| match event {
                Event::ScorePublished(manifest) => {
                    manifest.body().provider == name && manifest.body().epoch == epoch
                }
                _ => false,
            });
            assert!(told, "{name}, epoch {epoch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_killed_at_any_stage_of_a_setup_goes_on_with_the_same_epoch() {
    let scored = Scored::new(PROVIDERS, 2, 1).await;
    // Its keys are the providers'.
    let stages = Stage::ALL.into_iter().filter(|stage| *stage != Stage::KeysStored);
    for (epoch, stage) in (2..).zip(stages) {
        was_killed(Command::Setup.killed_at(&scored, stage.name()), stage.name());
        let finished = stage == Stage::Finished;
        for party in parties(&scored) {
            assert_eq!(epoch_dir(party, epoch).join("evidence").exists(), finished, "{stage}");
        }
        // What was active still is.
        scores(&scored, epoch - 1).await;
        if !finished {
            let report = set_up(&scored).await;
            assert_eq!((report.epoch, report.lost.len()), (epoch, 0), "{stage}");
        }
        evidence_agrees(&scored, epoch);
        published(&scored, 0).await;
        published(&scored, 1).await;
        carried_on(&scored, epoch).await;
        let told = states(&scored.bank);
        for state in ["begun", "confirmed", "finished"] {
            assert!(told.contains(&format!("{state} {epoch}")), "{stage}: {told:?}");
        }
    }
    scored.stop().await;
}

/// A provider's node as a process that is killed at a stage of the next setup; it runs here again afterwards.
async fn provider_killed(scored: Scored, stage: Stage) -> Scored {
    let Scored { lab, mut providers, mut bank, bank_node, segments } = scored;
    bank_node.stop().await.unwrap();
    let (party, node) = providers.remove(0);
    node.stop().await.unwrap();
    let (config, ready) = (lab.dir.path().join("provider-0/windvane.toml"), lab.dir.path().join("ready"));
    let _ = std::fs::remove_file(&ready);
    let (mut process, address) = Process::node(&config, &ready, Some(stage.name())).await;
    readdress(&mut bank, &lab, address);
    let plan = GroupPlan::load(&lab.dir.path().join("group.toml")).unwrap();
    let error = bank.admin.score_setup(&plan, None, &()).await.unwrap_err();
    assert!(["PEER_UNAVAILABLE", "PEER_ERROR"].contains(&error.code()), "{stage}: {error:?}");
    assert!(error.to_string().starts_with("provider-0: "), "{stage}: {error}");
    was_killed(process.ended(), stage.name());
    let node = lab.start(&party).await;
    readdress(&mut bank, &lab, node.grpc_address().unwrap().to_string());
    providers.insert(0, (party, node));
    let bank_node = lab.start(&bank).await;
    Scored { lab, providers, bank, bank_node, segments }
}

fn readdress(bank: &mut Party, lab: &crate::lab::Lab, address: String) {
    bank.config.providers[0].address = address;
    bank.admin = Admin::open(&bank.config, Arc::new(lab.clock.clone())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_at_any_stage_of_a_setup_finishes_it_or_the_epoch_is_replaced_by_name() {
    let mut scored = Scored::new(PROVIDERS, 2, 1).await;
    let mut last = 1;
    for stage in Stage::ALL {
        scored = provider_killed(scored, stage).await;
        let finished = |party: &Party| epoch_dir(party, last + 1).join("evidence").exists();
        assert!(!finished(&scored.bank), "{stage}");
        scores(&scored, last).await;
        let report = set_up(&scored).await;
        let lost: Vec<_> = report.lost.iter().map(|lost| (lost.epoch, lost.provider.as_str())).collect();
        // Before its secrets are sealed a kill costs the epoch, unless it was not noted yet.
        let costs = [Stage::Begun, Stage::Dealt].contains(&stage);
        let expected = if costs { vec![(last + 1, "provider-0")] } else { vec![] };
        assert_eq!(lost, expected, "{stage}");
        assert_eq!(report.epoch, last + 1 + u64::from(costs), "{stage}");
        last = report.epoch;
        evidence_agrees(&scored, last);
        published(&scored, 0).await;
        published(&scored, 1).await;
        carried_on(&scored, last).await;
        let sealed = format!("score/joint-risk/{last}");
        let told = events(&scored.providers[0].0).into_iter().any(|event| match event {
            Event::Key { purpose, state, .. } => purpose == sealed && state == "active",
            _ => false,
        });
        assert!(told, "{stage}");
    }
    scored.stop().await;
}

/// Kills the first provider's publication in a new epoch; what it left is not served.
async fn publication_killed(scored: &Scored, stage: TableStage) -> u64 {
    let epoch = set_up(scored).await.epoch;
    was_killed(Command::Publish.killed_at(scored, stage.name()), stage.name());
    let (provider, node) = &scored.providers[0];
    provider.taken_over_by(node).await;
    let error = scored.bank.admin.score_fetch(&group(), Some(epoch), &()).await.unwrap_err();
    assert_eq!(error.code(), "SCORE_TABLE_UNKNOWN", "{stage}");
    // The other provider has not published.
    let lacks = if stage == TableStage::TablePlaced { "provider-1: " } else { "provider-0: " };
    assert!(error.to_string().starts_with(lacks), "{stage}: {error}");
    scores(scored, epoch - 1).await;
    epoch
}

/// Kills the bank's download in a new epoch; what it left is not used.
async fn download_killed(scored: &Scored, stage: TableStage) -> u64 {
    let epoch = set_up(scored).await.epoch;
    published(scored, 0).await;
    published(scored, 1).await;
    was_killed(Command::Fetch.killed_at(scored, stage.name()), stage.name());
    if stage != TableStage::Installed {
        let error = scored.bank.admin.activate_score(&group(), epoch, "fraud-1", "bob").unwrap_err();
        assert_eq!(error.code(), "SCORE_TABLE_MISSING", "{stage}");
    }
    scores(scored, epoch - 1).await;
    epoch
}

/// Stages in the middle of work, which only larger universes reach.
const PARTS: [TableStage; 2] = [TableStage::TablePart, TableStage::FetchPart];

async fn killed_and_carried_on(scored: &Scored, stage: TableStage) {
    let publishes = TableStage::ALL.iter().position(|other| *other == stage).unwrap() < 6;
    let epoch = if publishes {
        let epoch = publication_killed(scored, stage).await;
        published(scored, 0).await;
        published(scored, 1).await;
        epoch
    } else {
        download_killed(scored, stage).await
    };
    carried_on(scored, epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_or_a_download_killed_at_any_stage_is_neither_served_nor_used_and_goes_on() {
    let scored = Scored::new(PROVIDERS, 2, 1).await;
    for stage in TableStage::ALL.into_iter().filter(|stage| !PARTS.contains(stage)) {
        killed_and_carried_on(&scored, stage).await;
    }
    scored.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_or_a_download_killed_half_way_through_its_segments_goes_on() {
    // A publication tells of parts when sixteen segments are written and more are made: four a core at a time.
    let step = 4 * std::thread::available_parallelism().unwrap().get();
    let scored = Scored::new(PROVIDERS, 2, step * 16_usize.div_ceil(step) + 1).await;
    for stage in PARTS {
        killed_and_carried_on(&scored, stage).await;
    }
    scored.stop().await;
}

/// Who goes back, as the bank's log tells of it.
fn rolled_back(bank: &Party) -> Vec<String> {
    let who = |event| match event {
        Event::ScoreModel { action, by, .. } if action == "rolled back" => Some(by),
        _ => None,
    };
    events(bank).into_iter().filter_map(who).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_killed_at_any_stage_goes_back_once_whoever_tells_of_it_and_however_often_it_is_repeated()
{
    let mut scored = Scored::new(PROVIDERS, 2, 1).await;
    for epoch in [2, 3] {
        assert_eq!(set_up(&scored).await.epoch, epoch);
        published(&scored, 0).await;
        published(&scored, 1).await;
        carried_on(&scored, epoch).await;
    }
    // What is queued makes the running node tell of the rest by itself.
    let kills = [(ChoiceStage::Chosen, false), (ChoiceStage::Chosen, true), (ChoiceStage::Told, true)];
    assert!(ChoiceStage::ALL.iter().all(|stage| kills.iter().any(|(kill, _)| kill == stage)));
    let mut told = 0;
    for (stage, node_tells) in kills {
        was_killed(Command::Rollback(3).killed_at(&scored, stage.name()), stage.name());
        if node_tells {
            scored.bank_node.stop().await.unwrap();
            scored.bank_node = scored.lab.start(&scored.bank).await;
            scores(&scored, 2).await;
        }
        for _ in 0..2 {
            let state = scored.bank.admin.roll_back_score(&group(), 3, "erin").unwrap();
            assert_eq!(state.active.map(|choice| choice.epoch), Some(2), "{stage}");
        }
        scored.bank.taken_over_by(&scored.bank_node).await;
        scores(&scored, 2).await;
        scored.bank_node.log().publish().await.unwrap();
        // A kill after the entries were queued queues them again.
        told += if stage == ChoiceStage::Told { 2 } else { 1 };
        assert_eq!(rolled_back(&scored.bank), vec!["dave"; told], "{stage}");
        scored.bank.admin.activate_score(&group(), 3, "fraud-1", "bob").unwrap();
        scored.bank.taken_over_by(&scored.bank_node).await;
    }
    scored.stop().await;
}
