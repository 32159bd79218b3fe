//! The joint score of marked people: set-up, tables, models and calls with somebody in the middle, and what goes wrong.

use std::path::Path;
use std::sync::Arc;

use windvane::admin::{Admin, ModelFiles, ScorePublication};
use windvane::batch::{self, BatchKind, BatchOptions};
use windvane::error::NodeError;
use windvane::http::Client;
use windvane::score::card;
use windvane::score::parts::{DenseParts, PartsFile, PartsReport};
use windvane::score::plan::GroupPlan;
use windvane::score::registry::Description;
use windvane_protocols::score::table::parts::Coverage;

use super::marks::{Marked, REFUSED, STRANGERS, SUBSCRIBERS};
use super::operations::{look, questions, read_logs};
use super::record::Record;
use super::{backups, batches};
use crate::lab::{Lab, Party};
use crate::recorder::Recording;
use crate::score::calls::{Scored, activate, group, inquiry, publish};

/// What the parts of the tests' group add up to is far from any card, and nothing is to come of that.
const MONITOR: &str = "window = 10000000";

/// The epoch of which everything passes somebody in the middle.
const EPOCH: u64 = 2;

/// Everything, from the set-up to backups.
pub(crate) async fn run(record: &Record, sections: &str) {
    let (scored, passed) = recorded(Scored::within(Lab::with(sections), 2, 2, 1, MONITOR).await).await;
    set_up(record, &scored).await;
    ask(record, &scored).await;
    in_files(record, &scored).await;
    wrong_parts(record, &scored);
    files_that_are_none(record, &scored);
    record.trees(scored.lab.dir.path(), "while scores are served");
    fail(record, &scored).await;
    end(record, scored, &passed).await;
}

/// The bank's node started anew, with somebody between it and each provider.
async fn recorded(mut scored: Scored) -> (Scored, Vec<Recording>) {
    scored.bank_node.stop().await.unwrap();
    let mut passed = Vec::new();
    for (i, (provider, node)) in scored.providers.iter().enumerate() {
        let to = node.grpc_address().unwrap();
        let (recording, middle) = Recording::beside(provider, &scored.bank, to).await;
        scored.bank.config.providers[i].address = middle.to_string();
        passed.push(recording);
    }
    scored.bank.admin = Admin::open(&scored.bank.config, Arc::new(scored.lab.clock.clone())).unwrap();
    scored.bank_node = scored.lab.start(&scored.bank).await;
    (scored, passed)
}

fn plan(scored: &Scored) -> GroupPlan {
    GroupPlan::load(&scored.lab.dir.path().join("group.toml")).unwrap()
}

/// The group is set up once more, and everything of its tables passes between the nodes.
async fn set_up(record: &Record, scored: &Scored) {
    let plan = plan(scored);
    let report = scored.bank.admin.score_setup(&plan, None, &()).await.unwrap();
    assert_eq!(report.epoch, EPOCH);
    record.told("score set-ups", &report);
    for (i, (provider, node)) in scored.providers.iter().enumerate() {
        publish(&scored.lab, provider, i, 1);
        provider.taken_over_by(node).await;
    }
    activate(&scored.lab, &scored.bank, EPOCH).await;
    scored.bank.taken_over_by(&scored.bank_node).await;
    record.told("score status", &scored.bank.admin.score_status(None).unwrap());
    record.debug("score plans", &plan);
}

/// Everybody, alone and together; the first subscriber's number is in the list of segments.
async fn ask(record: &Record, scored: &Scored) {
    for question in questions() {
        record.told("scores", &scored.bank().verify(question).await.unwrap());
    }
    record.told("scores", &scored.bank().score_batch(questions()).await.unwrap());
    let score = scored.score(SUBSCRIBERS[0].phones[0]).await;
    assert!(score.sum.is_some(), "{score:?}");
    record.told("scores", &score);
}

/// Files of customers that are scored alone.
async fn in_files(record: &Record, scored: &Scored) {
    let token = scored.bank.admin.admit_caller("scores").unwrap();
    scored.bank.taken_over_by(&scored.bank_node).await;
    let address = scored.bank_node.http_address().unwrap();
    let client = Client::new(&format!("http://{address}"), &token).unwrap();
    let content = batches::file(batches::HEADER);
    let options = |name: &str, content: &str| {
        let options = batches::options(scored.lab.dir.path(), record, name, content.as_bytes(), None);
        BatchOptions { kind: BatchKind::Score, ..options }
    };
    let good = options("scored", &content);
    record.report("batch summaries", &batch::run(&client, &good, &batch::progress_bar()).await.unwrap());
    let headless = options("not scored", content.split_once('\n').unwrap().1);
    record.error("not scored", batch::run(&client, &headless, &batch::progress_bar()).await);
}

