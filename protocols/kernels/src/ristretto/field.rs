//! Eight lanes of arithmetic modulo p = 2²⁵⁵ − 19, for `N` groups of eight at once.
//!
//! The pages of `lanes::ifma` and `lanes::avx2` state the representations and prove the bounds that debug builds assert.

#![allow(clippy::needless_range_loop, reason = "loops over groups index several arrays alike")]

use super::constants::{Number, ZERO};
use super::lanes::{Lanes, Masks, Stored, WORDS, Words, carry_each, splat_each, union};

/// Elements ready to be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Element<L: Lanes, const N: usize> {
    pub(super) words: Words<L, N>,
    pub(super) lanes: L,
}

/// The representatives below p: equal words mean equality.
#[derive(Clone, Copy)]
pub(super) struct Canonical<L: Lanes, const N: usize> {
    words: Words<L, N>,
    lanes: L,
}

/// Sums of products, to be carried before they are multiplied.
#[derive(Clone, Copy)]
pub(super) struct Columns<L: Lanes, const N: usize> {
    columns: [L::Columns; N],
    lanes: L,
}

impl<L: Lanes, const N: usize> Element<L, N> {
    /// The same value in all lanes.
    #[inline(always)]
    pub(super) fn splat(lanes: L, number: &Number) -> Self {
        Self { words: [splat_each(lanes, &L::words(number)); N], lanes }
    }

    #[inline(always)]
    pub(super) fn load(lanes: L, stored: [&Stored; N]) -> Self {
        let mut element = Self { words: [[lanes.splat(0); WORDS]; N], lanes };
        for n in 0..N {
            for k in 0..WORDS {
                element.words[n][k] = lanes.load(&stored[n][k]);
            }
        }
        element
    }

    #[inline(always)]
    pub(super) fn store(&self, into: [&mut Stored; N]) {
        for (words, into) in self.words.iter().zip(into) {
            for k in 0..WORDS {
                self.lanes.store(words[k], &mut into[k]);
            }
        }
    }

    /// Four little-endian words of 64 bits per lane, modulo p; bit 255 is ignored.
    #[inline(always)]
    pub(super) fn from_words(lanes: L, words: &[[L::Vector; 4]; N]) -> Self {
        let mut element = Self::splat(lanes, &ZERO);
        for n in 0..N {
            element.words[n] = lanes.unpack(words[n]);
        }
        element
    }

    #[inline(always)]
    pub(super) fn columns(self) -> Columns<L, N> {
        let mut columns = [self.lanes.no_columns(); N];
        for n in 0..N {
            columns[n] = self.lanes.columns(self.words[n]);
        }
        Columns { columns, lanes: self.lanes }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.lanes.outlined(
            #[inline(always)]
            || self.columns().plus(other.columns()).carry(),
        )
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.lanes.outlined(
            #[inline(always)]
            || self.columns().biased().minus(other.columns()).carry(),
        )
    }

    #[inline(always)]
    pub(super) fn negated(self) -> Self {
        Columns { columns: [self.lanes.bias(); N], lanes: self.lanes }.minus(self.columns()).carry()
    }

    /// The product, not yet carried.
    #[inline(always)]
    pub(super) fn times(&self, other: &Self) -> Columns<L, N> {
        Columns { columns: self.lanes.multiply(&self.words, &other.words, false), lanes: self.lanes }
    }

    /// The product and the bias, so that a product may be taken away.
    #[inline(always)]
    pub(super) fn times_biased(&self, other: &Self) -> Columns<L, N> {
        Columns { columns: self.lanes.multiply(&self.words, &other.words, true), lanes: self.lanes }
    }

    #[inline(always)]
    pub(super) fn mul(&self, other: &Self) -> Self {
        Self { words: self.lanes.multiply_carried(&self.words, &other.words), lanes: self.lanes }
    }

    /// The product with a constant.
    #[inline(always)]
    pub(super) fn mul_number(&self, number: &Number) -> Self {
        self.mul(&Self::splat(self.lanes, number))
    }

    /// The square, not yet carried.
    #[inline(always)]
    pub(super) fn squared(&self) -> Columns<L, N> {
        Columns { columns: self.lanes.square(&self.words, false), lanes: self.lanes }
    }

    /// The square and the bias.
    #[inline(always)]
    pub(super) fn squared_biased(&self) -> Columns<L, N> {
        Columns { columns: self.lanes.square(&self.words, true), lanes: self.lanes }
    }

    #[inline(always)]
    pub(super) fn square(&self) -> Self {
        self.square_times(1)
    }

