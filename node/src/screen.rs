//! Screening: which of the bank's existing customers stand on a provider's risk list.
//!
//! Set intersections (`crate::psi`) find the hits; here they become the bank's risk list: one row a customer
//! with the tags of all providers, the colour and reasons of the bank's rules, sorted by outlet.
//!
//! **Promised**: who is on a list is never green, whatever the rules say (`listed`); the same hits and rules
//! give the same files, byte for byte; files appear by an atomic rename. `hits.csv` beside the risk list is what
//! the next day's changes are applied to: its rows name customer, outlet, provider and tag codes, never a
//! number. **Not here**: the intersections themselves, and what an outlet does with its list.

mod error;
mod hits;
mod list;
#[cfg(test)]
mod tests;

pub use error::ScreenError;
pub use hits::{Hit, Hits, TagWords};
pub use list::{RISK_LIST_HEADER, ScreenSummary, write_lists};
