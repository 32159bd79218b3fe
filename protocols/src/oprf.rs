//! The oblivious PRF: RFC 9497, suite ristretto255-SHA512, mode VOPRF.
//!
//! `y = Hash(x ‖ k·H(x))`: one party holds `k`, the other `x`, and only the other learns `y`. Answers carry
//! one proof per key for a whole batch, so a provider cannot answer one caller under a key of its own.
//!
//! Beyond the RFC's interface, everything works on the batches of a whole call, one a key: eight points are
//! multiplied in the time of one ([`windvane_kernels::ristretto`]), encodings share an inversion, and blinds are
//! inverted together. Outputs are the RFC's, byte for byte.

use curve25519_dalek::Scalar;
use rand_core::CryptoRng;
use windvane_kernels::ristretto::{Points, hash_mul_encode};
use windvane_kernels::sha512::{INITIAL, Message, digest_each};
use zeroize::{Zeroize as _, Zeroizing};

use crate::limits::MAX_ELEMENTS_PER_PROOF;
use crate::secret::{self, Secret};

mod element;
mod hash;
mod proof;
#[cfg(test)]
mod tests;
mod threshold;

pub use element::{ELEMENT_BYTES, Elements, KeyId, PrivateKey, PublicKey};
pub use hash::Context;
pub use proof::{PROOF_BYTES, Proof};
pub(crate) use threshold::Weights;

use hash::WIDE;
use proof::{Claim, Pairs, Statement};

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

/// The requester's secret of one batch: inputs, and what takes the blinds off. It is used once, by
/// [`Blinded::finalize`], which consumes it.
pub struct Blinded {
    /// `None` where an absent field was replaced by a random element.
    inputs: Vec<Option<Secret<Vec<u8>>>>,
    /// Half the inverse of every blind.
    unblinds: Zeroizing<Vec<Scalar>>,
    elements: Elements,
}

/// What a provider sent back for one batch.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The key that the provider announced beforehand.
    pub public: &'a PublicKey,
    /// The evaluated elements.
    pub evaluated: &'a Elements,
    /// The proof over all of them.
    pub proof: &'a Proof,
}

impl<'a> Answered<'a> {
    const fn claim(&self, blinded: &'a Blinded) -> Claim<'a> {
        let pairs = Pairs { blinded: &blinded.elements, evaluated: self.evaluated };
        Claim { public: self.public, pairs, proof: self.proof }
    }
}

impl Blinded {
    /// RFC 9497 `Blind` for batches of one call, together. An absent input gets a uniformly random element,
    /// which a provider cannot tell from a blinded one.
    ///
    /// # Errors
    /// [`OprfError::BatchSize`]; [`OprfError::InputLength`].
    pub fn blind(
        context: &Context,
        batches: &[Vec<Option<&[u8]>>],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Self>, OprfError> {
        let count = batches.iter().map(Vec::len).sum();
        let blinds = secret::collect(count, batches.iter().flatten().map(|_| nonzero(rng)));
        Self::blind_with(context, batches, blinds, rng)
    }

    fn blind_with(
        context: &Context,
        batches: &[Vec<Option<&[u8]>>],
        mut blinds: Zeroizing<Vec<Scalar>>,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Self>, OprfError> {
        batches.iter().try_for_each(|inputs| check_batch(inputs.len()))?;
        let inputs = || batches.iter().flatten();
        if inputs().flatten().any(|input| u16::try_from(input.len()).is_err()) {
            return Err(OprfError::InputLength);
        }
        let present: Vec<&[u8]> = inputs().flatten().copied().collect();
        let hashes = context.uniform(present.into_iter());
        let mut hashes = hashes.iter();
        let uniform = inputs().map(|input| match input {
            Some(_) => *hashes.next().expect("one for each input that is present"),
            None => random_bytes(rng),
        });
        let uniform = secret::collect(blinds.len(), uniform);
        let mut halves = Points::from_uniform(&uniform);
        halves.mul_each_assign(&Zeroizing::new(blinds.iter().map(Scalar::div_by_2).collect::<Vec<_>>()));
        let elements = Elements::doubles(&halves).split(batches.iter().map(Vec::len));
        // One inversion for all of them.
        Scalar::invert_batch_alloc(&mut blinds).zeroize();
        let mut unblinds = blinds.iter().map(Scalar::div_by_2);
        let keep = |(inputs, elements): (&Vec<Option<&[u8]>>, Elements)| {
            let unblinds = Zeroizing::new(unblinds.by_ref().take(inputs.len()).collect());
            let inputs = inputs.iter().map(|input| input.map(|bytes| Secret::new(bytes.to_vec()))).collect();
            Self { inputs, unblinds, elements }
        };
        Ok(batches.iter().zip(elements).map(keep).collect())
    }

    /// What the provider gets.
    pub const fn elements(&self) -> &Elements {
        &self.elements
    }

    /// RFC 9497 `Finalize` for batches of one call, together: checks the proofs, unblinds, and hashes. `None`
    /// stands where the input was absent.
    ///
    /// # Errors
    /// [`OprfError::Count`] and [`OprfError::InvalidProof`]: the peer misbehaved.
    pub fn finalize(
        context: &Context,
        batches: Vec<(Self, Answered<'_>)>,
    ) -> Result<Vec<Vec<Option<Output>>>, OprfError> {
        for (blinded, answered) in &batches {
            let (expected, found) = (blinded.elements.len(), answered.evaluated.len());
            if expected != found {
                return Err(OprfError::Count { expected, found });
            }
        }
        let claims: Vec<_> = batches.iter().map(|(blinded, answered)| answered.claim(blinded)).collect();
        let evaluated: Vec<_> = batches.iter().map(|(_, answered)| &answered.evaluated.points).collect();
        let unblinds = batches.iter().flat_map(|(blinded, _)| blinded.unblinds.iter().copied());
        let unblinds =
            secret::collect(batches.iter().map(|(blinded, _)| blinded.elements.len()).sum(), unblinds);
        let (holds, halves) = proof::verify_beside(context, &claims, &Points::concat(&evaluated), &unblinds);
        if !holds {
            return Err(OprfError::InvalidProof);
        }
        let unblinded = Zeroizing::new(halves.encode_doubled());
        let inputs = batches.iter().flat_map(|(blinded, _)| &blinded.inputs);
        let present = inputs.zip(unblinded.iter());
        let present = present.filter_map(|(input, element)| Some((&input.as_ref()?.expose()[..], element)));
        let mut outputs = outputs(&present.collect::<Vec<_>>()).into_iter();
        let mut finish = |batch: Self| {
            batch.inputs.iter().map(|input| input.as_ref().and_then(|_| outputs.next())).collect()
        };
        Ok(batches.into_iter().map(|(blinded, _)| finish(blinded)).collect())
    }
}

impl std::fmt::Debug for Blinded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blinded({} elements)", self.elements.len())
    }
}

/// Elements to evaluate, under which key, and for which use.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The use.
    pub context: &'a Context,
    /// The key.
    pub key: &'a PrivateKey,
    /// The requester's elements.
    pub blinded: &'a Elements,
}

impl Batch<'_> {
    /// Whether one proof covers it.
    ///
    /// # Errors
    /// [`OprfError::BatchSize`].
    pub fn check(&self) -> Result<(), OprfError> {
        check_batch(self.blinded.len())
    }
}

