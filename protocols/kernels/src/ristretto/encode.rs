//! Encode: RFC 9496 section 4.3.2, and doubles of points without a square root.

use super::constants::{INVSQRT_A_MINUS_D, ONE, SQRT_M1, ZERO};
use super::decode::store_words;
use super::field::Element;
use super::lanes::{LANES, Lanes, Masks};
use super::point::{Completed, Extended, Group};

/// Groups that share an inversion.
const SHARED: usize = 64;

/// The canonical encodings of N groups, into as many chunks.
#[inline(always)]
pub(super) fn encode<'a, L: Lanes, const N: usize>(
    lanes: L,
    groups: [&Group; N],
    encodings: &mut impl Iterator<Item = &'a mut [[u8; 32]]>,
) {
    let Extended { x, y, z, t } = Extended::load(lanes, groups);
    let u1 = z.plus(y).mul(&z.minus(y));
    let u2 = x.mul(&y);
    let (_, inverse) = Element::inverse_sqrt(&u1.mul(&u2.square()));
    let (den1, den2) = (inverse.mul(&u1), inverse.mul(&u2));
    let z_inverse = den1.mul(&den2).mul(&t);
    let rotate = t.mul(&z_inverse).is_negative();
    let enchanted = den1.mul_number(&INVSQRT_A_MINUS_D);
    let den = den2.select(enchanted, rotate);
    let (x, y) = (x.select(y.mul_number(&SQRT_M1), rotate), y.select(x.mul_number(&SQRT_M1), rotate));
    let y = y.negated_where(x.mul(&z_inverse).is_negative());
    let s = den.mul(&z.minus(y)).absolute();
    for (words, encodings) in s.canonical().to_words().into_iter().zip(encodings) {
        store_words(lanes, &words, encodings);
    }
}

/// A point on its way to the encoding of its double.
///
/// The double is x = e/f, y = g/h with e = 2·XY, f = Y² − X², g = Y² + X², h = 2·Z² − f, in extended
/// coordinates (eh : fg : fh : eg). The curve's equation gives f² = g² − e² and h² = f² − D·e², so with
/// a = −1 the radicand of the encoding, (Z² − Y²)·(XY)², is (a − D)·(e²f²gh)²: its root is known. Put into
/// section 4.3.2, with M = INVSQRT_A_MINUS_D,
///
/// - unless eg/(fh) is negative: s = |M·(h − g)/e|, where g changes its sign if e/f is negative;
/// - else: s = |(f − i·e)/g|, where e changes its sign if i·g/h is negative.
///
/// Only 1/(efgh) is left to compute, and any number of points share that inversion.
struct Double<L: Lanes> {
    halves: Completed<L, 1>,
    eg: Element<L, 1>,
    fh: Element<L, 1>,
    /// e·f·g·h, or 1 where that is zero.
    product: Element<L, 1>,
    /// Where e·g is zero: the double is the identity.
    zero: Masks<1>,
    /// The product of all products before this one.
    before: Element<L, 1>,
}

/// The canonical encodings of the doubles of all points.
#[inline(always)]
pub(super) fn encode_doubled<L: Lanes>(lanes: L, groups: &[Group], encodings: &mut [[u8; 32]]) {
    for (groups, encodings) in groups.chunks(SHARED).zip(encodings.chunks_mut(SHARED * LANES)) {
        encode_shared(lanes, groups, encodings);
    }
}

#[inline(always)]
fn encode_shared<L: Lanes>(lanes: L, groups: &[Group], encodings: &mut [[u8; 32]]) {
    let mut product = Element::splat(lanes, &ONE);
    let mut doubles = Vec::with_capacity(groups.len());
    for group in groups {
        let double = Double::new(group, product);
        product = product.mul(&double.product);
        doubles.push(double);
    }
    let mut inverse = product.inverse();
    for (double, encodings) in doubles.iter().zip(encodings.chunks_mut(LANES)).rev() {
        let s = double.finish(&inverse.mul(&double.before));
        store_words(lanes, &s.canonical().to_words()[0], encodings);
        inverse = inverse.mul(&double.product);
    }
}

impl<L: Lanes> Double<L> {
    #[inline(always)]
    fn new(group: &Group, before: Element<L, 1>) -> Self {
        let lanes = before.lanes;
        let Completed { e, f: h, g: f, h: g } = Extended::load(lanes, [group]).projective().double();
        let (eg, fh) = (e.mul(&g), f.mul(&h));
        let product = eg.mul(&fh);
        let zero = product.is_zero();
        let product = product.select(Element::splat(lanes, &ONE), zero);
        Self { halves: Completed { e, f, g, h }, eg, fh, product, zero, before }
    }

    /// The encoding's s, given 1/(efgh).
    #[inline(always)]
    fn finish(&self, inverse: &Element<L, 1>) -> Element<L, 1> {
        let Completed { e, f, g, h } = self.halves;
        let (one_by_fh, one_by_eg) = (self.eg.mul(inverse), self.fh.mul(inverse));
        let rotate = self.eg.mul(&one_by_fh).is_negative();
        let numerator = e.select(g.mul_number(&SQRT_M1), rotate);
        let constant = h.select(f, rotate);
        let flipped = g.select(e.mul_number(&SQRT_M1), rotate);
        let factor = g.mul_number(&INVSQRT_A_MINUS_D).select(e, rotate);
        let flip = numerator.mul(&constant).mul(&one_by_fh).is_negative();
        let difference = constant.minus(flipped.negated_where(flip));
        let s = difference.mul(&factor).mul(&one_by_eg).absolute();
        s.select(Element::splat(inverse.lanes, &ZERO), self.zero)
    }
}
