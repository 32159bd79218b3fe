//! The classes of applicants, and how many of each a bank sees.

use crate::date::Date;
use crate::policy::{Colour, ExpectedResult, expected_colour};
use crate::subscriber::{Status, Subscriber, Tag};

/// Why an applicant is in the file. An applicant of a risky class gives the right name and ID for a
/// number that has the class's trait, and perhaps others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Everything fits and nothing speaks against the number.
    Right,
    /// The name alone is wrong.
    WrongName,
    /// The ID alone is wrong.
    WrongId,
    /// The number is somebody else's: a stranger's, one's own of earlier days, or a ring fellow's.
    WrongBoth,
    /// The number stands at no carrier.
    Unknown,
    /// The number has this tag.
    Tagged(Tag),
    /// The SIM card was changed 7 days or less before the data date.
    SimSwapped,
    /// The number was activated less than 30 days before the data date.
    Fresh,
    /// The number is suspended.
    Suspended,
    /// The number is given up.
    Closed,
    /// The number is recycled and was activated less than 90 days before the data date.
    RecycledRecently,
    /// 5 or more numbers stand under the ID.
    ManyNumbers,
}

impl Class {
    /// The classes whose applicants are wrong or right, not risky.
    pub const BASIC: [Self; 5] =
        [Self::Right, Self::WrongName, Self::WrongId, Self::WrongBoth, Self::Unknown];

    /// The risky classes.
    pub const RISKY: [Self; 12] = [
        Self::Tagged(Tag::FraudConfirmed),
        Self::Tagged(Tag::MoneyMule),
        Self::Tagged(Tag::FraudSuspected),
        Self::Tagged(Tag::BulkCalling),
        Self::Tagged(Tag::BulkSms),
        Self::Tagged(Tag::SharedDevice),
        Self::SimSwapped,
        Self::Fresh,
        Self::Suspended,
        Self::Closed,
        Self::RecycledRecently,
        Self::ManyNumbers,
    ];

    /// The code that stands in `truth.csv`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::WrongName => "wrong_name",
            Self::WrongId => "wrong_id",
            Self::WrongBoth => "wrong_both",
            Self::Unknown => "unknown",
            Self::Tagged(tag) => tag.code(),
            Self::SimSwapped => "sim_swapped",
            Self::Fresh => "fresh",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
            Self::RecycledRecently => "recycled_recently",
            Self::ManyNumbers => "many_numbers",
        }
    }

    /// What a verification of an applicant of this class must find.
    pub fn result(self) -> ExpectedResult {
        match self {
            Self::WrongName => ExpectedResult::Mismatch { name: true, id: false },
            Self::WrongId => ExpectedResult::Mismatch { name: false, id: true },
            Self::WrongBoth => ExpectedResult::Mismatch { name: true, id: true },
            Self::Unknown => ExpectedResult::NoRecord,
            _ => ExpectedResult::Match,
        }
    }

    /// True if `number` has what this risky class is about.
    fn describes(self, number: &Subscriber, as_of: Date) -> bool {
        let tenure = as_of.days_since(number.activated);
        match self {
            Self::Tagged(tag) => number.tags.contains(&tag),
            Self::SimSwapped => number.sim_changed.is_some_and(|changed| as_of.days_since(changed) <= 7),
            Self::Fresh => tenure < 30,
            Self::Suspended => number.status == Status::Suspended,
            Self::Closed => number.status == Status::Closed,
            Self::RecycledRecently => number.recycled && tenure < 90,
            Self::ManyNumbers => number.numbers_under_id >= 5,
            _ => false,
        }
    }
}

/// The one class that may use `number`, chosen by `dice` among those that fit, so that no number is used
/// by two classes: 3 in 4 ordinary numbers are right ones, the others wrong ones; of recycled numbers and
/// those of rings, every other and every fourth serve those who apply with somebody else's number.
pub(crate) fn class_for(number: &Subscriber, dice: u64, as_of: Date) -> Class {
    let risky: Vec<Class> = Class::RISKY.into_iter().filter(|class| class.describes(number, as_of)).collect();
    let (choice, dice) = (dice % 32, dice / 32);
    match (risky.len() as u64, choice) {
        (0, 0..16) if number.former_holder.is_some() => Class::WrongBoth,
        (1.., 0..8) if number.ring_fellow.is_some() => Class::WrongBoth,
        (1.., 8..10) => [Class::WrongName, Class::WrongId][(dice % 2) as usize],
        (0, 23..26) => Class::WrongName,
        (0, 26..29) => Class::WrongId,
        (0, 29..) => Class::WrongBoth,
        (0, _) => right(number, as_of),
        (count, _) => risky[(dice % count) as usize],
    }
}

fn right(number: &Subscriber, as_of: Date) -> Class {
    debug_assert_eq!(expected_colour(ExpectedResult::Match, Some(number), as_of), Colour::Green);
    Class::Right
}

/// How many applicants of each class a file of `applicants` has: from 340 on at least 20 of each of the
/// 17; from 200 on at least 20 of each basic class and 20 risky ones; below, shares of what there is.
pub(crate) fn quotas(applicants: usize) -> Vec<(Class, usize)> {
    let classes = Class::BASIC.len() + Class::RISKY.len();
    let basic = if applicants >= 20 * classes { 20 } else { (applicants / 6).min(20) };
    let risky = if applicants >= 20 * classes { 20 } else { 0 };
    let mut quotas: Vec<(Class, usize)> = Class::BASIC.map(|class| (class, basic)).to_vec();
    quotas.extend(Class::RISKY.map(|class| (class, risky)));
    let rest = applicants - quotas.iter().map(|(_, count)| count).sum::<usize>();
    share_out(&mut quotas, rest, risky > 0);
    quotas
}

/// Gives half of `rest` to the right applicants once all classes are served, and the remainder to the
/// others, the risky ones first, in turn.
fn share_out(quotas: &mut [(Class, usize)], rest: usize, served: bool) {
    let right = if served { rest / 2 } else { 0 };
    quotas[0].1 += right;
    let others = if served { quotas.len() - 1 } else { Class::RISKY.len() };
    for nth in 0..rest - right {
        let last = quotas.len() - 1;
        quotas[last - nth % others].1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_add_up_and_keep_their_minimums() {
        for applicants in [0, 1, 5, 17, 100, 199, 200, 339, 340, 400, 100_000] {
            let quotas = quotas(applicants);
            assert_eq!(quotas.iter().map(|(_, count)| count).sum::<usize>(), applicants);
            let least = |classes: &[Class]| {
                quotas.iter().filter(|(class, _)| classes.contains(class)).map(|(_, count)| *count).min()
            };
            if applicants >= 200 {
                assert!(least(&Class::BASIC) >= Some(20));
                assert!(least(&Class::RISKY) >= Some(8));
            }
            if applicants >= 340 {
                assert!(least(&Class::RISKY) >= Some(20));
            }
        }
    }
}
