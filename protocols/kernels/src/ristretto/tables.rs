//! Multiples of points, looked up in constant time: every lookup reads the whole table, whatever the digit.

#![allow(clippy::needless_range_loop, reason = "loops over limbs index several arrays alike")]

use std::arch::x86_64::*;
use std::sync::OnceLock;

use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

use super::constants::D2;
use super::field::{Element, LANES, LIMBS, Stored, ZERO};
use super::point::{Affine, Cached, Extended};
use super::scalar::{DIGITS, Digit};

/// Largest magnitude of a digit.
const MULTIPLES: usize = 8;

/// P, 2·P, …, 8·P for each lane's P: 10 KiB, wiped when dropped. It is made once for a call and filled again
/// for each group.
pub(super) struct Window(Box<[CachedGroup; MULTIPLES]>);

/// A [`Cached`] at rest: Y + X, Y − X, 2·Z, 2·D·T.
type CachedGroup = [Stored; 4];

const NOTHING: CachedGroup = [[ZERO; LIMBS]; 4];

impl Window {
    pub(super) fn new() -> Self {
        Self(Box::new([NOTHING; MULTIPLES]))
    }

    /// The multiples of N groups' points, one window each.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn fill<const N: usize>(windows: &mut [Self; N], points: &Extended<N>) {
        let (one, summand) = (points.cached(), points.summand());
        let mut multiple = one;
        for i in 0..MULTIPLES {
            if i > 0 {
                multiple = summand.add(&multiple).cached();
            }
            multiple.store(windows.each_mut().map(|window| &mut window.0[i]));
        }
    }

    /// `magnitude`·P; the identity for 0.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn select(&self, magnitude: &[__m512i; 1]) -> Cached<1> {
        let mut chosen = Cached::identity();
        let one = _mm512_set1_epi64(1);
        let mut this = one;
        for entry in self.0.iter() {
            let masks = [_mm512_cmpeq_epi64_mask(magnitude[0], this)];
            this = _mm512_add_epi64(this, one);
            let entry = load(entry);
            chosen = Cached {
                plus: chosen.plus.select(entry.plus, masks),
                minus: chosen.minus.select(entry.minus, masks),
                z2: chosen.z2.select(entry.z2, masks),
                td2: chosen.td2.select(entry.td2, masks),
            };
        }
        chosen
    }
}

impl Zeroize for Window {
    fn zeroize(&mut self) {
        *self.0 = [NOTHING; MULTIPLES];
        optimization_barrier(&*self.0);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Window {}

impl<const N: usize> Cached<N> {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn store(&self, entries: [&mut CachedGroup; N]) {
        for (n, [plus, minus, z2, td2]) in entries.into_iter().enumerate() {
            let elements = [(self.plus, plus), (self.minus, minus), (self.z2, z2), (self.td2, td2)];
            for (element, into) in elements {
                Element([element.0[n]]).store([into]);
            }
        }
    }
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn load([plus, minus, z2, td2]: &CachedGroup) -> Cached<1> {
    Cached {
        plus: Element::load([plus]),
        minus: Element::load([minus]),
        z2: Element::load([z2]),
        td2: Element::load([td2]),
    }
}

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
