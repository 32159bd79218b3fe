//! The C2SP `tlog-tiles` layout (<https://c2sp.org/tlog-tiles>): names of tiles, their content, and which
//! tiles a tree has.
//!
//! A tile holds up to 256 consecutive hashes of one level: leaf hashes at level 0, roots of full tiles of
//! the level below above that. An entry bundle holds the entries of one level-0 tile. Only the rightmost tile
//! of a level can be partial.
//!
//! Promised: canonical names only, and content of exactly the named width. Not promised: that a tile belongs
//! to a tree; that takes its root.

use std::fmt;
use std::str::FromStr;

use super::merkle::{self, Subtrees, TreeHash};
use crate::limits::MAX_ENTRY_BYTES;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Levels of a Merkle tree between a tile's hashes and those of the tile above.
pub const TILE_HEIGHT: u32 = 8;

/// Trees are smaller than 2^63 entries, so that programs with signed sizes can read them.
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;

/// Bytes of a full hash tile.
pub const MAX_TILE_BYTES: usize = TILE_WIDTH as usize * 32;

/// Bytes of the largest full bundle.
pub const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES);

/// Highest level of a tree below [`MAX_TREE_SIZE`].
const MAX_LEVEL: u8 = 7;

/// Why a name or a content is not that of a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// Level, index or width is out of range.
    #[error("no tree has this tile")]
    Coordinates,
    /// The path is not a canonical tile path.
    #[error("this is not the path of a tile")]
    Path,
    /// An entry does not fit a bundle's 16-bit length.
    #[error("an entry has {found} bytes, at most {expected} are possible")]
    EntryBytes {
        /// Its length.
        found: usize,
        /// The limit.
        expected: usize,
    },
    /// The content's length does not fit the width.
    #[error("a tile has {found} bytes where its width takes {expected}")]
    TileBytes {
        /// Its length.
        found: usize,
        /// The length that its width takes.
        expected: usize,
    },
    /// A bundle ends inside an entry, or has too few.
    #[error("a bundle ends in its entry {found} of {expected}")]
    BundleTruncated {
        /// Entries that were whole.
        found: u16,
        /// Entries by its width.
        expected: u16,
    },
    /// Bytes follow a bundle's last entry.
    #[error("{found} bytes follow a bundle's last entry")]
    BundleTrailing {
        /// How many.
        found: usize,
    },
    /// The right edge's tiles do not have the widths that the tree's size asks for.
    #[error("the tiles do not make a right edge")]
    Edge,
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Entries: a bundle.
    Entries,
    /// Hashes of this level.
    Hashes(u8),
}

impl TileKind {
    /// How many items (entries or hashes) a tree of this size has of this kind.
    pub fn items(self, size: u64) -> u64 {
        match self {
            Self::Entries => size,
            Self::Hashes(level) => size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0),
        }
    }
}

/// The name of a tile or an entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl Tile {
    /// Tile `index` of its kind, with its first `width` items.
    ///
    /// # Errors
    /// [`TileError::Coordinates`] when no tree below [`MAX_TREE_SIZE`] has it.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
        let last = index.checked_mul(u64::from(TILE_WIDTH)).and_then(|n| n.checked_add(u64::from(width)));
        let fits =
            last.is_some_and(|n| n <= MAX_TREE_SIZE >> (TILE_HEIGHT * u32::from(level.min(MAX_LEVEL))));
        if level <= MAX_LEVEL && (1..=TILE_WIDTH).contains(&width) && fits {
            Ok(Self { kind, index, width })
        } else {
            Err(TileError::Coordinates)
        }
    }

    /// Tile `index` of its kind as a tree of this size has it; `None` when it has none.
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let rest = kind.items(size).checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = u16::try_from(rest).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        Self::new(kind, index, width).ok()
    }

    /// What it holds.
    pub fn kind(self) -> TileKind {
        self.kind
    }

    /// Its index among the tiles of its kind.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether it is complete and will never change.
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile, complete.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The index of its first item.
    pub fn first(self) -> u64 {
        self.index * u64::from(TILE_WIDTH)
    }

    /// The longest content that the tile can have.
    pub fn max_bytes(self) -> usize {
        match self.kind {
            TileKind::Entries => usize::from(self.width) * (2 + MAX_ENTRY_BYTES),
            TileKind::Hashes(_) => usize::from(self.width) * 32,
        }
    }
}

