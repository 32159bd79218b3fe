//! `windvane audit training`: whether what a bank encrypted in a training was honest.
//!
//! The receipt of a provider has the digests of everything that the bank uploaded, and a commitment to the seed from
//! which key and randomness follow. With the bank's folder of the training, an auditor encrypts everything again and
//! compares digests, decrypts the providers' answers and compares contributions, grows the bank's own trees again, and
//! computes what every residual should have been.
//!
//! **Promised**: a residual, an indicator or a held-out row that is not what labels and trees make of it is found, by
//! block; the row too, where the bank kept what it sent. **Not yet**: splits and leaves are not decided again from the
//! providers' answers, and decoys and held-out rows are taken as the bank keeps them, not drawn again from the seed.
//! **Not promised**: that the labels are true, or that the bank's features are.

use std::path::Path;

use serde::Serialize;
use windvane_keys::files::read_public;
use windvane_protocols::limits::{MAX_CIPHERTEXTS_PER_CHUNK, MAX_TRAIN_RECEIPT_BYTES};
use windvane_protocols::train::boosting::{Row, Unit, base, subtract};
use windvane_protocols::train::charter::list_digest;
use windvane_protocols::train::elgamal::{ElGamalError, Encryptor, Statistic, TrainingKey};
use windvane_protocols::train::record::{TrainReceipt, TrainRequest};
use windvane_protocols::transcript::{Hash, Signed};

use super::run::answers::Answers;
use super::run::block::BlockRecord;
use super::run::cells::decrypt;
use super::run::inputs::{self, Inputs};
use super::run::job::{Secrets, decoder, held_out, indicator};
use super::run::{Document, LISTED, PLAN, TrainError, TrainFolder, TrainPlan};
use super::sample::{Kind, Listed};
use crate::config::Config;
use crate::error::NodeError;
use crate::identity::NodeKeys;

/// Threads that encrypt.
const THREADS: usize = 2;

/// What was found of a training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrainAudit {
    /// The training.
    pub training: String,
    /// Whose receipt was held against it.
    pub provider: String,
    /// Blocks that were looked at.
    pub blocks: u16,
    /// Listed rows.
    pub rows: usize,
    /// What is wrong; nothing in an honest training.
    pub findings: Vec<TrainFinding>,
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
        let Self { training, provider, blocks, rows, findings } = self;
        writeln!(
            f,
            "training {training} with {provider}: {blocks} blocks of {rows} rows were encrypted again"
        )?;
        if findings.is_empty() {
            return write!(f, "everything that was uploaded is what labels and trees make of it");
        }
        for finding in findings {
            let block = finding.block.map(|block| format!(" in block {block}")).unwrap_or_default();
            let row = finding.row.map(|row| format!(" at row {row}")).unwrap_or_default();
            writeln!(f, "{}{block}{row}: {}", finding.code, finding.what)?;
        }
        Ok(())
    }
}

/// Holds the receipt of a provider against the training in the bank's data directory. Blocks on files.
///
/// # Errors
/// [`TrainError`]: something that is needed cannot be read.
pub fn audit_training(config: &Config, receipt: &Path) -> Result<TrainAudit, TrainError> {
    let bytes = read_public(receipt, MAX_TRAIN_RECEIPT_BYTES)?;
    let receipt = Signed::<TrainReceipt>::from_bytes_unverified(bytes).map_err(NodeError::from)?;
    let keys = NodeKeys::open(config)?;
    let training = receipt.body().request().charter.training;
    if TrainFolder::plan(&config.node.data_dir, training)?.is_none() {
        return Err(TrainError::Unknown { training: training.to_string() });
    }
    let folder = TrainFolder::open(&config.node.data_dir, training)?;
    Auditor { keys: &keys, folder: &folder, receipt: receipt.body(), findings: Vec::new() }.run(&receipt)
}

/// An audit under way.
struct Auditor<'a> {
    keys: &'a NodeKeys,
    folder: &'a TrainFolder,
    receipt: &'a TrainReceipt,
    findings: Vec<TrainFinding>,
}

