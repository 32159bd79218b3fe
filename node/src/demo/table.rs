//! What people read: samples, a summary, and how to go on by hand.

use std::fmt::Write as _;

use super::case::{Case, Difference};
use super::figures::LatencyFigures;
use super::outcome::Outcome;
use super::trial::{Checked, Trial};
use crate::fleet::{Fleet, PURPOSE};
use crate::verification::DocumentType;
use crate::verification::{Colour, MatchResult, VerificationReport};

const COLUMNS: usize = 9;

/// Wrong answers that are shown.
const MAX_SHOWN: usize = 20;

const HEADER: [&str; COLUMNS] = [
    "申请号 ticket",
    "类别 class",
    "姓名 name",
    "证件号码 ID",
    "手机号 phone",
    "结果 result",
    "运营商 carrier",
    "联合评分 score",
    "颜色与原因 colour and reason",
];

/// An applicant of each class, the wrong answers, and the figures.
pub(super) fn overview(trial: &Trial) -> String {
    let mut samples: Vec<_> = trial.checked.iter().collect();
    // Of each class the applicant with the fewest reasons shows best what the class is about, and one whose colour
    // the score alone decided what the score is for.
    let class = |checked: &Checked| (class_order(&checked.case.expected.class), decided_by_score(checked));
    samples.sort_by_key(|checked| (class(checked), reasons(checked)));
    samples.dedup_by_key(|checked| class(checked));
    let mut text = columns(std::iter::once(HEADER.map(str::to_owned)).chain(samples.into_iter().map(row)));
    text.push_str(&wrong(trial));
    let latencies = trial.checked.iter().map(|checked| checked.latency).collect();
    let LatencyFigures { p50, p95, p99, max } = LatencyFigures::of(latencies);
    let (count, correct) = (trial.checked.len(), trial.correct());
    let per_second = count as f64 / trial.elapsed.as_secs_f64();
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        text,
        "\n核验 {count} 笔，与真值一致 {correct} 笔。\n\
         {count} verifications, {correct} as the truth says; {per_second:.0}/s; \
         p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, longest {max:.1} ms.\n"
    );
    if trial.scored() > 0 {
        let (scored, correct) = (trial.scored(), trial.scores_correct());
        let _ = write!(
            text,
            "联合评分 {scored} 笔，与真值一致 {correct} 笔。\n\
             {scored} joint scores, {correct} with the sum and the band that the truth says.\n"
        );
    }
    text
}

/// The end: colours, logs, time.
pub(super) fn closing(outcome: &Outcome, findings: &[String]) -> String {
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "日志问题 log: {finding}");
    }
    let colours = outcome.colours;
    let logs = if outcome.logs_verified { "验证通过 verified" } else { "有问题 NOT verified" };
    let _ = write!(
        text,
        "红 red {}，黄 yellow {}，绿 green {}；日志 logs {logs}；{:.1} s",
        colours.red, colours.yellow, colours.green, outcome.duration_s
    );
    text
}

/// Addresses, token, directory, and an applicant to try.
pub(super) fn serving(fleet: &Fleet, trial: &Trial) -> String {
    let dir = fleet.dir().display();
    let mut text = format!("\n银行 REST bank  {}\n", fleet.bank_url());
    for (party, address) in fleet.carriers() {
        let _ = writeln!(text, "提供方 provider {party} {address}");
    }
    let _ = writeln!(text, "目录 directory  {dir}\n令牌 token      {}", fleet.token().expose());
    if let Some(checked) = trial.checked.iter().find(|checked| is_plain(&checked.case)) {
        let _ = write!(text, "\n{}\n\n{}\n", curl(fleet, &checked.case), command(fleet, &checked.case));
    }
    text.push_str("\n按 Ctrl-C 停止。 Ctrl-C stops the nodes and verifies their logs.\n");
    text
}

fn reasons(checked: &Checked) -> usize {
    checked.answer.as_ref().map_or(0, |report| report.decision.reasons.len())
}

