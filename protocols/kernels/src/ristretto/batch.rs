//! Any number of points in groups of eight: the border to the functions that need an instruction set.
//!
//! Lanes beyond the last point hold points as well, so that they need no special case; what they hold is
//! never read.

use std::sync::OnceLock;

use curve25519_dalek::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing, optimization_barrier};

use super::backend::InstructionSet;
use super::lanes::{LANES, Lanes, Row, Stored, WORDS, ZERO};
use super::point::{Extended, Group};
use super::scalar::{DIGITS, Recoded, digits_of};
use super::tables::{BaseTable, Window};
use super::{decode, encode, hash, multiply};

/// Groups that a square root works on at once: a chain of squarings waits for each one's carries, and four
/// chains keep the multiplier busy meanwhile.
const WIDE: usize = 4;
/// Groups that a multiplication works on at once, for the same reason.
pub(super) const PAIR: usize = 2;

/// Calls a generic function on as many lanes as are needed for so many points, which it may take several calls for, each
/// with a token of its own: results are what the function writes through its arguments.
macro_rules! with_lanes {
    ($set:expr, $points:expr, $function:ident($($argument:ident),*)) => {
        match $set {
            InstructionSet::Ifma(lanes) => lanes.outlined(
                #[inline(always)]
                || $function(lanes, $($argument),*),
            ),
            InstructionSet::Avx2(lanes) => {
                for lanes in lanes.needed($points) {
                    lanes.outlined(
                        #[inline(always)]
                        || $function(lanes, $($argument),*),
                    );
                }
            }
        }
    };
}

pub(super) use with_lanes;

/// Points in groups of eight, wiped when dropped.
#[derive(Clone)]
pub(super) struct Batch {
    groups: Vec<Group>,
    len: usize,
    set: InstructionSet,
}

impl Batch {
    /// Groups for so many points, to be filled.
    fn unfilled(set: InstructionSet, len: usize) -> Self {
        Self { groups: vec![Group::identity(set); len.div_ceil(LANES)], len, set }
    }

    /// The points of canonical encodings, or the index of the first string that is none.
    pub(super) fn decode(set: InstructionSet, encodings: &[[u8; 32]]) -> Result<Self, usize> {
        let mut batch = Self::unfilled(set, encodings.len());
        let (groups, mut invalid) = (&mut batch.groups[..], usize::MAX);
        let first = &mut invalid;
        with_lanes!(set, encodings.len(), decode_all(encodings, groups, first));
        if invalid == usize::MAX { Ok(batch) } else { Err(invalid) }
    }

    pub(super) fn from_uniform(set: InstructionSet, strings: &[[u8; 64]]) -> Self {
        let mut batch = Self::unfilled(set, strings.len());
        let groups = &mut batch.groups[..];
        with_lanes!(set, strings.len(), hash_all(strings, groups));
        batch
    }

    pub(super) fn multiply_base(set: InstructionSet, scalars: &[Scalar]) -> Self {
        Self::multiply_fixed(set, generator(set), scalars)
    }

    /// Each scalar times the point that the table was made of.
    pub(super) fn multiply_fixed(set: InstructionSet, table: &BaseTable, scalars: &[Scalar]) -> Self {
        let mut batch = Self::unfilled(set, scalars.len());
        let groups = &mut batch.groups[..];
        with_lanes!(set, scalars.len(), multiply_fixed_all(table, scalars, groups));
        batch
    }

    /// The table of the first point's multiples.
    pub(super) fn fixed_table(&self) -> BaseTable {
        let first = self.gather([Some(0); LANES].into_iter());
        let (group, mut table) = (&first.groups[0], BaseTable::empty());
        let into = &mut table;
        with_lanes!(self.set, LANES, fixed_table(group, into));
        table
    }

