//! What both parties compute alike before the first bucket: buckets, bounds, digest length, failure budget.
//!
//! **One budget for the whole job**, 2^-[`STATISTICAL_BITS`]: the probability that any two different items
//! share a digest in any bucket, plus the probability that any bucket of either party overflows its bound.
//! All arithmetic is on integers, so that no two machines come to different numbers.
//!
//! *Digests.* A bucket has at most nx·ny pairs of different items, so B buckets with digests of l bytes fail
//! with at most B·nx·ny·2^-8l. The shortest l that keeps the budget is taken; but for the share of overflows
//! that is l = ⌈(λ + ⌈log2(nx·ny)⌉)/8⌉ with λ = 40 + log2 B.
//!
//! *Bounds.* n items fall into B buckets like n balls, for their hashes are salted by both parties' nonces.
//! One bucket's count X is binomial with mean μ = n/B and variance v = μ(1 − 1/B), and by Bernstein's inequality
//! P(X ≥ μ + t) ≤ exp(−t²/(2(v + t/3))) = e^-L for t = L/3 + √(L²/9 + 2vL) (Boucheron, Lugosi, Massart,
//! *Concentration Inequalities*, 2013, corollary 2.11). With L = (OVERFLOW_BITS + 1 + log2 B)·ln 2 the union
//! over all buckets of both parties stays within 2^-[`OVERFLOW_BITS`]. A single bucket cannot overflow.

use super::{Mode, Protocol};
use crate::limits::{
    MAX_PSI_BUCKET_ROWS, MAX_PSI_BUCKETS, MAX_PSI_MESSAGE_BYTES, MAX_PSI_PAYLOAD_BYTES, MAX_PSI_ROWS,
};
use crate::transcript::{Hash, Reader, Transcript, TranscriptError};

/// A whole job fails with at most two to the minus this.
pub const STATISTICAL_BITS: u32 = 40;

/// Of which overflowing buckets have at most two to the minus this.
pub const OVERFLOW_BITS: u32 = 48;

/// Longer digests are refused: an item's key has no more bytes.
const MAX_DIGEST_BYTES: u32 = 16;

/// Rows that a bucket is meant to hold, unless both agree on another number. Measured at 2^20 and 2^24 rows: 2^18 need a
/// twentieth less traffic, and a sixth more time because their buffers do not stay in a processor's caches.
const BUCKET_ROWS: u64 = 1 << 16;

/// What the parameters are computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// How the intersection is computed.
    pub protocol: Protocol,
    /// What the receiver learns.
    pub mode: Mode,
    /// The receiver's rows, before duplicates are removed.
    pub receiver_rows: u64,
    /// The sender's rows, before duplicates are removed.
    pub sender_rows: u64,
    /// The longest payload, bytes; 0 when none travels.
    pub payload_bytes: usize,
    /// Rows that a bucket is meant to hold: more buckets need less memory, fewer need less padding.
    pub bucket_rows: u64,
}

/// What both parties compute alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    sizes: Sizes,
    buckets: u64,
    receiver_bound: u64,
    sender_bound: u64,
    digest_bytes: u32,
}

/// Why a job of these sizes does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// The protocol does not have this mode.
    #[error("{protocol} has no mode {mode}; take ecdh")]
    Mode {
        /// The protocol.
        protocol: Protocol,
        /// The mode.
        mode: Mode,
    },
    /// A party has too many rows.
    #[error("{found} rows are more than the {limit} that this mode takes")]
    Rows {
        /// A party's rows.
        found: u64,
        /// What the mode takes.
        limit: u64,
    },
    /// Buckets of this size are too many, or too large.
    #[error(
        "buckets of {bucket_rows} rows do not fit: 1 to {MAX_PSI_BUCKET_ROWS} rows, {MAX_PSI_BUCKETS} buckets"
    )]
    Buckets {
        /// Rows that a bucket is meant to hold.
        bucket_rows: u64,
    },
    /// The payload is too long, or the mode takes none.
    #[error(
        "a payload of {found} bytes does not travel in mode {mode}; {MAX_PSI_PAYLOAD_BYTES} do with intersection"
    )]
    Payload {
        /// The longest payload.
        found: usize,
        /// The mode.
        mode: Mode,
    },
    /// The failure budget would need longer digests than there are.
    #[error("the failure budget of 2^-{STATISTICAL_BITS} would need digests of more than 16 bytes")]
    Budget,
    /// A bucket's message would be too long.
    #[error("a bucket's message would have {found} bytes; take smaller buckets")]
    Message {
        /// Its bytes.
        found: u64,
    },
}

impl Sizes {
    /// Sizes with the usual buckets and without payload.
    pub const fn new(protocol: Protocol, mode: Mode, receiver_rows: u64, sender_rows: u64) -> Self {
        Self { protocol, mode, receiver_rows, sender_rows, payload_bytes: 0, bucket_rows: BUCKET_ROWS }
    }

