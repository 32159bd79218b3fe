//! Multiplication by secret scalars, in constant time.

use super::batch::PAIR;
use super::lanes::Lanes;
use super::point::{Completed, Group};
use super::scalar::{DIGITS, Recoded};
use super::tables::{BaseTable, Window};

/// Each lane's point times its scalar of so many digits. There are at most [`PAIR`] groups, and as many scalars and
/// windows.
#[inline(always)]
pub(super) fn multiply<L: Lanes>(
    lanes: L,
    groups: &mut [Group],
    scalars: &[Recoded],
    digits: usize,
    windows: &mut [Window],
) {
    Window::fill(lanes, windows, &groups.iter().collect::<Vec<_>>());
    let mut sums = [Completed::identity(lanes); PAIR];
    let sums = &mut sums[..groups.len()];
    add_multiples(lanes, sums, scalars, digits, windows);
    for (group, sum) in groups.iter_mut().zip(&*sums) {
        sum.extended().store([group]);
    }
}

/// The sum of several groups' points, each lane's point times its scalar: the doublings are shared, and each term
/// adds 63 additions. There are as many scalars and windows as points.
#[inline(always)]
pub(super) fn multiply_sum(
    lanes: impl Lanes,
    points: &[&Group],
    scalars: &[Recoded],
    windows: &mut [Window],
    into: &mut Group,
) {
    for (windows, points) in windows.chunks_mut(PAIR).zip(points.chunks(PAIR)) {
        Window::fill(lanes, windows, points);
    }
    let mut sum = Completed::identity(lanes);
    add_multiples(lanes, std::array::from_mut(&mut sum), scalars, DIGITS, windows);
    sum.extended().store([into]);
}

/// The windows' points times their scalars, by a fixed window of four bits: 248 doublings and 62 additions for all
/// [`DIGITS`], the highest of which begins the sum. The sums take one term each, and then the next; there are as many
/// scalars as terms.
///
/// The sums take turns, one step after the other: one fills the multiplier while another waits for its carries. One
/// piece of code serves all turns, for which their number is left open, so that it fits into the nearest cache.
fn add_multiples<L: Lanes>(
    lanes: L,
    sums: &mut [Completed<L, 1>],
    scalars: &[Recoded],
    digits: usize,
    windows: &[Window],
) {
    lanes.outlined(
        #[inline(always)]
        || add_multiples_inlined(lanes, sums, scalars, digits, windows),
    );
}

#[inline(always)]
fn add_multiples_inlined<L: Lanes>(
    lanes: L,
    sums: &mut [Completed<L, 1>],
    scalars: &[Recoded],
    digits: usize,
    windows: &[Window],
) {
    let (count, top) = (sums.len(), 4 * (digits - 1));
    for bit in (0..=top).rev() {
        if bit < top {
            for sum in &mut *sums {
                lanes.step(
                    #[inline(always)]
                    || *sum = sum.projective().double(),
                );
            }
        }
        if bit % 4 > 0 {
            continue;
        }
        for (nth, (scalars, windows)) in scalars.chunks(count).zip(windows.chunks(count)).enumerate() {
            for ((sum, scalar), window) in sums.iter_mut().zip(scalars).zip(windows) {
                let first = bit == top && nth == 0;
                lanes.step(
                    #[inline(always)]
                    || {
                        let digit = scalar.digit(lanes, bit / 4);
                        let multiple = window.select(lanes, &digit);
                        *sum = if first {
                            Completed::signed(&multiple, digit.negative)
                        } else {
                            sum.add_or_subtract(&multiple, digit.negative)
                        };
                    },
                );
            }
        }
    }
}

/// Each lane's scalar times the table's point: 63 additions. There are at most [`PAIR`] groups, and as many scalars.
///
/// The groups take turns, as in [`add_multiples`].
#[inline(always)]
pub(super) fn multiply_base<L: Lanes>(
    lanes: L,
    table: &BaseTable,
    scalars: &[Recoded],
    groups: &mut [Group],
) {
    let mut sums = [Completed::identity(lanes); PAIR];
    let sums = &mut sums[..groups.len()];
    for position in 0..DIGITS {
        for (sum, scalar) in sums.iter_mut().zip(scalars) {
            let digit = scalar.digit(lanes, position);
            let multiple = table.select(lanes, position, &digit);
            *sum = sum.summand().add_or_subtract_affine(&multiple, digit.negative);
        }
    }
    for (group, sum) in groups.iter_mut().zip(&*sums) {
        sum.extended().store([group]);
    }
}
