//! Downloading a provider's snapshot and its deltas: verified page by page, resumable, put in place as a whole.
//!
//! A provider is waited for as long as it sends (`Patience`), and may send as much as there is [`Room`] for: one that
//! stalls keeps no other's table from being renewed, and none fills the disk that the bank's log needs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{Deltas, Pages, WireError};
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::{FetchDeltasRequest, FetchManifestRequest, FetchPagesRequest};
use windvane_protocols::limits::{MAX_MESSAGE_BYTES, PAGE_BYTES};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::delta::{Delta, DeltaError};
use windvane_protocols::lookup::manifest::{Manifest, Publication};
use windvane_protocols::transcript::Signed;

use crate::error::{NodeError, PeerError};
use crate::identity::Layout;
use crate::snapshot::stage::{FetchStage, Stage};
use crate::snapshot::{DeltaDownload, Download, InstallError, Room, Snapshot};

/// How long a provider is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// It answers within this time, and sends so many pages in it, as long as there are any.
    silence: Duration,
    least_pages: u64,
    /// A fetch takes no longer, but for what [`Self::page`] adds; the next one goes on from there.
    longest: Duration,
    /// The time that each page is given beside that.
    page: Duration,
}

/// 64 KiB a second at the least, and a mebibyte a second in the mean of a table that takes more than an hour.
const PATIENCE: Patience = Patience {
    silence: Duration::from_secs(60),
    least_pages: 960,
    longest: Duration::from_secs(3_600),
    page: Duration::from_millis(4),
};

/// A fetch's clocks.
#[derive(Debug)]
struct Pace {
    patience: Patience,
    end: Instant,
    /// Until when the answer has to come, or so many pages from here.
    due: Instant,
    pages: u64,
}

impl Pace {
    fn new(patience: Patience) -> Self {
        let now = Instant::now();
        Self { patience, end: now + patience.longest, due: now + patience.silence, pages: 0 }
    }

    /// So many pages are to come.
    fn expect(&mut self, pages: u64) {
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        self.end += self.patience.page.saturating_mul(pages);
    }

    /// A question is asked, with so many pages there.
    fn asked(&mut self, pages: u64) -> &Self {
        self.due = Instant::now() + self.patience.silence;
        self.pages = pages;
        self
    }

    /// So many pages are there.
    fn reached(&mut self, pages: u64) {
        if pages - self.pages >= self.patience.least_pages {
            self.asked(pages);
        }
    }

    /// What comes while there is time for it.
    async fn wait<T>(&self, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let late = |_| {
            let silence = self.patience.silence;
            Err(Status::deadline_exceeded(if self.end < self.due {
                "the fetch took an hour, and more than 4 ms a page beside it; fetch again to go on".to_owned()
            } else {
                format!("nothing, or too little, came for {} s", silence.as_secs())
            }))
        };
        tokio::time::timeout_at(self.due.min(self.end), answer).await.unwrap_or_else(late)
    }
}

/// A provider's data set, as its node serves it.
#[derive(Debug)]
pub struct Source<'a> {
    layout: &'a Layout,
    partner: &'a Partner,
    data_set: &'a DataSet,
    client: LookupClient<Channel>,
    room: Room,
    pace: Pace,
}

impl<'a> Source<'a> {
    /// A data set behind a channel to its provider. One fetch is made of it.
    pub fn new(
        layout: &'a Layout,
        partner: &'a Partner,
        channel: Channel,
        data_set: &'a DataSet,
        room: Room,
    ) -> Self {
        let client = LookupClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { layout, partner, data_set, client, room, pace: Pace::new(PATIENCE) }
    }

    /// The signed manifest of the current epoch.
    ///
    /// # Errors
    /// [`NodeError`]; `MANIFEST_INVALID` when it is not the provider's.
    pub async fn manifest(&mut self) -> Result<Signed<Manifest>, NodeError> {
        let request = FetchManifestRequest { data_set: self.data_set.to_string() };
        let asked = self.client.fetch_manifest(Request::new(request));
        let response = self.pace.asked(0).wait(asked).await.map_err(|s| PeerError::from(&s))?;
        let malformed =
            |message| PeerError { code: "MANIFEST_INVALID".into(), message, retry_after_ms: None };
        let manifest =
            Signed::<Manifest>::try_from(response.into_inner()).map_err(|e| malformed(e.to_string()))?;
        let body = manifest.body();
        let theirs = body.provider == self.partner.party && body.data_set == *self.data_set;
        if theirs && manifest.verify(&self.partner.receipt_key) {
            Ok(manifest)
        } else {
            let message = "the manifest is not signed by the provider, or is about something else";
            Err(malformed(message.into()).into())
        }
    }

    /// Fetches the snapshot that a manifest describes and installs it.
    ///
    /// `progress` is told pages done and pages in all. A download that ends early keeps what came and goes on from
    /// there when it is called again.
    ///
    /// # Errors
    /// [`NodeError`]; `SNAPSHOT_INSTALLED` when it is there already.
    pub async fn snapshot(
        &mut self,
        manifest: &Signed<Manifest>,
        progress: impl FnMut(u64, u64),
    ) -> Result<(), NodeError> {
        let download = Download::resume(self.layout.root(), manifest)?;
        let body = manifest.body();
        let &[publication] = body.publications.as_slice() else {
            return Err(
                InstallError::from(DeltaError::Publications { found: body.publications.len() }).into()
            );
        };
        FetchStage::Begun.reached();
        let download = self.stream(download, body.epoch, &publication, progress).await?;
        FetchStage::Complete.reached();
        blocking(move || download.finish()).await??;
        FetchStage::Placed.reached();
        Ok(())
    }

