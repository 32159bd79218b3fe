//! Records of a training survive their encoding, and what breaks a rule is refused.

use super::super::charter::tests::{charter, key};
use super::*;

fn request() -> TrainRequest {
    TrainRequest {
        session: SessionId::from_bytes([1; 16]),
        charter: charter(),
        provider: "carrier-a".parse().unwrap(),
        grant: GrantId::from_bytes([2; 16]),
        purpose: "risk-model".into(),
        data_set: "telecom-risk".parse().unwrap(),
        seed: [3; 32],
        software: [5; 64],
        configuration: [6; 64],
        requested_at_ms: 7,
    }
}

fn announcement(party: &str, schema: u8) -> TrainAnnouncement {
    let party = party.parse().unwrap();
    TrainAnnouncement { charter: charter().digest(), party, schema: [schema; 64], mask_key: [9; 32] }
}

pub(in crate::train) fn announcements() -> Vec<Signed<TrainAnnouncement>> {
    [("carrier-a", 7, 1), ("carrier-b", 7, 2), ("police", 0, 3)]
        .map(|(party, schema, seed)| Signed::sign(announcement(party, schema), &key(seed)))
        .to_vec()
}

pub(in crate::train) fn acceptance() -> TrainAcceptance {
    TrainAcceptance {
        request: Signed::sign(request(), &key(9)),
        announcement: Signed::sign(announcement("carrier-a", 7), &key(1)),
        bins: vec![33, 2],
        names: vec!["calls per day".into(), "active".into()],
        input: [4; 32],
        accepted_at_ms: 8,
    }
}

fn receipt() -> TrainReceipt {
    TrainReceipt {
        acceptance: Signed::sign(acceptance(), &key(1)),
        protocol: super::super::PROTOCOL.into(),
        software: [1; 64],
        configuration: [2; 64],
        attempts: 2,
        indicator: [3; 64],
        held_out: [9; 64],
        residuals: vec![[4; 64]; 2],
        steps: [5; 64],
        contributions: vec![[6; 64]; 2],
        card: [7; 64],
        trees: [8; 32],
        completed_at_ms: 9,
        witnessed_size: 0,
        witnessed_root: vec![],
    }
}

#[test]
fn a_receipt_survives_its_encoding_and_refuses_every_truncation() {
    let bytes = receipt().encode().into_bytes();
    assert_eq!(TrainReceipt::decode(&bytes), Ok(receipt()));
    assert!((0..bytes.len()).all(|end| TrainReceipt::decode(&bytes[..end]).is_err()));
    let root = TrainReceipt { witnessed_root: vec![0; 64], ..receipt() };
    assert!(TrainReceipt::decode(root.encode().as_bytes()).is_err(), "nobody witnesses yet");
}

#[test]
fn the_largest_receipt_fits_an_entry_of_the_log() {
    use super::super::charter::Unit;
    use super::super::parameters::{Hyperparameters, Numbers};
    use crate::limits::MAX_ENTRY_BYTES;
    let member = |i: u8| {
        let party = format!("{i:0>64}").parse().unwrap();
        crate::score::group::Identity { party, key: key(i).verifying_key() }
    };
    let units = vec![Unit { members: (1..=16).map(member).collect() }];
    let numbers = Numbers { blocks: MAX_TRAIN_BLOCKS, ..*charter().hyperparameters };
    let hyperparameters = Hyperparameters::new(numbers).unwrap();
    let model = "m".repeat(MAX_PURPOSE_BYTES);
    let charter = Charter { units, hyperparameters, model, ..charter() };
    let provider = charter.units[0].members[0].party.clone();
    let announced = TrainAnnouncement {
        charter: charter.digest(),
        party: provider.clone(),
        ..announcement("carrier-a", 7)
    };
    let names = vec!["x".repeat(MAX_TRAIN_NAMES_BYTES / MAX_TRAIN_FEATURES); MAX_TRAIN_FEATURES];
    let acceptance = TrainAcceptance {
        request: Signed::sign(TrainRequest { charter, provider, ..request() }, &key(9)),
        announcement: Signed::sign(announced, &key(1)),
        bins: vec![33; MAX_TRAIN_FEATURES],
        names,
        ..acceptance()
    };
    let hashes = vec![[4; 64]; MAX_TRAIN_BLOCKS.into()];
    let acceptance = Signed::sign(acceptance, &key(1));
    let receipt = TrainReceipt { acceptance, residuals: hashes.clone(), contributions: hashes, ..receipt() };
    let signed = Signed::sign(receipt, &key(1));
    assert!(signed.body().acceptance.as_bytes().len() <= MAX_DOCUMENT_BYTES);
    assert!(signed.as_bytes().len() + 1_024 <= MAX_ENTRY_BYTES, "{}", signed.as_bytes().len());
    assert!(signed.as_bytes().len() <= crate::limits::MAX_TRAIN_RECEIPT_BYTES);
    assert_eq!(Signed::<TrainReceipt>::from_bytes_unverified(signed.as_bytes().to_vec()), Ok(signed));
}

