//! What a provider signed of a training: its receipt, or its record of one that the bank did not end.

use std::path::Path;

use ed25519_dalek::VerifyingKey;
use windvane_keys::files::read_public;
use windvane_protocols::limits::MAX_TRAIN_RECEIPT_BYTES;
use windvane_protocols::train::lapse::TrainLapse;
use windvane_protocols::train::record::{TrainAcceptance, TrainReceipt, TrainRequest};
use windvane_protocols::transcript::{Hash, Signed};

use crate::error::NodeError;

/// A provider's signed word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    Receipt(Signed<TrainReceipt>),
    Lapse(Signed<TrainLapse>),
}

/// Digests of what a provider got from the bank. A lapse has zeros, and fewer residuals, for what did not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uploads<'a> {
    pub(super) indicator: Hash,
    pub(super) held_out: Hash,
    pub(super) residuals: &'a [Hash],
}

impl Evidence {
    /// Reads a file that is one or the other; nothing of it is checked.
    pub(super) fn load(path: &Path) -> Result<Self, NodeError> {
        let bytes = read_public(path, MAX_TRAIN_RECEIPT_BYTES)?;
        if let Ok(lapse) = Signed::from_bytes_unverified(bytes.clone()) {
            return Ok(Self::Lapse(lapse));
        }
        Ok(Self::Receipt(Signed::from_bytes_unverified(bytes)?))
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

    pub(super) fn uploads(&self) -> Uploads<'_> {
        match self {
            Self::Receipt(receipt) => {
                let TrainReceipt { indicator, held_out, residuals, .. } = receipt.body();
                Uploads { indicator: *indicator, held_out: *held_out, residuals }
            }
            Self::Lapse(lapse) => {
                let TrainLapse { indicator, held_out, residuals, .. } = lapse.body();
                Uploads { indicator: *indicator, held_out: *held_out, residuals }
            }
        }
    }
}

impl Uploads<'_> {
    /// Whether nothing that both got differs.
    pub(super) fn agree(&self, other: &Self) -> bool {
        let same = |one: &Hash, other: &Hash| one == other || *one == [0; 64] || *other == [0; 64];
        same(&self.indicator, &other.indicator)
            && same(&self.held_out, &other.held_out)
            && self.residuals.iter().zip(other.residuals).all(|(one, other)| one == other)
    }
}
