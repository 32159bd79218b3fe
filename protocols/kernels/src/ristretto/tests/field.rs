//! Field arithmetic at the edges of its bounds, and RFC 9496's constants and appendix A.4, on each instruction set.

use super::super::constants::*;
use super::super::decode;
use super::super::field::*;
use super::super::lanes::{Avx2, Ifma, LANES, Lanes, Row, Stored, WORDS};
use super::vectors::{bytes, vectors};
use super::*;

/// Calls a test's body for all lanes of each instruction set that the processor has.
macro_rules! on_each {
    ($body:ident) => {
        if let Some(lanes) = Ifma::detect() {
            lanes.outlined(|| $body(lanes));
        }
        for lanes in Avx2::detect().into_iter().flat_map(|lanes| lanes.needed(LANES)) {
            lanes.outlined(|| $body(lanes));
        }
    };
}

/// A representation's bounds.
trait Bounds: Lanes {
    /// Weights of the columns, as powers of two.
    const WEIGHTS: &'static [usize];
    /// Bits of a column that count in an operand's limb, for each column.
    const WIDTHS: &'static [u32];
    /// The largest limbs of an operand.
    const MOST: &'static [u64];

    /// Words at rest of limbs, which may have bits that do not count.
    fn at_rest(limbs: &[u64]) -> [u64; WORDS];
    fn columns_of(self, columns: &[u64]) -> Self::Columns;
}

impl Bounds for Ifma {
    const WEIGHTS: &'static [usize] = &[0, 52, 104, 156, 208];
    const WIDTHS: &'static [u32] = &[52, 52, 52, 52, 64];
    const MOST: &'static [u64] = &[u64::MAX, u64::MAX, u64::MAX, u64::MAX, (1 << 47) + (1 << 12)];

    fn at_rest(limbs: &[u64]) -> [u64; WORDS] {
        limbs.try_into().expect("five limbs")
    }

    fn columns_of(self, columns: &[u64]) -> Self::Columns {
        std::array::from_fn(|k| self.splat(columns[k]))
    }
}

impl Bounds for Avx2 {
    const WEIGHTS: &'static [usize] = &[0, 51, 102, 153, 204];
    const WIDTHS: &'static [u32] = &[64; 5];
    const MOST: &'static [u64] = &[
        (1 << 51) + (1 << 17),
        (1 << 51) + (1 << 12),
        (1 << 51) + (1 << 12),
        (1 << 51) + (1 << 12),
        (1 << 51) + (1 << 12),
    ];

    fn at_rest(limbs: &[u64]) -> [u64; WORDS] {
        std::array::from_fn(|k| (limbs[k] as f64).to_bits())
    }

    fn columns_of(self, columns: &[u64]) -> Self::Columns {
        std::array::from_fn(|k| self.splat(columns[k]))
    }
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

/// Elements at rest, one a lane.
fn rows(elements: [[u64; WORDS]; LANES]) -> Stored {
    std::array::from_fn(|k| Row(elements.map(|words| words[k])))
}

/// The numbers in the lanes that the token works on.
fn numbers<L: Lanes>(element: Element<L, 1>) -> Vec<Number> {
    let lanes = element.lanes;
    let [words] = element.canonical().to_words();
    let rows = words.map(|word| {
        let mut row = Row([0; LANES]);
        lanes.store(word, &mut row);
        row
    });
    lanes.held().map(|lane| [0, 1, 2, 3].map(|k| rows[k].0[lane])).collect()
}

/// What columns are worth, modulo p.
fn value<L: Bounds>(columns: &[u64], widths: Option<&[u32]>) -> Number {
    let low = |k: usize, column: u64| match widths {
        Some(widths) if widths[k] < 64 => column & ((1 << widths[k]) - 1),
        _ => column,
    };
    let terms = columns.iter().enumerate().map(|(k, column)| {
        let mut weight = ZERO;
        weight[L::WEIGHTS[k] / 64] = 1 << (L::WEIGHTS[k] % 64);
        reference::multiply_add(ZERO, [low(k, *column), 0, 0, 0], weight)
    });
    terms.fold(ZERO, |sum, term| reference::multiply_add(sum, term, ONE))
}

