//! Latencies in figures.

use std::time::Duration;

use serde::Serialize;

use super::rounded;

/// Percentiles of a set of latencies, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LatencyFigures {
    /// The median.
    pub p50: f64,
    /// 95 of 100 are no longer.
    pub p95: f64,
    /// 99 of 100 are no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl LatencyFigures {
    /// The figures of these latencies, in any order.
    pub fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let at = |share| percentile(&latencies, share);
        Self { p50: at(0.50), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

/// The smallest of the ascending latencies that `share` of them do not exceed (nearest rank), milliseconds;
/// 0 when there are none.
pub fn percentile(ascending: &[Duration], share: f64) -> f64 {
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    let found = ascending.get(rank.max(1) - 1).copied().unwrap_or_default();
    rounded(found.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let latencies: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let figures = LatencyFigures::of(latencies);
        assert_eq!(figures, LatencyFigures { p50: 100.0, p95: 190.0, p99: 198.0, max: 200.0 });
        assert_eq!(LatencyFigures::of(Vec::new()), LatencyFigures::default());
        assert_eq!(percentile(&[Duration::from_micros(1_500)], 0.01), 1.5);
    }
}
