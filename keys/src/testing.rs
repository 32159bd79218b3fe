//! What the tests share: one seed for all randomness.

use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

/// The seed of every test's randomness.
pub(crate) const SEED: u64 = 0x5749_4e44_5641_4e45;

/// A generator from the seed, which is logged.
#[expect(clippy::print_stderr, reason = "a failing test must show its seed")]
pub(crate) fn rng() -> ChaCha20Rng {
    eprintln!("seed {SEED:#x}");
    ChaCha20Rng::seed_from_u64(SEED)
}
