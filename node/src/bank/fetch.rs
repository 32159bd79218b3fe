//! Downloading a provider's snapshot and its deltas: verified page by page, resumable, put in place as a whole.

use std::path::Path;
use std::sync::Arc;

use tonic::Request;
use tonic::transport::Channel;
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
use crate::snapshot::{DeltaDownload, Download, InstallError, Snapshot};

/// A provider's data set, as its node serves it.
#[derive(Debug)]
pub struct Source<'a> {
    layout: &'a Layout,
    partner: &'a Partner,
    data_set: &'a DataSet,
    client: LookupClient<Channel>,
}

impl<'a> Source<'a> {
    /// A data set behind a channel to its provider.
    pub fn new(layout: &'a Layout, partner: &'a Partner, channel: Channel, data_set: &'a DataSet) -> Self {
        let client = LookupClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { layout, partner, data_set, client }
    }

    /// The signed manifest of the current epoch.
    ///
    /// # Errors
    /// [`NodeError`]; `MANIFEST_INVALID` when it is not the provider's.
    pub async fn manifest(&mut self) -> Result<Signed<Manifest>, NodeError> {
        let request = FetchManifestRequest { data_set: self.data_set.to_string() };
        let response =
            self.client.fetch_manifest(Request::new(request)).await.map_err(|s| PeerError::from(&s))?;
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
        let response =
            self.client.fetch_deltas(Request::new(request)).await.map_err(|s| PeerError::from(&s))?;
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
        let wanted = FetchPagesRequest {
            data_set: self.data_set.to_string(),
            epoch,
            publication: publication.id.to_vec().into(),
            from: sink.next_page(),
        };
        let response = self.client.fetch_pages(Request::new(wanted)).await;
        let mut stream = response.map_err(|s| PeerError::from(&s))?.into_inner();
        while sink.next_page() < publication.pages {
            let message = stream.message().await.map_err(|status| interrupted(&status))?;
            let Some(message) = message else { break };
            let pages = Pages::try_from(message).map_err(PeerError::from)?;
            sink = blocking(move || {
                sink.append(pages.as_slice())?;
                Ok::<_, InstallError>(sink)
            })
            .await??;
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
fn interrupted(status: &tonic::Status) -> NodeError {
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
    use tonic::Status;

    use super::*;

    #[test]
    fn only_a_download_that_broke_off_is_to_be_gone_on_with() {
        let code = |status: Status| interrupted(&status).code().to_owned();
        assert_eq!(code(Status::unavailable("gone")), "SNAPSHOT_TRUNCATED");
        let error = WireError::Form { field: "the message", expected: "protobuf of its type" };
        assert_eq!(code(error.into()), "MESSAGE_MALFORMED");
    }
}
