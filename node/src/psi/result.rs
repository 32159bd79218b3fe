//! What a job gave, as a report and as a file.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use windvane_keys::symmetric::StorageKey;
use windvane_protocols::party::SessionId;
use windvane_protocols::psi::{Parameters, PsiReceipt};
use windvane_protocols::transcript::commit;

use super::PsiError;
use super::folder::JobFolder;
use super::output::{RowSet, write_matches, write_matches_with_payload};
use super::payload::RowPayloads;
use super::plan::JobPlan;
use super::side::Outcome;
use crate::table::{TableError, TableOptions, TableReader};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobResult {
    /// The matched rows are in the output.
    Released,
    /// The number of matches is known, and nothing else.
    Counted,
    /// There were fewer matches than the minimum, so nothing was released.
    ResultBelowMinimum,
}

/// What a finished job tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// The job, as its folder is named.
    pub job: String,
    /// The session of its last request, under which the logs have it.
    pub session: String,
    /// Who was asked.
    pub provider: String,
    /// Which list.
    pub list: String,
    /// How the intersection was computed.
    pub protocol: String,
    /// What was asked for.
    pub mode: String,
    /// How it ended.
    pub result: JobResult,
    /// Matches; unknown below a minimum.
    pub matches: Option<u64>,
    /// Rows of the own table.
    pub rows: u64,
    /// Rows of the provider's list.
    pub provider_rows: u64,
    /// Buckets.
    pub buckets: u32,
    /// Items of the own table that the provider saw, padding included.
    pub padded_rows: u64,
    /// Items of the list that came, padding included.
    pub provider_padded_rows: u64,
    /// Bytes of an item's digest.
    pub digest_bytes: usize,
    /// The whole job fails with a probability of at most two to the minus this.
    pub failure_bits: u32,
    /// Connections that it took.
    pub attempts: u64,
    /// The hash over all buckets, which both parties signed.
    pub transcript: String,
}

impl JobReport {
    pub(super) fn new(job: SessionId, receipt: &PsiReceipt, result: &Summary) -> Self {
        let (request, parameters) = (receipt.request(), &receipt.acceptance.body().parameters);
        let padded = |bound: usize| bound as u64 * u64::from(parameters.buckets());
        Self {
            job: job.to_string(),
            session: request.session.to_string(),
            provider: request.provider.to_string(),
            list: request.data_set.to_string(),
            protocol: request.protocol.to_string(),
            mode: request.mode.to_string(),
            result: result.result,
            matches: result.matches,
            rows: request.rows,
            provider_rows: parameters.sizes().sender_rows,
            buckets: parameters.buckets(),
            padded_rows: padded(parameters.receiver_bound()),
            provider_padded_rows: padded(parameters.sender_bound()),
            digest_bytes: parameters.digest_bytes(),
            failure_bits: parameters.failure_bits(),
            attempts: receipt.attempts,
            transcript: hex::encode(receipt.transcript),
        }
    }
}

/// The result of all buckets.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) result: JobResult,
    pub(super) matches: Option<u64>,
    digest: [u8; 32],
}

impl Summary {
    /// Reads what every bucket gave.
    pub(super) fn of(
        folder: &JobFolder,
        parameters: &Parameters,
        key: &StorageKey,
    ) -> Result<Self, PsiError> {
        let (mut result, mut matches, mut hash) = (JobResult::Released, 0, Sha256::new());
        for bucket in 0..parameters.buckets() {
            match folder.outcome(bucket, key)? {
                Outcome::Matches(rows) => {
                    matches += rows.len() as u64;
                    rows.iter().for_each(|(row, _)| hash.update(row.to_be_bytes()));
                }
                Outcome::Count(count) => {
                    result = JobResult::Counted;
                    matches = count;
                }
                Outcome::Below(_) => result = JobResult::ResultBelowMinimum,
            }
        }
        let matches = (result != JobResult::ResultBelowMinimum).then_some(matches);
        Ok(Self { result, matches, digest: hash.finalize().into() })
    }

    /// The commitment that stands in the own log.
    pub(super) fn commit(&self, salt: &[u8; 32]) -> [u8; 32] {
        let mut item = self.matches.unwrap_or_default().to_be_bytes().to_vec();
        item.extend_from_slice(&self.digest);
        commit(salt, &item)
    }
}

/// Writes the matched rows, in the table's order. Rows are known by their numbers, so the result takes its place only
/// when `is_input` knows the SHA-256 of the file that they were copied from.
pub(super) fn write(
    plan: &JobPlan,
    folder: &JobFolder,
    parameters: &Parameters,
    key: &StorageKey,
    is_input: impl FnOnce(&[u8; 32]) -> bool,
) -> Result<(), PsiError> {
    let changed = || PsiError::InputChanged { path: plan.input.clone() };
    let options = TableOptions { digest: true, ragged: true, ..TableOptions::default() };
    let mut reader = TableReader::open(&plan.input, options)?.choose(plan.own_columns())?;
    let mut rows = RowSet::new(parameters.sizes().receiver_rows);
    let mut payloads = RowPayloads::new(plan.payload_columns.len());
    for bucket in 0..parameters.buckets() {
        let Outcome::Matches(found) = folder.outcome(bucket, key)? else { continue };
        for (row, payload) in found {
            let row = u32::try_from(row).expect("a table has at most 2^30 rows");
            match plan.payload_columns.is_empty() {
                true => drop(rows.insert(row)),
                false => payloads.push(row, &payload)?,
            }
        }
    }
    let written = match plan.payload_columns.is_empty() {
        true => write_matches(&mut reader, &rows, &plan.output),
        false => write_matches_with_payload(&mut reader, &mut payloads, &plan.payload_columns, &plan.output),
    };
    let writer = written.map_err(|error| match error {
        TableError::RowMissing { .. } => changed(),
        error => error.into(),
    })?;
    while reader.advance()? {}
    if !reader.digest()?.as_ref().is_some_and(is_input) {
        return Err(changed());
    }
    writer.finish()?;
    Ok(())
}
