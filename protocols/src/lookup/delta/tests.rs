//! Every rule of a chain, broken one at a time, and the published vectors.

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::Value;

use super::*;
use crate::identity::{Family, IDENTITY_VERSION};
use crate::lookup::KeyGroup;
use crate::lookup::row::RowKeys;
use crate::lookup::schema::Schema;
use crate::oprf::PrivateKey;
use crate::secret::Secret;

const SEED: u64 = 7;
const SCHEMA: &str =
    "name = 's'\nversion = 1\nlabel_bytes = 14\n[[field]]\nname = 'a'\nkind = 'code'\nbits = 8";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[0xc1; 32])
}

fn manifest() -> Manifest {
    let mut scalar = [0; 32];
    scalar[0] = 3;
    let key = PrivateKey::from_bytes(&scalar).unwrap();
    Manifest {
        provider: "carrier-a".parse().unwrap(),
        data_set: "subscribers".parse().unwrap(),
        epoch: 3,
        identity_version: IDENTITY_VERSION.into(),
        schema: Schema::parse(SCHEMA).unwrap(),
        families: vec![Family::Phone],
        keys: vec![(KeyGroup::Attribute, key.public().clone())],
        publications: vec![Publication { id: [0xa0; 16], rows: 20_000, pages: 197, root: [0xb0; 32] }],
        rejected: 0,
        built_at_ms: 1_000,
        published_at_ms: 1_500,
        not_after_ms: 100_000,
    }
}

fn chain() -> Chain {
    Chain::new(Signed::sign(manifest(), &key())).unwrap()
}

/// A delta of three subjects that follows the chain.
fn next(chain: &Chain) -> Delta {
    let index = chain.deltas().len() as u16 + 1;
    let id = [0xa0 + index as u8; 16];
    Delta {
        provider: "carrier-a".parse().unwrap(),
        data_set: "subscribers".parse().unwrap(),
        epoch: 3,
        index,
        base: chain.head(),
        publication: Publication { id, rows: 4, pages: 1, root: [index as u8; 32] },
        carried: 0,
        inserted: 1,
        changed: 1,
        deleted: 1,
        sealed_at_ms: 2_000 * u64::from(index),
    }
}

fn admit(chain: &mut Chain, delta: Delta) -> Result<(), DeltaError> {
    chain.admit(Signed::sign(delta, &key()), &key().verifying_key(), |_| None)
}

#[test]
fn deltas_in_order_are_taken_and_their_ids_are_found_by_index() {
    let mut chain = chain();
    for index in 1..=3 {
        let delta = next(&chain);
        admit(&mut chain, delta).unwrap();
        assert_eq!(chain.publication(index), Some([0xa0 + index as u8; 16]));
    }
    assert_eq!((chain.publication(0), chain.publication(4)), (Some([0xa0; 16]), None));
    assert_eq!(chain.head(), chain.deltas()[2].digest());
    assert_eq!(chain.room(), 10_000 - 12);
    assert!(chain.verify(&key().verifying_key()));
}

/// Breaks one rule of the second delta.
fn broken(change: impl FnOnce(&mut Delta)) -> &'static str {
    let mut chain = chain();
    let first = next(&chain);
    admit(&mut chain, first).unwrap();
    let mut delta = next(&chain);
    change(&mut delta);
    let before = chain.clone();
    let error = admit(&mut chain, delta).unwrap_err();
    assert_eq!(chain, before, "a refused delta leaves the chain as it was");
    error.code()
}

#[test]
fn a_broken_rule_has_its_code() {
    type Change = fn(&mut Delta);
    let cases: [(Change, &str); 20] = [
        (|d| d.provider = "carrier-b".parse().unwrap(), "DELTA_FOREIGN"),
        (|d| d.data_set = "others".parse().unwrap(), "DELTA_FOREIGN"),
        (|d| d.epoch = 4, "DELTA_FOREIGN"),
        (|d| d.index = 1, "DELTA_ORDER"),
        (|d| d.index = 3, "DELTA_ORDER"),
        (|d| d.base[0] ^= 1, "DELTA_BASE"),
        (|d| d.publication.id = [0xa0; 16], "PUBLICATION_ID_REUSED"),
        (|d| d.publication.id = [0xa1; 16], "PUBLICATION_ID_REUSED"),
        (|d| d.publication.rows = 10_000, "DELTA_SIZE_LIMIT"),
        (|d| d.publication.rows = 0, "DELTA_COUNTS"),
        (|d| d.publication.pages = 0, "DELTA_COUNTS"),
        (|d| d.publication.pages = 5, "DELTA_COUNTS"),
        (|d| d.publication.rows = 103, "DELTA_COUNTS"),
        (|d| d.carried = 5, "DELTA_COUNTS"),
        (|d| d.carried = 2, "DELTA_COUNTS"),
        (|d| d.inserted = 3, "DELTA_COUNTS"),
        (|d| (d.inserted, d.changed, d.deleted) = (0, 0, 0), "DELTA_COUNTS"),
        (|d| d.deleted = u64::MAX, "DELTA_COUNTS"),
        (|d| d.sealed_at_ms = 1_999, "DELTA_TIME"),
        (|d| d.sealed_at_ms = 100_001, "DELTA_TIME"),
    ];
    for (i, (change, code)) in cases.into_iter().enumerate() {
        assert_eq!(broken(change), code, "case {i}");
    }
}

#[test]
fn a_delta_of_another_signer_is_refused() {
    let mut chain = chain();
    let forged = Signed::sign(next(&chain), &SigningKey::from_bytes(&[1; 32]));
    assert_eq!(chain.admit(forged, &key().verifying_key(), |_| None), Err(DeltaError::Signature));
}

