//! Work on slices and ranges over a number of threads, the results in order.

use std::ops::Range;

/// Items below which another thread costs more than it brings.
const LEAST_ITEMS: usize = 256;

/// Applies `work` to consecutive parts of `items`, one part a thread, and joins the results in order.
pub(crate) fn in_parts<T, R, E>(
    threads: usize,
    items: &[T],
    work: impl Fn(&[T]) -> Result<Vec<R>, E> + Sync,
) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
{
    let parts = threads.clamp(1, items.len().div_ceil(LEAST_ITEMS).max(1));
    if parts == 1 {
        return work(items);
    }
    let work = &work;
    let results: Vec<_> = std::thread::scope(|scope| {
        let spawn = |part| scope.spawn(move || work(part));
        let running: Vec<_> = items.chunks(items.len().div_ceil(parts)).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().expect("a panic goes on in the caller")).collect()
    });
    let mut joined = Vec::with_capacity(items.len());
    for result in results {
        joined.extend(result?);
    }
    Ok(joined)
}

/// Applies `work` to consecutive ranges of `0..len` of at least `least` items, one range a thread; none for no item.
pub(crate) fn in_ranges<R: Send>(
    threads: usize,
    len: usize,
    least: usize,
    work: impl Fn(Range<usize>) -> R + Sync,
) -> Vec<R> {
    let parts = threads.clamp(1, len.div_ceil(least).max(1));
    let each = len.div_ceil(parts).max(1);
    let range = |begin: usize| begin..len.min(begin + each);
    if parts == 1 {
        return (0..len).step_by(each).map(|begin| work(range(begin))).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let spawn = |begin| scope.spawn(move || work(range(begin)));
        let running: Vec<_> = (0..len).step_by(each).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().expect("a panic goes on in the caller")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_is_passed_on() {
        let items: Vec<u32> = (0..5_000).collect();
        for threads in [0, 1, 3, 64] {
            let double = |part: &[u32]| Ok::<_, ()>(part.iter().map(|x| 2 * x).collect());
            let doubled = in_parts(threads, &items, double).unwrap();
            assert!(doubled.iter().zip(&items).all(|(d, x)| *d == 2 * x) && doubled.len() == items.len());
            let fail = |part: &[u32]| if part.contains(&4_999) { Err(7) } else { Ok(part.to_vec()) };
            assert_eq!(in_parts(threads, &items, fail), Err(7));
        }
        assert_eq!(in_parts(4, &[] as &[u32], |_| Ok::<Vec<u8>, ()>(vec![])), Ok(vec![]));
    }

    #[test]
    fn ranges_come_in_order_and_cover_everything_once() {
        for (threads, len, least) in
            [(0, 10, 1), (3, 10, 1), (64, 10, 4), (2, 0, 5), (3, 4, 1), (5, 1_000, 7)]
        {
            let ranges = in_ranges(threads, len, least, |range| range);
            assert!(ranges.iter().cloned().flatten().eq(0..len), "{ranges:?}");
            assert!(ranges.len() <= threads.max(1));
        }
    }
}