/// Files of parts that a provider's operator may get wrong. A table of other parts than the epoch's is refused as well.
fn wrong_parts(record: &Record, scored: &Scored) {
    let (provider, _) = &scored.providers[0];
    let path = scored.lab.dir.path().join("wrong-parts.csv");
    let lines = |people: &[Marked], part: &str| -> String {
        people.iter().map(|marked| format!("{},{part}\n", marked.phones[0])).collect()
    };
    let good = lines(&SUBSCRIBERS, "7");
    let bad = lines(&REFUSED[1..2], "7") + &lines(&REFUSED[3..], "7") + &lines(&SUBSCRIBERS, "800");
    for (code, text) in [
        ("NO_ROWS", format!("number,part\n{bad}")),
        ("PART_CONFLICT", format!("number,part\n{good}{}", lines(&SUBSCRIBERS, "8"))),
        ("COLUMN_MISSING", good.clone()),
        ("COLUMN_REPEATED", format!("number,number\n{good}")),
        ("SCORE_SECOND_TABLE", format!("number,part\n{good}{bad}{}", lines(&STRANGERS, "7"))),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = record.error("wrong parts", published(record, provider, &path));
        assert_eq!(error.code(), code);
    }
}

/// Publishes parts; the report of refused rows goes where the command has it.
fn published(record: &Record, provider: &Party, path: &Path) -> Result<(), NodeError> {
    let publication = ScorePublication {
        group: group(),
        epoch: Some(EPOCH),
        coverage: Coverage::Overlapped,
        overlap_permille: 1_000,
    };
    let rejects = provider.admin.score_rejects(&group(), EPOCH);
    let (number_column, part_column) = (PartsFile::NUMBER_COLUMN, PartsFile::PART_COLUMN);
    let file = PartsFile { path, number_column, part_column, default: 3, rejects: &rejects };
    let parts = |plan: &GroupPlan| {
        let (parts, report): (DenseParts, PartsReport) = DenseParts::import(&file, &plan.universe, &())?;
        record.debug("parts", &parts);
        record.told("parts", &report);
        Ok(parts)
    };
    provider.admin.score_publish(&publication, parts, &()).map(drop)
}

/// A file of numbers and parts in place of a plan, a card and a model; and a model whose parts are sealed.
fn files_that_are_none(record: &Record, scored: &Scored) {
    let path = scored.lab.dir.path().join("wrong-parts.csv");
    record.error("no plan", GroupPlan::load(&path));
    record.error("no card", card::load(&path));
    let by = Description { by: "alice".into(), ..Description::default() };
    let files = ModelFiles { card: &path, parts: Some((&path, 0)), training_receipt: Some(&path) };
    record.error("no model", scored.bank.admin.add_model(&group(), &files, &by, &()));
}

/// A provider that grants nothing any more, and a purpose that no grant has.
async fn fail(record: &Record, scored: &Scored) {
    scored.revoke(1).await;
    let report = scored.bank().verify(inquiry(SUBSCRIBERS[0].phones[0])).await.unwrap();
    let error = report.score.as_ref().and_then(|score| score.error.as_deref());
    assert_eq!(error, Some("SCORE_UNAVAILABLE"));
    record.told("scores", &report);
    let mut outside = questions();
    outside.iter_mut().for_each(|question| question.purpose = "marketing".into());
    record.debug("scores", &scored.bank().score_batch(outside).await);
}

async fn end(record: &Record, scored: Scored, passed: &[Recording]) {
    look(record, "bank", &scored.bank_node).await;
    let Scored { lab, providers, bank, bank_node, .. } = scored;
    bank_node.stop().await.unwrap();
    let mut parties = vec![bank];
    for ((provider, node), recording) in providers.into_iter().zip(passed) {
        let name = provider.config.node.party.clone();
        look(record, &name, &node).await;
        node.stop().await.unwrap();
        record.passed(&name, recording);
        parties.push(provider);
    }
    let logs: Vec<_> = parties.iter().map(Party::log_dir).collect();
    read_logs(record, &logs);
    for (party, moment) in parties.iter().zip(["a bank with scores", "a provider with scores"]) {
        backups::run(record, &lab, party, moment);
    }
}
