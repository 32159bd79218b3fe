//! The way to a provider, and what it accepted.

use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use windvane_proto::convert::{PsiFrame, PsiOpen};
use windvane_proto::psi::v1::Frame;
use windvane_proto::psi::v1::psi_client::PsiClient;
use windvane_protocols::limits::MAX_MESSAGE_BYTES;
use windvane_protocols::party::PartyId;
use windvane_protocols::psi::{PsiAcceptance, PsiRequest};
use windvane_protocols::transcript::Signed;

use super::request::Sent;
use super::{Job, JobRunner};
use crate::clock::is_before;
use crate::error::PeerError;
use crate::peer::channel;
use crate::psi::engine::{Watch, lock};
use crate::psi::folder::Document;
use crate::psi::input::Scan;
use crate::psi::link::{Outgoing, outgoing};
use crate::psi::plan::given;
use crate::psi::receive::{await_frame, watch};
use crate::psi::{JobProgress, PsiError, Stage};

/// A connection on which nothing was said yet.
struct Line {
    out: Outgoing,
    frames: tonic::Streaming<Frame>,
    watch: Watch,
}

/// A connection on which the provider accepted the job.
pub(super) struct Open {
    pub(super) acceptance: Signed<PsiAcceptance>,
    pub(super) attempt: u64,
    pub(super) out: Outgoing,
    pub(super) frames: tonic::Streaming<Frame>,
    pub(super) watch: Watch,
}

impl JobRunner {
    /// Asks with the request that was sent before, and with a new one if there is none, or if no provider has accepted
    /// it and none will. A provider that cannot be reached costs the job neither a request nor one of its connections.
    pub(super) async fn open_job(
        &self,
        job: &Job,
        scan: &Scan,
        progress: &dyn JobProgress,
    ) -> Result<Open, PsiError> {
        let mut useless = None;
        match self.sent(job, scan)? {
            Some(Sent::Known(request)) => {
                let line = self.dial(job).await?;
                match self.open_with(job, &request, line, progress).await {
                    Err(error) if error.can_be_renewed() && !job.is_accepted()? => {
                        self.withdraw(job, &request, error.code()).await?;
                    }
                    opened => return opened,
                }
            }
            Some(Sent::Useless(request, code)) => useless = Some((request, code)),
            None => {}
        }
        let request = self.compose(job, scan)?;
        let line = self.dial(job).await?;
        if let Some((before, code)) = useless {
            self.withdraw(job, &before, &code).await?;
        }
        let request = self.ask(job, request).await?;
        Stage::Requested.reached();
        progress.stage(Stage::Requested);
        self.open_with(job, &request, line, progress).await
    }

    async fn open_with(
        &self,
        job: &Job,
        request: &Signed<PsiRequest>,
        line: Line,
        progress: &dyn JobProgress,
    ) -> Result<Open, PsiError> {
        let Line { out, mut frames, mut watch } = line;
        let attempt = self.attempt(job, request).await?;
        Stage::Open.reached();
        progress.stage(Stage::Open);
        let finished = lock(&job.folder).state().finished.iter().map(|(b, h)| (*b, *h)).collect();
        let open = PsiOpen { request: request.clone(), attempt, finished };
        out.send(PsiFrame::Open(Box::new(open))).await?;
        let acceptance = match await_frame(&mut frames, &mut watch, || ()).await? {
            PsiFrame::Accept(acceptance) => self.accepted(job, request, *acceptance)?,
            other => return Err(PsiError::Unexpected { found: other.name(), expected: "an acceptance" }),
        };
        Stage::Accepted.reached();
        progress.stage(Stage::Accepted);
        Ok(Open { acceptance, attempt, out, frames, watch })
    }

    async fn dial(&self, job: &Job) -> Result<Line, PsiError> {
        let watch = watch(job.checked.patience(), &job.folder);
        let (out, frames) = outgoing();
        let mut client = PsiClient::new(self.channel(&job.checked.provider)?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let frames = ReceiverStream::new(frames).map_while(Result::ok);
        let idle = job.checked.patience().idle;
        let response = tokio::time::timeout(idle, client.run(frames)).await;
        let response = response.map_err(|_| PsiError::Idle { seconds: idle.as_secs() })?;
        let frames = response.map_err(|status| PeerError::from(&status))?.into_inner();
        Ok(Line { out, frames, watch })
    }

    pub(super) fn channel(&self, provider: &PartyId) -> Result<Channel, PsiError> {
        let address = self.config.providers.iter().find(|config| config.party == provider.as_str());
        let address = address.ok_or_else(|| {
            given("PROVIDER_UNKNOWN", format!("the configuration has no [[provider]] {provider}"))
        })?;
        Ok(channel(&self.certificate, provider, &address.address)?)
    }

    /// Checks the acceptance, and that it is the same on every connection.
    fn accepted(
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
        if is_before(body.accepted_at_ms, request.body().requested_at_ms) {
            return refuse("it is of a time before the request");
        }
        let sizes = body.parameters.sizes();
        if !body.follows_its_request() {
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

impl Job {
    /// Whether the provider has accepted it.
    pub(super) fn is_accepted(&self) -> Result<bool, PsiError> {
        Ok(lock(&self.folder).read::<PsiAcceptance>(Document::Acceptance)?.is_some())
    }
}
