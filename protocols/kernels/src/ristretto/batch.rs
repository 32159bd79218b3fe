//! Any number of points in groups of eight: the border to the functions that need AVX-512 IFMA.
//!
//! Lanes beyond the last point hold points as well, so that they need no special case; what they hold is
//! never read.

use curve25519_dalek::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing, optimization_barrier};

use super::backend::Ifma;
use super::field::{LANES, LIMBS, Lanes, Stored, ZERO};
use super::point::{Extended, Group};
use super::scalar::{DIGITS, Recoded, digits_of};
use super::tables::{BaseTable, Window};
use super::{decode, encode, hash, multiply};

/// Groups that a square root works on at once: a chain of squarings waits for each one's carries, and four
/// chains keep the multiplier busy meanwhile.
const WIDE: usize = 4;
/// Groups that a multiplication works on at once, for the same reason.
pub(super) const PAIR: usize = 2;

/// Calls a function that needs AVX-512 IFMA. The arguments are evaluated outside of the unsafe block.
macro_rules! with_ifma {
    ($token:expr, $function:ident($($argument:ident),*)) => {{
        let Ifma { .. } = $token;
        // SAFETY: the function is unsafe for its target features alone, and an `Ifma` exists only where they
        // were detected.
        unsafe { $function($($argument),*) }
    }};
}

pub(super) use with_ifma;

/// Points in groups of eight, wiped when dropped.
#[derive(Clone)]
pub(super) struct Batch {
    groups: Vec<Group>,
    len: usize,
    ifma: Ifma,
}

impl Batch {
    /// The points of canonical encodings, or the index of the first string that is none.
    pub(super) fn decode(ifma: Ifma, encodings: &[[u8; 32]]) -> Result<Self, usize> {
        let groups = with_ifma!(ifma, decode_all(encodings))?;
        Ok(Self { groups, len: encodings.len(), ifma })
    }

    pub(super) fn from_uniform(ifma: Ifma, strings: &[[u8; 64]]) -> Self {
        let groups = with_ifma!(ifma, hash_all(strings));
        Self { groups, len: strings.len(), ifma }
    }

    pub(super) fn multiply_base(ifma: Ifma, scalars: &[Scalar]) -> Self {
        let groups = with_ifma!(ifma, multiply_base_all(scalars));
        Self { groups, len: scalars.len(), ifma }
    }

    /// Each scalar times the point that the table was made of.
    pub(super) fn multiply_fixed(ifma: Ifma, table: &BaseTable, scalars: &[Scalar]) -> Self {
        let groups = with_ifma!(ifma, multiply_fixed_all(table, scalars));
        Self { groups, len: scalars.len(), ifma }
    }

    /// The table of the first point's multiples.
    pub(super) fn fixed_table(&self) -> BaseTable {
        let first = self.gather([Some(0); LANES].into_iter());
        let group = &first.groups[0];
        with_ifma!(self.ifma, fixed_table(group))
    }

