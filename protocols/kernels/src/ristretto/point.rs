//! Points of the twisted Edwards curve −x² + y² = 1 + D·x²·y² in extended coordinates (X : Y : Z : T) with
//! x = X/Z, y = Y/Z, xy = T/Z.
//!
//! The formulas are those of Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited" (Asiacrypt
//! 2008): section 3.1 for addition, section 3.3 for doubling, each complete on this curve. Sums are taken of
//! [`Columns`], before they are carried, so that a sum costs no reduction of its own.

use super::constants::{D2, ONE, ZERO};
use super::field::{Columns, Element};
use super::lanes::{self, Lanes, Masks, Stored, WORDS};
use super::tables::Multiple;

/// Eight points at rest, in extended coordinates.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) x: Stored,
    pub(super) y: Stored,
    pub(super) z: Stored,
    pub(super) t: Stored,
}

/// X, Y, Z and T.
#[derive(Clone, Copy)]
pub(super) struct Extended<L: Lanes, const N: usize> {
    pub(super) x: Element<L, N>,
    pub(super) y: Element<L, N>,
    pub(super) z: Element<L, N>,
    pub(super) t: Element<L, N>,
}

/// X, Y and Z: enough for a doubling.
#[derive(Clone, Copy)]
pub(super) struct Projective<L: Lanes, const N: usize> {
    pub(super) x: Element<L, N>,
    pub(super) y: Element<L, N>,
    pub(super) z: Element<L, N>,
}

/// What both formulas end in: X = E·F, Y = G·H, Z = F·G, T = E·H.
#[derive(Clone, Copy)]
pub(super) struct Completed<L: Lanes, const N: usize> {
    pub(super) e: Element<L, N>,
    pub(super) f: Element<L, N>,
    pub(super) g: Element<L, N>,
    pub(super) h: Element<L, N>,
}

/// The left summand of an addition: Y + X, Y − X, Z and T.
#[derive(Clone, Copy)]
pub(super) struct Summand<L: Lanes, const N: usize> {
    pub(super) plus: Element<L, N>,
    pub(super) minus: Element<L, N>,
    pub(super) z: Element<L, N>,
    pub(super) t: Element<L, N>,
}

/// The right summand: Y + X, Y − X, 2·Z and 2·D·T.
#[derive(Clone, Copy)]
pub(super) struct Cached<L: Lanes, const N: usize> {
    pub(super) plus: Element<L, N>,
    pub(super) minus: Element<L, N>,
    pub(super) z2: Element<L, N>,
    pub(super) td2: Element<L, N>,
}

/// A right summand with Z = 1: y + x, y − x and 2·D·xy.
#[derive(Clone, Copy)]
pub(super) struct Affine<L: Lanes, const N: usize> {
    pub(super) plus: Element<L, N>,
    pub(super) minus: Element<L, N>,
    pub(super) td2: Element<L, N>,
}

impl Group {
    pub(super) const ZERO: Self = {
        let zero = [lanes::ZERO; WORDS];
        Self { x: zero, y: zero, z: zero, t: zero }
    };
}

impl<L: Lanes, const N: usize> Extended<L, N> {
    #[inline(always)]
    pub(super) fn load(lanes: L, groups: [&Group; N]) -> Self {
        Self {
            x: Element::load(lanes, groups.map(|group| &group.x)),
            y: Element::load(lanes, groups.map(|group| &group.y)),
            z: Element::load(lanes, groups.map(|group| &group.z)),
            t: Element::load(lanes, groups.map(|group| &group.t)),
        }
    }

    #[inline(always)]
    pub(super) fn store(&self, mut groups: [&mut Group; N]) {
        self.x.store(groups.each_mut().map(|group| &mut group.x));
        self.y.store(groups.each_mut().map(|group| &mut group.y));
        self.z.store(groups.each_mut().map(|group| &mut group.z));
        self.t.store(groups.each_mut().map(|group| &mut group.t));
    }

    #[inline(always)]
    pub(super) fn identity(lanes: L) -> Self {
        let (zero, one) = (Element::splat(lanes, &ZERO), Element::splat(lanes, &ONE));
        Self { x: zero, y: one, z: one, t: zero }
    }

