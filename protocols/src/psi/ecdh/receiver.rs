//! The receiver's states.

use rand_core::CryptoRng;

use super::{
    BATCH, Derived, ELEMENT_BYTES, EcdhError, Encoded, POSITION_BYTES, SecretScalar, answer_bytes,
    check_length, decode_mul, derive, hash_mul, payload, permutation_bytes, random_elements,
};
use crate::psi::{ItemKey, Mode, PSI_SALT_BYTES, Parameters};

/// The receiver's scalar of one connection, and what it shares with the sender.
#[derive(Debug, Clone)]
pub struct Receiver {
    parameters: Parameters,
    salt: [u8; PSI_SALT_BYTES],
    blind: SecretScalar,
    unblind: SecretScalar,
}

/// Waits for the sender's answer about one bucket.
#[derive(Debug)]
pub struct AwaitEvaluated {
    parameters: Parameters,
    salt: [u8; PSI_SALT_BYTES],
    unblind: SecretScalar,
    items: usize,
}

/// What a bucket gave.
#[derive(Debug)]
pub enum Found {
    /// The items that the sender has, ascending.
    Matches(Vec<Match>),
    /// Their number.
    Count(u64),
    /// Their number, and they themselves once the sender reveals its order.
    Counted(Counted),
}

/// An item that the sender has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Its position among the items that were blinded.
    pub item: usize,
    /// Its payload, where one travels.
    pub payload: Option<Vec<u8>>,
}

/// Has counted, and may ask for the order.
#[derive(Debug)]
pub struct Counted {
    parameters: Parameters,
    items: usize,
    /// Places of the answer whose tags matched.
    matched: Vec<usize>,
}

/// Waits for the order.
#[derive(Debug)]
pub struct AwaitPermutation(Counted);

impl Receiver {
    /// A fresh scalar for one connection of a job with this salt.
    pub fn new(parameters: Parameters, salt: [u8; PSI_SALT_BYTES], rng: &mut impl CryptoRng) -> Self {
        let blind = SecretScalar::random(rng);
        let unblind = blind.inverse();
        Self { parameters, salt, blind, unblind }
    }

    /// Blinds a bucket's items, all different, on so many threads; gives the message for the sender.
    ///
    /// # Errors
    /// [`EcdhError::Bound`] when there are more than the parameters' bound.
    pub fn blind(
        &self,
        items: &[ItemKey],
        threads: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, AwaitEvaluated), EcdhError> {
        let padding = self.parameters.receiver_bound().checked_sub(items.len()).ok_or(EcdhError::Bound)?;
        let mut message = hash_mul(items, &self.blind, threads);
        message.extend(random_elements(padding, rng));
        let wait = AwaitEvaluated {
            parameters: self.parameters,
            salt: self.salt,
            unblind: self.unblind.clone(),
            items: items.len(),
        };
        Ok((message.into_flattened(), wait))
    }
}

impl AwaitEvaluated {
    /// Takes the blinds away and looks for the sender's tags.
    ///
    /// # Errors
    /// [`EcdhError`]: the sender misbehaved.
    pub fn on_answer(self, message: &[u8], threads: usize) -> Result<Found, EcdhError> {
        let parameters = &self.parameters;
        check_length(message.len(), answer_bytes(parameters))?;
        let (evaluated, rest) = message.split_at(parameters.receiver_bound() * ELEMENT_BYTES);
        let (tags, payloads) = rest.split_at(parameters.sender_bound() * parameters.digest_bytes());
        if !tags.chunks(parameters.digest_bytes()).is_sorted() {
            return Err(EcdhError::Order);
        }
        let (evaluated, _) = evaluated.as_chunks::<ELEMENT_BYTES>();
        // In the order of the question only the first places are items; in a secret order all may be.
        let ordered = parameters.sizes().mode == Mode::Intersection;
        let evaluated = if ordered { &evaluated[..self.items] } else { evaluated };
        let elements = decode_mul(evaluated, &self.unblind, threads)?;
        let hits = join(&elements, &self.salt, tags, parameters.digest_bytes());
        self.conclude(hits, payloads)
    }

    fn conclude(self, hits: Vec<Hit>, payloads: &[u8]) -> Result<Found, EcdhError> {
        match self.parameters.sizes().mode {
            Mode::Intersection => {
                let sealed = payload::sealed_bytes(self.parameters.sizes().payload_bytes);
                let open = |hit: Hit| {
                    let open = |sealed| payload::open(&hit.derived.key, sealed);
                    let sealed = payloads.chunks(sealed.max(1)).nth(hit.tag).filter(|_| sealed > 0);
                    Ok(Match { item: hit.place, payload: sealed.map(open).transpose()? })
                };
                hits.into_iter().map(open).collect::<Result<_, _>>().map(Found::Matches)
            }
            Mode::Cardinality => Ok(Found::Count(hits.len() as u64)),
            Mode::MinimumThenRelease => {
                let matched = hits.iter().map(|hit| hit.place).collect();
                Ok(Found::Counted(Counted { parameters: self.parameters, items: self.items, matched }))
            }
        }
    }
}

/// A place of the answer whose tag is among the sender's.
struct Hit {
    place: usize,
    tag: usize,
    derived: Derived,
}

/// Finds each element's tag among the sorted ones; the hits by ascending place.
fn join(elements: &[Encoded], salt: &[u8; PSI_SALT_BYTES], tags: &[u8], tag_bytes: usize) -> Vec<Hit> {
    let tags: Vec<&[u8]> = tags.chunks(tag_bytes).collect();
    let find = |(place, derived): (usize, Derived)| {
        let tag = tags.binary_search(&&derived.tag[..tag_bytes]).ok()?;
        Some(Hit { place, tag, derived })
    };
    elements.chunks(BATCH).flat_map(|batch| derive(salt, batch)).enumerate().filter_map(find).collect()
}

impl Counted {
    /// How many items the sender has too.
    pub fn count(&self) -> u64 {
        self.matched.len() as u64
    }

    /// Decides to ask for the order.
    pub const fn ask(self) -> AwaitPermutation {
        AwaitPermutation(self)
    }
}

impl AwaitPermutation {
    /// Learns which items were counted.
    ///
    /// # Errors
    /// [`EcdhError`]: the sender misbehaved.
    pub fn on_permutation(self, message: &[u8]) -> Result<Vec<Match>, EcdhError> {
        let Counted { parameters, items, matched } = self.0;
        check_length(message.len(), permutation_bytes(&parameters))?;
        let (positions, _) = message.as_chunks::<POSITION_BYTES>();
        let places: Vec<_> = positions.iter().map(|bytes| u32::from_be_bytes(*bytes) as usize).collect();
        let mut seen = vec![false; places.len()];
        for place in &places {
            let first = seen.get_mut(*place).is_some_and(|seen| !std::mem::replace(seen, true));
            if !first {
                return Err(EcdhError::Permutation);
            }
        }
        let mut found: Vec<_> = matched.iter().map(|place| places[*place]).collect();
        found.sort_unstable();
        // A random element that matched would be one of the job's permitted failures.
        let item = |item| (item < items).then_some(Match { item, payload: None });
        Ok(found.into_iter().filter_map(item).collect())
    }
}
