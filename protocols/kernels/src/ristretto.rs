//! ristretto255 (RFC 9496) for many points at a time: eight lanes of AVX-512 IFMA or of AVX2 with FMA, or `curve25519-dalek`.
//!
//! [`Points`] holds any number of elements. Where the processor has AVX-512 IFMA they stand in groups of
//! eight and every instruction works on eight of them; with AVX2 and FMA alone an instruction works on four, and the halves of a
//! group take turns. Elsewhere, and with `WINDVANE_KERNELS=portable` in the environment, `curve25519-dalek` works on one
//! after the other. All give the same bytes. All work is done in the caller's thread; `Points` may be sent to others.
//!
//! Points, their encodings and multiplications are written once, generic over the instruction set (`lanes`), which gives
//! words of eight lanes and the arithmetic of the field.
//!
//! # What is promised
//! - Values of points and scalars are secret: no branch and no address depends on them. A lookup of a multiple
//!   reads the whole table, or what it has for that digit's position, and permutations inside of registers pick
//!   the multiple from it. Public are: how many points there are, indices, bins, and which strings are encodings.
//! - Points, tables of multiples and recoded scalars are wiped when dropped. What the compiler spilled to the
//!   stack, and registers, are not; nor are encodings, which belong to the caller, and values on the way to an
//!   encoding, which tell no more than it does.
//! - Everything is complete: no point and no scalar needs care, neither the identity nor equal summands.
//!
//! # Elements of the field
//! There are two types:
//!
//! | type | is |
//! |---|---|
//! | `Element` | five words a lane, ready to be multiplied |
//! | `Columns` | a product, or a sum of products: words below 2⁶³, of which all bits count |
//!
//! Sums are taken of products, before they are carried. What words and columns hold, and why no bound is broken, stands on
//! the page of each instruction set (`lanes::ifma`, `lanes::avx2`). Debug
//! builds assert the bounds of elements at each multiplication, that no difference is negative, and that no column reaches
//! 2⁶³; the tests put the largest values there are through each of these.
//!
//! # Points
//! Extended twisted Edwards coordinates with the formulas of Hisil, Wong, Carter and Dawson (Asiacrypt 2008),
//! and 63 signed digits of four bits of ±k, whichever is at most (ℓ − 1)/2, with a table of eight multiples. Two groups
//! of eight are multiplied in turns, operation by operation with the same code, and four chains of squarings run side by
//! side in square roots, their products row by row in turns, since one alone would wait for its own carries. The
//! permutations of a lookup have one of the processor's ports to themselves and are spread among multiplications.
//!
//! Where the same points are added many times ([`Addends`]) they are brought to Z = 1 first, by shared inversions, and
//! stand as y + x, y − x and 2·D·xy: 7 multiplications an addition (section 3.1 with Z₂ = 1). 2·Z then takes the place
//! of the product 2·Z₁·Z₂, column by column below 2⁵³, so that no bound above changes. [`FixedBase`] has the
//! generator's table for any public point, and small integers ([`Points::mul_each_small`]) are multiplied like scalars,
//! with as many digits as they have.
//!
//! # How it is checked
//! Tests compare every operation of every backend that the processor has with dalek on 10,000 inputs, at edges, on RFC
//! 9496's vectors and for every length up to 40; `cargo run --release -p windvane-kernels --example compare` does it with
//! ten million. Where there is no AVX-512 IFMA, `--features emulated-ifma` runs the same tests with its instructions in
//! software.
//! Whether times depend on secrets is asked by `cargo run --release -p windvane-protocols --example dudect`.
//! Sanitizer and miri: see the crate's page.

use curve25519_dalek::{RistrettoPoint, Scalar};
use zeroize::{Zeroize as _, ZeroizeOnDrop};

mod accumulate;
mod addends;
mod backend;
#[cfg(target_arch = "x86_64")]
mod batch;
#[cfg(target_arch = "x86_64")]
mod constants;
#[cfg(target_arch = "x86_64")]
mod decode;
#[cfg(target_arch = "x86_64")]
mod encode;
#[cfg(target_arch = "x86_64")]
mod field;
mod fixed;
#[cfg(target_arch = "x86_64")]
mod hash;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod multiply;
#[cfg(target_arch = "x86_64")]
mod point;
mod portable;
#[cfg(target_arch = "x86_64")]
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sqrt;
mod sum;
#[cfg(target_arch = "x86_64")]
mod tables;
#[cfg(test)]
mod tests;

