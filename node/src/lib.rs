//! Windvane: a privacy-preserving computation node.

pub mod clock;
pub mod config;
pub mod error;
pub mod evidence;
pub mod risk;
pub mod store;
pub mod verification;
