//! Epochs grow, open whole or not at all, and end for good.

use windvane_protocols::identity::Family;

use super::*;
use crate::record::KeyId;
use crate::store::MemoryStore;
use crate::testing;

const GROUPS: [KeyGroup; 2] = [KeyGroup::Attribute, KeyGroup::Match];

fn data_set(name: &str) -> DataSet {
    name.parse().unwrap()
}

fn codes(groups: &[KeyGroup]) -> Vec<u8> {
    groups.iter().map(|group| group.code()).collect()
}

#[test]
fn an_epoch_is_loaded_as_it_was_created() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    let groups = [KeyGroup::Single(Family::Device), KeyGroup::Match, KeyGroup::Attribute, KeyGroup::Match];
    let created = create_epoch(&store, &name, 3, &groups, 1, &mut rng).unwrap();
    let loaded = load_epoch(&store, &name, 3).unwrap();
    assert!(loaded.keys().eq(&[KeyGroup::Attribute, KeyGroup::Match, KeyGroup::Single(Family::Device)]));
    assert!(created.keys().eq(loaded.keys()));
    for (group, key) in &loaded {
        assert_eq!(key.to_bytes(), created[group].to_bytes());
        assert_eq!(key.public(), created[group].public());
    }
    let publics: BTreeSet<_> = created.values().map(|key| key.public().as_bytes()).collect();
    assert_eq!(publics.len(), 3);
}

#[test]
fn an_epoch_only_grows_and_a_destroyed_one_is_never_used_again() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    create_epoch(&store, &name, 5, &GROUPS, 1, &mut rng).unwrap();
    destroy_epoch(&store, &name, 5).unwrap();
    for epoch in [0, 4, 5] {
        for groups in [&GROUPS[..], &[KeyGroup::Single(Family::Id)]] {
            let error = create_epoch(&store, &name, epoch, groups, 2, &mut rng).unwrap_err();
            assert_eq!(error.code(), "EPOCH_REUSED");
        }
    }
    create_epoch(&store, &name, 9, &GROUPS, 2, &mut rng).unwrap();
    create_epoch(&store, &data_set("tags"), 1, &GROUPS, 2, &mut rng).unwrap();
    assert_eq!(load_epoch(&store, &name, 5).unwrap_err().code(), "KEY_DESTROYED");
    assert_eq!(load_epoch(&store, &name, 6).unwrap_err().code(), "KEY_MISSING");
    assert_eq!(destroy_epoch(&store, &name, 6).unwrap_err().code(), "KEY_MISSING");
}

#[test]
fn the_next_epoch_is_one_more_than_any_ever_seen() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    let next = || next_epoch(&store, &name).unwrap();
    assert_eq!(create_epoch(&store, &name, 0, &GROUPS, 1, &mut rng).unwrap_err().code(), "EPOCH_REUSED");
    assert_eq!(next(), 1);
    create_epoch(&store, &name, 1, &GROUPS, 1, &mut rng).unwrap();
    create_epoch(&store, &name, 7, &[KeyGroup::Match], 1, &mut rng).unwrap();
    create_epoch(&store, &data_set("tags"), 20, &GROUPS, 1, &mut rng).unwrap();
    assert_eq!(next(), 8);
    destroy_epoch(&store, &name, 7).unwrap();
    assert_eq!(next(), 8);
    create_epoch(&store, &name, u64::MAX, &GROUPS, 1, &mut rng).unwrap();
    let error = create_epoch(&store, &name, next(), &GROUPS, 1, &mut rng).unwrap_err();
    assert_eq!(error.code(), "EPOCH_REUSED");
}

#[test]
fn epochs_are_listed_by_number_with_their_state_and_public_keys() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    let first = create_epoch(&store, &name, 1, &GROUPS, 10, &mut rng).unwrap();
    create_epoch(&store, &name, 2, &GROUPS, 20, &mut rng).unwrap();
    create_epoch(&store, &data_set("tags"), 7, &GROUPS, 30, &mut rng).unwrap();
    destroy_epoch(&store, &name, 1).unwrap();
    let listed = epochs(&store, &name).unwrap();
    let summary: Vec<_> = listed.iter().map(|s| (s.epoch, s.state, s.created_at_ms)).collect();
    assert_eq!(summary, [(1, State::Destroyed, 10), (2, State::Pending, 20)]);
    let public = first[&KeyGroup::Match].public().as_bytes();
    assert!(listed[0].keys.iter().any(|r| r.public == public));
}

#[test]
fn an_epoch_that_lacks_a_key_does_not_open_and_is_not_completed() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    let purpose = purpose(&name, 1, KeyGroup::Match);
    let (record, key) = make(purpose, 1, &mut rng);
    insert(&store, &record.pending(), &key, &codes(&GROUPS)).unwrap();
    assert_eq!(load_epoch(&store, &name, 1).unwrap_err().code(), "KEY_MISSING");
    for groups in [&GROUPS[..], &[KeyGroup::Attribute]] {
        let error = create_epoch(&store, &name, 1, groups, 2, &mut rng).unwrap_err();
        assert_eq!(error.code(), "EPOCH_REUSED");
    }
    assert_eq!(epochs(&store, &name).unwrap()[0].state, State::Destroyed);
    assert_eq!(next_epoch(&store, &name).unwrap(), 2);
    create_epoch(&store, &name, 2, &GROUPS, 3, &mut rng).unwrap();
}

