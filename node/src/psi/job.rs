//! The bank's side of a job, from its plan to the result file.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use tonic::transport::Channel;
use windvane_keys::enrolment::Partner;
use windvane_proto::audit::v1::CountersignRequest;
use windvane_proto::audit::v1::audit_client::AuditClient;
use windvane_proto::convert::{PsiFrame, PsiOpen};
use windvane_proto::psi::v1::Frame;
use windvane_proto::psi::v1::psi_client::PsiClient;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::limits::{MAX_MESSAGE_BYTES, MAX_PSI_ATTEMPTS};
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::psi::{
    Mode, PROTOCOL, Protocol, PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest, PsiTranscript,
};
use windvane_protocols::transcript::{Hash, Record as _, SignatureBytes, Signed, commit};

use super::ecdh::{Decide, EcdhReceiver};
use super::engine::{Connection, SharedFolder, Watch, blocking, lock, while_alive};
use super::evidence::JobLog;
use super::folder::{Document, Fact, JobFolder};
use super::input::{Buckets, PartitionedTable, Scan};
use super::link::{Outgoing, outgoing};
use super::output::write_duplicates;
use super::plan::{Checked, JobPlan, given, key_name};
use super::receive::{Receiving, await_frame, watch};
use super::result::{JobReport, JobResult, Summary};
use super::serve::input_commitment;
use super::side::Common;
use super::vole::{self, VoleReceiver};
use super::{JobProgress, PsiError, Stage};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{NodeError, PeerError};
use crate::identity::{Certificate, Layout, NodeKeys};
use crate::peer::{Partners, channel};
use crate::store::Store;

/// How long the end of a connection is waited for, so that the countersignature surely arrived.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// What runs a bank's jobs.
#[derive(Debug)]
pub struct JobRunner {
    config: Config,
    keys: NodeKeys,
    store: Arc<Store>,
    layout: Layout,
    clock: Arc<dyn Clock>,
    certificate: Certificate,
    partners: Partners,
    log: JobLog,
    software: Hash,
    configuration: Hash,
}

/// A job under way.
struct Job {
    id: SessionId,
    checked: Checked,
    partner: Arc<Partner>,
    folder: SharedFolder,
}

impl JobRunner {
    /// Opens a bank's files. Blocks on them.
    ///
    /// # Errors
    /// [`PsiError`].
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, PsiError> {
        let keys = NodeKeys::open(config)?;
        let layout = Layout::new(config.node.data_dir.clone());
        let store = Arc::new(Store::open(&layout.state())?);
        let certificate = Certificate::load(config, &keys)?;
        let partners = Partners::default();
        partners.reload(&store, &certificate.authority, clock.now_ms())?;
        let log = JobLog::open(&keys, config, &store)?;
        let (software, configuration) = crate::server::digests(config)?;
        let config = config.clone();
        Ok(Self { config, keys, store, layout, clock, certificate, partners, log, software, configuration })
    }

    /// Begins a job: gives its name, under which [`Self::run`] runs it, as often as it takes.
    ///
    /// # Errors
    /// [`PsiError`]: the plan does not hold.
    pub fn begin(&self, plan: &JobPlan) -> Result<SessionId, PsiError> {
        plan.check()?;
        let id = SessionId::from_bytes(rand::random());
        let folder = JobFolder::open(self.layout.root(), id)?;
        plan.keep(&folder)?;
        Ok(id)
    }

    /// Runs a job from where it is to its end.
    ///
    /// # Errors
    /// [`PsiError`]; unless the error says otherwise, the job can be run again.
    pub async fn run(&self, id: SessionId, progress: &dyn JobProgress) -> Result<JobReport, PsiError> {
        let path = JobFolder::path_of(self.layout.root(), id);
        if !path.exists() {
            return Err(given("NOT_FOUND", format!("there is no job {id}")));
        }
        let checked = JobPlan::kept(&path)?.check()?;
        let folder = JobFolder::open(self.layout.root(), id)?;
        // Running it again is the opposite of cancelling it.
        crate::snapshot::disk::remove_file(&JobFolder::cancel_path(&path)).map_err(NodeError::from)?;
        let partner = self
            .partners
            .find(&checked.provider)
            .ok_or_else(|| given("PARTNER_MISSING", format!("{} is not enrolled here", checked.provider)))?;
        let job = Job { id, checked, partner, folder: Arc::new(Mutex::new(folder)) };
        let run = self.go_on(&job, progress).await;
        if let Err(error) = &run {
            self.failed(&job, error).await;
        }
        run
    }

