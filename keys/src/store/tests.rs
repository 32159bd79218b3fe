//! One suite for both stores, and what only files can get wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use windvane_protocols::identity::Family;

use super::*;
use crate::passphrase::Passphrase;
use crate::testing;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

fn file_store() -> (TempDir, FileStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::create(&dir.path().join("keys"), &passphrase("correct horse")).unwrap();
    (dir, store)
}

fn oprf(epoch: u64, group: KeyGroup) -> Purpose {
    Purpose::Oprf { data_set: "subscribers".parse().unwrap(), epoch, group }
}

fn secret(byte: u8) -> Secret<Vec<u8>> {
    Secret::new(vec![byte; 32])
}

fn on_both(suite: impl Fn(&dyn KeyStore)) {
    suite(&MemoryStore::new());
    let (_dir, store) = file_store();
    suite(&store);
}

#[test]
fn records_and_secrets_come_back_as_they_were_given() {
    on_both(|store| {
        let log = KeyRecord::with_public(Purpose::Log, vec![1; 32], 20);
        let storage = KeyRecord::symmetric(Purpose::Storage, 10, &mut testing::rng());
        store.insert(&log, &secret(1)).unwrap();
        store.insert(&storage, &secret(2)).unwrap();
        assert_eq!(store.records().unwrap(), [storage.clone(), log.clone()]);
        assert_eq!(store.find(&Purpose::Log).unwrap(), std::slice::from_ref(&log));
        assert_eq!(store.secret(&log.id).unwrap(), secret(1));
        assert_eq!(store.active(&Purpose::Storage).unwrap(), (storage, secret(2)));
        assert_eq!(store.find(&Purpose::Tls).unwrap(), []);
    });
}

#[test]
fn a_destroyed_key_keeps_its_record_and_loses_its_secret() {
    on_both(|store| {
        let record = KeyRecord::with_public(Purpose::Log, vec![1; 32], 20);
        store.insert(&record, &secret(1)).unwrap();
        store.destroy(&record.id).unwrap();
        store.destroy(&record.id).unwrap();
        assert_eq!(store.secret(&record.id).unwrap_err().code(), "KEY_DESTROYED");
        assert_eq!(store.active(&Purpose::Log).unwrap_err().code(), "KEY_DESTROYED");
        assert_eq!(store.records().unwrap(), [KeyRecord { state: State::Destroyed, ..record.clone() }]);
        assert_eq!(store.insert(&record, &secret(1)).unwrap_err().code(), "KEY_DUPLICATE");
    });
}

#[test]
fn a_keys_state_goes_on_and_never_back_and_one_of_a_purpose_is_active() {
    on_both(|store| {
        let old = KeyRecord::with_public(Purpose::Tls, vec![1; 32], 1);
        let new = KeyRecord::with_public(Purpose::Tls, vec![2; 32], 2).pending();
        store.insert(&old, &secret(1)).unwrap();
        store.insert(&new, &secret(2)).unwrap();
        let third = KeyRecord::with_public(Purpose::Tls, vec![3; 32], 3).pending();
        assert_eq!(store.insert(&third, &secret(3)).unwrap_err().code(), "KEY_ALREADY_ACTIVE");
        assert_eq!(store.secret(&new.id).unwrap(), secret(2));
        assert_eq!(store.advance(&new.id, State::Active).unwrap_err().code(), "KEY_ALREADY_ACTIVE");
        store.advance(&old.id, State::Retiring).unwrap();
        assert_eq!(store.active(&Purpose::Tls).unwrap_err().code(), "KEY_NOT_ACTIVE");
        store.advance(&new.id, State::Active).unwrap();
        store.advance(&new.id, State::Active).unwrap();
        let active = KeyRecord { state: State::Active, ..new.clone() };
        assert_eq!(store.active(&Purpose::Tls).unwrap(), (active, secret(2)));
        assert_eq!(store.secret(&old.id).unwrap(), secret(1));
        assert_eq!(store.advance(&new.id, State::Pending).unwrap_err().code(), "KEY_STATE");
        store.advance(&old.id, State::Destroyed).unwrap();
        assert_eq!(store.advance(&old.id, State::Active).unwrap_err().code(), "KEY_DESTROYED");
        assert_eq!(store.secret(&old.id).unwrap_err().code(), "KEY_DESTROYED");
        let unknown = KeyId::from_bytes([9; 16]);
        assert_eq!(store.advance(&unknown, State::Active).unwrap_err().code(), "KEY_NOT_FOUND");
    });
}

#[test]
fn unknown_keys_are_not_found() {
    on_both(|store| {
        let id = KeyId::from_bytes([9; 16]);
        assert_eq!(store.secret(&id).unwrap_err().code(), "KEY_NOT_FOUND");
        assert_eq!(store.destroy(&id).unwrap_err().code(), "KEY_NOT_FOUND");
        assert_eq!(store.active(&Purpose::Tls).unwrap_err().code(), "KEY_MISSING");
    });
}