impl Auditor<'_> {
    fn run(mut self, signed: &Signed<TrainReceipt>) -> Result<TrainAudit, TrainError> {
        let plan = self.needed(self.folder.read_json::<TrainPlan>(PLAN)?, PLAN)?.check()?;
        let request = self.receipt.request().clone();
        let secrets = self.needed(Secrets::read(self.folder, &self.keys.storage)?, "secrets")?;
        let listed = self.folder.unseal_record::<Listed>(LISTED, &self.keys.storage)?;
        let listed = self.needed(listed, LISTED)?;
        let universe = inputs::universe(self.keys, &plan)?;
        let features = inputs::features(&plan, &universe, &())?;
        Inputs::of(&universe, &features).check(self.folder, &plan)?;
        self.signatures(signed, &request);
        let key = secrets.key();
        self.promises(&secrets, &key, &listed, &request, universe.digest());
        let own = Unit::label_holder(listed.own(&features)?, &request.charter.hyperparameters);
        self.statistics(&key, &listed)?;
        self.blocks(&key, &listed, &own, &request)?;
        Ok(TrainAudit {
            training: request.charter.training.to_string(),
            provider: request.provider.to_string(),
            blocks: request.charter.hyperparameters.blocks,
            rows: listed.rows(),
            findings: self.findings,
        })
    }

    fn needed<T>(&self, found: Option<T>, name: &str) -> Result<T, TrainError> {
        let path = self.folder.path().join(name);
        found.ok_or(TrainError::Folder { path, what: "it is not there".to_owned() })
    }

    fn find(&mut self, code: &'static str, block: Option<u16>, row: Option<usize>, what: impl Into<String>) {
        self.findings.push(TrainFinding { code, block, row, what: what.into() });
    }

    /// Whether the receipt is the provider's, and the request in it the bank's.
    fn signatures(&mut self, signed: &Signed<TrainReceipt>, request: &TrainRequest) {
        let identity = request.charter.providers().find(|identity| identity.party == request.provider);
        if !identity.is_some_and(|identity| signed.verify(&identity.key)) {
            self.find("RECEIPT_INVALID", None, None, "the receipt is not signed by its provider");
        }
        let asked = &self.receipt.acceptance.body().request;
        if !asked.verify(&self.keys.receipt.verifying_key()) {
            self.find("REQUEST_INVALID", None, None, "the request is not signed by this bank");
        }
    }

    /// Whether seed, key, list and decoys are those that the request names.
    fn promises(
        &mut self,
        secrets: &Secrets,
        key: &TrainingKey,
        listed: &Listed,
        request: &TrainRequest,
        universe: &Hash,
    ) {
        if secrets.commitment(request.provider.as_str()) != request.seed {
            self.find("TRAIN_SEED", None, None, "the seed is not the committed one");
        }
        if key.public().as_bytes() != &request.charter.public_key {
            self.find("TRAIN_KEY", None, None, "the public key does not follow from the seed");
        }
        if list_digest(universe, listed.positions()) != request.charter.list {
            self.find("TRAIN_LIST", None, None, "the list is not the one that the request names");
        }
        let known = (listed.real() + listed.held_out()) as u64;
        let decoys = listed.rows() as u64 - known;
        if decoys < known.saturating_mul(request.charter.decoy_factor) {
            let what = format!("{decoys} decoys for {known} rows are fewer than the request promises");
            self.find("TRAIN_DECOYS", None, None, what);
        }
    }

    /// Whether the indicator and the held-out rows are those of the list.
    fn statistics(&mut self, key: &TrainingKey, listed: &Listed) -> Result<(), TrainError> {
        let (counted, held) = (self.receipt.indicator, self.receipt.held_out);
        for (statistic, values, digest, code) in [
            (Statistic::Indicator, indicator(listed), counted, "TRAIN_INDICATOR"),
            (Statistic::HeldOut, held_out(listed), held, "TRAIN_HELD_OUT"),
        ] {
            if encrypted(key, statistic, &values)? != digest {
                self.find(code, None, None, "another statistic was uploaded than the list's");
            }
        }
        Ok(())
    }

    /// Whether every block's residuals are what labels, own trees and contributions make of them.
    fn blocks(
        &mut self,
        key: &TrainingKey,
        listed: &Listed,
        own: &Unit,
        request: &TrainRequest,
    ) -> Result<(), TrainError> {
        let numbers = request.charter.hyperparameters;
        let mut rows = listed.begin(base(&listed.labels())?);
        for block in 0..numbers.blocks {
            let name = BlockRecord::name(block);
            let record = self.folder.unseal_record::<BlockRecord>(&name, &self.keys.storage)?;
            let record = self.needed(record, &name)?;
            let (trees, _) = own.block(&numbers, &mut rows)?;
            if trees != record.own {
                self.find(
                    "TRAIN_OWN_TREES",
                    Some(block),
                    None,
                    "the own trees are not those that labels grow",
                );
            }
            self.residuals(key, block, &record, &rows)?;
            let contributions = self.contributions(key, block, listed, request)?;
            if contributions != record.contributions {
                let row = differs(&contributions, &record.contributions);
                self.find("TRAIN_CONTRIBUTIONS", Some(block), row, "the answers decrypt to something else");
            }
            subtract(&mut rows, &contributions)
                .map_err(windvane_protocols::train::boosting::TrainingError::from)?;
        }
        Ok(())
    }

    /// Whether a block's residuals are honest, and those that were uploaded.
    fn residuals(
        &mut self,
        key: &TrainingKey,
        block: u16,
        record: &BlockRecord,
        rows: &[Row],
    ) -> Result<(), TrainError> {
        let honest: Vec<_> = rows.iter().map(|row| row.residual).collect();
        let statistic = Statistic::Residual { block };
        let digest = self.receipt.residuals.get(usize::from(block)).copied();
        if Some(encrypted(key, statistic, &wide(&honest))?) == digest {
            return Ok(());
        }
        if Some(encrypted(key, statistic, &wide(&record.sent))?) != digest {
            let what = "neither honest residuals nor those that the bank kept were uploaded";
            self.find("TRAIN_RESIDUAL", Some(block), None, what);
            return Ok(());
        }
        let wrong = (0..honest.len()).filter(|row| record.sent.get(*row) != Some(&honest[*row]));
        for row in wrong.collect::<Vec<_>>() {
            self.find("TRAIN_RESIDUAL", Some(block), Some(row), "the residual is crafted");
        }
        Ok(())
    }

    /// What all providers' answers add up to, decrypted again; each must be what its receipt says was returned.
    fn contributions(
        &mut self,
        key: &TrainingKey,
        block: u16,
        listed: &Listed,
        request: &TrainRequest,
    ) -> Result<Vec<i32>, TrainError> {
        let mut sent = Vec::new();
        for identity in request.charter.providers() {
            let party = &identity.party;
            let receipt = if *party == request.provider {
                self.receipt.clone()
            } else {
                let kept = self.folder.read::<TrainReceipt>(party, Document::Receipt)?;
                let kept = self.needed(kept, party.as_str())?;
                if kept.body().request().charter != request.charter || !kept.verify(&identity.key) {
                    self.find("RECEIPT_INVALID", None, None, format!("the receipt of {party} does not hold"));
                }
                kept.body().clone()
            };
            let answer = Answers::open(&self.folder.of(party))?.contributions(block)?;
            let answer = self.needed(answer, party.as_str())?;
            if receipt.contributions.get(usize::from(block)) != Some(&answer.returned()) {
                let what = format!("the kept answer of {party} is not the one that its receipt names");
                self.find("TRAIN_ANSWER", Some(block), None, what);
            }
            sent.push(answer.ciphertexts);
        }
        let values = decoder(listed.real())
            .map_err(ElGamalError::from)
            .and_then(|decoder| decrypt(key, &decoder, &sent, listed.rows(), THREADS));
        let values = match values {
            Ok(values) => values,
            Err(error) => {
                self.find("TRAIN_ANSWER", Some(block), None, format!("the answers do not decrypt: {error}"));
                vec![0; listed.rows()]
            }
        };
        if let Some(row) =
            values.iter().zip(listed.kinds()).position(|(v, kind)| *kind == Kind::Decoy && *v != 0)
        {
            self.find("TRAIN_CONTRIBUTIONS", Some(block), Some(row), "a decoy has a contribution");
        }
        // One that does not fit differs from all that are kept.
        Ok(values.into_iter().map(|value| i32::try_from(value).unwrap_or(i32::MAX)).collect())
    }
}

fn encrypted(key: &TrainingKey, statistic: Statistic, values: &[i64]) -> Result<Hash, TrainError> {
    let encrypt = || {
        let mut encryptor = Encryptor::new(key, statistic, values.len())?;
        for chunk in values.chunks(MAX_CIPHERTEXTS_PER_CHUNK) {
            encryptor.chunk(chunk, THREADS)?;
        }
        encryptor.finish()
    };
    encrypt().map_err(TrainError::Encryption)
}

fn wide(values: &[i32]) -> Vec<i64> {
    values.iter().map(|value| i64::from(*value)).collect()
}

/// The first row that differs.
fn differs(one: &[i32], other: &[i32]) -> Option<usize> {
    (0..one.len().max(other.len())).find(|row| one.get(*row) != other.get(*row))
}
