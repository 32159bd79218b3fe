//! What the kernel says of processes.

use rustix::param::clock_ticks_per_second;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::demo::DemoError;

/// User and system time that processes have used so far, milliseconds, with the kernel's resolution (10 ms).
pub(super) fn cpu_ms(pids: &[u32]) -> Result<f64, DemoError> {
    let ticks = pids.iter().map(|pid| {
        let path = format!("/proc/{pid}/stat");
        let text = std::fs::read_to_string(&path).map_err(DemoError::io(path))?;
        Ok(ticks(&text, OWN_TIMES).unwrap_or_default())
    });
    let ticks: u64 = ticks.collect::<Result<Vec<_>, DemoError>>()?.into_iter().sum();
    Ok(ticks as f64 * 1_000.0 / clock_ticks_per_second() as f64)
}

/// Where a process's own user time stands in `proc_pid_stat(5)`; its system time follows.
const OWN_TIMES: usize = 14;
/// And that of its children that have ended.
const CHILDREN_TIMES: usize = 16;

/// Two neighbouring fields of `proc_pid_stat(5)`, by the first one's number there: user and system time. Field 2 is in
/// parentheses and may hold anything.
fn ticks(stat: &str, first: usize) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(first - 3);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Forgets this process's peak of resident memory, where the kernel lets it (`proc_pid_clear_refs(5)`).
pub(super) fn reset_peak() {
    // Where it is refused, the peak includes what came before, which is little.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The peak of this process's resident memory, MiB.
///
/// # Errors
/// [`DemoError`] where the kernel does not tell.
pub fn peak_mib() -> Result<f64, DemoError> {
    peak_mib_of(std::process::id())
}

/// The peak of a process's resident memory, MiB.
pub(super) fn peak_mib_of(pid: u32) -> Result<f64, DemoError> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(DemoError::io(path))?;
    Ok(peak(&text).unwrap_or_default() as f64 / 1_024.0)
}

/// Keeps this process, and all that it starts, to the first few of its processors.
pub(super) fn keep_to(processors: usize) -> Result<(), DemoError> {
    let failed = |error: rustix::io::Errno| DemoError::io("choosing processors")(error.into());
    let allowed = sched_getaffinity(None).map_err(failed)?;
    let mut chosen = CpuSet::new();
    let first = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).take(processors.max(1));
    first.for_each(|cpu| chosen.set(cpu));
    sched_setaffinity(None, &chosen).map_err(failed)
}

/// User and system time of this process's children that have ended, milliseconds: fields 16 and 17 of
/// `proc_pid_stat(5)`.
pub(super) fn children_cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks(&stat, CHILDREN_TIMES).unwrap_or_default() as f64 * 1_000.0 / clock_ticks_per_second() as f64
}

fn peak(status: &str) -> Option<u64> {
    figure(status, "VmHWM:")
}

/// Resident memory of a process, MiB, once its peak so far is forgotten.
pub(super) fn settled_mib(pid: u32) -> Result<f64, DemoError> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").map_err(DemoError::io(path))?;
    of(pid, "VmRSS:")
}

/// The peak of a process's resident memory since then, MiB.
pub(super) fn peak_of_mib(pid: u32) -> Result<f64, DemoError> {
    of(pid, "VmHWM:")
}

fn of(pid: u32, name: &str) -> Result<f64, DemoError> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(DemoError::io(&path))?;
    let kib = figure(&status, name).ok_or_else(|| DemoError::Unfit(format!("{path} has no {name}")))?;
    Ok(kib as f64 / 1_024.0)
}

/// A figure of `proc_pid_status(5)`, KiB.
fn figure(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 9 0 0 0 120 34 0 0 20 0 2 0 5 6 7";
        assert_eq!((ticks(stat, OWN_TIMES), ticks(stat, CHILDREN_TIMES)), (Some(154), Some(0)));
        assert!(cpu_ms(&[std::process::id()]).unwrap() >= 0.0);
    }

    #[test]
    fn the_peak_is_read_in_mebibytes() {
        assert_eq!(peak("VmPeak:\t  9 kB\nVmHWM:\t    2048 kB\n"), Some(2_048));
        assert!(peak_mib().unwrap() > 1.0);
    }
}
