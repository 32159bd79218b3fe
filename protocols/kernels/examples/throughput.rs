//! Times each kernel on one thread, in cache: `cargo run --release -p windvane-kernels --example throughput`.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use windvane_kernels::aes::{Aes128, FIXED_KEY, Prg};
use windvane_kernels::band::{BLOCK, back_substitute, inner_products};
use windvane_kernels::gf128;
use windvane_kernels::sha512::{INITIAL, Message, digest_each};

/// Blocks of a pass: 64 KiB.
const BLOCKS: usize = 4_096;

fn main() {
    let (mut blocks, mut other) = (vec![1_u128; BLOCKS], vec![3_u128; BLOCKS]);
    let (aes, mut prg) = (Aes128::new(FIXED_KEY), Prg::new(1));
    time("aes encrypt_blocks", || aes.encrypt_blocks(black_box(&mut blocks)));
    time("aes hash_slice", || aes.hash_slice(black_box(&mut blocks)));
    time("aes tweaked_hash_slice", || aes.tweaked_hash_slice(black_box(&mut blocks), 9));
    time("prg fill", || prg.fill(black_box(&mut blocks)));
    time("gf128 mul_slice", || gf128::mul_slice(black_box(&mut blocks), black_box(77 << 90)));
    time("gf128 mul_add_slice", || {
        gf128::mul_add_slice(black_box(&mut other), &blocks, black_box(77 << 90));
    });
    let starts: Vec<u32> = (0..BLOCKS).map(|row| (row * 11 / 10 / BLOCK) as u32).collect();
    let bands = vec![[0x0123_4567_89ab_cdef_u64; 4]; BLOCKS];
    let columns = vec![5_u128; BLOCKS * 11 / 10 + 256];
    time("band inner_products", || inner_products(black_box(&columns), &starts, &bands, &mut blocks));
    let echelon = bands.as_chunks::<BLOCK>().0;
    time("band back_substitute", || back_substitute(black_box(echelon), &mut other));
    let strings = vec![[7_u8; 64]; BLOCKS];
    let messages = || strings.iter().map(|string| Message { start: &INITIAL, parts: [string], end: &[9] });
    time("sha512 digest_each", || drop(black_box(digest_each(messages()))));
}

/// The minimum of many passes, per block of 16 bytes; a digest counts as one.
fn time(name: &str, mut pass: impl FnMut()) {
    let passes = (0..2_000).map(|_| {
        let start = Instant::now();
        pass();
        start.elapsed()
    });
    let nanoseconds = passes.min().unwrap_or_default().as_nanos() as f64 / BLOCKS as f64;
    println!("{name:24} {nanoseconds:6.2} ns/block {:6.1} GB/s", 16.0 / nanoseconds);
}
