//! Multiplication by secret scalars, in constant time.

use super::batch::PAIR;
use super::point::{Completed, Extended, Group};
use super::scalar::{DIGITS, Recoded};
use super::tables::{BaseTable, Window};

/// Each lane's point times its scalar of so many digits. There are at most [`PAIR`] groups, and as many scalars and
/// windows.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply(groups: &mut [Group], scalars: &[Recoded], digits: usize, windows: &mut [Window]) {
    Window::fill(windows, &groups.iter().collect::<Vec<_>>());
    let mut sums = [Completed::identity(); PAIR];
    let sums = &mut sums[..groups.len()];
    add_multiples(sums, scalars, digits, windows);
    for (group, sum) in groups.iter_mut().zip(&*sums) {
        [*group] = sum.extended().store();
    }
}

/// The sum of several groups' points, each lane's point times its scalar: the doublings are shared, and each term
/// adds 63 additions. There are as many scalars and windows as points.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply_sum(points: &[&Group], scalars: &[Recoded], windows: &mut [Window]) -> Group {
    for (windows, points) in windows.chunks_mut(PAIR).zip(points.chunks(PAIR)) {
        Window::fill(windows, points);
    }
    let mut sum = Completed::identity();
    add_multiples(std::array::from_mut(&mut sum), scalars, DIGITS, windows);
    let [group] = sum.extended().store();
    group
}

/// The windows' points times their scalars, by a fixed window of four bits: 248 doublings and 62 additions for all
/// [`DIGITS`], the highest of which begins the sum. The sums take one term each, and then the next; there are as many
/// scalars as terms.
///
/// The sums take turns, one operation after the other: one fills the multiplier while another waits for its carries. One
/// piece of code serves all turns, for which their number is left open, so that it fits into the nearest cache.
#[target_feature(enable = "avx512ifma")]
#[inline(never)]
fn add_multiples(sums: &mut [Completed<1>], scalars: &[Recoded], digits: usize, windows: &[Window]) {
    let (count, top) = (sums.len(), 4 * (digits - 1));
    for bit in (0..=top).rev() {
        if bit < top {
            for sum in &mut *sums {
                *sum = sum.projective().double();
            }
        }
        if bit % 4 > 0 {
            continue;
        }
        for (nth, (scalars, windows)) in scalars.chunks(count).zip(windows.chunks(count)).enumerate() {
            for ((sum, scalar), window) in sums.iter_mut().zip(scalars).zip(windows) {
                let digit = Recoded::digit([scalar], bit / 4);
                let multiple = window.select(&digit);
                *sum = if bit == top && nth == 0 {
                    Completed::signed(&multiple, digit.negative)
                } else {
                    sum.add_or_subtract(&multiple, digit.negative)
                };
            }
        }
    }
}

/// Each lane's scalar times the table's point: 63 additions.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply_base<const N: usize>(table: &BaseTable, scalars: [&Recoded; N]) -> Extended<N> {
    let mut sum = Completed::identity();
    for position in 0..DIGITS {
        let digit = Recoded::digit(scalars, position);
        let multiple = table.select(position, &digit);
        sum = sum.summand().add_or_subtract_affine(&multiple, digit.negative);
    }
    sum.extended()
}
