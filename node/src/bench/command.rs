//! A command of the bank's, measured from its start to its end beside nodes that run already.

use std::process::Stdio;
use std::time::Instant;

use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::process;
use crate::demo::DemoError;

/// What a command printed, and what it took.
#[derive(Debug)]
pub(super) struct Measured<T> {
    /// What its JSON says.
    pub(super) printed: T,
    /// Seconds from its start to its end.
    pub(super) wall_s: f64,
    /// User and system time of the command and the nodes, seconds.
    pub(super) cpu_s: f64,
    /// Bytes over the loopback device meanwhile, both directions, with all headers.
    pub(super) bytes: u64,
}

/// Runs a command that prints JSON. `what` names it in errors; what it says on standard error is passed on.
pub(super) async fn measure<T: DeserializeOwned>(
    what: &str,
    command: &mut Command,
    nodes: &[u32],
) -> Result<Measured<T>, DemoError> {
    let (nodes_ms, children_ms) = (process::cpu_ms(nodes)?, process::children_cpu_ms());
    let (bytes, begun) = (loopback_bytes(), Instant::now());
    let output = command.stderr(Stdio::inherit()).stdout(Stdio::piped()).kill_on_drop(true).output();
    let ended = output.await.map_err(DemoError::io(format!("running {what}")))?;
    let wall_s = begun.elapsed().as_secs_f64();
    let bytes = loopback_bytes() - bytes;
    let cpu_ms = process::cpu_ms(nodes)? - nodes_ms + process::children_cpu_ms() - children_ms;
    if !ended.status.success() {
        return Err(DemoError::Wrong(format!("{what} ended with {}; it said why above", ended.status)));
    }
    let printed = serde_json::from_slice(&ended.stdout)
        .map_err(|error| DemoError::Wrong(format!("the report of {what} cannot be read: {error}")))?;
    Ok(Measured { printed, wall_s, cpu_s: cpu_ms / 1_000.0, bytes })
}

/// Bytes that the loopback device has received, `proc_net_dev`.
fn loopback_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:").map(str::to_owned));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or_default()
}
