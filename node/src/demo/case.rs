//! An applicant's question, what is true of it, and how an answer differs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::DemoError;
use crate::fleet::PURPOSE;
use crate::http::{ConsentBody, Private, VerificationBody};
use crate::verification::DocumentType;
use crate::verification::{MatchResult, ScoreReport, VerificationReport};

/// Who asks.
const OPERATOR: &str = "demo-teller";

/// An applicant: the question and the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What the bank is asked.
    pub body: VerificationBody,
    /// What it must find.
    pub expected: Expected,
}

/// What is true of an application, by the codes of `truth.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Why the applicant is in the file.
    pub class: String,
    /// `match`, `mismatch` or `no_record`.
    pub result: String,
    /// `name`, `id`, `name+id` or nothing.
    pub mismatch: String,
    /// The carrier at which the number stands, or nothing.
    pub carrier: String,
    /// The number's tags.
    pub tags: BTreeSet<String>,
    /// `red`, `yellow` or `green`.
    pub colour: String,
    /// The joint score, where there must be one.
    pub score: Option<ExpectedScore>,
}

/// What is true of a number's joint score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedScore {
    /// The sum of all parts.
    pub sum: u16,
    /// The sum's band.
    pub band: String,
}

/// A part of an answer that is not as the truth says; it holds codes, no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `result`, `mismatch`, `carrier`, `tags`, `colour`, `score`, or `answer` when there was none.
    pub part: &'static str,
    /// What the truth says.
    pub expected: String,
    /// What the answer says.
    pub found: String,
}

#[derive(Deserialize)]
struct Application {
    #[serde(rename = "客户类型")]
    customer_type: String,
    #[serde(rename = "证件类型")]
    document_type: String,
    #[serde(rename = "证件号码")]
    id_number: String,
    #[serde(rename = "客户名称")]
    name: String,
    #[serde(rename = "手机号")]
    phone: String,
    #[serde(rename = "申请号")]
    ticket: String,
    #[serde(rename = "授权编号")]
    consent: String,
}

#[derive(Deserialize)]
struct TruthRow {
    #[serde(rename = "申请号")]
    ticket: String,
    class: String,
    result: String,
    mismatch: String,
    carrier: String,
    tags: String,
    colour: String,
}

#[derive(Deserialize)]
struct ScoreRow {
    #[serde(rename = "申请号")]
    ticket: String,
    sum: u16,
    band: String,
    colour: String,
}

/// Reads applicants and the truth about each, in the order of the applicants' file.
///
/// # Errors
/// [`DemoError::File`] when a file does not parse, or an applicant has no truth.
pub fn read_cases(applications: &Path, truth: &Path) -> Result<Vec<Case>, DemoError> {
    let mut truths: BTreeMap<_, _> =
        rows::<TruthRow>(truth)?.into_iter().map(|row| (row.ticket.clone(), Expected::from(row))).collect();
    let case = |application: Application| {
        let expected = truths.remove(&application.ticket).ok_or_else(|| DemoError::File {
            path: truth.to_owned(),
            rule: format!("has no row of its own for application {}", application.ticket),
        })?;
        Ok(Case { body: body(application, applications)?, expected })
    };
    rows(applications)?.into_iter().map(case).collect()
}

/// Adds the truth about each applicant's joint score, which may make the colour worse.
///
/// # Errors
/// [`DemoError::File`] when the file does not parse, or an applicant has no row.
pub fn expect_scores(cases: &mut [Case], truth: &Path) -> Result<(), DemoError> {
    let mut truths: BTreeMap<_, _> =
        rows::<ScoreRow>(truth)?.into_iter().map(|row| (row.ticket.clone(), row)).collect();
    for Case { body, expected } in cases {
        let ScoreRow { sum, band, colour, .. } =
            truths.remove(&body.ticket).ok_or_else(|| DemoError::File {
                path: truth.to_owned(),
                rule: format!("has no row of its own for application {}", body.ticket),
            })?;
        expected.colour = colour;
        expected.score = Some(ExpectedScore { sum, band });
    }
    Ok(())
}

fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, DemoError> {
    let refuse = |error: csv::Error| {
        let line = error.position().map_or(0, csv::Position::line);
        DemoError::File { path: path.to_owned(), rule: format!("line {line} is not as it must be") }
    };
    let mut reader = csv::Reader::from_path(path).map_err(refuse)?;
    reader.deserialize().collect::<Result<_, _>>().map_err(refuse)
}

