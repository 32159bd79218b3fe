//! A fuzz target for every parser of bytes that are not ours: what peers send, what partners hand over as files, and
//! what operators write.
//!
//! A target is a function that must return for any input, within [`Target::allowance`]: it parses, and holds what parses
//! against what it must satisfy (a canonical encoding is the only one, the lanes decide as the portable code does). The test
//! of this crate runs it on the seeds and a few hundred mutations of each, and libFuzzer, guided by coverage, on as many
//! inputs as there is time for: `.ci/fuzz --seconds 600`.
//!
//! Seeds lie in `seeds/<target>`; the program `windvane-fuzz` takes them from the directory of a demonstration
//! (`cargo run -p windvane-fuzz -- DIRECTORY`).

pub mod limit;
#[cfg(test)]
mod mutate;
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

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;
    use crate::mutate::mutate;

    /// Mutations of each seed.
    const EACH: usize = 200;

    /// Longest input, as `.ci/fuzz` has it.
    const MAX_INPUT: usize = 64 << 10;

    #[test]
    fn every_target_takes_its_seeds_and_their_mutations_within_its_allowance() {
        for target in TARGETS {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            let seeds = seeds::of(target.name);
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            for seed in &seeds {
                limit::run(target, seed);
                for _ in 0..EACH {
                    limit::run(target, &mutate(seed, &seeds, MAX_INPUT, &mut rng));
                }
            }
        }
    }
}
