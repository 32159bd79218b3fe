//! The oblivious PRF: RFC 9497, suite ristretto255-SHA512, mode VOPRF.
//!
//! `y = Hash(x ‖ k·H(x))`: one party holds `k`, the other `x`, and only the other learns `y`. Answers carry
//! one proof per key for a whole batch, so a provider cannot answer one caller under a key of its own.
//!
//! Beyond the RFC's interface, everything works on batches: encodings share one inversion
//! ([`Element`] explains the halves), and blinds are inverted together. Outputs are the RFC's, byte for byte.

use curve25519_dalek::{RistrettoPoint, Scalar};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::limits::MAX_ELEMENTS_PER_PROOF;
use crate::secret::Secret;

mod element;
mod hash;
mod proof;
#[cfg(test)]
mod tests;

pub use element::{ELEMENT_BYTES, Element, KeyId, PrivateKey, PublicKey};
pub use hash::Context;
pub use proof::{PROOF_BYTES, Proof};

use proof::Pairs;

/// The PRF's value for one input: 64 bytes.
pub type Output = Secret<[u8; 64]>;

/// What can go wrong in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OprfError {
    /// Not the canonical encoding of an element other than the identity.
    #[error("an element is not a canonical encoding, or is the identity")]
    InvalidElement,
    /// Not a canonical, nonzero scalar.
    #[error("a key is not a canonical nonzero scalar")]
    InvalidKey,
    /// The peer proved another key, or proved nothing.
    #[error("the proof does not hold under the announced key")]
    InvalidProof,
    /// The answer has another number of elements than the question.
    #[error("expected {expected} elements, found {found}")]
    Count {
        /// Elements asked for.
        expected: usize,
        /// Elements answered.
        found: usize,
    },
    /// More elements than one proof covers.
    #[error("a batch has 1 to {MAX_ELEMENTS_PER_PROOF} elements, found {found}")]
    BatchSize {
        /// Elements in the batch.
        found: usize,
    },
    /// An input longer than 65,535 bytes.
    #[error("an input has at most 65,535 bytes")]
    InputLength,
}

/// The requester's secret of one batch: inputs and blinds. It is used once, by [`Blinded::finalize`], which
/// consumes it.
pub struct Blinded {
    /// `None` where an absent field was replaced by a random element.
    inputs: Vec<Option<Secret<Vec<u8>>>>,
    blinds: Vec<Scalar>,
    elements: Vec<Element>,
}

