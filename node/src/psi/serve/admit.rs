//! Which jobs a provider runs: grants, lists, and the connections of a job that is known.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use windvane_proto::convert::PsiOpen;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::limits::MAX_PSI_ATTEMPTS;
use windvane_protocols::psi::{Protocol, PsiAcceptance, PsiRequest};
use windvane_protocols::transcript::Signed;

use super::{Admitted, PsiProvider};
use crate::config::ListConfig;
use crate::error::Refusal;
use crate::psi::engine::blocking;
use crate::psi::folder::{Document, Fact, JobFolder};
use crate::psi::input::{InputFile, Scan, input_commitment};
use crate::psi::plan::key_kind;
use crate::psi::{PsiError, PsiRefusal, Stage, grant, vole};

/// A job that began before.
struct Known {
    acceptance: Signed<PsiAcceptance>,
    /// It had a connection or was counted, so that it is surely in the log: then it stays accepted, however old its request
    /// is.
    logged: bool,
}

impl Known {
    /// Whether the requester keeps every bucket, so that nothing but the receipt is missing. Whether it may is for
    /// [`PsiProvider::attempt`] to say.
    fn is_through(&self, open: &PsiOpen) -> bool {
        let kept: BTreeSet<_> = open.finished.iter().map(|(bucket, _)| *bucket).collect();
        (0..self.acceptance.body().parameters.buckets()).all(|bucket| kept.contains(&bucket))
    }
}

impl PsiProvider {
    /// Holds the opening against grant and folder; gives the acceptance, which is logged and kept by then.
    ///
    /// A job whose buckets are all through had all that the grant permitted and the list gave: its receipt depends on
    /// neither, whatever became of them.
    pub(super) async fn admit(&self, open: &PsiOpen) -> Result<Admitted, PsiError> {
        let session = open.request.body().session;
        let exists = JobFolder::path_of(self.provider.shared().layout.root(), session).exists();
        let known = if exists { self.known(open).await? } else { None };
        let (acceptance, list) = match known {
            Some(known) if known.is_through(open) => (known.acceptance, None),
            known => self.permit(open, known).await.map(|(acceptance, list)| (acceptance, Some(list)))?,
        };
        let mut folder = self.folder(session).await?;
        self.attempt(&mut folder, open).await?;
        Stage::Accepted.reached();
        let folder = Arc::new(Mutex::new(folder));
        Ok(Admitted { folder, acceptance, list, attempt: open.attempt })
    }

    /// Holds the opening against grant and list, which is read for nothing that could not be accepted.
    async fn permit(
        &self,
        open: &PsiOpen,
        known: Option<Known>,
    ) -> Result<(Signed<PsiAcceptance>, (InputFile, Scan)), PsiError> {
        let request = open.request.body();
        let list = self.lists.get(&request.data_set).ok_or(PsiRefusal::ListUnknown)?;
        let input = self.input(list, request)?;
        let grant = self.provider.policy().grant(&request.grant).ok_or(Refusal::GrantUnknown)?;
        grant::permit(&grant, request, 0, self.provider.now_ms())?;
        if known.as_ref().is_none_or(|known| !known.logged) {
            self.punctual(request)?;
            // Counted once, it is not counted again: what was sent in it, before its folder went, cannot be known.
            if known.is_none() && self.is_counted(request)? {
                return Err(PsiRefusal::JobDiffers.into());
            }
            self.count(&grant, request)?;
        }
        let scan = self.scan(&input).await?;
        grant::permit(&grant, request, scan.rows, self.provider.now_ms())?;
        let commitment = self.input_commitment(request, &input, &scan);
        if known.as_ref().is_some_and(|known| known.acceptance.body().input != commitment) {
            return Err(PsiRefusal::ListChanged.into());
        }
        let acceptance = match known {
            Some(Known { acceptance, logged: true }) => acceptance,
            known => {
                self.accept(open, &grant, &scan, commitment, known.map(|known| known.acceptance)).await?
            }
        };
        Ok((acceptance, (input, scan)))
    }

    /// What is known of a job that began before, if the opening is of the same job.
    async fn known(&self, open: &PsiOpen) -> Result<Option<Known>, PsiError> {
        let folder = self.folder(open.request.body().session).await?;
        if folder.cancelled() {
            return Err(PsiRefusal::Cancelled.into());
        }
        let Some(acceptance) = folder.read::<PsiAcceptance>(Document::Acceptance)? else { return Ok(None) };
        if acceptance.body().request != open.request {
            return Err(PsiRefusal::JobDiffers.into());
        }
        let logged = folder.state().attempts > 0 || self.is_counted(open.request.body())?;
        Ok(Some(Known { acceptance, logged }))
    }

    /// A request that was not accepted yet was made a moment ago.
    fn punctual(&self, request: &PsiRequest) -> Result<(), PsiRefusal> {
        let off_ms = self.provider.now_ms().abs_diff(request.requested_at_ms);
        if off_ms > self.provider.config().clock_tolerance_ms {
            return Err(PsiRefusal::Clock { off_ms });
        }
        Ok(())
    }

