//! The sender's side of a bucket.

use std::fmt;

use rand_core::CryptoRng;
use windvane_kernels::aes::Prg;
use windvane_kernels::gf128;
use zeroize::{Zeroize as _, Zeroizing};

use super::cutter::Cutter;
use super::{ELEMENT_BYTES, Plan, Rr22Error, SEEDS_BYTES, Seeds, SenderShare, payload};
use crate::psi::okvs::{Duplicate, Rows};
use crate::psi::order::ascending;

/// Elements that are converted from bytes at a time.
const CHUNK: usize = 256;

/// Has keys and share; waits for the receiver's seeds.
pub struct AwaitSeeds {
    plan: Plan,
    keys: Zeroizing<Vec<u128>>,
    share: SenderShare,
}

/// Waits for the receiver's message A, in pieces.
pub struct AwaitEncoding {
    plan: Plan,
    seeds: Seeds,
    rows: Rows,
    /// Keys given, with those that came again.
    given: usize,
    /// B, of which the first elements are K already.
    share: SenderShare,
    filled: usize,
    cutter: Cutter,
}

/// The sender's message: as many records as the plan says, in ascending order.
pub struct Records {
    /// The message.
    pub message: Vec<u8>,
}

impl AwaitSeeds {
    /// Begins a bucket. Keys are 128-bit outputs of a hash that both parties salted; in which order does not
    /// matter.
    ///
    /// # Errors
    /// [`Rr22Error::Keys`], [`Rr22Error::Share`].
    pub fn new(plan: Plan, keys: Vec<u128>, share: SenderShare) -> Result<Self, Rr22Error> {
        let keys = Zeroizing::new(keys);
        plan.check_keys(plan.sender_keys, keys.len())?;
        plan.check_share(share.b.len())?;
        Ok(Self { plan, keys, share })
    }

    /// Hashes the keys to rows under the receiver's seeds.
    ///
    /// # Errors
    /// [`Rr22Error::Okvs`].
    pub fn on_seeds(self, seeds: &[u8; SEEDS_BYTES]) -> Result<AwaitEncoding, Rr22Error> {
        let Self { plan, keys, share } = self;
        let seeds = Seeds::from_bytes(seeds);
        let rows = Rows::derive(plan.shape.with_rows(plan.sender_keys), seeds.rows, &keys)?;
        let cutter = Cutter::new(ELEMENT_BYTES, plan.encoding_bytes());
        Ok(AwaitEncoding { plan, seeds, rows, given: keys.len(), share, filled: 0, cutter })
    }
}

impl AwaitEncoding {
    /// The keys that came again: the first of them counts, with its payload.
    pub fn duplicates(&self) -> &[Duplicate] {
        self.rows.duplicates()
    }

    /// Takes the next bytes of A: K = B + ΔA.
    ///
    /// # Errors
    /// [`Rr22Error::TooLong`].
    pub fn on_chunk(&mut self, piece: &[u8]) -> Result<(), Rr22Error> {
        let Self { share, filled, cutter, .. } = self;
        cutter.feed(piece, |units| {
            for bytes in units.as_chunks::<ELEMENT_BYTES>().0.chunks(CHUNK) {
                let mut a = [0; CHUNK];
                a.iter_mut().zip(bytes).for_each(|(a, bytes)| *a = u128::from_le_bytes(*bytes));
                let b = &mut share.b[*filled..*filled + bytes.len()];
                gf128::mul_add_slice(b, &a[..bytes.len()], share.delta);
                *filled += bytes.len();
            }
            Ok(())
        })
    }

    /// Computes the records. There is a payload for each key, in the order in which the keys were given, and
    /// none when the plan has none.
    ///
    /// # Errors
    /// [`Rr22Error::TooShort`] when bytes of A are missing; [`Rr22Error::Payloads`], [`Rr22Error::PayloadBytes`].
    pub fn finish(self, payloads: &[Vec<u8>], rng: &mut impl CryptoRng) -> Result<Records, Rr22Error> {
        self.cutter.finish()?;
        self.check(payloads)?;
        let mut values = Zeroizing::new(self.rows.decode(&self.share.b)?);
        gf128::mul_add_slice(&mut values, &self.seeds.values(self.rows.keys()), self.share.delta);
        let mut seed = Zeroizing::new([0; 16]);
        rng.fill_bytes(&mut *seed);
        let mut prg = Prg::new(u128::from_le_bytes(*seed));
        let digests = self.digests(&values, &mut prg);
        Ok(Records { message: self.records(&values, &digests, payloads, &mut prg) })
    }

    fn check(&self, payloads: &[Vec<u8>]) -> Result<(), Rr22Error> {
        let longest = self.plan.payload_bytes;
        let (expected, found) = (if longest == 0 { 0 } else { self.given }, payloads.len());
        if found != expected {
            return Err(Rr22Error::Payloads { expected, found });
        }
        match payloads.iter().map(Vec::len).find(|length| *length > longest) {
            Some(found) => Err(Rr22Error::PayloadBytes { expected: longest, found }),
            None => Ok(()),
        }
    }

    /// Ho of the values, and random blocks up to the padded number.
    fn digests(&self, values: &[u128], prg: &mut Prg) -> Zeroizing<Vec<u128>> {
        let mut digests = Zeroizing::new(Vec::with_capacity(self.plan.sender_keys));
        digests.extend_from_slice(values);
        digests.resize(self.plan.sender_keys, 0);
        let (real, dummies) = digests.split_at_mut(values.len());
        self.seeds.outer_hash().hash_slice(real);
        prg.fill(dummies);
        digests
    }

    fn records(&self, values: &[u128], digests: &[u128], payloads: &[Vec<u8>], prg: &mut Prg) -> Vec<u8> {
        let Plan { digest_bytes, payload_bytes, .. } = self.plan;
        let mut out = Vec::with_capacity(self.plan.records_bytes());
        for index in ascending(digests) {
            let index = index as usize;
            out.extend_from_slice(&digests[index].to_be_bytes()[..digest_bytes]);
            match values.get(index) {
                _ if payload_bytes == 0 => {}
                Some(value) => {
                    let origin = self.rows.origins()[index] as usize;
                    payload::seal(*value, &payloads[origin], payload_bytes, &mut out);
                }
                None => fill(prg, payload::sealed_bytes(payload_bytes), &mut out),
            }
        }
        out
    }
}

/// Appends random bytes.
fn fill(prg: &mut Prg, count: usize, out: &mut Vec<u8>) {
    let end = out.len() + count;
    let mut blocks = [0; 8];
    while out.len() < end {
        prg.fill(&mut blocks);
        out.extend(blocks.iter().flat_map(|block| block.to_le_bytes()).take(end - out.len()));
    }
    blocks.zeroize();
}

impl fmt::Debug for AwaitSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitSeeds({} keys)", self.keys.len())
    }
}

impl fmt::Debug for AwaitEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwaitEncoding({} of {} elements)", self.filled, self.plan.columns())
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({} bytes)", self.message.len())
    }
}