pub use addends::Addends;
pub use backend::{Backend, SWITCH};
pub use fixed::FixedBase;

use backend::Kind;
#[cfg(target_arch = "x86_64")]
use batch::Batch;

/// A string that is no canonical encoding, or encodes the identity where that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("string {index} is no canonical encoding of an acceptable element")]
pub struct InvalidEncoding {
    /// The position of the first such string.
    pub index: usize,
}

/// Elements of ristretto255, ready to be calculated with; wiped when dropped.
///
/// All that is secret is handled in constant time: values of points and scalars. Numbers of points, indices,
/// bins, and whether a string is an encoding, are public.
#[derive(Clone)]
pub struct Points(Inner);

#[derive(Clone)]
enum Inner {
    Portable(Vec<RistrettoPoint>),
    #[cfg(target_arch = "x86_64")]
    Lanes(Batch),
}

impl Points {
    /// Decode, RFC 9496 section 4.3.1, for each string.
    ///
    /// # Errors
    /// [`InvalidEncoding`] for the first string that is no canonical encoding. The identity has one: 32
    /// zeros.
    pub fn decode(encodings: &[[u8; 32]]) -> Result<Self, InvalidEncoding> {
        Self::decode_with(Backend::chosen(), encodings)
    }

    /// [`Self::decode`], which refuses the identity as well.
    ///
    /// # Errors
    /// [`InvalidEncoding`] for the first string that is 32 zeros or no canonical encoding.
    pub fn decode_nonidentity(encodings: &[[u8; 32]]) -> Result<Self, InvalidEncoding> {
        refuse_identity(encodings, Self::decode(encodings))
    }

