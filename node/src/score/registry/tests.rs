//! The registry's rules.

use std::fs;

use super::*;
use crate::score::test_world::{NOW_MS, World, alter, card, described, parts, universe};

impl World {
    fn add(&self, number: u64, by: &str) -> Result<ModelVersion, RegistryError> {
        self.registry().add(&card(number), Some(&parts(3)), &described(by), &self.key, NOW_MS + number)
    }

    fn model_file(&self, name: &str) -> PathBuf {
        self.folder.join("models/fraud-1").join(name)
    }
}

#[test]
fn a_version_is_kept_with_its_parts_sealed_and_its_description() {
    let world = World::of("carrier-a");
    let mut described = described(" alice ");
    described.metrics = Metrics { auc: Some(0.91), ks: Some(0.62), ..Metrics::default() };
    described.training_receipt = Some([7; 64]);
    let added = world.registry().add(&card(1), Some(&parts(3)), &described, &world.key, NOW_MS).unwrap();
    let version = world.registry().open("fraud-1").unwrap();
    assert_eq!((version.record(), version.card()), (added.record(), &card(1)));
    assert_eq!((version.record().added_by.as_str(), version.record().added_at_ms), ("alice", NOW_MS));
    assert_eq!(version.record().metrics, described.metrics);
    assert_eq!(version.parts(&world.key, &universe()).unwrap(), parts(3));
    let other = Universe::new("bank".parse().unwrap(), 1, vec!["1380014".parse().unwrap()]).unwrap();
    assert_eq!(version.parts(&world.key, &other).unwrap_err().code(), "PARTS_UNIVERSE");
    assert_eq!(version.record().parts.as_ref().unwrap().summary.defaults, 10_000);
    let sealed = fs::read(world.model_file("parts")).unwrap();
    assert!(!sealed.windows(16).any(|bytes| bytes == [3; 16]), "parts stand sealed on the disk");
}

#[test]
fn a_version_never_changes_and_the_same_again_is_no_change() {
    let world = World::of("carrier-a");
    let first = world.add(1, "alice").unwrap();
    let again = world.registry().add(&card(1), Some(&parts(3)), &described("erin"), &world.key, 1).unwrap();
    assert_eq!(again.record(), first.record(), "who added it first stays who added it");
    let other_card = super::super::card::parse(
        &super::super::card::SAMPLE.replace("fraud-2026-11", "fraud-1").replace("0.11", "0.12"),
    );
    let mut other_description = described("alice");
    other_description.features.push("calls abroad".to_owned());
    let registry = world.registry();
    for (card, parts, description) in [
        (other_card.unwrap(), Some(parts(3)), described("alice")),
        (card(1), Some(parts(4)), described("alice")),
        (card(1), None, described("alice")),
        (card(1), Some(parts(3)), other_description),
    ] {
        let refused = registry.add(&card, parts.as_ref(), &description, &world.key, NOW_MS);
        assert_eq!(refused.unwrap_err().code(), "MODEL_EXISTS");
    }
    assert_eq!(registry.open("fraud-1").unwrap().record(), first.record());
}

#[test]
fn who_added_a_version_cannot_approve_it_under_any_spelling() {
    let world = World::of("carrier-a");
    world.add(1, "alice").unwrap();
    for by in ["alice", "Alice", " ALICE\t"] {
        assert_eq!(world.registry().approve("fraud-1", by, NOW_MS).unwrap_err().code(), "MODEL_SAME_PERSON");
    }
    for by in ["", "bob smith", "鲍勃", "Monitor", &"b".repeat(65)] {
        assert_eq!(world.registry().approve("fraud-1", by, NOW_MS).unwrap_err().code(), "MODEL_INVALID");
    }
    let error = world.registry().approved("fraud-1").unwrap_err();
    assert_eq!(error.code(), "MODEL_NOT_APPROVED");
    assert!(error.to_string().contains("somebody else than alice"), "{error}");
    world.registry().approve("fraud-1", " bob", NOW_MS + 5).unwrap();
    let version = world.registry().approved("fraud-1").unwrap();
    let approval = version.record().approval.clone().unwrap();
    assert_eq!((approval.by.as_str(), approval.at_ms), ("bob", NOW_MS + 5));
    assert_eq!(approval.hash, version.record().hash);
    world.registry().approve("fraud-1", "bob", NOW_MS + 9).unwrap();
    assert_eq!(world.registry().open("fraud-1").unwrap().record().approval, Some(approval));
    assert_eq!(world.registry().approve("fraud-1", "carol", NOW_MS).unwrap_err().code(), "MODEL_APPROVED");
}

#[test]
fn an_altered_file_is_found_at_approval_and_at_use() {
    for (file, at) in [("card", 70), ("parts", 500), ("parts", 9_000)] {
        let world = World::of("carrier-a");
        world.add(1, "alice").unwrap();
        alter(&world.model_file(file), at);
        let refused = world.registry().approve("fraud-1", "bob", NOW_MS).unwrap_err();
        assert_eq!(refused.code(), "MODEL_CHANGED", "{file}: {refused}");
        alter(&world.model_file(file), at);
        world.registry().approve("fraud-1", "bob", NOW_MS).unwrap();
        alter(&world.model_file(file), at);
        assert_eq!(world.registry().approved("fraud-1").unwrap_err().code(), "MODEL_CHANGED");
    }
}

