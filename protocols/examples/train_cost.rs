//! Times what joint training computes on ciphertexts: `cargo run --release -p windvane-protocols --example train_cost
//! [ROWS [FEATURES [THREADS]]]`.
//!
//! Processor time of all threads, which other processes disturb less than they do wall time, the least of a few
//! passes: per row, per cell, or per addition of two points.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use windvane_protocols::limits::MAX_CIPHERTEXTS_PER_CHUNK;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::train::context::Context;
use windvane_protocols::train::decode::{Decoder, LARGEST_SIDE};
use windvane_protocols::train::elgamal::{
    Answers, Ciphertexts, EncodedCiphertext, Encryptor, Receiver, Statistic, TrainingKey, TrainingSeed,
};
use windvane_protocols::train::mask::MaskingKey;
use windvane_protocols::train::sums::{Feature, Kind, Statistics};

type Failure = Box<dyn Error>;

/// Bins of a feature, as in the reference data: 32 quantiles and the missing.
const BINS: u8 = 33;
const PASSES: usize = 3;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let rows = arguments.next().transpose()?.unwrap_or(15_000);
    let features = arguments.next().transpose()?.unwrap_or(20);
    let threads = arguments.next().transpose()?.unwrap_or(1);
    println!("{rows} rows, {features} features of {BINS} bins, {threads} threads");
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let seed = TrainingSeed::random(&mut rng);
    let key = TrainingKey::derive(&seed);
    let residuals: Vec<i64> = (0..rows).map(|_| i64::from(rng.next_u32() % 2_048) - 1_024).collect();
    let indicator = vec![1; rows];

    let per_row = rows as f64;
    let encrypted = time("encrypt a statistic, µs a row", per_row, || {
        encrypt(&key, Statistic::Residual { block: 0 }, &residuals, threads)
    })?;
    let residual = time("receive a statistic, µs a row", per_row, || receive(&encrypted, threads))?;
    let indicator = receive(&encrypt(&key, Statistic::Indicator, &indicator, threads)?, threads)?;
    let mut statistics = Statistics::new(key.public().clone(), indicator);
    time("begin a block, µs a row", per_row, || Ok(statistics.begin_block(residual.clone())?))?;

    let sums = sums(&statistics, features, threads, &mut rng)?;
    let cells = sums.len() as f64;
    let answer = time("randomise and encode sums, µs a cell", cells, || {
        Ok(statistics.answer_sums(&sums, None, threads, &mut rng)?)
    })?;
    let answers = time("read answers, µs a cell", cells, || {
        Ok(Answers::decode(answer.as_flattened(), sums.len(), threads)?)
    })?;
    let decoder = build()?;
    time("decrypt sums, µs a cell", cells, || Ok(key.decrypt(&answers, &decoder, threads)?))?;

    for (largest, name) in [(128, "leaves"), (1_024, "leaves")] {
        let leaves: Vec<i32> = (0..rows).map(|row| (row as i32 * 7) % largest - largest / 2).collect();
        time(&format!("update by {name} below {}, µs a row", largest / 2), per_row, || {
            Ok(statistics.update(&leaves, threads)?)
        })?;
    }
    contribute(&statistics, &key, &decoder, threads, &mut rng)
}

fn encrypt(
    key: &TrainingKey,
    statistic: Statistic,
    values: &[i64],
    threads: usize,
) -> Result<Vec<EncodedCiphertext>, Failure> {
    let mut encryptor = Encryptor::new(key, statistic, values.len())?;
    let mut encrypted = Vec::with_capacity(values.len());
    for values in values.chunks(MAX_CIPHERTEXTS_PER_CHUNK) {
        encrypted.extend(encryptor.chunk(values, threads)?);
    }
    encryptor.finish()?;
    Ok(encrypted)
}

fn receive(encrypted: &[EncodedCiphertext], threads: usize) -> Result<Ciphertexts, Failure> {
    let mut receiver = Receiver::new(Statistic::Indicator, encrypted.len())?;
    for chunk in encrypted.chunks(MAX_CIPHERTEXTS_PER_CHUNK) {
        receiver.on_chunk(chunk.as_flattened(), threads)?;
    }
    Ok(receiver.finish()?.0)
}

