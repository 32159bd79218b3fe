//! The bank downloads the tables of an epoch's providers side by side and keeps their sum.
//!
//! **Promised**: manifests are checked against the epoch before a row is asked for; a batch of segments is added
//! on all cores while the next one arrives; memory is two batches whatever the tables' size; whoever is silent,
//! sends too little, too much or something else is named. A download that ends early goes on from there when it
//! is called again. Disk and order: see [`super::sum`].

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tonic::Streaming;
use tonic::transport::Channel;
use windvane_proto::convert::{SegmentRows, TableManifestWanted, TableWanted, WireError};
use windvane_proto::score::v1::score_client::ScoreClient;
use windvane_proto::score::v1::{FetchTableManifestRequest, FetchTableRequest, FetchTableResponse};
use windvane_protocols::limits::MAX_MESSAGE_BYTES;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::table::manifest::{ManifestError, TableManifest, check};
use windvane_protocols::score::universe::{NUMBERS_PER_SEGMENT, Universe};
use windvane_protocols::transcript::Signed;

use super::folder::EpochFolder;
use super::sum::{Stretch, Summation, SummationError, SummedTables};
use super::table::{ScoreTableError, SummedTable};
use crate::dataset::{Position, Progress};
use crate::error::PeerError;

/// Segments that are added at a time: 2.5 MiB a provider.
const BATCH_SEGMENTS: u64 = 8;

/// A provider that sends nothing for so long is not waited for.
const SILENCE: Duration = Duration::from_secs(60);

/// One download.
#[derive(Debug)]
pub struct FetchTables<'a> {
    /// The epoch.
    pub epoch: &'a Epoch,
    /// The epoch's universe.
    pub universe: &'a Universe,
    /// The epoch's folder at the bank.
    pub folder: &'a EpochFolder,
    /// How every provider of the epoch is reached.
    pub channels: &'a BTreeMap<PartyId, Channel>,
}

/// What a download gives.
#[derive(Debug)]
pub enum FetchedTables {
    /// The sum is whole and checked; [`SummedTables::install`] puts it in its place.
    Summed(SummedTables),
    /// It is in its place already.
    Installed(SummedTable),
}

/// Why there is no sum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreFetchError {
    /// The universe or the folder is not the epoch's.
    #[error("the {what} is not that of epoch {epoch}")]
    Foreign {
        /// What does not fit.
        what: &'static str,
        /// The epoch.
        epoch: u64,
    },
    /// The epoch serves nobody any more.
    #[error("epoch {epoch} is retired; fetch a newer one")]
    Retired {
        /// The epoch.
        epoch: u64,
    },
    /// A provider of the epoch cannot be reached by anything configured.
    #[error("{party} has no [[provider]] section in the configuration")]
    Address {
        /// The provider.
        party: PartyId,
    },
    /// A provider refused or failed. What came is kept.
    #[error("{party}: {error}")]
    Peer {
        /// The provider.
        party: PartyId,
        /// What it said.
        error: PeerError,
    },
    /// A provider sent something that is no message of this protocol. What came before is kept.
    #[error("{party} sent a malformed message: {error}")]
    Malformed {
        /// The provider.
        party: PartyId,
        /// What is wrong with it.
        error: WireError,
    },
    /// The manifests do not make one table.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A provider sent nothing for a minute. What came is kept.
    #[error("{party} sent nothing for {} seconds; fetch again to go on from there", SILENCE.as_secs())]
    Silent {
        /// The provider.
        party: PartyId,
    },
    /// A provider's download ended too early. What came is kept.
    #[error("{party} sent {found} of {expected} segments; fetch again to go on from there")]
    Truncated {
        /// The provider.
        party: PartyId,
        /// Segments of it that there are.
        found: u64,
        /// Segments of the table.
        expected: u64,
    },
    /// A provider sent more than its manifest says.
    #[error(
        "{party} sent more than the {expected} segments of its manifest; tell the provider, and fetch again"
    )]
    TooLong {
        /// The provider.
        party: PartyId,
        /// Segments of the table.
        expected: u64,
    },
    /// The tables do not become a sum.
    #[error(transparent)]
    Sum(#[from] SummationError),
    /// The sum that stands there cannot be used.
    #[error(transparent)]
    Table(#[from] ScoreTableError),
    /// A worker stopped.
    #[error("a worker of the download stopped")]
    Stopped,
}

impl ScoreFetchError {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Foreign { .. } => "SCORE_EPOCH_MISMATCH",
            Self::Retired { .. } => "SCORE_EPOCH_RETIRED",
            Self::Address { .. } => "PROVIDER_UNKNOWN",
            Self::Peer { error, .. } => &error.code,
            Self::Malformed { error, .. } => error.code(),
            Self::Manifest(_) => "SCORE_MANIFEST_INVALID",
            Self::Silent { .. } => "DEADLINE_EXCEEDED",
            Self::Truncated { .. } => "SCORE_TABLE_TRUNCATED",
            Self::TooLong { .. } => "SCORE_TABLE_TOO_LONG",
            Self::Sum(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Stopped => "INTERNAL",
        }
    }

    /// The provider whose fault it is, where it is one's.
    pub const fn party(&self) -> Option<&PartyId> {
        match self {
            Self::Address { party }
            | Self::Peer { party, .. }
            | Self::Malformed { party, .. }
            | Self::Silent { party }
            | Self::Truncated { party, .. }
            | Self::TooLong { party, .. }
            | Self::Manifest(
                ManifestError::Count { party, .. }
                | ManifestError::Signature { party }
                | ManifestError::Context { party },
            )
            | Self::Sum(SummationError::Row { party, .. } | SummationError::Root { party }) => Some(party),
            _ => None,
        }
    }
}

