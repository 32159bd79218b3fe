use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::risk::Vocabulary;
use crate::verification::{Mismatch, ScoreReport, ScoreSource, ScoreStatus};

const NAME: Mismatch = Mismatch { name: true, id: false };
const ID: Mismatch = Mismatch { name: false, id: true };
const BOTH: Mismatch = Mismatch { name: true, id: true };

/// A match without marks: green under the shipped rules.
fn clean() -> Merged {
    let codes = [
        ("status", "active"),
        ("tenure", "ge_3y"),
        ("sim_swap", "never"),
        ("recycled", "no"),
        ("numbers_under_id", "1"),
    ];
    Merged {
        result: MatchResult::Match,
        mismatch: None,
        attributes: codes.into_iter().map(|(name, code)| (name.to_owned(), code.to_owned())).collect(),
        tags: BTreeSet::new(),
        missing_sources: Vec::new(),
    }
}

fn with(codes: &[(&str, &str)]) -> Merged {
    let mut found = clean();
    found.attributes.extend(codes.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())));
    found
}

fn tagged(tags: &[&str]) -> Merged {
    Merged { tags: tags.iter().map(|&tag| tag.to_owned()).collect(), ..clean() }
}

/// Without a label, as when no provider knows the number.
fn bare(result: MatchResult, mismatch: Option<Mismatch>) -> Merged {
    Merged { result, mismatch, attributes: BTreeMap::new(), ..clean() }
}

fn missing(found: Merged, sources: &[&str]) -> Merged {
    Merged { missing_sources: sources.iter().map(|&source| source.to_owned()).collect(), ..found }
}

fn facts(found: &Merged) -> Facts<'_> {
    Facts { found, score: None, customer_type: None, document_type: None }
}

fn shipped(found: &Merged) -> Decision {
    decide(&Rules::shipped(), &facts(found))
}

fn parsed(text: &str) -> Rules {
    Rules::parse(text, &Vocabulary::carrier()).unwrap()
}

fn reason_ids(decision: &Decision) -> Vec<&str> {
    decision.reasons.iter().map(|reason| reason.rule.as_str()).collect()
}

/// Findings, the shipped rules that they fire in order, and the colour.
fn firing_cases() -> Vec<(Merged, Vec<&'static str>, Colour)> {
    use Colour::{Red, Yellow};
    use MatchResult::{Mismatch, NoRecord, Unavailable};
    vec![
        (bare(Mismatch, Some(BOTH)), vec!["mismatch_both"], Red),
        (bare(Mismatch, Some(ID)), vec!["mismatch_id"], Red),
        (bare(Mismatch, Some(NAME)), vec!["mismatch_name"], Red),
        (tagged(&["fraud_confirmed"]), vec!["tag_fraud_confirmed"], Red),
        (tagged(&["money_mule"]), vec!["tag_money_mule"], Red),
        (with(&[("status", "closed")]), vec!["status_closed"], Red),
        (bare(NoRecord, None), vec!["no_record"], Yellow),
        (bare(Unavailable, None), vec!["unavailable"], Yellow),
        (tagged(&["fraud_suspected"]), vec!["tag_fraud_suspected"], Yellow),
        (tagged(&["bulk_calling"]), vec!["tag_bulk_calling"], Yellow),
        (tagged(&["bulk_sms"]), vec!["tag_bulk_sms"], Yellow),
        (tagged(&["shared_device"]), vec!["tag_shared_device"], Yellow),
        (with(&[("sim_swap", "le_1d")]), vec!["sim_swap_recent"], Yellow),
        (with(&[("sim_swap", "le_3d")]), vec!["sim_swap_recent"], Yellow),
        (with(&[("sim_swap", "le_7d")]), vec!["sim_swap_recent"], Yellow),
        (with(&[("tenure", "lt_30d")]), vec!["tenure_new"], Yellow),
        (with(&[("numbers_under_id", "5_9")]), vec!["numbers_many"], Yellow),
        (with(&[("numbers_under_id", "ge_10")]), vec!["numbers_many"], Yellow),
        (with(&[("status", "suspended")]), vec!["status_suspended"], Yellow),
        (with(&[("recycled", "yes"), ("tenure", "d30_90")]), vec!["recycled_recent"], Yellow),
        (with(&[("recycled", "yes"), ("tenure", "lt_30d")]), vec!["tenure_new", "recycled_recent"], Yellow),
    ]
}

