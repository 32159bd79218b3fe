//! A verification's report for people, in Chinese and English.

use std::fmt::Write as _;

use windvane::verification::{
    Colour, MatchResult, Mismatch, ProviderAnswer, ScoreReport, ScoreStatus, VerificationReport,
};

/// The report as text.
pub(super) fn text(report: &VerificationReport) -> String {
    let decision = &report.decision;
    let mut lines = Lines::default();
    lines.say("核验 Verification", &format!("{}, {:.1} ms, {}", report.id, report.elapsed_ms, report.at));
    lines.say("结果 Result", &verdict(report.result, report.mismatch));
    lines.say("颜色 Colour", colour(decision.colour));
    for reason in &decision.reasons {
        lines.say("理由 Reason", &format!("{} / {} [{}]", reason.zh, reason.en, reason.rule));
    }
    for advice in &decision.advice {
        lines.say("建议 Advice", &format!("{} / {}", advice.zh, advice.en));
    }
    if let Some(restriction) = &decision.restriction {
        lines.say("限制 Restriction", restriction);
    }
    for (name, value) in &report.attributes {
        lines.say("属性 Attribute", &format!("{name} = {value}"));
    }
    for tag in &report.tags {
        lines.say("标签 Tag", tag);
    }
    for answer in &report.providers {
        lines.say("来源 Source", &source(answer));
    }
    if let Some(score) = &report.score {
        lines.say("评分 Score", &self::score(score));
    }
    lines.0
}

/// Lines of a label and a text.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn say(&mut self, label: &str, text: &str) {
        // A Chinese character takes two columns of a terminal.
        let columns: usize = label.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        let _ = writeln!(self.0, "{label}{:1$}{text}", "", 20_usize.saturating_sub(columns));
    }
}

fn verdict(result: MatchResult, mismatch: Option<Mismatch>) -> String {
    let (zh, en) = match result {
        MatchResult::Match => ("一致", "match"),
        MatchResult::Mismatch => ("不一致", "mismatch"),
        MatchResult::NoRecord => ("无记录", "no record"),
        MatchResult::Unavailable => ("暂无结论", "unavailable"),
        MatchResult::NotAsked => ("未询问", "not asked"),
    };
    let what = match mismatch {
        Some(Mismatch { name: true, id: true }) => "（姓名、证件 name, ID）",
        Some(Mismatch { name: true, id: false }) => "（姓名 name）",
        Some(Mismatch { name: false, id: true }) => "（证件 ID）",
        _ => "",
    };
    format!("{zh} {en}{what}")
}

const fn colour(colour: Colour) -> &'static str {
    match colour {
        Colour::Green => "绿 green",
        Colour::Yellow => "黄 yellow",
        Colour::Red => "红 red",
    }
}

fn source(answer: &ProviderAnswer) -> String {
    let mut text = format!("{}: {}", answer.provider, verdict(answer.result, answer.mismatch));
    if let Some(date) = &answer.valid_on {
        let _ = write!(text, ", 数据日期 data of {date}");
    }
    if let Some(error) = &answer.error {
        let _ = write!(text, ", {error}");
    }
    if let Some(receipt) = &answer.receipt {
        let _ = write!(text, ", 回执 receipt {receipt}");
    }
    text
}

fn score(score: &ScoreReport) -> String {
    let status = match score.status {
        ScoreStatus::Scored => "",
        ScoreStatus::Outside => "号段之外 outside the segments",
        ScoreStatus::Unavailable => "未取得 unavailable",
        ScoreStatus::Undecodable => "无法解码 undecodable",
    };
    let mut text = score.band.clone().unwrap_or_else(|| status.to_owned());
    if let Some(probability) = score.probability {
        let _ = write!(text, ", 概率 probability {probability:.6}");
    }
    let _ = write!(text, ", 模型 model {} ({} {})", score.model, score.group, score.epoch);
    for source in &score.missing {
        let _ = write!(text, ", {}: {}", source.provider, source.error);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use windvane::verification::{Decision, Reason};

    use super::*;

    #[test]
    fn a_report_names_verdict_colour_reason_and_every_source() {
        let differs = Mismatch { name: true, id: false };
        let report = VerificationReport {
            id: "v1".into(),
            result: MatchResult::Mismatch,
            mismatch: Some(differs),
            attributes: BTreeMap::from([("status".into(), "active".into())]),
            tags: BTreeSet::from(["bulk_sms".into()]),
            providers: vec![
                ProviderAnswer::new("carrier-a", (MatchResult::Mismatch, Some(differs))),
                ProviderAnswer::unavailable("carrier-b", "DEADLINE_EXCEEDED"),
            ],
            score: Some(ScoreReport {
                status: ScoreStatus::Scored,
                group: "joint-risk".into(),
                epoch: 3,
                model: "fraud-1".into(),
                band: Some("high".into()),
                probability: Some(0.25),
                sum: Some(90),
                error: None,
                missing: Vec::new(),
            }),
            decision: Decision {
                colour: Colour::Red,
                reasons: vec![Reason { rule: "r".into(), zh: "不符".into(), en: "no fit".into() }],
                advice: Vec::new(),
                restriction: None,
                missing_sources: vec!["carrier-b".into()],
            },
            elapsed_ms: 2.54,
            at: "2025-01-31T08:00:00Z".into(),
        };
        let text = text(&report);
        for expected in [
            "核验 Verification   v1, 2.5 ms",
            "结果 Result         不一致 mismatch（姓名 name）",
            "颜色 Colour         红 red",
            "理由 Reason         不符 / no fit [r]",
            "属性 Attribute      status = active",
            "标签 Tag            bulk_sms",
            "来源 Source         carrier-a: 不一致 mismatch（姓名 name）",
            "来源 Source         carrier-b: 暂无结论 unavailable, DEADLINE_EXCEEDED",
            "评分 Score          high, 概率 probability 0.250000, 模型 model fraud-1 (joint-risk 3)",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
