//! Field arithmetic at the edges of its bounds, and RFC 9496's constants and appendix A.4.

use super::super::constants::*;
use super::super::field::*;
use super::vectors::{bytes, vectors};
use super::*;

/// Calls a test's body where the processor can run it.
macro_rules! on_ifma {
    ($body:ident) => {
        if Backend::ifma().is_some() {
            // SAFETY: the features that the body needs were just detected.
            unsafe { $body() }
        }
    };
}

/// Little-endian words modulo p, one number a lane, by schoolbook methods.
mod reference {
    /// a + b·c modulo p.
    pub(super) fn multiply_add(a: [u64; 4], b: [u64; 4], c: [u64; 4]) -> [u64; 4] {
        let mut wide = [0_u64; 8];
        wide[..4].copy_from_slice(&a);
        for i in 0..4 {
            let mut carry = 0;
            for j in 0..4 {
                (wide[i + j], carry) = b[i].carrying_mul_add(c[j], carry, wide[i + j]);
            }
            for word in &mut wide[i + 4..] {
                let (sum, overflow) = word.overflowing_add(carry);
                (*word, carry) = (sum, u64::from(overflow));
            }
        }
        reduce(wide)
    }

    /// 2²⁵⁶ = 38, twice; then p is taken away while there is one.
    fn reduce(wide: [u64; 8]) -> [u64; 4] {
        let mut carry = 0;
        let mut low = [0; 4];
        for k in 0..4 {
            (low[k], carry) = wide[k + 4].carrying_mul_add(38, carry, wide[k]);
        }
        while carry > 0 {
            let mut add = carry * 38;
            carry = 0;
            for word in &mut low {
                let (sum, overflow) = word.overflowing_add(add);
                (*word, add) = (sum, u64::from(overflow));
            }
            carry += add;
        }
        while let Some(less) = minus_p(low) {
            low = less;
        }
        low
    }

    fn minus_p(a: [u64; 4]) -> Option<[u64; 4]> {
        let p = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];
        let mut borrow = false;
        let mut difference = [0; 4];
        for k in 0..4 {
            (difference[k], borrow) = a[k].borrowing_sub(p[k], borrow);
        }
        (!borrow).then_some(difference)
    }
}

/// Limbs at rest, for any limbs.
fn lanes_of(limbs: [[u64; LIMBS]; LANES]) -> Stored {
    std::array::from_fn(|k| Lanes(limbs.map(|limbs| limbs[k])))
}

#[target_feature(enable = "avx512ifma")]
fn words_of(element: Element<1>) -> [[u64; 4]; LANES] {
    let [words] = element.canonical().to_words();
    let words = words.map(|word| Lanes::store(word).0);
    std::array::from_fn(|lane| words.map(|word| word[lane]))
}

/// What limbs are worth: bits above 52 of the lower four do not count.
fn value(limbs: [u64; LIMBS]) -> [u64; 4] {
    const RADIX: [u64; 4] = [1 << 52, 0, 0, 0];
    let low = |limb: u64| [limb & ((1 << 52) - 1), 0, 0, 0];
    let top = [limbs[4], 0, 0, 0];
    limbs[..4].iter().rev().fold(top, |sum, limb| reference::multiply_add(low(*limb), sum, RADIX))
}

/// Limbs as large and as small as an operand may have, some with bits that do not count, and random ones.
fn operands(rng: &mut ChaCha20Rng) -> Vec<[u64; LIMBS]> {
    let (full, top) = ((1_u64 << 52) - 1, (1_u64 << 47) + (1 << 12));
    let p = [full - 18, full, full, full, (1 << 47) - 1];
    let edges = [
        [0; LIMBS],
        [1, 0, 0, 0, 0],
        [full, full, full, full, top],
        [u64::MAX, u64::MAX, u64::MAX, u64::MAX, top],
        [full, 0, full, 0, top],
        [0, full, 0, full, 0],
        [0, 0, 0, 0, top],
        p,
        [p[0] - 1, p[1], p[2], p[3], p[4]],
        [p[0] + 1, p[1], p[2], p[3], p[4]],
        [p[0] + 18, p[1], p[2], p[3], p[4]],
        [0, 0, 0, 0, 1 << 47],
        [full, full, full, full, (1 << 47) - 1],
    ];
    let mut operands = edges.to_vec();
    operands.resize_with(64, || {
        let mut limbs: [u64; LIMBS] = std::array::from_fn(|_| rng.random());
        limbs[4] = rng.random_range(0..=top);
        limbs
    });
    operands
}

/// The same element in three groups: a pair, and one that is left.
#[target_feature(enable = "avx512ifma")]
fn threefold(element: Element<1>) -> Element<3> {
    Element([element.0[0]; 3])
}

