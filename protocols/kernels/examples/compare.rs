//! Compares every operation of the eight-lane kernels with `curve25519-dalek` on random inputs:
//! `compare [count] [seed]`. Ends with an error at the first difference. Ten million take an hour of CPU.

#![allow(clippy::print_stdout, reason = "progress is what this program prints")]

use curve25519_dalek::Scalar;
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane_kernels::ristretto::{Backend, Points, decode_mul_encode_with, hash_mul_encode_with};

/// Inputs of one round, each with lengths that leave a tail in the lanes.
const ROUND: usize = 4091;
const BINS: u32 = 509;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let (count, seed) = (arguments.next().unwrap_or(10_000_000), arguments.next().unwrap_or(1));
    let ifma = Backend::ifma().expect("this processor has no AVX-512 IFMA: nothing to compare");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut done = 0;
    while done < count {
        let length = ROUND.min((count - done) as usize);
        let inputs = Inputs::random(&mut rng, length);
        let (ours, dalek) = (inputs.results(ifma), inputs.results(Backend::portable()));
        for ((operation, ours), (_, dalek)) in ours.iter().zip(&dalek) {
            if let Some(at) = (0..ours.len().max(dalek.len())).find(|&i| ours.get(i) != dalek.get(i)) {
                panic!("{operation} differs at input {} of seed {seed}", done + at as u64);
            }
        }
        done += length as u64;
        if done % (64 * ROUND as u64) == 0 || done == count {
            println!("{done} inputs, {} operations each: equal", ours.len());
        }
    }
}

struct Inputs {
    strings: Vec<[u8; 64]>,
    encodings: Vec<[u8; 32]>,
    /// Even and below 2²⁵⁵, but a point's encoding only every fourth time.
    candidates: Vec<[u8; 32]>,
    scalars: Vec<Scalar>,
    bins: Vec<u32>,
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
            ("mul_base", Points::mul_base_with(backend, &self.scalars).encode()),
            ("add", hashed.add(&decoded).encode()),
            ("sub", hashed.sub(&decoded).encode()),
            ("neg", decoded.neg().encode()),
            ("double", hashed.double().encode()),
            ("encode_doubled", hashed.encode_doubled()),
            ("vartime_accumulate", hashed.vartime_accumulate(&self.bins, BINS as usize).encode()),
            ("decode_mul_encode", products.expect("encodings")),
            ("hash_mul_encode", hash_mul_encode_with(backend, &self.strings, scalar)),
        ]
    }

    /// The candidates that decode, encoded again, and ones where they do not.
    fn accepted(&self, backend: Backend) -> Vec<[u8; 32]> {
        let decode = |candidate: &[u8; 32]| Points::decode_with(backend, std::slice::from_ref(candidate));
        let encode = |candidate| decode(candidate).map_or([0xff; 32], |points| points.encode()[0]);
        self.candidates.iter().map(encode).collect()
    }
}
