//! Windvane's protocols: everything that two organisations must compute to the same bytes.
//!
//! **In scope**: canonical identities, the oblivious PRF, private lookup, set intersection, the joint
//! score and the training of its model, grants, receipts and the transparency log. **Not in scope**: files, sockets, clocks and random number
//! generators; randomness and time are arguments. `windvane-proto` owns the wire, `windvane-keys` the keys at rest, `windvane` (the
//! node) the calls and the state.
//!
//! Each protocol is one struct per waiting state; a step consumes the state, so that replaying a step does
//! not compile.

pub mod audit;
pub mod identity;
pub mod kdf;
pub mod limits;
pub mod lookup;
pub mod oprf;
mod parallel;
pub mod party;
pub mod psi;
pub mod score;
pub mod secret;
pub mod train;
pub mod transcript;
