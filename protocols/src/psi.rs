//! Private set intersection over files.

pub mod item;
pub mod okvs;
mod order;
pub mod rr22;
pub mod vole;
