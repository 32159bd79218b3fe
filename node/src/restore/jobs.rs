//! Jobs that were under way when the backup was made.

use std::path::Path;

use windvane_protocols::party::SessionId;

use crate::error::NodeError;
use crate::identity::Layout;
use crate::psi::folder::JobFolder;
use crate::snapshot::disk::{self, at};
use crate::train::folder::SessionFolder;
use crate::train::run::TrainFolder;

/// Removes the folders of jobs that were not through: they went on after the backup, and what was sent is not known.
pub(super) fn drop_unfinished(layout: &Layout) -> Result<Option<String>, NodeError> {
    let root = layout.root();
    let psi = |job| {
        let state = JobFolder::peek(root, job).ok().flatten();
        state.is_some_and(|state| state.completed_at_ms.or(state.expired_at_ms).is_some())
    };
    let train = |job| {
        let state = TrainFolder::peek(root, job).ok().flatten();
        state.is_some_and(|state| state.completed_at_ms.is_some())
    };
    let sessions = |job| {
        let state = SessionFolder::peek(root, job).ok().flatten();
        state.is_some_and(|state| state.is_over())
    };
    let dropped = drop_in(&JobFolder::all(root), psi)?
        + drop_in(&TrainFolder::all(root), train)?
        + drop_in(&SessionFolder::all(root), sessions)?;
    let note = || format!("{dropped} jobs were under way when the backup was made; begin them anew");
    Ok((dropped > 0).then(note))
}

fn drop_in(all: &Path, is_over: impl Fn(SessionId) -> bool) -> Result<u64, NodeError> {
    if !all.exists() {
        return Ok(0);
    }
    let mut dropped = 0;
    for entry in std::fs::read_dir(all).map_err(at(all))? {
        let entry = entry.map_err(at(all))?;
        let name = entry.file_name();
        let id: Option<[u8; 16]> = name.to_str().and_then(|name| hex::decode(name).ok()?.try_into().ok());
        if !id.map(SessionId::from_bytes).is_some_and(&is_over) {
            disk::remove_directory(&entry.path())?;
            dropped += 1;
        }
    }
    Ok(dropped)
}
