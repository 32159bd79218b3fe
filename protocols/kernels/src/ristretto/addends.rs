//! Sums over many runs of pairs of points that are added again and again, such as ciphertexts by bin.

use curve25519_dalek::RistrettoPoint;
use zeroize::ZeroizeOnDrop;

use super::{Inner, Points};

#[cfg(target_arch = "x86_64")]
mod rows;

/// Pairs of points, made ready to be added: an addition then takes 7 multiplications in the field instead of 9, and its
/// operands stand side by side in memory. 256 bytes a pair in the lanes; wiped when dropped.
#[derive(Clone)]
pub struct Addends(Pairs);

#[derive(Clone)]
enum Pairs {
    Portable(Vec<[RistrettoPoint; 2]>),
    #[cfg(target_arch = "x86_64")]
    Lanes(rows::Rows),
}

impl Addends {
    /// The pairs of points at the same place, on the backend of the first.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn new(first: &Points, second: &Points) -> Self {
        assert_eq!(first.len(), second.len(), "one second point for each first");
        Self(match (&first.0, &second.0) {
            (Inner::Portable(a), Inner::Portable(b)) => {
                Pairs::Portable(a.iter().zip(b).map(|(a, b)| [*a, *b]).collect())
            }
            #[cfg(target_arch = "x86_64")]
            (Inner::Lanes(a), Inner::Lanes(b)) if a.set() == b.set() => Pairs::Lanes(rows::Rows::new(a, b)),
            #[cfg(target_arch = "x86_64")]
            _ => return Self::new(first, &second.moved_to(first.backend())),
        })
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Pairs::Portable(pairs) => pairs.len(),
            #[cfg(target_arch = "x86_64")]
            Pairs::Lanes(rows) => rows.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For each run of `order`, the sums of the first and of the second points of the pairs that it names; the identity
    /// for an empty run. Run i ends before `ends[i]` and begins where the one before it ends.
    ///
    /// Takes variable time in `order` and `ends`, which are public, but not in the points.
    ///
    /// # Panics
    /// When a pair is out of bounds, or `ends` does not ascend to the length of `order`.
    pub fn vartime_sum_runs(&self, order: &[u32], ends: &[u32]) -> [Points; 2] {
        assert!(order.iter().all(|&pair| (pair as usize) < self.len()), "a pair is not below {}", self.len());
        assert!(ends.is_sorted(), "runs end one after the other");
        assert_eq!(
            ends.last().map_or(0, |&end| end as usize),
            order.len(),
            "the last run ends with the order"
        );
        match &self.0 {
            Pairs::Portable(pairs) => sum_runs(pairs, order, ends),
            #[cfg(target_arch = "x86_64")]
            Pairs::Lanes(rows) => {
                let sums = rows.sum_runs(order, ends);
                sums.points
                    .map(|batch| Points(Inner::Lanes(batch)).vartime_accumulate(&sums.runs, ends.len()))
            }
        }
    }
}

fn sum_runs(pairs: &[[RistrettoPoint; 2]], order: &[u32], ends: &[u32]) -> [Points; 2] {
    let mut sums = [Vec::with_capacity(ends.len()), Vec::with_capacity(ends.len())];
    let mut begin = 0;
    for &end in ends {
        let run = &order[begin..end as usize];
        for (half, sums) in sums.iter_mut().enumerate() {
            sums.push(run.iter().map(|&pair| pairs[pair as usize][half]).sum());
        }
        begin = end as usize;
    }
    sums.map(|sums| Points(Inner::Portable(sums)))
}

impl Drop for Addends {
    fn drop(&mut self) {
        match &mut self.0 {
            Pairs::Portable(pairs) => pairs.iter_mut().flatten().for_each(zeroize::Zeroize::zeroize),
            #[cfg(target_arch = "x86_64")]
            Pairs::Lanes(_) => (),
        }
    }
}

impl ZeroizeOnDrop for Addends {}

impl std::fmt::Debug for Addends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Addends({})", self.len())
    }
}
