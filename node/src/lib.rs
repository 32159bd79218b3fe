//! Windvane: a privacy-preserving computation node.
//!
//! One crate for every party. [`Node::start`] makes a bank's or a provider's node of a configuration: the
//! gRPC services for other nodes are in [`service`], the provider's state in [`provider`], the bank's in
//! [`bank`], REST in [`http`], what it shows of itself in [`observe`], evidence in [`evidence`] and [`audit`]. What both organisations must compute
//! alike is not here but in `windvane-protocols`.

pub mod admin;
pub mod audit;
mod background;
pub mod backup;
pub mod bank;
pub mod batch;
pub mod bench;
pub mod clock;
pub mod config;
#[cfg(debug_assertions)]
mod crash;
pub mod dataset;
pub mod demo;
pub mod document;
pub mod error;
pub mod evidence;
#[cfg(feature = "faults")]
pub mod faults;
pub mod fleet;
pub mod functions;
pub mod http;
pub mod identity;
pub mod limits;
pub mod observe;
mod outbox;
pub mod peer;
pub mod policy;
pub mod provider;
pub mod psi;
pub mod restore;
pub mod retention;
pub mod retire;
mod retiring;
pub mod risk;
pub mod score;
pub mod screen;
mod sealed;
pub mod server;
pub mod service;
pub mod session;
pub mod snapshot;
pub mod spill;
mod stages;
pub mod store;
pub mod table;
pub mod telemetry;
mod toml_text;
pub mod train;
pub mod verification;

pub use server::{Node, Surroundings};
