//! Windvane: a privacy-preserving computation node.

pub mod evidence;
