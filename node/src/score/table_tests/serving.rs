//! Who may download a provider's table.

use std::fs;

use super::world::*;
use crate::error::Refusal;
use crate::score::refusal::ScoreRefusal;
use crate::score::serve_tables::{open, segments};
use windvane_proto::convert::TableWanted;

#[test]
fn only_the_requester_of_the_terms_with_its_pinned_key_gets_a_table_that_is_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1);
    let (folder, bank) = (world.own_folder(0), bank());
    let opened = |requester: &str, key| {
        open(&folder, &party(0), &requester.parse().unwrap(), &key).map(|table| table.segments())
    };
    assert_eq!(opened("bank", bank.key), Err(ScoreRefusal::TableUnknown.into()));
    crate::snapshot::disk::create_directory(folder.path()).unwrap();
    world.write_evidence(0);
    assert_eq!(opened("bank", bank.key), Err(ScoreRefusal::TableUnknown.into()));
    world.publish_parts(0, &world.parts[0]).unwrap();
    assert_eq!(opened("bank", bank.key), Ok(1));
    assert_eq!(opened("bank", key(1).verifying_key()), Err(Refusal::GrantUnknown));
    assert_eq!(opened("other-bank", bank.key), Err(Refusal::GrantUnknown));
    assert_eq!(opened("carrier-b", key(1).verifying_key()), Err(Refusal::GrantUnknown));
    fs::write(folder.join("retired"), b"").unwrap();
    assert_eq!(opened("bank", bank.key), Err(ScoreRefusal::TableUnknown.into()));
}

#[tokio::test]
async fn segments_are_of_the_context_that_is_asked_for_and_end_with_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2);
    world.publish_parts(0, &world.parts[0]).unwrap();
    let table = || crate::score::table::OwnTable::open(&world.own_folder(0), &party(0)).unwrap();
    let wanted = |context, from| TableWanted { group: "fraud".parse().unwrap(), epoch: EPOCH, context, from };
    let context = *world.epoch().context();
    assert_eq!(segments(table(), &wanted([0; 64], 0)).err(), Some(Refusal::PageUnknown));
    assert_eq!(segments(table(), &wanted(context, 3)).err(), Some(Refusal::PageUnknown));
    for from in 0..=2 {
        let mut stream = segments(table(), &wanted(context, from)).unwrap().into_inner();
        for segment in from..2 {
            assert_eq!(stream.recv().await.unwrap().unwrap().rows, table().segment(segment).unwrap());
        }
        assert!(stream.recv().await.is_none());
    }
}
