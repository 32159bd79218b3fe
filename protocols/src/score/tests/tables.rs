//! Manifests, roots and sums of tables.

use super::world::{World, key, members, parts, party};
use crate::audit::merkle;
use crate::score::table::manifest::{ManifestError, TableManifest, check};
use crate::score::table::parts::{Coverage, PartTally};
use crate::score::table::sum::{self, SumError};
use crate::score::table::{Row, SEGMENT_BYTES, TableHasher};
use crate::transcript::{Record as _, Signed};

fn manifest(world: &World, provider: usize, epoch: u64) -> TableManifest {
    let mut tally = PartTally::new(3);
    tally.observe(&world.parts[provider]);
    TableManifest {
        provider: party(provider),
        group: "fraud".parse().unwrap(),
        epoch,
        context: *world.epoch().context(),
        segments: 1,
        root: [5; 32],
        parts: tally.declare(Coverage::Overlapped, 1_000).unwrap(),
        built_at_ms: 1_700_000_000_000,
    }
}

#[test]
fn rows_do_not_depend_on_how_the_universe_is_cut() {
    let member = &members(2, 2, 1)[0];
    let (sealer, parts) = (member.sealer().unwrap(), parts(0, 700));
    let whole = sealer.rows(9_000, &parts);
    let cut: Vec<Row> = [(0, 1), (1, 256), (257, 443)]
        .map(|(at, n)| sealer.rows(9_000 + at as u64, &parts[at..at + n]))
        .concat();
    assert_eq!(whole, cut);
}

#[test]
fn a_root_is_that_of_the_segments_also_after_an_interruption() {
    let segments: Vec<_> = (0..5).map(|i| vec![i as u8; SEGMENT_BYTES]).collect();
    let mut hasher = TableHasher::new();
    for segment in &segments {
        hasher = TableHasher::resume(hasher.frontier().clone());
        hasher.push(segment[..].try_into().unwrap());
    }
    let leaves: Vec<_> = segments.iter().map(|segment| merkle::leaf_hash(segment)).collect();
    assert_eq!(hasher.root(), merkle::root_of(&leaves));
}

#[test]
fn the_manifests_of_all_providers_are_needed_each_signed_and_of_this_setup() {
    let world = World::new(3, 2, 8);
    let signed = |i: usize| Signed::sign(manifest(&world, i, 1), &key(i));
    let all: Vec<_> = [2, 0, 1].map(signed).to_vec();
    let sorted = check(world.epoch(), 1, &all).unwrap();
    assert!(sorted.iter().map(|m| &m.body().provider).eq(&[party(0), party(1), party(2)]));
    let refused = |manifests: &[Signed<TableManifest>]| check(world.epoch(), 1, manifests).unwrap_err();
    assert_eq!(refused(&all[..2]), ManifestError::Count { party: party(1), found: 0 });
    let twice = [all.clone(), vec![signed(2)]].concat();
    assert_eq!(refused(&twice), ManifestError::Count { party: party(2), found: 2 });
    let forged = Signed::sign(manifest(&world, 1, 1), &key(2));
    assert_eq!(refused(&[signed(0), forged, signed(2)]), ManifestError::Signature { party: party(1) });
    let late = Signed::sign(manifest(&world, 1, 2), &key(1));
    assert_eq!(refused(&[signed(0), late, signed(2)]), ManifestError::Context { party: party(1) });
    assert_eq!(check(world.epoch(), 2, &all).err(), Some(ManifestError::Context { party: party(0) }));
}

#[test]
fn a_manifest_survives_its_encoding_and_every_truncation_is_refused() {
    let manifest = manifest(&World::new(2, 2, 8), 0, 1);
    let encoding = manifest.encode().into_bytes();
    assert_eq!(TableManifest::decode(&encoding), Ok(manifest));
    assert!((0..encoding.len()).all(|end| TableManifest::decode(&encoding[..end]).is_err()));
}

#[test]
fn a_sum_names_whose_rows_are_wrong() {
    let world = World::new(3, 2, 600);
    let stretches: Vec<_> = world.tables.iter().map(|table| table.as_flattened()).collect();
    assert_eq!(sum::add(world.epoch(), &stretches[..2]), Err(SumError::Providers { expected: 3, found: 2 }));
    let short = [stretches[0], &stretches[1][32..], stretches[2]];
    assert_eq!(sum::add(world.epoch(), &short), Err(SumError::Length { party: party(1) }));
    for bad in [[0; 32], [0xff; 32]] {
        let mut table = world.tables[2].clone();
        table[300] = bad;
        let bad = [stretches[0], stretches[1], table.as_flattened()];
        assert_eq!(sum::add(world.epoch(), &bad), Err(SumError::Row { party: party(2), row: 300 }));
    }
}