    /// Points in groups, of which the last may have lanes to spare.
    pub(super) fn from_groups(ifma: Ifma, groups: Vec<Group>, len: usize) -> Self {
        debug_assert_eq!(groups.len(), len.div_ceil(LANES));
        Self { groups, len, ifma }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn ifma(&self) -> Ifma {
        self.ifma
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
        use multiply::multiply_sum;
        let mut groups = Vec::with_capacity(lanes.len().div_ceil(LANES));
        let mut windows = Vec::new();
        for lanes in lanes.chunks(LANES) {
            let depth = lanes.iter().map(|terms| terms.len()).max().unwrap_or_default();
            windows.resize_with(depth.max(windows.len()), Window::new);
            let term = |nth: usize| {
                let indices = lanes.iter().map(|terms| terms.get(nth).copied());
                let scalar = |index: Option<usize>| index.map_or(Scalar::ZERO, |index| scalars[index]);
                let factors = Zeroizing::new(indices.clone().map(scalar).collect::<Vec<_>>());
                (self.gather(indices), Recoded::new(&factors))
            };
            let (points, factors): (Vec<_>, Vec<_>) = (0..depth).map(term).unzip();
            let points: Vec<_> = points.iter().map(|points| &points.groups[0]).collect();
            let (points, factors, windows) = (&points[..], &factors[..], &mut windows[..depth]);
            groups.push(with_ifma!(self.ifma, multiply_sum(points, factors, windows)));
        }
        Self { groups, len: lanes.len(), ifma: self.ifma }
    }

    fn multiply_groups(&mut self, digits: usize, scalars: impl Fn(usize) -> Recoded) {
        let groups = &mut self.groups[..];
        with_ifma!(self.ifma, multiply_all(groups, digits, scalars));
    }

    pub(super) fn add(&mut self, other: &Self) {
        let (groups, others) = (&mut self.groups[..], &other.groups[..]);
        with_ifma!(self.ifma, add_all(groups, others));
    }

    pub(super) fn double(&mut self) {
        let groups = &mut self.groups[..];
        with_ifma!(self.ifma, double_all(groups));
    }

    pub(super) fn negate(&mut self) {
        let groups = &mut self.groups[..];
        with_ifma!(self.ifma, negate_all(groups));
    }

    pub(super) fn encode(&self) -> Vec<[u8; 32]> {
        let mut encodings = vec![[0; 32]; self.len];
        let (groups, into) = (&self.groups[..], &mut encodings[..]);
        with_ifma!(self.ifma, encode_all(groups, into));
        encodings
    }

    /// The encodings of the doubles of all points.
    pub(super) fn encode_doubled(&self) -> Vec<[u8; 32]> {
        use encode::encode_doubled;
        let mut encodings = vec![[0; 32]; self.len];
        let (groups, into) = (&self.groups[..], &mut encodings[..]);
        with_ifma!(self.ifma, encode_doubled(groups, into));
        encodings
    }

    /// The points of these indices; the identity for `None`.
    pub(super) fn gather(&self, indices: impl ExactSizeIterator<Item = Option<usize>>) -> Self {
        let len = indices.len();
        let mut groups = vec![Group::IDENTITY; len.div_ceil(LANES)];
        for (to, from) in indices.enumerate() {
            if let Some(from) = from {
                assert!(from < self.len, "point {from} of {}", self.len);
                groups[to / LANES].copy_lane(to % LANES, &self.groups[from / LANES], from % LANES);
            }
        }
        Self { groups, len, ifma: self.ifma }
    }

    /// These points, and then those.
    pub(super) fn append(&mut self, other: &Self) {
        let len = self.len + other.len;
        self.make_room(len.div_ceil(LANES));
        self.groups.resize(len.div_ceil(LANES), Group::IDENTITY);
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
        self.groups.fill(Group::IDENTITY);
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
    pub(super) const IDENTITY: Self = Self { y: Self::ONE, z: Self::ONE, ..Self::ZERO };
    const ONE: Stored = [Lanes([1; LANES]), ZERO, ZERO, ZERO, ZERO];

    /// The point in one lane becomes another group's point.
    pub(super) fn copy_lane(&mut self, to: usize, other: &Self, from: usize) {
        for k in 0..LIMBS {
            self.x[k].0[to] = other.x[k].0[from];
            self.y[k].0[to] = other.y[k].0[from];
            self.z[k].0[to] = other.z[k].0[from];
            self.t[k].0[to] = other.t[k].0[from];
        }
    }
}

#[target_feature(enable = "avx512ifma")]
fn decode_all(encodings: &[[u8; 32]]) -> Result<Vec<Group>, usize> {
    let mut groups = Vec::with_capacity(encodings.len().div_ceil(LANES));
    for (i, encodings) in encodings.chunks(WIDE * LANES).enumerate() {
        let invalid = match encodings.len().div_ceil(LANES) {
            1 => decode_onto::<1>(encodings, &mut groups),
            2 => decode_onto::<2>(encodings, &mut groups),
            3 => decode_onto::<3>(encodings, &mut groups),
            _ => decode_onto::<WIDE>(encodings, &mut groups),
        };
        if let Some(lane) = invalid {
            return Err(i * WIDE * LANES + lane);
        }
    }
    Ok(groups)
}

/// Appends N groups; or returns the first lane that is invalid.
#[target_feature(enable = "avx512ifma")]
fn decode_onto<const N: usize>(encodings: &[[u8; 32]], groups: &mut Vec<Group>) -> Option<usize> {
    let (points, valid) = decode::decode::<N>(encodings);
    groups.extend_from_slice(&points.store());
    (0..N * LANES).find(|lane| valid[lane / LANES] >> (lane % LANES) & 1 == 0)
}

#[target_feature(enable = "avx512ifma")]
fn hash_all(strings: &[[u8; 64]]) -> Vec<Group> {
    let mut groups = Vec::with_capacity(strings.len().div_ceil(LANES));
    for strings in strings.chunks(WIDE / 2 * LANES) {
        if strings.len() > LANES {
            hash::from_uniform::<WIDE>(strings, &mut groups);
        } else {
            hash::from_uniform::<2>(strings, &mut groups);
        }
    }
    groups
}

#[target_feature(enable = "avx512ifma")]
fn multiply_all(groups: &mut [Group], digits: usize, scalars: impl Fn(usize) -> Recoded) {
    let mut windows = [Window::new(), Window::new()];
    for (i, pair) in groups.chunks_mut(PAIR).enumerate() {
        let scalars: Vec<_> = (0..pair.len()).map(|n| scalars(PAIR * i + n)).collect();
        multiply::multiply(pair, &scalars, digits, &mut windows);
    }
}

#[target_feature(enable = "avx512ifma")]
fn multiply_base_all(scalars: &[Scalar]) -> Vec<Group> {
    multiply_fixed_all(BaseTable::shared(), scalars)
}

#[target_feature(enable = "avx512ifma")]
fn multiply_fixed_all(table: &BaseTable, scalars: &[Scalar]) -> Vec<Group> {
    let mut groups = Vec::with_capacity(scalars.len().div_ceil(LANES));
    for scalars in scalars.chunks(PAIR * LANES) {
        if scalars.len() > LANES {
            let (left, right) = scalars.split_at(LANES);
            let recoded = [Recoded::new(left), Recoded::new(right)];
            groups.extend_from_slice(&multiply::multiply_base(table, recoded.each_ref()).store());
        } else {
            groups.extend_from_slice(&multiply::multiply_base(table, [&Recoded::new(scalars)]).store());
        }
    }
    groups
}

/// The table of the point that stands in all lanes.
#[target_feature(enable = "avx512ifma")]
fn fixed_table(group: &Group) -> BaseTable {
    BaseTable::compute(&Extended::load([group]))
}

#[target_feature(enable = "avx512ifma")]
fn add_all(groups: &mut [Group], others: &[Group]) {
    for (group, other) in groups.iter_mut().zip(others) {
        let (left, right) = (Extended::load([&*group]), Extended::load([other]));
        [*group] = left.summand().add(&right.cached()).extended().store();
    }
}

#[target_feature(enable = "avx512ifma")]
fn double_all(groups: &mut [Group]) {
    for group in groups {
        [*group] = Extended::load([&*group]).projective().double().extended().store();
    }
}

#[target_feature(enable = "avx512ifma")]
fn negate_all(groups: &mut [Group]) {
    for group in groups {
        [*group] = Extended::load([&*group]).negated().store();
    }
}

#[target_feature(enable = "avx512ifma")]
fn encode_all(groups: &[Group], encodings: &mut [[u8; 32]]) {
    for (groups, encodings) in groups.chunks(WIDE).zip(encodings.chunks_mut(WIDE * LANES)) {
        match groups {
            [a, b, c, d] => encode::encode([a, b, c, d], encodings),
            [a, b, c] => encode::encode([a, b, c], encodings),
            [a, b] => encode::encode([a, b], encodings),
            groups => groups.iter().for_each(|group| encode::encode([group], encodings)),
        }
    }
}
