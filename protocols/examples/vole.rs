//! Times the silent VOLE, a thread for each party:
//! `cargo run --release -p windvane-protocols --example vole [OUTPUTS [BATCHES]]`.
//!
//! It shows processor time, which other processes disturb less than they do wall time.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;
use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use windvane_protocols::psi::vole::{AwaitNoise, AwaitPoints, Shape};

type Failure = Box<dyn Error + Send + Sync>;

/// What both parties agree on.
const SESSION: [u8; 64] = [1; 64];

/// One party's ends of the wire.
struct Wire {
    to: Sender<Vec<u8>>,
    from: Receiver<Vec<u8>>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let outputs = arguments.next().transpose()?.unwrap_or(290_000);
    let batches = arguments.next().transpose()?.unwrap_or(40);
    let shape = Shape::for_outputs(outputs)?;
    let ((to_sender, at_sender), (to_receiver, at_receiver)) = (channel(), channel());
    let receiver = Wire { to: to_sender, from: at_receiver };
    let sender = Wire { to: to_receiver, from: at_sender };
    let start = Instant::now();
    let other = thread::spawn(move || send(&sender, shape, batches));
    let (receiver_session, receiver_batch) = receive(&receiver, shape, batches)?;
    let (sender_session, sender_batch) = other.join().map_err(|_| "the sender's thread panicked")??;
    println!("session: receiver {receiver_session:.1} ms, sender {sender_session:.1} ms");
    println!(
        "batch of {outputs}: receiver {receiver_batch:.2} ms, sender {sender_batch:.2} ms, {} bytes",
        shape.request_bytes() + shape.trees_bytes()
    );
    println!("{batches} batches: {:.0} ms on the wall", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn receive(wire: &Wire, shape: Shape, batches: usize) -> Result<(f64, f64), Failure> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let opened = AwaitPoints::open(&SESSION, &mut rng);
    wire.to.send(opened.message)?;
    let received = opened.state.on_points(&wire.from.recv()?, &mut rng)?;
    wire.to.send(received.message)?;
    let (session, mut state) = (processor_ms()?, received.state);
    for _ in 0..batches {
        let begun = state.begin(shape, &mut rng);
        wire.to.send(begun.message)?;
        state = begun.state.on_trees(&wire.from.recv()?)?.state;
    }
    Ok((session, (processor_ms()? - session) / batches as f64))
}

fn send(wire: &Wire, shape: Shape, batches: usize) -> Result<(f64, f64), Failure> {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let answered = AwaitNoise::respond(&SESSION, &wire.from.recv()?, &mut rng)?;
    wire.to.send(answered.message)?;
    let mut state = answered.state.on_noise(&wire.from.recv()?)?;
    let session = processor_ms()?;
    for _ in 0..batches {
        let sent = state.on_request(shape, &wire.from.recv()?, &mut rng)?;
        wire.to.send(sent.message)?;
        state = sent.state;
    }
    Ok((session, (processor_ms()? - session) / batches as f64))
}

/// Processor time of the thread, to a few milliseconds (Linux).
fn processor_ms() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e6)
}
