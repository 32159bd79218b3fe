//! From the rules that fired to one decision.

use super::rules::{Rule, Rules};
use crate::verification::{Advice, Colour, Decision, MatchResult, Merged, Reason, ScoreReport, ScoreStatus};

/// Reasons that come from no rule; rule files may not use these ids.
pub(super) const BUILT_IN: [&str; 5] = ["all_clear", "uncovered", "missing_sources", LISTED, "score_missing"];

/// The reason of a screened customer whose tags no rule covers.
pub const LISTED: &str = "listed";

/// What the rules see.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What all providers say together.
    pub found: &'a Merged,
    /// The joint score, where one was asked for.
    pub score: Option<&'a ScoreReport>,
    /// The bank's own code of the customer type, if the call names one.
    pub customer_type: Option<&'a str>,
    /// The code of the document's type, if the call names a document.
    pub document_type: Option<&'a str>,
}

/// Decides: the worst colour of the rules that fired, with all their reasons and advice.
///
/// Where none fires, a `match` is green (`all_clear`), and so is a score where nothing else was asked; any other result
/// is yellow (`uncovered`), also where green rules fire of which none names it. Sources without a verdict are named in a
/// last reason (`missing_sources`), and so is a score that there is none of (`score_missing`), whatever the colour. The
/// restriction is that of the first rule of the worst colour that suggests one.
pub fn decide(rules: &Rules, facts: &Facts<'_>) -> Decision {
    let fired = rules.fired(facts);
    let mut reasons: Vec<_> = fired.iter().map(|rule| reason_of(rule)).collect();
    let colour = match fired.first() {
        Some(worst) if is_clear(facts) || fired.iter().any(|rule| covers(rule, facts)) => worst.colour,
        _ => {
            let (colour, reason) = without_rule(facts);
            reasons.insert(0, reason);
            colour
        }
    };
    reasons.extend(missing_reason(facts.found));
    reasons.extend(facts.score.and_then(score_missing));
    Decision {
        colour,
        reasons,
        advice: advice_of(&fired),
        restriction: restriction_of(&fired, colour),
        missing_sources: facts.found.missing_sources.clone(),
    }
}

fn reason_of(rule: &Rule) -> Reason {
    reason(&rule.id, rule.zh.clone(), rule.en.clone())
}

fn reason(rule: &str, zh: impl Into<String>, en: impl Into<String>) -> Reason {
    Reason { rule: rule.to_owned(), zh: zh.into(), en: en.into() }
}

/// Whether nothing was asked that did not come out well.
fn is_clear(facts: &Facts<'_>) -> bool {
    match facts.found.result {
        MatchResult::Match => true,
        MatchResult::NotAsked => facts.score.is_some_and(|score| score.status == ScoreStatus::Scored),
        _ => false,
    }
}

/// Whether a rule speaks of a result that is not clear: by marking it, or by its name.
fn covers(rule: &Rule, facts: &Facts<'_>) -> bool {
    rule.colour != Colour::Green || rule.when.names(facts.found.result)
}

fn without_rule(facts: &Facts<'_>) -> (Colour, Reason) {
    let [all_clear, uncovered, ..] = BUILT_IN;
    if !is_clear(facts) {
        let en = "No rule covers this result; decide by hand";
        return (Colour::Yellow, reason(uncovered, "现行规则未覆盖该核验结果，请人工判断", en));
    }
    let (zh, en) = match facts.found.result {
        MatchResult::NotAsked => ("未触发风险规则", "No risk rule fired"),
        _ => ("核验一致，未触发风险规则", "The details match and no risk rule fired"),
    };
    (Colour::Green, reason(all_clear, zh, en))
}

/// Names the missing sources and says what the colour rests on.
fn missing_reason(found: &Merged) -> Option<Reason> {
    if found.missing_sources.is_empty() {
        return None;
    }
    let [_, _, missing_sources, ..] = BUILT_IN;
    let has_verdict = matches!(found.result, MatchResult::Match | MatchResult::Mismatch);
    let (zh_rest, en_rest) = if has_verdict {
        ("；颜色依据其余来源得出", "; the colour rests on the other sources")
    } else {
        ("；其余来源也未能核实", "; no other source could confirm the details")
    };
    let zh = format!("以下来源未给出结论：{}{zh_rest}", found.missing_sources.join("、"));
    let en = format!("No verdict from: {}{en_rest}", found.missing_sources.join(", "));
    Some(reason(missing_sources, zh, en))
}

/// Says that the colour rests on the rules without the score.
fn score_missing(score: &ScoreReport) -> Option<Reason> {
    if !score.is_missing() {
        return None;
    }
    let [_, _, _, _, score_missing] = BUILT_IN;
    let names: Vec<_> = score.missing.iter().map(|source| source.provider.as_str()).collect();
    let (zh, en) = match names[..] {
        [] => (String::new(), String::new()),
        _ => (format!("（{}）", names.join("、")), format!(" ({})", names.join(", "))),
    };
    let zh = format!("联合评分未取得{zh}；颜色依据其余规则得出");
    let en = format!("No joint score{en}; the colour rests on the other rules");
    Some(reason(score_missing, zh, en))
}

fn advice_of(fired: &[&Rule]) -> Vec<Advice> {
    let mut advice: Vec<Advice> = Vec::new();
    for given in fired.iter().filter_map(|rule| rule.advice.as_ref()) {
        if !advice.contains(given) {
            advice.push(given.clone());
        }
    }
    advice
}

fn restriction_of(fired: &[&Rule], colour: Colour) -> Option<String> {
    fired.iter().filter(|rule| rule.colour == colour).find_map(|rule| rule.restriction.clone())
}

#[cfg(test)]
mod tests;
