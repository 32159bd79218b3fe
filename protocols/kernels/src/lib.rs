//! SIMD kernels, each with a portable twin, run-time detection, and a test that both give the same bytes.
//!
//! This is the only crate of the workspace that may contain `unsafe`, and it holds no protocol: what the
//! values mean is said where they are used.

pub mod ristretto;
pub mod timing;
