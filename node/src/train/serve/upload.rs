//! What a bank uploads: read up to the length that it must have, and then held against what it must be.

use std::time::Duration;

use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{TrainUpload, TrainUploaded, WireError};
use windvane_proto::train::v1::UploadRequest;
use windvane_protocols::limits::{MAX_CIPHERTEXTS_PER_CHUNK, MAX_TRAIN_CHUNK_BYTES};
use windvane_protocols::party::SessionId;
use windvane_protocols::train::elgamal::{CIPHERTEXT_BYTES, Ciphertexts, Receiver, Statistic};
use windvane_protocols::transcript::Hash;

use super::TrainProvider;
use super::session::Session;
use crate::error::Refusal;
use crate::train::TrainRefusal;
use crate::train::folder::Upload;

/// A bank that is silent so long has given up.
const SILENCE: Duration = Duration::from_secs(30);

/// A whole upload, 8 MB, takes no longer.
const WHOLE: Duration = Duration::from_secs(600);

impl TrainProvider {
    /// Takes a whole upload; gives the digest of what is kept. The session is told as soon as it is known, so that a
    /// refusal can name it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn upload(
        &self,
        partner: &Partner,
        messages: &mut (impl Stream<Item = Result<UploadRequest, Status>> + Unpin),
        session: &mut Option<SessionId>,
    ) -> Result<Hash, Refusal> {
        let order = |found, expected| TrainRefusal::Order { found, expected };
        let (id, uploaded) = match next(messages).await? {
            Some(TrainUpload::Header(id, uploaded)) => (id, uploaded),
            _ => return Err(order("an upload without a header", "a header").into()),
        };
        *session = Some(id);
        let upload = match uploaded {
            TrainUploaded::List => Upload::List,
            TrainUploaded::Statistic(Statistic::Indicator) => Upload::Indicator,
            TrainUploaded::Statistic(Statistic::HeldOut) => Upload::HeldOut,
            TrainUploaded::Statistic(Statistic::Residual { block }) => Upload::Residuals(block),
        };
        let (claim, expected) = self.expect(partner, id, upload).await?;
        let whole = tokio::time::timeout(WHOLE, receive(messages, expected)).await;
        let bytes = whole.map_err(|_| order("a slow upload", "all of its bytes within ten minutes"))??;
        self.take(claim, partner, upload, bytes).await
    }
}

/// All bytes of an upload, of which there must be so many.
async fn receive(
    messages: &mut (impl Stream<Item = Result<UploadRequest, Status>> + Unpin),
    expected: usize,
) -> Result<Vec<u8>, Refusal> {
    // Not the announced length at once: it comes or it does not.
    let mut bytes = Vec::with_capacity(expected.min(MAX_TRAIN_CHUNK_BYTES));
    while let Some(message) = next(messages).await? {
        let TrainUpload::Chunk(chunk) = message else {
            let (found, expected) = ("a second header", "the upload's bytes");
            return Err(TrainRefusal::Order { found, expected }.into());
        };
        let found = bytes.len() + chunk.len();
        if found > expected || chunk.is_empty() {
            return Err(TrainRefusal::UploadSize { found, expected }.into());
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() != expected {
        return Err(TrainRefusal::UploadSize { found: bytes.len(), expected }.into());
    }
    Ok(bytes)
}

async fn next(
    messages: &mut (impl Stream<Item = Result<UploadRequest, Status>> + Unpin),
) -> Result<Option<TrainUpload>, Refusal> {
    let silent = TrainRefusal::Order { found: "silence", expected: "the rest of an upload" };
    match tokio::time::timeout(SILENCE, messages.next()).await.map_err(|_| silent)? {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(TrainUpload::try_from(message)?)),
        Some(Err(status)) => {
            if let Some(error) = WireError::of(&status) {
                return Err(error.clone().into());
            }
            let cause = format!("{}: {}", status.code(), status.message());
            Err(TrainRefusal::UploadBroken { cause }.into())
        }
    }
}

/// The digest of an upload, which it must have; and a statistic's ciphertexts.
pub(super) fn digest(
    session: &Session,
    upload: Upload,
    bytes: &[u8],
) -> Result<(Hash, Option<Ciphertexts>), TrainRefusal> {
    let statistic = match upload {
        Upload::List => {
            session.charter().open_list(bytes, session.universe().rows())?;
            return Ok((session.charter().list, None));
        }
        Upload::Indicator => Statistic::Indicator,
        Upload::HeldOut => Statistic::HeldOut,
        Upload::Residuals(block) => Statistic::Residual { block },
    };
    let mut receiver = Receiver::new(statistic, session.charter().rows as usize)?;
    for chunk in bytes.chunks(MAX_CIPHERTEXTS_PER_CHUNK * CIPHERTEXT_BYTES) {
        receiver.on_chunk(chunk, session.threads())?;
    }
    let (ciphertexts, digest) = receiver.finish()?;
    Ok((digest, Some(ciphertexts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upload_that_breaks_off_is_refused_with_its_cause() {
        let chunk = UploadRequest::from(TrainUpload::Chunk(vec![7; 4].into()));
        let mut messages = tokio_stream::iter([Ok(chunk), Err(Status::internal("no such field"))]);
        let refusal = receive(&mut messages, 8).await.unwrap_err();
        assert_eq!(refusal.code(), "TRAIN_UPLOAD_BROKEN");
        assert!(refusal.to_string().contains("no such field"), "{refusal}");
    }
}
