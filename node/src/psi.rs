//! Set intersection over files.

pub mod key;
pub mod output;
pub mod partition;
pub mod payload;
