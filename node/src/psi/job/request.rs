//! What a job asks for.
//!
//! The provider is dialled first; then a request is signed, kept and logged before it leaves. It is the same on every
//! connection once a provider has accepted it. Until then the job may ask anew, always **under a session of its own**, so
//! that no log has two requests of one session:
//!
//! - A request that was kept, and had no connection, is never sent. Nobody knows it, and it may be in the log or not.
//! - One that had a connection is asked with again as it is, because the provider may have accepted it, and counted it
//!   against its grant, with the acceptance lost on the way: then it is still accepted, however old it is. What a
//!   provider refuses for its time or its grant ([`PsiError::can_be_renewed`]) is of no use to either, nor is one whose
//!   connections are used up. So a job whose provider could be reached and did not answer for an hour, or whose grant
//!   was followed by another, goes on with a new request.
//!
//! What becomes of the old one stands in the bank's log before there is a new one: a failure of its session, which the
//! audit takes for why it has no receipt.

use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::limits::MAX_PSI_ATTEMPTS;
use windvane_protocols::party::SessionId;
use windvane_protocols::psi::{Mode, PsiRequest};
use windvane_protocols::transcript::Signed;

use super::{Job, JobRunner};
use crate::bank::INTERRUPTED;
use crate::bank::granted::best;
use crate::psi::engine::lock;
use crate::psi::folder::{Document, Fact};
use crate::psi::input::{Scan, input_commitment};
use crate::psi::plan::{given, key_name};
use crate::psi::{JobProgress, PsiError};

/// The request that is kept.
pub(super) enum Sent {
    /// The provider may know it.
    Known(Signed<PsiRequest>),
    /// It is to be given up for a new one, under this code.
    Useless(Signed<PsiRequest>, String),
}

impl JobRunner {
    /// What the table is.
    pub(super) fn scan(&self, job: &Job, progress: &dyn JobProgress) -> Result<Scan, PsiError> {
        // The table is read where it is: a command has nothing else to do, and progress is not passed around.
        tokio::task::block_in_place(|| self.scans.scan(&job.checked.input(), progress.reading()))
    }

    /// The request that is kept, if the table is still the one in it.
    pub(super) fn sent(&self, job: &Job, scan: &Scan) -> Result<Option<Sent>, PsiError> {
        let (kept, attempts) = {
            let folder = lock(&job.folder);
            (folder.read::<PsiRequest>(Document::Request)?, folder.state().attempts)
        };
        let Some(request) = kept else { return Ok(None) };
        let spent = PsiError::Attempts { had: attempts };
        let useless = match attempts {
            0 => Some(INTERRUPTED.to_owned()),
            MAX_PSI_ATTEMPTS.. if job.is_accepted()? => return Err(spent),
            MAX_PSI_ATTEMPTS.. => Some(spent.code().to_owned()),
            _ => None,
        };
        if let Some(code) = useless {
            return Ok(Some(Sent::Useless(request, code)));
        }
        let body = request.body();
        let columns = &job.checked.plan.key_columns;
        let commitment = input_commitment(&self.keys, &body.grant, &scan.digest, &body.key, columns);
        if body.rows != scan.rows || body.input != commitment {
            return Err(PsiError::InputChanged { path: job.checked.input().path });
        }
        Ok(Some(Sent::Known(request)))
    }

    /// Gives a request up. A crash behind this finds it without a connection, and gives it up once more.
    pub(super) async fn withdraw(
        &self,
        job: &Job,
        request: &Signed<PsiRequest>,
        code: &str,
    ) -> Result<(), PsiError> {
        let (at_ms, session) = (self.clock.now_ms(), request.body().session);
        let (peer, code) = (request.body().provider.clone(), code.to_owned());
        tracing::info!(code, %session, job = %job.id, "a request that no provider accepted is given up for a new one");
        self.log.append(at_ms, vec![Event::Failed { session: Some(session), peer, code }]).await?;
        lock(&job.folder).note(&Fact::Withdrawn { at_ms })
    }

    /// Signs, keeps and logs a new request: the job's first, or one in place of one that was given up.
    pub(super) async fn ask(&self, job: &Job, request: PsiRequest) -> Result<Signed<PsiRequest>, PsiError> {
        let request = Signed::sign(request, self.keys.signing_key());
        lock(&job.folder).keep(Document::Request, &request)?;
        let event = Event::PsiRequested(Box::new(request.clone()));
        self.log.append(self.clock.now_ms(), vec![event]).await?;
        Ok(request)
    }

    /// What a new request says.
    pub(super) fn compose(&self, job: &Job, scan: &Scan) -> Result<PsiRequest, PsiError> {
        let earlier = lock(&job.folder).read::<PsiRequest>(Document::Request)?;
        let session = earlier.map_or(job.id, |_| SessionId::from_bytes(rand::random()));
        let (plan, now_ms) = (&job.checked.plan, self.clock.now_ms());
        let grant = self.grant(job, now_ms)?;
        let key = key_name(plan.key);
        let minimum = match job.checked.mode {
            Mode::MinimumThenRelease => grant.minimum_result.max(1),
            _ => 0,
        };
        Ok(PsiRequest {
            session,
            requester: self.keys.party.clone(),
            provider: job.checked.provider.clone(),
            grant: grant.id,
            purpose: plan.purpose.clone(),
            data_set: job.checked.list.clone(),
            protocol: job.checked.protocol,
            mode: job.checked.mode,
            minimum,
            input: input_commitment(&self.keys, &grant.id, &scan.digest, &key, &plan.key_columns),
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
        let missing = || {
            let (provider, list) = (&job.checked.provider, &job.checked.list);
            let message = format!("{provider} granted no set intersection with {list} for this purpose");
            given("GRANT_MISSING", message)
        };
        best(&grants, None, now_ms).cloned().ok_or_else(missing)
    }

    /// Notes and logs another connection, on which nothing was said yet.
    pub(super) async fn attempt(&self, job: &Job, request: &Signed<PsiRequest>) -> Result<u64, PsiError> {
        let at_ms = self.clock.now_ms();
        let (had, finished) = {
            let folder = lock(&job.folder);
            (folder.state().attempts, folder.state().finished.len() as u64)
        };
        let number = had + 1;
        let (session, peer) = (request.body().session, job.checked.provider.clone());
        let event = Event::PsiAttempted { session, peer, number, finished };
        // In this order a number is never used twice, whatever a crash comes between.
        lock(&job.folder).note(&Fact::Attempt { number, at_ms })?;
        self.log.append(at_ms, vec![event]).await?;
        Ok(number)
    }
}
