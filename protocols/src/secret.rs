//! Secrets that do not leak by habit: redacted when printed, compared in constant time, wiped on drop.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A secret value. It has no `Ord`, `Hash`, `Display` or `Serialize`; reading it is spelled out with
/// [`Secret::expose`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; every use is a place to look at in a review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

/// Collects at most `count` secrets into memory that is wiped. A vector that grows leaves its old memory unwiped, so
/// this one is made long enough beforehand, which `collect` does only for iterators that know their length.
pub(crate) fn collect<T: Zeroize>(count: usize, secrets: impl Iterator<Item = T>) -> Zeroizing<Vec<T>> {
    let mut all = Zeroizing::new(Vec::with_capacity(count));
    all.extend(secrets);
    debug_assert!(all.len() <= count, "the vector has grown");
    all
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<T: Zeroize + AsRef<[u8]>> ConstantTimeEq for Secret<T> {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.as_ref().ct_eq(other.0.as_ref())
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_secret_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new([0x41_u8; 4])), "Secret(…)");
    }

    #[test]
    fn secrets_compare_by_content() {
        assert_eq!(Secret::new([1_u8, 2]), Secret::new([1, 2]));
        assert_ne!(Secret::new([1_u8, 2]), Secret::new([1, 3]));
        assert_ne!(Secret::new(vec![1_u8, 2]), Secret::new(vec![1]));
    }
}
