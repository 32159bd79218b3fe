//! Which of the twins runs.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Ifma, Lanes as _};
pub use crate::switch::SWITCH;
use crate::switch::{is_avx2_forced, is_portable_forced};

/// Eight lanes with AVX-512 IFMA or with AVX2 and FMA, or `curve25519-dalek`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(pub(super) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Lanes(InstructionSet),
}

/// An instruction set that this processor has.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InstructionSet {
    Ifma(Ifma),
    Avx2(Avx2),
}

#[cfg(target_arch = "x86_64")]
impl InstructionSet {
    /// Points that are calculated with at the same time.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Ifma(lanes) => lanes.held().len(),
            Self::Avx2(lanes) => lanes.held().len(),
        }
    }

    /// The lowest word of one at rest, whose other words are 0.
    pub(super) fn one(self) -> u64 {
        match self {
            Self::Ifma(_) => Ifma::small(1),
            Self::Avx2(_) => Avx2::small(1),
        }
    }
}

impl Backend {
    /// The best backend of this machine, or what [`SWITCH`] asks for; decided once.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Backend> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let best = match (is_portable_forced(), is_avx2_forced()) {
                (true, _) => None,
                (_, true) => Self::avx2(),
                _ => Self::ifma().or_else(Self::avx2),
            };
            best.unwrap_or(Self::portable())
        })
    }

    /// [`Self::chosen`] for so many elements that are not needed later. A single one costs lanes of AVX-512 as much as
    /// eight, which the portable twin does in half of that; one costs lanes of AVX2 as much as four, and the portable
    /// twin does two in less.
    pub(super) fn worthwhile(count: usize) -> Self {
        let chosen = Self::chosen();
        let few = if Some(chosen) == Self::avx2() { 2 } else { 1 };
        if count > few { chosen } else { Self::portable() }
    }

    /// `curve25519-dalek`, everywhere.
    pub fn portable() -> Self {
        Self(Kind::Portable)
    }

    /// Eight lanes of AVX-512 IFMA, where the processor has it.
    pub fn ifma() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Ifma::detect().map(|ifma| Self(Kind::Lanes(InstructionSet::Ifma(ifma))));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Eight lanes of AVX2 with FMA, where the processor has both.
    pub fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return Avx2::detect().map(|avx2| Self(Kind::Lanes(InstructionSet::Avx2(avx2))));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// How many points are multiplied in the time of one.
    pub fn width(self) -> usize {
        match self.0 {
            Kind::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Kind::Lanes(set) => set.width(),
        }
    }

    /// What this backend is called: `avx512ifma`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Lanes(InstructionSet::Ifma(_)) => "avx512ifma",
            #[cfg(target_arch = "x86_64")]
            Kind::Lanes(InstructionSet::Avx2(_)) => "avx2",
        }
    }
}
