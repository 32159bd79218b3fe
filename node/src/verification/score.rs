//! The joint score of one customer, as a bank's own systems see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windvane_protocols::lookup::DataSet;

/// What became of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoreStatus {
    /// There is one.
    Scored,
    /// The number is in none of the group's segments, or there is no number.
    Outside,
    /// Too few providers gave a right answer.
    Unavailable,
    /// The number's row holds no sum of parts: it was planted, or is damaged.
    Undecodable,
}

impl ScoreStatus {
    /// The stable code, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::Outside => "outside",
            Self::Unavailable => "unavailable",
            Self::Undecodable => "undecodable",
        }
    }
}

/// A provider of the group whose answer was not of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScoreSource {
    /// The provider's party id.
    pub provider: String,
    /// The stable code of why.
    pub error: String,
}

/// The joint score of one customer: no provider's own part, and nothing that the grants do not permit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoreReport {
    /// What became of it.
    pub status: ScoreStatus,
    /// The scoring group.
    pub group: String,
    /// Its epoch.
    pub epoch: u64,
    /// The model's name.
    pub model: String,
    /// The band of the sum: the grants' where they name bands, else the model's.
    pub band: Option<String>,
    /// The calibrated probability, 0 to 1; left out where the grants permit bands alone.
    pub probability: Option<f64>,
    /// The sum of all parts, the bank's own included; left out where the grants permit bands alone.
    pub sum: Option<u16>,
    /// The stable code where there is no score: `SCORE_UNAVAILABLE`, `SCORE_UNDECODABLE`.
    pub error: Option<String>,
    /// Providers of the group that gave no right answer, whether or not the others sufficed.
    pub missing: Vec<ScoreSource>,
}

impl ScoreReport {
    /// A score that there is none of, by the stable code of why.
    pub fn unavailable(group: &DataSet, epoch: u64, model: &str, code: &str) -> Self {
        Self {
            status: ScoreStatus::Unavailable,
            group: group.to_string(),
            epoch,
            model: model.to_owned(),
            band: None,
            probability: None,
            sum: None,
            error: Some(code.to_owned()),
            missing: Vec::new(),
        }
    }

    /// Whether there should be a score, and is none.
    pub const fn is_missing(&self) -> bool {
        matches!(self.status, ScoreStatus::Unavailable | ScoreStatus::Undecodable)
    }
}
