//! The one-way map: RFC 9496 section 4.3.4, "Element Derivation".

use super::constants::{D, D_MINUS_ONE_SQ, ONE, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1};
use super::decode::load_words;
use super::field::Element;
use super::lanes::{LANES, Lanes};
use super::point::{Extended, Group};

/// The points of up to 4·M uniform strings of 64 bytes, where M is even: M/2 groups, whose first and
/// second halves are mapped together. Lanes without a string hold what zeros map to.
#[inline(always)]
pub(super) fn from_uniform<L: Lanes, const M: usize>(lanes: L, strings: &[[u8; 64]], groups: &mut [Group]) {
    let mut halves = [[[0; 32]; LANES]; M];
    let (first, second) = halves.split_at_mut(M / 2);
    let halves_of = first.as_flattened_mut().iter_mut().zip(second.as_flattened_mut());
    for (string, (first, second)) in strings.iter().zip(halves_of) {
        first.copy_from_slice(&string[..32]);
        second.copy_from_slice(&string[32..]);
    }
    let mapped = map(&Element::<L, M>::from_words(lanes, &load_words(lanes, halves.as_flattened()))).split();
    let (first, second) = mapped.split_at(M / 2);
    for ((first, second), group) in first.iter().zip(second).zip(groups) {
        first.summand().add(&second.cached()).extended().store([group]);
    }
}

/// MAP.
#[inline(always)]
fn map<L: Lanes, const M: usize>(t: &Element<L, M>) -> Extended<L, M> {
    let (one, d) = (Element::splat(t.lanes, &ONE), Element::splat(t.lanes, &D));
    let minus_one = one.negated();
    let r = t.square().mul_number(&SQRT_M1);
    let u = r.plus(one).mul_number(&ONE_MINUS_D_SQ);
    let v = minus_one.minus(r.mul(&d)).mul(&r.plus(d));
    let (was_square, root) = Element::sqrt_ratio(&u, &v);
    let s = root.mul(t).absolute().negated().select(root, was_square);
    let c = r.select(minus_one, was_square);
    let n = c.mul(&r.minus(one)).mul_number(&D_MINUS_ONE_SQ).minus(v);
    let ss = s.square();
    let w0 = s.plus(s).mul(&v);
    let w1 = n.mul_number(&SQRT_AD_MINUS_ONE);
    let (w2, w3) = (one.minus(ss), one.plus(ss));
    Extended { x: w0.mul(&w3), y: w2.mul(&w1), z: w1.mul(&w3), t: w0.mul(&w2) }
}

impl<L: Lanes, const M: usize> Extended<L, M> {
    /// The groups one by one.
    #[inline(always)]
    fn split(self) -> [Extended<L, 1>; M] {
        let Self { x, y, z, t } = self;
        std::array::from_fn(|n| {
            let [x, y, z, t] =
                [&x, &y, &z, &t].map(|element| Element { words: [element.words[n]], lanes: element.lanes });
            Extended { x, y, z, t }
        })
    }
}
