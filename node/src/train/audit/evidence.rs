//! What a provider signed of a training: its receipt, or its record of one that the bank did not end.

use std::path::Path;

use ed25519_dalek::VerifyingKey;
use windvane_keys::files::read_public;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::limits::MAX_TRAIN_RECEIPT_BYTES;
use windvane_protocols::party::SessionId;
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use crate::audit::log_dir;
use crate::error::NodeError;
use crate::evidence::LogReader;
use crate::train::run::TrainError;

/// A provider's signed word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    Receipt(Signed<TrainReceipt>),
    Lapse(Signed<TrainLapse>),
}

/// Digests of what a provider got from the bank, as far as it came.
#[derive(Debug, Clone)]
pub(super) struct Uploads {
    pub(super) indicator: Option<Hash>,
    pub(super) held_out: Option<Hash>,
    pub(super) residuals: Vec<Hash>,
}

impl Evidence {
    /// Reads a file that is one or the other, or all that a log has of a training, the same as often as it stands there;
    /// nothing is checked.
    ///
    /// # Errors
    /// [`TrainError::Unsigned`] for a log that has nothing of the training; errors of the system.
    pub(super) fn load(path: &Path, training: Option<SessionId>) -> Result<Vec<Self>, TrainError> {
        if path.is_dir() {
            let training = training.ok_or_else(|| TrainError::Unnamed { log: path.to_owned() })?;
            let found = Self::logged(path, training)?;
            let unsigned = || TrainError::Unsigned { log: path.to_owned(), training: training.to_string() };
            return if found.is_empty() { Err(unsigned()) } else { Ok(found) };
        }
        let bytes = read_public(path, MAX_TRAIN_RECEIPT_BYTES).map_err(NodeError::from)?;
        if let Ok(lapse) = Signed::from_bytes_unverified(bytes.clone()) {
            return Ok(vec![Self::Lapse(lapse)]);
        }
        let receipt = Signed::from_bytes_unverified(bytes).map_err(NodeError::from)?;
        Ok(vec![Self::Receipt(receipt)])
    }

    fn logged(dir: &Path, training: SessionId) -> Result<Vec<Self>, NodeError> {
        let mut found = Vec::new();
        for entry in LogReader::open(&log_dir(dir))?.entries(0) {
            let evidence = match Entry::decode(&entry?.1).map(|entry| entry.event) {
                Ok(Event::TrainCompleted(receipt)) => Self::Receipt(*receipt),
                Ok(Event::TrainLapsed(lapse)) => Self::Lapse(*lapse),
                _ => continue,
            };
            if evidence.request().charter.training == training {
                found.push(evidence);
            }
        }
        Ok(found)
    }

    /// Whether it is of a session that was accepted, and in which nothing was handed over or answered.
    pub(super) fn is_void(&self) -> bool {
        self.lapse().is_some_and(|lapse| !lapse.is_begun() && lapse.answered.count == 0)
    }

    /// Whether the bank had handed over what all providers announced.
    pub(super) fn is_begun(&self) -> bool {
        self.lapse().is_none_or(TrainLapse::is_begun)
    }

    pub(super) fn acceptance(&self) -> &Signed<TrainAcceptance> {
        match self {
            Self::Receipt(receipt) => &receipt.body().acceptance,
            Self::Lapse(lapse) => &lapse.body().acceptance,
        }
    }

    pub(super) fn request(&self) -> &TrainRequest {
        self.acceptance().body().request.body()
    }

    /// Whether it is signed under a key, and the acceptance in it too.
    pub(super) fn verify(&self, key: &VerifyingKey) -> bool {
        let signed = match self {
            Self::Receipt(receipt) => receipt.verify(key),
            Self::Lapse(lapse) => lapse.verify(key),
        };
        signed && self.acceptance().verify(key)
    }

    pub(super) fn receipt(&self) -> Option<&TrainReceipt> {
        match self {
            Self::Receipt(receipt) => Some(receipt.body()),
            Self::Lapse(_) => None,
        }
    }

    pub(super) fn lapse(&self) -> Option<&TrainLapse> {
        match self {
            Self::Receipt(_) => None,
            Self::Lapse(lapse) => Some(lapse.body()),
        }
    }

    /// A bank sends nobody residuals before everybody has its other statistics, so that zeros beside residuals say that
    /// these were left out.
    pub(super) fn uploads(&self) -> Uploads {
        let (indicator, held_out, residuals) = match self {
            Self::Receipt(receipt) => {
                let TrainReceipt { indicator, held_out, residuals, .. } = receipt.body();
                (indicator, held_out, residuals)
            }
            Self::Lapse(lapse) => {
                let TrainLapse { indicator, held_out, residuals, .. } = lapse.body();
                (indicator, held_out, residuals)
            }
        };
        let came = |digest: &Hash| (*digest != [0; 64] || !residuals.is_empty()).then_some(*digest);
        Uploads { indicator: came(indicator), held_out: came(held_out), residuals: residuals.clone() }
    }
}

impl Uploads {
    /// Whether nothing that both got differs.
    pub(super) fn agree(&self, other: &Self) -> bool {
        let same =
            |one: Option<Hash>, other: Option<Hash>| one.zip(other).is_none_or(|(one, other)| one == other);
        same(self.indicator, other.indicator)
            && same(self.held_out, other.held_out)
            && self.residuals.iter().zip(&other.residuals).all(|(one, other)| one == other)
    }

    /// Goes on with what another got beyond these.
    pub(super) fn extend(&mut self, other: Self) {
        self.indicator = self.indicator.or(other.indicator);
        self.held_out = self.held_out.or(other.held_out);
        self.residuals.extend(other.residuals.into_iter().skip(self.residuals.len()));
    }
}
