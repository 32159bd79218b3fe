//! A fuzz target for every parser of bytes that are not ours: what peers send, what partners hand over as files, and
//! what operators write.
//!
//! A target is a function that must return for any input, within [`Target::allowance`]: it parses, and holds what parses
//! against what it must satisfy (a canonical encoding is the only one, the lanes decide as the portable code does). The test
//! of this crate runs it on the seeds and a few hundred mutations of each; the program `windvane-fuzz` on as many as there
//! is time for (`cargo run --release -p windvane-fuzz -- run --seconds 600`), and libFuzzer, guided by coverage, with `.ci/fuzz`.
//!
//! Seeds lie in `seeds/<target>`; `windvane-fuzz collect` takes them from the directory of a demonstration.

pub mod limit;
pub mod mutate;
pub mod seeds;
mod targets;

pub use targets::TARGETS;

/// Bytes that a target may have allocated at a time, whatever its input says.
const BASE_BYTES: usize = 8 << 20;

/// Bytes that a target may have allocated besides for each byte of its input.
const BYTES_EACH: usize = 256;

/// A parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name, as a folder of seeds has it.
    pub name: &'static str,
    /// Takes any input; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Bytes besides that a library behind it allocates for itself.
    pub extra: usize,
}

impl Target {
    /// The target of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// How many bytes may be allocated for an input of this length.
    pub const fn allowance(&self, input: usize) -> usize {
        BASE_BYTES + self.extra + BYTES_EACH * input
    }
}
