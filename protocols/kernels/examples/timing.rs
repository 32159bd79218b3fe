//! Times the kernels of ristretto255 against `curve25519-dalek`: `timing [elements] [rounds]`.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane_kernels::timing::measure;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let (elements, rounds) = (arguments.next().unwrap_or(4096), arguments.next().unwrap_or(5));
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let strings: Vec<[u8; 64]> = (0..elements).map(|_| std::array::from_fn(|_| rng.random())).collect();
    println!("{:<20} {:>8} {:>8} {:>8}", "operation", "ifma_us", "avx2_us", "dalek_us");
    for timing in measure(&strings, rounds) {
        let figure = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
        let (ifma, avx2) = (figure(timing.ours_us), figure(timing.avx2_us));
        println!("{:<20} {ifma:>8} {avx2:>8} {:>8.3}", timing.operation, timing.dalek_us);
    }
}
