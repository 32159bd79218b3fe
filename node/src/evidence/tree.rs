//! The published part: tiles, bundles and the checkpoint in the log's directory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windvane_protocols::audit::checkpoint::{Checkpoint, LogSigner, MAX_CHECKPOINT_BYTES};
use windvane_protocols::audit::merkle::{TreeHash, leaf_hash};
use windvane_protocols::audit::tiles::{
    TILE_WIDTH, Tile, TileEdge, TileKind, decode_bundle, decode_hashes, encode_entry, kinds, partial_tiles,
};

use super::LogError;
use super::disk::Disk;
use super::files;
use super::stage::Stage;

/// Name of the checkpoint's file.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// Every file is written under this one name first, in the log's directory; what an interrupted publication
/// leaves is removed when the log is opened.
pub(super) const TEMPORARY: &str = ".publishing";

/// The tree in its directory, which stays locked.
#[derive(Debug)]
pub(super) struct Tree {
    dir: PathBuf,
    _lock: File,
    disk: Arc<dyn Disk>,
    signer: LogSigner,
    edge: TileEdge,
    /// The entries of the partial bundle, encoded.
    bundle: Vec<u8>,
    checkpoint: Option<Checkpoint>,
    /// Directories with new names that are not yet durable.
    renamed: BTreeSet<PathBuf>,
    /// Whether nothing was published since the tree was opened.
    is_first: bool,
}

impl Tree {
    /// Locks the directory, checks the checkpoint, and reads the right edge under it.
    pub(super) fn open(dir: &Path, signer: LogSigner, disk: Arc<dyn Disk>) -> Result<Self, LogError> {
        fs::create_dir_all(dir).map_err(files::at(dir))?;
        let lock = File::open(dir).map_err(files::at(dir))?;
        files::lock(&lock, dir)?;
        let checkpoint = read_checkpoint(dir, &signer)?;
        let (edge, bundle) = match &checkpoint {
            Some(checkpoint) => read_edge(dir, checkpoint)?,
            None => {
                files::sync_parent(dir)?;
                (TileEdge::new(), Vec::new())
            }
        };
        let dir = dir.to_owned();
        let renamed = BTreeSet::new();
        Ok(Self { dir, _lock: lock, disk, signer, edge, bundle, checkpoint, renamed, is_first: true })
    }

    /// Entries in the tree.
    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Appends entries, which must be durable, and signs the tree over them. After an error the tree must
    /// not be used any more.
    pub(super) fn publish(&mut self, entries: Vec<Vec<u8>>) -> Result<Checkpoint, LogError> {
        files::remove(&self.dir.join(TEMPORARY))?;
        if let (true, Some(checkpoint)) = (entries.is_empty(), &self.checkpoint) {
            return Ok(checkpoint.clone());
        }
        let mut completed = Vec::new();
        for entry in entries {
            completed.extend(self.append(&entry)?);
        }
        self.write_partial()?;
        self.sync_names()?;
        Stage::Tiles.reached();
        let checkpoint = self.write_checkpoint()?;
        Stage::Checkpoint.reached();
        self.is_first = false;
        for tile in completed {
            files::remove(&self.dir.join(format!("{tile}.p")))?;
        }
        Ok(checkpoint)
    }

    /// Adds an entry; returns the tiles that this completed and wrote.
    fn append(&mut self, entry: &[u8]) -> Result<Vec<Tile>, LogError> {
        let index = self.size() / u64::from(TILE_WIDTH);
        let tile_error = |source| LogError::Tile { path: format!("tile/entries, bundle {index}"), source };
        let bundle = Tile::new(TileKind::Entries, index, TILE_WIDTH).map_err(tile_error)?;
        encode_entry(entry, &mut self.bundle).map_err(tile_error)?;
        let hashes = self.edge.append(leaf_hash(entry));
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let content = std::mem::take(&mut self.bundle);
        self.write(bundle, &content)?;
        hashes.iter().try_for_each(|(tile, content)| self.write(*tile, content))?;
        Ok(std::iter::once(bundle).chain(hashes.into_iter().map(|(tile, _)| tile)).collect())
    }

    fn write_partial(&mut self) -> Result<(), LogError> {
        let bundle = partial_tiles(self.size()).find(|tile| tile.kind() == TileKind::Entries);
        let bundle = bundle.map(|tile| (tile, self.bundle.clone()));
        let partial: Vec<_> = bundle.into_iter().chain(self.edge.partial_tiles()).collect();
        partial.iter().try_for_each(|(tile, content)| self.write(*tile, content))
    }

