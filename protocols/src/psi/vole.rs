//! Silent vector oblivious linear evaluation (VOLE) over GF(2^128), many batches under one Δ.
//!
//! A batch gives the receiver `a` and `c`, and the sender `b`, with `c[i] = Δ·a[i] + b[i]` under the sender's
//! Δ, which stays the same for a session. `a` is pseudorandom and neither party chooses it. It costs some
//! 100 KB of messages a batch, whatever the batch's size; [`Shape`] has the exact numbers.
//!
//! **In scope**: the states of both parties, from the first message on. **Not in scope**: frames, time-outs,
//! and what the correlation is used for. **Promised against** parties that follow the protocol (semi-honest):
//! lengths and points are checked, lies in their content are not detected. Seconds and cache lines of a
//! party's own machine are no channel to the other; nonetheless the sender's steps take constant time and
//! touch constant addresses, and the receiver's do too but for a few stores at the secret noise positions,
//! which every batch draws afresh.
//!
//! # Course
//! | receiver | | sender |
//! |---|---|---|
//! | [`AwaitPoints::open`] | 32 bytes → | [`AwaitNoise::respond`] draws Δ |
//! | [`AwaitPoints::on_points`] | ← 4,096 bytes | |
//! | | [`NOISE_BYTES`] → | [`AwaitNoise::on_noise`] |
//! | [`Receiver::begin`] | [`Shape::request_bytes`] → | [`Sender::on_request`] |
//! | [`AwaitTrees::on_trees`] | ← [`Shape::trees_bytes`] | |
//!
//! The last two lines are repeated for each batch; the noise message can travel with the first request.
//!
//! # Construction and parameters
//! 1. **Base OT** (`base.rs`): 128 oblivious transfers by Chou and Orlandi, once a session; Δ's bits are the
//!    choices.
//! 2. **OT extension** (`extension.rs`): IKNP, which is SoftSpoken (Roy, ePrint 2022/192) at k = 1. A batch
//!    needs some 2,000 transfers, whose 16 bytes are below 1 % of a large bucket's traffic; a larger k would
//!    save part of that and compute 2^k / k times as much. Δ is also IKNP's secret, as in Ferret (Yang, Weng,
//!    Lan, Zhang, Wang, ePrint 2020/924): streams have seeds of their own, and pads pass a tweakable
//!    correlation robust hash whose tweak never comes twice in a session.
//! 3. **Noisy VOLE** (`noisy.rs`): [`NOISE`] entries by Gilboa's products of bits, once a session. Every batch
//!    makes [`NOISE`] entries more than its caller gets, and the next batch takes those: bootstrapping as in
//!    Wolverine (Weng, Yang, Katz, Wang, ePrint 2020/925) and Ferret. They never leave this module, and a
//!    batch consumes them by move.
//! 4. **Puncturable PRF** (`tree.rs`): a tree for each noise entry, from transfers of the sums of left and of
//!    right children (Boyle, Couteau, Gilboa, Ishai, Kohl, Rindal, Scholl, CCS 2019; Schoppmann, Gascón,
//!    Reichert, Raykova, CCS 2019).
//! 5. **Compression** (`code.rs`): dual learning parity with noise under an expand-convolute code
//!    (Raghuraman, Rindal, Tanguy, CRYPTO 2023, ePrint 2023/882) of rate 1/2.
//!
//! Number of noise entries: a test that is linear in the syndrome has bias at most (1 − 2·d/N)^t with
//! minimum distance d and t regular noise entries, so t = ⌈128 / −log2(1 − 2·d/N)⌉. The authors' library
//! (libOTe, `ExConvConfigure` and `getRegNoiseWeight`) takes d/N = 0.2 for expander weight 21 and convolution
//! size 24, "pseudo minimum distance", which gives 174, rounded up to a multiple of eight: [`NOISE`] = 176.
//! Finding half of the positions free of noise (Prange) then takes 2^176 attempts.
//!
//! # Cost
//! For a batch of 290,000 on one core of a Xeon of 2023 that others kept busy: 14 ms of processor time at the
//! sender and 24 to 28 ms at the receiver, 105 KB (`examples/vole.rs`). At the sender, trees take 2.6 ms, two
//! convolutions 1.5, the expander's random words 1.7 and its sums 5 to 6, which wait for the second-level
//! cache. The receiver's elements are twice as long, and up to 4 ms are the first touch of fresh memory for
//! its shares. A session's beginning costs each party 3 to 6 ms.

use crate::limits::MAX_VOLE_OUTPUTS;
use crate::transcript::{Hash, Transcript};

mod base;
mod blocks;
mod code;
mod extension;
mod noisy;
mod receiver;
mod sender;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

pub use base::{OPENING_BYTES, POINTS_BYTES};
pub use blocks::SecretBlocks;
pub use noisy::NOISE_BYTES;
pub use receiver::{AwaitPoints, AwaitTrees, Receiver, ReceiverBatch, ReceiverShare};
pub use sender::{AwaitNoise, Sender, SenderBatch, SenderShare};
pub use shape::{NOISE, Shape};

/// Bits of Δ and of a block.
const KAPPA: usize = 128;

/// Bytes of a block in a message, little-endian.
const BLOCK_BYTES: usize = 16;

/// A state, and the message that brings the peer to its next.
#[derive(Debug)]
pub struct Step<S> {
    /// Waits for the peer's answer.
    pub state: S,
    /// What the peer gets.
    pub message: Vec<u8>,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoleError {
    /// The peer misbehaved: a message has another length than the batch's shape says.
    #[error("expected a message of {expected} bytes, found {found}")]
    Length {
        /// Bytes by the shape.
        expected: usize,
        /// Bytes received.
        found: usize,
    },
    /// The peer misbehaved: not the canonical encoding of a group element other than the identity.
    #[error("an element is not a canonical encoding, or is the identity")]
    Element,
    /// We were asked for too much.
    #[error("a batch has at most {MAX_VOLE_OUTPUTS} outputs, found {found}")]
    Outputs {
        /// Outputs asked for.
        found: usize,
    },
}

fn check_length(expected: usize, message: &[u8]) -> Result<(), VoleError> {
    if message.len() == expected { Ok(()) } else { Err(VoleError::Length { expected, found: message.len() }) }
}

/// A public seed that both parties know, for one purpose of a session.
fn public_seed(session: &Hash, purpose: &str, batch: u64) -> u128 {
    let digest = Transcript::new("windvane/psi-vole-seed/v1")
        .bytes("session", session)
        .text("purpose", purpose)
        .u64("batch", batch)
        .digest();
    blocks::read_one(&digest, 0)
}
