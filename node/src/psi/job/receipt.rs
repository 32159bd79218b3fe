//! What both parties sign at the end: the release, the receipt and its countersignature.

use std::sync::Arc;
use std::time::Duration;

use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use windvane_proto::convert::PsiFrame;
use windvane_proto::psi::v1::Frame;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::psi::{PROTOCOL, PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest, PsiTranscript};
use windvane_protocols::transcript::{Hash, Record as _, SignatureBytes, Signed, commit};

use super::{Job, JobRunner};
use crate::bank::Round;
use crate::error::PeerError;
use crate::psi::ecdh::Decide;
use crate::psi::engine::{Watch, lock};
use crate::psi::evidence::JobLog;
use crate::psi::folder::Document;
use crate::psi::link::Outgoing;
use crate::psi::receive::await_frame;
use crate::psi::result::Summary;
use crate::psi::{PsiError, Stage};
use crate::store::Store;

/// How long the end of a connection is waited for, so that the countersignature surely arrived.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

impl JobRunner {
    /// Signs a release request when the count is large enough; its entry is durable before it leaves.
    pub(super) fn decide(&self, job: &Job, request: &PsiRequest) -> Decide {
        let (session, minimum) = (request.session, request.minimum);
        let (folder, key) = (job.folder.clone(), self.keys.signing_key().clone());
        let (clock, log) = (self.clock.clone(), self.log.share());
        let runtime = tokio::runtime::Handle::current();
        Arc::new(move |count| {
            if count < minimum {
                return Ok(None);
            }
            let salt = lock(&folder).secret("count-salt")?;
            let release = PsiRelease {
                session,
                count: commit(&salt, &count.to_be_bytes()),
                signed_at_ms: clock.now_ms(),
            };
            let signed = Signed::sign(release, &key);
            lock(&folder).keep(Document::Release, &signed)?;
            runtime.block_on(log.append(clock.now_ms(), vec![Event::PsiReleased(signed.clone())]))?;
            Ok(Some(signed.as_bytes().to_vec()))
        })
    }

