//! Constants as operands in memory. The compiler would make of each a broadcast, an instruction of its own before the one
//! that needs it, and those would be a seventh of a multiplication's time. It does not see through the pointer of a token.

use super::{HALF, LIMBS, Limbs};

/// The bits of a limb.
pub(super) const LOW: u64 = (1 << 51) - 1;
/// p, limb by limb.
const PRIME: Limbs<u64> = [LOW - 18, LOW, LOW, LOW, LOW];
/// The multiple of p that keeps the columns of a product positive.
const POSITIVE: u64 = 1 << 6;
/// The multiple of p that a bias is.
const BIAS: u64 = 1 << 8;
const HIGH: f64 = (1_u128 << 103) as f64;
const LOWER: f64 = (3_u64 << 51) as f64;
const TWO_52: f64 = (1_u64 << 52) as f64;

/// The same word four times.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Quad(pub(super) [u64; HALF]);

/// One half of the lanes, and the constants of its arithmetic.
pub(super) struct Half {
    /// The first of its four lanes: 0 or 4.
    pub(super) first: usize,
    /// What a product's columns begin with: 2⁶·p, which keeps them positive, less the bits that halves bring in with them, and
    /// those of the upper columns 19-fold. Sums are modulo 2⁶⁴.
    pub(super) start: Limbs<Quad>,
    /// The same with the bias.
    pub(super) start_biased: Limbs<Quad>,
    /// Half of these, for squares, which double them.
    pub(super) square_start: Limbs<Quad>,
    pub(super) square_start_biased: Limbs<Quad>,
    /// 2⁸·p: at least as large, column by column, as any product.
    pub(super) bias: Limbs<Quad>,
    /// 2¹⁰³.
    pub(super) high: Quad,
    /// 2¹⁰³ + 3·2⁵¹.
    pub(super) high_and_lower: Quad,
    /// [`LOW`].
    pub(super) low: Quad,
    /// 2⁵². The bits of 2⁵² + x, for an integer x from 0 to 2⁵², are these and those of the integer.
    pub(super) two_52: Quad,
    pub(super) nineteen: Quad,
}

/// The lower half, and the upper one.
pub(super) static HALVES: [Half; 2] = [Half::new(0), Half::new(HALF)];

impl Half {
    const fn new(first: usize) -> Self {
        let (start, start_biased) = (start(POSITIVE), start(POSITIVE + BIAS));
        Self {
            first,
            start: quads(&start, 0),
            start_biased: quads(&start_biased, 0),
            square_start: quads(&start, 1),
            square_start_biased: quads(&start_biased, 1),
            bias: quads(&multiple_of_p(BIAS), 0),
            high: quad(HIGH.to_bits()),
            high_and_lower: quad((HIGH + LOWER).to_bits()),
            low: quad(LOW),
            two_52: quad(TWO_52.to_bits()),
            nineteen: quad(19),
        }
    }
}

const fn quad(word: u64) -> Quad {
    Quad([word; HALF])
}

/// These words, shifted to the right.
const fn quads(words: &Limbs<u64>, shift: u32) -> Limbs<Quad> {
    let mut quads = [quad(0); LIMBS];
    let mut k = 0;
    while k < LIMBS {
        quads[k] = quad(words[k] >> shift);
        k += 1;
    }
    quads
}

const fn multiple_of_p(factor: u64) -> Limbs<u64> {
    let mut multiple = PRIME;
    let mut k = 0;
    while k < LIMBS {
        multiple[k] *= factor;
        k += 1;
    }
    multiple
}

/// So many times p, less the bits of all halves.
const fn start(factor: u64) -> Limbs<u64> {
    let mut start = multiple_of_p(factor);
    let mut i = 0;
    while i < LIMBS {
        let mut j = 0;
        while j < LIMBS {
            start = less(less(start, i + j, LOWER.to_bits()), i + j + 1, HIGH.to_bits());
            j += 1;
        }
        i += 1;
    }
    start
}

/// Less such bits in a column, those from the fifth on 19-fold where they come back.
const fn less(mut start: Limbs<u64>, column: usize, bits: u64) -> Limbs<u64> {
    let factor = if column < LIMBS { 1 } else { 19 };
    start[column % LIMBS] = start[column % LIMBS].wrapping_sub(bits.wrapping_mul(factor));
    start
}
