//! The named stages of a training at the bank, at each of which the crash tests end the process.

use crate::stages::stages;

stages! {
    /// Where a training can be when its bank is killed, and of what an error speaks.
    pub enum BankStage {
        /// Sample, decoys and seed are kept; nothing was sent.
        Listed => "train-bank-listed",
        /// All requests are signed, logged and kept.
        Requested => "train-bank-requested",
        /// All acceptances are checked and kept.
        Accepted => "train-bank-accepted",
        /// All providers have each other's announcements.
        Begun => "train-bank-begun",
        /// List and indicator are uploaded.
        Uploaded => "train-bank-uploaded",
        /// The bank's own trees of a block have grown; nothing of the block was sent.
        OwnTrees => "train-bank-own-trees",
        /// A block's residuals are uploaded.
        Residuals => "train-bank-residuals",
        /// A level's answer is kept.
        Level => "train-bank-level",
        /// All providers' trees of a block have grown.
        Trees => "train-bank-trees",
        /// A block is through and kept.
        Block => "train-bank-block",
        /// What one provider tells of its parts is kept.
        Part => "train-bank-part",
        /// All providers' parts of the listed rows are kept and decrypted; there is no model.
        Parts => "train-bank-parts",
        /// The model is kept; no provider has it.
        Model => "train-bank-model",
        /// All receipts are checked and kept.
        Receipts => "train-bank-receipts",
        /// The receipts are logged.
        Logged => "train-bank-logged",
        /// The registry has the model.
        Registered => "train-bank-registered",
    }
}
