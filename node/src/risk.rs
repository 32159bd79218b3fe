//! The bank's own side of a verification: from findings to a colour, reasons and advice.
//!
//! **Promised**: the same rules and facts always give the same decision; the worst colour of the rules that
//! fired wins; every reason names its rule; every source without a verdict is named; a result other than
//! `match` that no rule covers is yellow, never silently green: a green rule covers what it names. A rule file with
//! any mistake is refused as a whole, with the rule and the field. **Not here**: who is asked and how
//! ([`crate::verification`]), the bank's own lists, the score.

mod decision;
mod error;
mod parse;
mod rules;
mod vocabulary;

pub use decision::{Facts, LISTED, decide};
pub use error::RuleError;
pub use rules::Rules;
pub use vocabulary::Vocabulary;
