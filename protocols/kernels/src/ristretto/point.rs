//! Points of the twisted Edwards curve −x² + y² = 1 + D·x²·y² in extended coordinates (X : Y : Z : T) with
//! x = X/Z, y = Y/Z, xy = T/Z.
//!
//! The formulas are those of Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited" (Asiacrypt
//! 2008): section 3.1 for addition, section 3.3 for doubling, each complete on this curve. Sums are taken of
//! [`Columns`], before they are carried, so that a sum costs no reduction of its own.

use super::constants::{D2, ONE};
use super::field::{Columns, Element, LIMBS, Masks, Stored, ZERO};
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
pub(super) struct Extended<const N: usize> {
    pub(super) x: Element<N>,
    pub(super) y: Element<N>,
    pub(super) z: Element<N>,
    pub(super) t: Element<N>,
}

/// X, Y and Z: enough for a doubling.
#[derive(Clone, Copy)]
pub(super) struct Projective<const N: usize> {
    pub(super) x: Element<N>,
    pub(super) y: Element<N>,
    pub(super) z: Element<N>,
}

/// What both formulas end in: X = E·F, Y = G·H, Z = F·G, T = E·H.
#[derive(Clone, Copy)]
pub(super) struct Completed<const N: usize> {
    pub(super) e: Element<N>,
    pub(super) f: Element<N>,
    pub(super) g: Element<N>,
    pub(super) h: Element<N>,
}

/// The left summand of an addition: Y + X, Y − X, Z and T.
#[derive(Clone, Copy)]
pub(super) struct Summand<const N: usize> {
    pub(super) plus: Element<N>,
    pub(super) minus: Element<N>,
    pub(super) z: Element<N>,
    pub(super) t: Element<N>,
}

/// The right summand: Y + X, Y − X, 2·Z and 2·D·T.
#[derive(Clone, Copy)]
pub(super) struct Cached<const N: usize> {
    pub(super) plus: Element<N>,
    pub(super) minus: Element<N>,
    pub(super) z2: Element<N>,
    pub(super) td2: Element<N>,
}

/// A right summand with Z = 1: y + x, y − x and 2·D·xy.
#[derive(Clone, Copy)]
pub(super) struct Affine<const N: usize> {
    pub(super) plus: Element<N>,
    pub(super) minus: Element<N>,
    pub(super) td2: Element<N>,
}

impl Group {
    pub(super) const ZERO: Self =
        Self { x: [ZERO; LIMBS], y: [ZERO; LIMBS], z: [ZERO; LIMBS], t: [ZERO; LIMBS] };
}

