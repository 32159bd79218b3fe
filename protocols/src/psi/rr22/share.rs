//! The two shares of a vector OLE, as this protocol uses them.

use std::fmt;

use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// The receiver's vectors A′ and C = ΔA′ + B, of equal length. Wiped on drop.
pub struct ReceiverShare {
    pub(super) a: Vec<u128>,
    pub(super) c: Vec<u128>,
}

/// The sender's Δ and B. Wiped on drop.
pub struct SenderShare {
    pub(super) delta: u128,
    pub(super) b: Vec<u128>,
}

impl ReceiverShare {
    /// Takes the vectors A′ and C into custody.
    pub const fn new(a: Vec<u128>, c: Vec<u128>) -> Self {
        Self { a, c }
    }
}

impl SenderShare {
    /// Takes Δ and the vector B into custody.
    pub const fn new(delta: u128, b: Vec<u128>) -> Self {
        Self { delta, b }
    }
}

impl Drop for ReceiverShare {
    fn drop(&mut self) {
        self.a.zeroize();
        self.c.zeroize();
    }
}

impl Drop for SenderShare {
    fn drop(&mut self) {
        self.delta.zeroize();
        self.b.zeroize();
    }
}

impl ZeroizeOnDrop for ReceiverShare {}

impl ZeroizeOnDrop for SenderShare {}

impl fmt::Debug for ReceiverShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiverShare({} elements)", self.c.len())
    }
}

impl fmt::Debug for SenderShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SenderShare({} elements)", self.b.len())
    }
}
