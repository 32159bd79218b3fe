//! What a verification asks of which document, and what it found, on the bank's side.
//!
//! **Promised here**: the result types that REST, the command line and the store share, and the pure rules
//! that turn found rows into a provider's answer ([`Presence`]) and several answers into one ([`merge()`]).
//! **Not here**: the calls to the providers, time-outs, the colour of a decision (`crate::risk`).
//! None of these types holds a name, an ID number or a telephone number.

mod document;
mod merge;
mod presence;
mod report;
mod score;

pub use document::DocumentType;
pub use merge::{Merged, merge};
pub use presence::{Presence, Question};
pub use report::{
    Advice, Colour, Decision, MatchResult, Mismatch, ProviderAnswer, Reason, VerificationReport,
};
pub use score::{ScoreReport, ScoreSource, ScoreStatus};