    fn check(&self) -> Result<(), ParametersError> {
        if self.mode.counts_first() && self.protocol != Protocol::Ecdh {
            return Err(ParametersError::Mode { protocol: self.protocol, mode: self.mode });
        }
        let limit = if self.mode.counts_first() { MAX_PSI_BUCKET_ROWS } else { MAX_PSI_ROWS };
        let found = self.receiver_rows.max(self.sender_rows);
        if found > limit {
            return Err(ParametersError::Rows { found, limit });
        }
        if !(1..=MAX_PSI_BUCKET_ROWS).contains(&self.bucket_rows) {
            return Err(ParametersError::Buckets { bucket_rows: self.bucket_rows });
        }
        let longest = if self.mode.counts_first() { 0 } else { MAX_PSI_PAYLOAD_BYTES };
        if self.payload_bytes > longest {
            return Err(ParametersError::Payload { found: self.payload_bytes, mode: self.mode });
        }
        Ok(())
    }

    /// The power of two of buckets that hold at most `bucket_rows` of the larger party on average.
    fn buckets(&self) -> Result<u64, ParametersError> {
        if self.mode.counts_first() {
            return Ok(1);
        }
        let rows = self.receiver_rows.max(self.sender_rows).max(1);
        let buckets = rows.div_ceil(self.bucket_rows).next_power_of_two();
        if buckets > MAX_PSI_BUCKETS {
            return Err(ParametersError::Buckets { bucket_rows: self.bucket_rows });
        }
        Ok(buckets)
    }
}

impl Parameters {
    /// Computes the parameters of a job.
    ///
    /// # Errors
    /// [`ParametersError`]: the job is refused before anything of it moves.
    pub fn new(sizes: Sizes) -> Result<Self, ParametersError> {
        sizes.check()?;
        let buckets = sizes.buckets()?;
        let bound = |rows| bucket_bound(rows, buckets);
        let (receiver_bound, sender_bound) = (bound(sizes.receiver_rows), bound(sizes.sender_rows));
        let least = least_digest_bytes(sizes.protocol);
        let digest_bytes = digest_bytes(least, receiver_bound, sender_bound, buckets)?;
        let parameters = Self { sizes, buckets, receiver_bound, sender_bound, digest_bytes };
        let row = u64::from(digest_bytes) + 32 + 18 + sizes.payload_bytes as u64;
        let found = receiver_bound.saturating_add(sender_bound).saturating_mul(row);
        if found > MAX_PSI_MESSAGE_BYTES {
            return Err(ParametersError::Message { found });
        }
        Ok(parameters)
    }

    /// What they were computed from.
    pub const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Buckets: a power of two.
    pub const fn buckets(&self) -> u32 {
        self.buckets as u32
    }

    /// Items of the receiver in every bucket, padding included.
    pub const fn receiver_bound(&self) -> usize {
        self.receiver_bound as usize
    }

    /// Items of the sender in every bucket, padding included.
    pub const fn sender_bound(&self) -> usize {
        self.sender_bound as usize
    }

    /// Bytes of an item's digest.
    pub const fn digest_bytes(&self) -> usize {
        self.digest_bytes as usize
    }

    /// The whole job fails (loses or invents a match, or stops at an overflow) with a probability of at most
    /// two to the minus this.
    pub fn failure_bits(&self) -> u32 {
        let bits = 8 * self.digest_bytes;
        let failures = self.pairs() + overflow_share(bits, self.buckets);
        (STATISTICAL_BITS..bits).take_while(|f| failures <= 1 << (bits - f)).last().unwrap_or_default()
    }

    /// What both parties sign to have computed.
    pub fn digest(&self) -> Hash {
        self.write(Transcript::new("windvane/psi-parameters/v1")).digest()
    }

    pub(super) fn write(&self, t: Transcript) -> Transcript {
        t.text("protocol", self.sizes.protocol.name())
            .text("mode", self.sizes.mode.name())
            .u64("receiver rows", self.sizes.receiver_rows)
            .u64("sender rows", self.sizes.sender_rows)
            .u64("payload bytes", self.sizes.payload_bytes as u64)
            .u64("bucket rows", self.sizes.bucket_rows)
            .u64("buckets", self.buckets)
            .u64("receiver bound", self.receiver_bound)
            .u64("sender bound", self.sender_bound)
            .u64("digest bytes", self.digest_bytes.into())
            .u64("failure bits", self.failure_bits().into())
    }

