//! Joint training: a bank's labels and providers' features, and neither sees the other's.
//!
//! [`run`] is a bank's side. Here is a provider's. A session is one signed request and one signed acceptance, and any number of
//! connections up to a limit: every call is one step, and everything that a step needs is on the disk before it is
//! answered.
//!
//! **Promised.** Nothing of a training moves before the provider has held the request against its grant, and every
//! other provider's announced key against its own pins. A provider never answers two different questions at one place:
//! masks and sums that differ would tell what they hide. A session that was killed anywhere goes on where it was.
//! One that its bank does not end leaves a signed record of what was answered in the log.
//! Memory is bounded whatever the bank sends. No number and no position is in a log or an error.
//!
//! **Not promised.** What the protocol does not: a bank that crafts residuals is found by its committed seed, not by a
//! provider that runs this. Provider and bank do not prove that their sums are honest.

mod appended;
pub mod audit;
pub mod error;
pub mod features;
pub(crate) mod finished;
pub mod folder;
pub(crate) mod grant;
pub(crate) mod lapse;
pub mod metrics;
mod page;
mod parts;
pub mod run;
pub mod sample;
pub mod schema;
pub mod serve;
mod stage;
pub(crate) mod work;

pub use error::TrainRefusal;
pub use stage::Stage;
