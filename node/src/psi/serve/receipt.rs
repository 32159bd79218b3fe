//! What a provider signs and takes at a job's end.

use std::sync::Arc;

use windvane_keys::enrolment::Partner;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::SessionId;
use windvane_protocols::psi::{PROTOCOL, PsiAcceptance, PsiReceipt, PsiRelease, PsiTranscript};
use windvane_protocols::transcript::{Hash, Signed};

use super::PsiProvider;
use crate::psi::ecdh::Release;
use crate::psi::engine::{SharedFolder, lock};
use crate::psi::folder::{Document, Fact};
use crate::psi::{PsiError, Stage};

impl PsiProvider {
    /// Checks and logs a release request; it runs on a thread that may block.
    pub(super) fn release(&self, partner: &Partner, folder: &SharedFolder, job: SessionId) -> Release {
        let (provider, folder, key) = (self.provider.clone(), folder.clone(), partner.receipt_key);
        let runtime = tokio::runtime::Handle::current();
        Arc::new(move |bytes| {
            let signed = Signed::<PsiRelease>::open(bytes.to_vec(), &key).map_err(|_| PsiError::Release)?;
            if signed.body().session != job {
                return Err(PsiError::Release);
            }
            lock(&folder).keep(Document::Release, &signed)?;
            Ok(runtime.block_on(provider.log(Event::PsiReleased(signed)))?)
        })
    }

    /// Compares the hashes and gives the receipt, the same one however often it is asked for.
    pub(super) async fn finish(
        &self,
        folder: &SharedFolder,
        acceptance: &Signed<PsiAcceptance>,
        theirs: Hash,
    ) -> Result<Signed<PsiReceipt>, PsiError> {
        let parameters = acceptance.body().parameters;
        let (ours, attempts, known, release, completed) = {
            let folder = lock(folder);
            let state = folder.state();
            if state.finished.len() != parameters.buckets() as usize {
                return Err(PsiError::Unexpected { found: "finish", expected: "the other buckets" });
            }
            let ours = PsiTranscript::digest(&acceptance.digest(), state.finished.values());
            let known = folder.read::<PsiReceipt>(Document::Receipt)?;
            let release = folder.read::<PsiRelease>(Document::Release)?;
            (ours, state.attempts, known, release, state.completed_at_ms.is_some())
        };
        if ours != theirs {
            return Err(PsiError::Transcript);
        }
        let receipt = known.unwrap_or_else(|| self.sign(acceptance, ours, attempts, release.as_ref()));
        lock(folder).keep(Document::Receipt, &receipt)?;
        if !completed {
            self.provider.completed(&receipt).await?;
            let at_ms = self.provider.now_ms();
            let list = &receipt.body().request().data_set;
            let rejects =
                self.provider.shared().layout.root().join("list-rejects").join(format!("{list}.csv"));
            lock(folder).note(&Fact::Completed { matches: None, at_ms })?;
            if let Err(error) = lock(folder).hand_over_rejects(&rejects) {
                tracing::warn!(code = error.code(), %error, "the report of a list's refused rows stays with the job");
            }
        }
        Stage::Receipt.reached();
        let job = receipt.body().request().session;
        tracing::info!(code = "PSI_COMPLETED", %job, attempts, "a set intersection is through");
        Ok(receipt)
    }

    fn sign(
        &self,
        acceptance: &Signed<PsiAcceptance>,
        transcript: Hash,
        attempts: u64,
        release: Option<&Signed<PsiRelease>>,
    ) -> Signed<PsiReceipt> {
        let shared = self.provider.shared();
        let receipt = PsiReceipt {
            acceptance: acceptance.clone(),
            protocol: PROTOCOL.to_owned(),
            software: shared.software,
            configuration: shared.configuration,
            attempts,
            transcript,
            release: release.map(|release| release.digest().to_vec()).unwrap_or_default(),
            finished_at_ms: self.provider.now_ms(),
            witnessed_size: 0,
            witnessed_root: Vec::new(),
        };
        Signed::sign(receipt, shared.keys.signing_key())
    }
}