#[test]
fn every_shipped_rule_fires_on_its_own_findings_and_on_no_others() {
    let mut seen = BTreeSet::new();
    for (found, expected, colour) in firing_cases() {
        let decision = shipped(&found);
        assert_eq!(reason_ids(&decision), expected, "{found:?}");
        assert_eq!(decision.colour, colour, "{found:?}");
        assert!(!decision.advice.is_empty(), "{found:?}");
        seen.extend(expected);
    }
    for (band, expected, colour) in
        [("very_high", "score_very_high", Colour::Red), ("high", "score_high", Colour::Yellow)]
    {
        let decision = scored(ScoreStatus::Scored, Some(band));
        assert_eq!((reason_ids(&decision), decision.colour), (vec![expected], colour));
        assert!(!decision.advice.is_empty(), "{band}");
        seen.insert(expected);
    }
    let rules = Rules::shipped();
    assert_eq!(seen, rules.ids().collect(), "each shipped rule needs a case");
}

/// The shipped decision about a clean person with this score.
fn scored(status: ScoreStatus, band: Option<&str>) -> Decision {
    let missing = ScoreSource { provider: "carrier-a".into(), error: "DEADLINE_EXCEEDED".into() };
    let lacks = matches!(status, ScoreStatus::Unavailable | ScoreStatus::Undecodable);
    let score = ScoreReport {
        status,
        group: "joint-risk".into(),
        epoch: 1,
        model: "fraud-1".into(),
        band: band.map(str::to_owned),
        probability: None,
        sum: None,
        error: lacks.then(|| "SCORE_UNAVAILABLE".to_owned()),
        missing: if lacks { vec![missing] } else { Vec::new() },
    };
    let found = clean();
    decide(&Rules::shipped(), &Facts { score: Some(&score), ..facts(&found) })
}

#[test]
fn a_score_that_is_missing_is_a_reason_and_no_colour() {
    let decision = scored(ScoreStatus::Unavailable, None);
    assert_eq!((reason_ids(&decision), decision.colour), (vec!["all_clear", "score_missing"], Colour::Green));
    assert!(decision.reasons[1].zh.contains("carrier-a") && decision.reasons[1].en.contains("carrier-a"));
    for (status, band) in [(ScoreStatus::Outside, None), (ScoreStatus::Scored, Some("low"))] {
        assert_eq!(reason_ids(&scored(status, band)), ["all_clear"]);
    }
}

#[test]
fn findings_next_to_a_shipped_rule_stay_green() {
    let mut cases = vec![clean()];
    cases.extend(["d30_90", "d90_180", "d180_365", "y1_3"].map(|code| with(&[("tenure", code)])));
    cases.extend(["le_30d", "le_90d", "gt_90d"].map(|code| with(&[("sim_swap", code)])));
    cases.extend(["2", "3_4"].map(|code| with(&[("numbers_under_id", code)])));
    cases.extend(["d90_180", "ge_3y"].map(|code| with(&[("recycled", "yes"), ("tenure", code)])));
    cases.push(bare(MatchResult::Match, None));
    for found in cases {
        let decision = shipped(&found);
        assert_eq!(reason_ids(&decision), ["all_clear"], "{found:?}");
        assert_eq!((decision.colour, decision.restriction), (Colour::Green, None), "{found:?}");
        assert!(decision.advice.is_empty(), "{found:?}");
    }
}

