//! Real Windvane nodes over loopback mutual TLS. The proofs stand in the one test binary, `main.rs`.
