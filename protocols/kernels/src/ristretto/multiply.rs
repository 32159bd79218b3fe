//! Multiplication by secret scalars, in constant time.

use super::point::{Completed, Extended, Group, Projective};
use super::scalar::{DIGITS, Digit, Recoded};
use super::tables::{BaseTable, Window};

/// Each lane's point times its scalar, by a fixed window of four bits: 252 doublings and 63 additions.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply<const N: usize>(
    points: [&Group; N],
    scalars: [&Recoded; N],
    window: &mut Window<N>,
) -> Extended<N> {
    window.fill(&Extended::load(points));
    // The highest digit is 0, 1 or 2: nothing to subtract.
    let mut sum = window.select(&Recoded::digit(scalars, DIGITS - 1).magnitude).projective();
    for position in (1..DIGITS - 1).rev() {
        sum = step(&sum, window, &Recoded::digit(scalars, position)).projective();
    }
    step(&sum, window, &Recoded::digit(scalars, 0)).extended()
}

/// 16·`sum` + digit·P.
#[target_feature(enable = "avx512ifma")]
fn step<const N: usize>(sum: &Projective<N>, window: &Window<N>, digit: &Digit<N>) -> Completed<N> {
    let mut sum = *sum;
    for _ in 0..3 {
        sum = sum.double().projective();
    }
    let multiple = window.select(&digit.magnitude);
    sum.double().summand().add_or_subtract(&multiple, digit.negative)
}

/// Each lane's scalar times the generator: 64 additions.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply_base<const N: usize>(scalars: [&Recoded; N]) -> Extended<N> {
    let table = BaseTable::shared();
    let mut sum = Extended::identity().summand();
    for position in 1..DIGITS {
        let digit = Recoded::digit(scalars, position);
        sum = sum.add_or_subtract_affine(&table.select(position, &digit), digit.negative).summand();
    }
    let digit = Recoded::digit(scalars, 0);
    sum.add_or_subtract_affine(&table.select(0, &digit), digit.negative).extended()
}