    /// Publishes the log and lets go of it.
    ///
    /// # Errors
    /// [`PsiError`].
    pub async fn close(self) -> Result<(), PsiError> {
        self.log.close().await
    }

    async fn go_on(&self, job: &Job, progress: &dyn JobProgress) -> Result<JobReport, PsiError> {
        if let Some(report) = lock(&job.folder).report()? {
            return Ok(report);
        }
        let known = lock(&job.folder).read::<PsiReceipt>(Document::Receipt)?;
        let receipt = match known {
            Some(receipt) => {
                self.countersign_again(job).await;
                receipt
            }
            None => self.connect(job, progress).await?,
        };
        self.conclude(job, &receipt, progress).await
    }

    /// Notes an early end in folder and log; the error itself goes to the caller.
    async fn failed(&self, job: &Job, error: &PsiError) {
        let (code, at_ms) = (error.code().to_owned(), self.clock.now_ms());
        let noted = lock(&job.folder).note(&Fact::Ended { code: code.clone(), at_ms });
        let asked = lock(&job.folder).read::<PsiRequest>(Document::Request).ok().flatten().is_some();
        let session = asked.then_some(job.id);
        let event = Event::Failed { session, peer: job.checked.provider.clone(), code };
        let logged = self.log.append(at_ms, vec![event]).await;
        if let Err(error) = noted.and(logged) {
            tracing::error!(code = error.code(), %error, "a job's early end could not be noted");
        }
    }

    async fn connect(&self, job: &Job, progress: &dyn JobProgress) -> Result<Signed<PsiReceipt>, PsiError> {
        let (request, scan) = self.request(job, progress).await?;
        let attempt = self.attempt(job).await?;
        Stage::Open.reached();
        progress.stage(Stage::Open);
        let mut watch = watch(job.checked.patience(), &job.folder);
        let (out, frames) = outgoing();
        let mut frames = self.dial(job, frames).await?;
        out.send(PsiFrame::Open(Box::new(self.opening(job, &request, attempt)))).await?;
        let acceptance = match await_frame(&mut frames, &mut watch, || ()).await? {
            PsiFrame::Accept(acceptance) => self.accepted(job, &request, *acceptance)?,
            other => return Err(PsiError::Unexpected { found: other.name(), expected: "an acceptance" }),
        };
        Stage::Accepted.reached();
        progress.stage(Stage::Accepted);
        let connection = Connection {
            session: job.id,
            attempt,
            parameters: acceptance.body().parameters,
            out: out.clone(),
        };
        if lock(&job.folder).state().finished.len() < connection.parameters.buckets() as usize {
            let chain = match connection.parameters.sizes().protocol {
                Protocol::Vole => {
                    Some(vole::set_up_receiver(&acceptance, attempt, &out, &mut frames, &mut watch).await?)
                }
                _ => None,
            };
            let table = self.partition(job, scan, acceptance.body(), &out, &mut watch, progress).await?;
            let body = acceptance.body();
            self.receive(job, table, connection, body, chain, &mut frames, &mut watch, progress).await?;
        }
        self.finish(job, &acceptance, &out, &mut frames, &mut watch).await
    }

