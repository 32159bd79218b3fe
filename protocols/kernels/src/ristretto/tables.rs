//! Multiples of points, looked up in constant time: every lookup reads all the multiples that a digit may name, and
//! permutations inside of registers pick among them.

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use std::arch::x86_64::*;
use std::sync::OnceLock;

use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

use super::batch::PAIR;
use super::constants::D2;
use super::field::{Element, LANES, LIMBS, Lanes, Stored, ZERO};
use super::point::{Affine, Cached, Extended, Group};
use super::scalar::{DIGITS, Digit};

/// Largest magnitude of a digit.
const MULTIPLES: usize = 8;

/// P, 2·P, …, 8·P for each lane's P, as Y + X, Y − X, 2·Z and 2·D·T: 10 KiB, wiped when dropped. It is made once for a
/// call and filled again for each group.
pub(super) struct Window(Box<[[Choices; LIMBS]; 4]>);

/// One limb of all multiples. A permutation of two vectors picks from sixteen words, which are the eight multiples of two
/// neighbouring lanes: those of j·P stand side by side, behind those of (j mod 8) others.
type Choices = [[Lanes; 2]; PAIRS];

/// Pairs of neighbouring lanes.
const PAIRS: usize = LANES / 2;
const NOTHING: [[Choices; LIMBS]; 4] = [[[[ZERO; 2]; PAIRS]; LIMBS]; 4];

impl Window {
    pub(super) fn new() -> Self {
        Self(Box::new(NOTHING))
    }

    /// The multiples of at most [`PAIR`] groups' points, one window each. The groups take turns, as in a multiplication.
    #[target_feature(enable = "avx512ifma")]
    #[inline(never)]
    pub(super) fn fill(windows: &mut [Self], groups: &[&Group]) {
        let identity = Extended::identity();
        let mut points = [(identity.summand(), identity.cached()); PAIR];
        let points = &mut points[..groups.len()];
        for (((sum, point), window), group) in points.iter_mut().zip(&mut *windows).zip(groups) {
            let group = Extended::load([group]);
            (*sum, *point) = (group.summand(), group.cached());
            window.put(1, point);
        }
        for factor in 2..=MULTIPLES {
            for ((sum, point), window) in points.iter_mut().zip(&mut *windows) {
                let multiple;
                (*sum, multiple) = sum.add(point).summands();
                window.put(factor, &multiple);
            }
        }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn put(&mut self, factor: usize, multiple: &Cached<1>) {
        let place = factor % MULTIPLES;
        let (vector, place) = (place / PAIRS, place % PAIRS);
        let Cached { plus, minus, z2, td2 } = multiple;
        for (limbs, element) in self.0.iter_mut().zip([plus, minus, z2, td2]) {
            for (choices, limb) in limbs.iter_mut().zip(element.0[0]) {
                let limb = Lanes::store(limb);
                for (words, pair) in choices.iter_mut().zip(limb.0.as_chunks::<2>().0) {
                    words[vector].0.as_chunks_mut().0[place] = *pair;
                }
            }
        }
    }

    /// The multiple of each lane's digit, without its sign; the identity for 0.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn select(&self, digit: &Digit<1>) -> Multiple<'_> {
        let magnitude = digit.magnitude[0];
        let some = _mm512_test_epi64_mask(magnitude, magnitude);
        let odd = _mm512_set_epi64(1, 0, 1, 0, 1, 0, 1, 0);
        let index = _mm512_maskz_add_epi64(some, _mm512_add_epi64(magnitude, magnitude), odd);
        let pairs = std::array::from_fn(|pair| {
            let lanes = Lanes(std::array::from_fn(|lane| if lane / 2 == pair { u64::MAX } else { 0 }));
            _mm512_test_epi64_mask(magnitude, lanes.load())
        });
        Multiple { window: self, index, some, pairs }
    }
}

/// A multiple that a digit names, as a right summand whose coordinates are looked up one by one: permutations keep one of
/// two ports busy, so they are best done between multiplications.
pub(super) struct Multiple<'a> {
    window: &'a Window,
    /// The word among [`Choices`]; 0 for the digit 0.
    index: __m512i,
    /// Lanes whose digit is not 0.
    some: __mmask8,
    /// Those of each pair.
    pairs: [__mmask8; PAIRS],
}