    #[inline(always)]
    pub(super) fn projective(&self) -> Projective<L, N> {
        Projective { x: self.x, y: self.y, z: self.z }
    }

    #[inline(always)]
    pub(super) fn summand(&self) -> Summand<L, N> {
        Summand { plus: self.y.plus(self.x), minus: self.y.minus(self.x), z: self.z, t: self.t }
    }

    #[inline(always)]
    pub(super) fn cached(&self) -> Cached<L, N> {
        Cached {
            plus: self.y.plus(self.x),
            minus: self.y.minus(self.x),
            z2: self.z.plus(self.z),
            td2: self.t.mul_number(&D2),
        }
    }

    #[inline(always)]
    pub(super) fn negated(&self) -> Self {
        Self { x: self.x.negated(), t: self.t.negated(), ..*self }
    }
}

impl<L: Lanes, const N: usize> Projective<L, N> {
    /// Section 3.3 with a = −1 and F and H negated, which negates all coordinates and leaves the point as it is: 3 squarings
    /// and a multiplication, since (X + Y)² − X² − Y² is computed as 2·X·Y.
    #[inline(always)]
    pub(super) fn double(&self) -> Completed<L, N> {
        let xx = self.x.squared();
        let yy = self.y.squared_biased();
        let zz = self.z.squared_biased();
        let g = yy.minus(xx);
        Completed {
            e: self.x.times(&self.y).doubled().carry(),
            f: zz.doubled().minus(g).carry(),
            g: g.carry(),
            h: yy.plus(xx).carry(),
        }
    }
}

impl<L: Lanes, const N: usize> Summand<L, N> {
    /// Section 3.1 with a = −1 and a precomputed right side: 4 multiplications.
    #[inline(always)]
    pub(super) fn add(&self, other: &Cached<L, N>) -> Completed<L, N> {
        let (a, b) = self.products(&other.minus, &other.plus);
        let c = self.t.times(&other.td2);
        let d = self.z.times_biased(&other.z2);
        complete(a, b, d.minus(c), d.plus(c))
    }

    /// As [`Self::add`] for a point with Z = 1: 3 multiplications.
    #[inline(always)]
    pub(super) fn add_affine(&self, other: &Affine<L, N>) -> Completed<L, N> {
        let (a, b) = self.products(&other.minus, &other.plus);
        let c = self.t.times(&other.td2);
        let d = self.z.columns().doubled();
        complete(a, b, d.biased().minus(c), d.plus(c))
    }

    /// As [`Self::add_affine`], with minus `other` in the lanes of the mask; in constant time.
    #[inline(always)]
    pub(super) fn add_or_subtract_affine(&self, other: &Affine<L, N>, subtract: Masks<N>) -> Completed<L, N> {
        let (a, b) = self.signed_products(&other.minus, &other.plus, subtract);
        let c = self.t.times(&other.td2).negated_where(subtract);
        let d = self.z.columns().doubled().biased();
        complete(a, b, d.minus(c), d.plus(c))
    }

    #[inline(always)]
    fn products(&self, minus: &Element<L, N>, plus: &Element<L, N>) -> (Columns<L, N>, Columns<L, N>) {
        (self.minus.times(minus), self.plus.times_biased(plus))
    }

    #[inline(always)]
    fn signed_products(
        &self,
        minus: &Element<L, N>,
        plus: &Element<L, N>,
        subtract: Masks<N>,
    ) -> (Columns<L, N>, Columns<L, N>) {
        let (plus, minus) = exchanged(plus, minus, subtract);
        self.products(&minus, &plus)
    }
}

/// Y + X and Y − X of minus a point in the lanes of the mask: negation exchanges them. In constant time.
#[inline(always)]
fn exchanged<L: Lanes, const N: usize>(
    plus: &Element<L, N>,
    minus: &Element<L, N>,
    negative: Masks<N>,
) -> (Element<L, N>, Element<L, N>) {
    (plus.select(*minus, negative), minus.select(*plus, negative))
}

