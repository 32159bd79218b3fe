//! Group files, plans that are kept, and terms that differ.

use ed25519_dalek::SigningKey;
use windvane_protocols::score::calibration::{Band, Bands, Calibration, Knot};

use super::*;
use crate::identity::Layout;
use crate::score::folder::ScoreFolder;

const NAMES: [&str; 4] = ["bank", "carrier-a", "carrier-b", "police"];

fn key(name: &str) -> SigningKey {
    let seed = NAMES.iter().position(|other| *other == name).unwrap() as u8 + 1;
    SigningKey::from_bytes(&[seed; 32])
}

fn pinned(name: &str) -> Pinned {
    let fingerprint = Fingerprint::of(&key(name).verifying_key());
    Pinned { party: name.parse().unwrap(), fingerprint }
}

fn identity(name: &str) -> Identity {
    Identity { party: name.parse().unwrap(), key: key(name).verifying_key() }
}

fn card(name: &str) -> ModelCard {
    let calibration = Calibration::new(vec![Knot { sum: 0, probability: 10 }]).unwrap();
    let bands = Bands::new(vec![Band { name: "all".to_owned(), from: 0 }]).unwrap();
    ModelCard::new(name.to_owned(), calibration, bands, vec![1_000_000]).unwrap()
}

fn universe(publisher: &str, segment: &str) -> SignedUniverse {
    let universe = Universe::new(publisher.parse().unwrap(), 1, vec![segment.parse().unwrap()]).unwrap();
    SignedUniverse::sign(universe, &key(publisher))
}

fn plan() -> GroupPlan {
    let members = Members {
        group: "joint-risk".parse().unwrap(),
        requester: pinned("bank"),
        providers: NAMES[1..].iter().map(|name| pinned(name)).collect(),
        sharing: Sharing::Threshold(2),
    };
    GroupPlan::new(members, universe("police", "1380013"), card("m")).unwrap()
}

fn terms(plan: &GroupPlan) -> GroupTerms {
    plan.terms(identity("bank"), NAMES[1..].iter().map(|name| identity(name)).collect(), 4)
}

fn file(text: &str) -> Result<Members, PlanError> {
    GroupFile::parse(Path::new("group.toml"), text)?.members()
}

#[test]
fn the_shipped_sample_holds_and_all_its_providers_must_answer() {
    let members = file(SAMPLE).unwrap();
    assert_eq!(members.sharing, Sharing::Threshold(2));
    assert_eq!(members.providers[1].party.as_str(), "carrier-b");
}

#[test]
fn what_breaks_a_rule_is_named() {
    let (zeros, ones) = ("0".repeat(64), "1".repeat(64));
    for (from, to, expected) in [
        ("group = \"joint-risk\"", "group = \"Joint\"", "group: "),
        ("group = \"joint-risk\"", "group = \"ledger\"", "group: "),
        ("# threshold = 2", "threshold = 1", "threshold: "),
        ("# threshold = 2", "threshold = 3", "threshold: "),
        ("# single_provider = true", "single_provider = true", "single_provider: "),
        ("# single_provider = true", "single = true", "single"),
        ("party = \"carrier-b\"", "party = \"carrier-a\"", "carrier-a is named twice"),
        ("party = \"carrier-b\"", "party = \"bank\"", "bank is named twice"),
        (ones.as_str(), zeros.as_str(), "carrier-a has the fingerprint of bank"),
        (ones.as_str(), "11", "provider: a fingerprint"),
    ] {
        assert!(SAMPLE.contains(from), "{from}");
        let error = file(&SAMPLE.replacen(from, to, 1)).err().unwrap();
        assert_eq!(error.code(), "SCORE_GROUP_INVALID");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_group_of_one_provider_says_so() {
    let one = SAMPLE.rsplit_once("[[provider]]").unwrap().0;
    assert!(file(one).is_err());
    let declared = one.replacen("# single_provider", "single_provider", 1);
    assert_eq!(file(&declared).unwrap().sharing, Sharing::SingleProvider);
}

#[test]
fn a_plan_is_kept_with_its_universe_for_the_group_and_for_an_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let folder = ScoreFolder::new(&Layout::new(dir.path().to_owned())).group(&plan().group);
    assert_eq!(GroupPlan::open(&folder).unwrap_err().code(), "SCORE_GROUP_UNKNOWN");
    assert_eq!(GroupPlan::kept_digest(&folder).unwrap(), None);
    plan().store(&folder).unwrap();
    plan().store_for(&folder, 7).unwrap();
    assert_eq!(GroupPlan::open(&folder).unwrap(), plan());
    assert_eq!(GroupPlan::open_for(&folder, 7).unwrap(), plan());
    let error = GroupPlan::open_for(&folder, 8).unwrap_err();
    assert_eq!(error.code(), "SCORE_EPOCH_UNKNOWN");
    assert!(error.to_string().contains("joint-risk has no epoch 8"), "{error}");
    let elsewhere = ScoreFolder::new(&Layout::new(dir.path().join("elsewhere"))).group(&plan().group);
    assert_eq!(GroupPlan::open_for(&elsewhere, 8).unwrap_err().code(), "SCORE_GROUP_UNKNOWN");
    assert_eq!(GroupPlan::kept_digest(&folder).unwrap(), Some(plan().digest()));
    let document = universe("police", "1380014").to_pem().into_bytes();
    let file = PlanFile { kept: plan().kept(), document };
    write_private(&folder.join(PLAN), file.encode().as_bytes()).unwrap();
    assert_eq!(GroupPlan::open(&folder).unwrap_err().code(), "SCORE_FILE_DAMAGED");
}

#[test]
fn terms_of_another_threshold_universe_model_or_key_are_named() {
    type Change = fn(&mut GroupTerms);
    let changes: [(Change, &str); 7] = [
        (|terms| terms.group = "other".parse().unwrap(), "the name"),
        (|terms| terms.requester.key = key("police").verifying_key(), "the bank's name or key"),
        (|terms| terms.providers[2].key = key("bank").verifying_key(), "the name or key of a provider"),
        (|terms| drop(terms.providers.pop()), "the name or key of a provider"),
        (|terms| terms.sharing = Sharing::Threshold(3), "the threshold"),
        (|terms| terms.universe = [0; 64], "the universe"),
        (|terms| terms.model = [0; 64], "the model"),
    ];
    let plan = plan();
    plan.matches(&terms(&plan)).unwrap();
    for (change, expected) in changes {
        let mut changed = terms(&plan);
        change(&mut changed);
        assert_eq!(plan.matches(&changed), Err(expected));
    }
}

#[test]
fn a_universe_of_a_party_outside_of_the_group_is_refused() {
    let members = Members {
        group: "joint-risk".parse().unwrap(),
        requester: pinned("bank"),
        providers: ["carrier-a", "carrier-b"].map(pinned).to_vec(),
        sharing: Sharing::Threshold(2),
    };
    let error = GroupPlan::new(members, universe("police", "1380013"), card("m")).unwrap_err();
    assert_eq!(error.code(), "SCORE_FINGERPRINT");
}