impl fmt::Display for Tile {
    /// The path below the log's directory, for example `tile/0/x001/x234/067.p/8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let mut base = 1;
        while self.index / base >= 1_000 {
            base *= 1_000;
        }
        while base > 1 {
            write!(f, "x{:03}/", self.index / base % 1_000)?;
            base /= 1_000;
        }
        write!(f, "{:03}", self.index % 1_000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for Tile {
    type Err = TileError;

    /// Reads a path below the log's directory; only the canonical spelling is accepted.
    fn from_str(path: &str) -> Result<Self, TileError> {
        let (kind, rest) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(TileError::Path)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().map_err(|_| TileError::Path)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| TileError::Path)?),
            None => (rest, TILE_WIDTH),
        };
        let tile = Self::new(kind, parse_index(index).ok_or(TileError::Path)?, width)?;
        if tile.to_string() == path { Ok(tile) } else { Err(TileError::Path) }
    }
}

fn parse_index(text: &str) -> Option<u64> {
    text.split('/').try_fold(0_u64, |index, part| {
        let digits: u64 = part.strip_prefix('x').unwrap_or(part).parse().ok()?;
        index.checked_mul(1_000)?.checked_add(digits)
    })
}

/// The kinds of tiles that a tree of this size has: entries, then hashes from the lowest level.
pub fn kinds(size: u64) -> impl Iterator<Item = TileKind> {
    let levels = (0..=MAX_LEVEL).map(TileKind::Hashes);
    std::iter::once(TileKind::Entries).chain(levels).take_while(move |kind| kind.items(size) > 0)
}

/// Every bundle and tile of a tree of this size.
pub fn tiles_of(size: u64) -> impl Iterator<Item = Tile> {
    tiles_between(0, size)
}

/// The bundles and tiles of a tree of `new` entries that a tree of `old` entries does not have.
pub fn tiles_between(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let grown = kinds(new).filter(move |kind| kind.items(old) < kind.items(new));
    grown.flat_map(move |kind| {
        let first = kind.items(old) / u64::from(TILE_WIDTH);
        let end = kind.items(new).div_ceil(u64::from(TILE_WIDTH));
        (first..end).filter_map(move |index| Tile::in_tree(kind, index, new))
    })
}

/// The partial bundle and tiles of a tree of this size.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    let last = move |kind: TileKind| Tile::in_tree(kind, kind.items(size) / u64::from(TILE_WIDTH), size);
    kinds(size).filter_map(last)
}

/// Appends an entry to a bundle: its length as two big-endian bytes, then the entry.
///
/// # Errors
/// [`TileError::EntryBytes`] when it is too long; the bundle is then as before.
pub fn encode_entry(entry: &[u8], bundle: &mut Vec<u8>) -> Result<(), TileError> {
    let len = u16::try_from(entry.len())
        .map_err(|_| TileError::EntryBytes { found: entry.len(), expected: MAX_ENTRY_BYTES })?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Takes a bundle of exactly `width` entries apart.
///
/// # Errors
/// [`TileError`] when it has fewer entries, or bytes after them.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::with_capacity(usize::from(width.min(TILE_WIDTH)));
    let mut rest = bundle;
    for found in 0..width {
        let short = || TileError::BundleTruncated { found, expected: width };
        let (len, tail) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let (entry, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or_else(short)?;
        entries.push(entry);
        rest = tail;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::BundleTrailing { found: rest.len() }) }
}

/// Takes a hash tile of exactly `width` hashes apart.
///
/// # Errors
/// [`TileError::TileBytes`] when its length is another.
pub fn decode_hashes(tile: &[u8], width: u16) -> Result<Vec<TreeHash>, TileError> {
    let (hashes, rest) = tile.as_chunks::<32>();
    if rest.is_empty() && hashes.len() == usize::from(width) {
        Ok(hashes.to_vec())
    } else {
        Err(TileError::TileBytes { found: tile.len(), expected: usize::from(width) * 32 })
    }
}

/// Every hash tile of the tree over these leaf hashes, with its content.
pub fn hash_tiles(leaves: &[TreeHash]) -> Vec<(Tile, Vec<u8>)> {
    let mut edge = TileEdge::new();
    let mut tiles: Vec<_> = leaves.iter().flat_map(|leaf| edge.append(*leaf)).collect();
    tiles.extend(edge.partial_tiles());
    tiles
}