    /// The element to the power 2^`count`, in code of its own.
    pub(super) fn square_times(&self, count: usize) -> Self {
        self.lanes.outlined(
            #[inline(always)]
            || {
                let mut power = *self;
                for _ in 0..count {
                    power.words = self.lanes.square_carried(&power.words);
                }
                power
            },
        )
    }

    /// The one representative below p.
    pub(super) fn canonical(self) -> Canonical<L, N> {
        self.lanes.outlined(
            #[inline(always)]
            || {
                let mut words = self.words;
                for n in 0..N {
                    words[n] = self.lanes.canonical(words[n]);
                }
                Canonical { words, lanes: self.lanes }
            },
        )
    }

    /// RFC 9496 section 3.1: an element is negative if its canonical representative is odd.
    #[inline(always)]
    pub(super) fn is_negative(self) -> Masks<N> {
        let (canonical, one) = (self.canonical(), self.lanes.splat(1));
        let mut masks = [0; N];
        for n in 0..N {
            masks[n] = !self.lanes.zeros(self.lanes.and(canonical.words[n][0], one));
        }
        masks
    }

    #[inline(always)]
    pub(super) fn is_zero(self) -> Masks<N> {
        let canonical = self.canonical();
        let mut masks = [0; N];
        for n in 0..N {
            masks[n] = self.lanes.zeros(union(self.lanes, &canonical.words[n]));
        }
        masks
    }

    /// `other` where the mask has a one, else `self`; in constant time.
    #[inline(always)]
    pub(super) fn select(self, other: Self, masks: Masks<N>) -> Self {
        let mut selected = self;
        for n in 0..N {
            for k in 0..WORDS {
                selected.words[n][k] = self.lanes.select(self.words[n][k], other.words[n][k], masks[n]);
            }
        }
        selected
    }

    #[inline(always)]
    pub(super) fn negated_where(self, masks: Masks<N>) -> Self {
        self.select(self.negated(), masks)
    }

    /// RFC 9496's CT_ABS.
    #[inline(always)]
    pub(super) fn absolute(self) -> Self {
        self.negated_where(self.is_negative())
    }
}

impl<L: Lanes, const N: usize> Canonical<L, N> {
    #[inline(always)]
    pub(super) fn equals(&self, other: &Self) -> Masks<N> {
        let lanes = self.lanes;
        let mut masks = [0; N];
        for n in 0..N {
            let mut difference = lanes.splat(0);
            for k in 0..WORDS {
                difference = lanes.or(difference, lanes.xor(self.words[n][k], other.words[n][k]));
            }
            masks[n] = lanes.zeros(difference);
        }
        masks
    }

    /// Four little-endian words of 64 bits per lane.
    #[inline(always)]
    pub(super) fn to_words(self) -> [[L::Vector; 4]; N] {
        let mut words = [[self.lanes.splat(0); 4]; N];
        for n in 0..N {
            words[n] = self.lanes.pack(self.words[n]);
        }
        words
    }
}

impl<L: Lanes, const N: usize> Columns<L, N> {
    #[inline(always)]
    pub(super) fn plus(self, other: Self) -> Self {
        let mut sum = self;
        for n in 0..N {
            sum.columns[n] = self.lanes.add(self.columns[n], other.columns[n]);
        }
        sum
    }

    /// The difference; no column of `other` may be the larger one, which a bias ensures.
    #[inline(always)]
    pub(super) fn minus(self, other: Self) -> Self {
        let mut difference = self;
        for n in 0..N {
            difference.columns[n] = self.lanes.subtract(self.columns[n], other.columns[n]);
        }
        difference
    }

    /// The bias less these columns, which no product's exceed, in the lanes of the mask; in constant time.
    #[inline(always)]
    pub(super) fn negated_where(self, masks: Masks<N>) -> Self {
        let mut negated = self;
        for n in 0..N {
            negated.columns[n] = self.lanes.negate_where(self.columns[n], masks[n]);
        }
        negated
    }

    #[inline(always)]
    pub(super) fn doubled(self) -> Self {
        self.plus(self)
    }

    #[inline(always)]
    pub(super) fn biased(self) -> Self {
        self.plus(Self { columns: [self.lanes.bias(); N], lanes: self.lanes })
    }

    /// Carries columns below 2⁶³ into an element.
    #[inline(always)]
    pub(super) fn carry(self) -> Element<L, N> {
        Element { words: carry_each(self.lanes, &self.columns), lanes: self.lanes }
    }
}