impl Multiple<'_> {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn plus(&self) -> Element<1> {
        self.pick(0, 1)
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn minus(&self) -> Element<1> {
        self.pick(1, 1)
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn z2(&self) -> Element<1> {
        self.pick(2, 2)
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn td2(&self) -> Element<1> {
        self.pick(3, 0)
    }

    /// One coordinate, which is `nothing` of the identity.
    ///
    /// Each permutation changes the lanes of its pair that have a digit, and takes the others' words as they are: an
    /// index becomes a limb there, and the index 0 stays.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn pick(&self, coordinate: usize, nothing: i64) -> Element<1> {
        let mut limbs = [self.index; LIMBS];
        limbs[0] = _mm512_mask_mov_epi64(_mm512_set1_epi64(nothing), self.some, self.index);
        for (limb, choices) in limbs.iter_mut().zip(&self.window.0[coordinate]) {
            for (lanes, words) in self.pairs.iter().zip(choices) {
                *limb = _mm512_mask2_permutex2var_epi64(words[0].load(), *limb, *lanes, words[1].load());
            }
        }
        Element([limbs])
    }
}

impl Zeroize for Window {
    fn zeroize(&mut self) {
        *self.0 = NOTHING;
        optimization_barrier(&*self.0);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Window {}

/// j·16ⁱ·B for a point B, each digit i and j = 1 … 8: vectors hold the eight multiples of one limb, and a permutation
/// picks one for each lane. B is public: the table is not wiped.
#[derive(Clone)]
pub(super) struct BaseTable(Vec<[Stored; 3]>);

impl BaseTable {
    /// The generator's table, which the first call computes.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn shared() -> &'static Self {
        static TABLE: OnceLock<BaseTable> = OnceLock::new();
        if let Some(table) = TABLE.get() {
            return table;
        }
        let table = Self::compute(&super::decode::base());
        TABLE.get_or_init(|| table)
    }

    /// The table of a point that stands in all lanes.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn compute(base: &Extended<1>) -> Self {
        let mut multiples = base_multiples(base);
        let mut table = Vec::with_capacity(DIGITS);
        for _ in 0..DIGITS {
            table.push(affine(&multiples));
            for _ in 0..4 {
                multiples = multiples.projective().double().extended();
            }
        }
        Self(table)
    }

    /// `magnitude`·16^`position`·B; the identity for 0.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn select<const N: usize>(&self, position: usize, digit: &Digit<N>) -> Affine<N> {
        let [plus, minus, td2] = &self.0[position];
        Affine { plus: permute(plus, digit, 1), minus: permute(minus, digit, 1), td2: permute(td2, digit, 0) }
    }
}

/// The multiple that each lane's digit names, or `nothing` for 0.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn permute<const N: usize>(multiples: &Stored, digit: &Digit<N>, nothing: i64) -> Element<N> {
    let mut element = Element::splat(&[nothing, 0, 0, 0, 0]);
    for n in 0..N {
        let index = _mm512_sub_epi64(digit.magnitude[n], _mm512_set1_epi64(1));
        let some = _mm512_test_epi64_mask(digit.magnitude[n], digit.magnitude[n]);
        for k in 0..LIMBS {
            let limb = multiples[k].load();
            element.0[n][k] = _mm512_mask_permutexvar_epi64(element.0[n][k], some, index, limb);
        }
    }
    element
}

/// B, 2·B, …, 8·B, one a lane.
#[target_feature(enable = "avx512ifma")]
fn base_multiples(base: &Extended<1>) -> Extended<1> {
    let [mut lanes] = base.store();
    let mut multiple = *base;
    for lane in 1..LANES {
        multiple = multiple.summand().add(&base.cached()).extended();
        lanes.copy_lane(lane, &multiple.store()[0], lane);
    }
    Extended::load([&lanes])
}

/// y + x, y − x and 2·D·xy.
#[target_feature(enable = "avx512ifma")]
fn affine(point: &Extended<1>) -> [Stored; 3] {
    let inverse = point.z.inverse();
    let (x, y) = (point.x.mul(&inverse), point.y.mul(&inverse));
    let td2 = x.mul(&y).mul(&Element::splat(&D2));
    let mut stored = [[ZERO; LIMBS]; 3];
    for (into, element) in stored.iter_mut().zip([y.plus(x), y.minus(x), td2]) {
        element.store([into]);
    }
    stored
}
