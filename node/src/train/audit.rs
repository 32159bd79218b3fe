//! `windvane audit training`: whether what a bank encrypted, listed and decided in a training was honest.
//!
//! The receipt of a provider has the digests of everything that the bank uploaded, a hash over all that it was asked and
//! returned, and a commitment to the seed from which list, key and randomness follow. With the bank's folder of the
//! training, an auditor draws the list again, encrypts everything again and compares digests, grows the bank's own trees
//! again, decrypts the providers' answers and decides every split and leaf again, and computes what every residual should
//! have been.
//!
//! A bank that does not end a training gets no receipt; its providers sign and log what they answered when they give it up
//! (`train/lapse.rs`), and the same is found of all that was sent until then: by block, without the row in the block under
//! way, of which the bank keeps nothing. The last answer may not have arrived; the provider says which question it was, and
//! that is held against what the answers before it decide. What other providers signed is needed beside it, and what they
//! were sent and asked beyond the first one's is looked at as well.
//!
//! **Promised**: decoys and held-out rows that the seed does not draw are found; a residual, an indicator or a held-out row
//! that is not what labels and trees make of it is found, by block, and the row too, where the bank kept what it sent; a
//! question that the answers before it do not decide, the scale of parts among them, is found, by block, tree and level; so
//! is an answer that is kept otherwise than its provider's receipt says, a provider that was told other things than the
//! others, and a model of another name than the request's. **Not promised**: that the labels are true, or that the bank's
//! features are.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windvane_protocols::party::SessionId;

use super::run::{TrainError, TrainFolder};
use crate::config::Config;
use crate::identity::NodeKeys;

mod evidence;
mod member;
mod replay;
mod unit;

use evidence::Evidence;

/// What was found of a training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrainAudit {
    /// The training.
    pub training: String,
    /// Whose receipt, or lapse, was held against it.
    pub provider: String,
    /// Whether the bank asked the provider anew in another session; in this one nothing was handed over or answered.
    pub replaced: bool,
    /// Where the bank did not end the training, how many steps the provider had answered when it gave it up.
    pub answered: Option<u64>,
    /// Blocks of which a provider got residuals.
    pub blocks: usize,
    /// Rows to train on, rows that are held out, and decoys.
    pub rows: TrainRows,
    /// What is wrong; nothing in an honest training.
    pub findings: Vec<TrainFinding>,
}

/// What a training lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TrainRows {
    /// Rows to train on.
    pub training: usize,
    /// Rows that are held out.
    pub held_out: usize,
    /// Decoys.
    pub decoys: usize,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrainFinding {
    /// The stable code.
    pub code: &'static str,
    /// In which block.
    pub block: Option<u16>,
    /// At which row, by its index in the list.
    pub row: Option<usize>,
    /// In words.
    pub what: String,
}

impl TrainAudit {
    /// Whether nothing is wrong.
    pub const fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

impl std::fmt::Display for TrainAudit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { training, provider, replaced, answered, blocks, rows, findings } = self;
        if *replaced && findings.is_empty() {
            return write!(
                f,
                "training {training}: {provider} was asked anew in another session; in this one it was told nothing and \
                 answered nothing"
            );
        }
        let TrainRows { training: real, held_out, decoys } = rows;
        writeln!(
            f,
            "training {training} with {provider}: {blocks} blocks of {real} rows to train on, {held_out} held out and \
             {decoys} decoys"
        )?;
        if let Some(answered) = answered {
            writeln!(f, "the bank did not end it: given up by {provider} after {answered} answered steps")?;
        }
        if findings.is_empty() {
            let all = "drawn, encrypted and decided again: all that was listed, uploaded and asked follows from seed";
            return write!(f, "{all}, labels and answers");
        }
        for finding in findings {
            let block = finding.block.map(|block| format!(" in block {block}")).unwrap_or_default();
            let row = finding.row.map(|row| format!(" at row {row}")).unwrap_or_default();
            writeln!(f, "{}{block}{row}: {}", finding.code, finding.what)?;
        }
        Ok(())
    }
}

/// Holds the receipt of a provider, or its lapse, against the training in the bank's data directory. Those of the other
/// providers are `others`, and receipts that are kept there. Each is a file, or a log that has it; then `training` says of
/// which one, or else the first's. Blocks on files.
///
/// # Errors
/// [`TrainError`]: something that is needed cannot be read.
pub fn audit_training(
    config: &Config,
    signed: &Path,
    training: Option<SessionId>,
    others: &[PathBuf],
) -> Result<TrainAudit, TrainError> {
    let mut own = Evidence::load(signed, training)?;
    // A log may also have the lapse of a session that another one replaced.
    own.sort_by_key(|evidence| (evidence.receipt().is_none(), evidence.is_void()));
    let evidence = own.remove(0);
    let training = evidence.request().charter.training;
    let others = others.iter().map(|path| Evidence::load(path, Some(training)));
    let others: Vec<_> = others.collect::<Result<Vec<_>, _>>()?.into_iter().chain([own]).flatten().collect();
    let keys = NodeKeys::open(config)?;
    if TrainFolder::plan(&config.node.data_dir, training)?.is_none() {
        return Err(TrainError::Unknown { training: training.to_string() });
    }
    let folder = TrainFolder::open_kept(&config.node.data_dir, training)?;
    replay::audit(&keys, &folder, &evidence, &others)
}
