//! The receiver's side of a bucket.

use std::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::cutter::Cutter;
use super::{Plan, ReceiverShare, Rr22Error, SEEDS_BYTES, Seeds, payload};
use crate::psi::okvs::{Duplicate, Rows};
use crate::psi::order::ascending;

/// Has encoded its keys; needs its share of the vector OLE, which may be made meanwhile.
pub struct Encoded {
    plan: Plan,
    seeds: Seeds,
    rows: Rows,
    store: Zeroizing<Vec<u128>>,
}

/// The receiver's message, and what waits for the answer.
pub struct Masked {
    /// The next state.
    pub state: Decoding,
    /// r and r′.
    pub seeds: [u8; SEEDS_BYTES],
    /// A, [`Plan::encoding_bytes`] long.
    pub encoding: Vec<u8>,
}

/// Can compute what it expects while the message travels.
pub struct Decoding {
    plan: Plan,
    seeds: Seeds,
    rows: Rows,
    c: Zeroizing<Vec<u128>>,
}

/// Waits for the sender's records, in pieces.
pub struct AwaitRecords {
    plan: Plan,
    /// Digests in ascending order.
    digests: Zeroizing<Vec<u128>>,
    /// For each of them the index of its key among those that were given.
    origins: Vec<u32>,
    /// For each of them its value before Ho, where payload is to be opened.
    values: Zeroizing<Vec<u128>>,
    directory: Directory,
    matched: Vec<bool>,
    found: Intersection,
    cutter: Cutter,
    records: usize,
    /// The last record's digest.
    last: u128,
}

/// Which keys the sender has too.
#[derive(Default)]
pub struct Intersection {
    indices: Vec<u32>,
    payloads: Zeroizing<Vec<u8>>,
    /// Where the payload of every match ends; empty when the plan has none.
    ends: Vec<usize>,
}

impl Encoded {
    /// Encodes the keys under fresh seeds. Keys are 128-bit outputs of a hash that both parties salted; in
    /// which order does not matter. An encoding is masked by one share only: its consumption sees to that.
    ///
    /// # Errors
    /// [`Rr22Error::Keys`]; [`Rr22Error::Okvs`] with [`crate::psi::okvs::OkvsError::Unsolvable`]: try again.
    pub fn encode(plan: Plan, keys: &[u128], rng: &mut impl CryptoRng) -> Result<Self, Rr22Error> {
        plan.check_keys(plan.shape.rows(), keys.len())?;
        let mut bytes = [0; SEEDS_BYTES];
        rng.fill_bytes(&mut bytes);
        let seeds = Seeds::from_bytes(&bytes);
        let rows = Rows::derive(plan.shape, seeds.rows, keys)?;
        let store = Zeroizing::new(rows.encode(&seeds.values(rows.keys()), rng)?);
        Ok(Self { plan, seeds, rows, store })
    }

    /// The keys that came again: the first of them counts.
    pub fn duplicates(&self) -> &[Duplicate] {
        self.rows.duplicates()
    }

    /// A = P + A′.
    ///
    /// # Errors
    /// [`Rr22Error::Share`].
    pub fn mask(self, mut share: ReceiverShare) -> Result<Masked, Rr22Error> {
        let Self { plan, seeds, rows, store } = self;
        plan.check_share(share.a.len())?;
        plan.check_share(share.c.len())?;
        let mut encoding = vec![0; plan.encoding_bytes()];
        for ((bytes, p), a) in encoding.as_chunks_mut().0.iter_mut().zip(&*store).zip(&share.a) {
            *bytes = (p ^ a).to_le_bytes();
        }
        let c = Zeroizing::new(std::mem::take(&mut share.c));
        let state = Decoding { plan, seeds, rows, c };
        Ok(Masked { state, seeds: seeds.to_bytes(), encoding })
    }
}

impl Decoding {
    /// Computes the digests of the own keys.
    ///
    /// # Errors
    /// None that a plan allows: the share's length was checked.
    pub fn decode(self) -> Result<AwaitRecords, Rr22Error> {
        let Self { plan, seeds, rows, c } = self;
        let values = Zeroizing::new(rows.decode(&c)?);
        let mut blocks = Zeroizing::new(values.to_vec());
        seeds.outer_hash().hash_slice(&mut blocks);
        let order = ascending(&blocks);
        let digests: Zeroizing<Vec<u128>> =
            Zeroizing::new(order.iter().map(|row| plan.digest(blocks[*row as usize])).collect());
        let origins: Vec<u32> = order.iter().map(|row| rows.origins()[*row as usize]).collect();
        let values = match plan.payload_bytes {
            0 => Vec::new(),
            _ => order.iter().map(|row| values[*row as usize]).collect(),
        };
        Ok(AwaitRecords {
            directory: Directory::new(&digests, plan.digest_bytes),
            matched: vec![false; digests.len()],
            found: Intersection::default(),
            cutter: Cutter::new(plan.record_bytes(), plan.records_bytes()),
            values: Zeroizing::new(values),
            plan,
            digests,
            origins,
            records: 0,
            last: 0,
        })
    }
}

