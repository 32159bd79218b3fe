//! Structured logs: JSON lines on standard error, without identities.

use tracing_subscriber::EnvFilter;

/// Environment variable that sets what is logged, for example `info` or `windvane=debug`.
pub const FILTER_VARIABLE: &str = "WINDVANE_LOG";

/// Begins to log. A second call changes nothing.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only when logging has begun already.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
