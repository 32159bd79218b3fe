//! `[functions]`: what the node does at all.

use serde::Deserialize;

use crate::functions::Function;

/// What the node does at all. What is off here stays off; what is on can be switched with `windvane function`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FunctionsConfig {
    /// Verifications of customers, and downloads of what they need.
    pub verification: bool,
    /// Sessions of more than one customer.
    pub batches: bool,
    /// Set intersections and screenings.
    pub screening: bool,
    /// Joint scores, their setup and their tables.
    pub scoring: bool,
    /// Joint trainings.
    pub training: bool,
}

impl Default for FunctionsConfig {
    fn default() -> Self {
        Self { verification: true, batches: true, screening: true, scoring: true, training: true }
    }
}

impl FunctionsConfig {
    /// Whether a function is on.
    pub const fn has(&self, function: Function) -> bool {
        match function {
            Function::Verification => self.verification,
            Function::Batches => self.batches,
            Function::Screening => self.screening,
            Function::Scoring => self.scoring,
            Function::Training => self.training,
        }
    }
}