impl AwaitRecords {
    /// Compares the next records.
    ///
    /// # Errors
    /// [`Rr22Error::TooLong`], [`Rr22Error::RecordOrder`], [`Rr22Error::SealedPayload`]: the peer misbehaved,
    /// or, for the last with a probability within the failure budget, two digests are equal by chance.
    pub fn on_chunk(&mut self, piece: &[u8]) -> Result<(), Rr22Error> {
        let Self { cutter, plan, .. } = self;
        let record_bytes = plan.record_bytes();
        let mut cutter = std::mem::replace(cutter, Cutter::new(1, 0));
        let fed =
            cutter.feed(piece, |units| units.chunks_exact(record_bytes).try_for_each(|r| self.on_record(r)));
        self.cutter = cutter;
        fed
    }

    fn on_record(&mut self, record: &[u8]) -> Result<(), Rr22Error> {
        let (digest, sealed) = record.split_at(self.plan.digest_bytes);
        let digest = digest.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        if digest < self.last {
            return Err(Rr22Error::RecordOrder { index: self.records });
        }
        self.last = digest;
        let near = self.directory.near(digest);
        for i in near.filter(|i| self.digests[*i] == digest) {
            // A second record with this digest: the first has been taken.
            if std::mem::replace(&mut self.matched[i], true) {
                continue;
            }
            if let Some(value) = self.values.get(i) {
                if !payload::open(*value, sealed, &mut self.found.payloads) {
                    return Err(Rr22Error::SealedPayload { index: self.records });
                }
                self.found.ends.push(self.found.payloads.len());
            }
            self.found.indices.push(self.origins[i]);
        }
        self.records += 1;
        Ok(())
    }

    /// The intersection, once all records have come.
    ///
    /// # Errors
    /// [`Rr22Error::TooShort`].
    pub fn finish(self) -> Result<Intersection, Rr22Error> {
        self.cutter.finish()?;
        Ok(self.found)
    }
}

impl Intersection {
    /// The indices of matched keys among those that were given, each once, in no particular order.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The payload of the `i`-th match; empty when the plan has none.
    ///
    /// # Panics
    /// When there are no so many matches.
    pub fn payload(&self, i: usize) -> &[u8] {
        assert!(i < self.indices.len(), "there are {} matches", self.indices.len());
        let begin = i.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(i).copied();
        &self.payloads[begin.unwrap_or_default()..end.unwrap_or_default()]
    }
}

/// Where digests with certain upper bits are among sorted ones.
struct Directory {
    shift: u32,
    /// For each value of the upper bits the first place, and one place more.
    places: Vec<u32>,
}

impl Directory {
    /// About one digest for each value of the upper bits, at most 2^22 of them.
    fn new(digests: &[u128], digest_bytes: usize) -> Self {
        let bits = digests.len().next_power_of_two().trailing_zeros().clamp(1, 22);
        let shift = 8 * digest_bytes as u32 - bits;
        let mut places = Vec::with_capacity((1 << bits) + 1);
        for (place, digest) in digests.iter().enumerate() {
            let upper = (digest >> shift) as usize;
            places.resize(places.len().max(upper + 1), place as u32);
        }
        places.resize((1 << bits) + 1, digests.len() as u32);
        Self { shift, places }
    }

    /// The places where a digest can be.
    fn near(&self, digest: u128) -> std::ops::Range<usize> {
        let upper = (digest >> self.shift) as usize;
        self.places[upper] as usize..self.places[upper + 1] as usize
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({:?})", self.rows)
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masked({:?})", self.state)
    }
}

impl fmt::Debug for Decoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoding({:?})", self.rows)
    }
}

impl fmt::Debug for AwaitRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitRecords({} of {} records)", self.records, self.plan.sender_keys)
    }
}

impl fmt::Debug for Intersection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intersection(…)")
    }
}
