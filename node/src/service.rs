//! What happens on a call from another node: decode, authorise, step, persist, reply.

pub mod audit;
pub mod common;
pub mod lookup;
pub mod psi;
pub mod score;
pub mod train;
