//! Multiples of points, looked up in constant time: every lookup reads all the multiples that a digit may name.

#![allow(clippy::needless_range_loop, reason = "loops over words index several arrays alike")]

use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

use super::batch::PAIR;
use super::constants::D2;
use super::field::Element;
use super::lanes::{Choices, LANES, Lanes, Stored, WORDS, ZERO};
use super::point::{Affine, Cached, Extended, Group};
use super::scalar::{DIGITS, Digit};

/// Largest magnitude of a digit: as many multiples as there are lanes.
const MULTIPLES: usize = LANES;

/// P, 2·P, …, 8·P for each lane's P, as Y + X, Y − X, 2·Z and 2·D·T, each word of all multiples side by side: 10 KiB,
/// wiped when dropped. It is made once for a call and filled again for each group.
pub(super) struct Window(Box<[Choices; 4 * WORDS]>);

const NOTHING: [Choices; 4 * WORDS] = [[ZERO; MULTIPLES]; 4 * WORDS];

impl Window {
    pub(super) fn new() -> Self {
        Self(Box::new(NOTHING))
    }

    /// The multiples of at most [`PAIR`] groups' points, one window each. The groups take turns, as in a multiplication, in
    /// code of its own, which stays in the nearest cache.
    pub(super) fn fill(lanes: impl Lanes, windows: &mut [Self], groups: &[&Group]) {
        lanes.outlined(
            #[inline(always)]
            || {
                let identity = Extended::identity(lanes);
                let mut points = [(identity.summand(), identity.cached()); PAIR];
                let points = &mut points[..groups.len()];
                for (((sum, point), window), group) in points.iter_mut().zip(&mut *windows).zip(groups) {
                    let group = Extended::load(lanes, [group]);
                    (*sum, *point) = (group.summand(), group.cached());
                    window.put(lanes, 1, point);
                }
                for factor in 2..=MULTIPLES {
                    for ((sum, point), window) in points.iter_mut().zip(&mut *windows) {
                        let multiple;
                        (*sum, multiple) = sum.add(point).summands();
                        window.put(lanes, factor, &multiple);
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn put<L: Lanes>(&mut self, lanes: L, factor: usize, multiple: &Cached<L, 1>) {
        let Cached { plus, minus, z2, td2 } = multiple;
        for (words, element) in self.0.chunks_mut(WORDS).zip([plus, minus, z2, td2]) {
            for k in 0..WORDS {
                lanes.put(&mut words[k], factor, element.words[0][k]);
            }
        }
    }

    /// The multiple of each lane's digit, without its sign; the identity for 0.
    #[inline(always)]
    pub(super) fn select<L: Lanes>(&self, lanes: L, digit: &Digit<L>) -> Multiple<'_, L> {
        Multiple { window: self, choice: lanes.choice(&*self.0, digit.magnitude), lanes }
    }
}

/// A multiple that a digit names, as a right summand whose coordinates are looked up one by one: permutations keep one of
/// two ports busy, so they are best done between multiplications.
pub(super) struct Multiple<'a, L: Lanes> {
    window: &'a Window,
    choice: L::Choice,
    lanes: L,
}

impl<L: Lanes> Multiple<'_, L> {
    #[inline(always)]
    pub(super) fn plus(&self) -> Element<L, 1> {
        self.pick(0, 1)
    }

    #[inline(always)]
    pub(super) fn minus(&self) -> Element<L, 1> {
        self.pick(1, 1)
    }

    #[inline(always)]
    pub(super) fn z2(&self) -> Element<L, 1> {
        self.pick(2, 2)
    }

    #[inline(always)]
    pub(super) fn td2(&self) -> Element<L, 1> {
        self.pick(3, 0)
    }

    /// One coordinate, which is the small number `nothing` of the identity.
    #[inline(always)]
    fn pick(&self, coordinate: usize, nothing: u32) -> Element<L, 1> {
        let mut words = [self.lanes.splat(0); WORDS];
        for k in 0..WORDS {
            let nothing = if k == 0 { L::small(nothing) } else { 0 };
            words[k] = self.lanes.pick(&*self.window.0, WORDS * coordinate + k, &self.choice, nothing);
        }
        Element { words: [words], lanes: self.lanes }
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

/// j·16ⁱ·B for a point B, each digit i and j = 1 … 8: rows hold the eight multiples of one word, and each lane picks
/// one of them. B is public: the table is not wiped.
#[derive(Clone)]
pub(super) struct BaseTable(Vec<[Stored; 3]>);

impl BaseTable {
    /// A table to be filled.
    pub(super) fn empty() -> Self {
        Self(vec![[[ZERO; WORDS]; 3]; DIGITS])
    }

    /// The multiples of a point that stands in all lanes. Each lane has one of its own.
    #[inline(always)]
    pub(super) fn fill<L: Lanes>(&mut self, base: &Extended<L, 1>) {
        let mut multiples = base_multiples(base);
        for row in &mut self.0 {
            put_affine(&multiples, row);
            for _ in 0..4 {
                multiples = multiples.projective().double().extended();
            }
        }
    }

    /// `magnitude`·16^`position`·B; the identity for 0.
    #[inline(always)]
    pub(super) fn select<L: Lanes>(&self, lanes: L, position: usize, digit: &Digit<L>) -> Affine<L, 1> {
        let [plus, minus, td2] = &self.0[position];
        Affine {
            plus: permute(lanes, plus, digit, 1),
            minus: permute(lanes, minus, digit, 1),
            td2: permute(lanes, td2, digit, 0),
        }
    }
}

/// The multiple that each lane's digit names, or the small number `nothing` for 0.
#[inline(always)]
fn permute<L: Lanes>(lanes: L, multiples: &Stored, digit: &Digit<L>, nothing: u32) -> Element<L, 1> {
    let mut words = [lanes.splat(0); WORDS];
    for k in 0..WORDS {
        words[k] = lanes.permute(&multiples[k], digit.magnitude, if k == 0 { L::small(nothing) } else { 0 });
    }
    Element { words: [words], lanes }
}

/// B, 2·B, …, 8·B, one a lane.
#[inline(always)]
fn base_multiples<L: Lanes>(base: &Extended<L, 1>) -> Extended<L, 1> {
    let (mut multiples, mut all) = (Group::ZERO, Group::ZERO);
    let mut multiple = *base;
    for lane in 0..LANES {
        multiple.store([&mut all]);
        multiples.copy_lane(lane, &all, lane);
        multiple = multiple.summand().add(&base.cached()).extended();
    }
    Extended::load(base.z.lanes, [&multiples])
}

/// y + x, y − x and 2·D·xy.
#[inline(always)]
fn put_affine<L: Lanes>(point: &Extended<L, 1>, into: &mut [Stored; 3]) {
    let inverse = point.z.inverse();
    let (x, y) = (point.x.mul(&inverse), point.y.mul(&inverse));
    let td2 = x.mul(&y).mul_number(&D2);
    for (into, element) in into.iter_mut().zip([y.plus(x), y.minus(x), td2]) {
        element.store([into]);
    }
}
