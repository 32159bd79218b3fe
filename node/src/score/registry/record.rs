//! What is recorded of a version, and its hash.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha512};
use windvane_keys::files::FileError;
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::transcript::Transcript;

use super::{PartsSummary, RegistryError};
use crate::admin::is_name;
use crate::score::activation::MONITOR;
use crate::snapshot::disk::at;

/// Features of one model.
const MAX_FEATURES: usize = 4_096;

/// Bytes of a feature's name.
const MAX_FEATURE_BYTES: usize = 256;

/// What is read of a file at a time for its digest.
const CHUNK: usize = 1 << 20;

/// What somebody says of a version when it is added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Description {
    /// Who adds it.
    pub by: String,
    /// What the model looks at, in the party's own words.
    pub features: Vec<String>,
    /// How good it was found to be.
    pub metrics: Metrics,
    /// SHA-512 of its training's receipt.
    pub training_receipt: Option<[u8; 64]>,
}

/// How good a model was found to be, by whoever trained it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Area under the receiver operating characteristic.
    pub auc: Option<f64>,
    /// Kolmogorov–Smirnov distance of the two classes' scores.
    pub ks: Option<f64>,
    /// Mean distance of predicted from observed probabilities.
    pub calibration_error: Option<f64>,
    /// Information value.
    pub information_value: Option<f64>,
}

/// `record.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionRecord {
    /// Name of the version.
    pub name: String,
    /// Hash over card, parts and everything below but approval and activations, in hexadecimal.
    pub hash: String,
    /// Digest of the card.
    pub card: String,
    /// Its parts; a bank's model may have none.
    pub parts: Option<PartsRecord>,
    /// What it looks at.
    pub features: Vec<String>,
    /// How good it was found to be.
    pub metrics: Metrics,
    /// SHA-512 of its training's receipt.
    pub training_receipt: Option<String>,
    /// Who added it.
    pub added_by: String,
    /// When, in milliseconds of Unix time.
    pub added_at_ms: u64,
    /// Who approved it.
    pub approval: Option<Approval>,
    /// Where it became active, oldest first.
    pub activations: Vec<Activation>,
}

/// The parts of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartsRecord {
    /// SHA-512 of the sealed file.
    pub digest: String,
    /// How they are distributed.
    pub summary: PartsSummary,
}

/// A second person's approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
    /// The version's hash at the time.
    pub hash: String,
}

/// A version became active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// In which epoch.
    pub epoch: u64,
    /// Who did it.
    pub by: String,
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
}

impl Description {
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        person(&self.by)?;
        self.metrics.check()?;
        let fits = |text: &String| {
            (1..=MAX_FEATURE_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        if self.features.len() <= MAX_FEATURES && self.features.iter().all(fits) {
            return Ok(());
        }
        let rule = "at most 4096 features, each of 1 to 256 bytes without control characters";
        Err(RegistryError::Field { field: "features", rule })
    }
}

impl Metrics {
    /// Each with its name.
    pub const fn named(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("auc", self.auc),
            ("ks", self.ks),
            ("calibration error", self.calibration_error),
            ("information value", self.information_value),
        ]
    }

    fn check(&self) -> Result<(), RegistryError> {
        let [shares @ .., (field, value)] = self.named();
        let outside = |(_, value): &&(&str, Option<f64>)| value.is_some_and(|v| !(0.0..=1.0).contains(&v));
        if let Some(&(field, _)) = shares.iter().find(outside) {
            return Err(RegistryError::Field { field, rule: "is a number between 0 and 1" });
        }
        if value.is_some_and(|value| !value.is_finite() || value < 0.0) {
            return Err(RegistryError::Field { field, rule: "is a number from 0 on" });
        }
        Ok(())
    }
}

impl VersionRecord {
    pub(super) fn new(
        card: &ModelCard,
        parts: Option<(String, PartsSummary)>,
        description: &Description,
        now_ms: u64,
    ) -> Self {
        let mut record = Self {
            name: card.name().to_owned(),
            hash: String::new(),
            card: hex::encode(card.digest()),
            parts: parts.map(|(digest, summary)| PartsRecord { digest, summary }),
            features: description.features.clone(),
            metrics: description.metrics,
            training_receipt: description.training_receipt.map(hex::encode),
            added_by: description.by.trim().to_owned(),
            added_at_ms: now_ms,
            approval: None,
            activations: Vec::new(),
        };
        record.hash = record.compute_hash();
        record
    }

    /// The hash over all that never changes.
    pub(super) fn compute_hash(&self) -> String {
        let metric = |(name, value): (&str, Option<f64>)| {
            value.map_or_else(String::new, |value| format!("{name}={value}"))
        };
        let parts = self.parts.as_ref();
        let t = Transcript::new("windvane/score-version/v1")
            .text("name", &self.name)
            .text("card", &self.card)
            .text("parts", parts.map_or("", |parts| parts.digest.as_str()))
            .list("parts summary", parts.map_or_else(Vec::new, |parts| parts.summary.items()).into_iter())
            .list("feature", self.features.iter())
            .list("metric", self.metrics.named().into_iter().map(metric))
            .text("training receipt", self.training_receipt.as_deref().unwrap_or_default())
            .text("added by", &self.added_by)
            .u64("added at", self.added_at_ms);
        hex::encode(t.digest())
    }

    /// Whether it was added with this description, by whomever.
    pub(super) fn describes(&self, description: &Description) -> bool {
        self.features == description.features
            && self.metrics == description.metrics
            && self.training_receipt == description.training_receipt.map(hex::encode)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts, numbers and lists always serialise")
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// A person's name without blanks around it.
pub(in crate::score) fn person(name: &str) -> Result<String, RegistryError> {
    let name = name.trim();
    if is_name(name) && !same_person(name, MONITOR) {
        return Ok(name.to_owned());
    }
    let rule = "a person's name has 1 to 64 letters, digits and -_.@, and is not `monitor`";
    Err(RegistryError::Field { field: "--by", rule })
}

/// Whether a person may be called so; else the rule.
pub(crate) fn check_person(name: &str) -> Result<(), String> {
    match person(name) {
        Err(RegistryError::Field { rule, .. }) => Err(rule.to_owned()),
        checked => checked.map(drop).map_err(|error| error.to_string()),
    }
}

pub(super) fn same_person(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

/// SHA-512 of a file, in hexadecimal.
pub(super) fn file_digest(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(at(path))?;
    let (mut hasher, mut chunk) = (Sha512::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk).map_err(at(path))? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&chunk[..read]),
        }
    }
}
