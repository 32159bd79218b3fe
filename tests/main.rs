//! Real nodes over loopback mutual TLS.