#[test]
fn a_delta_comes_once() {
    let mut chain = chain();
    let delta = next(&chain);
    admit(&mut chain, delta.clone()).unwrap();
    assert_eq!(admit(&mut chain, delta), Err(DeltaError::Order { found: 1, expected: 2 }));
}

#[test]
fn an_id_that_the_party_knows_from_elsewhere_is_refused_and_a_repetition_is_not() {
    let (mut chain, key) = (chain(), key());
    let delta = Signed::sign(next(&chain), &key);
    let other = chain.admit(delta.clone(), &key.verifying_key(), |_| Some([9; 64]));
    assert_eq!(other, Err(DeltaError::IdReused));
    let digest = delta.digest();
    chain.admit(delta, &key.verifying_key(), |_| Some(digest)).unwrap();
}

#[test]
fn a_generator_that_repeats_itself_is_found() {
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let id = fresh_id(&mut rng, |_| false).unwrap();
    assert_ne!(fresh_id(&mut rng, |other| *other == id), Ok(id));
    let mut again = ChaCha20Rng::seed_from_u64(SEED);
    assert_eq!(fresh_id(&mut again, |other| *other == id), Err(DeltaError::IdReused));
}

#[test]
fn an_epoch_has_no_more_deltas_and_rows_than_its_limits() {
    let mut full = chain();
    for _ in 0..MAX_DELTAS {
        let delta = next(&full);
        admit(&mut full, delta).unwrap();
    }
    assert_eq!(full.next_index(), Err(DeltaError::TooMany));
    let mut delta = next(&full);
    delta.publication.id = [1; 16];
    assert_eq!(admit(&mut full, delta), Err(DeltaError::TooMany));
    let mut large = chain();
    let mut delta = next(&large);
    (delta.publication.rows, delta.publication.pages, delta.inserted) = (10_001, 99, 9_999);
    assert_eq!(admit(&mut large, delta), Err(DeltaError::TooLarge { found: 10_001, limit: 10_000 }));
    assert_eq!((max_rows(100), max_rows(8_193), max_rows(u64::MAX)), (4_096, 4_096, u64::MAX / 2));
}

#[test]
fn a_manifest_of_several_publications_begins_no_chain() {
    let mut manifest = manifest();
    manifest.publications.push(manifest.publications[0]);
    let error = Chain::new(Signed::sign(manifest, &key())).unwrap_err();
    assert_eq!(error.code(), "SNAPSHOT_PUBLICATIONS");
}

fn row(index: u16, byte: u8) -> Vec<u8> {
    let mut row = vec![byte; 40];
    row[8..10].copy_from_slice(&index.to_be_bytes());
    row
}

#[test]
fn a_carried_row_must_be_there_already() {
    let table = manifest().table();
    let check = |rows: &[Vec<u8>], present: &[Vec<u8>]| {
        check_rows(2, &table, &rows.concat(), &present.concat()).map_err(|error| error.code())
    };
    let (base, other, own) = (row(0, 1), row(1, 1), row(2, 1));
    assert_eq!(check(std::slice::from_ref(&own), &[]), Ok(0));
    assert_eq!(check(&[base.clone(), other.clone(), own.clone()], &[base.clone(), other.clone()]), Ok(2));
    assert_eq!(check(&[base.clone(), own.clone()], &[other]), Err("DELTA_ROW"));
    assert_eq!(check(&[row(3, 1), own], &[row(3, 1)]), Err("DELTA_ROW"), "a later publication's row");
    assert_eq!(
        check(std::slice::from_ref(&base), std::slice::from_ref(&base)),
        Err("DELTA_ROW"),
        "none of its own"
    );
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/lookup-delta-v1.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn the_published_chain_is_made_and_read() {
    let vectors = vectors();
    let mut chain = chain();
    assert_eq!(chain.manifest().as_bytes(), bytes(&vectors["manifest"]));
    for vector in vectors["deltas"].as_array().unwrap() {
        let made = Signed::sign(next(&chain), &key());
        let read = Signed::<Delta>::open(bytes(&vector["signed"]), &key().verifying_key()).unwrap();
        assert_eq!((&made, read.digest().to_vec()), (&read, bytes(&vector["digest"])));
        chain.admit(read, &key().verifying_key(), |_| None).unwrap();
    }
    assert_eq!(chain.deltas().len(), 2);
}

#[test]
fn the_published_malformed_deltas_are_refused() {
    for vector in vectors()["malformed"].as_array().unwrap() {
        let read = Delta::decode(&bytes(&vector["encoding"]));
        assert!(read.is_err(), "{}", vector["why"]);
    }
    let encoding = next(&chain()).encode().into_bytes();
    assert!((0..encoding.len()).all(|end| Delta::decode(&encoding[..end]).is_err()));
}

#[test]
fn the_published_rows_are_sealed() {
    let (vectors, table) = (vectors(), manifest().table());
    for vector in vectors["rows"].as_array().unwrap() {
        let output: [u8; 64] = bytes(&vector["output"]).try_into().unwrap();
        let id = bytes(&vector["publication"]).try_into().unwrap();
        let index = vector["index"].as_u64().unwrap() as u16;
        let keys = [RowKeys::new(&table, &Secret::new(output))];
        let sealer = RowKeys::sealers(&keys, &table, &id).remove(0);
        let mut row = vec![0; table.row_bytes()];
        let label = vector["label"].as_str().map(|label| hex::decode(label).unwrap());
        match &label {
            Some(label) => sealer.seal(index, label, &mut row),
            None => sealer.seal_deleted(index, &mut row),
        }
        assert_eq!(row, bytes(&vector["row"]));
        assert_eq!(keys[0].open(&table, |_| Some(id), &[&row]), Ok(label));
    }
}
