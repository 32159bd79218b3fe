//! How far a long step is.

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Rows of the operator's file so far.
    pub rows: u64,
    /// Work done: bytes of the file while importing, row-families while building.
    pub done: u64,
    /// Work in all, in the same unit; an upper bound while building.
    pub total: u64,
}

/// Hears, from any thread and several times a second, where a step stands. `()` hears nothing.
pub trait Progress: Sync {
    /// The step got this far. Reports of different threads may arrive out of order.
    fn at(&self, position: Position);
}

impl Progress for () {
    fn at(&self, _: Position) {}
}

impl<F: Fn(Position) + Sync> Progress for F {
    fn at(&self, position: Position) {
        self(position);
    }
}
