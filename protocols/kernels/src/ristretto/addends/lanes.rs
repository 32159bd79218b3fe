//! Eight lanes: four pairs at a time, each from its own stretch of the order.
//!
//! The order is cut into as many stretches of one length as there are pairs in the lanes. Every step adds one pair to
//! each stretch's sums, which stay in registers or in the nearest cache; where a run ends, its sums are put down and
//! that stretch begins anew with the identity. A run that is cut by a stretch's end leaves several sums, which the
//! caller adds. So all lanes are at work whatever the sizes of runs, and no operand has to be turned from rows into
//! lanes: a pair's limbs stand side by side, and a load brings both points of a pair.

use std::arch::x86_64::*;

use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

use super::super::backend::Ifma;
use super::super::batch::{Batch, with_ifma};
use super::super::constants::{D2, ONE};
use super::super::field::{Element, LANES, LIMBS, Stored};
use super::super::point::{Affine, Completed, Group};

/// Groups of lanes that go together: one fills the multiplier while another waits for its carries.
const WIDE: usize = 2;
/// Pairs in the lanes of one group.
const PAIRS: usize = LANES / 2;
/// Stretches that an order is cut into.
const STRETCHES: usize = WIDE * PAIRS;
/// Groups that share an inversion.
const SHARED: usize = 64;
/// Steps from the fetch of a pair into the cache to its addition.
const AHEAD: usize = 4;

/// A pair: y + x, y − x and 2·D·xy of both points, limb by limb, the points side by side; four lines of cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Row([Limb; 16]);

/// A limb of both points.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Limb([u64; 2]);

/// Pairs at rest, followed by one of identities.
#[derive(Clone)]
pub(super) struct Rows {
    rows: Vec<Row>,
    ifma: Ifma,
}

/// Sums of runs, some of them in several parts.
pub(super) struct Sums {
    /// First points and second points.
    pub(super) points: [Batch; 2],
    /// The run of each.
    pub(super) runs: Vec<u32>,
}

/// Where a sum is to be put down.
struct Cut {
    /// After so many steps,
    step: usize,
    /// in which stretch,
    stretch: usize,
    /// and of which run.
    run: u32,
}

impl Rows {
    pub(super) fn new(first: &Batch, second: &Batch) -> Self {
        let (ifma, len, first, second) = (first.ifma(), first.len(), first.groups(), second.groups());
        let mut rows = with_ifma!(ifma, prepare(first, second));
        rows.truncate(len);
        rows.push(Row::IDENTITY);
        Self { rows, ifma }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len() - 1
    }

    /// The sums of all runs that are not empty.
    pub(super) fn sum_runs(&self, order: &[u32], ends: &[u32]) -> Sums {
        let cuts = cuts(order.len(), ends);
        let (rows, at) = (&self.rows[..], &cuts[..]);
        let [first, second] = with_ifma!(self.ifma, sum_cuts(rows, order, at));
        let batch = |groups| Batch::from_groups(self.ifma, groups, cuts.len());
        Sums { points: [batch(first), batch(second)], runs: cuts.iter().map(|cut| cut.run).collect() }
    }
}

