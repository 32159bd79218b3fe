//! What is in tiles and bundles, from the entries up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use windvane_protocols::audit::checkpoint::Checkpoint;
use windvane_protocols::audit::merkle::{TreeHash, leaf_hash, root_of};
use windvane_protocols::audit::tiles::{
    TILE_WIDTH, Tile, TileEdge, TileError, TileKind, decode_bundle, decode_hashes, kinds,
};

use super::{Check, code};
use crate::evidence::tree::TEMPORARY;
use crate::evidence::{LogError, files};

/// Items (entries or hashes) of the tiles of one kind, by tile index; only whole tiles are in it.
type Items<T> = BTreeMap<u64, Vec<T>>;

/// What entries and tiles give.
pub(super) struct Contents {
    /// How many entries could be read.
    pub(super) entries: u64,
    /// The root over the entries, when none is missing.
    pub(super) root: Option<TreeHash>,
    /// The root that the tiles give, when no part of it is missing.
    pub(super) tiles: Option<TreeHash>,
    /// The root at every earlier size that was asked for, when no entry is missing.
    pub(super) past: Vec<Option<TreeHash>>,
}

/// What the levels above need of one level of hash tiles.
struct Level {
    /// The partial tile at the right edge.
    last: Option<Vec<TreeHash>>,
    /// The hashes of the full tiles.
    full: BTreeMap<u64, TreeHash>,
}

impl Level {
    fn of(mut hashes: Items<TreeHash>, full: u64) -> Self {
        let last = hashes.remove(&full);
        Self { last, full: hashes.range(..full).map(|(index, hashes)| (*index, root_of(hashes))).collect() }
    }
}

/// The tree over the entries as they are read, and its roots at earlier sizes.
struct Growing<'a> {
    edge: TileEdge,
    since: &'a [Checkpoint],
    past: Vec<Option<TreeHash>>,
}

impl<'a> Growing<'a> {
    fn new(since: &'a [Checkpoint]) -> Self {
        let mut growing = Self { edge: TileEdge::new(), since, past: vec![None; since.len()] };
        growing.note();
        growing
    }

    fn append(&mut self, leaf: TreeHash) {
        self.edge.append(leaf);
        self.note();
    }

    fn note(&mut self) {
        let size = self.edge.size();
        let due = self.since.iter().zip(&mut self.past).filter(|(since, _)| since.size == size);
        for (_, past) in due {
            *past = Some(self.edge.root());
        }
    }
}

