//! What the kernel says of this process.

use rustix::param::{clock_ticks_per_second, page_size};

/// Memory, time and descriptors of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: u64,
    pub(super) cpu_seconds: f64,
    pub(super) open_files: u64,
}

/// As of now; zero where the kernel does not tell.
pub(super) fn read() -> Process {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let pages = text("statm").split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Process {
        resident_bytes: pages.unwrap_or_default().saturating_mul(page_size() as u64),
        cpu_seconds: ticks(&text("stat")).unwrap_or_default() as f64 / clock_ticks_per_second() as f64,
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
    }
}

/// User and system time, fields 14 and 15 of `proc_pid_stat(5)`. Field 2 is in parentheses and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_open_files() {
        let process = read();
        assert!(process.resident_bytes > 1 << 20 && process.open_files > 2, "{process:?}");
        assert_eq!(ticks("7 (a ) b) S 1 7 7 0 -1 4194304 9 0 0 0 120 34 0 0 20 0 2 0"), Some(154));
    }
}
