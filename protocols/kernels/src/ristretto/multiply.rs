//! Multiplication by secret scalars, in constant time.

#![allow(clippy::needless_range_loop, reason = "loops over groups index several arrays alike")]

use super::point::{Completed, Extended, Group};
use super::scalar::{DIGITS, Recoded};
use super::tables::{BaseTable, Window};

/// Each lane's point times its scalar, by a fixed window of four bits: 252 doublings and 63 additions.
///
/// N groups take turns, formula by formula: one fills the multiplier while another waits for its carries.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply<const N: usize>(
    points: [&Group; N],
    scalars: [&Recoded; N],
    windows: &mut [Window; N],
) -> [Extended<1>; N] {
    let mut sums = [Completed::identity(); N];
    for n in 0..N {
        windows[n].fill(&Extended::load([points[n]]));
        // The highest digit is 0, 1 or 2: nothing to subtract.
        let digit = Recoded::digit([scalars[n]], DIGITS - 1);
        sums[n] = Completed::identity().summand().add(&windows[n].select(&digit.magnitude));
    }
    for position in (0..DIGITS - 1).rev() {
        for _ in 0..4 {
            let mut halves = [sums[0].projective(); N];
            for n in 1..N {
                halves[n] = sums[n].projective();
            }
            for n in 0..N {
                sums[n] = halves[n].double();
            }
        }
        for n in 0..N {
            let digit = Recoded::digit([scalars[n]], position);
            let multiple = windows[n].select(&digit.magnitude);
            sums[n] = sums[n].summand().add_or_subtract(&multiple, digit.negative);
        }
    }
    sums.map(|sum| sum.extended())
}

/// Each lane's scalar times the generator: 64 additions.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply_base<const N: usize>(scalars: [&Recoded; N]) -> [Extended<1>; N] {
    let table = BaseTable::shared();
    let mut sums = [Completed::identity(); N];
    for position in 0..DIGITS {
        for n in 0..N {
            let digit = Recoded::digit([scalars[n]], position);
            let multiple = table.select(position, &digit);
            sums[n] = sums[n].summand().add_or_subtract_affine(&multiple, digit.negative);
        }
    }
    sums.map(|sum| sum.extended())
}
