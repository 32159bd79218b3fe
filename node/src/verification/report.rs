//! The answer that a bank's own systems see, per provider and as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::score::ScoreReport;

/// Whether the name, the ID number and the telephone number of a question belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchResult {
    /// Everything that was asked, and that the grant lets the provider answer, belongs together.
    Match,
    /// The provider knows the number, but not with this person.
    Mismatch,
    /// The provider does not know the number.
    NoRecord,
    /// No verdict: the provider did not answer, failed a check, or its grant covers nothing that was asked.
    Unavailable,
    /// Nothing was asked about the person but the score.
    NotAsked,
}

impl MatchResult {
    /// The stable code, as in JSON and in rule files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::NoRecord => "no_record",
            Self::Unavailable => "unavailable",
            Self::NotAsked => "not_asked",
        }
    }
}

impl fmt::Display for MatchResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which elements do not fit the number. Both are set where each fits alone but the three do not together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Mismatch {
    /// The name does not fit the number.
    pub name: bool,
    /// The ID number does not fit the number.
    pub id: bool,
}

impl Mismatch {
    /// How many elements do not fit, 0 to 2.
    pub fn count(self) -> usize {
        usize::from(self.name) + usize::from(self.id)
    }
}

/// What one provider's rows say. The provider itself never learns this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderAnswer {
    /// The provider's party id.
    pub provider: String,
    /// The verdict from this provider's rows alone.
    pub result: MatchResult,
    /// Which elements do not fit; set when `result` is `mismatch`.
    pub mismatch: Option<Mismatch>,
    /// The number's attributes by the codes of the data set's schema, such as `tenure` = `ge_3y`.
    pub attributes: BTreeMap<String, String>,
    /// The number's fraud tags by the schema's published code list.
    pub tags: BTreeSet<String>,
    /// The date that the data describes, ISO 8601 (`2025-01-31`).
    pub valid_on: Option<String>,
    /// The stable error code where there is no verdict.
    pub error: Option<String>,
    /// The receipt's session id, 32 hexadecimal digits.
    pub receipt: Option<String>,
}

impl ProviderAnswer {
    /// An answer that says only `result` and `mismatch`; label and receipt are for the caller to add.
    pub fn new(provider: impl Into<String>, (result, mismatch): (MatchResult, Option<Mismatch>)) -> Self {
        Self {
            provider: provider.into(),
            result,
            mismatch,
            attributes: BTreeMap::new(),
            tags: BTreeSet::new(),
            valid_on: None,
            error: None,
            receipt: None,
        }
    }

    /// A source that gave no verdict, with the stable code of the reason.
    pub fn unavailable(provider: impl Into<String>, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(provider, (MatchResult::Unavailable, None)) }
    }
}

/// The colour of a decision, ordered by severity: green < yellow < red.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Nothing speaks against the customer.
    Green,
    /// A person should look at it.
    Yellow,
    /// A strong sign of fraud or of a false identity.
    Red,
}

impl Colour {
    /// The stable code, as in JSON and in rule files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a decision has its colour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// The id of the rule that fired.
    pub rule: String,
    /// The reason in Chinese.
    pub zh: String,
    /// The reason in English.
    pub en: String,
}

/// What the rules recommend to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// The advice in Chinese.
    pub zh: String,
    /// The advice in English.
    pub en: String,
}

/// What the bank's rules make of the findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// The worst colour of the rules that fired.
    pub colour: Colour,
    /// The reasons of all rules that fired, the most severe first; never empty.
    pub reasons: Vec<Reason>,
    /// The advice of the rules that fired, the most severe first, without repetition.
    pub advice: Vec<Advice>,
    /// The code of the suggested restriction.
    pub restriction: Option<String>,
    /// The party ids of the sources that gave no verdict.
    pub missing_sources: Vec<String>,
}

/// The whole answer to one verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerificationReport {
    /// The verification's id.
    pub id: String,
    /// The verdict over all providers.
    pub result: MatchResult,
    /// Which elements do not fit; set when `result` is `mismatch`.
    pub mismatch: Option<Mismatch>,
    /// The attributes from the provider that decided the verdict.
    pub attributes: BTreeMap<String, String>,
    /// The fraud tags of all providers together.
    pub tags: BTreeSet<String>,
    /// What each provider's rows say, in the order of the contracts.
    pub providers: Vec<ProviderAnswer>,
    /// The joint score, where a scoring group is active.
    #[serde(default)]
    pub score: Option<ScoreReport>,
    /// Colour, reasons and advice.
    pub decision: Decision,
    /// From the accepted request to this answer, in milliseconds.
    pub elapsed_ms: f64,
    /// When the answer was made, RFC 3339.
    pub at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_codes_are_the_json_codes() {
        use MatchResult::{Match, Mismatch, NoRecord, Unavailable};
        for result in [Match, Mismatch, NoRecord, Unavailable] {
            assert_eq!(serde_json::to_value(result).unwrap(), result.as_str());
        }
        for colour in [Colour::Green, Colour::Yellow, Colour::Red] {
            assert_eq!(serde_json::to_value(colour).unwrap(), colour.as_str());
        }
        assert_eq!(format!("{:>9}|{:<6}|", NoRecord, Colour::Red), "no_record|red   |");
    }

    #[test]
    fn a_report_survives_json() {
        let report = VerificationReport {
            id: "v1".into(),
            result: MatchResult::Mismatch,
            mismatch: Some(Mismatch { name: true, id: false }),
            attributes: BTreeMap::from([("status".into(), "active".into())]),
            tags: BTreeSet::from(["bulk_sms".into()]),
            providers: vec![ProviderAnswer::unavailable("carrier-a", "PEER_TIMEOUT")],
            score: None,
            decision: Decision {
                colour: Colour::Red,
                reasons: vec![Reason { rule: "r".into(), zh: "不符".into(), en: "no fit".into() }],
                advice: vec![Advice { zh: "核实".into(), en: "check".into() }],
                restriction: Some("suspend_opening".into()),
                missing_sources: vec!["carrier-a".into()],
            },
            elapsed_ms: 2.5,
            at: "2025-01-31T08:00:00Z".into(),
        };
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""result":"unavailable""#), "{json}");
        assert_eq!(serde_json::from_str::<VerificationReport>(&json).unwrap(), report);
    }
}
