//! Which of the twins runs.

use std::sync::OnceLock;

pub use crate::switch::SWITCH;
use crate::switch::is_portable_forced;

/// Eight lanes with AVX-512 IFMA, or `curve25519-dalek`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(pub(super) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma),
}

/// Proof that this processor has AVX-512 IFMA: only [`Ifma::detect`] makes one.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ifma(());

#[cfg(target_arch = "x86_64")]
impl Ifma {
    fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")).then_some(Self(()))
    }
}

impl Backend {
    /// The best backend of this machine, or the portable one if [`SWITCH`] asks for it; decided once.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Backend> = OnceLock::new();
        *CHOSEN.get_or_init(|| Self::ifma().filter(|_| !is_portable_forced()).unwrap_or(Self::portable()))
    }

    /// [`Self::chosen`] for so many elements that are not needed later: a single one costs the lanes as much
    /// as eight, and the portable twin half of that.
    pub(super) fn worthwhile(count: usize) -> Self {
        if count > 1 { Self::chosen() } else { Self::portable() }
    }

    /// `curve25519-dalek`, everywhere.
    pub fn portable() -> Self {
        Self(Kind::Portable)
    }

    /// Eight lanes, where the processor has AVX-512 IFMA.
    pub fn ifma() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Ifma::detect().map(|ifma| Self(Kind::Ifma(ifma)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Whether this is the eight-lane backend.
    pub fn is_ifma(self) -> bool {
        self.0 != Kind::Portable
    }
}
