//! The way to a provider, and what it accepted.

use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use windvane_proto::psi::v1::Frame;
use windvane_proto::psi::v1::psi_client::PsiClient;
use windvane_protocols::limits::MAX_MESSAGE_BYTES;
use windvane_protocols::party::PartyId;
use windvane_protocols::psi::{PsiAcceptance, PsiRequest};
use windvane_protocols::transcript::Signed;

use super::{Job, JobRunner};
use crate::error::PeerError;
use crate::peer::channel;
use crate::psi::PsiError;
use crate::psi::engine::lock;
use crate::psi::folder::Document;
use crate::psi::link::Frames;
use crate::psi::plan::given;

impl JobRunner {
    pub(super) async fn dial(&self, job: &Job, frames: Frames) -> Result<tonic::Streaming<Frame>, PsiError> {
        let mut client = PsiClient::new(self.channel(&job.checked.provider)?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let frames = ReceiverStream::new(frames).map_while(Result::ok);
        let idle = job.checked.patience().idle;
        let response = tokio::time::timeout(idle, client.run(frames)).await;
        let response = response.map_err(|_| PsiError::Idle { seconds: idle.as_secs() })?;
        Ok(response.map_err(|status| PeerError::from(&status))?.into_inner())
    }

    pub(super) fn channel(&self, provider: &PartyId) -> Result<Channel, PsiError> {
        let address = self.config.providers.iter().find(|config| config.party == provider.as_str());
        let address = address.ok_or_else(|| {
            given("PROVIDER_UNKNOWN", format!("the configuration has no [[provider]] {provider}"))
        })?;
        Ok(channel(&self.certificate, provider, &address.address)?)
    }

    /// Checks the acceptance, and that it is the same on every connection.
    pub(super) fn accepted(
        &self,
        job: &Job,
        request: &Signed<PsiRequest>,
        acceptance: Signed<PsiAcceptance>,
    ) -> Result<Signed<PsiAcceptance>, PsiError> {
        let refuse = |what| Err(PsiError::Acceptance { what });
        if !acceptance.verify(&job.partner.receipt_key) {
            return refuse("it is not signed by the provider");
        }
        let body = acceptance.body();
        if body.request != *request {
            return refuse("it is about another request");
        }
        let sizes = body.parameters.sizes();
        let ours = PsiAcceptance::parameters(request.body(), sizes.sender_rows, sizes.payload_bytes);
        if ours.ok() != Some(body.parameters) {
            return refuse("its parameters do not follow from the sizes");
        }
        if request.body().payload_columns.is_empty() != (sizes.payload_bytes == 0) && sizes.sender_rows > 0 {
            return refuse("it brings a payload that was not asked for, or none");
        }
        let known = lock(&job.folder).read::<PsiAcceptance>(Document::Acceptance)?;
        match known {
            Some(known) if known != acceptance => return refuse("it is another than before"),
            Some(_) => {}
            None => lock(&job.folder).keep(Document::Acceptance, &acceptance)?,
        }
        Ok(acceptance)
    }
}
