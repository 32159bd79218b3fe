//! `[limits]`: how much one peer, and all of them, may take of a provider's node.

use serde::Deserialize;

use super::ConfigError;

/// How much one peer, and all of them, may take of a provider's node. What is over a limit is refused at once with
/// RESOURCE_EXHAUSTED and the time after which another attempt may succeed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections of one peer, of all that `grpc.max_connections` permits.
    pub connections_per_peer: usize,
    /// TLS handshakes at a time; they hold no place of a connection.
    pub handshakes: usize,
    /// Streams of one connection.
    pub streams_per_connection: u32,
    /// Calls that are worked on at a time.
    pub calls: usize,
    /// The same of one peer; further ones wait, and peers that wait are served in turn.
    pub calls_per_peer: usize,
    /// Calls of one peer that may wait.
    pub waiting_per_peer: usize,
    /// Downloads, set intersections and steps of trainings and setups at a time; none waits.
    pub transfers: usize,
    /// The same of one peer.
    pub transfers_per_peer: usize,
    /// Memory for one peer's messages and what they are decoded to, from their first byte until their answers have
    /// left.
    pub memory_per_peer_mb: usize,
    /// Calls of one peer a second.
    pub calls_per_s: u64,
    /// Calls of one peer a second that may be refused for its own fault; after more, all of its calls are.
    pub faults_per_s: u64,
    /// Elements of one peer a second, for one purpose and key group, beside the grants' own rates. A session of more waits
    /// for a whole second's, and the next one until it is paid for.
    pub elements_per_s: u64,
    /// When a call is given up whose caller sets no deadline, or a later one.
    pub call_deadline_ms: u64,
    /// When a download or a step of a training is given up.
    pub transfer_deadline_ms: u64,
    /// How long a peer may leave an answer unread before its connection is closed.
    pub slow_reader_ms: u64,
    /// After how long a connection without calls is closed.
    pub idle_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_per_peer: 16,
            handshakes: 256,
            streams_per_connection: 128,
            calls: 256,
            calls_per_peer: 32,
            waiting_per_peer: 512,
            transfers: 128,
            transfers_per_peer: 16,
            memory_per_peer_mb: 16,
            calls_per_s: 5_000,
            faults_per_s: 20,
            elements_per_s: 1_000_000,
            call_deadline_ms: 60_000,
            transfer_deadline_ms: 86_400_000,
            slow_reader_ms: 30_000,
            idle_ms: 300_000,
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("limits.connections_per_peer", self.connections_per_peer),
            ("limits.handshakes", self.handshakes),
            ("limits.streams_per_connection", self.streams_per_connection as usize),
            ("limits.calls", self.calls),
            ("limits.calls_per_peer", self.calls_per_peer),
            ("limits.transfers", self.transfers),
            ("limits.transfers_per_peer", self.transfers_per_peer),
            ("limits.calls_per_s", self.calls_per_s as usize),
            ("limits.faults_per_s", self.faults_per_s as usize),
            ("limits.elements_per_s", self.elements_per_s as usize),
        ];
        let rule = |field, rule: &str| Err(ConfigError::Field { field, rule: rule.to_owned() });
        if let Some((field, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return rule(field, "is at least 1; to permit nothing, end the grant or suspend the partner");
        }
        if !(8..=4_096).contains(&self.memory_per_peer_mb) {
            return rule("limits.memory_per_peer_mb", "is 8 to 4096; the largest message takes 3");
        }
        let times = [
            ("limits.call_deadline_ms", self.call_deadline_ms),
            ("limits.transfer_deadline_ms", self.transfer_deadline_ms),
            ("limits.slow_reader_ms", self.slow_reader_ms),
            ("limits.idle_ms", self.idle_ms),
        ];
        match times.into_iter().find(|(_, ms)| !(100..=7 * 86_400_000).contains(ms)) {
            Some((field, _)) => rule(field, "is 100 to 604800000"),
            None => Ok(()),
        }
    }
}