#[test]
fn a_purpose_has_one_active_key_and_epochs_only_grow() {
    on_both(|store| {
        let insert = |purpose: Purpose, byte| {
            store.insert(&KeyRecord::with_public(purpose, vec![byte; 32], 1), &secret(byte))
        };
        insert(Purpose::Log, 1).unwrap();
        assert_eq!(insert(Purpose::Log, 2).unwrap_err().code(), "KEY_ALREADY_ACTIVE");
        insert(oprf(7, KeyGroup::Match), 3).unwrap();
        insert(oprf(7, KeyGroup::Attribute), 4).unwrap();
        for epoch in [6, 7] {
            assert_eq!(insert(oprf(epoch, KeyGroup::Match), 5).unwrap_err().code(), "EPOCH_REUSED");
        }
        let unseen = KeyGroup::Single(Family::Id);
        assert_eq!(insert(oprf(6, unseen), 5).unwrap_err().code(), "EPOCH_REUSED");
        store.destroy(&KeyId::of_public(&oprf(7, KeyGroup::Match), &[3; 32])).unwrap();
        assert_eq!(insert(oprf(7, unseen), 5).unwrap_err().code(), "EPOCH_REUSED");
        insert(oprf(u64::MAX, KeyGroup::Match), 6).unwrap();
        assert_eq!(insert(oprf(u64::MAX, KeyGroup::Match), 7).unwrap_err().code(), "EPOCH_REUSED");
    });
}