/// Downloads and adds the tables of all providers of an epoch. The sum is not in its place when this returns, so
/// that the caller can tell its log of the manifests before.
///
/// # Errors
/// [`ScoreFetchError`].
pub async fn fetch(job: &FetchTables<'_>, progress: &dyn Progress) -> Result<FetchedTables, ScoreFetchError> {
    job.check()?;
    match SummedTable::open(job.folder, job.epoch) {
        Ok(table) => return Ok(FetchedTables::Installed(table)),
        Err(ScoreTableError::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut sources = job.sources()?;
    let manifests = job.manifests(&mut sources).await?;
    let (folder, epoch) = (job.folder.clone(), job.epoch.clone());
    let begin = move || Summation::begin(&folder, &epoch, manifests);
    let summation = spawn_blocking(begin).await.map_err(|_| ScoreFetchError::Stopped)??;
    // Again, under the lock that who retires takes too.
    job.check_running()?;
    let mut streams = job.streams(&mut sources, summation.done()).await?;
    let summation = add_all(summation, &mut streams, progress).await?;
    check_ends(&mut streams, summation.total()).await?;
    drop(streams);
    let summed = spawn_blocking(move || summation.finish()).await.map_err(|_| ScoreFetchError::Stopped)??;
    Ok(FetchedTables::Summed(summed))
}

/// A provider and its service.
struct Source {
    party: PartyId,
    client: ScoreClient<Channel>,
}

/// A provider and its segments.
struct Segments {
    party: PartyId,
    stream: Streaming<FetchTableResponse>,
}

impl FetchTables<'_> {
    fn check(&self) -> Result<(), ScoreFetchError> {
        let epoch = self.epoch.number();
        if self.folder.epoch() != epoch {
            return Err(ScoreFetchError::Foreign { what: "folder", epoch });
        }
        if *self.universe.digest() != self.epoch.charter().terms().universe {
            return Err(ScoreFetchError::Foreign { what: "universe", epoch });
        }
        self.check_running()
    }

    fn check_running(&self) -> Result<(), ScoreFetchError> {
        if self.folder.is_retired() {
            return Err(ScoreFetchError::Retired { epoch: self.folder.epoch() });
        }
        Ok(())
    }

    fn wanted(&self) -> TableManifestWanted {
        TableManifestWanted { group: self.epoch.charter().terms().group.clone(), epoch: self.epoch.number() }
    }

    /// The providers, in their order.
    fn sources(&self) -> Result<Vec<Source>, ScoreFetchError> {
        let source = |party: &PartyId| {
            let channel = self.channels.get(party);
            let channel = channel.ok_or_else(|| ScoreFetchError::Address { party: party.clone() })?;
            let client = ScoreClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
            Ok(Source { party: party.clone(), client })
        };
        self.epoch.charter().providers().iter().map(|identity| source(&identity.party)).collect()
    }

    async fn manifests(&self, sources: &mut [Source]) -> Result<Vec<Signed<TableManifest>>, ScoreFetchError> {
        let mut manifests = Vec::with_capacity(sources.len());
        for Source { party, client } in sources {
            let asked = client.fetch_table_manifest(FetchTableManifestRequest::from(&self.wanted()));
            let message = answered(party, asked).await?.into_inner();
            manifests.push(Signed::try_from(message).map_err(malformed(party))?);
        }
        Ok(check(self.epoch, self.universe.segments().len() as u64, &manifests)?)
    }

    async fn streams(&self, sources: &mut [Source], from: u64) -> Result<Vec<Segments>, ScoreFetchError> {
        let TableManifestWanted { group, epoch } = self.wanted();
        let wanted = TableWanted { group, epoch, context: *self.epoch.context(), from };
        let mut streams = Vec::with_capacity(sources.len());
        for Source { party, client } in sources {
            let asked = client.fetch_table(FetchTableRequest::from(&wanted));
            let stream = answered(party, asked).await?.into_inner();
            streams.push(Segments { party: party.clone(), stream });
        }
        Ok(streams)
    }
}

impl Segments {
    /// The next segment; `None` behind the last.
    async fn next(&mut self) -> Result<Option<SegmentRows>, ScoreFetchError> {
        let message = answered(&self.party, self.stream.message()).await?;
        message.map(SegmentRows::try_from).transpose().map_err(malformed(&self.party))
    }
}

/// What came of a batch, and why it is not whole.
struct Batch {
    stretches: Vec<Stretch>,
    fault: Option<ScoreFetchError>,
}

/// Adds a batch on the blocking pool while the next one arrives. Whatever ends it, what came whole is kept.
async fn add_all(
    mut summation: Summation,
    streams: &mut [Segments],
    progress: &dyn Progress,
) -> Result<Summation, ScoreFetchError> {
    let total = summation.total();
    let mut next = summation.done();
    let mut batch = receive(streams, next, total).await;
    loop {
        next += batch.stretches.len() as u64;
        let Batch { stretches, fault } = batch;
        let last = fault.is_some() || next == total;
        let adding = spawn_blocking(move || {
            let mut added = summation.add(&stretches);
            if last || added.is_err() {
                let kept = summation.keep();
                added = added.and(kept);
            }
            (summation, added)
        });
        let received = if last { None } else { Some(receive(streams, next, total).await) };
        let (back, added) = adding.await.map_err(|_| ScoreFetchError::Stopped)?;
        added?;
        summation = back;
        let done = summation.done();
        progress.at(Position { rows: done * NUMBERS_PER_SEGMENT as u64, done, total });
        match (fault, received) {
            (Some(fault), _) => return Err(fault),
            (None, None) => return Ok(summation),
            (None, Some(received)) => batch = received,
        }
    }
}

/// The same segments of every provider, from `next` on.
async fn receive(streams: &mut [Segments], next: u64, total: u64) -> Batch {
    let mut batch = Batch { stretches: Vec::new(), fault: None };
    for segment in next..total.min(next + BATCH_SEGMENTS) {
        match receive_one(streams, segment, total).await {
            Ok(stretch) => batch.stretches.push(stretch),
            Err(fault) => {
                batch.fault = Some(fault);
                break;
            }
        }
    }
    batch
}

async fn receive_one(
    streams: &mut [Segments],
    found: u64,
    expected: u64,
) -> Result<Stretch, ScoreFetchError> {
    let mut stretch = Stretch::with_capacity(streams.len());
    for segments in streams {
        let Some(rows) = segments.next().await? else {
            return Err(ScoreFetchError::Truncated { party: segments.party.clone(), found, expected });
        };
        stretch.push(rows);
    }
    Ok(stretch)
}

/// Nobody sends more than its manifest says.
async fn check_ends(streams: &mut [Segments], expected: u64) -> Result<(), ScoreFetchError> {
    for segments in streams {
        if segments.next().await?.is_some() {
            return Err(ScoreFetchError::TooLong { party: segments.party.clone(), expected });
        }
    }
    Ok(())
}

/// A provider's answer, if it comes in time.
async fn answered<T>(
    party: &PartyId,
    answer: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, ScoreFetchError> {
    let answer = tokio::time::timeout(SILENCE, answer).await;
    let answer = answer.map_err(|_| ScoreFetchError::Silent { party: party.clone() })?;
    answer.map_err(|status| match WireError::of(&status) {
        Some(error) => malformed(party)(error.clone()),
        None => ScoreFetchError::Peer { party: party.clone(), error: PeerError::from(&status) },
    })
}

fn malformed(party: &PartyId) -> impl FnOnce(WireError) -> ScoreFetchError {
    let party = party.clone();
    move |error| ScoreFetchError::Malformed { party, error }
}
