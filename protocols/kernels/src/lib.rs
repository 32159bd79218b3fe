//! SIMD kernels, each with a portable twin, run-time detection, and a test that both give the same bytes.
//!
//! This is the only crate of the workspace that may contain `unsafe`. It holds no kernel yet: lookup rests on
//! `curve25519-dalek`'s own run-time-detected AVX-512 backend.
