//! The joint score in an operator's hands.

mod model;
mod tables;

pub use model::{AddedModel, ModelFiles, ModelStatus};
pub use tables::{FetchedScore, ScorePublication};
