//! `windvane.score.v1`.

mod tables;

pub use tables::*;