#[test]
fn the_worst_colour_wins_and_reasons_stand_in_order_of_severity() {
    let rules = parsed(
        r#"
        version = "t"
        [[rule]]
        id = "calm"
        colour = "green"
        zh = "绿"
        en = "green"
        advice_zh = "无"
        advice_en = "nothing"
        restriction = "none"
        when = { result = ["match"] }
        [[rule]]
        id = "first"
        colour = "yellow"
        zh = "黄"
        en = "yellow"
        advice_zh = "核实"
        advice_en = "check"
        restriction = "weak"
        when = { tags_any = ["bulk_sms"] }
        [[rule]]
        id = "worst"
        colour = "red"
        zh = "红"
        en = "red"
        advice_zh = "核实"
        advice_en = "check"
        when = { tags_any = ["money_mule"] }
        [[rule]]
        id = "worst_too"
        colour = "red"
        zh = "红"
        en = "red"
        restriction = "strong"
        when = { tags_any = ["fraud_confirmed"] }
        "#,
    );
    let decide_on = |tags: &[&str]| decide(&rules, &facts(&tagged(tags)));

    let red = decide_on(&["bulk_sms", "fraud_confirmed", "money_mule"]);
    assert_eq!(red.colour, Colour::Red);
    assert_eq!(reason_ids(&red), ["worst", "worst_too", "first", "calm"]);
    assert_eq!(red.restriction.as_deref(), Some("strong"));
    let advice: Vec<_> = red.advice.iter().map(|advice| advice.en.as_str()).collect();
    assert_eq!(advice, ["check", "nothing"], "advice is not repeated");

    let unrestricted = decide_on(&["bulk_sms", "money_mule"]);
    assert_eq!(unrestricted.colour, Colour::Red);
    assert_eq!(unrestricted.restriction, None, "a lesser rule's restriction would be too weak");

    let yellow = decide_on(&["bulk_sms"]);
    assert_eq!((yellow.colour, yellow.restriction.as_deref()), (Colour::Yellow, Some("weak")));
    let green = decide_on(&[]);
    assert_eq!((green.colour, reason_ids(&green)), (Colour::Green, vec!["calm"]));
}

#[test]
fn red_outranks_yellow_in_the_shipped_rules() {
    let mut found = tagged(&["shared_device", "fraud_confirmed"]);
    found.attributes.insert("tenure".into(), "lt_30d".into());
    let decision = shipped(&found);
    assert_eq!(decision.colour, Colour::Red);
    assert_eq!(reason_ids(&decision), ["tag_fraud_confirmed", "tag_shared_device", "tenure_new"]);
    assert_eq!(decision.restriction.as_deref(), Some("refuse_opening"));
}

#[test]
fn a_missing_source_is_named_and_changes_the_colour_only_without_a_verdict() {
    use MatchResult::{Mismatch, Unavailable};
    for (found, colour, fired) in [
        (clean(), Colour::Green, "all_clear"),
        (tagged(&["bulk_sms"]), Colour::Yellow, "tag_bulk_sms"),
        (bare(Mismatch, Some(ID)), Colour::Red, "mismatch_id"),
        (bare(Unavailable, None), Colour::Yellow, "unavailable"),
    ] {
        let found = missing(found, &["carrier-b", "carrier-c"]);
        let decision = shipped(&found);
        assert_eq!(decision.colour, colour);
        assert_eq!(reason_ids(&decision), [fired, "missing_sources"]);
        assert_eq!(decision.missing_sources, ["carrier-b", "carrier-c"]);
        let last = decision.reasons.last().unwrap();
        assert!(last.zh.contains("carrier-b、carrier-c"), "{}", last.zh);
        assert!(last.en.contains("carrier-b, carrier-c"), "{}", last.en);
        assert_eq!(last.en.contains("rests on the other sources"), found.result != Unavailable);
    }
}

#[test]
fn a_result_that_no_rule_covers_is_yellow_unless_it_is_a_match() {
    let text = r#"
        version = "t"
        [[rule]]
        id = "never"
        colour = "red"
        zh = "红"
        en = "red"
        when = { tags_any = ["money_mule"] }
    "#;
    use MatchResult::{Match, Mismatch, NoRecord, Unavailable};
    for (result, colour, reason) in [
        (Match, Colour::Green, "all_clear"),
        (Mismatch, Colour::Yellow, "uncovered"),
        (NoRecord, Colour::Yellow, "uncovered"),
        (Unavailable, Colour::Yellow, "uncovered"),
    ] {
        let decision = decide(&parsed(text), &facts(&bare(result, None)));
        assert_eq!((decision.colour, reason_ids(&decision)), (colour, vec![reason]));
    }
}

