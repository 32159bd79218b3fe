//! Screening: which of the bank's existing customers stand on a provider's risk list.
//!
//! Set intersections (`crate::psi`) find the hits; here they become the bank's risk list: one row a customer
//! with the tags of all providers, the colour and reasons of the bank's rules, sorted by outlet.
//!
//! # Full and daily
//! **Full**: the customer file is intersected with every provider's list, the tags being its payload.
//!
//! **Daily**: two small questions instead, whose answers change yesterday's `hits.csv`.
//! 1. *New customers against the whole list*, by lookup rows or by intersection ([`NewBy`], below). Who has another
//!    number or outlet than yesterday counts as new: the bank must name them among the new ones too. Whatever an earlier
//!    day said of somebody who is new again is forgotten first.
//! 2. *The provider's changes against the whole customer file*: an ordinary list for set intersection whose tags
//!    are those that the number has now; none means that it left the list. These are applied last, so the list
//!    or the rows of the first question may be yesterday's, if the customer file has the new customers in it. Who is
//!    in both stands in both as they are now: a change of a number that is theirs no more would count.
//!
//! The second question costs the bank a pass over its whole file all the same, about 0.6 s a million customers: what
//! the daily form saves is the list. It does not look for customers who are in the file twice, as the full one does.
//!
//! The result is that of a full screening of the same day, but for customers who left the bank: they are listed
//! until the next full one. Nobody finds out here who changed their number and is not among the new ones: they stay
//! with what their old number was listed for, and off the list with the new one, until the next full one or a change
//! of that number.
//!
//! # Where the border lies
//! A lookup costs the same for a list of any length, once the bank has fetched the provider's encrypted rows; an
//! intersection costs the provider its whole list. Measured beside each other (two cores, 10,000 customers and one
//! provider): 59 us a lookup through a running node, 0.8 us a row of a list whose tags travel. So
//! [`LIST_ROWS_PER_LOOKUP`] is 75, and 10,000 new customers are looked up from a list of 750,000 rows on. With a
//! list of ten million, intersection is the cheaper from 133,000 new customers on. The lookup rows are 34 bytes a
//! row of the list and have to be fetched anew every epoch: that pays where the bank verifies account openings
//! with them anyway, and is not counted here. A provider's lookups take the place of its intersection only where a
//! running grant permits the family `phone` with its tags for the plan's purpose, and the rows are there; otherwise
//! the answer is an intersection. **Who is asked is another matter**: as soon as one provider is met by lookups, the
//! bank's node asks about every new customer all providers that it has a contract with, as for an account opening,
//! also those that the plan does not name or meets by intersection. Their answers are logged and kept, but count
//! for nothing here.
//!
//! **Promised**: who is on a list is never green, whatever the rules say (`listed`); the same hits and rules
//! give the same files, byte for byte; files appear by an atomic rename, and none before every provider has
//! answered; what was interrupted goes on where it was, unless its inputs changed, which is refused. A daily one
//! goes on only on the day (UTC) on which it began: the next day asks anew, of its own lists, so that the lists of
//! changes must reach back to the last day that was finished. `hits.csv`
//! beside the risk list is what the next day's changes are applied to: its rows name customer, outlet, provider
//! and tag codes, never a number. **Not here**: the intersections themselves, and what an outlet does with its
//! list.

mod border;
mod error;
mod hits;
mod list;
mod matches;
mod plan;
mod register;
mod report;
mod rows;
mod run;
mod scores;
#[cfg(test)]
mod tests;
mod work;

pub use border::{LIST_ROWS_PER_LOOKUP, NewBy};
pub use error::ScreenError;
pub use hits::{Hit, Hits, TagWords};
pub use list::{RISK_LIST_HEADER, ScreenSummary, write_lists};
pub use plan::{DailyPlan, Route, SAMPLE, ScorePlan, ScreenPlan, ScreenProvider};
pub use report::{ProviderReport, ScreenReport};
pub use run::{ScreenProgress, Screening};
