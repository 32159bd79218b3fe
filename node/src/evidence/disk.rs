//! What the log's files are written through: the system, or, in a simulation, what fails as disks do.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Writes to open files, and makes durable what was written.
pub trait Disk: Debug + Send + Sync {
    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// The system's; some of the bytes may have been written.
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    /// Makes a file's content durable.
    ///
    /// # Errors
    /// The system's; what was written may be durable or not.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {}