/// E = B − A, H = B + A, and F and G as given.
#[inline(always)]
fn complete<L: Lanes, const N: usize>(
    a: Columns<L, N>,
    b: Columns<L, N>,
    f: Columns<L, N>,
    g: Columns<L, N>,
) -> Completed<L, N> {
    Completed { e: b.minus(a).carry(), f: f.carry(), g: g.carry(), h: b.plus(a).carry() }
}

impl<L: Lanes, const N: usize> Completed<L, N> {
    /// (0 : 1 : 1 : 0), from E = 0 and F = G = H = 1.
    #[inline(always)]
    pub(super) fn identity(lanes: L) -> Self {
        let one = Element::splat(lanes, &ONE);
        Self { e: Element::splat(lanes, &ZERO), f: one, g: one, h: one }
    }

    /// The identity in the lanes of the mask.
    #[inline(always)]
    pub(super) fn cleared(&self, masks: Masks<N>) -> Self {
        let Self { e, f, g, h } = Self::identity(self.e.lanes);
        Self {
            e: self.e.select(e, masks),
            f: self.f.select(f, masks),
            g: self.g.select(g, masks),
            h: self.h.select(h, masks),
        }
    }

    #[inline(always)]
    pub(super) fn projective(&self) -> Projective<L, N> {
        Projective { x: self.e.mul(&self.f), y: self.g.mul(&self.h), z: self.f.mul(&self.g) }
    }

    #[inline(always)]
    pub(super) fn extended(&self) -> Extended<L, N> {
        let Projective { x, y, z } = self.projective();
        Extended { x, y, z, t: self.e.mul(&self.h) }
    }

    /// The point as a left summand, with Y ± X taken before they are carried.
    #[inline(always)]
    pub(super) fn summand(&self) -> Summand<L, N> {
        let (x, y) = (self.e.times(&self.f), self.g.times_biased(&self.h));
        Summand {
            plus: y.plus(x).carry(),
            minus: y.minus(x).carry(),
            z: self.f.mul(&self.g),
            t: self.e.mul(&self.h),
        }
    }

    /// The point as a left summand and as a right one: one multiplication more than [`Self::summand`].
    #[inline(always)]
    pub(super) fn summands(&self) -> (Summand<L, N>, Cached<L, N>) {
        let (x, y) = (self.e.times(&self.f), self.g.times_biased(&self.h));
        let (plus, minus) = (y.plus(x).carry(), y.minus(x).carry());
        let t = self.e.mul(&self.h);
        let z = self.f.times(&self.g);
        let (td2, z2) = (t.mul_number(&D2), z.doubled().carry());
        (Summand { plus, minus, z: z.carry(), t }, Cached { plus, minus, z2, td2 })
    }
}

impl<L: Lanes> Completed<L, 1> {
    /// A multiple, or minus that multiple in the lanes of the mask, without a multiplication: E = 2·X, F = G = 2·Z, H = 2·Y.
    #[inline(always)]
    pub(super) fn signed(multiple: &Multiple<L>, negative: Masks<1>) -> Self {
        let (plus, minus) = exchanged(&multiple.plus(), &multiple.minus(), negative);
        let z2 = multiple.z2();
        Self { e: plus.minus(minus), f: z2, g: z2, h: plus.plus(minus) }
    }

    /// As [`Self::summand`] and then [`Summand::add`], with minus the multiple in the lanes of the mask; in constant time.
    /// The multiple's coordinates are looked up between the multiplications, in the order that was measured to be fastest.
    #[inline(always)]
    pub(super) fn add_or_subtract(&self, multiple: &Multiple<L>, subtract: Masks<1>) -> Self {
        let t = self.e.mul(&self.h);
        let td2 = multiple.td2();
        let x = self.e.times(&self.f);
        let other_plus = multiple.plus();
        let y = self.g.times_biased(&self.h);
        let other_minus = multiple.minus();
        let (plus, minus) = (y.plus(x).carry(), y.minus(x).carry());
        let z = self.f.mul(&self.g);
        let z2 = multiple.z2();
        let c = t.times(&td2).negated_where(subtract);
        let (other_plus, other_minus) = exchanged(&other_plus, &other_minus, subtract);
        let b = plus.times_biased(&other_plus);
        let a = minus.times(&other_minus);
        let d = z.times_biased(&z2);
        complete(a, b, d.minus(c), d.plus(c))
    }
}
