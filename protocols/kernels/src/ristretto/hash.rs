//! The one-way map: RFC 9496 section 4.3.4, "Element Derivation".

use super::constants::{D, D_MINUS_ONE_SQ, ONE, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1};
use super::decode::load_words;
use super::field::{Element, LANES};
use super::point::{Extended, Group};

/// Appends the points of up to 4·M uniform strings of 64 bytes, where M is even: M/2 groups, whose first and
/// second halves are mapped together. Lanes without a string hold what zeros map to.
#[target_feature(enable = "avx512ifma")]
pub(super) fn from_uniform<const M: usize>(strings: &[[u8; 64]], groups: &mut Vec<Group>) {
    let mut halves = [[[0; 32]; LANES]; M];
    let (first, second) = halves.split_at_mut(M / 2);
    let halves_of = first.as_flattened_mut().iter_mut().zip(second.as_flattened_mut());
    for (string, (first, second)) in strings.iter().zip(halves_of) {
        first.copy_from_slice(&string[..32]);
        second.copy_from_slice(&string[32..]);
    }
    let mapped = map(&Element::<M>::from_words(&load_words(halves.as_flattened()))).split();
    let (first, second) = mapped.split_at(M / 2);
    for (first, second) in first.iter().zip(second) {
        groups.extend_from_slice(&first.summand().add(&second.cached()).extended().store());
    }
}

/// MAP.
#[target_feature(enable = "avx512ifma")]
fn map<const M: usize>(t: &Element<M>) -> Extended<M> {
    let (one, d) = (Element::splat(&ONE), Element::splat(&D));
    let minus_one = one.negated();
    let r = Element::splat(&SQRT_M1).mul(&t.square());
    let u = r.plus(one).mul(&Element::splat(&ONE_MINUS_D_SQ));
    let v = minus_one.minus(r.mul(&d)).mul(&r.plus(d));
    let (was_square, root) = Element::sqrt_ratio(&u, &v);
    let s = root.mul(t).absolute().negated().select(root, was_square);
    let c = r.select(minus_one, was_square);
    let n = c.mul(&r.minus(one)).mul(&Element::splat(&D_MINUS_ONE_SQ)).minus(v);
    let ss = s.square();
    let w0 = s.plus(s).mul(&v);
    let w1 = n.mul(&Element::splat(&SQRT_AD_MINUS_ONE));
    let (w2, w3) = (one.minus(ss), one.plus(ss));
    Extended { x: w0.mul(&w3), y: w2.mul(&w1), z: w1.mul(&w3), t: w0.mul(&w2) }
}

impl<const M: usize> Extended<M> {
    /// The groups one by one.
    #[target_feature(enable = "avx512ifma")]
    fn split(self) -> [Extended<1>; M] {
        let Self { x: Element(x), y: Element(y), z: Element(z), t: Element(t) } = self;
        std::array::from_fn(|n| Extended {
            x: Element([x[n]]),
            y: Element([y[n]]),
            z: Element([z[n]]),
            t: Element([t[n]]),
        })
    }
}
