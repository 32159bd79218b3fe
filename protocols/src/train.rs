#![doc = include_str!("train.md")]

pub mod binning;
pub mod boosting;
pub mod charter;
pub mod context;
pub mod decode;
pub mod draw;
pub mod elgamal;
pub mod growth;
pub mod histogram;
pub mod lapse;
pub mod mask;
pub mod parameters;
pub mod partition;
pub mod record;
pub mod scale;
pub mod schema;
pub mod step;
pub mod sums;
pub mod tree;

/// Name and version of the protocol, in every receipt.
pub const PROTOCOL: &str = "train/v1";

#[cfg(test)]
mod tests;
