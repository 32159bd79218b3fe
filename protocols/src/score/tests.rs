//! Whole groups: sums of every quorum, and what a bank gets that does not keep to the protocol.

mod attacks;
mod calls;
mod tables;
mod vectors;
pub(super) mod world;