    /// Reads what [`Self::write`] wrote: the sizes, and results that must follow from them.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let sizes = Sizes {
            protocol: r.parse("protocol")?,
            mode: r.parse("mode")?,
            receiver_rows: r.u64("receiver rows")?,
            sender_rows: r.u64("sender rows")?,
            payload_bytes: r.number("payload bytes")?,
            bucket_rows: r.u64("bucket rows")?,
        };
        let form =
            TranscriptError::Form { label: "buckets", expected: "parameters that follow from the sizes" };
        let parameters = Self::new(sizes).map_err(|_| form.clone())?;
        let found = [
            r.u64("buckets")?,
            r.u64("receiver bound")?,
            r.u64("sender bound")?,
            r.u64("digest bytes")?,
            r.u64("failure bits")?,
        ];
        let expected = [
            parameters.buckets,
            parameters.receiver_bound,
            parameters.sender_bound,
            parameters.digest_bytes.into(),
            parameters.failure_bits().into(),
        ];
        if found == expected { Ok(parameters) } else { Err(form) }
    }

    fn pairs(&self) -> u128 {
        pairs(self.receiver_bound, self.sender_bound, self.buckets)
    }
}

/// Pairs of items that could share a digest, over all buckets.
fn pairs(receiver_bound: u64, sender_bound: u64, buckets: u64) -> u128 {
    u128::from(receiver_bound) * u128::from(sender_bound) * u128::from(buckets)
}

/// The overflows' probability as a number of pairs at this digest length.
const fn overflow_share(digest_bits: u32, buckets: u64) -> u128 {
    if buckets == 1 { 0 } else { 1 << digest_bits.saturating_sub(OVERFLOW_BITS) }
}

/// Six bytes are the fewest that leave room for the overflows' share; RR22 finds digests by their first eight.
const fn least_digest_bytes(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Ecdh => OVERFLOW_BITS / 8,
        Protocol::Vole => super::rr22::MIN_DIGEST_BYTES as u32,
    }
}

fn digest_bytes(
    least: u32,
    receiver_bound: u64,
    sender_bound: u64,
    buckets: u64,
) -> Result<u32, ParametersError> {
    let pairs = pairs(receiver_bound, sender_bound, buckets);
    let fits = |bytes: &u32| {
        let bits = 8 * bytes;
        pairs + overflow_share(bits, buckets) <= 1 << (bits - STATISTICAL_BITS)
    };
    (least..=MAX_DIGEST_BYTES).find(fits).ok_or(ParametersError::Budget)
}