impl Zeroize for Rows {
    fn zeroize(&mut self) {
        self.rows.fill(Row::IDENTITY);
        optimization_barrier(&self.rows[..]);
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Rows {}

impl Row {
    const IDENTITY: Self = {
        let mut row = [Limb([0; 2]); 16];
        (row[0], row[LIMBS]) = (Limb([1; 2]), Limb([1; 2]));
        Self(row)
    };
}

/// Steps of each stretch of an order.
fn steps(len: usize) -> usize {
    len.div_ceil(STRETCHES)
}

/// The ends of runs and of stretches, by step.
fn cuts(len: usize, ends: &[u32]) -> Vec<Cut> {
    let steps = steps(len);
    let mut cuts = Vec::with_capacity(ends.len() + STRETCHES);
    let mut at = 0;
    for (run, &end) in (0..).zip(ends) {
        while at < end as usize {
            let stretch = at / steps;
            at = (end as usize).min((stretch + 1) * steps);
            cuts.push(Cut { step: at - stretch * steps, stretch, run });
        }
    }
    cuts.sort_by_key(|cut| cut.step);
    cuts
}

/// Both points' sums at each cut, in the order of cuts.
#[target_feature(enable = "avx512ifma")]
fn sum_cuts(rows: &[Row], order: &[u32], cuts: &[Cut]) -> [Vec<Group>; 2] {
    let mut sums = [0, 1].map(|_| vec![Group::IDENTITY; cuts.len().div_ceil(LANES)]);
    let mut sum = Completed::<WIDE>::identity();
    let (mut at, mut done) = (0, 0);
    for cuts in cuts.chunk_by(|a, b| a.step == b.step) {
        for step in at..cuts[0].step {
            sum = sum.summand().add_affine(&addends(rows, order, step));
        }
        at = cuts[0].step;
        let groups = sum.extended().store();
        let mut masks = [0; WIDE];
        for cut in cuts {
            let (n, lane) = (cut.stretch / PAIRS, 2 * (cut.stretch % PAIRS));
            masks[n] |= 3 << lane;
            for (half, sums) in sums.iter_mut().enumerate() {
                sums[done / LANES].copy_lane(done % LANES, &groups[n], lane + half);
            }
            done += 1;
        }
        sum = sum.cleared(masks);
    }
    sums
}

/// The next pair of each stretch; identities behind the order's end.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn addends(rows: &[Row], order: &[u32], step: usize) -> Affine<WIDE> {
    let steps = steps(order.len());
    let row = |stretch: usize, step: usize| {
        let pair = order.get(stretch * steps + step).map_or(rows.len() - 1, |&pair| pair as usize);
        &rows[pair]
    };
    (0..STRETCHES).for_each(|stretch| prefetch(row(stretch, step + AHEAD)));
    let identity = Element::splat(&[0; LIMBS]);
    let mut addends = Affine { plus: identity, minus: identity, td2: identity };
    for n in 0..WIDE {
        let rows = std::array::from_fn(|unit| row(n * PAIRS + unit, step));
        for k in 0..LIMBS {
            addends.plus.0[n][k] = gather(rows, k);
            addends.minus.0[n][k] = gather(rows, LIMBS + k);
            addends.td2.0[n][k] = gather(rows, 2 * LIMBS + k);
        }
    }
    addends
}

/// One limb of four pairs.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn gather(rows: [&Row; PAIRS], limb: usize) -> __m512i {
    let [a, b, c, d] = rows.map(|row| row.0[limb].load());
    let vector = _mm512_castsi128_si512(a);
    let vector = _mm512_inserti32x4::<1>(vector, b);
    let vector = _mm512_inserti32x4::<2>(vector, c);
    _mm512_inserti32x4::<3>(vector, d)
}

impl Limb {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn load(&self) -> __m128i {
        // SAFETY: a `Limb` is 16 bytes, aligned to 16, and any bits are a vector.
        unsafe { _mm_load_si128(std::ptr::from_ref(self).cast()) }
    }
}

/// Brings a row into the nearest cache.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn prefetch(row: &Row) {
    for line in row.0.chunks(4) {
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast());
    }
}

/// Both points of each pair with Z = 1; [`SHARED`] groups share an inversion.
#[target_feature(enable = "avx512ifma")]
fn prepare(first: &[Group], second: &[Group]) -> Vec<Row> {
    let mut rows = Vec::with_capacity(first.len() * LANES + 1);
    for (first, second) in first.chunks(SHARED).zip(second.chunks(SHARED)) {
        let mut product = Element::<2>::splat(&ONE);
        let mut before = Vec::with_capacity(first.len());
        for (a, b) in first.iter().zip(second) {
            before.push(product);
            product = product.mul(&Element::load([&a.z, &b.z]));
        }
        let mut inverse = product.inverse();
        let begin = rows.len();
        rows.resize(begin + first.len() * LANES, Row::IDENTITY);
        for (i, (a, b)) in first.iter().zip(second).enumerate().rev() {
            let affine = affine([a, b], &inverse.mul(&before[i]));
            write_rows(&affine, &mut rows[begin + i * LANES..][..LANES]);
            inverse = inverse.mul(&Element::load([&a.z, &b.z]));
        }
    }
    rows
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn affine(groups: [&Group; 2], z_inverse: &Element<2>) -> Affine<2> {
    let coordinate = |of: fn(&Group) -> &Stored| Element::load(groups.map(of)).mul(z_inverse);
    let (x, y, t) = (coordinate(|g| &g.x), coordinate(|g| &g.y), coordinate(|g| &g.t));
    Affine { plus: y.plus(x), minus: y.minus(x), td2: t.mul(&Element::splat(&D2)) }
}

/// From lanes to rows.
#[target_feature(enable = "avx512ifma")]
fn write_rows(pairs: &Affine<2>, rows: &mut [Row]) {
    for (nth, element) in [pairs.plus, pairs.minus, pairs.td2].into_iter().enumerate() {
        let [mut first, mut second] = [Group::ZERO.x; 2];
        element.store([&mut first, &mut second]);
        for (lane, row) in rows.iter_mut().enumerate() {
            for k in 0..LIMBS {
                row.0[nth * LIMBS + k] = Limb([first[k].0[lane], second[k].0[lane]]);
            }
        }
    }
}