#[test]
fn a_file_that_is_missing_or_was_put_there_is_found() {
    let world = World::of("carrier-a");
    world.add(1, "alice").unwrap();
    let sealed = fs::read(world.model_file("parts")).unwrap();
    fs::remove_file(world.model_file("parts")).unwrap();
    assert_eq!(world.registry().open("fraud-1").unwrap_err().code(), "MODEL_CHANGED");
    write_private(&world.model_file("parts"), &sealed).unwrap();
    fs::remove_file(world.model_file("card")).unwrap();
    assert_eq!(world.registry().open("fraud-1").unwrap_err().code(), "MODEL_CHANGED");
    let bank = World::bank();
    bank.registry().add(&card(1), None, &described("alice"), &bank.key, NOW_MS).unwrap();
    write_private(&bank.model_file("parts"), &sealed).unwrap();
    assert_eq!(bank.registry().open("fraud-1").unwrap_err().code(), "MODEL_CHANGED");
}

#[test]
fn an_altered_description_is_found_and_an_unknown_field_is_damage() {
    let world = World::of("carrier-a");
    world.add(1, "alice").unwrap();
    world.registry().approve("fraud-1", "bob", NOW_MS).unwrap();
    let record = fs::read_to_string(world.model_file("record.json")).unwrap();
    for (from, to, code) in [
        ("\"alice\"", "\"mallory\"", "MODEL_CHANGED"),
        ("calls by night", "calls by day", "MODEL_CHANGED"),
        ("\"bob\"", "\"Alice\"", "MODEL_CHANGED"),
        ("\"default\": 3", "\"default\": 4", "MODEL_CHANGED"),
        ("\"features\"", "\"colour\": 1, \"features\"", "MODEL_DAMAGED"),
    ] {
        assert!(record.contains(from), "{from}");
        write_private(&world.model_file("record.json"), record.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!(world.registry().approved("fraud-1").unwrap_err().code(), code, "{from}");
    }
}

#[test]
fn descriptions_outside_of_their_rules_are_refused() {
    let world = World::bank();
    let metrics = |metrics| Description { metrics, ..described("alice") };
    let features = |features: Vec<String>| Description { features, ..described("alice") };
    for wrong in [
        metrics(Metrics { auc: Some(1.01), ..Metrics::default() }),
        metrics(Metrics { ks: Some(-0.1), ..Metrics::default() }),
        metrics(Metrics { calibration_error: Some(f64::NAN), ..Metrics::default() }),
        metrics(Metrics { information_value: Some(f64::INFINITY), ..Metrics::default() }),
        features(vec![String::new()]),
        features(vec!["a\nb".to_owned()]),
        features(vec!["a".to_owned(); 4_097]),
        described("al ice"),
    ] {
        let refused = world.registry().add(&card(1), None, &wrong, &world.key, NOW_MS);
        assert_eq!(refused.unwrap_err().code(), "MODEL_INVALID");
    }
    assert_eq!(world.registry().names().unwrap(), Vec::<String>::new());
    assert_eq!(world.registry().open("../fraud").unwrap_err().code(), "MODEL_NAME");
    assert_eq!(world.registry().open("fraud-1").unwrap_err().code(), "MODEL_UNKNOWN");
}

#[test]
fn a_version_that_was_half_written_is_not_there_and_does_not_stand_in_the_way() {
    let world = World::of("carrier-a");
    create_directory(&world.folder.join("models/.adding")).unwrap();
    fs::write(world.folder.join("models/.adding/card"), b"half").unwrap();
    assert_eq!(world.registry().names().unwrap(), Vec::<String>::new());
    world.add(1, "alice").unwrap();
    world.add(2, "alice").unwrap();
    let names: Vec<_> = world.registry().list().unwrap().iter().map(|it| it.name().to_owned()).collect();
    assert_eq!(names, ["fraud-1", "fraud-2"]);
}

#[test]
fn drift_is_measured_against_the_active_the_last_approved_or_the_last_version() {
    let world = World::of("carrier-a");
    let registry = world.registry();
    let add = |number, default| {
        registry
            .add(&card(number), Some(&parts(default)), &described("alice"), &world.key, NOW_MS + number)
            .unwrap();
    };
    add(1, 3);
    assert_eq!(registry.drift("fraud-1", None).unwrap(), None);
    add(2, 4);
    let against = |name: &str, active| registry.drift(name, active).unwrap().unwrap();
    assert_eq!(against("fraud-2", None).against, "fraud-1");
    assert_eq!(against("fraud-2", None).with_default, Some(0.0), "3 and 4 are in one range");
    assert_eq!(against("fraud-2", None).without_default, None, "nothing but defaults");
    add(3, 200);
    assert_eq!(against("fraud-3", None).against, "fraud-2");
    assert!(against("fraud-3", None).largest() > 0.25);
    registry.approve("fraud-1", "bob", NOW_MS).unwrap();
    assert_eq!(against("fraud-3", None).against, "fraud-1");
    assert_eq!(against("fraud-3", Some("fraud-2")).against, "fraud-2");
    assert_eq!(against("fraud-1", Some("fraud-3")).against, "fraud-3");
}

#[test]
fn a_version_that_does_not_hold_is_no_baseline_and_does_not_hide_the_others() {
    let world = World::of("carrier-a");
    for number in [1, 2, 3] {
        world.add(number, "alice").unwrap();
    }
    let registry = world.registry();
    let against = |active| registry.drift("fraud-3", active).unwrap().map(|drift| drift.against);
    let altered = world.folder.join("models/fraud-2/card");
    alter(&altered, 60);
    for active in [None, Some("fraud-2")] {
        assert_eq!(against(active).as_deref(), Some("fraud-1"), "{active:?}");
    }
    assert_eq!(registry.drift("fraud-2", None).unwrap_err().code(), "MODEL_CHANGED");
    let names: Vec<_> = registry.list().unwrap().iter().map(|it| it.name().to_owned()).collect();
    assert_eq!(names, ["fraud-1", "fraud-3"]);
}
