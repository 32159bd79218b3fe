//! The party that ends with `a` and `c`.

use rand_core::CryptoRng;

use super::base::KeyPairs;
use super::blocks::{self, Scratch, SecretBlocks, sum};
use super::code::Code;
use super::extension::{Choices, Chooser};
use super::shape::{NOISE, Shape};
use super::tree::Growth;
use super::{BLOCK_BYTES, Step, VoleError, check_length, noisy};
use crate::transcript::Hash;

/// The receiver's half of a correlation: `c[i] = Δ·a[i] + b[i]`.
#[derive(Debug)]
pub struct ReceiverShare {
    /// Pseudorandom to everybody else.
    pub a: SecretBlocks,
    /// Δ·a + b.
    pub c: SecretBlocks,
}

/// Waits for the sender's points.
#[derive(Debug)]
pub struct AwaitPoints {
    session: Hash,
    pairs: KeyPairs,
}

impl AwaitPoints {
    /// Begins a session. `session` is what both parties agreed on, with randomness of both in it; it may come
    /// once only.
    pub fn open(session: &Hash, rng: &mut impl CryptoRng) -> Step<Self> {
        let pairs = KeyPairs::open(rng);
        let message = pairs.opening().to_vec();
        Step { state: Self { session: *session, pairs }, message }
    }

    /// Takes the points, and makes the noise of the first batch.
    ///
    /// # Errors
    /// [`VoleError::Length`] and [`VoleError::Element`]: the peer misbehaved.
    pub fn on_points(self, points: &[u8], rng: &mut impl CryptoRng) -> Result<Step<Receiver>, VoleError> {
        let streams = self.pairs.on_points(&self.session, points)?;
        let (extension, noise) = streams
            .into_iter()
            .map(|[zero, one]| ([zero.extension, one.extension], [zero.noise, one.noise]))
            .unzip();
        let (reserve, message) = noisy::offer(noise, rng);
        let chooser = Chooser::new(&self.session, extension);
        let noise = Scratch::new();
        Ok(Step { state: Receiver { session: self.session, batch: 0, chooser, reserve, noise }, message })
    }
}

/// Can begin a batch.
#[derive(Debug)]
pub struct Receiver {
    session: Hash,
    batch: u64,
    chooser: Chooser,
    /// Entries that the next batch's noise is made of.
    reserve: ReceiverShare,
    /// The noise vector's memory: elements are (a, c).
    noise: Scratch,
}

impl Receiver {
    /// Begins a batch; the message is for [`super::Sender::on_request`].
    pub fn begin(mut self, shape: Shape, rng: &mut impl CryptoRng) -> Step<AwaitTrees> {
        let mut holes = vec![0; NOISE];
        let mut choices = Choices::none(shape.choice_blocks());
        for (tree, hole) in holes.iter_mut().enumerate() {
            // A product of 64 bits by fewer than 2^16 leaves: uniform but for 2^-48.
            *hole = ((u128::from(rng.next_u64()) * shape.leaves() as u128) >> 64) as usize;
            for level in 0..shape.depth() {
                choices.set(tree * shape.depth() + level, (*hole >> level) & 1 == 0);
            }
        }
        let (pads, message) = self.chooser.choose(choices.as_blocks());
        Step { state: AwaitTrees { receiver: self, shape, holes: SecretBlocks::new(holes), pads }, message }
    }
}

/// Waits for the sender's trees.
#[derive(Debug)]
pub struct AwaitTrees {
    receiver: Receiver,
    shape: Shape,
    /// The leaf of each tree that stays unknown.
    holes: SecretBlocks<usize>,
    pads: SecretBlocks,
}

/// A finished batch.
#[derive(Debug)]
pub struct ReceiverBatch {
    /// Can begin the next.
    pub state: Receiver,
    /// As many entries as the shape's outputs.
    pub share: ReceiverShare,
}

impl AwaitTrees {
    /// Takes the sender's answer and compresses.
    ///
    /// # Errors
    /// [`VoleError::Length`]: the peer misbehaved.
    pub fn on_trees(mut self, message: &[u8]) -> Result<ReceiverBatch, VoleError> {
        check_length(self.shape.trees_bytes(), message)?;
        let code = Code::new(&self.receiver.session, self.receiver.batch);
        self.grow(&Growth::new(code.tree_keys()), message);
        let Self { mut receiver, shape, .. } = self;
        let noise = receiver.noise.elements(shape.length());
        code.compress(noise, shape.entries());
        let entries = &noise[..shape.entries()];
        receiver.reserve = part(&entries[..NOISE]);
        receiver.batch += 1;
        let share = part(&entries[NOISE..]);
        Ok(ReceiverBatch { state: receiver, share })
    }

    /// Fills the noise vector: leaves for `c`, and zero for `a`, but for the entries of the reserve at the
    /// holes.
    fn grow(&mut self, growth: &Growth, message: &[u8]) {
        let shape = self.shape;
        let sums = self.open_sums(message);
        let corrections = blocks::read(&message[2 * shape.transfers() * BLOCK_BYTES..]);
        let receiver = &mut self.receiver;
        let mut leaves = SecretBlocks::new(vec![0; shape.leaves()]);
        let noise = receiver.noise.elements(shape.length());
        let trees = noise.chunks_exact_mut(shape.leaves()).zip(sums.chunks_exact(shape.depth()));
        for (i, ((tree, sums), correction)) in trees.zip(corrections).enumerate() {
            let hole = self.holes[i];
            growth.punctured(hole, sums, &mut leaves);
            leaves[hole] = correction ^ sum(&leaves) ^ receiver.reserve.c[i];
            tree.iter_mut().zip(&*leaves).for_each(|(element, leaf)| *element = [0, *leaf]);
            tree[hole][0] = receiver.reserve.a[i];
        }
    }

    /// The one sum of each transfer whose pad is known.
    fn open_sums(&self, message: &[u8]) -> SecretBlocks {
        let (offers, _) = message.as_chunks::<{ 2 * BLOCK_BYTES }>();
        let depth = self.shape.depth();
        let sums = self.pads.iter().zip(offers).take(self.shape.transfers()).enumerate();
        let sums = sums.map(|(transfer, (pad, offer))| {
            let (zero, one) = (blocks::read_one(offer, 0), blocks::read_one(offer, 1));
            // The path's turn is the side that stays unknown.
            let turn = blocks::mask(self.holes[transfer / depth] as u128, transfer % depth);
            pad ^ (zero & turn) ^ (one & !turn)
        });
        SecretBlocks::new(sums.collect())
    }
}

/// Entries, parted into `a` and `c`.
fn part(entries: &[[u128; 2]]) -> ReceiverShare {
    let (a, c) = entries.iter().map(|entry| (entry[0], entry[1])).unzip();
    ReceiverShare { a: SecretBlocks::new(a), c: SecretBlocks::new(c) }
}
