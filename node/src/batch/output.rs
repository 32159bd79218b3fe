//! A row of results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::explanation;
use crate::http::{BatchResult, Problem};
use crate::verification::{Mismatch, ScoreReport, ScoreStatus, VerificationReport};

/// The header of the output.
pub const HEADER: [&str; 17] = [
    "行号",
    "申请号",
    "结果",
    "不符项",
    "颜色",
    "原因",
    "建议",
    "标签",
    "属性",
    "缺失来源",
    "核验编号",
    "错误代码",
    "错误说明",
    "评分分档",
    "评分概率",
    "评分合计",
    "评分缺失",
];

/// Where the error's code stands.
const ERROR: usize = 11;

/// The cells under [`HEADER`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ResultRow([String; HEADER.len()]);

impl ResultRow {
    pub(super) fn new(line: u64, ticket: String, answer: &BatchResult) -> Self {
        let line = line.to_string();
        match answer {
            BatchResult::Report(report) => Self::of_report(line, ticket, report),
            BatchResult::Error(problem) => Self::of_problem(line, ticket, problem),
        }
    }

    fn of_report(line: String, ticket: String, report: &VerificationReport) -> Self {
        let decision = &report.decision;
        let [band, probability, sum, missing] = report.score.as_ref().map(score).unwrap_or_default();
        Self([
            line,
            ticket,
            report.result.as_str().to_owned(),
            report.mismatch.map_or("", misfits).to_owned(),
            decision.colour.as_str().to_owned(),
            joined("；", decision.reasons.iter().map(|reason| reason.zh.as_str())),
            joined("；", decision.advice.iter().map(|advice| advice.zh.as_str())),
            joined("|", report.tags.iter().map(String::as_str)),
            pairs(&report.attributes),
            joined("|", decision.missing_sources.iter().map(String::as_str)),
            report.id.clone(),
            String::new(),
            String::new(),
            band,
            probability,
            sum,
            missing,
        ])
    }

    fn of_problem(line: String, ticket: String, problem: &Problem) -> Self {
        let mut cells: [String; HEADER.len()] = Default::default();
        [cells[0], cells[1]] = [line, ticket];
        [cells[ERROR], cells[ERROR + 1]] = [problem.code.clone(), explanation(problem)];
        Self(cells)
    }

    pub(super) fn cells(&self) -> &[String] {
        &self.0
    }

    /// The verdict's code, empty where there is none.
    pub(super) fn result(&self) -> &str {
        &self.0[2]
    }

    /// The colour's code, empty where there is none.
    pub(super) fn colour(&self) -> &str {
        &self.0[4]
    }

    /// The error's code, empty where there is none.
    pub(super) fn error(&self) -> &str {
        &self.0[ERROR]
    }
}

/// Band, probability, sum, and what is missing: the code of an error, or of a number outside the segments, and the
/// providers that gave no right answer.
fn score(score: &ScoreReport) -> [String; 4] {
    let status = (score.status == ScoreStatus::Outside).then(|| score.status.as_str().to_owned());
    let providers = score.missing.iter().map(|source| source.provider.clone());
    let missing: Vec<_> = score.error.clone().or(status).into_iter().chain(providers).collect();
    let text = |number: Option<String>| number.unwrap_or_default();
    [
        score.band.clone().unwrap_or_default(),
        text(score.probability.map(|probability| format!("{probability:.6}"))),
        text(score.sum.map(|sum| sum.to_string())),
        missing.join("|"),
    ]
}

fn misfits(mismatch: Mismatch) -> &'static str {
    match (mismatch.name, mismatch.id) {
        (true, true) => "name|id",
        (true, false) => "name",
        (false, true) => "id",
        (false, false) => "",
    }
}

fn joined<'a>(separator: &str, texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<Vec<_>>().join(separator)
}

fn pairs(attributes: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = attributes.iter().map(|(name, code)| format!("{name}={code}")).collect();
    pairs.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::ScoreSource;

    fn report(status: ScoreStatus) -> ScoreReport {
        ScoreReport {
            status,
            group: "joint-risk".into(),
            epoch: 3,
            model: "fraud-1".into(),
            band: None,
            probability: None,
            sum: None,
            error: None,
            missing: Vec::new(),
        }
    }

    #[test]
    fn a_scores_cells_say_what_there_is_and_what_is_missing() {
        let known = (Some("high".to_owned()), Some(0.25), Some(90));
        let (band, probability, sum) = known;
        let scored = ScoreReport { band, probability, sum, ..report(ScoreStatus::Scored) };
        assert_eq!(score(&scored), ["high", "0.250000", "90", ""]);
        assert_eq!(score(&report(ScoreStatus::Outside)), ["", "", "", "outside"]);
        let missing = vec![ScoreSource { provider: "carrier-a".into(), error: "DEADLINE_EXCEEDED".into() }];
        let error = Some("SCORE_UNAVAILABLE".to_owned());
        let unavailable = ScoreReport { error, missing, ..report(ScoreStatus::Unavailable) };
        assert_eq!(score(&unavailable), ["", "", "", "SCORE_UNAVAILABLE|carrier-a"]);
    }
}
