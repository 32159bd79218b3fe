//! The bank's REST interface: verifications for the bank's own systems, over HTTP/1.1 with bearer tokens.
//!
//! **Promised**: every body is bounded before it is read and every item before it is kept; a field that
//! breaks a rule is refused with the field, the rule and advice, never with its value; every failure is a
//! [`Problem`] with a stable code; `GET /openapi.json` describes every route that is served and no other
//! (both come from one table); tokens and bodies are never logged; a caller that hangs up does not undo a
//! verification under way, which keeps its place until its end; a call that was answered under an `Idempotency-Key` is
//! answered again, and not made again.
//! **Not here**: TLS (a bank puts this listener on a loopback or internal address, or behind its own gateway),
//! who may ask what for (`crate::bank`), and the wiping of buffers that hyper holds.

mod app;
mod bearer;
mod body;
mod client;
mod document;
mod health;
mod idempotency;
mod inquiry;
mod load;
mod problem;
mod receive;
mod serve;
#[cfg(test)]
mod tests;
mod trace;
mod verifications;
mod verifier;

pub use crate::observe::health::Readiness;
pub use app::{router, routes};
pub use bearer::{MalformedToken, Token};
pub use body::{BatchBody, BatchItem, BatchResult, BatchResults, ConsentBody, Private, VerificationBody};
pub use client::Client;
pub use document::openapi;
pub use health::Live;
pub use idempotency::Idempotency;
pub use load::Places;
pub use problem::Problem;
pub use serve::serve;
