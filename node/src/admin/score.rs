//! The joint score in an operator's hands.

mod tables;

pub use tables::{FetchedScore, ScorePublication};
