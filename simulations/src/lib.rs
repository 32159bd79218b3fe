//! Simulations of Windvane: network faults, adversaries and capacity; one seed in, one table out.
//!
//! The simulated world itself, which demo, benches and tests share, is the crate `windvane-world`.

pub mod faults;
