//! The sender's states.

use rand_core::CryptoRng;

use super::{
    BATCH, ELEMENT_BYTES, EcdhError, Encoded, SecretScalar, answer_bytes, blinded_bytes, check_length,
    decode_mul, derive, hash_mul, payload,
};
use crate::psi::{ItemKey, Mode, PSI_SALT_BYTES, Parameters};

/// The sender's scalar of one connection.
#[derive(Debug, Clone)]
pub struct Sender {
    parameters: Parameters,
    salt: [u8; PSI_SALT_BYTES],
    scalar: SecretScalar,
}

/// One of the sender's items.
#[derive(Debug, Clone, Copy)]
pub struct SenderItem<'a> {
    /// Its key within the bucket; all of a bucket's are different.
    pub key: ItemKey,
    /// What travels with a match; empty when nothing does.
    pub payload: &'a [u8],
}

/// The order of an answer, kept back until the receiver asks for its release.
pub struct Withheld {
    /// For every place of the answer, the place of the question.
    order: Vec<u32>,
}

impl std::fmt::Debug for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Withheld({} places)", self.order.len())
    }
}

impl Sender {
    /// A fresh scalar for one connection of a job with this salt.
    pub fn new(parameters: Parameters, salt: [u8; PSI_SALT_BYTES], rng: &mut impl CryptoRng) -> Self {
        Self { parameters, salt, scalar: SecretScalar::random(rng) }
    }

    /// Answers a bucket's message on so many threads. The order stays here where the mode keeps it back.
    ///
    /// # Errors
    /// [`EcdhError`]: the receiver misbehaved; [`EcdhError::Bound`]: more items than the parameters' bound.
    pub fn answer(
        &self,
        message: &[u8],
        items: &[SenderItem<'_>],
        threads: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, Option<Withheld>), EcdhError> {
        check_length(message.len(), blinded_bytes(&self.parameters))?;
        let (blinded, _) = message.as_chunks::<ELEMENT_BYTES>();
        let evaluated = decode_mul(blinded, &self.scalar, threads)?;
        let mut answer = Vec::with_capacity(answer_bytes(&self.parameters));
        let withheld = self.arrange(&evaluated, &mut answer, rng);
        self.append_tags(items, &mut answer, threads, rng)?;
        Ok((answer, withheld))
    }

    /// Appends the evaluated elements in the order that the mode asks for.
    fn arrange(
        &self,
        evaluated: &[Encoded],
        answer: &mut Vec<u8>,
        rng: &mut impl CryptoRng,
    ) -> Option<Withheld> {
        if self.parameters.sizes().mode == Mode::Intersection {
            answer.extend_from_slice(evaluated.as_flattened());
            return None;
        }
        let order = permutation(evaluated.len(), rng);
        order.iter().for_each(|place| answer.extend_from_slice(&evaluated[*place as usize]));
        (self.parameters.sizes().mode == Mode::MinimumThenRelease).then_some(Withheld { order })
    }

    /// Appends tags and sealed payloads, sorted by tag; random rows fill up to the bound.
    fn append_tags(
        &self,
        items: &[SenderItem<'_>],
        answer: &mut Vec<u8>,
        threads: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<(), EcdhError> {
        let longest = self.parameters.sizes().payload_bytes;
        let padding = self.parameters.sender_bound().checked_sub(items.len()).ok_or(EcdhError::Bound)?;
        let keys: Vec<_> = items.iter().map(|item| item.key).collect();
        let mut rows = Vec::with_capacity(self.parameters.sender_bound());
        let elements = hash_mul(&keys, &self.scalar, threads);
        let derived = elements.chunks(BATCH).flat_map(|batch| derive(&self.salt, batch));
        for (item, derived) in items.iter().zip(derived) {
            let sealed = match longest {
                0 => Vec::new(),
                longest => payload::seal(&derived.key, item.payload, longest)?,
            };
            rows.push((derived.tag, sealed));
        }
        for _ in 0..padding {
            let (mut tag, mut sealed) = ([0; 16], vec![0; payload::sealed_bytes(longest)]);
            rng.fill_bytes(&mut tag);
            rng.fill_bytes(&mut sealed);
            rows.push((tag, sealed));
        }
        rows.sort_unstable();
        let digest_bytes = self.parameters.digest_bytes();
        rows.iter().for_each(|(tag, _)| answer.extend_from_slice(&tag[..digest_bytes]));
        rows.iter().for_each(|(_, sealed)| answer.extend_from_slice(sealed));
        Ok(())
    }
}

impl Withheld {
    /// Reveals the order; the caller has the receiver's signed release request.
    pub fn reveal(self) -> Vec<u8> {
        self.order.iter().flat_map(|place| place.to_be_bytes()).collect()
    }
}

/// Fisher-Yates; each choice from 64 bits, so that its bias stays below 2^-44 for 2^20 places.
fn permutation(len: usize, rng: &mut impl CryptoRng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    for last in (1..len).rev() {
        let chosen = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, chosen as usize);
    }
    order
}
