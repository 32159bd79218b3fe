//! The one-way map: RFC 9496 section 4.3.4, "Element Derivation".

use super::constants::{D, D_MINUS_ONE_SQ, ONE, ONE_MINUS_D_SQ, SQRT_AD_MINUS_ONE, SQRT_M1};
use super::decode::load_words;
use super::field::{Element, LANES};
use super::point::Extended;

/// Points of up to eight uniform strings of 64 bytes; lanes without one hold what zeros map to.
#[target_feature(enable = "avx512ifma")]
pub(super) fn from_uniform(strings: &[[u8; 64]]) -> Extended<1> {
    let mut halves = [[[0; 32]; LANES]; 2];
    for (lane, string) in strings.iter().enumerate() {
        let (halves_of_string, _) = string.as_chunks::<32>();
        halves[0][lane] = halves_of_string[0];
        halves[1][lane] = halves_of_string[1];
    }
    let words = load_words::<2>(halves.as_flattened());
    let [left, right] = map(&Element::from_words(&words)).split();
    left.summand().add(&right.cached()).extended()
}

/// MAP, for both halves at once.
#[target_feature(enable = "avx512ifma")]
fn map(t: &Element<2>) -> Extended<2> {
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

impl Extended<2> {
    /// The two groups one by one.
    #[target_feature(enable = "avx512ifma")]
    fn split(self) -> [Extended<1>; 2] {
        let Self { x: Element(x), y: Element(y), z: Element(z), t: Element(t) } = self;
        [0, 1].map(|n| Extended {
            x: Element([x[n]]),
            y: Element([y[n]]),
            z: Element([z[n]]),
            t: Element([t[n]]),
        })
    }
}
