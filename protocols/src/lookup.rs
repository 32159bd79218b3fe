//! Private verification.