#[test]
fn a_scoring_groups_next_key_leaves_no_record_of_its_destroyed_ones() {
    on_both(|store| {
        let insert = |group: &str, epoch| {
            let purpose = Purpose::Score { group: group.parse().unwrap(), epoch };
            let record = KeyRecord::with_public(purpose, vec![1; 32], epoch);
            store.insert(&record, &secret(1)).map(|()| record)
        };
        let alive = insert("one", 1).unwrap();
        for (group, epoch) in [("one", 2), ("other", 3)] {
            store.destroy(&insert(group, epoch).unwrap().id).unwrap();
        }
        let log = KeyRecord::with_public(Purpose::Log, vec![1; 32], 4);
        store.insert(&log, &secret(1)).unwrap();
        store.destroy(&log.id).unwrap();
        insert("one", 5).unwrap();
        let left = store.records().unwrap().into_iter().map(|record| record.created_at_ms);
        assert_eq!(left.collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(store.secret(&alive.id).unwrap(), secret(1));
        assert_eq!(insert("one", 2).unwrap_err().code(), "EPOCH_REUSED");
    });
}

#[test]
fn a_full_store_takes_no_key() {
    let record = |epoch| KeyRecord::with_public(oprf(epoch, KeyGroup::Match), vec![1; 32], 1);
    let full = vec![record(1); MAX_KEYS];
    assert_eq!(admit(&full, &record(2), &secret(1)).unwrap_err().code(), "KEY_STORE_FULL");
    admit(&full[1..], &record(2), &secret(1)).unwrap();
}

#[test]
fn empty_and_oversized_parts_are_refused() {
    on_both(|store| {
        let record = |public| KeyRecord::with_public(Purpose::Log, vec![0; public], 1);
        let refused = |record: &KeyRecord, len| {
            store.insert(record, &Secret::new(vec![1; len])).unwrap_err().code() == "KEY_FORM"
        };
        assert!(refused(&record(32), 0));
        assert!(refused(&record(32), MAX_SECRET_BYTES + 1));
        assert!(refused(&record(MAX_PUBLIC_BYTES + 1), 32));
        assert!(refused(&KeyRecord { state: State::Destroyed, ..record(32) }, 32));
        store.insert(&record(MAX_PUBLIC_BYTES), &Secret::new(vec![1; MAX_SECRET_BYTES])).unwrap();
        assert_eq!(store.records().unwrap().len(), 1);
    });
}

#[test]
fn a_file_store_is_the_same_after_it_is_opened_again() {
    let (dir, store) = file_store();
    let record = KeyRecord::with_public(oprf(3, KeyGroup::Match), vec![1; 32], 20);
    store.insert(&record, &secret(1)).unwrap();
    let path = dir.path().join("keys");
    fs::write(path.join("left-by-a-crash.key.tmp"), b"half").unwrap();
    let again = FileStore::open(&path, &passphrase("correct horse")).unwrap();
    assert_eq!(again.records().unwrap(), store.records().unwrap());
    assert_eq!(again.secret(&record.id).unwrap(), secret(1));
    assert!(!path.join("left-by-a-crash.key.tmp").exists());
}

#[test]
fn a_wrong_passphrase_is_its_own_error() {
    let (dir, _store) = file_store();
    let error = FileStore::open(&dir.path().join("keys"), &passphrase("wrong horse")).unwrap_err();
    assert_eq!(error.code(), "WRONG_PASSPHRASE");
    assert!(error.to_string().starts_with("WRONG_PASSPHRASE"));
}

#[test]
fn a_store_is_made_once_and_opened_only_where_there_is_one() {
    let (dir, _store) = file_store();
    let create = FileStore::create(&dir.path().join("keys"), &passphrase("correct horse"));
    assert_eq!(create.unwrap_err().code(), "KEY_STORE_EXISTS");
    let empty = dir.path().join("empty");
    crate::files::create_directory(&empty).unwrap();
    for path in [empty, dir.path().join("none")] {
        let open = FileStore::open(&path, &passphrase("correct horse"));
        assert_eq!(open.unwrap_err().code(), "NO_KEY_STORE");
    }
}

#[test]
fn every_flipped_byte_of_every_file_is_refused() {
    let (dir, store) = file_store();
    let [first, second] =
        [7, 8].map(|byte| KeyRecord::with_public(oprf(byte, KeyGroup::Match), vec![1; 32], 1));
    store.insert(&first, &secret(7)).unwrap();
    store.insert(&second, &secret(8)).unwrap();
    store.destroy(&first.id).unwrap();
    for record in [&first, &second] {
        let path = dir.path().join("keys").join(format!("{}.key", record.id));
        let file = fs::read(&path).unwrap();
        for i in 0..file.len() {
            let mut other = file.clone();
            other[i] ^= 1;
            fs::write(&path, &other).unwrap();
            assert_eq!(store.records().unwrap_err().code(), "KEY_STORE_DAMAGED", "byte {i}");
            assert_eq!(store.secret(&record.id).unwrap_err().code(), "KEY_STORE_DAMAGED", "byte {i}");
        }
        fs::write(&path, &file).unwrap();
    }
    assert_eq!(store.records().unwrap().len(), 2);
}

#[test]
fn a_key_file_under_another_name_or_of_another_store_is_refused() {
    let (dir, store) = file_store();
    let record = KeyRecord::with_public(Purpose::Log, vec![1; 32], 1);
    store.insert(&record, &secret(7)).unwrap();
    let path = dir.path().join("keys").join(format!("{}.key", record.id));
    let renamed = dir.path().join("keys").join(format!("{}.key", KeyId::from_bytes([9; 16])));
    fs::rename(&path, &renamed).unwrap();
    assert_eq!(store.records().unwrap_err().code(), "KEY_STORE_DAMAGED");
    let (other_dir, other) = file_store();
    fs::copy(&renamed, other_dir.path().join("keys").join(path.file_name().unwrap())).unwrap();
    assert_eq!(other.secret(&record.id).unwrap_err().code(), "KEY_STORE_DAMAGED");
}

#[test]
fn files_and_directory_are_private_and_loose_permissions_are_refused() {
    let (dir, store) = file_store();
    let record = KeyRecord::with_public(Purpose::Log, vec![1; 32], 1);
    store.insert(&record, &secret(7)).unwrap();
    let root = dir.path().join("keys");
    let paths = [(root.clone(), 0o700), (root.join("kek"), 0o600), (store_file(&root, &record.id), 0o600)];
    for (path, mode) in paths {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o040)).unwrap();
        let error = FileStore::open(&root, &passphrase("correct horse")).unwrap_err();
        assert_eq!(error.code(), "LOOSE_PERMISSIONS");
        assert!(error.to_string().contains(&format!("chmod {mode:o} {}", path.display())), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    FileStore::open(&root, &passphrase("correct horse")).unwrap();
}

fn store_file(root: &std::path::Path, id: &KeyId) -> PathBuf {
    root.join(format!("{id}.key"))
}

#[test]
fn a_destroyed_secret_is_in_no_file_neither_clear_nor_sealed() {
    let (dir, store) = file_store();
    let root = dir.path().join("keys");
    let record = KeyRecord::with_public(Purpose::Log, vec![1; 32], 1);
    store.insert(&record, &Secret::new(b"thirty-two bytes of known secret".to_vec())).unwrap();
    let before = fs::read(store_file(&root, &record.id)).unwrap();
    // The ciphertext and the tag are the last 48 bytes; a second link shows what becomes of the old file.
    let sealed = before.last_chunk::<48>().unwrap();
    fs::hard_link(store_file(&root, &record.id), root.join("link")).unwrap();
    let anywhere = |needle: &[u8]| {
        let files = fs::read_dir(&root).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.filter(|file| file.windows(needle.len()).any(|window| window == needle)).count()
    };
    assert_eq!((anywhere(sealed), anywhere(b"known secret")), (2, 0));
    store.destroy(&record.id).unwrap();
    assert_eq!((anywhere(sealed), anywhere(&sealed[..16]), anywhere(b"known secret")), (0, 0, 0));
    assert_eq!(store.records().unwrap()[0].public, record.public);
}

#[test]
fn a_wipe_that_was_interrupted_is_made_up_for_before_a_key_counts_as_destroyed() {
    let (dir, store) = file_store();
    let root = dir.path().join("keys");
    let [first, other] =
        [1, 2].map(|epoch| KeyRecord::with_public(oprf(epoch, KeyGroup::Match), vec![1; 32], 1));
    store.insert(&first, &secret(1)).unwrap();
    let sealed = fs::read(store_file(&root, &first.id)).unwrap();
    store.destroy(&first.id).unwrap();
    let open = || FileStore::open(&root, &passphrase("correct horse")).map(drop);
    let writers: [&dyn Fn() -> Result<(), StoreError>; 4] = [
        &|| store.destroy(&first.id),
        &|| store.insert(&other, &secret(2)),
        &|| store.advance(&other.id, State::Retiring),
        &open,
    ];
    for write in writers {
        let left = ["wipe", "tmp"].map(|ending| root.join(format!("{}.key.{ending}", first.id)));
        let links = [0, 1].map(|at| dir.path().join(format!("link-{at}")));
        for (left, link) in left.iter().zip(&links) {
            fs::write(left, &sealed).unwrap();
            fs::hard_link(left, link).unwrap();
        }
        write().unwrap();
        assert!(left.iter().all(|left| !left.exists()));
        for link in links {
            assert!(fs::read(&link).unwrap().iter().all(|byte| *byte == 0));
            fs::remove_file(link).unwrap();
        }
    }
}

#[test]
fn a_key_of_which_nothing_was_replaced_yet_is_not_wiped() {
    let (dir, store) = file_store();
    let root = dir.path().join("keys");
    let record = KeyRecord::with_public(Purpose::Log, vec![1; 32], 1);
    store.insert(&record, &secret(1)).unwrap();
    let left = root.join(format!("{}.key.wipe", record.id));
    fs::hard_link(store_file(&root, &record.id), &left).unwrap();
    store.advance(&record.id, State::Retiring).unwrap();
    assert_eq!((store.secret(&record.id).unwrap(), left.exists()), (secret(1), false));
    // What cannot be overwritten is an error, and nothing counts as done.
    fs::create_dir(&left).unwrap();
    assert_eq!(store.destroy(&record.id).unwrap_err().code(), "FILE_IO");
    assert_eq!(store.secret(&record.id).unwrap(), secret(1));
    fs::remove_dir(&left).unwrap();
    store.destroy(&record.id).unwrap();
}

#[test]
fn printing_a_store_shows_no_secret() {
    let (_dir, files) = file_store();
    let memory = MemoryStore::new();
    for store in [&files as &dyn KeyStore, &memory] {
        let record = KeyRecord::with_public(Purpose::Log, vec![1; 32], 1);
        store.insert(&record, &Secret::new(vec![222; 32])).unwrap();
        assert!(!format!("{store:?}").contains("222"));
    }
}

#[test]
fn two_writers_of_one_store_never_both_get_an_epoch() {
    let (dir, _store) = file_store();
    let root = dir.path().join("keys");
    let stores: Vec<_> =
        (0..4).map(|_| FileStore::open(&root, &passphrase("correct horse")).unwrap()).collect();
    let insert = |(byte, store): (usize, &FileStore)| {
        let public = vec![u8::try_from(byte).unwrap(); 32];
        store.insert(&KeyRecord::with_public(oprf(1, KeyGroup::Match), public, 1), &secret(1)).is_ok()
    };
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> = stores.iter().enumerate().map(|x| scope.spawn(move || insert(x))).collect();
        threads.into_iter().filter_map(|t| t.join().unwrap().then_some(())).count()
    });
    assert_eq!(won, 1);
}

#[test]
fn an_erased_store_leaves_no_bytes_in_another_link_to_its_files_also_when_it_was_interrupted() {
    let (dir, store) = file_store();
    let directory = dir.path().join("keys");
    store.insert(&KeyRecord::with_public(Purpose::Log, vec![1; 32], 20), &secret(1)).unwrap();
    fs::write(directory.join("left.key.tmp"), "what a crash left").unwrap();
    let links: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .enumerate()
        .map(|(at, entry)| {
            let link = dir.path().join(at.to_string());
            fs::hard_link(entry.unwrap().path(), &link).unwrap();
            link
        })
        .collect();
    assert_eq!(links.len(), 3);
    // As a kill leaves it.
    crate::files::wipe_and_remove(&directory.join("kek")).unwrap();
    FileStore::erase(&directory).unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    assert!(links.iter().all(|link| fs::read(link).unwrap().iter().all(|byte| *byte == 0)));
}