/// Whether no other rule asks for the colour: reasons of the worst colour stand first, those of the score last.
fn decided_by_score(checked: &Checked) -> bool {
    let first = checked.answer.as_ref().ok().and_then(|report| report.decision.reasons.first());
    first.is_some_and(|reason| reason.rule.starts_with("score_"))
}

/// Whose details can be pasted into a shell as they are.
fn is_plain(case: &Case) -> bool {
    let name = case.body.name.as_ref().map_or("", |name| name.expose());
    case.expected.class == "right"
        && case.expected.colour == "green"
        && case.body.document_type == DocumentType::ResidentId
        && name.chars().all(char::is_alphanumeric)
        && case.body.phone.expose().bytes().all(|b| b.is_ascii_digit())
}

fn curl(fleet: &Fleet, case: &Case) -> String {
    let body = serde_json::to_string(&case.body).expect("texts always serialise");
    format!(
        "curl -s {}/v1/verifications \\\n  -H \"Authorization: Bearer $(cat '{}/token')\" \\\n  \
         -H 'Content-Type: application/json' \\\n  -d '{body}'",
        fleet.bank_url(),
        fleet.dir().display(),
    )
}

fn command(fleet: &Fleet, case: &Case) -> String {
    let text = |value: &Option<crate::http::Private>| value.as_ref().map_or("", |v| v.expose()).to_owned();
    format!(
        "windvane verify --url {} --token-file '{}/token' \\\n  --name '{}' --id '{}' --phone {} \\\n  \
         --purpose {PURPOSE} --ticket {} --consent {} --operator {}",
        fleet.bank_url(),
        fleet.dir().display(),
        text(&case.body.name),
        text(&case.body.id_number),
        case.body.phone.expose(),
        case.body.ticket,
        case.body.consent.id,
        case.body.operator,
    )
}

fn row(checked: &Checked) -> [String; COLUMNS] {
    let Case { body, expected } = &checked.case;
    let private = |value: &Option<crate::http::Private>, mask: fn(&str) -> String| {
        value.as_ref().map_or_else(String::new, |value| mask(value.expose()))
    };
    let [result, carrier, score, decision] = match &checked.answer {
        Ok(report) => [result(report), knower(report), score(report), reason(report)],
        Err(problem) => [problem.code.clone(), String::new(), String::new(), String::new()],
    };
    [
        body.ticket.clone(),
        format!("{} {}", class_name(&expected.class), expected.class),
        private(&body.name, mask_name),
        private(&body.id_number, mask_id),
        mask_phone(body.phone.expose()),
        result,
        carrier,
        score,
        if checked.differences.is_empty() { decision } else { format!("✗ {decision}") },
    ]
}

fn result(report: &VerificationReport) -> String {
    let zh = match report.result {
        MatchResult::NotAsked => "未询问",
        MatchResult::Match => "一致",
        MatchResult::Mismatch => "不一致",
        MatchResult::NoRecord => "无记录",
        MatchResult::Unavailable => "无结论",
    };
    format!("{zh} {}", report.result)
}

fn knower(report: &VerificationReport) -> String {
    let knows = |result| matches!(result, MatchResult::Match | MatchResult::Mismatch);
    report.providers.iter().find(|answer| knows(answer.result)).map_or("", |a| &a.provider).to_owned()
}

/// The sum and its band; without one, what became of it.
fn score(report: &VerificationReport) -> String {
    let Some(score) = &report.score else { return String::new() };
    let band = score.band.as_deref().unwrap_or(score.status.as_str());
    let zh = BANDS.iter().find(|(code, _)| *code == band).map_or("", |(_, zh)| zh);
    let sum = score.sum.map_or_else(String::new, |sum| format!("{sum:>4} "));
    format!("{sum}{zh} {band}")
}

fn reason(report: &VerificationReport) -> String {
    let colour = match report.decision.colour {
        Colour::Red => "红 red",
        Colour::Yellow => "黄 yellow",
        Colour::Green => "绿 green",
    };
    let first = report.decision.reasons.first();
    first.map_or_else(|| colour.to_owned(), |reason| format!("{colour}: {} / {}", reason.zh, reason.en))
}

