//! Several providers' answers become one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::report::{MatchResult, Mismatch, ProviderAnswer};

/// What all providers say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The verdict over all providers.
    pub result: MatchResult,
    /// Which elements do not fit, from the provider that decided.
    pub mismatch: Option<Mismatch>,
    /// The attributes from the provider that decided.
    pub attributes: BTreeMap<String, String>,
    /// The tags of all providers together.
    pub tags: BTreeSet<String>,
    /// The party ids of the providers without a verdict, in the order of the answers.
    pub missing_sources: Vec<String>,
}

/// Merges the answers: a match anywhere wins, then a mismatch, then a missing source, then no record.
///
/// One provider decides. Among equal verdicts it is the one with the fewest misfits, then one that has
/// attributes, then the one with the newest data, then the first. No answer at all is `unavailable`.
pub fn merge(answers: &[ProviderAnswer]) -> Merged {
    let decider = answers.iter().min_by_key(|answer| precedence(answer));
    Merged {
        result: decider.map_or(MatchResult::Unavailable, |answer| answer.result),
        mismatch: decider.and_then(|answer| answer.mismatch),
        attributes: decider.map(|answer| answer.attributes.clone()).unwrap_or_default(),
        tags: answers.iter().flat_map(|answer| answer.tags.iter().cloned()).collect(),
        missing_sources: answers.iter().filter(|a| is_missing(a)).map(|a| a.provider.clone()).collect(),
    }
}

fn is_missing(answer: &ProviderAnswer) -> bool {
    answer.result == MatchResult::Unavailable
}

/// The smallest decides; ISO 8601 dates order as text.
fn precedence(answer: &ProviderAnswer) -> (u8, usize, bool, Reverse<Option<&str>>) {
    let rank = match answer.result {
        MatchResult::Match => 0,
        MatchResult::Mismatch => 1,
        MatchResult::Unavailable => 2,
        MatchResult::NoRecord | MatchResult::NotAsked => 3,
    };
    let misfits = answer.mismatch.map_or(usize::MAX, Mismatch::count);
    (rank, misfits, answer.attributes.is_empty(), Reverse(answer.valid_on.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use MatchResult::{Match, NoRecord, Unavailable};

    const NAME: Mismatch = Mismatch { name: true, id: false };
    const BOTH: Mismatch = Mismatch { name: true, id: true };

    fn answer(provider: &str, result: MatchResult) -> ProviderAnswer {
        ProviderAnswer::new(provider, (result, None))
    }

    fn misfit(provider: &str, mismatch: Mismatch) -> ProviderAnswer {
        ProviderAnswer::new(provider, (MatchResult::Mismatch, Some(mismatch)))
    }

    fn with_label(mut answer: ProviderAnswer, status: &str, tags: &[&str]) -> ProviderAnswer {
        answer.attributes = BTreeMap::from([("status".to_owned(), status.to_owned())]);
        answer.tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        answer
    }

    fn status(merged: &Merged) -> Option<&str> {
        merged.attributes.get("status").map(String::as_str)
    }

    #[test]
    fn verdicts_have_an_order_of_precedence_whatever_the_order_of_answers() {
        for (answers, expected) in [
            (vec![answer("a", NoRecord), misfit("b", NAME), answer("c", Match)], Match),
            (vec![answer("a", Unavailable), answer("b", Match)], Match),
            (vec![answer("a", Unavailable), misfit("b", NAME)], MatchResult::Mismatch),
            (vec![answer("a", NoRecord), misfit("b", NAME)], MatchResult::Mismatch),
            (vec![answer("a", NoRecord), answer("b", Unavailable)], Unavailable),
            (vec![answer("a", NoRecord), answer("b", NoRecord)], NoRecord),
        ] {
            let reversed: Vec<_> = answers.iter().rev().cloned().collect();
            assert_eq!(merge(&answers).result, expected);
            assert_eq!(merge(&reversed).result, expected);
        }
    }

    #[test]
    fn no_answer_at_all_is_unavailable() {
        assert_eq!(merge(&[]).result, Unavailable);
    }

    #[test]
    fn the_mismatch_with_the_fewest_misfits_decides() {
        let far = with_label(misfit("a", BOTH), "closed", &[]);
        let near = with_label(misfit("b", NAME), "active", &[]);
        let merged = merge(&[far, near]);
        assert_eq!(merged.mismatch, Some(NAME));
        assert_eq!(status(&merged), Some("active"));
    }

    #[test]
    fn attributes_come_from_the_decider_and_tags_from_everybody() {
        let known = with_label(misfit("a", NAME), "closed", &["bulk_sms", "shared_device"]);
        let matching = with_label(answer("b", Match), "active", &["bulk_sms", "money_mule"]);
        let merged = merge(&[known, answer("c", Unavailable), matching]);
        assert_eq!((merged.result, merged.mismatch), (Match, None));
        assert_eq!(status(&merged), Some("active"));
        assert_eq!(Vec::from_iter(merged.tags), ["bulk_sms", "money_mule", "shared_device"]);
        assert_eq!(merged.missing_sources, ["c"]);
    }

    #[test]
    fn among_equal_verdicts_newer_data_decides_and_then_the_first() {
        let dated = |provider: &str, status: &str, day: &str| ProviderAnswer {
            valid_on: Some(day.to_owned()),
            ..with_label(answer(provider, Match), status, &[])
        };
        let [old, new, same] = [
            dated("a", "closed", "2025-01-30"),
            dated("b", "active", "2025-01-31"),
            dated("c", "suspended", "2025-01-31"),
        ];
        assert_eq!(status(&merge(&[old.clone(), new.clone(), same.clone()])), Some("active"));
        assert_eq!(status(&merge(&[old, same, new])), Some("suspended"));
    }

    #[test]
    fn among_equal_verdicts_one_with_attributes_decides() {
        for result in [Match, Unavailable] {
            let labelled = with_label(answer("b", result), "active", &[]);
            let newer = ProviderAnswer { valid_on: Some("2025-01-31".to_owned()), ..answer("a", result) };
            assert_eq!(status(&merge(&[newer, labelled])), Some("active"));
        }
    }

    #[test]
    fn missing_sources_keep_their_order() {
        let merged = merge(&[answer("z", Unavailable), answer("m", NoRecord), answer("a", Unavailable)]);
        assert_eq!(merged.missing_sources, ["z", "a"]);
    }
}
