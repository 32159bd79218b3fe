//! A bank's policy: rules over match results, attributes, tags and missing sources.
//!
//! A rule fires when all conditions that it states hold. How rules are written is in `node/rules.toml`,
//! which is also the shipped policy.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::Facts;
use super::vocabulary::Vocabulary;
use crate::verification::{Advice, Colour, MatchResult, Mismatch, ScoreReport};

/// A policy: at least one rule, all ids different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub(super) version: String,
    pub(super) rules: Vec<Rule>,
}

impl Rules {
    /// The shipped policy's text.
    pub const SHIPPED: &str = include_str!("../../rules.toml");

    /// The policy that ships with the node.
    pub fn shipped() -> Self {
        Self::parse(Self::SHIPPED, &Vocabulary::carrier()).expect("a test parses the shipped rules")
    }

    /// The policy's own version, as its file states it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The ids of the rules, in the order of the file.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.id.as_str())
    }

    /// The rules that fire, the most severe first, otherwise in the order of the file.
    pub(super) fn fired(&self, facts: &Facts<'_>) -> Vec<&Rule> {
        let mut fired: Vec<&Rule> = self.rules.iter().filter(|rule| rule.when.holds(facts)).collect();
        fired.sort_by_key(|rule| std::cmp::Reverse(rule.colour));
        fired
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) colour: Colour,
    pub(super) zh: String,
    pub(super) en: String,
    pub(super) advice: Option<Advice>,
    pub(super) restriction: Option<String>,
    pub(super) when: When,
}

/// The conditions of a rule; what is `None` or empty is not a condition. At least one is stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct When {
    pub(super) result: Option<Vec<MatchResult>>,
    /// At least one of the marked elements does not fit.
    pub(super) mismatch_any: Option<Mismatch>,
    /// The marked elements do not fit, and no others.
    pub(super) mismatch_exactly: Option<Mismatch>,
    pub(super) tags_any: Option<BTreeSet<String>>,
    /// Every attribute has one of its codes.
    pub(super) attributes: BTreeMap<String, BTreeSet<String>>,
    pub(super) missing_source: Option<bool>,
    /// The score is in one of these bands.
    pub(super) score_band: Option<BTreeSet<String>>,
    /// A score was asked for, and there is none.
    pub(super) score_missing: Option<bool>,
    pub(super) customer_type: Option<BTreeSet<String>>,
    pub(super) document_type: Option<BTreeSet<String>>,
}

impl When {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let found = facts.found;
        holds(&self.result, |results| results.contains(&found.result))
            && holds(&self.mismatch_any, |wanted| found.mismatch.is_some_and(|m| overlap(*wanted, m)))
            && holds(&self.mismatch_exactly, |wanted| found.mismatch == Some(*wanted))
            && holds(&self.tags_any, |tags| !tags.is_disjoint(&found.tags))
            && self.attributes.iter().all(|(name, codes)| has_code(&found.attributes, name, codes))
            && holds(&self.missing_source, |missing| *missing != found.missing_sources.is_empty())
            && holds(&self.score_band, |bands| band(facts).is_some_and(|band| bands.contains(band)))
            && holds(&self.score_missing, |missing| *missing == lacks_score(facts))
            && holds(&self.customer_type, |types| facts.customer_type.is_some_and(|t| types.contains(t)))
            && holds(&self.document_type, |types| facts.document_type.is_some_and(|t| types.contains(t)))
    }

    /// Whether a result is among the conditions, be it by what does not fit.
    pub(super) fn names(&self, result: MatchResult) -> bool {
        let by_element = self.mismatch_any.is_some() || self.mismatch_exactly.is_some();
        self.result.as_ref().is_some_and(|results| results.contains(&result))
            || (by_element && result == MatchResult::Mismatch)
    }
}

fn holds<T>(condition: &Option<T>, test: impl FnOnce(&T) -> bool) -> bool {
    condition.as_ref().is_none_or(test)
}

fn overlap(a: Mismatch, b: Mismatch) -> bool {
    (a.name && b.name) || (a.id && b.id)
}

fn band<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    facts.score.and_then(|score| score.band.as_deref())
}

fn lacks_score(facts: &Facts<'_>) -> bool {
    facts.score.is_some_and(ScoreReport::is_missing)
}

fn has_code(attributes: &BTreeMap<String, String>, name: &str, codes: &BTreeSet<String>) -> bool {
    attributes.get(name).is_some_and(|code| codes.contains(code))
}
