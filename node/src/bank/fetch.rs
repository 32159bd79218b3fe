//! Downloading a provider's snapshot: verified page by page, resumable, installed as a whole.

use tonic::Request;
use tonic::transport::Channel;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::Pages;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::{FetchManifestRequest, FetchPagesRequest};
use windvane_protocols::limits::MAX_MESSAGE_BYTES;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::transcript::Signed;

use crate::error::{NodeError, PeerError};
use crate::identity::Layout;
use crate::snapshot::{Download, InstallError};

/// Fetches the current epoch of a data set and installs it; gives its manifest.
///
/// `progress` is told pages done and pages in all. A download that ends early keeps what came and goes on from
/// there when it is called again.
///
/// # Errors
/// [`NodeError`]; `SNAPSHOT_INSTALLED` when the current epoch is there already.
pub async fn fetch(
    layout: &Layout,
    partner: &Partner,
    channel: Channel,
    data_set: &DataSet,
    mut progress: impl FnMut(u64, u64),
) -> Result<Signed<Manifest>, NodeError> {
    let mut client = LookupClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let manifest = fetch_manifest(&mut client, partner, data_set).await?;
    let mut download = Download::resume(layout.root(), &manifest)?;
    let body = manifest.body();
    let total = body.publications.iter().map(|publication| publication.pages).sum();
    let wanted = FetchPagesRequest {
        data_set: data_set.to_string(),
        epoch: body.epoch,
        publication: body.publications.first().map_or(Vec::new(), |p| p.id.to_vec()).into(),
        from: download.next_page(),
    };
    let response = client.fetch_pages(Request::new(wanted)).await.map_err(|s| PeerError::from(&s))?;
    let mut stream = response.into_inner();
    while !download.is_complete() {
        let message = stream.message().await.map_err(|status| interrupted(&status))?;
        let Some(message) = message else { break };
        let pages = Pages::try_from(message).map_err(|error| PeerError {
            code: "MESSAGE_MALFORMED".into(),
            message: error.to_string(),
            retry_after_ms: None,
        })?;
        download = tokio::task::spawn_blocking(move || {
            download.append(pages.as_slice())?;
            Ok::<_, InstallError>(download)
        })
        .await
        .map_err(|_| stopped())??;
        progress(download.next_page(), total);
    }
    tokio::task::spawn_blocking(move || download.finish()).await.map_err(|_| stopped())??;
    Ok(manifest)
}

async fn fetch_manifest(
    client: &mut LookupClient<Channel>,
    partner: &Partner,
    data_set: &DataSet,
) -> Result<Signed<Manifest>, NodeError> {
    let request = FetchManifestRequest { data_set: data_set.to_string() };
    let response = client.fetch_manifest(Request::new(request)).await.map_err(|s| PeerError::from(&s))?;
    let malformed = |message| PeerError { code: "MANIFEST_INVALID".into(), message, retry_after_ms: None };
    let manifest =
        Signed::<Manifest>::try_from(response.into_inner()).map_err(|e| malformed(e.to_string()))?;
    let body = manifest.body();
    let theirs = body.provider == partner.party && body.data_set == *data_set;
    if theirs && manifest.verify(&partner.receipt_key) {
        Ok(manifest)
    } else {
        Err(malformed("the manifest is not signed by the provider, or is about something else".into()).into())
    }
}

/// A broken stream keeps the pages that came.
fn interrupted(status: &tonic::Status) -> NodeError {
    let error = PeerError::from(status);
    NodeError::Given {
        code: "SNAPSHOT_TRUNCATED",
        message: format!("the download was interrupted ({error}); fetch again to go on from there"),
    }
}

fn stopped() -> NodeError {
    NodeError::Given { code: "INTERNAL", message: "the download's worker stopped".into() }
}