#[test]
fn an_epoch_with_a_key_that_it_was_not_made_with_does_not_open() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    create_epoch(&store, &name, 1, &[KeyGroup::Match], 1, &mut rng).unwrap();
    load_epoch(&store, &name, 1).unwrap();
    let other = purpose(&name, 1, KeyGroup::Attribute);
    let (record, key) = make(other, 1, &mut rng);
    insert(&store, &record.pending(), &key, &codes(&GROUPS)).unwrap();
    assert_eq!(load_epoch(&store, &name, 1).unwrap_err().code(), "KEY_MISSING");
}

#[test]
fn an_epoch_without_groups_or_for_a_group_of_no_family_is_refused() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    let mut refused = |groups: &[KeyGroup]| {
        let code = create_epoch(&store, &name, 1, groups, 1, &mut rng).unwrap_err().code();
        assert_eq!(store.records().unwrap(), []);
        code
    };
    assert_eq!(refused(&[]), "EPOCH_WITHOUT_GROUPS");
    assert_eq!(refused(&[KeyGroup::Single(Family::Phone)]), "KEY_FORM");
}

#[test]
fn scalars_that_are_zero_unreduced_or_followed_by_more_are_refused() {
    let key = PrivateKey::random(&mut testing::rng());
    let public = key.public().as_bytes().to_vec();
    let longer = [key.to_bytes().expose().as_slice(), &[1]].concat();
    for bytes in [vec![0; 32], vec![0xff; 32], vec![1; 31], longer] {
        let store = MemoryStore::new();
        let record = KeyRecord::with_public(Purpose::SubjectTag, public.clone(), 1);
        store.insert(&record, &Secret::new(bytes)).unwrap();
        assert_eq!(load_subject_tag(&store).unwrap_err().code(), "KEY_FORM");
    }
}

#[test]
fn a_scalar_under_another_public_key_is_refused() {
    let (store, mut rng) = (MemoryStore::new(), testing::rng());
    let [key, other] = [(); 2].map(|()| PrivateKey::random(&mut rng));
    let record = KeyRecord::with_public(Purpose::SubjectTag, other.public().as_bytes().to_vec(), 1);
    store.insert(&record, &Secret::new(key.to_bytes().expose().to_vec())).unwrap();
    assert_eq!(load_subject_tag(&store).unwrap_err().code(), "KEY_FORM");
}

#[test]
fn the_subject_tag_key_is_loaded_as_it_was_generated() {
    let store = MemoryStore::new();
    let key = generate_subject_tag(&store, 1, &mut testing::rng()).unwrap();
    assert_eq!(load_subject_tag(&store).unwrap().to_bytes(), key.to_bytes());
    let id = KeyId::of_public(&Purpose::SubjectTag, key.public().as_bytes());
    assert_eq!(store.records().unwrap()[0].id, id);
    assert_eq!(format!("{key:?}"), format!("PrivateKey({:?})", key.public().id()));
}

#[test]
fn an_epochs_keys_go_from_pending_over_active_and_retiring_to_destroyed_and_never_back() {
    let (store, mut rng, name) = (MemoryStore::new(), testing::rng(), data_set("subscribers"));
    let created = create_epoch(&store, &name, 1, &GROUPS, 1, &mut rng).unwrap();
    let state = || epochs(&store, &name).unwrap()[0].state;
    let opens = || {
        let loaded = load_epoch(&store, &name, 1).unwrap();
        assert_eq!(loaded[&KeyGroup::Match].public(), created[&KeyGroup::Match].public());
    };
    assert_eq!(state(), State::Pending);
    opens();
    for (advance, to) in [
        (activate_epoch as fn(&MemoryStore, &DataSet, u64) -> _, State::Active),
        (retire_epoch, State::Retiring),
    ] {
        for _ in 0..2 {
            advance(&store, &name, 1).unwrap();
            assert_eq!(state(), to);
            opens();
        }
    }
    assert_eq!(activate_epoch(&store, &name, 1).unwrap_err().code(), "KEY_STATE");
    // A group that comes late would belong to an epoch that is going.
    let (late, key) = make(purpose(&name, 1, KeyGroup::Single(Family::Id)), 1, &mut rng);
    assert_eq!(insert(&store, &late.pending(), &key, &[]).unwrap_err().code(), "EPOCH_REUSED");
    destroy_epoch(&store, &name, 1).unwrap();
    assert_eq!(state(), State::Destroyed);
    assert_eq!(retire_epoch(&store, &name, 1).unwrap_err().code(), "KEY_DESTROYED");
    assert_eq!(load_epoch(&store, &name, 1).unwrap_err().code(), "KEY_DESTROYED");
}
