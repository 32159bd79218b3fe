//! The journal of a training at the bank: a fact a line, and what all of them say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use serde::{Deserialize, Serialize};

use crate::train::appended::read_lines;

/// A line of the journal is short.
const MAX_LINE_BYTES: u64 = 4 << 10;

/// A fact of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Fact {
    /// The request to a provider is logged; one under another session before it was given up.
    Requested { provider: String, session: String },
    /// A provider's session is about to be opened.
    Attempt { provider: String, number: u64, at_ms: u64 },
    /// A statistic is encrypted, and about to leave: by its number, the digest of its ciphertexts.
    Encrypted { statistic: u64, digest: String },
    /// A block is through and kept.
    Block { number: u16, auc: Option<f64>, at_ms: u64 },
    /// The receipt of a provider is logged, and waits to be countersigned or is.
    Receipt { provider: String },
    /// The training ended early.
    Ended { code: String, at_ms: u64 },
    /// Everything is done.
    Completed { at_ms: u64 },
}

/// What the journal says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainState {
    /// By provider, the session whose request is logged.
    requested: BTreeMap<String, String>,
    /// By provider, how often this session was opened.
    attempts: BTreeMap<String, u64>,
    /// By a statistic's number, the digest of its ciphertexts.
    encrypted: BTreeMap<u64, String>,
    /// Providers whose receipt is logged.
    receipts: BTreeSet<String>,
    /// How well the model ranked what was held out, where anything was, after each block that is through.
    pub blocks: Vec<Option<f64>>,
    /// The code of the last early end, unless the training went on after it.
    pub ended: Option<String>,
    /// Whether everything is done, and since when.
    pub completed_at_ms: Option<u64>,
    /// When the journal last said a time.
    pub last_ms: u64,
}

/// The journal's state, and where its last whole line ends.
pub(super) fn read_journal(file: &File) -> std::io::Result<(TrainState, u64)> {
    let mut state = TrainState::default();
    let end = read_lines(file, MAX_LINE_BYTES, |line| {
        state.take(&serde_json::from_slice(line).ok()?);
        Some(())
    })?;
    Ok((state, end))
}

impl TrainState {
    /// Whether nobody was asked yet.
    pub(super) fn is_new(&self) -> bool {
        self.requested.is_empty()
    }

    /// The session whose request to a provider is logged.
    pub(super) fn requested(&self, provider: &str) -> Option<&str> {
        self.requested.get(provider).map(String::as_str)
    }

    /// How often a provider's session was opened.
    pub fn attempts(&self, provider: &str) -> u64 {
        self.attempts.get(provider).copied().unwrap_or(0)
    }

    /// The digest of a statistic's ciphertexts, if it was encrypted before.
    pub(super) fn encrypted(&self, statistic: u64) -> Option<&str> {
        self.encrypted.get(&statistic).map(String::as_str)
    }

    /// Whether a provider's receipt is logged.
    pub(super) fn has_receipt(&self, provider: &str) -> bool {
        self.receipts.contains(provider)
    }

    pub(super) fn take(&mut self, fact: &Fact) {
        match fact {
            Fact::Requested { provider, session } => {
                self.requested.insert(provider.clone(), session.clone());
                self.attempts.remove(provider);
            }
            Fact::Attempt { provider, number, at_ms } => {
                self.attempts.insert(provider.clone(), *number);
                self.ended = None;
                self.last_ms = *at_ms;
            }
            Fact::Encrypted { statistic, digest } => {
                self.encrypted.insert(*statistic, digest.clone());
            }
            Fact::Block { number, auc, at_ms } => {
                self.blocks.truncate(usize::from(*number));
                self.blocks.push(*auc);
                self.last_ms = *at_ms;
            }
            Fact::Receipt { provider } => {
                self.receipts.insert(provider.clone());
            }
            Fact::Ended { code, at_ms } => {
                self.ended = Some(code.clone());
                self.last_ms = *at_ms;
            }
            Fact::Completed { at_ms } => {
                self.completed_at_ms = Some(*at_ms);
                self.last_ms = *at_ms;
            }
        }
    }
}
