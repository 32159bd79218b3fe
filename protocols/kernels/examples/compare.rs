//! Compares every operation of the eight-lane kernels, on the backend that [`Backend::chosen`] chooses, with
//! `curve25519-dalek` on random inputs, ten million unless told otherwise: `compare [--from N] [--count N] [--seed N]
//! [--threads N]`. Ends with an error at the first difference. Ten million take 40 minutes of CPU on AVX-512 IFMA; pieces
//! of it are the inputs from `--from` on.

#![allow(clippy::print_stdout, reason = "progress is what this program prints")]

use std::sync::atomic::{AtomicU64, Ordering};

use curve25519_dalek::Scalar;
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane_kernels::ristretto::{
    Addends, Backend, FixedBase, Points, decode_mul_encode_with, hash_mul_encode_with,
};

/// Inputs of one round, with a length that leaves a tail in the lanes.
const ROUND: u64 = 4091;
const BINS: u32 = 509;
/// Rounds between two lines of progress.
const PROGRESS: u64 = 64;

fn main() {
    let lanes = Backend::chosen();
    assert_ne!(lanes, Backend::portable(), "this processor has no eight lanes: nothing to compare");
    let (seed, first) = (option("--seed", 1), option("--from", 0) / ROUND);
    let last = first + option("--count", 10_000_000).div_ceil(ROUND);
    println!("{}: inputs {} to {} of seed {seed}", lanes.name(), first * ROUND, last * ROUND);
    let next = AtomicU64::new(first);
    let work = || {
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= last {
                return;
            }
            let operations = compare(lanes, seed, round);
            if (round + 1 - first).is_multiple_of(PROGRESS) || round + 1 == last {
                println!("{} inputs, {operations} operations each: equal", (round + 1 - first) * ROUND);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..option("--threads", 1) {
            scope.spawn(work);
        }
    });
}

/// The number after a word of the command line.
fn option(name: &str, default: u64) -> u64 {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1);
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// Compares one round, whose inputs are a stream of the seed, and returns the number of operations.
fn compare(lanes: Backend, seed: u64, round: u64) -> usize {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(round);
    let inputs = Inputs::random(&mut rng, ROUND as usize);
    let (ours, dalek) = (inputs.results(lanes), inputs.results(Backend::portable()));
    for ((operation, ours), (_, dalek)) in ours.iter().zip(&dalek) {
        if let Some(at) = (0..ours.len().max(dalek.len())).find(|&i| ours.get(i) != dalek.get(i)) {
            panic!("{operation} differs at input {} of seed {seed}", round * ROUND + at as u64);
        }
    }
    ours.len()
}

struct Inputs {
    strings: Vec<[u8; 64]>,
    encodings: Vec<[u8; 32]>,
    /// Even and below 2²⁵⁵, but a point's encoding only every fourth time.
    candidates: Vec<[u8; 32]>,
    scalars: Vec<Scalar>,
    bins: Vec<u32>,
    factors: Vec<i32>,
}

impl Inputs {
    fn random(rng: &mut ChaCha20Rng, length: usize) -> Self {
        let mut strings =
            || -> Vec<[u8; 64]> { (0..length).map(|_| std::array::from_fn(|_| rng.random())).collect() };
        let (others, strings) = (strings(), strings());
        let candidates = (0..length).map(|_| std::array::from_fn(|_| rng.random()));
        let even = |mut string: [u8; 32]| {
            (string[0], string[31]) = (string[0] & 0xfe, string[31] & 0x7f);
            string
        };
        let candidates = candidates.map(even).collect();
        Self {
            encodings: Points::from_uniform_with(Backend::portable(), &others).encode(),
            scalars: others.iter().map(Scalar::from_bytes_mod_order_wide).collect(),
            bins: (0..length).map(|_| rng.random_range(0..BINS)).collect(),
            factors: (0..length).map(|_| rng.random()).collect(),
            candidates,
            strings,
        }
    }

    /// What a backend makes of the inputs.
    fn results(&self, backend: Backend) -> Vec<(&'static str, Vec<[u8; 32]>)> {
        let scalar = &self.scalars[0];
        let hashed = Points::from_uniform_with(backend, &self.strings);
        let decoded = Points::decode_with(backend, &self.encodings).expect("encodings");
        let products = decode_mul_encode_with(backend, &self.encodings, scalar);
        vec![
            ("hash", hashed.encode()),
            ("decode and encode", decoded.encode()),
            ("decode of candidates", self.accepted(backend)),
            ("mul", decoded.mul(scalar).encode()),
            ("mul_each", decoded.mul_each(&self.scalars).encode()),
            ("mul_each_small", hashed.mul_each_small(&self.factors).encode()),
            ("fixed mul", FixedBase::new(&hashed.slice(0..1)).mul(&self.scalars).encode()),
            ("vartime_sum_runs", self.sum_runs(&hashed, &decoded)),
            ("mul_base", Points::mul_base_with(backend, &self.scalars).encode()),
            ("add", hashed.add(&decoded).encode()),
            ("sub", hashed.sub(&decoded).encode()),
            ("neg", decoded.neg().encode()),
            ("double", hashed.double().encode()),
            ("encode_doubled", hashed.encode_doubled()),
            ("vartime_accumulate", hashed.vartime_accumulate(&self.bins, BINS as usize).encode()),
            ("mul_accumulate", hashed.mul_accumulate(&self.scalars, &self.bins, BINS as usize).encode()),
            ("decode_mul_encode", products.expect("encodings")),
            ("hash_mul_encode", hash_mul_encode_with(backend, &self.strings, scalar)),
        ]
    }

    /// Sums of neighbours' pairs, whose indices and ends of runs are made of the bins.
    fn sum_runs(&self, first: &Points, second: &Points) -> Vec<[u8; 32]> {
        let mut ends: Vec<u32> = self.bins.iter().map(|bin| bin * 8).collect();
        ends.push(self.bins.len() as u32);
        ends.sort_unstable();
        ends.retain(|end| *end as usize <= self.bins.len());
        let sums = Addends::new(first, second).vartime_sum_runs(&self.bins, &ends);
        sums.iter().flat_map(Points::encode).collect()
    }

    /// The candidates that decode, encoded again, and ones where they do not.
    fn accepted(&self, backend: Backend) -> Vec<[u8; 32]> {
        let decode = |candidate: &[u8; 32]| Points::decode_with(backend, std::slice::from_ref(candidate));
        let encode = |candidate| decode(candidate).map_or([0xff; 32], |points| points.encode()[0]);
        self.candidates.iter().map(encode).collect()
    }
}
