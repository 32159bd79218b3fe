//! What can go wrong with a log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use windvane_protocols::audit::checkpoint::CheckpointError;
use windvane_protocols::audit::tiles::TileError;

/// Why a log refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Another process, or another handle of this one, has the log open.
    #[error("the log at {path} is in use; stop the node that has it")]
    Locked {
        /// What is locked.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The checkpoint or the origin is refused.
    #[error("the log's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// There are tiles but no checkpoint over them.
    #[error("{dir} has tiles but no checkpoint")]
    CheckpointMissing {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A tile or a bundle is not what its name says.
    #[error("{path}: {source}")]
    Tile {
        /// The tile.
        path: String,
        /// What is wrong.
        source: TileError,
    },
    /// The tiles' right edge gives another root than the checkpoint.
    #[error("the tiles do not give the root of the checkpoint over {size} entries")]
    Root {
        /// The checkpoint's size.
        size: u64,
    },
    /// A tile that is published only once is there already, with other content.
    #[error("{path} is there already with other content")]
    Conflict {
        /// The tile.
        path: String,
    },
    /// A file is longer than anything this log writes.
    #[error("{path} is longer than its limit of {expected} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        expected: u64,
    },
    /// The journal would be inside the log's directory, where only the log may be.
    #[error("the journal must be outside of {dir}")]
    JournalInside {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The journal is another log's.
    #[error("the journal {path} is of another log")]
    OtherJournal {
        /// The journal file.
        path: PathBuf,
    },
    /// The journal lacks entries, or does not continue the tree.
    #[error("the journal continues at entry {found} where {expected} is expected")]
    JournalGap {
        /// Index of the record.
        found: u64,
        /// Index that should follow.
        expected: u64,
    },
    /// An entry is empty or too long.
    #[error("an entry has {found} bytes, from 1 to {expected} are possible")]
    EntryBytes {
        /// Its length.
        found: usize,
        /// The limit.
        expected: usize,
    },
    /// One append is larger than the whole queue.
    #[error("an append has {found} bytes, at most {expected} are possible")]
    AppendBytes {
        /// Its length.
        found: usize,
        /// The limit.
        expected: usize,
    },
    /// The queue is full: storage is slower than the node.
    #[error("the log's queue is full")]
    Busy,
    /// The log is sealed.
    #[error("the log is closed")]
    Closed,
    /// A write or a sync failed; nothing is accepted any more.
    #[error("the log has failed: {reason}")]
    Failed {
        /// The first failure.
        reason: Arc<str>,
    },
}
