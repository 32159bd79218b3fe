//! Times both sides of one bucket on one thread, with a vector OLE from a trusted dealer:
//! `cargo run --release -p windvane-protocols --example rr22_speed [LOG2_KEYS]`.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use rustix::time::{ClockId, clock_gettime};
use windvane_kernels::aes::Prg;
use windvane_kernels::gf128;
use windvane_protocols::psi::rr22::{AwaitSeeds, Encoded, Plan, ReceiverShare, SenderShare};
use windvane_protocols::psi::{Mode, Parameters, Protocol, Sizes};

/// Bytes of a message that arrive together.
const PIECE: usize = 256 << 10;

/// Passes, of which the fastest of each step counts.
const PASSES: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let log = std::env::args().nth(1).map_or(Ok(18), |text| text.parse())?;
    // One of 64 buckets, as full as it may be.
    let rows = 64 << log;
    let sizes = Sizes { bucket_rows: 1 << log, ..Sizes::new(Protocol::Vole, Mode::Intersection, rows, rows) };
    let parameters = Parameters::new(sizes)?;
    let (plan, count) = (Plan::of(&parameters)?, parameters.receiver_bound());
    let mut steps = Steps::default();
    for seed in 0..PASSES {
        run(plan, count, seed as u64, &mut steps)?;
    }
    let bytes = (plan.encoding_bytes() + plan.records_bytes()) as f64 / count as f64;
    println!("{count} keys on both sides, {} columns, {bytes:.2} bytes a key", plan.columns());
    for (name, nanoseconds) in &steps.0 {
        println!("  {name:24} {:6.1} ns/key", *nanoseconds as f64 / count as f64);
    }
    for side in ["receiver", "sender"] {
        let of_side = steps.0.iter().filter(|(name, _)| name.starts_with(side));
        let total: u64 = of_side.map(|(_, nanoseconds)| nanoseconds).sum();
        println!("  {side:24} {:6.1} ns/key", total as f64 / count as f64);
    }
    Ok(())
}

fn run(plan: Plan, count: usize, seed: u64, steps: &mut Steps) -> Result<(), Box<dyn Error>> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut keys = vec![0; count + count / 2];
    Prg::new(rng.random()).fill(&mut keys);
    let (ours, theirs) = (&keys[..count], &keys[count / 2..]);
    let (ours_share, theirs_share) = deal(plan.columns(), &mut rng);
    let encoded = steps.time("receiver encode", || Encoded::encode(plan, ours, &mut rng))?;
    let masked = steps.time("receiver mask", || encoded.mask(ours_share))?;
    let mut receiver = steps.time("receiver decode", || masked.state.decode())?;
    let sender = AwaitSeeds::new(plan, theirs.to_vec(), theirs_share)?;
    let mut sender = steps.time("sender rows", || sender.on_seeds(&masked.seeds))?;
    steps.time("sender K = B + ΔA", || {
        masked.encoding.chunks(PIECE).try_for_each(|piece| sender.on_chunk(piece))
    })?;
    let records = steps.time("sender records", || sender.finish(&[], &mut rng))?;
    let found = steps.time("receiver match", || {
        records.message.chunks(PIECE).try_for_each(|piece| receiver.on_chunk(piece))?;
        receiver.finish()
    })?;
    assert_eq!(found.indices().len(), count / 2);
    Ok(())
}

fn deal(columns: usize, rng: &mut ChaCha20Rng) -> (ReceiverShare, SenderShare) {
    let (mut a, mut b) = (vec![0; columns], vec![0; columns]);
    let (delta, mut prg) = (rng.random(), Prg::new(rng.random()));
    prg.fill(&mut a);
    prg.fill(&mut b);
    let mut c = b.clone();
    gf128::mul_add_slice(&mut c, &a, delta);
    (ReceiverShare::new(a, c), SenderShare::new(delta, b))
}

/// Steps in order, each with its fewest nanoseconds.
#[derive(Default)]
struct Steps(Vec<(&'static str, u64)>);

impl Steps {
    fn time<T>(&mut self, name: &'static str, step: impl FnOnce() -> T) -> T {
        let start = cpu_nanoseconds();
        let result = step();
        let taken = cpu_nanoseconds() - start;
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, least)) => *least = taken.min(*least),
            None => self.0.push((name, taken)),
        }
        result
    }
}

/// The thread's time on a processor: other processes do not show in it.
fn cpu_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
