//! A row of results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::explanation;
use crate::http::{BatchResult, Problem};
use crate::verification::{Mismatch, VerificationReport};

/// The header of the output.
pub const HEADER: [&str; 13] = [
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
];

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
        ])
    }

    fn of_problem(line: String, ticket: String, problem: &Problem) -> Self {
        let mut cells: [String; HEADER.len()] = Default::default();
        [cells[0], cells[1]] = [line, ticket];
        [cells[11], cells[12]] = [problem.code.clone(), explanation(problem)];
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
        &self.0[11]
    }
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
