//! Windvane: a privacy-preserving computation node.

pub mod bank;
pub mod batch;
pub mod clock;
pub mod config;
pub mod error;
pub mod evidence;
pub mod http;
pub mod risk;
pub mod store;
pub mod verification;
