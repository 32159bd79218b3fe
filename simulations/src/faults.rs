//! Faults under virtual time.
//!
//! # Design
//!
//! A [`world::World`] is one bank, two carriers and a desk, each carrier and the bank on a [`machine::Machine`] of its
//! own. The nodes are the real ones, from [`windvane::Node`] down: TLS, HTTP/2, gRPC, SQLite, journal and tiles. The
//! simulation replaces what a node takes from outside of itself ([`windvane::Surroundings`]), through the seams that
//! production uses too: the clock, the way to other nodes, and what the log is written to.
//!
//! **Time.** One thread runs everything of a seed on a runtime whose time is virtual: it stands while anything can be
//! done, and jumps to the next timer when nothing can. Work on the blocking pool holds it ([`tokio::time::pause`] says
//! so); the bank's thread that keeps records is waited for when the runtime is about to sleep; the log publishes only
//! when the simulation asks for it, which waits.
//!
//! **The network** ([`net`]) delivers segments late, twice, changed, in another order or never, and cuts connections
//! and machines off. TLS is real, so that changed bytes meet what they would meet.
//!
//! **Machines** fall at any moment, also between two segments that they send and in the middle of a write to their
//! journal; what the files hold then is what the next run finds. Disks are full, or do not sync. Clocks jump: one
//! machine's by less than auditors tolerate, all of them by hours when nothing that was dated before waits for a log
//! (`world/hours.rs`).
//!
//! **Operations** ([`operation`]) are drawn before they begin, from the seed alone. The desk speaks the protocol itself,
//! so that it can send the same bytes twice, or many questions at the edge of a quota. Operators issue and end grants,
//! publish epochs and deltas that the bank fetches, renew certificates, and revoke a requester that comes back later.
//! What is true of a subscriber changes with a delta; an answer is held against every table that the bank may have had
//! while it asked ([`people::Tables`]). Certificates are all issued at the template's time: TLS goes by the system's
//! clock, which does not know of virtual hours.
//!
//! **Invariants** ([`ledger`]) are held at every answer and whenever a log is read, and at the end of a seed by the
//! auditor's own code: every log by itself and both sides of every call against each other. A table says of each how
//! often it was held. A panic of whatever runs for a seed is a violation ([`panics`]).
//!
//! # What is the same for one seed
//!
//! Operations, their times and what the network does to a connection's n-th segment follow from the seed. Keys, nonces
//! and session ids do not (nodes take them from the system), nor does the order of hash maps or of branches that
//! `select!` draws; an ECDSA signature's length varies by a byte or two. None of that decides anything that an operation
//! sees on a network without faults, so that a seed's trace is then the same in every run. With faults, runs of one seed
//! are alike and now and then not equal: where a fault falls depends on how a connection's bytes were cut into segments.
//! Nor is the order of what happens at one and the same instant: threads of the blocking pool run beside the runtime
//! then, so that a node which ends an epoch and looks into its outbox at that instant finds the entries now, or at its
//! next look.

pub mod clock;
pub mod command;
pub mod desk;
pub mod disk;
pub mod ledger;
pub mod machine;
pub mod net;
pub mod operation;
pub mod panics;
pub mod people;
pub mod report;
pub mod run;
pub mod template;
pub mod time;
pub mod world;

#[cfg(test)]
mod tests;

use windvane::error::NodeError;

/// The simulation itself failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// A party could not be set up.
    #[error("setting the parties up: {0}")]
    Node(#[from] NodeError),
    /// A file or the runtime.
    #[error("the simulation's own files: {0}")]
    Io(#[from] std::io::Error),
}
