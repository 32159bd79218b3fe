//! What a job asks for, the same on every connection.

use windvane_proto::convert::PsiOpen;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::limits::MAX_PSI_ATTEMPTS;
use windvane_protocols::psi::{Mode, PsiRequest};
use windvane_protocols::transcript::Signed;

use super::{Job, JobRunner};
use crate::psi::engine::lock;
use crate::psi::folder::{Document, Fact};
use crate::psi::input::{Scan, input_commitment};
use crate::psi::plan::{given, key_name};
use crate::psi::{JobProgress, PsiError};

impl JobRunner {
    /// The signed and logged request, the same for every connection; and what the table is.
    pub(super) async fn request(
        &self,
        job: &Job,
        progress: &dyn JobProgress,
    ) -> Result<(Signed<PsiRequest>, Scan), PsiError> {
        let (input, known) = (job.checked.input(), lock(&job.folder).read::<PsiRequest>(Document::Request)?);
        // The table is read where it is: a command has nothing else to do, and progress is not passed around.
        let scan = tokio::task::block_in_place(|| self.scans.scan(&input, progress.reading()))?;
        let request = match known {
            Some(request) => {
                let body = request.body();
                let commitment = input_commitment(&self.keys, &body.grant, &scan.digest, &body.key);
                if body.rows != scan.rows || body.input != commitment {
                    return Err(PsiError::InputChanged { path: input.path });
                }
                request
            }
            None => {
                let signed = Signed::sign(self.ask(job, &scan)?, self.keys.signing_key());
                lock(&job.folder).keep(Document::Request, &signed)?;
                signed
            }
        };
        // A crash may have come between keeping and logging, so until a connection began it is logged again.
        if lock(&job.folder).state().attempts == 0 {
            let event = Event::PsiRequested(Box::new(request.clone()));
            self.log.append(self.clock.now_ms(), vec![event]).await?;
        }
        Ok((request, scan))
    }

    fn ask(&self, job: &Job, scan: &Scan) -> Result<PsiRequest, PsiError> {
        let (plan, now_ms) = (&job.checked.plan, self.clock.now_ms());
        let grant = self.grant(job, now_ms)?;
        let key = key_name(plan.key);
        let minimum = match job.checked.mode {
            Mode::MinimumThenRelease => grant.minimum_result.max(1),
            _ => 0,
        };
        Ok(PsiRequest {
            session: job.id,
            requester: self.keys.party.clone(),
            provider: job.checked.provider.clone(),
            grant: grant.id,
            purpose: plan.purpose.clone(),
            data_set: job.checked.list.clone(),
            protocol: job.checked.protocol,
            mode: job.checked.mode,
            minimum,
            input: input_commitment(&self.keys, &grant.id, &scan.digest, &key),
            key,
            payload_columns: plan.payload_columns.clone(),
            rows: scan.rows,
            bucket_rows: plan.bucket_rows,
            nonce: rand::random(),
            software: self.software,
            configuration: self.configuration,
            requested_at_ms: now_ms,
        })
    }

    /// The newest running grant for the job. An expired one is used when there is no other: the provider
    /// decides, and its refusal is evidence.
    fn grant(&self, job: &Job, now_ms: u64) -> Result<Grant, PsiError> {
        let mut grants = Vec::new();
        for stored in self.store.grants()?.into_iter().filter(|g| !g.issued && g.ended_at_ms.is_none()) {
            let signed = Signed::<Grant>::from_bytes_unverified(stored.signed)?;
            let body = signed.body();
            let ours = body.provider == job.checked.provider
                && body.requester == self.keys.party
                && body.data_sets.contains(&job.checked.list)
                && body.operations.contains(&Operation::Psi)
                && body.purposes.contains(&job.checked.plan.purpose);
            if ours && signed.verify(&job.partner.receipt_key) {
                grants.push(body.clone());
            }
        }
        let runs = |grant: &&Grant| (grant.not_before_ms..=grant.not_after_ms).contains(&now_ms);
        let missing = || {
            let (provider, list) = (&job.checked.provider, &job.checked.list);
            let message = format!("{provider} granted no set intersection with {list} for this purpose");
            given("GRANT_MISSING", message)
        };
        grants.iter().rev().find(runs).or(grants.last()).cloned().ok_or_else(missing)
    }

    /// Notes and logs another connection.
    pub(super) async fn attempt(&self, job: &Job) -> Result<u64, PsiError> {
        let at_ms = self.clock.now_ms();
        let (had, finished) = {
            let folder = lock(&job.folder);
            (folder.state().attempts, folder.state().finished.len() as u64)
        };
        if had >= MAX_PSI_ATTEMPTS {
            return Err(PsiError::Attempts { had });
        }
        let number = had + 1;
        let (session, peer) = (job.id, job.checked.provider.clone());
        let event = Event::PsiAttempted { session, peer, number, finished };
        // In this order a number is never used twice, whatever a crash comes between.
        lock(&job.folder).note(&Fact::Attempt { number, at_ms })?;
        self.log.append(at_ms, vec![event]).await?;
        Ok(number)
    }

    pub(super) fn opening(&self, job: &Job, request: &Signed<PsiRequest>, attempt: u64) -> PsiOpen {
        let finished = lock(&job.folder).state().finished.iter().map(|(b, h)| (*b, *h)).collect();
        PsiOpen { request: request.clone(), attempt, finished }
    }
}
