//! What an element costs on one thread: the eight-lane kernels and `curve25519-dalek`, measured in turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

use curve25519_dalek::Scalar;

use crate::ristretto::{Backend, Points, decode_mul_encode_with, hash_mul_encode_with};

/// One operation's time per element, in microseconds: the least of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// The operation's name.
    pub operation: &'static str,
    /// Eight lanes of AVX-512 IFMA; `None` without it: not measured.
    pub ours_us: Option<f64>,
    /// Eight lanes of AVX2; `None` without it.
    pub avx2_us: Option<f64>,
    /// The portable twin, `curve25519-dalek` with whatever backend it chose.
    pub dalek_us: f64,
}

impl Timing {
    /// How many times faster than dalek the lanes of AVX-512 IFMA are.
    pub fn ratio(&self) -> Option<f64> {
        self.ours_us.map(|ours| self.dalek_us / ours)
    }

    /// How many times faster than dalek the lanes of AVX2 are.
    pub fn avx2_ratio(&self) -> Option<f64> {
        self.avx2_us.map(|avx2| self.dalek_us / avx2)
    }
}

/// What the operations work on.
struct Inputs<'a> {
    strings: &'a [[u8; 64]],
    scalars: Vec<Scalar>,
    encodings: Vec<[u8; 32]>,
}

/// An operation on all inputs, given the points as the backend holds them.
type Operation = fn(&Inputs<'_>, &Points);

const OPERATIONS: [(&str, Operation); 7] = [
    ("hash_mul_encode", |inputs, points| {
        black_box(hash_mul_encode_with(points.backend(), inputs.strings, &inputs.scalars[0]));
    }),
    ("decode_mul_encode", |inputs, points| {
        let products = decode_mul_encode_with(points.backend(), &inputs.encodings, &inputs.scalars[0]);
        black_box(products.expect("encodings of points"));
    }),
    ("hash", |inputs, points| {
        black_box(Points::from_uniform_with(points.backend(), inputs.strings));
    }),
    ("decode", |inputs, points| {
        black_box(Points::decode_with(points.backend(), &inputs.encodings).expect("encodings of points"));
    }),
    ("encode_batched", |_, points| {
        black_box(points.encode_doubled());
    }),
    ("mul_base", |inputs, points| {
        black_box(Points::mul_base_with(points.backend(), &inputs.scalars));
    }),
    ("add", |_, points| {
        black_box(points.clone()).add_assign(points);
    }),
];

/// Times every operation on as many elements as there are uniformly random strings, in so many rounds.
///
/// # Panics
/// When there are no strings or no rounds.
pub fn measure(strings: &[[u8; 64]], rounds: usize) -> Vec<Timing> {
    assert!(!strings.is_empty() && rounds > 0, "something is to be measured");
    let scalars = strings.iter().map(Scalar::from_bytes_mod_order_wide).collect();
    let points_on = |backend| Points::from_uniform_with(backend, strings);
    let portable = points_on(Backend::portable());
    let (ifma, avx2) = (Backend::ifma().map(points_on), Backend::avx2().map(points_on));
    let inputs = Inputs { strings, scalars, encodings: portable.encode() };
    let time = |(operation, run): (&'static str, Operation)| {
        let backends = [Some(&portable), ifma.as_ref(), avx2.as_ref()];
        let mut least = [Duration::MAX; 3];
        for _ in 0..rounds {
            for (least, points) in least.iter_mut().zip(backends) {
                *least = points.map_or(*least, |points| (*least).min(elapsed(|| run(&inputs, points))));
            }
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / strings.len() as f64;
        let [dalek_us, ours_us, avx2_us] = least.map(each);
        Timing {
            operation,
            ours_us: ifma.as_ref().map(|_| ours_us),
            avx2_us: avx2.as_ref().map(|_| avx2_us),
            dalek_us,
        }
    };
    OPERATIONS.map(time).to_vec()
}

fn elapsed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
