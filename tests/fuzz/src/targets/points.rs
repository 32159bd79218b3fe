//! Bytes of fixed shapes: group elements, rows, pages, tiles, payloads.

use windvane::psi::payload::decode_payload;
use windvane_kernels::ristretto::{Backend, Points};
use windvane_protocols::audit::tiles::{TILE_WIDTH, decode_bundle, decode_hashes};
use windvane_protocols::limits::PAGE_BYTES;
use windvane_protocols::lookup::row::{RowKeys, Table};
use windvane_protocols::lookup::snapshot::{count_rows, find, first_locator, is_well_formed};
use windvane_protocols::oprf::{Elements, Output, PROOF_BYTES, PrivateKey, Proof, PublicKey};

/// The lanes and the portable code accept the same encodings, and give them back.
pub(super) fn points(input: &[u8]) {
    let encodings = input.as_chunks::<32>().0;
    let portable = Points::decode_with(Backend::portable(), encodings);
    let chosen = Points::decode(encodings);
    match (&portable, &chosen) {
        (Ok(portable), Ok(chosen)) => {
            assert_eq!(portable.encode(), encodings);
            assert_eq!(chosen.encode(), encodings);
        }
        (Err(portable), Err(chosen)) => assert_eq!(portable, chosen),
        _ => panic!("the backends disagree about {encodings:02x?}"),
    }
}

pub(super) fn oprf(input: &[u8]) {
    let _ = Elements::from_bytes(input);
    if let Some(bytes) = input.first_chunk::<32>() {
        let _ = PublicKey::from_bytes(*bytes);
        let _ = PrivateKey::from_bytes(bytes);
    }
    if let Some(bytes) = input.first_chunk::<PROOF_BYTES>() {
        let _ = Proof::from_bytes(bytes);
    }
}

fn table() -> Table {
    Table {
        data_set: "subscribers".parse().expect("a valid name"),
        epoch: 1,
        schema_version: 1,
        label_bytes: 32,
    }
}

/// Rows that a page could hold, under keys that did not seal them.
pub(super) fn rows(input: &[u8]) {
    let table = table();
    let keys = RowKeys::new(&table, &Output::new([7; 64]));
    let rows: Vec<&[u8]> = input.chunks_exact(table.row_bytes()).collect();
    let _ = keys.open(&table, |_| None, &rows);
}

pub(super) fn pages(input: &[u8]) {
    let table = table();
    for page in input.as_chunks::<PAGE_BYTES>().0 {
        let locator = first_locator(page);
        let _ = (count_rows(page, &table), find(page, &table, &locator), is_well_formed(page, &table));
    }
}

pub(super) fn tiles(input: &[u8]) {
    let Some((width, tile)) = input.split_first_chunk::<2>() else { return };
    let width = u16::from_be_bytes(*width) % (TILE_WIDTH + 1);
    let _ = (decode_bundle(tile, width), decode_hashes(tile, width));
}

pub(super) fn payload(input: &[u8]) {
    if let Some((columns, payload)) = input.split_first() {
        let _ = decode_payload(payload, usize::from(*columns));
    }
}