    /// The signed and logged request, the same for every connection; and what the table is.
    async fn request(
        &self,
        job: &Job,
        progress: &dyn JobProgress,
    ) -> Result<(Signed<PsiRequest>, Scan), PsiError> {
        let (input, known) = (job.checked.input(), lock(&job.folder).read::<PsiRequest>(Document::Request)?);
        // The table is read where it is: a command has nothing else to do, and progress is not passed around.
        let scan = tokio::task::block_in_place(|| input.scan(progress.reading()))?;
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
    async fn attempt(&self, job: &Job) -> Result<u64, PsiError> {
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

    async fn dial(
        &self,
        job: &Job,
        frames: super::link::Frames,
    ) -> Result<tonic::Streaming<Frame>, PsiError> {
        let mut client = PsiClient::new(self.channel(job)?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let frames = ReceiverStream::new(frames).map_while(Result::ok);
        let idle = job.checked.patience().idle;
        let response = tokio::time::timeout(idle, client.run(frames)).await;
        let response = response.map_err(|_| PsiError::Idle { seconds: idle.as_secs() })?;
        Ok(response.map_err(|status| PeerError::from(&status))?.into_inner())
    }

    fn channel(&self, job: &Job) -> Result<Channel, PsiError> {
        let provider = job.checked.provider.as_str();
        let address = self.config.providers.iter().find(|config| config.party == provider);
        let address = address.ok_or_else(|| {
            given("PROVIDER_UNKNOWN", format!("the configuration has no [[provider]] {provider}"))
        })?;
        Ok(channel(&self.certificate, &job.checked.provider, &address.address)?)
    }

    fn opening(&self, job: &Job, request: &Signed<PsiRequest>, attempt: u64) -> PsiOpen {
        let finished = lock(&job.folder).state().finished.iter().map(|(b, h)| (*b, *h)).collect();
        PsiOpen { request: request.clone(), attempt, finished }
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

    async fn partition(
        &self,
        job: &Job,
        scan: Scan,
        acceptance: &PsiAcceptance,
        out: &Outgoing,
        watch: &mut Watch,
        progress: &dyn JobProgress,
    ) -> Result<PartitionedTable, PsiError> {
        let (input, salt, path) =
            (job.checked.input(), acceptance.salt(), lock(&job.folder).path().to_owned());
        let work = blocking(move || input.partition(&scan, &salt, &path, &()));
        let table = while_alive(work, out, watch).await?;
        Stage::Partitioned.reached();
        progress.stage(Stage::Partitioned);
        Ok(table)
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different part of one connection")]
    async fn receive(
        &self,
        job: &Job,
        table: PartitionedTable,
        connection: Connection,
        acceptance: &PsiAcceptance,
        chain: Option<windvane_protocols::psi::vole::Receiver>,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
        progress: &dyn JobProgress,
    ) -> Result<(), PsiError> {
        let common = Common::new(connection.parameters, acceptance.salt());
        let (table, folder, parameters) = (Arc::new(table), job.folder.clone(), connection.parameters);
        let before: Vec<u32> = lock(&folder).state().finished.keys().copied().collect();
        let input: Arc<dyn Buckets> = table.clone();
        match chain {
            None => {
                let side = EcdhReceiver::new(common, self.decide(job, acceptance.request.body().minimum));
                Receiving::new(side, (), input, folder, connection).run(frames, watch, progress).await?;
            }
            Some(chain) => {
                let side = VoleReceiver::new(&common)?;
                Receiving::new(side, chain, input, folder, connection).run(frames, watch, progress).await?;
            }
        }
        let report = lock(&job.folder).path().join("duplicates.csv");
        blocking(move || Ok(write_duplicates(&table.duplicates(&before, &parameters)?, &report)?)).await
    }

    /// Signs a release request when the count is large enough; its entry is durable before it leaves.
    fn decide(&self, job: &Job, minimum: u64) -> Decide {
        let (id, folder, key) = (job.id, job.folder.clone(), self.keys.signing_key().clone());
        let (clock, log) = (self.clock.clone(), self.log.share());
        let runtime = tokio::runtime::Handle::current();
        Arc::new(move |count| {
            if count < minimum {
                return Ok(None);
            }
            let salt = lock(&folder).secret("count-salt")?;
            let release = PsiRelease {
                session: id,
                count: commit(&salt, &count.to_be_bytes()),
                signed_at_ms: clock.now_ms(),
            };
            let signed = Signed::sign(release, &key);
            lock(&folder).keep(Document::Release, &signed)?;
            runtime.block_on(log.append(clock.now_ms(), vec![Event::PsiReleased(signed.clone())]))?;
            Ok(Some(signed.as_bytes().to_vec()))
        })
    }

    /// Compares the hashes, takes the receipt, logs it and countersigns.
    async fn finish(
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
        let countersignature = self.countersignature(&receipt);
        let parameters = acceptance.body().parameters;
        let result = {
            let folder = lock(&job.folder);
            folder.keep(Document::Countersignature, &countersignature)?;
            Summary::of(&folder, &parameters)?.commit(&folder.secret("result-salt")?)
        };
        let events = vec![
            Event::PsiCompleted(Box::new(receipt.clone())),
            Event::PsiResult { session: job.id, result },
            Event::Countersigned(countersignature.clone()),
        ];
        self.log.append(self.clock.now_ms(), events).await?;
        lock(&job.folder).keep(Document::Receipt, &receipt)?;
        Stage::Receipt.reached();
        out.send(PsiFrame::Countersign(countersignature)).await?;
        self.await_end(frames).await;
        Ok(receipt)
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

    fn countersignature(&self, receipt: &Signed<PsiReceipt>) -> Signed<Countersignature> {
        let body = Countersignature {
            requester: self.keys.party.clone(),
            provider: receipt.body().request().provider.clone(),
            receipts: vec![receipt.digest()],
            signed_at_ms: self.clock.now_ms(),
        };
        Signed::sign(body, self.keys.signing_key())
    }

    /// Delivers a countersignature that a crash may have kept back; once more changes nothing.
    async fn countersign_again(&self, job: &Job) {
        let deliver = async {
            let kept = lock(&job.folder).read::<Countersignature>(Document::Countersignature)?;
            let Some(kept) = kept else { return Ok(()) };
            let mut request = tonic::Request::new(CountersignRequest::from(&kept));
            request.set_timeout(CLOSE_WITHIN);
            let mut client = AuditClient::new(self.channel(job)?);
            client.countersign(request).await.map(drop).map_err(|s| PsiError::from(PeerError::from(&s)))
        };
        if let Err(error) = deliver.await {
            tracing::warn!(code = error.code(), "the countersignature may not have arrived");
        }
    }

    /// Waits until the provider has closed the connection, and so has the countersignature.
    async fn await_end(&self, frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin)) {
        let end = async {
            while let Some(frame) = frames.next().await {
                if let Err(status) = frame {
                    let error = PeerError::from(&status);
                    tracing::warn!(code = error.code, "the countersignature may not have arrived");
                    return;
                }
            }
        };
        if tokio::time::timeout(CLOSE_WITHIN, end).await.is_err() {
            tracing::warn!(code = "PEER_IDLE", "the countersignature may not have arrived");
        }
    }

    /// Writes the result and ends the job.
    async fn conclude(
        &self,
        job: &Job,
        receipt: &Signed<PsiReceipt>,
        progress: &dyn JobProgress,
    ) -> Result<JobReport, PsiError> {
        let parameters = receipt.body().acceptance.body().parameters;
        let (plan, folder) = (job.checked.plan.clone(), job.folder.clone());
        let summary = blocking(move || {
            let folder = lock(&folder);
            let summary = Summary::of(&folder, &parameters)?;
            if summary.result == JobResult::Released {
                super::result::write(&plan, &folder, &parameters, &plan.output)?;
            }
            Ok(summary)
        })
        .await?;
        Stage::Output.reached();
        progress.stage(Stage::Output);
        let report = JobReport::new(receipt.body(), &summary);
        lock(&job.folder).conclude(&report, self.clock.now_ms())?;
        Ok(report)
    }

    /// The bank's name.
    pub const fn party(&self) -> &PartyId {
        &self.keys.party
    }
}

/// Bytes of a signed release request: all its fields have a fixed length.
pub(super) fn release_bytes() -> usize {
    let release = PsiRelease { session: SessionId::from_bytes([0; 16]), count: [0; 32], signed_at_ms: 0 };
    release.encode().as_bytes().len() + size_of::<SignatureBytes>()
}
