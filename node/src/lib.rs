//! Windvane: a node of a private computation network between banks and carriers.

pub mod risk;
pub mod verification;
