//! The world's own statement of what a verification must find and how it is coloured.
//!
//! Written from the product's default policy in words; it shares no code with it. The joint score is told apart
//! from the rest, because a verification may have none.

use crate::date::Date;
use crate::scoring::ScoreBand;
use crate::subscriber::{Status, Subscriber, Tag};

/// What a verification of one applicant must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedResult {
    /// Name and ID are those under which the number stands.
    Match,
    /// The number stands, but under another name, another ID, or both.
    Mismatch {
        /// True if the name does not fit.
        name: bool,
        /// True if the ID does not fit.
        id: bool,
    },
    /// The number stands at no carrier.
    NoRecord,
}

impl ExpectedResult {
    /// The code that stands in `truth.csv`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch { .. } => "mismatch",
            Self::NoRecord => "no_record",
        }
    }

    /// Which elements do not fit, as `truth.csv` has it: `name`, `id`, `name+id` or nothing.
    pub fn mismatch_code(self) -> &'static str {
        match self {
            Self::Mismatch { name: true, id: true } => "name+id",
            Self::Mismatch { name: true, id: false } => "name",
            Self::Mismatch { name: false, id: true } => "id",
            _ => "",
        }
    }
}

/// The answer to the bank's clerk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// Refuse, or ask a superior.
    Red,
    /// Look closer.
    Yellow,
    /// Go ahead.
    Green,
}

impl Colour {
    /// The code that stands in `truth.csv`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Yellow => "yellow",
            Self::Green => "green",
        }
    }
}

/// The colour that the default policy gives for `result` and what the carrier knows about the number:
///
/// - **red**: name or ID does not fit; a tag `fraud_confirmed` or `money_mule`; the number is given up.
/// - **yellow**, if not red: the number stands nowhere; a tag `fraud_suspected`, `bulk_calling`,
///   `bulk_sms` or `shared_device`; the SIM card was changed 7 days or less before the data date; the
///   number was activated less than 30 days before it; 5 or more numbers under the ID; suspended; or
///   recycled and activated less than 90 days before the data date.
/// - **green** otherwise.
///
/// Days are whole days from a row's date to the data date.
pub fn expected_colour(result: ExpectedResult, number: Option<&Subscriber>, as_of: Date) -> Colour {
    match (result, number) {
        (ExpectedResult::Mismatch { .. }, _) => Colour::Red,
        (ExpectedResult::NoRecord, _) | (_, None) => Colour::Yellow,
        (ExpectedResult::Match, Some(number)) if is_red(number) => Colour::Red,
        (ExpectedResult::Match, Some(number)) if is_yellow(number, as_of) => Colour::Yellow,
        (ExpectedResult::Match, Some(_)) => Colour::Green,
    }
}

/// The colour that the default policy gives when the joint score of the number is in `band` too, where
/// [`expected_colour`] gave `colour` without it: the worse of `colour` and the band's own, which is red for
/// [`ScoreBand::VeryHigh`] and yellow for [`ScoreBand::High`].
pub fn colour_with_score(colour: Colour, band: ScoreBand) -> Colour {
    match (colour, band) {
        (_, ScoreBand::VeryHigh) => Colour::Red,
        (Colour::Green, ScoreBand::High) => Colour::Yellow,
        _ => colour,
    }
}

fn is_red(number: &Subscriber) -> bool {
    let proven = number.tags.iter().any(|tag| matches!(tag, Tag::FraudConfirmed | Tag::MoneyMule));
    proven || number.status == Status::Closed
}

fn is_yellow(number: &Subscriber, as_of: Date) -> bool {
    let tenure = as_of.days_since(number.activated);
    !number.tags.is_empty()
        || number.sim_changed.is_some_and(|changed| as_of.days_since(changed) <= 7)
        || tenure < 30
        || number.numbers_under_id >= 5
        || number.status == Status::Suspended
        || number.recycled && tenure < 90
}
