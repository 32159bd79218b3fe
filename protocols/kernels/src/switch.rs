//! The switch that forces one of a kernel's twins.

use std::sync::OnceLock;

/// The variable that forces the portable path, `WINDVANE_KERNELS=portable`, or that of AVX2 where there is one, `=avx2`.
pub const SWITCH: &str = "WINDVANE_KERNELS";

/// Whether [`SWITCH`] asks for the portable path.
pub(crate) fn is_portable_forced() -> bool {
    forced() == Some("portable")
}

/// Whether [`SWITCH`] asks for AVX2 even where there is more.
pub(crate) fn is_avx2_forced() -> bool {
    forced() == Some("avx2")
}

/// Read once.
fn forced() -> Option<&'static str> {
    static FORCED: OnceLock<Option<String>> = OnceLock::new();
    FORCED.get_or_init(|| std::env::var(SWITCH).ok()).as_deref()
}
