use std::collections::BTreeSet;

use tlog_tiles::{HashReader, stored_hashes_for_record_hash};

use super::*;
use crate::audit::merkle::{Frontier, consistency_proof, inclusion_proof, leaf_hash, root_of};

fn leaves(count: u64) -> Vec<TreeHash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// The oracle's storage.
struct Stored(Vec<tlog_tiles::Hash>);

impl Stored {
    fn over(leaves: &[TreeHash]) -> Self {
        let mut stored = Self(Vec::new());
        for (index, leaf) in (0_u64..).zip(leaves) {
            let hashes = stored_hashes_for_record_hash(index, tlog_tiles::Hash(*leaf), &stored).unwrap();
            stored.0.extend(hashes);
        }
        stored
    }
}

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|i| self.0[*i as usize]).collect())
    }
}

/// The oracle writes `tile/8/<L>` where the specification, whose height is fixed, writes `tile/<L>`.
fn path_of(tile: tlog_tiles::Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1).replacen("tile/data/", "tile/entries/", 1)
}

fn paths(tiles: impl Iterator<Item = Tile>) -> BTreeSet<String> {
    tiles.filter(|tile| tile.kind() != TileKind::Entries).map(|tile| tile.to_string()).collect()
}

#[test]
fn tiles_and_their_content_agree_with_the_tlog_tiles_crate() {
    let around = |n: u64| [n - 1, n, n + 1];
    let sizes: Vec<u64> = (0..=600).chain(around(1 << 16)).chain([70_000, 65_536 + 256, 131_071]).collect();
    let all = leaves(131_071);
    let stored = Stored::over(&all);
    for size in sizes {
        let theirs = tlog_tiles::Tile::new_tiles(8, 0, size);
        let ours = hash_tiles(&all[..size as usize]);
        assert_eq!(paths(tiles_of(size)), theirs.iter().map(|tile| path_of(*tile)).collect(), "size {size}");
        assert_eq!(ours.len(), theirs.len());
        let sampled = |tile: &Tile| size < 600 || !tile.is_full() || tile.index().is_multiple_of(29);
        for (tile, content) in ours.iter().filter(|(tile, _)| sampled(tile)) {
            let theirs = theirs.iter().find(|theirs| path_of(**theirs) == tile.to_string()).unwrap();
            assert_eq!(content, &theirs.read_data(&stored).unwrap(), "{tile} of {size}");
        }
    }
}

#[test]
fn tiles_between_two_sizes_agree_with_the_tlog_tiles_crate() {
    let sizes = [0, 1, 2, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 70_000];
    for (old, new) in sizes.iter().flat_map(|old| sizes.iter().map(|new| (*old, *new))) {
        let theirs = if old < new { tlog_tiles::Tile::new_tiles(8, old, new) } else { Vec::new() };
        let theirs = theirs.into_iter().map(path_of).collect();
        assert_eq!(paths(tiles_between(old, new)), theirs, "{old} to {new}");
    }
}

#[test]
fn paths_agree_with_the_tlog_tiles_crate_and_are_read_back() {
    for index in [0, 1, 255, 999, 1_000, 1_234_067, 999_999_999, 1 << 40] {
        for (level, width) in [(0, 256), (0, 1), (1, 255), (1, 256)] {
            let tile = Tile::new(TileKind::Hashes(level), index, width).unwrap();
            let theirs = tlog_tiles::Tile::new(8, level, index, u32::from(width), false);
            assert_eq!(tile.to_string(), path_of(theirs));
            assert_eq!(tile.to_string().parse(), Ok(tile));
            let bundle = Tile::new(TileKind::Entries, index, width).unwrap();
            let theirs = tlog_tiles::Tile::new(8, 0, index, u32::from(width), true);
            assert_eq!(bundle.to_string(), path_of(theirs));
            assert_eq!(bundle.to_string().parse(), Ok(bundle));
        }
    }
    let tile = Tile::new(TileKind::Hashes(0), 1_234_067, 8).unwrap();
    assert_eq!(tile.to_string(), "tile/0/x001/x234/067.p/8");
}

