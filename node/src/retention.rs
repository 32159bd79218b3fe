//! How long a node keeps what, and the end of it.

pub mod class;