#[test]
fn a_receipt_has_digests_of_every_block() {
    for short in [
        TrainReceipt { residuals: vec![[4; 64]], ..receipt() },
        TrainReceipt { contributions: vec![], ..receipt() },
        TrainReceipt { residuals: vec![[4; 64]; MAX_TRAIN_BLOCKS as usize + 1], ..receipt() },
    ] {
        assert!(TrainReceipt::decode(short.encode().as_bytes()).is_err());
    }
}

#[test]
fn an_acceptance_has_features_within_limits_and_a_name_for_each_or_none() {
    let decode = |acceptance: TrainAcceptance| TrainAcceptance::decode(acceptance.encode().as_bytes());
    assert!(decode(acceptance()).is_ok());
    assert!(decode(TrainAcceptance { names: vec![], ..acceptance() }).is_ok());
    for wrong in [
        TrainAcceptance { bins: vec![], ..acceptance() },
        TrainAcceptance { bins: vec![33, 34], ..acceptance() },
        TrainAcceptance { bins: vec![0, 2], ..acceptance() },
        TrainAcceptance { names: vec!["one".into()], ..acceptance() },
        TrainAcceptance { names: vec!["a".into(), "line\nbreak".into()], ..acceptance() },
        TrainAcceptance { names: vec!["a".into(), "b".repeat(MAX_TRAIN_NAME_BYTES + 1)], ..acceptance() },
        TrainAcceptance { bins: vec![3; MAX_TRAIN_FEATURES + 1], names: vec![], ..acceptance() },
        TrainAcceptance { announcement: Signed::sign(announcement("carrier-b", 7), &key(1)), ..acceptance() },
    ] {
        assert!(decode(wrong).is_err());
    }
}

#[test]
fn a_request_names_one_of_its_charters_providers() {
    let other = TrainRequest { provider: "carrier-c".parse().unwrap(), ..request() };
    assert!(TrainRequest::decode(request().encode().as_bytes()).is_ok());
    assert!(TrainRequest::decode(other.encode().as_bytes()).is_err());
}

#[test]
fn announcements_are_of_all_providers_under_their_keys_and_of_one_schema_a_unit() {
    let check = |change: &dyn Fn(&mut Vec<Signed<TrainAnnouncement>>)| {
        let mut announcements = announcements();
        change(&mut announcements);
        charter().check_announcements(&announcements)
    };
    let party = |name: &str| name.parse::<PartyId>().unwrap();
    assert_eq!(check(&|_| ()), Ok(()));
    assert_eq!(check(&|all| drop(all.pop())), Err(AnnouncementError::Parties));
    assert_eq!(check(&|all| all.swap(0, 1)), Err(AnnouncementError::Parties));
    let replaced = |at: usize, body: TrainAnnouncement, seed| {
        check(&|all| all[at] = Signed::sign(body.clone(), &key(seed)))
    };
    let signature = |name| Err(AnnouncementError::Signature { party: party(name) });
    let schema = |name| Err(AnnouncementError::Schema { party: party(name) });
    assert_eq!(replaced(1, announcement("carrier-b", 7), 1), signature("carrier-b"));
    let other = TrainAnnouncement { charter: [0; 64], ..announcement("police", 0) };
    assert_eq!(replaced(2, other, 3), signature("police"));
    assert_eq!(replaced(1, announcement("carrier-b", 8), 2), schema("carrier-b"));
    assert_eq!(replaced(0, announcement("carrier-a", 0), 1), schema("carrier-a"));
    assert_eq!(replaced(2, announcement("police", 7), 3), schema("police"));
}

#[test]
fn the_hash_of_steps_depends_on_each_and_on_their_order() {
    let hash = |steps: &[(u8, u8)]| {
        let mut hash = StepHash::new(&[1; 64], &announcements());
        steps.iter().for_each(|(asked, returned)| hash.step(&[*asked; 64], &[*returned; 64]));
        hash.finish()
    };
    let all = [hash(&[]), hash(&[(1, 2)]), hash(&[(2, 1)]), hash(&[(1, 2), (3, 4)]), hash(&[(3, 4), (1, 2)])];
    for (i, one) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|other| other != one));
    }
}