/// Limbs as large and as small as an operand may have, some with bits that do not count, those of p and its
/// neighbours, those whose products are hard to round, and random ones.
fn operands<L: Bounds>(rng: &mut ChaCha20Rng) -> Vec<Vec<u64>> {
    let most = L::MOST.to_vec();
    let count = most.len();
    let full: Vec<_> = (0..count).map(|k| L::WEIGHTS.get(k + 1).unwrap_or(&255) - L::WEIGHTS[k]).collect();
    let full: Vec<u64> = full.into_iter().map(|bits| (1 << bits) - 1).collect();
    let with = |k: usize, limb: u64, mut limbs: Vec<u64>| {
        limbs[k] = limb;
        limbs
    };
    let every_other = |first: usize| (0..count).map(|k| if k % 2 == first { most[k] } else { 0 }).collect();
    let p = with(0, full[0] - 18, full.clone());
    let mut operands = vec![
        vec![0; count],
        with(0, 1, vec![0; count]),
        every_other(0),
        every_other(1),
        with(count - 1, most[count - 1], vec![0; count]),
        with(0, p[0] - 1, p.clone()),
        with(0, p[0] + 1, p.clone()),
        with(0, p[0] + 18, p.clone()),
        p,
        full,
        most.clone(),
        // Products of these are halfway between two multiples of 2⁵¹.
        vec![1 << 25; count],
        vec![3 << 25; count],
    ];
    operands.resize_with(64, || most.iter().map(|most| rng.random_range(0..=*most)).collect());
    operands
}

/// The same element in three groups: a pair, and one that is left.
fn threefold<L: Lanes>(element: Element<L, 1>) -> Element<L, 3> {
    Element { words: [element.words[0]; 3], lanes: element.lanes }
}

fn check_arithmetic<L: Bounds>(lanes: L) {
    let operands = operands::<L>(&mut rng());
    let minus_one = [u64::MAX - 19, u64::MAX, u64::MAX, u64::MAX >> 1];
    let value = |limbs: &Vec<u64>| value::<L>(limbs, Some(L::WIDTHS));
    let element = |limbs: [&Vec<u64>; LANES]| {
        Element::<L, 1>::load(lanes, [&rows(limbs.map(|limbs| L::at_rest(limbs)))])
    };
    for a in &operands {
        for b in operands.as_chunks::<LANES>().0 {
            let (x, y) = (element([a; LANES]), element(b.each_ref()));
            let a = value(a);
            let b: Vec<_> = lanes.held().map(|lane| value(&b[lane])).collect();
            let each = |result: &dyn Fn(Number) -> Number| b.iter().map(|b| result(*b)).collect::<Vec<_>>();
            let (product, square) = (
                each(&|b| reference::multiply_add(ZERO, a, b)),
                each(&|b| reference::multiply_add(ZERO, b, b)),
            );
            assert_eq!(numbers(x.mul(&y)), product);
            assert_eq!(numbers(x.times(&y).carry()), product);
            assert_eq!(numbers(x.times_biased(&y).carry()), product);
            assert_eq!(numbers(y.square()), square);
            assert_eq!(numbers(y.squared().carry()), square);
            assert_eq!(numbers(y.squared_biased().carry()), square);
            assert_eq!(numbers(x.plus(y)), each(&|b| reference::multiply_add(a, b, ONE)));
            assert_eq!(numbers(x.minus(y)), each(&|b| reference::multiply_add(a, b, minus_one)));
            assert_eq!(numbers(y.negated()), each(&|b| reference::multiply_add(ZERO, b, minus_one)));
            let none = x.times(&y);
            assert_eq!(numbers(none.negated_where([0]).carry()), product);
            let negated =
                each(&|b| reference::multiply_add(ZERO, reference::multiply_add(ZERO, a, b), minus_one));
            assert_eq!(numbers(none.negated_where([0xff]).carry()), negated);
            for (one, three) in
                [(x.mul(&y), threefold(x).mul(&threefold(y))), (y.square(), threefold(y).square())]
            {
                let same = three.canonical().equals(&threefold(one).canonical());
                let held = lanes.held().fold(0, |mask, lane| mask | 1 << lane);
                assert_eq!(same.map(|mask| mask & held), [held; 3], "each group of three as one alone");
            }
        }
    }
}

