//! A model's life through the operator's commands, on a node's real files.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use windvane_protocols::audit::entry::Entry;
use windvane_protocols::transcript::Record as _;

use super::*;
use crate::clock::SystemClock;
use crate::config::{Config, SAMPLES};
use crate::dataset::Position;
use crate::evidence::EvidenceLog;
use crate::score::card::SAMPLE;
use crate::score::test_world::{FIRST, alter, described, fetch_into, plan};

struct Quiet;

impl Progress for Quiet {
    fn at(&self, _: Position) {}
}

/// A node whose log is held by somebody else, so that entries wait where a test can read them.
struct Node {
    dir: TempDir,
    admin: Admin,
    group: DataSet,
    _log: EvidenceLog,
}

impl Node {
    fn new(sample: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (_, text) = SAMPLES.into_iter().find(|(name, _)| *name == sample).unwrap();
        fs::write(dir.path().join("windvane.toml"), text).unwrap();
        let config = Config::load(&dir.path().join("windvane.toml")).unwrap();
        let admin = Admin::init(&config, Arc::new(SystemClock)).unwrap();
        let folder = fetch_into(&admin.layout);
        plan(FIRST, 2).store(&folder).unwrap();
        let log = admin.keys.open_log(&config).unwrap();
        Self { dir, admin, group: folder.group().clone(), _log: log }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn add(&self, number: u64, parts: Option<&str>) -> Result<AddedModel, NodeError> {
        let card = self.file("card.toml", &SAMPLE.replace("fraud-2026-11", &format!("fraud-{number}")));
        let parts = parts.map(|text| self.file("parts.csv", text));
        let receipt = self.file("receipt", "a receipt of a training");
        let files = ModelFiles {
            card: &card,
            parts: parts.as_deref().map(|path| (path, 3)),
            training_receipt: Some(&receipt),
        };
        self.admin.add_model(&self.group, &files, &described("alice"), &Quiet)
    }

    /// What waits for the log, in words; models by their actions, epochs by their states.
    fn told(&self) -> Vec<String> {
        let word = |(_, bytes): (i64, Vec<u8>)| match Entry::decode(&bytes).unwrap().event {
            Event::ScoreModel { action, by, .. } => format!("{action} by {by}"),
            Event::ScoreEpoch { epoch, state, .. } => format!("{epoch} {state}"),
            other => panic!("{other:?}"),
        };
        self.admin.store.outbox().unwrap().into_iter().map(word).collect()
    }
}

/// A hundred numbers with parts around one value.
fn csv(around: usize) -> String {
    let line = |i: usize| format!("1380013{i:04},{}\n", around + i % 5);
    "number,part\n".to_owned() + &(0..100).map(line).collect::<String>()
}

#[test]
fn a_provider_adds_approves_and_retires_and_the_log_is_told() {
    let node = Node::new("carrier.toml");
    assert_eq!(node.add(1, None).unwrap_err().code(), "MODEL_PARTS_MISSING");
    assert_eq!(node.told(), Vec::<String>::new());
    let added = node.add(1, Some(&(csv(40) + "13900130000,7\nabc,1\n"))).unwrap();
    let report = added.report.unwrap();
    assert_eq!((report.used, report.outside, report.rejected), (100, 1, 1));
    assert!(fs::read_to_string(added.rejects.unwrap()).unwrap().contains("OUTSIDE_UNIVERSE"));
    assert_eq!(added.status.record.training_receipt.as_deref().map(str::len), Some(128));
    assert_eq!(added.status.record.parts.unwrap().summary.defaults, 9_900);
    assert_eq!(
        node.admin.approve_model(&node.group, "fraud-1", "Alice").unwrap_err().code(),
        "MODEL_SAME_PERSON"
    );
    node.admin.approve_model(&node.group, "fraud-1", "bob").unwrap();
    let parts = |epoch| node.admin.approved_parts(&plan(epoch, 2), "fraud-1");
    assert_eq!(parts(FIRST).unwrap().rows(), 10_000);
    assert_eq!(parts(FIRST + 1).unwrap_err().code(), "SCORE_MODEL_DIFFERS");
    let drift = node.add(2, Some(&csv(200))).unwrap().status.drift.unwrap();
    assert!(drift.against == "fraud-1" && drift.largest() > 0.25, "{drift:?}");
    assert_eq!(
        node.admin.activate_score(&node.group, FIRST, "fraud-1", "bob").unwrap_err().code(),
        "SCORE_NOT_BANK"
    );
    node.admin.retire_score(&node.group, FIRST, "carol").unwrap();
    assert_eq!(
        node.told(),
        ["added by alice", "approved by bob", "added by alice", "retired by carol", "3 retired"]
    );
}

#[test]
fn the_bank_activates_rolls_back_and_falls_back_and_the_log_is_told() {
    let node = Node::new("bank.toml");
    let (admin, group) = (&node.admin, &node.group);
    for number in [1, 2] {
        node.add(number, None).unwrap();
        admin.approve_model(group, &format!("fraud-{number}"), "bob").unwrap();
    }
    admin.activate_score(group, FIRST, "fraud-1", "carol").unwrap();
    admin.activate_score(group, FIRST + 1, "fraud-2", "carol").unwrap();
    let shown = admin.model(group, "fraud-1").unwrap();
    assert_eq!((shown.active_epoch, shown.standby_epochs), (None, vec![FIRST]));
    assert!(admin.score_by_rules_only(group, "dave").unwrap().rules_only);
    let state = admin.roll_back_score(group, FIRST + 1, "dave").unwrap();
    assert_eq!(state.in_use().map(|choice| choice.epoch), Some(FIRST));
    let listed = admin.models(group).unwrap();
    assert_eq!(listed.iter().map(|status| status.active_epoch).collect::<Vec<_>>(), [Some(FIRST), None]);
    let told = node.told();
    assert_eq!(told[4..6], ["activated by carol", "3 active"]);
    assert_eq!(told[6..9], ["activated by carol", "4 active", "3 standby"]);
    assert_eq!(told[9..], ["fallback by dave", "rolled back by dave", "3 active", "4 standby"]);
}

#[test]
fn earlier_epochs_stay_usable_and_can_be_retired_after_the_groups_plan_changed() {
    let node = Node::new("bank.toml");
    let (admin, group) = (&node.admin, &node.group);
    for number in [1, 2] {
        node.add(number, None).unwrap();
        admin.approve_model(group, &format!("fraud-{number}"), "bob").unwrap();
    }
    admin.activate_score(group, FIRST, "fraud-1", "carol").unwrap();
    // The group is joined again, with another key of a member.
    plan(FIRST + 1, 9).store(&ScoreFolder::new(&admin.layout).group(group)).unwrap();
    admin.activate_score(group, FIRST + 1, "fraud-2", "carol").unwrap();
    let state = admin.roll_back_score(group, FIRST + 1, "dave").unwrap();
    assert_eq!(state.in_use().map(|choice| choice.epoch), Some(FIRST));
    admin.retire_score(group, FIRST + 1, "dave").unwrap();
    assert_eq!(node.told().last().unwrap(), "4 retired");
}

#[test]
fn an_interrupted_command_is_repeated_and_its_entry_is_queued_then() {
    let node = Node::new("bank.toml");
    node.add(1, None).unwrap();
    node.add(1, None).unwrap();
    node.admin.approve_model(&node.group, "fraud-1", "bob").unwrap();
    node.admin.approve_model(&node.group, "fraud-1", "bob").unwrap();
    assert_eq!(node.told(), ["added by alice", "added by alice", "approved by bob", "approved by bob"]);
    assert_eq!(node.admin.models(&node.group).unwrap().len(), 1);
    let none = node.admin.models(&"other".parse().unwrap());
    assert_eq!(none.unwrap_err().code(), "SCORE_GROUP_UNKNOWN");
}

#[test]
fn another_versions_damage_does_not_keep_one_from_being_approved_or_added() {
    let node = Node::new("carrier.toml");
    node.add(1, Some(&csv(40))).unwrap();
    node.add(2, Some(&csv(40))).unwrap();
    let folder = ScoreFolder::new(&node.admin.layout).group(&node.group);
    alter(&folder.join("models/fraud-1/card"), 60);
    node.admin.approve_model(&node.group, "fraud-2", "bob").unwrap();
    assert_eq!(node.add(3, Some(&csv(40))).unwrap().status.drift.unwrap().against, "fraud-2");
    let listed = node.admin.models(&node.group).unwrap();
    assert_eq!(listed.iter().map(|it| it.record.name.as_str()).collect::<Vec<_>>(), ["fraud-2", "fraud-3"]);
    assert_eq!(node.admin.model(&node.group, "fraud-1").unwrap_err().code(), "MODEL_CHANGED");
}
