//! From the rows that were found to a verdict.
//!
//! A provider's table has up to four families of keys: 1 the number alone, 2 number and ID number, 3 number
//! and name, 4 all three. Finding a row of a family means that its elements belong together. A grant may
//! leave families out, and a question may leave elements out.

use super::report::{MatchResult, Mismatch};

/// Which elements a question gives besides the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The question gives a name.
    pub name: bool,
    /// The question gives an ID number.
    pub id: bool,
}

/// Which rows were found at one provider; `None` where the grant does not name the family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    /// Family 1: the number is known.
    pub number: Option<bool>,
    /// Family 2: number and ID number belong together.
    pub number_id: Option<bool>,
    /// Family 3: number and name belong together.
    pub number_name: Option<bool>,
    /// Family 4: number, ID number and name belong together.
    pub all: Option<bool>,
}

impl Presence {
    /// The verdict on a question.
    ///
    /// Families whose elements the question lacks are ignored: they were asked with random elements, so
    /// that their absence says nothing. Where family 4 cannot tell, families 2 and 3 decide. A number that
    /// is known while the grant compares nothing of the person that was asked for is no match; it gives
    /// [`MatchResult::Unavailable`].
    pub fn verdict(self, question: Question) -> (MatchResult, Option<Mismatch>) {
        let seen = self.about(question);
        if !seen.any(true) {
            let result = if seen.any(false) { MatchResult::NoRecord } else { MatchResult::Unavailable };
            return (result, None);
        }
        match seen.all {
            Some(true) => (MatchResult::Match, None),
            Some(false) => (MatchResult::Mismatch, Some(seen.misfits())),
            None => seen.verdict_by_pairs(question),
        }
    }

    fn about(self, question: Question) -> Self {
        Self {
            number: self.number,
            number_id: self.number_id.filter(|_| question.id),
            number_name: self.number_name.filter(|_| question.name),
            all: self.all.filter(|_| question.id && question.name),
        }
    }

    fn any(self, wanted: bool) -> bool {
        [self.number, self.number_id, self.number_name, self.all].contains(&Some(wanted))
    }

    fn verdict_by_pairs(self, question: Question) -> (MatchResult, Option<Mismatch>) {
        let pairs = [self.number_id, self.number_name];
        let only_number_asked = !question.name && !question.id;
        if pairs.contains(&Some(false)) {
            (MatchResult::Mismatch, Some(self.misfits()))
        } else if pairs.contains(&Some(true)) || only_number_asked {
            (MatchResult::Match, None)
        } else {
            (MatchResult::Unavailable, None)
        }
    }

    /// Who is to blame when the number is known and not everything fits: what was shown not to fit; failing
    /// that, what was not shown to fit; failing that, both together.
    fn misfits(self) -> Mismatch {
        let marked = |test: fn(Option<bool>) -> bool| Mismatch {
            name: test(self.number_name),
            id: test(self.number_id),
        };
        let candidates = [marked(|fits| fits == Some(false)), marked(|fits| fits.is_none())];
        candidates.into_iter().find(|m| m.count() > 0).unwrap_or(Mismatch { name: true, id: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Question = Question { name: true, id: true };
    const MATCH: (MatchResult, Option<Mismatch>) = (MatchResult::Match, None);
    const NO_RECORD: (MatchResult, Option<Mismatch>) = (MatchResult::NoRecord, None);
    const UNAVAILABLE: (MatchResult, Option<Mismatch>) = (MatchResult::Unavailable, None);

    /// Families 1 to 4, one character each: `1` found, `0` not found, `-` not granted.
    fn presence(families: &str) -> Presence {
        let family = |i: usize| match families.as_bytes()[i] {
            b'1' => Some(true),
            b'0' => Some(false),
            b'-' => None,
            other => panic!("bad test input {other}"),
        };
        Presence { number: family(0), number_id: family(1), number_name: family(2), all: family(3) }
    }

    fn misfit(elements: &str) -> (MatchResult, Option<Mismatch>) {
        let mismatch = Mismatch { name: elements.contains("name"), id: elements.contains("id") };
        (MatchResult::Mismatch, Some(mismatch))
    }

    #[test]
    fn a_full_question_is_judged_by_the_granted_families() {
        for (families, expected) in [
            ("1111", MATCH),
            ("0000", NO_RECORD),
            ("1100", misfit("name")),
            ("1010", misfit("id")),
            ("1000", misfit("name id")),
            ("1110", misfit("name id")),
            // Family 1 is not granted: hits of the others show that the number is known.
            ("-111", MATCH),
            ("-100", misfit("name")),
            ("-010", misfit("id")),
            ("-000", NO_RECORD),
            ("---1", MATCH),
            ("---0", NO_RECORD),
            // Family 4 is not granted: the pairs decide.
            ("111-", MATCH),
            ("110-", misfit("name")),
            ("101-", misfit("id")),
            ("100-", misfit("name id")),
            ("11--", MATCH),
            ("10--", misfit("id")),
            ("1-1-", MATCH),
            ("1-0-", misfit("name")),
            // Family 4 misses and a pair is not granted: blame what is not shown to fit.
            ("1--0", misfit("name id")),
            ("11-0", misfit("name")),
            ("1-10", misfit("id")),
            ("10-0", misfit("id")),
            // Nothing about the person can be compared.
            ("1---", UNAVAILABLE),
            ("0---", NO_RECORD),
            ("----", UNAVAILABLE),
        ] {
            assert_eq!(presence(families).verdict(FULL), expected, "families {families}");
        }
    }

    #[test]
    fn absent_elements_never_count_as_misfits() {
        let no_name = Question { name: false, id: true };
        let no_id = Question { name: true, id: false };
        let number_only = Question { name: false, id: false };
        for (families, question, expected) in [
            ("1100", no_name, MATCH),
            ("1000", no_name, misfit("id")),
            ("0000", no_name, NO_RECORD),
            ("1-00", no_name, UNAVAILABLE),
            ("1010", no_id, MATCH),
            ("1000", no_id, misfit("name")),
            ("1000", number_only, MATCH),
            ("0000", number_only, NO_RECORD),
            ("-000", number_only, UNAVAILABLE),
        ] {
            let found = presence(families).verdict(question);
            assert_eq!(found, expected, "families {families}, {question:?}");
        }
    }

    #[test]
    fn every_mismatch_names_an_element_and_nothing_else_does() {
        let values = [None, Some(false), Some(true)];
        for i in 0..81_usize {
            let [number, number_id, number_name, all] = [1, 3, 9, 27].map(|step| values[i / step % 3]);
            let (result, mismatch) = Presence { number, number_id, number_name, all }.verdict(FULL);
            assert_eq!(result == MatchResult::Mismatch, mismatch.is_some_and(|m| m.count() > 0), "case {i}");
            assert_eq!(result == MatchResult::Mismatch, mismatch.is_some(), "case {i}");
        }
    }
}
