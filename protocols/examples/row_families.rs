//! Times what one row-family of a table costs on one thread: `cargo run --release -p windvane-protocols --example
//! row_families [ROWS]`.
//!
//! Evaluation, derived keys and sealed rows, as a build does them for 512 records at a time. Keys and rows are made
//! together, and once more one by one. It shows processor time, which other processes disturb less than they do wall
//! time.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;
use std::hint::black_box;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use windvane_protocols::lookup::row::{RowKeys, Table};
use windvane_protocols::oprf::{Context, Output, PrivateKey};

/// Records that a build evaluates together.
const CHUNK: usize = 512;
/// Bytes of an input: a name, an ID number and a telephone number, encoded.
const INPUT_BYTES: usize = 64;
const LABEL: [u8; 14] = [7; 14];

fn main() -> Result<(), Box<dyn Error>> {
    let rows = std::env::args().nth(1).map(|text| text.parse::<usize>()).transpose()?.unwrap_or(100_000);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let key = PrivateKey::random(&mut rng);
    let table = Table { data_set: "subscribers".parse()?, epoch: 1, schema_version: 1, label_bytes: 14 };
    let mut inputs = vec![[0; INPUT_BYTES]; CHUNK];
    inputs.iter_mut().for_each(|input| rng.fill_bytes(input));
    let mut seconds = [0.0; 3];
    for _ in 0..rows.div_ceil(CHUNK) {
        let (outputs, evaluation) = timed(|| key.evaluate(&Context::LOOKUP, &inputs));
        let ((), together) = timed(|| seal_together(&table, &outputs));
        let ((), one_by_one) = timed(|| seal_one_by_one(&table, &outputs));
        seconds.iter_mut().zip([evaluation, together, one_by_one]).for_each(|(sum, step)| *sum += step);
    }
    let [evaluation, together, one_by_one] = seconds.map(|s| s * 1e6 / rows.next_multiple_of(CHUNK) as f64);
    println!(
        "µs a row-family: evaluation {evaluation:.2}, keys and rows {together:.2}, one by one {one_by_one:.2}"
    );
    Ok(())
}

fn seal_together(table: &Table, outputs: &[Output]) {
    let keys = RowKeys::each(table, outputs.iter());
    let mut row = vec![0; table.row_bytes()];
    for sealer in RowKeys::sealers(&keys, table, &[1; 16]) {
        sealer.seal(0, &LABEL, black_box(&mut row));
    }
}

fn seal_one_by_one(table: &Table, outputs: &[Output]) {
    let mut row = vec![0; table.row_bytes()];
    for output in outputs {
        RowKeys::new(table, output).seal(table, 0, &[1; 16], &LABEL, black_box(&mut row));
    }
}

/// What a step gives, and the seconds of processor time that it took.
fn timed<T>(step: impl FnOnce() -> T) -> (T, f64) {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    let value = step();
    (value, now() - start)
}
