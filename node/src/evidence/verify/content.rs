//! What is in tiles and bundles, from the entries up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use windvane_protocols::audit::merkle::{TreeHash, leaf_hash, root_of};
use windvane_protocols::audit::tiles::{
    TILE_WIDTH, Tile, TileEdge, TileKind, decode_bundle, decode_hashes, kinds,
};

use super::{Check, code};
use crate::evidence::tree::TEMPORARY;
use crate::evidence::{LogError, files};

/// Items (entries or hashes) of the tiles of one kind, by tile index; only whole tiles are in it.
type Items<T> = BTreeMap<u64, Vec<T>>;

/// Why a tile has no items.
enum Lack {
    /// It is not there.
    Absent,
    /// For what was found of it.
    Found,
}

/// Leaf hashes by bundle.
pub(super) type Leaves = Items<TreeHash>;

impl Check<'_> {
    /// Finds what a log of this size does not have: tiles, and a file that is to become one. While the log is written,
    /// that is the next publication's.
    pub(super) fn unpublished(&mut self, size: u64) {
        let covers = |tile: Tile| {
            Tile::in_tree(tile.kind(), tile.index(), size).is_some_and(|own| own.width() >= tile.width())
        };
        let beyond: Vec<_> = self.tiles.iter().copied().filter(|tile| !covers(*tile)).collect();
        // Asked only here and after the walk: a writer that is through by now has changed the checkpoint, or left this.
        if (beyond.is_empty() && !self.is_publishing) || files::is_locked(self.dir) {
            return;
        }
        if self.is_publishing {
            self.find(code::FOREIGN_FILE, TEMPORARY, "an interrupted publication left this");
        }
        for tile in beyond {
            self.find(code::BEYOND_CHECKPOINT, tile, format!("a log of {size} entries does not have this"));
        }
    }

    /// Reads all bundles: entries with their indices, and their hashes.
    pub(super) fn bundles(&mut self, size: u64) -> (Vec<(u64, Vec<u8>)>, Leaves) {
        let split = |content: &[u8], width| {
            decode_bundle(content, width).map(|entries| entries.into_iter().map(<[u8]>::to_vec).collect())
        };
        let bundles: Items<Vec<u8>> = self.items(TileKind::Entries, size, split);
        let hash = |entries: &Vec<Vec<u8>>| entries.iter().map(|entry| leaf_hash(entry)).collect();
        let leaves = bundles.iter().map(|(index, entries)| (*index, hash(entries))).collect();
        let numbered = |(index, entries): (u64, Vec<Vec<u8>>)| (index * u64::from(TILE_WIDTH)..).zip(entries);
        (bundles.into_iter().flat_map(numbered).collect(), leaves)
    }

    /// Checks all hash tiles against the level below; the root that they give, when no part of it is missing.
    pub(super) fn hash_tiles(&mut self, size: u64, leaves: &Leaves) -> Option<TreeHash> {
        let mut edge = Vec::new();
        let mut below = BTreeMap::new();
        for kind in kinds(size).skip(1) {
            let mut hashes = self.items(kind, size, decode_hashes);
            if kind == TileKind::Hashes(0) {
                self.compare_entries(&hashes, leaves);
                // Where a tile is missing, its entries still tell what it should hold.
                for (index, leaves) in leaves {
                    hashes.entry(*index).or_insert_with(|| leaves.clone());
                }
            } else {
                self.compare_tiles(kind, &hashes, &below);
            }
            let full = kind.items(size) / u64::from(TILE_WIDTH);
            let partial = Tile::in_tree(kind, full, size);
            edge.push(partial.map_or(Some(Vec::new()), |_| hashes.get(&full).cloned()));
            below = hashes.range(..full).map(|(index, hashes)| (*index, root_of(hashes))).collect();
        }
        let edge: Option<Vec<_>> = edge.into_iter().collect();
        Some(TileEdge::from_levels(size, edge?).ok()?.root())
    }

    fn compare_entries(&mut self, tiles: &Items<TreeHash>, leaves: &Leaves) {
        for (index, hashes) in tiles {
            let Some(leaves) = leaves.get(index) else { continue };
            let entries = (index * u64::from(TILE_WIDTH)..).zip(leaves.iter().zip(hashes));
            for (entry, (leaf, hash)) in entries {
                if leaf != hash {
                    let text = "the entry's hash is not the one in its tile";
                    self.find(code::ENTRY_HASH, format!("entry {entry}"), text);
                }
            }
        }
    }

    fn compare_tiles(&mut self, kind: TileKind, tiles: &Items<TreeHash>, below: &BTreeMap<u64, TreeHash>) {
        for (index, hashes) in tiles {
            for (child, hash) in (index * u64::from(TILE_WIDTH)..).zip(hashes) {
                if below.get(&child).is_some_and(|expected| expected != hash)
                    && let Ok(tile) = Tile::new(kind, *index, TILE_WIDTH)
                {
                    let text = format!("the hash of tile {child} of the level below is another");
                    self.find(code::TILE_HASH, tile, text);
                }
            }
        }
    }

    /// Reads all tiles of one kind, and finds those that are missing, malformed, or not a part of their tile.
    fn items<T: PartialEq, E: std::fmt::Display>(
        &mut self,
        kind: TileKind,
        size: u64,
        split: impl Fn(&[u8], u16) -> Result<Vec<T>, E>,
    ) -> Items<T> {
        // The partial tile is asked for whatever was there: it goes when its full tile is published.
        let edge = Tile::in_tree(kind, kind.items(size) / u64::from(TILE_WIDTH), size);
        let named = self.tiles.iter().copied().filter(|tile| tile.kind() == kind);
        let named: BTreeSet<_> = named.chain(edge).collect();
        let named: Vec<_> = named.into_iter().collect();
        let mut items = Items::new();
        let (mut next, count) = (0, kind.items(size).div_ceil(u64::from(TILE_WIDTH)));
        for tiles in named.chunk_by(|a, b| a.index() == b.index()) {
            let index = tiles[0].index();
            let Some(own) = Tile::in_tree(kind, index, size).filter(|own| tiles.contains(own)) else {
                continue;
            };
            self.missing(kind, size, next..index);
            next = index + 1;
            let Some(whole) = self.own(own, &split) else { continue };
            for part in tiles.iter().filter(|part| part.width() < own.width()) {
                // One that is gone by now was of an earlier checkpoint.
                let found = self.read(*part, &split).ok();
                if found.is_some_and(|found| found != whole[..found.len()]) {
                    self.find(code::PARTIAL_DIFFERS, part, "this is not the beginning of its tile");
                }
            }
            items.insert(index, whole);
        }
        self.missing(kind, size, next..count);
        items
    }

    fn missing(&mut self, kind: TileKind, size: u64, indices: Range<u64>) {
        if let Some(first) = Tile::in_tree(kind, indices.start, size).filter(|_| !indices.is_empty()) {
            let count = indices.end - indices.start;
            self.find(code::TILE_MISSING, first, format!("{count} missing, from this one on"));
        }
    }

    /// A tile of the tree. Where it is partial and gone, its full tile has come, and begins with it.
    fn own<T, E: std::fmt::Display>(
        &mut self,
        own: Tile,
        split: impl Fn(&[u8], u16) -> Result<Vec<T>, E>,
    ) -> Option<Vec<T>> {
        let mut found = self.read(own, &split);
        if matches!(found, Err(Lack::Absent)) && !own.is_full() {
            found = self.read(own.full(), &split);
        }
        if matches!(found, Err(Lack::Absent)) {
            self.find(code::TILE_MISSING, own, "this tile is not there");
        }
        let mut items = found.ok()?;
        items.truncate(own.width().into());
        Some(items)
    }

    /// A tile's items. That it is not there is for the caller to judge; anything else is found.
    fn read<T, E: std::fmt::Display>(
        &mut self,
        tile: Tile,
        split: impl Fn(&[u8], u16) -> Result<Vec<T>, E>,
    ) -> Result<Vec<T>, Lack> {
        match files::read(&self.dir.join(tile.to_string()), tile.max_bytes()) {
            Ok(Some(content)) => match split(&content, tile.width()) {
                Ok(items) => return Ok(items),
                Err(error) => self.find(code::TILE_FORM, tile, error),
            },
            Ok(None) => return Err(Lack::Absent),
            Err(error @ LogError::TooLong { .. }) => {
                self.find(code::TILE_FORM, tile, error);
            }
            Err(error) => self.find(code::UNREADABLE, tile, error),
        }
        Err(Lack::Found)
    }
}