/// The right edge of a tiled tree: the hashes of its partial tiles, which is all that is needed to append,
/// to write the next tiles, and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TileEdge {
    size: u64,
    levels: Vec<Vec<TreeHash>>,
}

impl TileEdge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` entries from the hashes of the partial tile of every level, lowest
    /// first; a level whose last tile is full, or that has none, has no hashes here.
    ///
    /// # Errors
    /// [`TileError::Edge`] when the numbers of hashes do not fit the size.
    pub fn from_levels(size: u64, levels: Vec<Vec<TreeHash>>) -> Result<Self, TileError> {
        let width = |level: u8| TileKind::Hashes(level).items(size) % u64::from(TILE_WIDTH);
        let expected = kinds(size).skip(1).count();
        let fits = (0_u8..).zip(&levels).all(|(level, hashes)| hashes.len() as u64 == width(level));
        if fits && levels.len() == expected { Ok(Self { size, levels }) } else { Err(TileError::Edge) }
    }

    /// Appends an entry's hash; returns the hash tiles that this completed, with their content.
    pub fn append(&mut self, leaf: TreeHash) -> Vec<(Tile, Vec<u8>)> {
        let mut completed = Vec::new();
        let mut hash = leaf;
        for level in 0..=MAX_LEVEL {
            let index = TileKind::Hashes(level).items(self.size) / u64::from(TILE_WIDTH);
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[usize::from(level)];
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            hash = merkle::root_of(hashes);
            let tile = Tile { kind: TileKind::Hashes(level), index, width: TILE_WIDTH };
            completed.push((tile, hashes.concat()));
            hashes.clear();
        }
        self.size += 1;
        completed
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the partial tile of this level; none when the level has no partial tile.
    pub fn hashes(&self, level: u8) -> &[TreeHash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// The partial hash tiles, with their content.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> {
        let hashes_of = |tile: Tile| match tile.kind {
            TileKind::Hashes(level) => Some((tile, self.hashes(level).concat())),
            TileKind::Entries => None,
        };
        partial_tiles(self.size).filter_map(hashes_of)
    }

    /// The tree's root.
    pub fn root(&self) -> TreeHash {
        let rising = self.levels.iter().flat_map(|hashes| peaks_rising(hashes));
        rising.reduce(|right, left| merkle::node_hash(&left, &right)).unwrap_or(merkle::EMPTY_ROOT)
    }
}

/// Roots of the complete subtrees over a partial tile's hashes, smallest (rightmost) first.
fn peaks_rising(hashes: &[TreeHash]) -> impl Iterator<Item = TreeHash> {
    let mut rest = hashes;
    std::iter::from_fn(move || {
        let width = 1_usize.checked_shl(rest.len().trailing_zeros())?;
        let (left, right) = rest.split_at_checked(rest.len().checked_sub(width)?)?;
        rest = left;
        Some(merkle::root_of(right))
    })
}

/// A tree of `size` entries whose hashes are read from tiles by a function, for proofs from a published log.
#[derive(Debug, Clone)]
pub struct TiledTree<F> {
    size: u64,
    read: F,
}

impl<F: Fn(Tile) -> Option<Vec<TreeHash>>> TiledTree<F> {
    /// A tree over what `read` finds; `read` gets a tile as this tree has it.
    pub fn new(size: u64, read: F) -> Self {
        Self { size, read }
    }
}

impl<F: Fn(Tile) -> Option<Vec<TreeHash>>> Subtrees for TiledTree<F> {
    fn subtree(&self, level: u32, index: u64) -> Option<TreeHash> {
        let kind = TileKind::Hashes(u8::try_from(level / TILE_HEIGHT).ok()?);
        let within = level % TILE_HEIGHT;
        let first = index.checked_mul(1 << within)?;
        let tile = Tile::in_tree(kind, first / u64::from(TILE_WIDTH), self.size)?;
        let start = usize::try_from(first % u64::from(TILE_WIDTH)).ok()?;
        let hashes = (self.read)(tile)?;
        hashes.get(start..start + (1 << within)).map(merkle::root_of)
    }
}

#[cfg(test)]
mod tests;