    /// Compares the hashes, takes the receipt, logs it and countersigns. The log has the countersignature when the
    /// provider does: whatever ends the job before leaves the receipt to be countersigned.
    pub(super) async fn finish(
        &self,
        job: &Job,
        acceptance: &Signed<PsiAcceptance>,
        out: &Outgoing,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
    ) -> Result<Signed<PsiReceipt>, PsiError> {
        let hash = PsiTranscript::digest(&acceptance.digest(), lock(&job.folder).state().finished.values());
        out.send(PsiFrame::Finish(hash)).await?;
        let receipt = match await_frame(frames, watch, || ()).await? {
            PsiFrame::Receipt(receipt) => *receipt,
            other => return Err(PsiError::Unexpected { found: other.name(), expected: "a receipt" }),
        };
        self.check_receipt(job, acceptance, &hash, &receipt)?;
        let (session, parameters) = (acceptance.body().request.body().session, acceptance.body().parameters);
        let result = {
            let folder = lock(&job.folder);
            Summary::of(&folder, &parameters, &self.keys.storage)?.commit(&folder.secret("result-salt")?)
        };
        // The result first: a log that is read or cut in between has no receipt without it.
        let events =
            vec![Event::PsiResult { session, result }, Event::PsiCompleted(Box::new(receipt.clone()))];
        self.log.append(self.clock.now_ms(), events).await?;
        // From here on somebody countersigns it, whatever ends the job.
        countersign_later(&self.store, &receipt)?;
        lock(&job.folder).keep(Document::Receipt, &receipt)?;
        Stage::Receipt.reached();
        match self.countersign_now(&receipt, out, frames).await {
            Ok(()) => {
                let provider = receipt.body().request().provider.as_str();
                self.store.forget_receipt(provider, &receipt.digest())?;
            }
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "the countersignature may not have arrived");
            }
        }
        Ok(receipt)
    }

    /// Countersigns on the job's own connection.
    async fn countersign_now(
        &self,
        receipt: &Signed<PsiReceipt>,
        out: &Outgoing,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
    ) -> Result<(), PsiError> {
        let signed = self.countersignature(&receipt.body().request().provider, vec![receipt.digest()]);
        out.send(PsiFrame::Countersign(signed.clone())).await?;
        self.await_end(frames).await?;
        Ok(self.log.append(self.clock.now_ms(), vec![Event::Countersigned(signed)]).await?)
    }

    fn check_receipt(
        &self,
        job: &Job,
        acceptance: &Signed<PsiAcceptance>,
        hash: &Hash,
        receipt: &Signed<PsiReceipt>,
    ) -> Result<(), PsiError> {
        let body = receipt.body();
        let release = lock(&job.folder).read::<PsiRelease>(Document::Release)?;
        let release = release.map(|release| release.digest().to_vec()).unwrap_or_default();
        let faults = [
            (!receipt.verify(&job.partner.receipt_key), "it is not signed by the provider"),
            (body.acceptance != *acceptance, "it is about another acceptance"),
            (body.transcript != *hash, "it has another transcript"),
            (body.protocol != PROTOCOL, "it is of another protocol"),
            (body.release != release, "it says something else of the release"),
        ];
        match faults.into_iter().find(|(fault, _)| *fault) {
            Some((_, what)) => Err(PsiError::Receipt { what }),
            None => Ok(()),
        }
    }

    fn countersignature(&self, provider: &PartyId, receipts: Vec<Hash>) -> Signed<Countersignature> {
        let body = Countersignature {
            requester: self.keys.party.clone(),
            provider: provider.clone(),
            receipts,
            signed_at_ms: self.clock.now_ms(),
        };
        Signed::sign(body, self.keys.signing_key())
    }

    /// Waits until the provider has closed the connection, and so has the countersignature.
    async fn await_end(
        &self,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
    ) -> Result<(), PsiError> {
        let end = async {
            while let Some(frame) = frames.next().await {
                frame.map_err(|status| PeerError::from(&status))?;
            }
            Ok(())
        };
        let late = |_| Err(PsiError::Idle { seconds: CLOSE_WITHIN.as_secs() });
        tokio::time::timeout(CLOSE_WITHIN, end).await.unwrap_or_else(late)
    }

    /// Countersigns what waits for a provider, unless the bank's node runs, which does so by itself. Failures
    /// leave it waiting.
    pub(super) async fn countersign_waiting(&self, provider: &PartyId) {
        if let Err(error) = self.countersign(provider).await {
            tracing::warn!(code = error.code(), %provider, %error, "receipts wait for a countersignature");
        }
    }

    async fn countersign(&self, provider: &PartyId) -> Result<(), PsiError> {
        if matches!(self.log, JobLog::Node(_)) {
            return Ok(());
        }
        let channel = self.channel(provider)?;
        let round = Round { store: &self.store, keys: &self.keys, clock: &*self.clock, channel, provider };
        while let Some(batch) = round.send().await? {
            self.log.append(self.clock.now_ms(), vec![batch.event()]).await?;
            round.settle(&batch)?;
        }
        Ok(())
    }
}

/// Leaves a receipt to whoever countersigns next: the bank's node, or its next job with this provider.
pub(super) fn countersign_later(store: &Store, receipt: &Signed<PsiReceipt>) -> Result<(), PsiError> {
    let provider = receipt.body().request().provider.as_str();
    Ok(store.queue_receipt(provider, &receipt.digest())?)
}

/// Bytes of a signed release request: all its fields have a fixed length.
pub(in crate::psi) fn release_bytes() -> usize {
    let release = PsiRelease { session: SessionId::from_bytes([0; 16]), count: [0; 32], signed_at_ms: 0 };
    release.encode().as_bytes().len() + size_of::<SignatureBytes>()
}
