#![doc = include_str!("score.md")]

pub mod calibration;
pub mod epoch;
pub mod group;
pub mod ledger;
pub mod model;
pub mod query;
pub mod shares;
pub mod table;
pub mod universe;

/// Name and version of the protocol, in every receipt.
pub const PROTOCOL: &str = "score/v1";

#[cfg(test)]
mod tests;
