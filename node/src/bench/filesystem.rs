//! Which file system a directory is on: a log in memory would be fast and worth nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{major, minor, statfs};

use crate::demo::DemoError;

/// The type numbers of file systems in memory, `TMPFS_MAGIC` and `RAMFS_MAGIC` of `linux/magic.h`.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The name of the directory's file system, such as `ext4`.
///
/// # Errors
/// [`DemoError::Unfit`] when it is in memory.
pub(super) fn durable(dir: &Path) -> Result<String, DemoError> {
    let failed = || DemoError::io(dir.display().to_string());
    let number = statfs(dir).map_err(|error| failed()(error.into()))?.f_type as u64;
    if IN_MEMORY.contains(&number) {
        let text = format!("{} is in memory, so nothing there is durable; name a directory", dir.display());
        return Err(DemoError::Unfit(text + " on disk with --dir"));
    }
    let device = std::fs::metadata(dir).map_err(failed())?.dev();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(named(&mounts, major(device), minor(device)).unwrap_or_else(|| format!("{number:#x}")))
}

/// The type of a device's mount in the form of `proc(5)`: the third field is the device, and the type follows
/// a single hyphen.
fn named(mounts: &str, major: u32, minor: u32) -> Option<String> {
    let device = format!("{major}:{minor}");
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&device))?;
    mount.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_mount_is_found_by_its_device() {
        let mounts = "22 1 0:20 / /proc rw - proc proc rw\n\
                      28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n";
        assert_eq!(named(mounts, 254, 1).as_deref(), Some("ext4"));
        assert_eq!(named(mounts, 254, 2), None);
    }

    #[test]
    fn memory_is_refused() {
        // Linux mounts a tmpfs here wherever POSIX shared memory works.
        let refused = durable(Path::new("/dev/shm"));
        assert_eq!(refused.unwrap_err().code(), "UNFIT");
    }
}
