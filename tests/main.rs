//! Real nodes over loopback mutual TLS: what they promise each other, and what a dishonest one gets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attacks;
mod backup;
mod both;
mod crash;
mod deltas;
mod hostile;
mod lab;
mod liar;
mod observe;
mod openapi;
mod outages;
mod psi;
mod quotas;
mod recorder;
mod reload;
mod retention;
mod say;
mod scan;
mod score;
mod screen;
mod sichuan;
mod stalls;
mod train;
mod train_serve;
mod verification;