fn wrong(trial: &Trial) -> String {
    let mut text = String::new();
    let wrong = trial.checked.iter().filter(|checked| !checked.differences.is_empty());
    for checked in wrong.take(MAX_SHOWN) {
        let part = |Difference { part, expected, found }: &Difference| {
            format!("{part}: expected {expected:?}, found {found:?}")
        };
        let parts: Vec<_> = checked.differences.iter().map(part).collect();
        let _ = writeln!(text, "不符 wrong: {} {}", checked.case.body.ticket, parts.join("; "));
    }
    text
}

/// The bands of the world's model, and their names in Chinese.
const BANDS: [(&str, &str); 4] = [("low", "低"), ("medium", "中"), ("high", "高"), ("very_high", "极高")];

/// Where a class stands in the table, and its name in Chinese.
const CLASSES: [(&str, &str); 17] = [
    ("right", "三要素一致"),
    ("wrong_name", "姓名不符"),
    ("wrong_id", "证件不符"),
    ("wrong_both", "他人号码"),
    ("unknown", "未知号码"),
    ("fraud_confirmed", "涉诈确认"),
    ("money_mule", "跑分"),
    ("fraud_suspected", "疑似涉诈"),
    ("bulk_calling", "高频呼叫"),
    ("bulk_sms", "群发短信"),
    ("shared_device", "一机多卡"),
    ("sim_swapped", "近期换卡"),
    ("fresh", "新入网"),
    ("suspended", "停机"),
    ("closed", "销户"),
    ("recycled_recently", "近期二次放号"),
    ("many_numbers", "一证多号"),
];

fn class_order(class: &str) -> usize {
    CLASSES.iter().position(|(code, _)| *code == class).unwrap_or(CLASSES.len())
}

fn class_name(class: &str) -> &'static str {
    CLASSES.get(class_order(class)).map_or("", |(_, name)| name)
}

fn mask_name(name: &str) -> String {
    let hidden = name.chars().count().saturating_sub(1).min(2);
    name.chars().take(1).chain(std::iter::repeat_n('*', hidden)).collect()
}

fn mask_id(number: &str) -> String {
    format!("****{}", last_four(number))
}

fn mask_phone(phone: &str) -> String {
    format!("*******{}", last_four(phone))
}

fn last_four(text: &str) -> String {
    let significant: Vec<_> = text.chars().filter(|c| c.is_alphanumeric()).collect();
    significant[significant.len().saturating_sub(4)..].iter().collect()
}

/// Rows in columns; a terminal shows East Asian characters two cells wide.
fn columns(rows: impl Iterator<Item = [String; COLUMNS]>) -> String {
    let rows: Vec<_> = rows.collect();
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|i| rows.iter().map(|row| cells(&row[i])).max().unwrap_or_default());
    let line = |row: &[String; COLUMNS]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| {
            let padding = " ".repeat(width - cells(cell));
            format!("{cell}{padding}")
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// From Hangul Jamo on, what occurs in these tables is wide; the marks before are not.
fn cells(text: &str) -> usize {
    let wide = |c: char| c >= '\u{1100}' && !('\u{2000}'..'\u{2e80}').contains(&c);
    text.chars().map(|c| 1 + usize::from(wide(c))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_masked_in_every_spelling() {
        assert_eq!(mask_name("王小明"), "王**");
        assert_eq!(mask_name("JOHN SMITH"), "J**");
        assert_eq!(mask_id("11010519491231002x"), "****002x");
        assert_eq!(mask_phone("+86 138-0013-8000"), "*******8000");
        assert_eq!(mask_phone("12"), "*******12");
    }

    #[test]
    fn columns_are_even_whatever_the_script() {
        let row = |first: &str| {
            let mut row: [String; COLUMNS] = Default::default();
            (row[0], row[1]) = (first.to_owned(), "|".to_owned());
            row
        };
        let text = columns([row("号码"), row("ab"), row("abcd")].into_iter());
        assert_eq!(text, "号码  |\nab    |\nabcd  |\n");
    }
}
