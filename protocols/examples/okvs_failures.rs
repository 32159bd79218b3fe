//! Measures how often the equations of an oblivious key-value store have no solution, for bands that are
//! narrow enough to see it: `cargo run --release -p windvane-protocols --example okvs_failures -- LOG2_ROWS
//! EXPANSION_PER_MILLE TRIALS BAND_BITS…`.
//!
//! Prints, for each width w, the failures and -log2 of their share; then the line through the points.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;

use windvane_kernels::aes::Prg;
use windvane_kernels::band::{BAND_BLOCKS, BLOCK, Band};
use windvane_protocols::psi::okvs::is_solvable;

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [log, per_mille, trials, widths @ ..] = numbers.as_slice() else {
        return Err("LOG2_ROWS EXPANSION_PER_MILLE TRIALS BAND_BITS…".into());
    };
    let rows = 1 << log;
    let starts = (rows * per_mille).div_ceil(1_000 * BLOCK);
    let mut points = Vec::new();
    for width in widths {
        let mut prg = Prg::new((*log as u128) << 64 | (*per_mille as u128) << 32 | *width as u128);
        let failures = (0..*trials).filter(|_| !trial(rows, starts, *width, &mut prg)).count();
        let bits = -(failures as f64 / *trials as f64).log2();
        println!("n = 2^{log}, m/n = {per_mille} ‰, w = {width:3}: {failures:6} of {trials}, 2^-{bits:.2}");
        if failures >= 10 && failures * 3 < *trials {
            points.push((*width as f64, bits));
        }
    }
    let (slope, at_zero) = line(&points);
    println!("-log2 = {slope:.4} w - {:.2}; at w = 256: {:.1}", -at_zero, slope * 256.0 + at_zero);
    Ok(())
}

/// Whether random rows of this width have a solution.
fn trial(rows: usize, starts: usize, width: usize, prg: &mut Prg) -> bool {
    let mut places = vec![0; rows.div_ceil(2)];
    prg.fill(&mut places);
    let mut counts = vec![0_u32; starts];
    let halves = places.iter().flat_map(|place| [*place as u64, (*place >> 64) as u64]);
    for half in halves.take(rows) {
        counts[((u128::from(half) * starts as u128) >> 64) as usize] += 1;
    }
    let mask: Band = std::array::from_fn(|word| match width.saturating_sub(64 * word) {
        0 => 0,
        bits => u64::MAX >> 64_usize.saturating_sub(bits),
    });
    let begins = counts.iter().zip(0..).flat_map(|(count, start)| (0..*count).map(move |_| start));
    let mut bits = Bits { prg, blocks: [0; 512], next: 512 };
    is_solvable(starts + BAND_BLOCKS - 1, begins.map(|start| (start, bits.band(&mask))))
}

/// A stream of random bands.
struct Bits<'a> {
    prg: &'a mut Prg,
    blocks: [u128; 512],
    next: usize,
}

impl Bits<'_> {
    fn band(&mut self, mask: &Band) -> Band {
        if self.next == self.blocks.len() {
            self.prg.fill(&mut self.blocks);
            self.next = 0;
        }
        let [a, b] = [self.blocks[self.next], self.blocks[self.next + 1]];
        self.next += 2;
        [a as u64 & mask[0], (a >> 64) as u64 & mask[1], b as u64 & mask[2], (b >> 64) as u64 & mask[3]]
    }
}

/// Least squares, each point with the weight 1.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>()
        / points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum::<f64>();
    (slope, y - slope * x)
}
