//! Windvane: a node of a private computation network between banks and carriers.

pub mod bank;
pub mod batch;
pub mod http;
pub mod risk;
pub mod verification;