fn body(row: Application, path: &Path) -> Result<VerificationBody, DemoError> {
    let document_type = match row.document_type.as_str() {
        "居民身份证" => DocumentType::ResidentId,
        "护照" => DocumentType::Passport,
        _ => {
            let rule = format!("证件类型 of application {} is 居民身份证 or 护照", row.ticket);
            return Err(DemoError::File { path: path.to_owned(), rule });
        }
    };
    Ok(VerificationBody {
        name: Some(Private::from(row.name)),
        id_number: Some(Private::from(row.id_number)),
        document_type,
        phone: Private::from(row.phone),
        customer_type: Some(row.customer_type),
        purpose: PURPOSE.to_owned(),
        ticket: row.ticket,
        consent: ConsentBody { id: row.consent, digest: None },
        operator: OPERATOR.to_owned(),
        outlet: None,
        branch: None,
    })
}

impl From<TruthRow> for Expected {
    fn from(row: TruthRow) -> Self {
        Self {
            class: row.class,
            result: row.result,
            mismatch: row.mismatch,
            carrier: row.carrier,
            tags: row.tags.split('|').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            colour: row.colour,
            score: None,
        }
    }
}

/// How an answer differs from the truth; nothing when it is right.
pub fn differences(expected: &Expected, report: &VerificationReport) -> Vec<Difference> {
    let join = |tags: &BTreeSet<String>| tags.iter().cloned().collect::<Vec<_>>().join("|");
    let parts = [
        ("result", expected.result.clone(), report.result.as_str().to_owned()),
        ("mismatch", expected.mismatch.clone(), mismatch(report).to_owned()),
        ("carrier", expected.carrier.clone(), carriers(report)),
        ("tags", join(&expected.tags), join(&report.tags)),
        ("colour", expected.colour.clone(), report.decision.colour.as_str().to_owned()),
    ];
    let score = expected.score.as_ref().map(|score| {
        let expected = format!("{} {}", score.sum, score.band);
        ("score", expected, report.score.as_ref().map_or_else(String::new, written))
    });
    let differs = parts.into_iter().chain(score).filter(|(_, expected, found)| expected != found);
    differs.map(|(part, expected, found)| Difference { part, expected, found }).collect()
}

/// Sum and band, or why there is none.
fn written(score: &ScoreReport) -> String {
    match (score.sum, &score.band) {
        (Some(sum), Some(band)) => format!("{sum} {band}"),
        _ => format!("{} {}", score.status.as_str(), score.error.as_deref().unwrap_or_default()),
    }
}

fn mismatch(report: &VerificationReport) -> &'static str {
    match report.mismatch.map(|mismatch| (mismatch.name, mismatch.id)) {
        Some((true, true)) => "name+id",
        Some((true, false)) => "name",
        Some((false, true)) => "id",
        Some((false, false)) | None => "",
    }
}

