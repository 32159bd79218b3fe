//! Eight lanes: four pairs at a time, each from its own stretch of the order.
//!
//! The order is cut into as many stretches of one length as there are pairs in the lanes. Every step adds one pair to
//! each stretch's sums, which stay in registers or in the nearest cache; where a run ends, its sums are put down and
//! that stretch begins anew with the identity. A run that is cut by a stretch's end leaves several sums, which the
//! caller adds. So all lanes are at work whatever the sizes of runs, and no operand has to be turned from rows into
//! lanes: a pair's limbs stand side by side, and a load brings both points of a pair.

use zeroize::{Zeroize, ZeroizeOnDrop, optimization_barrier};

use super::super::backend::InstructionSet;
use super::super::batch::{Batch, with_lanes};
use super::super::constants::{D2, ONE, ZERO};
use super::super::field::Element;
use super::super::lanes::{LANES, Lanes, Pair, Stored, WORDS};
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

/// A pair: y + x, y − x and 2·D·xy of both points, word by word, the points side by side; four lines of cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Row([Pair; 16]);

/// Pairs at rest, followed by one of identities.
#[derive(Clone)]
pub(super) struct Rows {
    rows: Vec<Row>,
    set: InstructionSet,
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
        let (set, len, first, second) = (first.set(), first.len(), first.groups(), second.groups());
        let mut rows = vec![Row::ZERO; first.len() * LANES];
        let into = &mut rows[..];
        with_lanes!(set, LANES, prepare(first, second, into));
        rows.truncate(len);
        rows.push(Row::identity(set));
        Self { rows, set }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len() - 1
    }

    /// The sums of all runs that are not empty.
    pub(super) fn sum_runs(&self, order: &[u32], ends: &[u32]) -> Sums {
        let cuts = cuts(order.len(), ends);
        let (rows, at) = (&self.rows[..], &cuts[..]);
        let mut sums = [0, 1].map(|_| vec![Group::identity(self.set); cuts.len().div_ceil(LANES)]);
        let into = &mut sums;
        with_lanes!(self.set, LANES, sum_cuts(rows, order, at, into));
        let [first, second] = sums;
        let batch = |groups| Batch::from_groups(self.set, groups, cuts.len());
        Sums { points: [batch(first), batch(second)], runs: cuts.iter().map(|cut| cut.run).collect() }
    }
}