    /// Points in groups, of which the last may have lanes to spare.
    pub(super) fn from_groups(set: InstructionSet, groups: Vec<Group>, len: usize) -> Self {
        debug_assert_eq!(groups.len(), len.div_ceil(LANES));
        Self { groups, len, set }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn set(&self) -> InstructionSet {
        self.set
    }

    /// All points times one scalar.
    pub(super) fn multiply(&mut self, scalar: &Scalar) {
        let scalar = Recoded::broadcast(scalar);
        self.multiply_groups(DIGITS, |_| scalar.clone());
    }

    /// Each point times its scalar.
    pub(super) fn multiply_each(&mut self, scalars: &[Scalar]) {
        self.multiply_groups(DIGITS, |group| Recoded::new(lanes_of(scalars, group)));
    }

    /// Each point times its small integer.
    pub(super) fn multiply_small(&mut self, factors: &[i32]) {
        let digits = digits_of(factors);
        self.multiply_groups(digits, |group| Recoded::small(lanes_of(factors, group), digits));
    }

    /// The sum of each lane's terms, which are indices of points and of their scalars.
    pub(super) fn multiply_sum(&self, lanes: &[&[usize]], scalars: &[Scalar]) -> Self {
        let mut groups = Vec::with_capacity(lanes.len().div_ceil(LANES));
        let mut windows = Vec::new();
        for lanes in lanes.chunks(LANES) {
            let depths: Vec<_> = lanes.iter().map(|terms| terms.len()).collect();
            let depth = depths.iter().copied().max().unwrap_or_default();
            windows.resize_with(depth.max(windows.len()), Window::new);
            let term = |nth: usize| {
                let indices = lanes.iter().map(|terms| terms.get(nth).copied());
                let scalar = |index: Option<usize>| index.map_or(Scalar::ZERO, |index| scalars[index]);
                let factors = Zeroizing::new(indices.clone().map(scalar).collect::<Vec<_>>());
                (self.gather(indices), Recoded::new(&factors))
            };
            let (points, factors): (Vec<_>, Vec<_>) = (0..depth).map(term).unzip();
            let points: Vec<_> = points.iter().map(|points| &points.groups[0]).collect();
            let (depths, points, factors) = (&depths[..], &points[..], &factors[..]);
            let (mut sum, set, windows) = (Group::identity(self.set), self.set, &mut windows[..]);
            let into = &mut sum;
            with_lanes!(set, lanes.len(), multiply_sum(depths, points, factors, windows, into));
            groups.push(sum);
        }
        Self { groups, len: lanes.len(), set: self.set }
    }

    fn multiply_groups(&mut self, digits: usize, scalars: impl Fn(usize) -> Recoded) {
        let (groups, len, scalars) = (&mut self.groups[..], self.len, &scalars);
        with_lanes!(self.set, len, multiply_all(groups, len, digits, scalars));
    }

    pub(super) fn add(&mut self, other: &Self) {
        let (groups, others) = (&mut self.groups[..], &other.groups[..]);
        with_lanes!(self.set, self.len, add_all(groups, others));
    }

    pub(super) fn double(&mut self) {
        let groups = &mut self.groups[..];
        with_lanes!(self.set, self.len, double_all(groups));
    }

    pub(super) fn negate(&mut self) {
        let groups = &mut self.groups[..];
        with_lanes!(self.set, self.len, negate_all(groups));
    }

    pub(super) fn encode(&self) -> Vec<[u8; 32]> {
        let mut encodings = vec![[0; 32]; self.len];
        let (groups, into) = (&self.groups[..], &mut encodings[..]);
        with_lanes!(self.set, self.len, encode_all(groups, into));
        encodings
    }

    /// The encodings of the doubles of all points.
    pub(super) fn encode_doubled(&self) -> Vec<[u8; 32]> {
        use encode::encode_doubled;
        let mut encodings = vec![[0; 32]; self.len];
        let (groups, into) = (&self.groups[..], &mut encodings[..]);
        with_lanes!(self.set, self.len, encode_doubled(groups, into));
        encodings
    }

    /// The points of these indices; the identity for `None`.
    pub(super) fn gather(&self, indices: impl ExactSizeIterator<Item = Option<usize>>) -> Self {
        let len = indices.len();
        let mut groups = vec![Group::identity(self.set); len.div_ceil(LANES)];
        for (to, from) in indices.enumerate() {
            if let Some(from) = from {
                assert!(from < self.len, "point {from} of {}", self.len);
                groups[to / LANES].copy_lane(to % LANES, &self.groups[from / LANES], from % LANES);
            }
        }
        Self { groups, len, set: self.set }
    }

    /// These points, and then those.
    pub(super) fn append(&mut self, other: &Self) {
        let len = self.len + other.len;
        self.make_room(len.div_ceil(LANES));
        self.groups.resize(len.div_ceil(LANES), Group::identity(self.set));
        for (from, to) in (self.len..len).enumerate() {
            self.groups[to / LANES].copy_lane(to % LANES, &other.groups[from / LANES], from % LANES);
        }
        self.len = len;
    }
}

/// What belongs to one group's lanes.
fn lanes_of<T>(items: &[T], group: usize) -> &[T] {
    &items[group * LANES..][..LANES.min(items.len() - group * LANES)]
}

impl Batch {
    /// Makes the memory long enough; a vector that grows by itself leaves its old memory unwiped.
    fn make_room(&mut self, groups: usize) {
        if groups > self.groups.capacity() {
            let mut longer = Vec::with_capacity(groups.max(2 * self.groups.len()));
            longer.extend_from_slice(&self.groups);
            self.zeroize();
            self.groups = longer;
        }
    }
}

impl Zeroize for Batch {
    fn zeroize(&mut self) {
        self.groups.fill(Group::ZERO);
        optimization_barrier(&self.groups[..]);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Batch {}

impl Group {
    /// The identity in every lane.
    pub(super) fn identity(set: InstructionSet) -> Self {
        let mut one: Stored = [ZERO; WORDS];
        one[0] = Row([set.one(); LANES]);
        Self { y: one, z: one, ..Self::ZERO }
    }

    /// The point in one lane becomes another group's point.
    pub(super) fn copy_lane(&mut self, to: usize, other: &Self, from: usize) {
        for k in 0..WORDS {
            self.x[k].0[to] = other.x[k].0[from];
            self.y[k].0[to] = other.y[k].0[from];
            self.z[k].0[to] = other.z[k].0[from];
            self.t[k].0[to] = other.t[k].0[from];
        }
    }
}

/// The generator's table, which the first call computes.
fn generator(set: InstructionSet) -> &'static BaseTable {
    static TABLES: [OnceLock<BaseTable>; 2] = [const { OnceLock::new() }; 2];
    let table = match set {
        InstructionSet::Ifma(_) => &TABLES[0],
        InstructionSet::Avx2(_) => &TABLES[1],
    };
    table.get_or_init(|| {
        let generator = Batch::decode(set, &[decode::BASE]);
        generator.expect("the generator's encoding is canonical").fixed_table()
    })
}

/// Also lowers `first` to the index of the first string that is no encoding; what comes after it may be left undone.
#[inline(always)]
fn decode_all(lanes: impl Lanes, encodings: &[[u8; 32]], groups: &mut [Group], first: &mut usize) {
    let (wide, rest) = groups.as_chunks_mut::<WIDE>();
    let (pairs, single) = rest.as_chunks_mut::<PAIR>();
    let mut at = 0;
    for groups in wide {
        decode_next(lanes, encodings, &mut at, groups, first);
    }
    for groups in pairs {
        decode_next(lanes, encodings, &mut at, groups, first);
    }
    for groups in single.as_chunks_mut::<1>().0 {
        decode_next(lanes, encodings, &mut at, groups, first);
    }
}

/// Decodes the strings from `at` on.
#[inline(always)]
fn decode_next<L: Lanes, const N: usize>(
    lanes: L,
    encodings: &[[u8; 32]],
    at: &mut usize,
    groups: &mut [Group; N],
    first: &mut usize,
) {
    if *at < *first {
        let encodings = &encodings[*at..encodings.len().min(*at + N * LANES)];
        let (points, valid) = decode::decode::<L, N>(lanes, encodings);
        points.store(groups.each_mut());
        let mut held = (0..N * LANES).filter(|lane| lanes.held().contains(&(lane % LANES)));
        let invalid = held.find(|lane| valid[lane / LANES] >> (lane % LANES) & 1 == 0);
        *first = invalid.map_or(*first, |lane| (*first).min(*at + lane));
    }
    *at += N * LANES;
}

#[inline(always)]
fn hash_all(lanes: impl Lanes, strings: &[[u8; 64]], groups: &mut [Group]) {
    for (strings, groups) in strings.chunks(WIDE / 2 * LANES).zip(groups.chunks_mut(WIDE / 2)) {
        if strings.len() > LANES {
            hash::from_uniform::<_, WIDE>(lanes, strings, groups);
        } else {
            hash::from_uniform::<_, 2>(lanes, strings, groups);
        }
    }
}

#[inline(always)]
fn multiply_all(
    lanes: impl Lanes,
    groups: &mut [Group],
    len: usize,
    digits: usize,
    scalars: &impl Fn(usize) -> Recoded,
) {
    let mut windows = [Window::new(), Window::new()];
    // The last group has no points in these lanes if there are too few.
    let needed = (len - lanes.held().start).div_ceil(LANES);
    for (i, pair) in groups[..needed].chunks_mut(PAIR).enumerate() {
        let scalars: Vec<_> = (0..pair.len()).map(|n| scalars(PAIR * i + n)).collect();
        multiply::multiply(lanes, pair, &scalars, digits, &mut windows);
    }
}

/// A group's sum, of as many terms as the fullest of these lanes has.
#[inline(always)]
fn multiply_sum(
    lanes: impl Lanes,
    depths: &[usize],
    points: &[&Group],
    scalars: &[Recoded],
    windows: &mut [Window],
    into: &mut Group,
) {
    let held = lanes.held();
    let depths = depths.iter().skip(held.start).take(held.len());
    let depth = depths.copied().max().unwrap_or_default();
    multiply::multiply_sum(lanes, &points[..depth], &scalars[..depth], &mut windows[..depth], into);
}

#[inline(always)]
fn multiply_fixed_all(lanes: impl Lanes, table: &BaseTable, scalars: &[Scalar], groups: &mut [Group]) {
    for (scalars, groups) in scalars.chunks(PAIR * LANES).zip(groups.chunks_mut(PAIR)) {
        let scalars: Vec<_> = scalars.chunks(LANES).map(Recoded::new).collect();
        multiply::multiply_base(lanes, table, &scalars, groups);
    }
}

/// The table of the point that stands in all lanes.
#[inline(always)]
fn fixed_table(lanes: impl Lanes, group: &Group, into: &mut BaseTable) {
    into.fill(&Extended::load(lanes, [group]));
}

#[inline(always)]
fn add_all(lanes: impl Lanes, groups: &mut [Group], others: &[Group]) {
    for (group, other) in groups.iter_mut().zip(others) {
        let (left, right) = (Extended::load(lanes, [&*group]), Extended::load(lanes, [other]));
        left.summand().add(&right.cached()).extended().store([group]);
    }
}

#[inline(always)]
fn double_all(lanes: impl Lanes, groups: &mut [Group]) {
    for group in groups {
        Extended::load(lanes, [&*group]).projective().double().extended().store([group]);
    }
}

#[inline(always)]
fn negate_all(lanes: impl Lanes, groups: &mut [Group]) {
    for group in groups {
        Extended::load(lanes, [&*group]).negated().store([group]);
    }
}

#[inline(always)]
fn encode_all(lanes: impl Lanes, groups: &[Group], encodings: &mut [[u8; 32]]) {
    let (wide, rest) = groups.as_chunks::<WIDE>();
    let (pairs, single) = rest.as_chunks::<PAIR>();
    let mut encodings = encodings.chunks_mut(LANES);
    for groups in wide {
        encode::encode(lanes, groups.each_ref(), &mut encodings);
    }
    for groups in pairs {
        encode::encode(lanes, groups.each_ref(), &mut encodings);
    }
    for groups in single.as_chunks::<1>().0 {
        encode::encode(lanes, groups.each_ref(), &mut encodings);
    }
}