/// The providers that know the number; one that gave no verdict is marked, because it proves nothing.
fn carriers(report: &VerificationReport) -> String {
    let knows = report.providers.iter().filter(|answer| answer.result != MatchResult::NoRecord);
    let name = |answer: &crate::verification::ProviderAnswer| match &answer.error {
        Some(code) => format!("{}:{code}", answer.provider),
        None => answer.provider.clone(),
    };
    knows.map(name).collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::{Colour, Decision, Mismatch, ProviderAnswer, ScoreStatus};

    fn expected() -> Expected {
        Expected {
            class: "wrong_name".into(),
            result: "mismatch".into(),
            mismatch: "name".into(),
            carrier: "carrier-b".into(),
            tags: BTreeSet::from(["bulk_sms".into()]),
            colour: "red".into(),
            score: None,
        }
    }

    fn score(sum: Option<u16>, status: ScoreStatus) -> Option<ScoreReport> {
        Some(ScoreReport {
            status,
            group: "joint-risk".into(),
            epoch: 1,
            model: "m".into(),
            band: sum.map(|_| "high".into()),
            probability: None,
            sum,
            error: None,
            missing: Vec::new(),
        })
    }

    fn report() -> VerificationReport {
        let verdict = (MatchResult::Mismatch, Some(Mismatch { name: true, id: false }));
        VerificationReport {
            id: "00".into(),
            result: verdict.0,
            mismatch: verdict.1,
            attributes: BTreeMap::new(),
            tags: BTreeSet::from(["bulk_sms".into()]),
            score: None,
            providers: vec![
                ProviderAnswer::new("carrier-a", (MatchResult::NoRecord, None)),
                ProviderAnswer::new("carrier-b", verdict),
            ],
            decision: Decision {
                colour: Colour::Red,
                reasons: Vec::new(),
                advice: Vec::new(),
                restriction: None,
                missing_sources: Vec::new(),
            },
            elapsed_ms: 1.0,
            at: String::new(),
        }
    }

    #[test]
    fn a_right_answer_has_no_difference_and_every_wrong_part_is_named() {
        assert_eq!(differences(&expected(), &report()), []);
        let parts = |report: VerificationReport| {
            differences(&expected(), &report).into_iter().map(|d| d.part).collect::<Vec<_>>()
        };
        assert_eq!(parts(VerificationReport { result: MatchResult::Match, ..report() }), ["result"]);
        assert_eq!(parts(VerificationReport { mismatch: None, ..report() }), ["mismatch"]);
        assert_eq!(parts(VerificationReport { tags: BTreeSet::new(), ..report() }), ["tags"]);
        let mut wrong = report();
        wrong.providers[0] = ProviderAnswer::unavailable("carrier-a", "PEER_UNAVAILABLE");
        wrong.decision.colour = Colour::Yellow;
        assert_eq!(parts(wrong), ["carrier", "colour"]);
    }

    #[test]
    fn a_score_that_is_missing_or_another_is_a_difference_where_one_is_expected() {
        let scored = Expected { score: Some(ExpectedScore { sum: 210, band: "high".into() }), ..expected() };
        let found = |score| {
            let report = VerificationReport { score, ..report() };
            differences(&scored, &report).into_iter().map(|d| (d.part, d.found)).collect::<Vec<_>>()
        };
        assert_eq!(found(score(Some(210), ScoreStatus::Scored)), []);
        assert_eq!(found(score(Some(211), ScoreStatus::Scored)), [("score", "211 high".to_owned())]);
        assert_eq!(found(score(None, ScoreStatus::Outside)), [("score", "outside ".to_owned())]);
        assert_eq!(found(None), [("score", String::new())]);
        let unasked = VerificationReport { score: score(Some(9), ScoreStatus::Scored), ..report() };
        assert_eq!(differences(&expected(), &unasked), []);
    }

    #[test]
    fn scores_are_read_for_every_applicant_with_the_colours_that_mind_them() {
        let dir = tempfile::tempdir().unwrap();
        let files = super::super::simulate_scored(dir.path(), 1_000, 400).unwrap();
        let truth = files.scoring.unwrap().applications;
        let plain = read_cases(&files.applications, &files.truth).unwrap();
        let mut cases = plain.clone();
        expect_scores(&mut cases, &truth).unwrap();
        assert!(cases.iter().all(|case| case.expected.score.is_some()));
        assert!(cases.iter().zip(&plain).any(|(case, plain)| case.expected.colour != plain.expected.colour));
        let text = std::fs::read_to_string(&truth).unwrap();
        std::fs::write(&truth, text.lines().take(400).collect::<Vec<_>>().join("\n")).unwrap();
        assert_eq!(expect_scores(&mut plain.clone(), &truth).unwrap_err().code(), "WORLD_INVALID");
    }

    #[test]
    fn applicants_are_read_with_their_truth_whatever_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let files = super::super::simulate(dir.path(), 300, 40).unwrap();
        let cases = read_cases(&files.applications, &files.truth).unwrap();
        assert_eq!(cases.len(), 40);
        let truth = std::fs::read_to_string(&files.truth).unwrap();
        let mut lines: Vec<_> = truth.lines().collect();
        lines[1..].reverse();
        std::fs::write(&files.truth, lines.join("\n")).unwrap();
        assert_eq!(read_cases(&files.applications, &files.truth).unwrap(), cases);
        std::fs::write(&files.truth, lines[..40].join("\n")).unwrap();
        assert_eq!(read_cases(&files.applications, &files.truth).unwrap_err().code(), "WORLD_INVALID");
    }
}