    /// The signed deltas of an epoch; nothing of them is checked.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn deltas(&mut self, epoch: u64) -> Result<Vec<Signed<Delta>>, NodeError> {
        let request = FetchDeltasRequest { data_set: self.data_set.to_string(), epoch };
        let asked = self.client.fetch_deltas(Request::new(request));
        let response = self.pace.asked(0).wait(asked).await.map_err(|s| PeerError::from(&s))?;
        Ok(Deltas::try_from(response.into_inner()).map_err(PeerError::from)?.0)
    }

    /// Fetches a delta that follows the table `before` in the epoch's directory, and applies it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn delta(
        &mut self,
        dir: &Path,
        before: Arc<Snapshot>,
        delta: &Signed<Delta>,
        progress: impl FnMut(u64, u64),
    ) -> Result<(), NodeError> {
        let download = DeltaDownload::resume(dir, &before, delta)?;
        let (epoch, publication) = (delta.body().epoch, delta.body().publication);
        let download = self.stream(download, epoch, &publication, progress).await?;
        Ok(blocking(move || download.finish(&before)).await??)
    }

    /// Appends the pages of a publication that are missing.
    async fn stream<S: Sink>(
        &mut self,
        mut sink: S,
        epoch: u64,
        publication: &Publication,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<S, NodeError> {
        let had = sink.next_page();
        self.room.admits(self.layout.root(), publication.pages, had)?;
        self.pace.expect(publication.pages.saturating_sub(had));
        let wanted = FetchPagesRequest {
            data_set: self.data_set.to_string(),
            epoch,
            publication: publication.id.to_vec().into(),
            from: had,
        };
        let asked = self.client.fetch_pages(Request::new(wanted));
        let response = self.pace.asked(had).wait(asked).await;
        let mut stream = response.map_err(|s| PeerError::from(&s))?.into_inner();
        while sink.next_page() < publication.pages {
            let message = self.pace.wait(stream.message()).await.map_err(|status| interrupted(&status))?;
            let Some(message) = message else { break };
            let pages = Pages::try_from(message).map_err(PeerError::from)?;
            sink = blocking(move || {
                sink.append(pages.as_slice())?;
                Ok::<_, InstallError>(sink)
            })
            .await??;
            self.pace.reached(sink.next_page());
            progress(sink.next_page(), publication.pages);
        }
        Ok(sink)
    }
}

/// What takes the pages of a publication.
trait Sink: Send + 'static {
    fn next_page(&self) -> u64;
    fn append(&mut self, pages: &[[u8; PAGE_BYTES]]) -> Result<(), InstallError>;
}

impl Sink for Download {
    fn next_page(&self) -> u64 {
        Self::next_page(self)
    }

    fn append(&mut self, pages: &[[u8; PAGE_BYTES]]) -> Result<(), InstallError> {
        Self::append(self, pages)?;
        FetchStage::Pages.reached();
        Ok(())
    }
}

impl Sink for DeltaDownload {
    fn next_page(&self) -> u64 {
        Self::next_page(self)
    }

    fn append(&mut self, pages: &[[u8; PAGE_BYTES]]) -> Result<(), InstallError> {
        Self::append(self, pages)?;
        Stage::Pages.reached();
        Ok(())
    }
}

/// A broken stream keeps the pages that came; what was not decoded comes again as it is.
fn interrupted(status: &Status) -> NodeError {
    let error = PeerError::from(status);
    if WireError::of(status).is_some() {
        return error.into();
    }
    NodeError::Given {
        code: "SNAPSHOT_TRUNCATED",
        message: format!("the download was interrupted ({error}); fetch again to go on from there"),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NodeError> {
    let stopped = |_| NodeError::Given { code: "INTERNAL", message: "the download's worker stopped".into() };
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code with which a provider that always answers with so many pages is given up.
    async fn given_up(patience: Patience, pages: u64) -> String {
        let mut pace = Pace::new(patience);
        for asked in 0.. {
            let answer = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(pages)
            };
            match pace.wait(answer).await {
                Ok(pages) => pace.reached((asked + 1) * pages),
                Err(status) => return status.message().to_owned(),
            }
        }
        unreachable!("it goes on until then")
    }

    #[tokio::test]
    async fn a_provider_that_is_silent_or_slow_or_takes_too_long_is_given_up() {
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(3_600));
        let page = Duration::ZERO;
        let patience = Patience { silence: short, least_pages: 960, longest: long, page };
        let silent = Pace::new(patience).wait(std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!(PeerError::from(&silent).code, "DEADLINE_EXCEEDED");
        assert_eq!(interrupted(&silent).code(), "SNAPSHOT_TRUNCATED");
        // A page now and then is as good as none.
        assert!(given_up(patience, 1).await.contains("too little"));
        let patience = Patience { silence: long, least_pages: 960, longest: short, page };
        assert!(given_up(patience, 960).await.contains("4 ms a page"));
    }

    #[test]
    fn only_a_download_that_broke_off_is_to_be_gone_on_with() {
        let code = |status: Status| interrupted(&status).code().to_owned();
        assert_eq!(code(Status::unavailable("gone")), "SNAPSHOT_TRUNCATED");
        let error = WireError::Form { field: "the message", expected: "protobuf of its type" };
        assert_eq!(code(error.into()), "MESSAGE_MALFORMED");
    }
}