impl Blinded {
    /// RFC 9497 `Blind` for a batch. An absent input gets a uniformly random element, which a provider
    /// cannot tell from a blinded one.
    ///
    /// # Errors
    /// [`OprfError::BatchSize`]; [`OprfError::InputLength`].
    pub fn blind(
        context: &Context,
        inputs: &[Option<&[u8]>],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, OprfError> {
        let blinds = inputs.iter().map(|_| nonzero(rng)).collect();
        Self::blind_with(context, inputs, blinds, rng)
    }

    fn blind_with(
        context: &Context,
        inputs: &[Option<&[u8]>],
        blinds: Vec<Scalar>,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, OprfError> {
        check_batch(inputs.len())?;
        if inputs.iter().flatten().any(|input| u16::try_from(input.len()).is_err()) {
            return Err(OprfError::InputLength);
        }
        let mut halves: Vec<RistrettoPoint> = inputs
            .iter()
            .zip(&blinds)
            .map(|(input, blind)| match input {
                Some(input) => context.group_element(input) * blind.div_by_2(),
                None => RistrettoPoint::random(rng),
            })
            .collect();
        let elements = Element::all_doubles(&halves);
        halves.iter_mut().for_each(zeroize::Zeroize::zeroize);
        let inputs = inputs.iter().map(|input| input.map(|bytes| Secret::new(bytes.to_vec()))).collect();
        Ok(Self { inputs, blinds, elements })
    }

    /// What the provider gets.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// RFC 9497 `Finalize` for a batch: checks the proof, unblinds, and hashes. `None` stands where the
    /// input was absent.
    ///
    /// # Errors
    /// [`OprfError::Count`] and [`OprfError::InvalidProof`]: the peer misbehaved.
    pub fn finalize(
        mut self,
        context: &Context,
        public: &PublicKey,
        evaluated: &[Element],
        proof: &Proof,
    ) -> Result<Vec<Option<Output>>, OprfError> {
        if evaluated.len() != self.elements.len() {
            return Err(OprfError::Count { expected: self.elements.len(), found: evaluated.len() });
        }
        if !proof::verify(context, public, Pairs { blinded: &self.elements, evaluated }, proof) {
            return Err(OprfError::InvalidProof);
        }
        let unblinded = self.unblind(evaluated);
        let inputs = std::mem::take(&mut self.inputs);
        Ok(inputs
            .into_iter()
            .zip(unblinded)
            .map(|(input, element)| input.map(|input| output(input.expose(), &element.bytes)))
            .collect())
    }

    fn unblind(&mut self, evaluated: &[Element]) -> Vec<Element> {
        Scalar::invert_batch_alloc(&mut self.blinds).zeroize();
        let halves: Vec<RistrettoPoint> =
            evaluated.iter().zip(&self.blinds).map(|(e, inverse)| e.point * inverse.div_by_2()).collect();
        Element::all_doubles(&halves)
    }
}

impl Drop for Blinded {
    fn drop(&mut self) {
        self.blinds.iter_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

impl ZeroizeOnDrop for Blinded {}

impl std::fmt::Debug for Blinded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blinded({} elements)", self.elements.len())
    }
}

impl PrivateKey {
    /// RFC 9497 `BlindEvaluate` in mode VOPRF for a batch.
    ///
    /// # Errors
    /// [`OprfError::BatchSize`].
    pub fn blind_evaluate(
        &self,
        context: &Context,
        blinded: &[Element],
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<Element>, Proof), OprfError> {
        check_batch(blinded.len())?;
        let halves: Vec<RistrettoPoint> = blinded.iter().map(|e| e.point * self.half).collect();
        let evaluated = Element::all_doubles(&halves);
        let pairs = Pairs { blinded, evaluated: &evaluated };
        let proof = proof::prove(context, &self.scalar, &self.public, pairs, rng);
        Ok((evaluated, proof))
    }

    /// RFC 9497 `Evaluate` for many inputs: the PRF's values for a party that holds key and inputs.
    pub fn evaluate<T: AsRef<[u8]>>(&self, context: &Context, inputs: &[T]) -> Vec<Output> {
        let elements = self.multiply(context, inputs);
        inputs.iter().zip(elements).map(|(input, e)| output(input.as_ref(), &e.bytes)).collect()
    }

    /// `k·H(x)` for one input: the tag that groups a person's entries in the bank's own log.
    pub fn tag(&self, context: &Context, input: &[u8]) -> [u8; ELEMENT_BYTES] {
        let [element] = Element::doubles([context.group_element(input) * self.half]);
        element.bytes
    }

    fn multiply<T: AsRef<[u8]>>(&self, context: &Context, inputs: &[T]) -> Vec<Element> {
        let halves: Vec<RistrettoPoint> =
            inputs.iter().map(|input| context.group_element(input.as_ref()) * self.half).collect();
        Element::all_doubles(&halves)
    }
}

fn check_batch(found: usize) -> Result<(), OprfError> {
    if (1..=MAX_ELEMENTS_PER_PROOF).contains(&found) { Ok(()) } else { Err(OprfError::BatchSize { found }) }
}

fn nonzero(rng: &mut impl CryptoRng) -> Scalar {
    loop {
        let scalar = Scalar::random(rng);
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}

/// `Hash(len16 ‖ input ‖ len16 ‖ element ‖ "Finalize")`.
fn output(input: &[u8], element: &[u8; ELEMENT_BYTES]) -> Output {
    let len = u16::try_from(input.len()).expect("inputs are checked when they are blinded or encoded");
    let hash = Sha512::new()
        .chain_update(len.to_be_bytes())
        .chain_update(input)
        .chain_update((ELEMENT_BYTES as u16).to_be_bytes())
        .chain_update(element)
        .chain_update(b"Finalize")
        .finalize();
    Secret::new(hash.into())
}