impl<const N: usize> Extended<N> {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn load(groups: [&Group; N]) -> Self {
        Self {
            x: Element::load(groups.map(|group| &group.x)),
            y: Element::load(groups.map(|group| &group.y)),
            z: Element::load(groups.map(|group| &group.z)),
            t: Element::load(groups.map(|group| &group.t)),
        }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn store(&self) -> [Group; N] {
        let mut groups = [Group::ZERO; N];
        self.x.store(groups.each_mut().map(|group| &mut group.x));
        self.y.store(groups.each_mut().map(|group| &mut group.y));
        self.z.store(groups.each_mut().map(|group| &mut group.z));
        self.t.store(groups.each_mut().map(|group| &mut group.t));
        groups
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn identity() -> Self {
        let (zero, one) = (Element::splat(&[0; LIMBS]), Element::splat(&ONE));
        Self { x: zero, y: one, z: one, t: zero }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn projective(&self) -> Projective<N> {
        Projective { x: self.x, y: self.y, z: self.z }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn summand(&self) -> Summand<N> {
        Summand { plus: self.y.plus(self.x), minus: self.y.minus(self.x), z: self.z, t: self.t }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn cached(&self) -> Cached<N> {
        Cached {
            plus: self.y.plus(self.x),
            minus: self.y.minus(self.x),
            z2: self.z.plus(self.z),
            td2: self.t.mul(&Element::splat(&D2)),
        }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn negated(&self) -> Self {
        Self { x: self.x.negated(), t: self.t.negated(), ..*self }
    }
}

impl<const N: usize> Projective<N> {
    /// Section 3.3 with a = −1 and all of E, F, G, H negated, which leaves the point as it is: 3 squarings
    /// and a multiplication, since (X + Y)² − X² − Y² is computed as 2·X·Y.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn double(&self) -> Completed<N> {
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

impl<const N: usize> Summand<N> {
    /// Section 3.1 with a = −1 and a precomputed right side: 4 multiplications.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn add(&self, other: &Cached<N>) -> Completed<N> {
        let (a, b) = self.products(&other.minus, &other.plus);
        let c = self.t.times(&other.td2);
        let d = self.z.times_biased(&other.z2);
        complete(a, b, d.minus(c), d.plus(c))
    }

    /// As [`Self::add`] for a point with Z = 1: 3 multiplications.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn add_affine(&self, other: &Affine<N>) -> Completed<N> {
        let (a, b) = self.products(&other.minus, &other.plus);
        let c = self.t.times(&other.td2);
        let d = self.z.columns().doubled();
        complete(a, b, d.biased().minus(c), d.plus(c))
    }

    /// As [`Self::add_affine`], with minus `other` in the lanes of the mask; in constant time.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn add_or_subtract_affine(&self, other: &Affine<N>, subtract: Masks<N>) -> Completed<N> {
        let (a, b) = self.signed_products(&other.minus, &other.plus, subtract);
        let c = self.t.times(&other.td2).negated_where(subtract);
        let d = self.z.columns().doubled().biased();
        complete(a, b, d.minus(c), d.plus(c))
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn products(&self, minus: &Element<N>, plus: &Element<N>) -> (Columns<N>, Columns<N>) {
        (self.minus.times(minus), self.plus.times_biased(plus))
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn signed_products(
        &self,
        minus: &Element<N>,
        plus: &Element<N>,
        subtract: Masks<N>,
    ) -> (Columns<N>, Columns<N>) {
        let (plus, minus) = exchanged(plus, minus, subtract);
        self.products(&minus, &plus)
    }
}

/// Y + X and Y − X of minus a point in the lanes of the mask: negation exchanges them. In constant time.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn exchanged<const N: usize>(
    plus: &Element<N>,
    minus: &Element<N>,
    negative: Masks<N>,
) -> (Element<N>, Element<N>) {
    (plus.select(*minus, negative), minus.select(*plus, negative))
}

/// E = B − A, H = B + A, and F and G as given.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn complete<const N: usize>(a: Columns<N>, b: Columns<N>, f: Columns<N>, g: Columns<N>) -> Completed<N> {
    Completed { e: b.minus(a).carry(), f: f.carry(), g: g.carry(), h: b.plus(a).carry() }
}

impl<const N: usize> Completed<N> {
    /// (0 : 1 : 1 : 0), from E = 0 and F = G = H = 1.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn identity() -> Self {
        let one = Element::splat(&ONE);
        Self { e: Element::splat(&[0; LIMBS]), f: one, g: one, h: one }
    }

    /// The identity in the lanes of the mask.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn cleared(&self, masks: Masks<N>) -> Self {
        let Self { e, f, g, h } = Self::identity();
        Self {
            e: self.e.select(e, masks),
            f: self.f.select(f, masks),
            g: self.g.select(g, masks),
            h: self.h.select(h, masks),
        }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn projective(&self) -> Projective<N> {
        Projective { x: self.e.mul(&self.f), y: self.g.mul(&self.h), z: self.f.mul(&self.g) }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn extended(&self) -> Extended<N> {
        let Projective { x, y, z } = self.projective();
        Extended { x, y, z, t: self.e.mul(&self.h) }
    }

    /// The point as a left summand, with Y ± X taken before they are carried.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn summand(&self) -> Summand<N> {
        let (x, y) = (self.e.times(&self.f), self.g.times_biased(&self.h));
        Summand {
            plus: y.plus(x).carry(),
            minus: y.minus(x).carry(),
            z: self.f.mul(&self.g),
            t: self.e.mul(&self.h),
        }
    }

    /// The point as a left summand and as a right one: one multiplication more than [`Self::summand`].
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn summands(&self) -> (Summand<N>, Cached<N>) {
        let (x, y) = (self.e.times(&self.f), self.g.times_biased(&self.h));
        let (plus, minus) = (y.plus(x).carry(), y.minus(x).carry());
        let t = self.e.mul(&self.h);
        let z = self.f.times(&self.g);
        let (td2, z2) = (t.mul(&Element::splat(&D2)), z.doubled().carry());
        (Summand { plus, minus, z: z.carry(), t }, Cached { plus, minus, z2, td2 })
    }
}

impl Completed<1> {
    /// A multiple, or minus that multiple in the lanes of the mask, without a multiplication: E = 2·X, F = G = 2·Z, H = 2·Y.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn signed(multiple: &Multiple, negative: Masks<1>) -> Self {
        let (plus, minus) = exchanged(&multiple.plus(), &multiple.minus(), negative);
        let z2 = multiple.z2();
        Self { e: plus.minus(minus), f: z2, g: z2, h: plus.plus(minus) }
    }

    /// As [`Self::summand`] and then [`Summand::add`], with minus the multiple in the lanes of the mask; in constant time.
    /// The multiple's coordinates are looked up between the multiplications, in the order that was measured to be fastest.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn add_or_subtract(&self, multiple: &Multiple, subtract: Masks<1>) -> Self {
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
