//! What is timed: the steps of the oblivious PRF that touch a secret, and two controls.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_chacha::ChaCha20Rng;
use rand_core::{SeedableRng as _, TryCryptoRng, TryRng};
use windvane_protocols::oprf::{Answered, Batch, Blinded, Context, Elements, PrivateKey, blind_evaluate};

/// Elements of a batch: as many as a bank asks for one person.
const INPUTS: [Option<&[u8]>; 4] =
    [Some(b"name and phone"), Some(b"id and phone"), Some(b"phone"), Some(b"name and id")];

/// Prepares for a secret, and returns the nanoseconds of the step alone.
pub(crate) type Operation = Box<dyn FnMut(&Scalar) -> f64>;

/// The operations with their names, and whether a difference must be found.
pub(crate) fn all() -> Vec<(&'static str, bool, Operation)> {
    vec![
        ("blind", false, blind()),
        ("evaluate", false, evaluate()),
        ("unblind", false, unblind()),
        ("leaky control", true, leaky()),
    ]
}

fn blind() -> Operation {
    Box::new(|secret| {
        let (batches, mut rng) = ([INPUTS.to_vec()], Replay::new(secret));
        time(|| Blinded::blind(&Context::LOOKUP, &batches, &mut rng))
    })
}

fn evaluate() -> Operation {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let elements = blinded(&Scalar::from(9_u64)).elements().clone();
    Box::new(move |secret| {
        let key = PrivateKey::from_bytes(&secret.to_bytes()).expect("no secret is zero");
        time(|| {
            blind_evaluate(&[Batch { context: &Context::LOOKUP, key: &key, blinded: &elements }], &mut rng)
        })
    })
}

fn unblind() -> Operation {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let key = PrivateKey::random(&mut rng);
    Box::new(move |secret| {
        let blinded = blinded(secret);
        let (evaluated, proof) = answer(&key, blinded.elements(), &mut rng);
        let answered = Answered { public: key.public(), evaluated: &evaluated, proof: &proof };
        time(|| Blinded::finalize(&Context::LOOKUP, vec![(blinded, answered)]).expect("an honest answer"))
    })
}

/// Takes less time the more zeros the secret has: what the test must find.
fn leaky() -> Operation {
    let point = RistrettoPoint::mul_base(&Scalar::from(7_u64));
    Box::new(move |secret| {
        time(|| RistrettoPoint::vartime_double_scalar_mul_basepoint(secret, &point, &Scalar::ONE))
    })
}

fn blinded(secret: &Scalar) -> Blinded {
    let blinded = Blinded::blind(&Context::LOOKUP, &[INPUTS.to_vec()], &mut Replay::new(secret));
    blinded.expect("the inputs are short").remove(0)
}

fn answer(
    key: &PrivateKey,
    elements: &Elements,
    rng: &mut ChaCha20Rng,
) -> (Elements, windvane_protocols::oprf::Proof) {
    let answers = blind_evaluate(&[Batch { context: &Context::LOOKUP, key, blinded: elements }], rng);
    answers.expect("the batch is small").remove(0)
}

/// Nanoseconds; what the step returns is dropped afterwards.
fn time<T>(step: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = black_box(step());
    let nanoseconds = start.elapsed().as_nanos() as f64;
    drop(result);
    nanoseconds
}

/// A generator that gives the same 64 bytes over and over: every blind drawn from it is the secret.
struct Replay {
    bytes: [u8; 64],
}

impl Replay {
    fn new(secret: &Scalar) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(secret.as_bytes());
        Self { bytes }
    }
}

impl TryRng for Replay {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        into.chunks_mut(64).for_each(|chunk| chunk.copy_from_slice(&self.bytes[..chunk.len()]));
        Ok(())
    }
}

impl TryCryptoRng for Replay {}