    /// The grant has a run for the request, as long as nobody else counts one.
    fn count(&self, grant: &Grant, request: &PsiRequest) -> Result<(), PsiError> {
        let runs = self.provider.shared().store.psi_runs(request.grant.as_bytes())?;
        Ok(grant::count(grant, request, &runs)?)
    }

    fn is_counted(&self, request: &PsiRequest) -> Result<bool, PsiError> {
        Ok(self.provider.shared().store.has_psi_run(request.session.as_bytes())?)
    }

    /// Counts a new job against its grant, and logs its acceptance: the one that a crash left, if there is one.
    async fn accept(
        &self,
        open: &PsiOpen,
        grant: &Grant,
        scan: &Scan,
        commitment: [u8; 32],
        earlier: Option<Signed<PsiAcceptance>>,
    ) -> Result<Signed<PsiAcceptance>, PsiError> {
        let (shared, now_ms) = (self.provider.shared(), self.provider.now_ms());
        let request = open.request.body();
        self.punctual(request)?;
        let parameters = PsiAcceptance::parameters(request, scan.rows, scan.payload_bytes);
        let parameters = parameters.map_err(PsiRefusal::from)?;
        if request.protocol == Protocol::Vole {
            vole::check(&parameters).map_err(PsiRefusal::Buckets)?;
        }
        let acceptance = PsiAcceptance {
            parameters,
            request: open.request.clone(),
            nonce: rand::random(),
            input: commitment,
            accepted_at_ms: now_ms,
        };
        let _one = self.counting.lock().await;
        self.count(grant, request)?;
        let sign = || Signed::sign(acceptance, shared.keys.signing_key());
        let acceptance = earlier.unwrap_or_else(sign);
        self.folder(request.session).await?.keep(Document::Acceptance, &acceptance)?;
        self.provider.log(Event::PsiAccepted(Box::new(acceptance.clone()))).await?;
        shared.store.put_psi_run(request.session.as_bytes(), request.grant.as_bytes(), &request.input)?;
        Ok(acceptance)
    }

    /// Notes the connection, and the buckets that the requester keeps.
    async fn attempt(&self, folder: &mut JobFolder, open: &PsiOpen) -> Result<(), PsiError> {
        let (had, found) = (folder.state().attempts, open.attempt);
        if found <= had || found > MAX_PSI_ATTEMPTS {
            return Err(PsiRefusal::Attempts { had, found }.into());
        }
        for (bucket, hash) in &open.finished {
            let state = folder.state();
            if state.finished.get(bucket).or(state.sent.get(bucket)) != Some(hash) {
                return Err(PsiRefusal::BucketUnknown { bucket: *bucket }.into());
            }
            if !state.finished.contains_key(bucket) {
                folder.note(&Fact::Finished { bucket: *bucket, hash: hex::encode(hash) })?;
            }
        }
        let kept: BTreeSet<_> = open.finished.iter().map(|(bucket, _)| bucket).collect();
        if let Some(bucket) = folder.state().finished.keys().find(|bucket| !kept.contains(bucket)) {
            return Err(PsiRefusal::BucketUnknown { bucket: *bucket }.into());
        }
        folder.note(&Fact::Attempt { number: found, at_ms: self.provider.now_ms() })?;
        let (session, peer) = (open.request.body().session, open.request.body().requester.clone());
        let finished = open.finished.len() as u64;
        Ok(self.provider.log(Event::PsiAttempted { session, peer, number: found, finished }).await?)
    }

    async fn scan(&self, input: &InputFile) -> Result<Scan, PsiError> {
        let (scans, input) = (self.scans.clone(), input.clone());
        blocking(move || scans.scan(&input, &())).await
    }

    fn input(&self, config: &ListConfig, request: &PsiRequest) -> Result<InputFile, PsiError> {
        if request.key != config.key {
            return Err(PsiRefusal::Key { expected: config.key.clone() }.into());
        }
        let offered = |column: &&String| !config.payload_columns.contains(column);
        if let Some(column) = request.payload_columns.iter().find(offered) {
            return Err(PsiRefusal::Column { column: column.clone() }.into());
        }
        Ok(InputFile {
            path: config.file.clone(),
            key: key_kind(&config.key).expect("checked when the configuration was read"),
            key_columns: config.key_columns.clone(),
            payload_columns: request.payload_columns.clone(),
            memory_bytes: self.provider.config().psi_memory_mb << 20,
        })
    }

    /// A commitment that tells the requester nothing, and that this node finds again for the same list.
    fn input_commitment(&self, request: &PsiRequest, input: &InputFile, scan: &Scan) -> [u8; 32] {
        let keys = &self.provider.shared().keys;
        input_commitment(keys, &request.grant, &scan.digest, &request.key, &input.key_columns)
    }
}
