//! SIMD kernels, each with a portable twin, run-time detection, and a test that both give the same bytes.
//!
//! This is the only crate of the workspace that may contain `unsafe`, and it holds no protocol: what the
//! values mean is said where they are used.
//!
//! **Bytes of a block.** A block is a `u128`. Where it becomes bytes it is little-endian (`to_le_bytes`), so
//! that bit `j` of byte `i` is bit `8i + j` of the number: the coefficient of x^(8i+j) in [`gf128`], and byte
//! `i` of FIPS 197's input in [`aes`].
//!
//! # How it is tested
//! Beside the tests that compare twins, on their own and with `WINDVANE_KERNELS=portable`:
//! - AddressSanitizer, on all tests: `RUSTFLAGS='-Zsanitizer=address --cfg curve25519_dalek_backend="avx512"' cargo
//!   +nightly test --target x86_64-unknown-linux-gnu -p windvane-kernels`.
//! - Miri, on the portable twins and on the safe code around them, with fewer inputs: `cargo +nightly miri test -p
//!   windvane-kernels --lib`. It detects no instruction set beyond the target's own, so that the kernels' loads and
//!   stores are the sanitizer's part. It takes many minutes.
//! - [`ristretto`] and ten million inputs: `cargo run --release -p windvane-kernels --example compare`.

pub mod aes;
pub mod band;
pub mod convolute;
pub mod expand;
pub mod gf128;
pub mod ristretto;
pub mod sha512;
mod switch;
pub mod timing;
pub mod transpose;