    /// [`Self::decode`] on a backend of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_with(backend: Backend, encodings: &[[u8; 32]]) -> Result<Self, InvalidEncoding> {
        let points = match backend.0 {
            Kind::Portable => portable::decode(encodings).map(Inner::Portable),
            #[cfg(target_arch = "x86_64")]
            Kind::Lanes(set) => Batch::decode(set, encodings).map(Inner::Lanes),
        };
        points.map(Self).map_err(|index| InvalidEncoding { index })
    }

    /// The one-way map of 64 uniform bytes, RFC 9496 section 4.3.4, for each string.
    pub fn from_uniform(strings: &[[u8; 64]]) -> Self {
        Self::from_uniform_with(Backend::chosen(), strings)
    }

    /// [`Self::from_uniform`] on a backend of the caller's choice.
    pub fn from_uniform_with(backend: Backend, strings: &[[u8; 64]]) -> Self {
        Self(match backend.0 {
            Kind::Portable => Inner::Portable(portable::from_uniform(strings)),
            #[cfg(target_arch = "x86_64")]
            Kind::Lanes(set) => Inner::Lanes(Batch::from_uniform(set, strings)),
        })
    }

    /// Each secret scalar times the generator.
    pub fn mul_base(scalars: &[Scalar]) -> Self {
        Self::mul_base_with(Backend::chosen(), scalars)
    }

    /// [`Self::mul_base`] on a backend of the caller's choice.
    pub fn mul_base_with(backend: Backend, scalars: &[Scalar]) -> Self {
        Self(match backend.0 {
            Kind::Portable => Inner::Portable(portable::multiply_base(scalars)),
            #[cfg(target_arch = "x86_64")]
            Kind::Lanes(set) => Inner::Lanes(Batch::multiply_base(set, scalars)),
        })
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Inner::Portable(points) => points.len(),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.len(),
        }
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where these points are calculated with.
    pub fn backend(&self) -> Backend {
        Backend(match &self.0 {
            Inner::Portable(_) => Kind::Portable,
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => Kind::Lanes(batch.set()),
        })
    }

    /// All points times one secret scalar.
    #[must_use]
    pub fn mul(&self, scalar: &Scalar) -> Self {
        let mut product = self.clone();
        product.mul_assign(scalar);
        product
    }

    /// [`Self::mul`] in place.
    pub fn mul_assign(&mut self, scalar: &Scalar) {
        match &mut self.0 {
            Inner::Portable(points) => portable::multiply(points, scalar),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.multiply(scalar),
        }
    }

    /// Each point times its own secret scalar.
    ///
    /// # Panics
    /// When there are not as many scalars as points.
    #[must_use]
    pub fn mul_each(&self, scalars: &[Scalar]) -> Self {
        let mut product = self.clone();
        product.mul_each_assign(scalars);
        product
    }

    /// [`Self::mul_each`] in place.
    ///
    /// # Panics
    /// When there are not as many scalars as points.
    pub fn mul_each_assign(&mut self, scalars: &[Scalar]) {
        assert_eq!(self.len(), scalars.len(), "one scalar for each point");
        match &mut self.0 {
            Inner::Portable(points) => portable::multiply_each(points, scalars),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.multiply_each(scalars),
        }
    }

    /// Each point times its own small secret integer: four doublings and an addition for each digit of four bits that
    /// the largest has. Takes variable time in the number of those digits alone.
    ///
    /// # Panics
    /// When there are not as many factors as points.
    #[must_use]
    pub fn mul_each_small(&self, factors: &[i32]) -> Self {
        assert_eq!(self.len(), factors.len(), "one factor for each point");
        let mut product = self.clone();
        match &mut product.0 {
            Inner::Portable(points) => portable::multiply_small(points, factors),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.multiply_small(factors),
        }
        product
    }

    /// Each point plus the other point at its place.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add_assign(other);
        sum
    }

    /// [`Self::add`] in place.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add_assign(&mut self, other: &Self) {
        assert_eq!(self.len(), other.len(), "one summand for each point");
        match (&mut self.0, &other.0) {
            (Inner::Portable(points), Inner::Portable(others)) => portable::add(points, others),
            #[cfg(target_arch = "x86_64")]
            (Inner::Lanes(batch), Inner::Lanes(others)) if batch.set() == others.set() => batch.add(others),
            #[cfg(target_arch = "x86_64")]
            _ => self.add_assign(&other.moved_to(self.backend())),
        }
    }

    /// Each point minus the other point at its place.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }

    /// Each point negated.
    #[must_use]
    pub fn neg(&self) -> Self {
        let mut negated = self.clone();
        match &mut negated.0 {
            Inner::Portable(points) => portable::negate(points),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.negate(),
        }
        negated
    }

    /// Each point plus itself.
    #[must_use]
    pub fn double(&self) -> Self {
        let mut doubled = self.clone();
        match &mut doubled.0 {
            Inner::Portable(points) => portable::double(points),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.double(),
        }
        doubled
    }

    /// Encode, RFC 9496 section 4.3.2, for each point. A square root for each: where scalars can be halved
    /// beforehand, [`Self::encode_doubled`] is many times faster.
    pub fn encode(&self) -> Vec<[u8; 32]> {
        match &self.0 {
            Inner::Portable(points) => portable::encode(points),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.encode(),
        }
    }

    /// The encodings of the doubles of all points, which share their inversions and need no square root.
    pub fn encode_doubled(&self) -> Vec<[u8; 32]> {
        match &self.0 {
            Inner::Portable(points) => portable::encode_doubled(points),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => batch.encode_doubled(),
        }
    }

    /// The points at these places, in this order.
    ///
    /// # Panics
    /// When an index is out of bounds.
    #[must_use]
    pub fn gather(&self, indices: &[usize]) -> Self {
        self.gather_or_identity(indices.iter().copied().map(Some))
    }

    /// The points of a range.
    ///
    /// # Panics
    /// When the range is out of bounds.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        self.gather_or_identity(range.map(Some))
    }

    /// All points of all parts; none for no part.
    #[must_use]
    pub fn concat(parts: &[&Self]) -> Self {
        let Some((first, rest)) = parts.split_first() else { return Self(Inner::Portable(Vec::new())) };
        let mut all = (*first).clone();
        rest.iter().for_each(|part| all.append(part));
        all
    }

    /// These points, and then those.
    pub fn append(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Inner::Portable(points), Inner::Portable(others)) => portable::append(points, others),
            #[cfg(target_arch = "x86_64")]
            (Inner::Lanes(batch), Inner::Lanes(others)) if batch.set() == others.set() => {
                batch.append(others);
            }
            #[cfg(target_arch = "x86_64")]
            _ => self.append(&other.moved_to(self.backend())),
        }
    }

    fn gather_or_identity(&self, indices: impl ExactSizeIterator<Item = Option<usize>>) -> Self {
        Self(match &self.0 {
            Inner::Portable(points) => Inner::Portable(portable::gather(points, indices)),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(batch) => Inner::Lanes(batch.gather(indices)),
        })
    }

    /// The same points on another backend, by way of their encodings.
    #[cfg(target_arch = "x86_64")]
    fn moved_to(&self, backend: Backend) -> Self {
        Self::decode_with(backend, &self.encode()).expect("an encoding of a point decodes")
    }
}