#[test]
fn the_tiles_of_70_000_entries_are_those_of_the_specification() {
    let count = |level| tiles_of(70_000).filter(|tile| tile.kind() == TileKind::Hashes(level)).count();
    assert_eq!([count(0), count(1), count(2), count(3)], [274, 2, 1, 0]);
    let partial: Vec<_> = partial_tiles(70_000).map(|tile| tile.to_string()).collect();
    let expected = ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"];
    assert_eq!(partial, expected);
    let of_256: Vec<_> = tiles_of(256).map(|tile| tile.to_string()).collect();
    assert_eq!(of_256, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
}

#[test]
fn malformed_paths_are_refused() {
    let malformed = [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/xx01/000",
        "tile/00/000",
        "tile/+1/000",
        "tile/8/000",
        "tile/64/000",
        "tile/256/000",
        "tile/data/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1.p/2",
        "tile/0/-01",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/x036/x028/x797/x018/x963/968",
    ];
    for path in malformed {
        assert!(path.parse::<Tile>().is_err(), "{path}");
    }
    assert!(Tile::new(TileKind::Hashes(0), 0, 257).is_err());
    assert!(Tile::new(TileKind::Entries, u64::MAX, 1).is_err());
}

#[test]
fn an_edge_grows_like_a_frontier_and_is_restored_from_partial_tiles() {
    let (mut edge, mut frontier) = (TileEdge::new(), Frontier::new());
    for (size, leaf) in (1_u64..).zip(leaves(66_000)) {
        edge.append(leaf);
        frontier.append(leaf);
        if size < 600 || size % 997 == 0 || size.abs_diff(1 << 16) < 3 {
            assert_eq!((edge.size(), edge.root()), (size, frontier.root()));
            let levels = (0..kinds(size).skip(1).count()).map(|level| edge.hashes(level as u8).to_vec());
            assert_eq!(TileEdge::from_levels(size, levels.collect()), Ok(edge.clone()));
        }
    }
    assert_eq!(TileEdge::from_levels(2, vec![leaves(1)]), Err(TileError::Edge));
    assert_eq!(TileEdge::from_levels(2, vec![leaves(2), leaves(0)]), Err(TileError::Edge));
    assert_eq!(TileEdge::from_levels(0, Vec::new()), Ok(TileEdge::new()));
}

#[test]
fn proofs_from_tiles_are_those_from_leaves() {
    let leaves = leaves(66_000);
    for size in [1, 255, 256, 257, 600, 65_537, 66_000_u64] {
        let tiles: std::collections::BTreeMap<_, _> =
            hash_tiles(&leaves[..size as usize]).into_iter().collect();
        let tree = TiledTree::new(size, |tile: Tile| decode_hashes(tiles.get(&tile)?, tile.width()).ok());
        for index in [0, size / 3, size / 2, size - 1] {
            let from_leaves = inclusion_proof(&leaves[..size as usize], index, size);
            assert_eq!(inclusion_proof(&tree, index, size), from_leaves);
            let from_leaves = consistency_proof(&leaves[..size as usize], index, size);
            assert_eq!(consistency_proof(&tree, index, size), from_leaves);
        }
        assert_eq!(merkle::root_at(&tree, size), Ok(root_of(&leaves[..size as usize])));
    }
}

#[test]
fn bundles_hold_entries_of_up_to_65_535_bytes_and_nothing_else() {
    let entries: [&[u8]; 4] = [b"a", &[], &[7; MAX_ENTRY_BYTES], b"last"];
    let mut bundle = Vec::new();
    for entry in entries {
        encode_entry(entry, &mut bundle).unwrap();
    }
    assert_eq!(&bundle[..5], b"\x00\x01a\x00\x00");
    assert_eq!(decode_bundle(&bundle, 4).unwrap(), entries);
    assert_eq!(decode_bundle(&bundle, 3), Err(TileError::BundleTrailing { found: 6 }));
    assert_eq!(decode_bundle(&bundle, 5), Err(TileError::BundleTruncated { found: 4, expected: 5 }));
    for end in [0, 1, 2, 3, bundle.len() - 1] {
        assert!(decode_bundle(&bundle[..end], 4).is_err());
    }
    let before = bundle.clone();
    assert!(encode_entry(&[0; MAX_ENTRY_BYTES + 1], &mut bundle).is_err());
    assert_eq!(bundle, before);
}

#[test]
fn hash_tiles_of_another_length_are_refused() {
    let tile = leaves(3).concat();
    assert_eq!(decode_hashes(&tile, 3), Ok(leaves(3)));
    assert_eq!(decode_hashes(&tile, 2), Err(TileError::TileBytes { found: 96, expected: 64 }));
    assert_eq!(decode_hashes(&tile[1..], 3), Err(TileError::TileBytes { found: 95, expected: 96 }));
}
