//! Windvane: a node of a private computation network between banks and carriers.

pub mod dataset;
pub mod risk;
pub mod snapshot;
pub mod verification;
