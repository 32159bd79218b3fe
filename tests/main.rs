//! Real nodes over loopback mutual TLS: what they promise each other, and what a dishonest one gets.

#![allow(unreachable_pub, missing_docs, reason = "one test binary")]

mod hostile;
mod lab;
mod liar;
mod quotas;
mod verification;