#[target_feature(enable = "avx512ifma")]
fn check_arithmetic() {
    let operands = operands(&mut rng());
    for a in &operands {
        for chunk in operands.chunks_exact(LANES) {
            let b: [[u64; LIMBS]; LANES] = chunk.try_into().expect("eight");
            let (x, y) = (Element::<1>::load([&lanes_of([*a; LANES])]), Element::<1>::load([&lanes_of(b)]));
            let (zero, one, a) = ([0; 4], [1, 0, 0, 0], value(*a));
            let minus_one = [u64::MAX - 19, u64::MAX, u64::MAX, u64::MAX >> 1];
            let b = b.map(value);
            assert_eq!(words_of(x.mul(&y)), b.map(|b| reference::multiply_add(zero, a, b)));
            assert_eq!(words_of(x.times_biased(&y).carry()), b.map(|b| reference::multiply_add(zero, a, b)));
            assert_eq!(words_of(y.square()), b.map(|b| reference::multiply_add(zero, b, b)));
            assert_eq!(words_of(y.squared_biased().carry()), b.map(|b| reference::multiply_add(zero, b, b)));
            assert_eq!(words_of(x.plus(y)), b.map(|b| reference::multiply_add(a, b, one)));
            assert_eq!(words_of(x.minus(y)), b.map(|b| reference::multiply_add(a, b, minus_one)));
            for (one, three) in
                [(x.mul(&y), threefold(x).mul(&threefold(y))), (y.square(), threefold(y).square())]
            {
                assert!(three.same_limbs(&threefold(one)) == [0xff; 3], "each group of three as one alone");
            }
            assert_eq!(words_of(y.negated()), b.map(|b| reference::multiply_add(zero, b, minus_one)));
        }
    }
}

#[test]
fn arithmetic_is_right_at_the_edges_of_its_bounds() {
    on_ifma!(check_arithmetic);
}

/// All columns as large as `carry` allows.
#[target_feature(enable = "avx512ifma")]
fn check_carry() {
    let most = i64::MAX as u64;
    for columns in
        [[most; LIMBS], [most, 0, 0, 0, 0], [0, 0, 0, 0, most], [0, 0, 0, most, most], [1 << 52; LIMBS]]
    {
        let carried = Columns(Element::<1>::load([&lanes_of([columns; LANES])]).0).carry();
        let mut stored = [ZERO; LIMBS];
        carried.store([&mut stored]);
        assert!(stored[4].0[0] <= (1 << 47) + (1 << 12), "the top limb is an operand's");
        let expected = columns
            .iter()
            .rev()
            .fold([0; 4], |sum, column| reference::multiply_add([*column, 0, 0, 0], sum, [1 << 52, 0, 0, 0]));
        assert_eq!(words_of(carried), [expected; LANES]);
    }
}

#[test]
fn the_largest_columns_carry_into_an_operand() {
    on_ifma!(check_carry);
}

#[target_feature(enable = "avx512ifma")]
fn check_bias() {
    let bias = Columns(Element::<1>::splat(&BIAS).0);
    assert_eq!(words_of(bias.carry()), [[0; 4]; LANES]);
}

#[test]
fn the_bias_is_a_multiple_of_p() {
    on_ifma!(check_bias);
}

#[target_feature(enable = "avx512ifma")]
fn check_constants() {
    let element = Element::<1>::splat;
    let same = |a: Element<1>, b: Element<1>| assert_eq!(words_of(a), words_of(b));
    let (one, d, root) = (element(&ONE), element(&D), element(&SQRT_M1));
    let integer = |value: i64| element(&[value, 0, 0, 0, 0]);
    same(d.mul(&integer(121_666)), integer(121_665).negated());
    same(element(&D2), d.plus(d));
    same(root.square(), one.negated());
    same(element(&ONE_MINUS_D_SQ), one.minus(d.square()));
    same(element(&D_MINUS_ONE_SQ), d.minus(one).square());
    same(element(&SQRT_AD_MINUS_ONE).square(), d.negated().minus(one));
    same(element(&INVSQRT_A_MINUS_D).square().mul(&one.negated().minus(d)), one);
}

#[test]
fn constants_satisfy_their_equations() {
    on_ifma!(check_constants);
}

#[target_feature(enable = "avx512ifma")]
fn check_sqrt_ratio() {
    let vectors = vectors();
    for case in vectors["sqrt_ratio"].as_array().expect("an array") {
        let element = |name: &str| {
            let words = decode::load_words::<1>(&[bytes(&case[name]); LANES]);
            Element::from_words(&words)
        };
        let (was_square, r) = Element::sqrt_ratio(&element("u"), &element("v"));
        assert_eq!(was_square, [if case["was_square"] == true { 0xff } else { 0 }]);
        assert_eq!(words_of(r), words_of(element("r")));
    }
}

#[test]
fn square_roots_are_appendix_a4() {
    on_ifma!(check_sqrt_ratio);
}

#[target_feature(enable = "avx512ifma")]
fn check_inverse() {
    let operands = operands(&mut rng());
    for chunk in operands.as_chunks::<LANES>().0 {
        let x = Element::<1>::load([&lanes_of(*chunk)]);
        let one_or_zero = chunk.map(|limbs| [u64::from(value(limbs) != [0; 4]), 0, 0, 0]);
        assert_eq!(words_of(x.mul(&x.inverse())), one_or_zero);
    }
}

#[test]
fn inverses_multiply_to_one() {
    on_ifma!(check_inverse);
}