/// Items that a bucket of `rows` items over `buckets` never exceeds but with the share of the budget that
/// overflows have; at least 1.
fn bucket_bound(rows: u64, buckets: u64) -> u64 {
    if buckets == 1 {
        return rows.max(1);
    }
    // Fixed point with 16 fractional bits, every step rounded up; ln 2 < 45427/65536.
    let exponent = u128::from(OVERFLOW_BITS + 1 + buckets.ilog2()) * 45_427;
    let mean = (u128::from(rows) << 16).div_ceil(buckets.into());
    let variance = (mean * u128::from(buckets - 1)).div_ceil(buckets.into());
    let root = (exponent * exponent).div_ceil(9) + 2 * variance * exponent;
    let excess = exponent.div_ceil(3) + root.isqrt() + 1;
    let bound = (mean + excess).div_ceil(1 << 16);
    u64::try_from(bound).unwrap_or(u64::MAX).min(rows).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(receiver_rows: u64, sender_rows: u64) -> Sizes {
        Sizes::new(Protocol::Ecdh, Mode::Intersection, receiver_rows, sender_rows)
    }

    fn of(receiver_rows: u64, sender_rows: u64) -> Parameters {
        Parameters::new(sizes(receiver_rows, sender_rows)).unwrap()
    }

    /// log2 of P(Bin(n, 1/buckets) > bound), summed term by term from logarithms of factorials.
    fn tail_bits(n: u64, buckets: u64, bound: u64) -> f64 {
        let p = 1.0 / buckets as f64;
        let factorials: Vec<f64> = std::iter::once(0.0)
            .chain((1..=n).scan(0.0, |sum, k| {
                *sum += (k as f64).ln();
                Some(*sum)
            }))
            .collect();
        let term = |k: u64| {
            let (k_, n_) = (k as usize, n as usize);
            let choose = factorials[n_] - factorials[k_] - factorials[n_ - k_];
            choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()
        };
        let terms: Vec<f64> = (bound + 1..=n).map(term).take(20_000).collect();
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (largest + terms.iter().map(|t| (t - largest).exp()).sum::<f64>().ln()) / 2_f64.ln()
    }

    #[test]
    fn bounds_hold_against_exact_binomial_tails_and_waste_little() {
        for (rows, buckets) in
            [(1_000, 4), (5_000, 64), (100, 64), (1 << 20, 4), (1 << 20, 1024), (3_000_000, 2)]
        {
            let bound = bucket_bound(rows, buckets);
            let needed = -f64::from(OVERFLOW_BITS + 1 + buckets.ilog2());
            if bound < rows {
                let found = tail_bits(rows, buckets, bound);
                assert!(found <= needed, "{rows} rows, {buckets} buckets: 2^{found}, needed 2^{needed}");
                let large = rows / buckets >= 64;
                assert!(
                    !large || found > 1.5 * needed - 12.0,
                    "{rows} rows, {buckets} buckets: wasteful, 2^{found}"
                );
            }
        }
    }

    #[test]
    fn the_padding_of_large_buckets_is_below_five_percent() {
        for rows in [1 << 20, 1 << 22, 1 << 24, 15_000_000] {
            let parameters = of(rows, rows);
            let padded = parameters.receiver_bound() as f64 * f64::from(parameters.buckets());
            assert!(padded / (rows as f64) < 1.05, "{rows}");
        }
    }

    #[test]
    fn buckets_are_the_power_of_two_that_the_larger_party_needs() {
        for (receiver, sender, buckets) in [
            (0, 0, 1),
            (1, 1 << 16, 1),
            ((1 << 16) + 1, 1, 2),
            (1 << 20, 1 << 20, 16),
            (100, 10_000_000, 256),
            (1 << 24, 1 << 24, 256),
        ] {
            assert_eq!(of(receiver, sender).buckets(), buckets, "{receiver}, {sender}");
        }
    }

    #[test]
    fn digests_follow_the_formula_and_keep_the_budget() {
        // ⌈(40 + log2 B + ⌈log2(nx·ny)⌉)/8⌉ on padded sizes.
        for (log_n, bytes) in [(0, 6), (10, 8), (14, 9), (16, 9), (18, 10), (20, 10), (22, 10), (24, 11)] {
            let parameters = of(1 << log_n, 1 << log_n);
            assert_eq!(parameters.digest_bytes(), bytes, "2^{log_n}");
            assert!(parameters.failure_bits() >= STATISTICAL_BITS, "2^{log_n}");
        }
        assert_eq!(of(1 << 16, 1 << 16).failure_bits(), 40);
    }

    /// No sizes within the limits come so far, so the arithmetic is asked itself.
    #[test]
    fn more_pairs_than_the_longest_digest_keeps_apart_break_the_budget() {
        assert_eq!(digest_bytes(8, 1 << 44, 1 << 44, 1), Ok(16));
        assert_eq!(digest_bytes(8, 1 << 44, (1 << 44) + 1, 1), Err(ParametersError::Budget));
        assert_eq!(digest_bytes(8, 1 << 44, 1 << 44, 2), Err(ParametersError::Budget));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let vole = Sizes { protocol: Protocol::Vole, ..sizes(1, 1) };
        assert!(Parameters::new(vole).is_ok());
        let cardinality = |rows| Sizes { mode: Mode::Cardinality, ..sizes(rows, 1) };
        assert!(matches!(
            Parameters::new(Sizes { mode: Mode::Cardinality, ..vole }),
            Err(ParametersError::Mode { .. })
        ));
        assert_eq!(Parameters::new(cardinality(1 << 20)).unwrap().buckets(), 1);
        assert!(matches!(
            Parameters::new(cardinality((1 << 20) + 1)),
            Err(ParametersError::Rows { limit: 1_048_576, .. })
        ));
        assert!(matches!(Parameters::new(sizes(MAX_PSI_ROWS + 1, 1)), Err(ParametersError::Rows { .. })));
        let small = Sizes { bucket_rows: 16, ..sizes(1 << 20, 1) };
        assert!(matches!(Parameters::new(small), Err(ParametersError::Buckets { bucket_rows: 16 })));
        assert!(matches!(
            Parameters::new(Sizes { payload_bytes: 1, ..cardinality(1) }),
            Err(ParametersError::Payload { found: 1, .. })
        ));
        let crowded = Sizes { bucket_rows: 1 << 18, ..sizes(1 << 20, 1 << 20) };
        let long = Sizes { payload_bytes: MAX_PSI_PAYLOAD_BYTES, ..crowded };
        assert!(matches!(Parameters::new(long), Err(ParametersError::Message { .. })));
    }

    #[test]
    fn every_size_stands_in_the_digest() {
        let digest = |sizes| Parameters::new(sizes).unwrap().digest();
        let base = sizes(10, 20);
        assert_eq!(digest(base), digest(base));
        for other in [
            Sizes { receiver_rows: 11, ..base },
            Sizes { sender_rows: 21, ..base },
            Sizes { payload_bytes: 1, ..base },
            Sizes { bucket_rows: 5, ..base },
            Sizes { mode: Mode::Cardinality, ..base },
        ] {
            assert_ne!(digest(base), digest(other));
        }
    }
}