/// Why a tile has no items.
enum Lack {
    /// It is not there.
    Absent,
    /// For what was found of it.
    Found,
}

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

    /// Reads all entries, one bundle in memory at a time, and gives them with their indices to `take`; checks all hash
    /// tiles against the level below.
    pub(super) fn contents(
        &mut self,
        size: u64,
        since: &[Checkpoint],
        mut take: impl FnMut(u64, Vec<u8>),
    ) -> Contents {
        let split = |content: &[u8], width| {
            let entries = decode_bundle(content, width)?;
            Ok::<_, TileError>(entries.into_iter().map(<[u8]>::to_vec).collect())
        };
        let (kind, full) = (TileKind::Hashes(0), size / u64::from(TILE_WIDTH));
        let (bundles, tiles) = (self.named(TileKind::Entries, size), self.named(kind, size));
        let indices: BTreeSet<_> = bundles.keys().chain(tiles.keys()).copied().collect();
        let mut growing = Growing::new(since);
        let mut lowest = Level { last: None, full: BTreeMap::new() };
        for index in indices {
            let entries = bundles.get(&index).and_then(|(own, parts)| self.whole(*own, parts, split));
            let leaves = entries.map(|entries: Vec<Vec<u8>>| {
                let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
                leaves.iter().for_each(|leaf| growing.append(*leaf));
                (index * u64::from(TILE_WIDTH)..).zip(entries).for_each(|(index, entry)| take(index, entry));
                leaves
            });
            let hashes = tiles.get(&index).and_then(|(own, parts)| self.whole(*own, parts, decode_hashes));
            if let (Some(leaves), Some(hashes)) = (&leaves, &hashes) {
                self.compare_entries(index, leaves, hashes);
            }
            // Where a tile is missing, its entries still tell what it should hold.
            match hashes.or(leaves) {
                Some(hashes) if index < full => drop(lowest.full.insert(index, root_of(&hashes))),
                hashes => lowest.last = hashes,
            }
        }
        let (entries, tiles) = (growing.edge.size(), self.hash_tiles(size, lowest));
        let is_whole = entries == size;
        let past = growing.past.into_iter().map(|root| root.filter(|_| is_whole)).collect();
        Contents { entries, root: is_whole.then(|| growing.edge.root()), tiles, past }
    }

    /// Checks the hash tiles above the lowest against the level below; the root that they give.
    fn hash_tiles(&mut self, size: u64, lowest: Level) -> Option<TreeHash> {
        let mut edge = Vec::new();
        let mut level = lowest;
        for kind in kinds(size).skip(1) {
            let full = kind.items(size) / u64::from(TILE_WIDTH);
            if kind != TileKind::Hashes(0) {
                let hashes = self.items(kind, size, decode_hashes);
                self.compare_tiles(kind, &hashes, &level.full);
                level = Level::of(hashes, full);
            }
            let is_partial = Tile::in_tree(kind, full, size).is_some();
            edge.push(if is_partial { level.last.take() } else { Some(Vec::new()) });
        }
        let edge: Option<Vec<_>> = edge.into_iter().collect();
        Some(TileEdge::from_levels(size, edge?).ok()?.root())
    }

    fn compare_entries(&mut self, index: u64, leaves: &[TreeHash], hashes: &[TreeHash]) {
        for (entry, (leaf, hash)) in (index * u64::from(TILE_WIDTH)..).zip(leaves.iter().zip(hashes)) {
            if leaf != hash {
                let text = "the entry's hash is not the one in its tile";
                self.find(code::ENTRY_HASH, format!("entry {entry}"), text);
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
        let named = self.named(kind, size).into_iter();
        named.filter_map(|(index, (own, parts))| Some((index, self.whole(own, &parts, &split)?))).collect()
    }

    /// The tiles of one kind that are there, by tile index: the tree's own, and its parts. Finds those that are missing.
    fn named(&mut self, kind: TileKind, size: u64) -> BTreeMap<u64, (Tile, Vec<Tile>)> {
        // The partial tile is asked for whatever was there: it goes when its full tile is published.
        let edge = Tile::in_tree(kind, kind.items(size) / u64::from(TILE_WIDTH), size);
        let named = self.tiles.iter().copied().filter(|tile| tile.kind() == kind);
        let named: BTreeSet<_> = named.chain(edge).collect();
        let named: Vec<_> = named.into_iter().collect();
        let mut found = BTreeMap::new();
        let (mut next, count) = (0, kind.items(size).div_ceil(u64::from(TILE_WIDTH)));
        for tiles in named.chunk_by(|a, b| a.index() == b.index()) {
            let index = tiles[0].index();
            let Some(own) = Tile::in_tree(kind, index, size).filter(|own| tiles.contains(own)) else {
                continue;
            };
            self.missing(kind, size, next..index);
            next = index + 1;
            let parts = tiles.iter().copied().filter(|part| part.width() < own.width()).collect();
            found.insert(index, (own, parts));
        }
        self.missing(kind, size, next..count);
        found
    }

    /// The items of one of the tree's tiles, and whether its parts begin it.
    fn whole<T: PartialEq, E: std::fmt::Display>(
        &mut self,
        own: Tile,
        parts: &[Tile],
        split: impl Fn(&[u8], u16) -> Result<Vec<T>, E>,
    ) -> Option<Vec<T>> {
        let whole = self.own(own, &split)?;
        for part in parts {
            // One that is gone by now was of an earlier checkpoint.
            let found = self.read(*part, &split).ok();
            if found.is_some_and(|found| found != whole[..found.len()]) {
                self.find(code::PARTIAL_DIFFERS, part, "this is not the beginning of its tile");
            }
        }
        Some(whole)
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