#[test]
fn arithmetic_is_right_at_the_edges_of_its_bounds() {
    on_each!(check_arithmetic);
}

/// All columns as large as `carry` allows.
fn check_carry<L: Bounds>(lanes: L) {
    let most = i64::MAX as u64;
    let count = L::WEIGHTS.len();
    let only = |which: &dyn Fn(usize) -> bool| (0..count).map(|k| if which(k) { most } else { 0 }).collect();
    let columns: [Vec<u64>; 5] = [
        vec![most; count],
        only(&|k| k == 0),
        only(&|k| k == count - 1),
        only(&|k| k + 2 >= count),
        vec![1 << 52; count],
    ];
    for columns in columns {
        let carried = lanes.carry(lanes.columns_of(&columns));
        let carried = Element::<L, 1> { words: [carried], lanes };
        let mut stored = rows([[0; WORDS]; LANES]);
        carried.store([&mut stored]);
        let lane = lanes.held().start;
        for (k, most) in L::at_rest(L::MOST).into_iter().enumerate() {
            assert!(stored[k].0[lane] <= most, "word {k} is an operand's");
        }
        assert!(numbers(carried).iter().all(|number| *number == value::<L>(&columns, None)));
    }
}

#[test]
fn the_largest_columns_carry_into_an_operand() {
    on_each!(check_carry);
}

fn check_bias<L: Bounds>(lanes: L) {
    let bias = Element::<L, 1> { words: [lanes.carry(lanes.bias())], lanes };
    assert!(numbers(bias).iter().all(|number| *number == ZERO));
}

#[test]
fn the_bias_is_a_multiple_of_p() {
    on_each!(check_bias);
}

fn check_constants<L: Bounds>(lanes: L) {
    let element = |number: &Number| Element::<L, 1>::splat(lanes, number);
    let same = |a: Element<L, 1>, b: Element<L, 1>| assert_eq!(numbers(a), numbers(b));
    let (one, d, root) = (element(&ONE), element(&D), element(&SQRT_M1));
    assert!(numbers(d).iter().all(|number| *number == D));
    let integer = |value: u64| element(&[value, 0, 0, 0]);
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
    on_each!(check_constants);
}

fn check_sqrt_ratio<L: Bounds>(lanes: L) {
    let vectors = vectors();
    for case in vectors["sqrt_ratio"].as_array().expect("an array") {
        let element = |name: &str| {
            let words = decode::load_words::<L, 1>(lanes, &[bytes(&case[name]); LANES]);
            Element::from_words(lanes, &words)
        };
        let (was_square, r) = Element::sqrt_ratio(&element("u"), &element("v"));
        let expected = case["was_square"] == true;
        assert!(lanes.held().all(|lane| (was_square[0] >> lane & 1 == 1) == expected));
        assert_eq!(numbers(r), numbers(element("r")));
    }
}

#[test]
fn square_roots_are_appendix_a4() {
    on_each!(check_sqrt_ratio);
}

fn check_inverse<L: Bounds>(lanes: L) {
    let operands = operands::<L>(&mut rng());
    for chunk in operands.as_chunks::<LANES>().0 {
        let x = Element::<L, 1>::load(lanes, [&rows(chunk.each_ref().map(|limbs| L::at_rest(limbs)))]);
        let one_or_zero = lanes.held().map(|lane| {
            let zero = value::<L>(&chunk[lane], Some(L::WIDTHS)) == ZERO;
            [u64::from(!zero), 0, 0, 0]
        });
        assert_eq!(numbers(x.mul(&x.inverse())), one_or_zero.collect::<Vec<_>>());
    }
}

#[test]
fn inverses_multiply_to_one() {
    on_each!(check_inverse);
}
