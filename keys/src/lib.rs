//! Windvane's keys: a sealed store, the keys that live in it, and how organisations come to trust each
//! other's.
//!
//! **In scope**: keys at rest ([`store`]), Ed25519 keys for receipts and logs ([`signing`]), the keys of
//! oblivious PRF epochs and subject tags ([`rotation`]), a provider's keys in scoring groups ([`score`]), symmetric keys for the node's own state
//! ([`symmetric`]), the TLS key and what a certificate must say ([`identity`]), a certificate authority for a
//! trial ([`authority`]), partner enrolment ([`enrolment`]), revocation lists ([`revocation`]) and whom a node
//! believes about whom ([`trust`]).
//!
//! **Not in scope**: TLS itself (the node), what is computed with the keys
//! (`windvane-protocols`), and clocks: every time is an argument, in milliseconds since the Unix epoch.
//!
//! **Not promised**: whoever can read the memory of the process, or both the store and its passphrase, has
//! the keys. Whoever can write the store's directory can delete files or put old ones back; this crate finds
//! altered files, not missing ones.

pub mod authority;
pub mod enrolment;
pub mod files;
pub mod identity;
mod kek;
pub mod passphrase;
pub mod record;
pub mod revocation;
pub mod rotation;
pub mod score;
pub mod signing;
pub mod store;
pub mod symmetric;
pub mod trust;

#[cfg(test)]
mod testing;
