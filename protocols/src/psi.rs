//! Private set intersection.

pub mod okvs;
mod order;
pub mod rr22;