impl Drop for Points {
    fn drop(&mut self) {
        match &mut self.0 {
            Inner::Portable(points) => points.zeroize(),
            #[cfg(target_arch = "x86_64")]
            Inner::Lanes(_) => (),
        }
    }
}

impl ZeroizeOnDrop for Points {}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Points({})", self.len())
    }
}

/// Points that one fused call holds at a time, so that they stay in the processor's caches.
const BLOCK: usize = 512;

/// Decode, multiply by one secret scalar, encode.
///
/// # Errors
/// [`InvalidEncoding`] as for [`Points::decode`]: the identity passes.
pub fn decode_mul_encode(encodings: &[[u8; 32]], scalar: &Scalar) -> Result<Vec<[u8; 32]>, InvalidEncoding> {
    decode_mul_encode_with(Backend::worthwhile(encodings.len()), encodings, scalar)
}

/// [`decode_mul_encode`] on a backend of the caller's choice.
///
/// # Errors
/// As [`decode_mul_encode`].
pub fn decode_mul_encode_with(
    backend: Backend,
    encodings: &[[u8; 32]],
    scalar: &Scalar,
) -> Result<Vec<[u8; 32]>, InvalidEncoding> {
    let half = scalar.div_by_2();
    let mut products = Vec::with_capacity(encodings.len());
    for (i, block) in encodings.chunks(BLOCK).enumerate() {
        let points = Points::decode_with(backend, block);
        let mut points = points.map_err(|error| InvalidEncoding { index: error.index + i * BLOCK })?;
        points.mul_assign(&half);
        products.extend(points.encode_doubled());
    }
    Ok(products)
}

/// Map 64 uniform bytes to an element, multiply by one secret scalar, encode.
pub fn hash_mul_encode(strings: &[[u8; 64]], scalar: &Scalar) -> Vec<[u8; 32]> {
    hash_mul_encode_with(Backend::worthwhile(strings.len()), strings, scalar)
}

/// [`hash_mul_encode`] on a backend of the caller's choice.
pub fn hash_mul_encode_with(backend: Backend, strings: &[[u8; 64]], scalar: &Scalar) -> Vec<[u8; 32]> {
    let half = scalar.div_by_2();
    let mut products = Vec::with_capacity(strings.len());
    for block in strings.chunks(BLOCK) {
        let mut points = Points::from_uniform_with(backend, block);
        points.mul_assign(&half);
        products.extend(points.encode_doubled());
    }
    products
}

/// The identity's encoding is 32 zeros; the first bad string counts, whatever is bad about it.
fn refuse_identity(
    encodings: &[[u8; 32]],
    decoded: Result<Points, InvalidEncoding>,
) -> Result<Points, InvalidEncoding> {
    let first = decoded.as_ref().map_or_else(|error| error.index, |_| encodings.len());
    match encodings[..first].iter().position(|encoding| *encoding == [0; 32]) {
        Some(index) => Err(InvalidEncoding { index }),
        None => decoded,
    }
}
