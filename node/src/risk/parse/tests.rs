use super::*;
use crate::verification::{Colour, MatchResult};

/// A rule that is accepted as it stands.
const GOOD: &str = r#"
    id = "good"
    colour = "yellow"
    zh = "理由"
    en = "reason"
    when = { result = ["no_record"] }
"#;

fn parse(text: &str) -> Result<Rules, RuleError> {
    Rules::parse(text, &Vocabulary::carrier())
}

fn policy(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("[[rule]]\n{rule}\n")).collect();
    format!("version = \"t\"\n{rules}")
}

/// `GOOD` with the line of `field` replaced.
fn good_but(field: &str, line: &str) -> String {
    let start = format!("{field} =");
    let has_field = |line: &&str| line.trim_start().starts_with(&start);
    assert_eq!(GOOD.lines().filter(has_field).count(), 1, "{field} is not in GOOD");
    let lines = GOOD.lines().map(|old| if has_field(&old) { line } else { old });
    policy(&[&lines.collect::<Vec<_>>().join("\n")])
}

fn refusal(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn the_shipped_rules_parse_and_have_a_version() {
    let rules = parse(include_str!("../../../rules.toml")).unwrap();
    assert_eq!(rules, Rules::shipped());
    assert!(!rules.version().is_empty());
}

#[test]
fn every_field_is_read() {
    let text = policy(&[r#"
        id = "all"
        colour = "red"
        zh = "理由"
        en = "reason"
        advice_zh = "建议"
        advice_en = "advice"
        restriction = "hold"
        [rule.when]
        result = ["mismatch", "match"]
        mismatch_any = ["id"]
        mismatch_exactly = ["name", "id"]
        tags_any = ["money_mule"]
        attributes = { status = ["closed"], recycled = ["yes", "no"] }
        missing_source = false
        customer_type = ["personal"]
        document_type = ["passport"]
        score_band = ["high"]
        score_missing = true
    "#]);
    let set = |codes: &[&str]| codes.iter().map(|&code| code.to_owned()).collect::<BTreeSet<_>>();
    let expected = Rule {
        id: "all".into(),
        colour: Colour::Red,
        zh: "理由".into(),
        en: "reason".into(),
        advice: Some(Advice { zh: "建议".into(), en: "advice".into() }),
        restriction: Some("hold".into()),
        when: When {
            result: Some(vec![MatchResult::Mismatch, MatchResult::Match]),
            mismatch_any: Some(Mismatch { name: false, id: true }),
            mismatch_exactly: Some(Mismatch { name: true, id: true }),
            tags_any: Some(set(&["money_mule"])),
            attributes: BTreeMap::from([
                ("status".into(), set(&["closed"])),
                ("recycled".into(), set(&["no", "yes"])),
            ]),
            missing_source: Some(false),
            score_band: Some(set(&["high"])),
            score_missing: Some(true),
            customer_type: Some(set(&["personal"])),
            document_type: Some(set(&["passport"])),
        },
    };
    assert_eq!(parse(&text).unwrap(), Rules { version: "t".into(), rules: vec![expected] });
}

#[test]
fn a_malformed_field_is_refused_with_its_rule_and_its_name() {
    let long = format!("id = \"{}\"", "x".repeat(MAX_CODE_BYTES + 1));
    for (field, line, rule, named) in [
        ("id", "", "#1", "field id is missing"),
        ("id", "id = 7", "#1", "field id:"),
        ("id", "id = \"\"", "#1", "field id is empty"),
        ("id", "id = \"Has Spaces\"", "#1", "field id is not a code"),
        ("id", &long, "#1", "field id is not a code"),
        ("id", "id = \"all_clear\"", "all_clear", "field id is reserved"),
        ("colour", "", "good", "field colour is missing"),
        ("colour", "colour = \"orange\"", "good", "field colour: unknown variant `orange`"),
        ("zh", "", "good", "field zh is missing"),
        ("zh", "zh = \" \"", "good", "field zh is empty"),
        ("en", "", "good", "field en is missing"),
        ("en", "en = [\"a\"]", "good", "field en: invalid type"),
        ("en", "en = \"a\"\nadvice_en = \"b\"", "good", "field advice_zh is missing"),
        ("en", "en = \"a\"\nadvice_zh = \"b\"", "good", "field advice_en is missing"),
        ("en", "en = \"a\"\nrestriction = \"No!\"", "good", "field restriction is not a code"),
        ("en", "en = \"a\"\nseverity = 3", "good", "unknown field severity"),
        ("when", "", "good", "field when is missing"),
        ("when", "when = \"always\"", "good", "field when: invalid type"),
        ("when", "when = {}", "good", "field when is empty"),
    ] {
        let message = refusal(&good_but(field, line));
        assert!(message.starts_with(&format!("rule {rule}: {named}")), "{line}: {message}");
    }
}

#[test]
fn a_malformed_condition_is_refused_with_its_rule_and_its_name() {
    for (condition, named) in [
        ("results = [\"match\"]", "unknown field when.results"),
        ("result = []", "field when.result is empty"),
        ("result = \"match\"", "field when.result: invalid type"),
        ("result = [\"maybe\"]", "field when.result: unknown variant `maybe`"),
        ("mismatch_any = [\"phone\"]", "field when.mismatch_any: unknown variant `phone`"),
        ("mismatch_exactly = []", "field when.mismatch_exactly is empty"),
        ("tags_any = []", "field when.tags_any is empty"),
        ("tags_any = [\"fraud\"]", "field when.tags_any: found fraud, expected one of bulk_calling,"),
        ("attributes = {}", "field when.attributes is empty"),
        (
            "attributes = { state = [\"closed\"] }",
            "field when.attributes.state: found state, expected one of",
        ),
        ("attributes = { status = [] }", "field when.attributes.status is empty"),
        ("attributes = { status = \"closed\" }", "field when.attributes.status: invalid type"),
        ("attributes = { status = [\"gone\"] }", "field when.attributes.status: found gone, expected one of"),
        ("attributes = { tenure = [\"lt_30d\", \"closed\"] }", "field when.attributes.tenure: found closed"),
        ("missing_source = \"yes\"", "field when.missing_source: invalid type"),
        ("customer_type = [\"\"]", "field when.customer_type is empty"),
        ("document_type = \"passport\"", "field when.document_type: invalid type"),
        (
            "document_type = [\"passport\", \"身份证\"]",
            "field when.document_type: found 身份证, expected one of resident_id, passport, social_credit",
        ),
    ] {
        let message = refusal(&good_but("when", &format!("when = {{ {condition} }}")));
        assert!(message.starts_with(&format!("rule good: {named}")), "{condition}: {message}");
    }
}

#[test]
fn a_malformed_file_is_refused() {
    for (text, named) in [
        (String::new(), "version"),
        ("version = \"t\"".to_owned(), "no [[rule]]"),
        (policy(&[GOOD]).replace("\"t\"", "\" \""), "field version is blank"),
        (policy(&[GOOD]).replace("\"t\"", "1"), "version"),
        (format!("author = \"x\"\n{}", policy(&[GOOD])), "author"),
        ("version = \"t\"\n[[rule]\n".to_owned(), "line 2"),
        (policy(&[GOOD, GOOD]), "rule good: field id is a duplicate"),
    ] {
        let message = refusal(&text);
        assert!(message.contains(named), "expected {named}: {message}");
    }
}

#[test]
fn a_rule_without_an_id_is_named_by_its_position() {
    let message = refusal(&policy(&[GOOD, "colour = \"red\""]));
    assert!(message.starts_with("rule #2: field id is missing"), "{message}");
}

#[test]
fn codes_of_further_schemas_can_be_admitted() {
    let text = good_but("when", "when = { tags_any = [\"court_list\"], attributes = { grade = [\"d\"] } }");
    assert!(parse(&text).is_err());
    let words = Vocabulary::carrier().with_tags(["court_list"]).with_attribute("grade", ["c", "d"]);
    assert!(Rules::parse(&text, &words).is_ok());
}

#[test]
fn a_policy_is_loaded_from_a_file_up_to_the_size_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    let text = policy(&[GOOD]);
    let padded = |bytes: usize| format!("{text}#{}", " ".repeat(bytes - text.len() - 1));

    std::fs::write(&path, padded(MAX_RULES_BYTES)).unwrap();
    assert_eq!(Rules::load(&path, &Vocabulary::carrier()).unwrap(), parse(&text).unwrap());

    std::fs::write(&path, padded(MAX_RULES_BYTES + 1)).unwrap();
    let error = Rules::load(&path, &Vocabulary::carrier()).unwrap_err();
    assert!(matches!(error, RuleError::TooLarge { .. }), "{error}");

    let error = Rules::load(&folder.path().join("absent.toml"), &Vocabulary::carrier()).unwrap_err();
    assert!(error.to_string().contains("absent.toml"), "{error}");
}
