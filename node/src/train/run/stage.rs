//! The named stages of a training at the bank, at each of which the crash tests end the process.

use std::fmt;

/// Where a training can be when its bank is killed, and of what an error speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BankStage {
    /// Sample, decoys and seed are kept; nothing was sent.
    Listed,
    /// All requests are signed, logged and kept.
    Requested,
    /// All acceptances are checked and kept.
    Accepted,
    /// All providers have each other's announcements.
    Begun,
    /// List and indicator are uploaded.
    Uploaded,
    /// The bank's own trees of a block have grown; nothing of the block was sent.
    OwnTrees,
    /// A block's residuals are uploaded.
    Residuals,
    /// A level's answer is kept.
    Level,
    /// All providers' trees of a block have grown.
    Trees,
    /// A block is through and kept.
    Block,
    /// What one provider tells of its parts is kept.
    Part,
    /// All providers' parts of the listed rows are kept and decrypted; there is no model.
    Parts,
    /// The model is kept; no provider has it.
    Model,
    /// All receipts are checked and kept.
    Receipts,
    /// The receipts are logged.
    Logged,
    /// The registry has the model.
    Registered,
}

impl BankStage {
    /// All stages, in the order of a training.
    pub const ALL: [Self; 16] = [
        Self::Listed,
        Self::Requested,
        Self::Accepted,
        Self::Begun,
        Self::Uploaded,
        Self::OwnTrees,
        Self::Residuals,
        Self::Level,
        Self::Trees,
        Self::Block,
        Self::Part,
        Self::Parts,
        Self::Model,
        Self::Receipts,
        Self::Logged,
        Self::Registered,
    ];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listed => "train-bank-listed",
            Self::Requested => "train-bank-requested",
            Self::Accepted => "train-bank-accepted",
            Self::Begun => "train-bank-begun",
            Self::Uploaded => "train-bank-uploaded",
            Self::OwnTrees => "train-bank-own-trees",
            Self::Residuals => "train-bank-residuals",
            Self::Level => "train-bank-level",
            Self::Trees => "train-bank-trees",
            Self::Block => "train-bank-block",
            Self::Part => "train-bank-part",
            Self::Parts => "train-bank-parts",
            Self::Model => "train-bank-model",
            Self::Receipts => "train-bank-receipts",
            Self::Logged => "train-bank-logged",
            Self::Registered => "train-bank-registered",
        }
    }

    /// Tells that a training has reached this stage.
    pub(super) fn reached(self) {
        tracing::debug!(stage = self.name(), "a training reached a stage");
        #[cfg(debug_assertions)]
        crate::crash::at(self.name());
    }
}

impl fmt::Display for BankStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
