//! Private set intersection.

pub mod okvs;
mod order;
