//! RFC 6962 hashing.