/// RFC 9497 `BlindEvaluate` in mode VOPRF for batches of any number of calls, each under its key and context, together.
///
/// # Errors
/// [`OprfError::BatchSize`].
pub fn blind_evaluate(
    batches: &[Batch<'_>],
    rng: &mut impl CryptoRng,
) -> Result<Vec<(Elements, Proof)>, OprfError> {
    batches.iter().try_for_each(Batch::check)?;
    let nonces = Zeroizing::new(batches.iter().map(|_| Scalar::random(rng)).collect::<Vec<_>>());
    let points: Vec<_> = batches.iter().map(|batch| &batch.blinded.points).collect();
    let keys = batches.iter().flat_map(|batch| std::iter::repeat_n(batch.key.half, batch.blinded.len()));
    let keys = secret::collect(batches.iter().map(|batch| batch.blinded.len()).sum(), keys);
    let (halves, commitments) = proof::commit_beside(&Points::concat(&points), &keys, &nonces);
    let evaluated = Elements::doubles(&halves);
    let evaluated = evaluated.split(batches.iter().map(|batch| batch.blinded.len()));
    let state = |(&Batch { context, key, blinded }, evaluated)| Statement {
        context,
        key,
        pairs: Pairs { blinded, evaluated },
    };
    let statements: Vec<_> = batches.iter().zip(&evaluated).map(state).collect();
    let proofs = proof::prove(&statements, &nonces, &commitments);
    Ok(evaluated.into_iter().zip(proofs).collect())
}

impl PrivateKey {
    /// RFC 9497 `Evaluate` for many inputs: the PRF's values for a party that holds key and inputs.
    pub fn evaluate<T: AsRef<[u8]>>(&self, context: &Context, inputs: &[T]) -> Vec<Output> {
        let elements = Zeroizing::new(self.tags(context, inputs));
        outputs(&inputs.iter().map(AsRef::as_ref).zip(elements.iter()).collect::<Vec<_>>())
    }

    /// `k·H(x)` for many inputs: the tags that group a person's entries in the bank's own log.
    pub fn tags<T: AsRef<[u8]>>(&self, context: &Context, inputs: &[T]) -> Vec<[u8; ELEMENT_BYTES]> {
        hash_mul_encode(&context.uniform(inputs.iter().map(AsRef::as_ref)), &self.scalar)
    }
}

fn random_bytes(rng: &mut impl CryptoRng) -> [u8; WIDE] {
    let mut bytes = [0; WIDE];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn check_batch(found: usize) -> Result<(), OprfError> {
    if (1..=MAX_ELEMENTS_PER_PROOF).contains(&found) { Ok(()) } else { Err(OprfError::BatchSize { found }) }
}

/// A random scalar other than zero.
pub(crate) fn nonzero(rng: &mut impl CryptoRng) -> Scalar {
    loop {
        let scalar = Scalar::random(rng);
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}

/// `Hash(len16 ‖ input ‖ len16 ‖ element ‖ "Finalize")` for each input and its element.
fn outputs(pairs: &[(&[u8], &[u8; ELEMENT_BYTES])]) -> Vec<Output> {
    let len = |len: usize| u16::try_from(len).expect("inputs are checked when they are blinded or encoded");
    let lens: Vec<_> = pairs.iter().map(|(input, _)| len(input.len()).to_be_bytes()).collect();
    let element_len = (ELEMENT_BYTES as u16).to_be_bytes();
    let messages = lens.iter().zip(pairs).map(|(len, (input, element))| Message {
        start: &INITIAL,
        parts: [&len[..], input, &element_len, &element[..]],
        end: b"Finalize",
    });
    Zeroizing::new(digest_each(messages)).iter().map(|digest| Secret::new(*digest)).collect()
}
