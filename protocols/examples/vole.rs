//! Times each step of the silent VOLE on one thread:
//! `cargo run --release -p windvane-protocols --example vole [OUTPUTS]`.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane_protocols::psi::vole::{AwaitNoise, AwaitPoints, Shape, VoleError};

/// Batches, of which the fastest counts.
const BATCHES: usize = 15;

fn main() -> Result<(), VoleError> {
    let outputs = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(290_000);
    let shape = Shape::for_outputs(outputs)?;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let session = [1; 64];

    let (opened, open) = timed(|| AwaitPoints::open(&session, &mut rng));
    let (answered, respond) = timed(|| AwaitNoise::respond(&session, &opened.message, &mut rng));
    let answered = answered?;
    let (received, points) = timed(|| opened.state.on_points(&answered.message, &mut rng));
    let received = received?;
    let (sender, noise) = timed(|| answered.state.on_noise(&received.message));
    println!(
        "session: open {open:.2}, respond {respond:.2}, on_points {points:.2}, on_noise {noise:.2} ms; {} bytes",
        opened.message.len() + answered.message.len() + received.message.len()
    );

    let (mut receiver, mut sender) = (received.state, sender?);
    let mut best = [f64::MAX; 3];
    for _ in 0..BATCHES {
        let (begun, begin) = timed(|| receiver.begin(shape, &mut rng));
        let (sent, request) = timed(|| sender.on_request(shape, &begun.message, &mut rng));
        let sent = sent?;
        let (received, trees) = timed(|| begun.state.on_trees(&sent.message));
        let received = received?;
        best = [best[0].min(begin), best[1].min(request), best[2].min(trees)];
        (receiver, sender) = (received.state, sent.state);
    }
    println!(
        "batch of {outputs}: begin {:.2}, on_request {:.2}, on_trees {:.2} ms; {} bytes",
        best[0],
        best[1],
        best[2],
        shape.request_bytes() + shape.trees_bytes()
    );
    Ok(())
}

/// A result and the milliseconds that it took.
fn timed<T>(step: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = step();
    (result, start.elapsed().as_secs_f64() * 1e3)
}
