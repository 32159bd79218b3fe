//! Whole trees and whole trainings: against a slow reference, against those who do not keep to the protocol, and on
//! real data.

mod data;
mod fold;
mod joint;
mod malformed;
mod naive;
mod real;
mod trees;
mod world;

/// What the files that the example `train_accuracy` shares need of the engine.
mod engine {
    pub(crate) use crate::train::binning::{Binned, Edges};
    pub(crate) use crate::train::boosting::{Trained, TrainingError, Unit, train_clear};
    pub(crate) use crate::train::parameters::Hyperparameters;
    pub(crate) use crate::train::scale::{Scale, Span, Values};
    pub(crate) use crate::train::tree::{ABSENT, Tree};
}
