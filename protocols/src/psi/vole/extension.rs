//! OT extension: Y. Ishai, J. Kilian, K. Nissim, E. Petrank, "Extending Oblivious Transfers Efficiently"
//! (CRYPTO 2003), semi-honest.
//!
//! The receiver has both streams of every base transfer, `t_j` and `t_j'`, and sends `u_j = t_j + t_j' + r`
//! with `r` its choice bits. The sender's column is `q_j`, its stream plus `δ_j·u_j`. Row by row, `q_i = t_i +
//! r_i·Δ`: the pads of transfer i are H(i, q_i) and H(i, q_i + Δ), and the receiver knows the one that its
//! bit chose. H is a tweakable circular correlation robust hash
//! ([`Aes128::tweaked_hash_slice`]), keyed for the session; tweaks count the session's transfers.

use windvane_kernels::aes::{Aes128, Prg};
use windvane_kernels::transpose;

use super::blocks::{self, SecretBlocks, mask};
use super::{KAPPA, public_seed};
use crate::transcript::Hash;

/// The VOLE receiver's side: it chooses.
#[derive(Debug)]
pub(super) struct Chooser {
    streams: Vec<[Prg; 2]>,
    hash: PadHash,
}

impl Chooser {
    pub(super) fn new(session: &Hash, streams: Vec<[Prg; 2]>) -> Self {
        Self { streams, hash: PadHash::new(session) }
    }

    /// The chosen pad of every transfer, and the message for the peer.
    pub(super) fn choose(&mut self, choices: &[u128]) -> (SecretBlocks, Vec<u8>) {
        let mut columns = SecretBlocks::new(vec![0; KAPPA * choices.len()]);
        let mut message = Vec::with_capacity(columns.len() * super::BLOCK_BYTES);
        let mut other = vec![0; choices.len()];
        for (column, [stream, twin]) in columns.chunks_exact_mut(choices.len()).zip(&mut self.streams) {
            stream.fill(column);
            twin.fill(&mut other);
            for ((other, own), choice) in other.iter_mut().zip(&*column).zip(choices) {
                *other ^= own ^ choice;
            }
            blocks::write(&mut message, &other);
        }
        let mut rows = to_rows(&columns);
        self.hash.pads([&mut rows]);
        (rows, message)
    }
}

/// The VOLE sender's side: it offers two messages.
#[derive(Debug)]
pub(super) struct Offerer {
    streams: Vec<Prg>,
    hash: PadHash,
}

impl Offerer {
    pub(super) fn new(session: &Hash, streams: Vec<Prg>) -> Self {
        Self { streams, hash: PadHash::new(session) }
    }

    /// Both pads of every transfer, from a message whose length was checked.
    pub(super) fn offer(&mut self, delta: u128, message: &[u8]) -> [SecretBlocks; 2] {
        let height = message.len() / super::BLOCK_BYTES / KAPPA;
        let mut columns = SecretBlocks::new(vec![0; KAPPA * height]);
        let mut corrections = blocks::read(message);
        for (j, (column, stream)) in columns.chunks_exact_mut(height).zip(&mut self.streams).enumerate() {
            stream.fill(column);
            for (block, correction) in column.iter_mut().zip(&mut corrections) {
                *block ^= correction & mask(delta, j);
            }
        }
        let mut zero = to_rows(&columns);
        let mut one = SecretBlocks::new(zero.iter().map(|row| row ^ delta).collect());
        self.hash.pads([&mut zero, &mut one]);
        [zero, one]
    }
}

/// Rows of 128 bits from 128 columns, which stand one after another.
fn to_rows(columns: &[u128]) -> SecretBlocks {
    let height = columns.len() / KAPPA;
    let mut rows = SecretBlocks::new(vec![0; columns.len()]);
    let (squares, _) = rows.as_chunks_mut::<{ transpose::ROWS }>();
    for (at, square) in squares.iter_mut().enumerate() {
        for (row, column) in square.iter_mut().zip(columns.chunks_exact(height)) {
            *row = column[at];
        }
        transpose::square(square);
    }
    rows
}

#[derive(Debug)]
struct PadHash {
    cipher: Aes128,
    /// Tweak of the session's next transfer.
    next: u128,
}

impl PadHash {
    fn new(session: &Hash) -> Self {
        Self { cipher: Aes128::new(public_seed(session, "pads", 0)), next: 0 }
    }

    /// Hashes the rows of the next transfers; rows of one transfer have one tweak.
    fn pads<const N: usize>(&mut self, rows: [&mut SecretBlocks; N]) {
        let mut count = 0;
        for rows in rows {
            self.cipher.tweaked_hash_slice(rows, self.next);
            count = rows.len();
        }
        self.next += count as u128;
    }
}

/// Choice bits in transfers' order, packed for [`Chooser::choose`].
#[derive(Debug)]
pub(super) struct Choices(SecretBlocks);

impl Choices {
    pub(super) fn none(blocks: usize) -> Self {
        Self(SecretBlocks::new(vec![0; blocks]))
    }

    /// Sets the choice of a transfer that has none yet.
    pub(super) fn set(&mut self, transfer: usize, bit: bool) {
        self.0[transfer / KAPPA] |= u128::from(bit) << (transfer % KAPPA);
    }

    pub(super) fn as_blocks(&self) -> &[u128] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chooser_knows_the_chosen_pad_and_not_the_other() {
        let delta = 0xfedc_ba98_7654_3210_0011_2233_4455_6677_u128;
        let prg = |j: usize, bit: u128| Prg::new(2 * j as u128 + bit + 1_000);
        let pairs = (0..KAPPA).map(|j| [prg(j, 0), prg(j, 1)]).collect();
        let single = (0..KAPPA).map(|j| prg(j, (delta >> j) & 1)).collect();
        let (mut chooser, mut offerer) = (Chooser::new(&[1; 64], pairs), Offerer::new(&[1; 64], single));
        let mut seen = std::collections::HashSet::new();
        for height in [1, 3, 2] {
            let mut choices = vec![0; height];
            Prg::new(height as u128).fill(&mut choices);
            let (pads, message) = chooser.choose(&choices);
            let offered = offerer.offer(delta, &message);
            for (i, pad) in pads.iter().enumerate() {
                let bit = (choices[i / KAPPA] >> (i % KAPPA)) as usize & 1;
                assert_eq!(*pad, offered[bit][i]);
                assert_ne!(*pad, offered[1 - bit][i]);
                assert!(seen.insert(*pad), "a pad comes twice");
            }
        }
    }
}
