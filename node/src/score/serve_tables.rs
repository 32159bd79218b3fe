//! A provider lets the group's bank download its table.
//!
//! Only the requester of the epoch's own terms may, with the key that the terms name and a running grant for the
//! joint score of the group. Tables are opened when they are asked for: one that was put in its place a moment
//! ago is served, and one of a retired epoch is not.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{TableManifestWanted, TableWanted};
use windvane_proto::score::v1::FetchTableResponse;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::table::manifest::TableManifest;
use windvane_protocols::transcript::Signed;

use super::folder::{EpochFolder, ScoreFolder};
use super::refusal::ScoreRefusal;
use super::table::{OwnTable, ScoreTableError};
use crate::error::Refusal;
use crate::provider::Provider;

/// Segments of a download that wait for a slow reader: 1.3 MB.
const SEGMENTS_AHEAD: usize = 4;

/// The segments of a download.
pub type SegmentStream = ReceiverStream<Result<FetchTableResponse, Status>>;

/// The manifest of an epoch's table.
///
/// # Errors
/// [`Refusal`].
pub async fn manifest(
    provider: &Arc<Provider>,
    partner: &Partner,
    wanted: &TableManifestWanted,
) -> Result<Signed<TableManifest>, Refusal> {
    Ok(downloadable(provider, partner, wanted).await?.manifest().clone())
}

/// The segments of an epoch's table, from one on.
///
/// # Errors
/// [`Refusal`].
pub async fn stream(
    provider: &Arc<Provider>,
    partner: &Partner,
    wanted: &TableWanted,
) -> Result<SegmentStream, Refusal> {
    let table = TableManifestWanted { group: wanted.group.clone(), epoch: wanted.epoch };
    let table = downloadable(provider, partner, &table).await?;
    segments(table, wanted)
}

/// The segments of a table that the caller may have.
///
/// # Errors
/// [`Refusal::PageUnknown`] when the table is of another context or has fewer segments.
pub fn segments(table: OwnTable, wanted: &TableWanted) -> Result<SegmentStream, Refusal> {
    if table.manifest().body().context != wanted.context || wanted.from > table.segments() {
        return Err(Refusal::PageUnknown);
    }
    let (sender, receiver) = channel(SEGMENTS_AHEAD);
    let from = wanted.from;
    tokio::task::spawn_blocking(move || send(&table, from, &sender));
    Ok(ReceiverStream::new(receiver))
}

async fn downloadable(
    provider: &Arc<Provider>,
    partner: &Partner,
    wanted: &TableManifestWanted,
) -> Result<OwnTable, Refusal> {
    if !provider.policy().may_download_scores(&partner.party, &wanted.group, provider.now_ms()) {
        return Err(Refusal::GrantUnknown);
    }
    let folder = ScoreFolder::new(&provider.shared().layout).group(&wanted.group).epoch(wanted.epoch);
    let (own, requester, key) = (provider.party().clone(), partner.party.clone(), partner.receipt_key);
    let open = move || open(&folder, &own, &requester, &key);
    tokio::task::spawn_blocking(open).await.map_err(|_| Refusal::Internal)?
}

/// Opens the own table of an epoch for its requester.
pub(super) fn open(
    folder: &EpochFolder,
    own: &PartyId,
    requester: &PartyId,
    key: &VerifyingKey,
) -> Result<OwnTable, Refusal> {
    let unreadable = |code: &'static str, error: &dyn std::fmt::Display| {
        tracing::error!(code, %error, "cannot open a table of the joint score");
        Refusal::Internal
    };
    let evidence = folder.read_evidence().map_err(|error| unreadable(error.code(), &error))?;
    let evidence = evidence.filter(|_| !folder.is_retired()).ok_or(ScoreRefusal::TableUnknown)?;
    let pinned = &evidence.terms.requester;
    if pinned.party != *requester || pinned.key != *key {
        return Err(Refusal::GrantUnknown);
    }
    match OwnTable::open(folder, own) {
        Ok(table) => Ok(table),
        Err(ScoreTableError::Missing { .. }) => Err(ScoreRefusal::TableUnknown.into()),
        Err(error) => Err(unreadable(error.code(), &error)),
    }
}

fn send(table: &OwnTable, from: u64, sender: &Sender<Result<FetchTableResponse, Status>>) {
    for index in from..table.segments() {
        let rows = table.segment(index).map_err(|error| {
            tracing::error!(code = "SCORE_TABLE_UNREADABLE", %error, "cannot read a published table");
            Status::from(Refusal::Internal)
        });
        let failed = rows.is_err();
        // A reader that is gone ends the download.
        if sender.blocking_send(rows.map(|rows| FetchTableResponse { rows: rows.into() })).is_err() || failed
        {
            return;
        }
    }
}
