//! Scalars of eight lanes in signed radix 16.
//!
//! k and k − ℓ name the same multiple, so that of least magnitude is taken: at most (ℓ − 1)/2, little more than 2²⁵¹. It
//! has 63 digits −8 … 7, of which the highest may also be 8.

#![allow(clippy::needless_range_loop, reason = "loops over words index several arrays alike")]

use curve25519_dalek::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

use super::lanes::{LANES, Lanes, Masks, Row, ZERO};

/// Digits of a scalar.
pub(super) const DIGITS: usize = 63;
const DIGITS_PER_WORD: usize = 16;
/// 8 in each digit, which turns digits 0 … 15 into −8 … 7 plus 8.
const OFFSET: [u64; 4] =
    [0x8888_8888_8888_8888, 0x8888_8888_8888_8888, 0x8888_8888_8888_8888, 0x0888_8888_8888_8888];
/// The group's order ℓ = 2²⁵² + 27742317777372353535851937790883648493 (RFC 9496 section 4).
const ORDER: [u64; 4] = [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6, 0, 0x1000_0000_0000_0000];
/// (ℓ − 1)/2.
const HALF_ORDER: [u64; 4] = [0x2c09_318d_2e7a_e9f6, 0x0a6f_7cef_517b_ce6b, 0, 0x0800_0000_0000_0000];

/// The scalars of eight lanes, of least magnitude, with [`OFFSET`] added.
#[derive(Clone)]
pub(super) struct Recoded([Row; 4]);

/// A digit of each lane.
#[derive(Clone, Copy)]
pub(super) struct Digit<L: Lanes> {
    /// 0 to 8.
    pub(super) magnitude: L::Vector,
    pub(super) negative: Masks<1>,
}

impl Recoded {
    /// At most eight scalars; the other lanes get zero.
    pub(super) fn new(scalars: &[Scalar]) -> Self {
        let mut recoded = Self([ZERO; 4]);
        let zero = Scalar::ZERO;
        for (lane, scalar) in scalars.iter().chain(std::iter::repeat(&zero)).take(LANES).enumerate() {
            recoded.set(lane, scalar);
        }
        recoded
    }

    pub(super) fn broadcast(scalar: &Scalar) -> Self {
        let mut recoded = Self([ZERO; 4]);
        (0..LANES).for_each(|lane| recoded.set(lane, scalar));
        recoded
    }

    /// At most eight small integers, of no more than `digits` digits ([`digits_of`]); the other lanes get zero.
    pub(super) fn small(values: &[i32], digits: usize) -> Self {
        let mut recoded = Self([ZERO; 4]);
        let offset = OFFSET[0] & ((1 << (4 * digits)) - 1);
        for (lane, value) in values.iter().chain(std::iter::repeat(&0)).take(LANES).enumerate() {
            recoded.0[0].0[lane] = offset.wrapping_add_signed(i64::from(*value));
        }
        recoded
    }

    /// The sum of representative and offset is not negative, and below 2²⁵² + 2²⁴⁸: its top digit has five bits.
    fn set(&mut self, lane: usize, scalar: &Scalar) {
        let (words, _) = scalar.as_bytes().as_chunks::<8>();
        let words: [u64; 4] = std::array::from_fn(|k| u64::from_le_bytes(words[k]));
        let above_half = HALF_ORDER
            .iter()
            .zip(&words)
            .fold(false, |borrow, (half, word)| half.borrowing_sub(*word, borrow).1);
        // A barrier, lest a secret choice become a branch.
        let mask = std::hint::black_box(u64::from(above_half).wrapping_neg());
        let (mut carry, mut borrow) = (false, false);
        for k in 0..4 {
            let sum;
            (sum, carry) = words[k].carrying_add(OFFSET[k], carry);
            (self.0[k].0[lane], borrow) = sum.borrowing_sub(ORDER[k] & mask, borrow);
        }
    }

    /// Digit `position`, in constant time; `position` is public.
    #[inline(always)]
    pub(super) fn digit<L: Lanes>(&self, lanes: L, position: usize) -> Digit<L> {
        let shift = (4 * (position % DIGITS_PER_WORD)) as u32;
        let bits = lanes.splat(if position == DIGITS - 1 { 31 } else { 15 });
        let word = lanes.load(&self.0[position / DIGITS_PER_WORD]);
        let (magnitude, negative) = lanes.signed(lanes.and(lanes.shift_right(word, shift), bits));
        Digit { magnitude, negative: [negative] }
    }
}

/// Digits −8 … 7 that all these integers have, at most nine. Takes variable time in the largest magnitude.
pub(super) fn digits_of(values: &[i32]) -> usize {
    let (low, high) = values.iter().fold((0, 0), |(low, high), &value| (value.min(low), value.max(high)));
    let fits = |digits: &usize| {
        let ones = ((1_i64 << (4 * digits)) - 1) / 15;
        -8 * ones <= i64::from(low) && i64::from(high) <= 7 * ones
    };
    (1..=9).find(fits).expect("nine digits hold more than 32 bits")
}

impl Zeroize for Recoded {
    fn zeroize(&mut self) {
        self.0 = [ZERO; 4];
        optimization_barrier(self);
    }
}

impl Drop for Recoded {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Recoded {}