impl Zeroize for Rows {
    fn zeroize(&mut self) {
        self.rows.fill(Row::ZERO);
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
    const ZERO: Self = Self([Pair([0; 2]); 16]);

    fn identity(set: InstructionSet) -> Self {
        let (mut row, one) = (Self::ZERO, Pair([set.one(); 2]));
        (row.0[0], row.0[WORDS]) = (one, one);
        row
    }
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
#[inline(always)]
fn sum_cuts<L: Lanes>(lanes: L, rows: &[Row], order: &[u32], cuts: &[Cut], sums: &mut [Vec<Group>; 2]) {
    let mut sum = Completed::<L, WIDE>::identity(lanes);
    let (mut at, mut done) = (0, 0);
    for cuts in cuts.chunk_by(|a, b| a.step == b.step) {
        for step in at..cuts[0].step {
            sum = sum.summand().add_affine(&addends(lanes, rows, order, step));
        }
        at = cuts[0].step;
        let mut groups = [Group::ZERO; WIDE];
        sum.extended().store(groups.each_mut());
        let mut masks = [0; WIDE];
        for cut in cuts {
            let (n, lane) = (cut.stretch / PAIRS, 2 * (cut.stretch % PAIRS));
            masks[n] |= 3 << lane;
            if lanes.held().contains(&lane) {
                for (half, sums) in sums.iter_mut().enumerate() {
                    sums[done / LANES].copy_lane(done % LANES, &groups[n], lane + half);
                }
            }
            done += 1;
        }
        sum = sum.cleared(masks);
    }
}

/// The next pair of each stretch; identities behind the order's end.
#[inline(always)]
fn addends<L: Lanes>(lanes: L, rows: &[Row], order: &[u32], step: usize) -> Affine<L, WIDE> {
    let steps = steps(order.len());
    let row = |stretch: usize, step: usize| {
        let pair = order.get(stretch * steps + step).map_or(rows.len() - 1, |&pair| pair as usize);
        &rows[pair]
    };
    for stretch in 0..STRETCHES {
        row(stretch, step + AHEAD).0.iter().step_by(4).for_each(|line| lanes.prefetch(line));
    }
    let identity = Element::splat(lanes, &ZERO);
    let mut addends = Affine { plus: identity, minus: identity, td2: identity };
    for n in 0..WIDE {
        let rows = std::array::from_fn(|unit| row(n * PAIRS + unit, step));
        for k in 0..WORDS {
            addends.plus.words[n][k] = gather(lanes, rows, k);
            addends.minus.words[n][k] = gather(lanes, rows, WORDS + k);
            addends.td2.words[n][k] = gather(lanes, rows, 2 * WORDS + k);
        }
    }
    addends
}

/// One word of four pairs.
#[inline(always)]
fn gather<L: Lanes>(lanes: L, rows: [&Row; PAIRS], word: usize) -> L::Vector {
    lanes.gather([&rows[0].0[word], &rows[1].0[word], &rows[2].0[word], &rows[3].0[word]])
}

/// Both points of each pair with Z = 1; [`SHARED`] groups share an inversion.
#[inline(always)]
fn prepare<L: Lanes>(lanes: L, first: &[Group], second: &[Group], rows: &mut [Row]) {
    let rows = rows.chunks_mut(SHARED * LANES);
    for ((first, second), rows) in first.chunks(SHARED).zip(second.chunks(SHARED)).zip(rows) {
        let mut product = Element::<L, 2>::splat(lanes, &ONE);
        let mut before = Vec::with_capacity(first.len());
        for (a, b) in first.iter().zip(second) {
            before.push(product);
            product = product.mul(&Element::load(lanes, [&a.z, &b.z]));
        }
        let mut inverse = product.inverse();
        for (i, (a, b)) in first.iter().zip(second).enumerate().rev() {
            let affine = affine([a, b], &inverse.mul(&before[i]));
            write_rows(&affine, &mut rows[i * LANES..][..LANES]);
            inverse = inverse.mul(&Element::load(lanes, [&a.z, &b.z]));
        }
    }
}

#[inline(always)]
fn affine<L: Lanes>(groups: [&Group; 2], z_inverse: &Element<L, 2>) -> Affine<L, 2> {
    let load = |of: fn(&Group) -> &Stored| groups.map(of);
    let [x, y, t] = [load(|g| &g.x), load(|g| &g.y), load(|g| &g.t)];
    let (x, y, t) = (scaled(x, z_inverse), scaled(y, z_inverse), scaled(t, z_inverse));
    Affine { plus: y.plus(x), minus: y.minus(x), td2: t.mul_number(&D2) }
}

#[inline(always)]
fn scaled<L: Lanes>(stored: [&Stored; 2], factor: &Element<L, 2>) -> Element<L, 2> {
    Element::load(factor.lanes, stored).mul(factor)
}

/// From lanes to rows.
#[inline(always)]
fn write_rows<L: Lanes>(pairs: &Affine<L, 2>, rows: &mut [Row]) {
    for (nth, element) in [pairs.plus, pairs.minus, pairs.td2].into_iter().enumerate() {
        let [mut first, mut second] = [Group::ZERO.x; 2];
        element.store([&mut first, &mut second]);
        for lane in element.lanes.held() {
            for k in 0..WORDS {
                rows[lane].0[nth * WORDS + k] = Pair([first[k].0[lane], second[k].0[lane]]);
            }
        }
    }
}
