//! The party that has Δ and ends with `b`.

use rand_core::CryptoRng;
use windvane_kernels::aes::Prg;

use super::base::{self, Streams};
use super::blocks::{self, Scratch, SecretBlocks, random_block, sum};
use super::code::Code;
use super::extension::Offerer;
use super::noisy::{self, NOISE_BYTES};
use super::shape::{NOISE, Shape};
use super::tree::Growth;
use super::{Step, VoleError, check_length};
use crate::secret::Secret;
use crate::transcript::Hash;

/// The sender's half of a correlation: `c[i] = Δ·a[i] + b[i]`, with Δ at [`Sender::delta`].
#[derive(Debug)]
pub struct SenderShare {
    /// Pseudorandom to everybody else.
    pub b: SecretBlocks,
}

/// Waits for the noise of the first batch.
#[derive(Debug)]
pub struct AwaitNoise {
    session: Hash,
    delta: Secret<u128>,
    streams: Vec<Streams>,
}

impl AwaitNoise {
    /// Answers the receiver's first message, and draws Δ. `session` is what both parties agreed on, with
    /// randomness of both in it; it may come once only.
    ///
    /// # Errors
    /// [`VoleError::Length`] and [`VoleError::Element`]: the peer misbehaved.
    pub fn respond(
        session: &Hash,
        opening: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Step<Self>, VoleError> {
        let delta = Secret::new(random_block(rng));
        let (streams, message) = base::choose(session, opening, *delta.expose(), rng)?;
        Ok(Step { state: Self { session: *session, delta, streams }, message })
    }

    /// Takes the noise.
    ///
    /// # Errors
    /// [`VoleError::Length`]: the peer misbehaved.
    pub fn on_noise(self, message: &[u8]) -> Result<Sender, VoleError> {
        check_length(NOISE_BYTES, message)?;
        let (extension, noise) =
            self.streams.into_iter().map(|streams| (streams.extension, streams.noise)).unzip();
        let reserve = noisy::accept(noise, *self.delta.expose(), message);
        let offerer = Offerer::new(&self.session, extension);
        let noise = Scratch::new();
        Ok(Sender { session: self.session, batch: 0, delta: self.delta, offerer, reserve, noise })
    }
}

/// Waits for a batch's request.
#[derive(Debug)]
pub struct Sender {
    session: Hash,
    batch: u64,
    delta: Secret<u128>,
    offerer: Offerer,
    /// Entries that the next batch's noise is made of.
    reserve: SenderShare,
    /// The noise vector's memory.
    noise: Scratch,
}

/// A finished batch.
#[derive(Debug)]
pub struct SenderBatch {
    /// Waits for the next request.
    pub state: Sender,
    /// As many entries as the shape's outputs.
    pub share: SenderShare,
    /// For [`super::AwaitTrees::on_trees`].
    pub message: Vec<u8>,
}

impl Sender {
    /// Δ, the same in every batch of the session.
    pub const fn delta(&self) -> &Secret<u128> {
        &self.delta
    }

    /// Answers a request and compresses.
    ///
    /// # Errors
    /// [`VoleError::Length`]: the peer misbehaved.
    pub fn on_request(
        mut self,
        shape: Shape,
        request: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<SenderBatch, VoleError> {
        check_length(shape.request_bytes(), request)?;
        let code = Code::new(&self.session, self.batch);
        let pads = self.offerer.offer(*self.delta.expose(), request);
        let message = self.grow(shape, &Growth::new(code.tree_keys()), &pads, rng);
        let noise = self.noise.elements::<1>(shape.length());
        code.compress(noise, shape.entries());
        let entries = noise[..shape.entries()].as_flattened();
        self.reserve = SenderShare { b: SecretBlocks::new(entries[..NOISE].to_vec()) };
        self.batch += 1;
        let share = SenderShare { b: SecretBlocks::new(entries[NOISE..].to_vec()) };
        Ok(SenderBatch { state: self, share, message })
    }

    /// Fills the noise vector with the leaves of fresh trees; the message has the sums of each level under
    /// the transfers' pads, and for each tree the sum of its leaves with an entry of the reserve.
    fn grow(
        &mut self,
        shape: Shape,
        growth: &Growth,
        pads: &[SecretBlocks; 2],
        rng: &mut impl CryptoRng,
    ) -> Vec<u8> {
        let mut roots = Prg::new(random_block(rng));
        let mut message = Vec::with_capacity(shape.trees_bytes());
        let mut corrections = Vec::with_capacity(NOISE);
        let mut pads = pads[0].iter().zip(&*pads[1]);
        let noise = self.noise.elements::<1>(shape.length()).as_flattened_mut();
        for (tree, entry) in noise.chunks_exact_mut(shape.leaves()).zip(&*self.reserve.b) {
            let mut root = [0];
            roots.fill(&mut root);
            growth.full(root[0], tree, |[left, right]| {
                let (zero, one) = pads.next().expect("a pad for each level of each tree");
                blocks::write(&mut message, &[left ^ zero, right ^ one]);
            });
            corrections.push(sum(tree) ^ entry);
        }
        blocks::write(&mut message, &corrections);
        message
    }
}