#[test]
fn a_green_rule_covers_the_results_that_it_names_alone() {
    use MatchResult::{Match, Mismatch, NoRecord, NotAsked, Unavailable};
    let staff = |more: &str| one_green_rule(&format!("customer_type = [\"staff\"]{more}"));
    let decided = |rules: &Rules, result, mismatch| {
        let found = bare(result, mismatch);
        decide(rules, &Facts { customer_type: Some("staff"), ..facts(&found) })
    };
    for result in [Mismatch, NoRecord, Unavailable, NotAsked] {
        let decision = decided(&staff(""), result, None);
        assert_eq!((decision.colour, reason_ids(&decision)), (Colour::Yellow, vec!["uncovered", "x"]));
        assert_eq!(decision.restriction, None);
    }
    assert_eq!(reason_ids(&decided(&staff(""), Match, None)), ["x"]);
    let named = staff(r#", result = ["match", "unavailable"]"#);
    let decision = decided(&named, Unavailable, None);
    assert_eq!((decision.colour, reason_ids(&decision)), (Colour::Green, vec!["x"]));
    assert_eq!(reason_ids(&decided(&named, NoRecord, None)), ["uncovered"]);
    let excused = staff(r#", mismatch_exactly = ["name"]"#);
    assert_eq!(decided(&excused, Mismatch, Some(NAME)).colour, Colour::Green);
    let unscored = ScoreReport::unavailable(&"joint-risk".parse().unwrap(), 1, "fraud-1", "");
    let score = ScoreReport { status: ScoreStatus::Scored, error: None, ..unscored };
    let found = bare(NotAsked, None);
    let alone = Facts { score: Some(&score), customer_type: Some("staff"), ..facts(&found) };
    assert_eq!(decide(&staff(""), &alone).colour, Colour::Green);
}

/// A policy with one green rule under the condition.
fn one_green_rule(when: &str) -> Rules {
    parsed(&format!(
        "version = \"t\"\n[[rule]]\nid = \"x\"\ncolour = \"green\"\nzh = \"绿\"\nen = \"green\"\n\
         restriction = \"none\"\nwhen = {{ {when} }}"
    ))
}

/// A policy with one red rule under the condition.
fn one_rule(when: &str) -> Rules {
    parsed(&format!(
        "version = \"t\"\n[[rule]]\nid = \"x\"\ncolour = \"red\"\nzh = \"红\"\nen = \"red\"\nwhen = {{ {when} }}"
    ))
}

#[test]
fn conditions_that_the_shipped_rules_do_not_use_hold_as_documented() {
    let name = bare(MatchResult::Mismatch, Some(NAME));
    let both = bare(MatchResult::Mismatch, Some(BOTH));
    let silent = missing(clean(), &["carrier-a"]);
    for (when, found, fires) in [
        (r#"mismatch_any = ["id"]"#, &name, false),
        (r#"mismatch_any = ["name"]"#, &name, true),
        (r#"mismatch_any = ["name"]"#, &both, true),
        (r#"mismatch_any = ["name", "id"]"#, &name, true),
        (r#"mismatch_any = ["name", "id"]"#, &silent, false),
        (r#"mismatch_exactly = ["name"]"#, &both, false),
        ("missing_source = true", &silent, true),
        ("missing_source = true", &name, false),
        ("missing_source = false", &silent, false),
        ("missing_source = false", &name, true),
        (r#"missing_source = true, result = ["mismatch"]"#, &silent, false),
    ] {
        let decision = decide(&one_rule(when), &facts(found));
        assert_eq!(reason_ids(&decision).contains(&"x"), fires, "{when} on {found:?}");
    }
}

#[test]
fn customer_and_document_types_are_compared_with_the_call() {
    let rules = one_rule(r#"customer_type = ["personal", "student"], document_type = ["passport"]"#);
    let found = clean();
    for (customer_type, document_type, fires) in [
        (Some("personal"), Some("passport"), true),
        (Some("student"), Some("passport"), true),
        (Some("company"), Some("passport"), false),
        (Some("personal"), Some("resident_id"), false),
        (Some("personal"), None, false),
        (None, Some("passport"), false),
    ] {
        let decision = decide(&rules, &Facts { found: &found, score: None, customer_type, document_type });
        assert_eq!(decision.colour == Colour::Red, fires, "{customer_type:?} {document_type:?}");
    }
}
