//! Times the oblivious key-value store on one thread: `cargo run --release -p windvane-protocols --example
//! okvs_speed [LOG2_ROWS]`.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::hint::black_box;

use rand::SeedableRng as _;
use rustix::time::{ClockId, clock_gettime};
use windvane_kernels::aes::Prg;
use windvane_protocols::psi::okvs::{Rows, Shape};

fn main() {
    let log = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(18);
    let count = 1 << log;
    let (mut keys, mut values) = (vec![0; count], vec![0; count]);
    Prg::new(1).fill(&mut keys);
    Prg::new(2).fill(&mut values);
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
    for bits in [40, 52] {
        let shape = Shape::new(count, bits).expect("the size is allowed");
        let rows = Rows::derive(shape, 4, &keys).expect("the keys fit");
        let store = rows.encode(&values, &mut rng).expect("one failure in 2^40 runs");
        assert_eq!(rows.decode(&store).expect("the store fits"), values);
        println!("2^{log} rows, 2^-{bits}: {} columns", shape.columns());
        time("derive", count, || drop(black_box(Rows::derive(shape, 4, &keys))));
        time("encode", count, || drop(black_box(rows.encode(&values, &mut rng))));
        time("decode", count, || drop(black_box(rows.decode(&store))));
    }
}

/// The minimum of several passes, per row.
fn time(name: &str, count: usize, mut pass: impl FnMut()) {
    let passes = (0..15).map(|_| {
        let start = cpu_nanoseconds();
        pass();
        cpu_nanoseconds() - start
    });
    println!("  {name:8} {:6.1} ns/row", passes.min().unwrap_or_default() as f64 / count as f64);
}

/// The thread's time on a processor: other processes do not show in it.
fn cpu_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