/// Sums at the root, and at a node that has a sixteenth of the rows.
fn sums(
    statistics: &Statistics,
    features: usize,
    threads: usize,
    rng: &mut ChaCha20Rng,
) -> Result<Ciphertexts, Failure> {
    let all: Vec<u32> = (0..statistics.rows() as u32).collect();
    let mut columns = vec![vec![0; all.len()]; features];
    for bin in columns.iter_mut().flatten() {
        *bin = (rng.next_u32() % u32::from(BINS)) as u8;
    }
    let group_of_bin: Vec<u8> = (0..BINS).collect();
    let features: Vec<_> = columns
        .iter()
        .map(|bins| Feature { bins, group_of_bin: &group_of_bin, groups: usize::from(BINS) })
        .collect();
    let mut last = Ciphertexts::empty();
    for rows in [&all[..all.len() / 16], &all] {
        let additions = (2 * rows.len() * features.len()) as f64 / 1_000.0;
        last = time(&format!("sums over {} rows, ns a point added", rows.len()), additions, || {
            Ok(statistics.sums(Kind::Residual, rows, &features, threads)?)
        })?;
    }
    Ok(last)
}

fn build() -> Result<Decoder, Failure> {
    let decoder = time("build the table, ms", 1_000.0, || Ok(Decoder::new(1 << 28)?))?;
    let megabytes = decoder.memory_bytes() as f64 / 1e6;
    println!(
        "  {megabytes:.1} MB; up to {LARGEST_SIDE} at once, {} giant steps at most",
        decoder.giant_steps()
    );
    Ok(decoder)
}

/// Contributions of two providers, and their combination.
fn contribute(
    statistics: &Statistics,
    key: &TrainingKey,
    decoder: &Decoder,
    threads: usize,
    rng: &mut ChaCha20Rng,
) -> Result<(), Failure> {
    let rows = statistics.rows();
    let names: [PartyId; 2] = ["carrier-a".parse()?, "carrier-b".parse()?];
    let keys = [MaskingKey::random(rng), MaskingKey::random(rng)];
    let session = SessionId::random(rng);
    let context = Context::new(&[0; 64], &[]);
    let values: Vec<i32> = (0..rows).map(|row| (row as i32 * 31) % 2_000 - 1_000).collect();
    let mut answers = Vec::new();
    for (own, peer) in [(0, 1), (1, 0)] {
        let masks = keys[own].agree(&session, &names[own], &[(names[peer].clone(), *keys[peer].public())])?;
        let masks =
            time("masks, µs a row", rows as f64, || Ok(masks.contributions(&context, 0, 0..rows as u32)))?;
        answers.push(time("contributions, µs a row", rows as f64, || {
            Ok(statistics.contributions(0, &values, Some(&masks), threads, rng)?)
        })?);
    }
    let totals = time("combine and decrypt two answers, µs a row", rows as f64, || {
        let mut total = Answers::decode(answers[0].as_flattened(), rows, threads)?;
        total.add_assign(&Answers::decode(answers[1].as_flattened(), rows, threads)?);
        Ok(key.decrypt(&total, decoder, threads)?)
    })?;
    let right = totals.iter().zip(&values).all(|(total, value)| *total == 2 * i64::from(*value));
    if right { Ok(()) } else { Err("a total is wrong".into()) }
}

/// The least time of a few passes, in microseconds a piece, and what the last of them gave.
fn time<T>(name: &str, pieces: f64, mut pass: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut least = f64::INFINITY;
    let mut last = None;
    for _ in 0..PASSES {
        let start = now();
        last = Some(pass()?);
        least = least.min(now() - start);
    }
    println!("{name:48} {:9.2}", least * 1e6 / pieces);
    last.ok_or_else(|| "there is a pass".into())
}

/// Seconds of processor time since the program began.
fn now() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
