//! Multiplication by secret scalars, in constant time.

use super::point::{Cached, Completed, Extended, Group};
use super::scalar::{DIGITS, Digit, Recoded};
use super::tables::{BaseTable, Window};

/// Each lane's point times its scalar of so many digits, by a fixed window of four bits: 248 doublings and 62
/// additions for all [`DIGITS`], the highest of which begins the sum.
///
/// N groups go together: one fills the multiplier while another waits for its carries.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply<const N: usize>(
    points: [&Group; N],
    scalars: [&Recoded; N],
    digits: usize,
    windows: &mut [Window; N],
) -> Extended<N> {
    Window::fill(windows, &Extended::load(points));
    let digit = Recoded::digit(scalars, digits - 1);
    let mut sum = Completed::signed(&select(windows, &digit), digit.negative);
    for position in (0..digits - 1).rev() {
        for _ in 0..4 {
            sum = sum.projective().double();
        }
        let digit = Recoded::digit(scalars, position);
        let multiple = select(windows, &digit);
        sum = sum.summand().add_or_subtract(&multiple, digit.negative);
    }
    sum.extended()
}

/// The sum of several groups' points, each lane's point times its scalar: the doublings are shared, and each term
/// adds 63 additions. There are as many scalars and windows as points.
#[target_feature(enable = "avx512ifma")]
pub(super) fn multiply_sum(points: &[&Group], scalars: &[Recoded], windows: &mut [Window]) -> Group {
    for (point, window) in points.iter().zip(&mut *windows) {
        Window::fill(std::array::from_mut(window), &Extended::load([point]));
    }
    let mut sum = Completed::identity();
    for position in (0..DIGITS).rev() {
        if position < DIGITS - 1 {
            for _ in 0..4 {
                sum = sum.projective().double();
            }
        }
        for (scalar, window) in scalars.iter().zip(&*windows) {
            let digit = Recoded::digit([scalar], position);
            let multiple = window.select(&digit.magnitude);
            sum = sum.summand().add_or_subtract(&multiple, digit.negative);
        }
    }
    let [group] = sum.extended().store();
    group
}

/// Each group's multiple, from its own table.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn select<const N: usize>(windows: &[Window; N], digit: &Digit<N>) -> Cached<N> {
    let mut multiples = Cached::identity();
    for (n, window) in windows.iter().enumerate() {
        multiples.set(n, &window.select(&[digit.magnitude[n]]));
    }
    multiples
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
