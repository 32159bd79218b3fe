//! Looks for differences in time between a fixed and random secrets, by the method of Reparaz, Balasch and
//! Verbauwhede, "Dude, is my code constant time?" (DATE 2017, eprint 2016/1123): `cargo run --release -p
//! windvane-protocols --example dudect -- [--seconds N] [--runs N]`, and again with
//! `WINDVANE_KERNELS=portable`.
//!
//! The steps of the oblivious PRF that touch a secret run with two classes of it, in random order: always 1,
//! and a fresh random scalar each time. 1 is the scalar that arithmetic with branches or early ends would be
//! fastest with. Welch's t-test compares the two classes' times, all of them and those below each of 100
//! percentiles; |t| above 4.5 is a difference. `random control` is one step with two random classes, which
//! shows what noise alone does; `leaky control` is a multiplication in variable time, which shows that the
//! test can see.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use curve25519_dalek::Scalar;
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane_kernels::ristretto::Backend;

mod operations;
mod statistics;

use operations::Operation;
use statistics::Tests;

/// The convention for a difference.
const THRESHOLD: f64 = 4.5;
/// Times that only set the percentiles.
const CALIBRATION: usize = 1_000;

fn main() -> ExitCode {
    let seconds = Duration::from_secs(option("--seconds").unwrap_or(10));
    println!("kernels: {}", Backend::chosen().name());
    println!("{:<16} {:>3} {:>9} {:>9} {:>9}", "step", "run", "measured", "t", "max |t|");
    let mut as_expected = true;
    for run in 1..=option("--runs").unwrap_or(1) {
        let mut rng = ChaCha20Rng::seed_from_u64(run);
        for (name, leaks, mut operation) in operations::all() {
            let tests = measure(&mut operation, Some(Scalar::ONE), seconds, &mut rng);
            as_expected &= report(name, run, &tests) == leaks;
        }
        let (_, _, mut blind) = operations::all().remove(0);
        report("random control", run, &measure(&mut blind, None, seconds, &mut rng));
    }
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number after a word of the command line.
fn option(name: &str) -> Option<u64> {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1)?;
    Some(value.parse().expect("a number"))
}

/// Times both classes in random order; without a fixed secret both are random.
fn measure(
    operation: &mut Operation,
    fixed: Option<Scalar>,
    seconds: Duration,
    rng: &mut ChaCha20Rng,
) -> Tests {
    let mut sample = || {
        let is_fixed = rng.random::<bool>();
        let random = Scalar::random(rng);
        let secret = if is_fixed { fixed.unwrap_or(random) } else { random };
        (is_fixed, operation(&secret))
    };
    let mut tests = Tests::calibrated((0..CALIBRATION).map(|_| sample().1).collect());
    let start = Instant::now();
    while start.elapsed() < seconds {
        let (is_fixed, time) = sample();
        tests.push(is_fixed, time);
    }
    tests
}

/// Whether a difference was found.
fn report(name: &str, run: u64, tests: &Tests) -> bool {
    let (measured, whole, largest) = (tests.measured(), tests.whole(), tests.largest());
    let found = largest > THRESHOLD;
    let verdict = if found { "  differs" } else { "" };
    println!("{name:<16} {run:>3} {measured:>9} {whole:>9.2} {largest:>9.2}{verdict}");
    found
}
