//! The switch that forces the portable twins of kernels that have one.

use std::sync::OnceLock;

/// The variable that forces the portable path: `WINDVANE_KERNELS=portable`.
pub const SWITCH: &str = "WINDVANE_KERNELS";

/// Whether [`SWITCH`] asks for the portable path; read once.
pub(crate) fn is_portable_forced() -> bool {
    static FORCED: OnceLock<bool> = OnceLock::new();
    *FORCED.get_or_init(|| std::env::var_os(SWITCH).is_some_and(|value| value == "portable"))
}