    /// Writes a tile, once: when it is there already, from a publication that was interrupted, it must be
    /// the same.
    fn write(&mut self, tile: Tile, content: &[u8]) -> Result<(), LogError> {
        let path = self.dir.join(tile.to_string());
        let found = files::read(&path, tile.max_bytes())?;
        if found.as_deref().is_some_and(|found| found != content) {
            return Err(LogError::Conflict { path: tile.to_string() });
        }
        let parent = path.parent().unwrap_or(&self.dir).to_owned();
        let is_new = !parent.is_dir();
        if is_new {
            fs::create_dir_all(&parent).map_err(files::at(&parent))?;
        }
        if is_new || self.is_first {
            // A publication that was interrupted may not have come to syncing the names that are there.
            let above = parent.ancestors().skip(1).take_while(|above| above.starts_with(&self.dir));
            self.renamed.extend(above.map(Path::to_owned));
        }
        self.renamed.insert(parent);
        if found.is_some() {
            return Ok(());
        }
        files::replace(&*self.disk, &self.dir.join(TEMPORARY), &path, content)
    }

    fn sync_names(&mut self) -> Result<(), LogError> {
        self.renamed.iter().try_for_each(|dir| files::sync_dir(dir))?;
        self.renamed.clear();
        Ok(())
    }

    fn write_checkpoint(&mut self) -> Result<Checkpoint, LogError> {
        let signed = self.signer.sign(self.size(), self.edge.root());
        let note = signed.to_string();
        files::replace(&*self.disk, &self.dir.join(TEMPORARY), &self.dir.join(CHECKPOINT), note.as_bytes())?;
        files::sync_dir(&self.dir)?;
        let checkpoint = signed.unverified().clone();
        self.checkpoint = Some(checkpoint.clone());
        Ok(checkpoint)
    }

    /// Removes the partial tiles of earlier checkpoints beside those of the last one.
    pub(super) fn remove_superseded(&self) -> Result<(), LogError> {
        for tile in partial_tiles(self.size()) {
            let path = self.dir.join(tile.to_string());
            let parent = path.parent().unwrap_or(&self.dir);
            for found in fs::read_dir(parent).map_err(files::at(parent))? {
                let found = found.map_err(files::at(parent))?.path();
                if found != path {
                    files::remove(&found)?;
                }
            }
            files::sync_dir(parent)?;
        }
        Ok(())
    }
}

fn read_checkpoint(dir: &Path, signer: &LogSigner) -> Result<Option<Checkpoint>, LogError> {
    match files::read(&dir.join(CHECKPOINT), MAX_CHECKPOINT_BYTES)? {
        Some(note) => Ok(Some(signer.verifier().verify(&note)?)),
        // A log signs its empty tree before it takes an entry.
        None if dir.join("tile").exists() => Err(LogError::CheckpointMissing { dir: dir.to_owned() }),
        None => Ok(None),
    }
}

/// The right edge and the partial bundle, both proven by the checkpoint's root.
pub(super) fn read_edge(dir: &Path, checkpoint: &Checkpoint) -> Result<(TileEdge, Vec<u8>), LogError> {
    let size = checkpoint.size;
    let mut levels: Vec<Vec<TreeHash>> = kinds(size).skip(1).map(|_| Vec::new()).collect();
    let mut bundle = (Vec::new(), Vec::new());
    for tile in partial_tiles(size) {
        let content = read_tile(dir, tile)?;
        let tile_error = |source| LogError::Tile { path: tile.to_string(), source };
        match tile.kind() {
            TileKind::Hashes(level) => {
                levels[usize::from(level)] = decode_hashes(&content, tile.width()).map_err(tile_error)?;
            }
            TileKind::Entries => {
                let entries = decode_bundle(&content, tile.width()).map_err(tile_error)?;
                let leaves = entries.into_iter().map(leaf_hash).collect();
                bundle = (leaves, content);
            }
        }
    }
    let edge = TileEdge::from_levels(size, levels)
        .map_err(|source| LogError::Tile { path: "tile".into(), source })?;
    let (leaves, bundle) = bundle;
    if edge.root() != checkpoint.root || edge.hashes(0) != leaves {
        return Err(LogError::Root { size });
    }
    Ok((edge, bundle))
}

/// A tile's content.
pub(super) fn read_tile(dir: &Path, tile: Tile) -> Result<Vec<u8>, LogError> {
    let path = dir.join(tile.to_string());
    let missing = || files::at(&path)(std::io::ErrorKind::NotFound.into());
    files::read(&path, tile.max_bytes())?.ok_or_else(missing)
}
