//! The provider's side of a job: lists, grants, one connection at a time per job, and the receipt.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::Status;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{PsiFrame, PsiOpen};
use windvane_proto::psi::v1::Frame;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::limits::MAX_PSI_ATTEMPTS;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::SessionId;
use windvane_protocols::psi::{
    PROTOCOL, Protocol, PsiAcceptance, PsiReceipt, PsiRelease, PsiRequest, PsiTranscript,
};
use windvane_protocols::transcript::{Hash, Signed, commit};

use super::ecdh::EcdhSender;
use super::engine::{Connection, Patience, SharedFolder, Watch, blocking, lock};
use super::folder::{Document, Fact, JobFolder};
use super::grant;
use super::input::{InputFile, PartitionedTable, Scan};
use super::link::Outgoing;
use super::plan::key_kind;
use super::receive::await_frame;
use super::send::Sending;
use super::side::Common;
use super::vole::{self, VoleSender};
use super::{PsiError, PsiRefusal, Stage};
use crate::config::ListConfig;
use crate::error::Refusal;
use crate::provider::Provider;

/// A requester that opened a connection says what it wants within this time.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// The provider's set intersections.
#[derive(Debug)]
pub struct PsiProvider {
    provider: Arc<Provider>,
    lists: BTreeMap<DataSet, List>,
    /// Jobs with an open connection.
    running: Mutex<HashSet<SessionId>>,
    places: Arc<Semaphore>,
    /// Held while a job is counted against its grant, so that two do not both take the last run.
    counting: tokio::sync::Mutex<()>,
}

/// A list, and what its last scan told, per set of payload columns.
#[derive(Debug)]
struct List {
    config: ListConfig,
    scans: Mutex<BTreeMap<Vec<String>, Scanned>>,
}

/// A scan, and the file as it was.
#[derive(Debug, Clone)]
struct Scanned {
    scan: Scan,
    modified: Option<SystemTime>,
    length: u64,
}

/// A job's place among those that run; it is free again when this is dropped.
struct Claim<'a> {
    provider: &'a PsiProvider,
    job: SessionId,
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// A connection that was admitted.
struct Admitted {
    folder: SharedFolder,
    acceptance: Signed<PsiAcceptance>,
    input: InputFile,
    scan: Scan,
    attempt: u64,
}

impl PsiProvider {
    /// The lists of a configuration.
    pub fn new(provider: Arc<Provider>, lists: &[ListConfig]) -> Self {
        let list = |config: &ListConfig| {
            let name = config.list.parse().expect("checked when the configuration was read");
            (name, List { config: config.clone(), scans: Mutex::default() })
        };
        let places = Arc::new(Semaphore::new(provider.config().psi_jobs));
        Self {
            lists: lists.iter().map(list).collect(),
            provider,
            running: Mutex::default(),
            places,
            counting: tokio::sync::Mutex::default(),
        }
    }

    /// Who answers.
    pub(crate) const fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// One connection from its first frame to its last; errors go to the peer and to the log.
    pub(crate) async fn serve(
        &self,
        partner: &Partner,
        mut frames: impl Stream<Item = Result<Frame, Status>> + Unpin,
        out: Outgoing,
    ) {
        let mut job = None;
        if let Err(error) = self.converse(partner, &mut frames, &out, &mut job).await {
            let refusal = error.refusal();
            out.fail(self.provider.refuse(&partner.party, job, refusal).await).await;
        }
    }

    async fn converse(
        &self,
        partner: &Partner,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        out: &Outgoing,
        job: &mut Option<SessionId>,
    ) -> Result<(), PsiError> {
        let open = self.opening(frames).await?;
        let request = open.request.body();
        *job = Some(request.session);
        if request.requester != partner.party || request.provider != *self.provider.party() {
            return Err(Refusal::Parties.into());
        }
        if !open.request.verify(&partner.receipt_key) {
            return Err(PsiRefusal::Signature.into());
        }
        Stage::Open.reached();
        let _claim = self.claim(request.session)?;
        let admitted = self.admit(&open).await?;
        let run = self.run(partner, frames, out, admitted).await;
        if let Err(error) = &run {
            self.end(request.session, error.code()).await;
        }
        run
    }

    async fn opening(
        &self,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
    ) -> Result<Box<PsiOpen>, PsiError> {
        let patience = Patience { idle: OPEN_WITHIN, total: OPEN_WITHIN };
        let mut watch = Watch::new(patience, &JobFolder::all(self.provider.shared().layout.root()));
        match await_frame(frames, &mut watch, || ()).await? {
            PsiFrame::Open(open) => Ok(open),
            other => Err(PsiError::Unexpected { found: other.name(), expected: "an opening" }),
        }
    }

    fn claim(&self, job: SessionId) -> Result<Claim<'_>, PsiError> {
        if self.provider.is_stopping() {
            return Err(PsiError::Stopping);
        }
        let place = self.places.clone().try_acquire_owned().map_err(|_| PsiRefusal::Busy)?;
        if !self.running().insert(job) {
            return Err(PsiRefusal::Running.into());
        }
        Ok(Claim { provider: self, job, _place: place })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashSet<SessionId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the opening against grant and folder; gives the acceptance, which is logged and kept by then.
    async fn admit(&self, open: &PsiOpen) -> Result<Admitted, PsiError> {
        let request = open.request.body();
        let list = self.lists.get(&request.data_set).ok_or(PsiRefusal::ListUnknown)?;
        let input = self.input(list, request)?;
        // A first look, before a list is read for a request that nothing permits.
        let grant = self.provider.policy().grant(&request.grant).ok_or(Refusal::GrantUnknown)?;
        grant::permit(&grant, request, 0, self.provider.now_ms())?;
        let scan = list.scan(&input).await?;
        grant::permit(&grant, request, scan.rows, self.provider.now_ms())?;
        let root = self.provider.shared().layout.root();
        let exists = JobFolder::path_of(root, request.session).exists();
        let known = if exists { self.known(open, &scan).await? } else { None };
        let acceptance = match known {
            Some((acceptance, true)) => acceptance,
            other => self.accept(open, &grant, &scan, other.map(|(acceptance, _)| acceptance)).await?,
        };
        let mut folder = self.folder(request.session).await?;
        self.attempt(&mut folder, open).await?;
        Stage::Accepted.reached();
        let folder = Arc::new(Mutex::new(folder));
        Ok(Admitted { folder, acceptance, input, scan, attempt: open.attempt })
    }

    /// The acceptance of a job that began before, if the opening is of the same job, and whether it had a
    /// connection, so that it is surely in the log.
    async fn known(
        &self,
        open: &PsiOpen,
        scan: &Scan,
    ) -> Result<Option<(Signed<PsiAcceptance>, bool)>, PsiError> {
        let folder = self.folder(open.request.body().session).await?;
        if folder.cancelled() {
            return Err(PsiRefusal::Cancelled.into());
        }
        let Some(acceptance) = folder.read::<PsiAcceptance>(Document::Acceptance)? else { return Ok(None) };
        if acceptance.body().request != open.request {
            return Err(PsiRefusal::JobDiffers.into());
        }
        if acceptance.body().input != self.input_commitment(acceptance.body().request.body(), scan) {
            return Err(PsiRefusal::ListChanged.into());
        }
        Ok(Some((acceptance, folder.state().attempts > 0)))
    }

    /// Counts a new job against its grant, and logs its acceptance: the one that a crash left, if there is one.
    async fn accept(
        &self,
        open: &PsiOpen,
        grant: &windvane_protocols::audit::grant::Grant,
        scan: &Scan,
        earlier: Option<Signed<PsiAcceptance>>,
    ) -> Result<Signed<PsiAcceptance>, PsiError> {
        let (shared, now_ms) = (self.provider.shared(), self.provider.now_ms());
        let request = open.request.body();
        let off_ms = now_ms.abs_diff(request.requested_at_ms);
        if off_ms > self.provider.config().clock_tolerance_ms {
            return Err(PsiRefusal::Clock { off_ms }.into());
        }
        let parameters = PsiAcceptance::parameters(request, scan.rows, scan.payload_bytes);
        let parameters = parameters.map_err(PsiRefusal::from)?;
        if request.protocol == Protocol::Vole {
            vole::check(&parameters).map_err(PsiRefusal::Buckets)?;
        }
        let acceptance = PsiAcceptance {
            parameters,
            request: open.request.clone(),
            nonce: rand::random(),
            input: self.input_commitment(request, scan),
            accepted_at_ms: now_ms,
        };
        let _one = self.counting.lock().await;
        grant::count(grant, request, &shared.store.psi_runs(request.grant.as_bytes())?)?;
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
        let kept = |bucket: &&u32| !open.finished.iter().any(|(kept, _)| kept == *bucket);
        if let Some(bucket) = folder.state().finished.keys().find(kept) {
            return Err(PsiRefusal::BucketUnknown { bucket: *bucket }.into());
        }
        folder.note(&Fact::Attempt { number: found, at_ms: self.provider.now_ms() })?;
        let (session, peer) = (open.request.body().session, open.request.body().requester.clone());
        let finished = open.finished.len() as u64;
        Ok(self.provider.log(Event::PsiAttempted { session, peer, number: found, finished }).await?)
    }

    async fn run(
        &self,
        partner: &Partner,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        out: &Outgoing,
        admitted: Admitted,
    ) -> Result<(), PsiError> {
        let Admitted { folder, acceptance, input, scan, attempt } = admitted;
        let mut watch = Watch::new(self.patience(), lock(&folder).path());
        out.send(PsiFrame::Accept(Box::new(acceptance.clone()))).await?;
        let body = acceptance.body();
        let connection = Connection {
            session: body.request.body().session,
            attempt,
            parameters: body.parameters,
            out: out.clone(),
        };
        let hash = if lock(&folder).state().finished.len() < connection.parameters.buckets() as usize {
            let chain = match body.parameters.sizes().protocol {
                Protocol::Vole => {
                    Some(vole::set_up_sender(&acceptance, attempt, out, frames, &mut watch).await?)
                }
                _ => None,
            };
            let table = self.partition(&folder, input, scan, body, out, &mut watch).await?;
            self.send(partner, table, &folder, connection, body, chain, frames, &mut watch).await?
        } else {
            match await_frame(frames, &mut watch, || ()).await? {
                PsiFrame::Finish(hash) => hash,
                other => return Err(PsiError::Unexpected { found: other.name(), expected: "the end" }),
            }
        };
        let receipt = self.finish(&folder, &acceptance, hash).await?;
        out.send(PsiFrame::Receipt(Box::new(receipt))).await?;
        match await_frame(frames, &mut watch, || ()).await? {
            PsiFrame::Countersign(signed) => Ok(self.provider.countersigned(partner, signed).await?),
            other => Err(PsiError::Unexpected { found: other.name(), expected: "a countersignature" }),
        }
    }

    /// Partitions the list, with signs of life on the way.
    async fn partition(
        &self,
        folder: &SharedFolder,
        input: InputFile,
        scan: Scan,
        acceptance: &PsiAcceptance,
        out: &Outgoing,
        watch: &mut Watch,
    ) -> Result<PartitionedTable, PsiError> {
        let (salt, path) = (acceptance.salt(), lock(folder).path().to_owned());
        let table = blocking(move || input.partition(&scan, &salt, &path, &()));
        let table = super::engine::while_alive(table, out, watch).await?;
        Stage::Partitioned.reached();
        Ok(table)
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different part of one connection")]
    async fn send(
        &self,
        partner: &Partner,
        table: PartitionedTable,
        folder: &SharedFolder,
        connection: Connection,
        acceptance: &PsiAcceptance,
        chain: Option<windvane_protocols::psi::vole::Sender>,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
    ) -> Result<Hash, PsiError> {
        let common = Common::new(connection.parameters, acceptance.salt());
        match chain {
            None => {
                let release = self.release(partner, folder, connection.session);
                let side = EcdhSender::new(common, release, super::job::release_bytes());
                Sending::new(side, (), Arc::new(table), folder.clone(), connection).run(frames, watch).await
            }
            Some(chain) => {
                let side = VoleSender::new(&common)?;
                Sending::new(side, chain, Arc::new(table), folder.clone(), connection)
                    .run(frames, watch)
                    .await
            }
        }
    }

    /// Checks and logs a release request; it runs on a thread that may block.
    fn release(&self, partner: &Partner, folder: &SharedFolder, job: SessionId) -> super::ecdh::Release {
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
    async fn finish(
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
            lock(folder).note(&Fact::Completed { matches: None, at_ms })?;
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

    /// Notes in the job's folder that the connection ended early.
    async fn end(&self, job: SessionId, code: &str) {
        let fact = Fact::Ended { code: code.to_owned(), at_ms: self.provider.now_ms() };
        let noted = match self.folder(job).await {
            Ok(mut folder) => folder.note(&fact),
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(code = error.code(), %job, %error, "a job's end could not be noted");
        }
    }

    /// A job's folder. A connection that just ended may hold it for another moment.
    async fn folder(&self, job: SessionId) -> Result<JobFolder, PsiError> {
        let root = self.provider.shared().layout.root().to_owned();
        blocking(move || JobFolder::open(&root, job)).await
    }

    fn input(&self, list: &List, request: &PsiRequest) -> Result<InputFile, PsiError> {
        let config = &list.config;
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
    fn input_commitment(&self, request: &PsiRequest, scan: &Scan) -> [u8; 32] {
        let shared = self.provider.shared();
        input_commitment(&shared.keys, &request.grant, &scan.digest, &request.key)
    }

    fn patience(&self) -> Patience {
        let config = self.provider.config();
        Patience {
            idle: Duration::from_millis(config.psi_idle_ms),
            total: Duration::from_millis(config.psi_total_ms),
        }
    }
}

/// A connection's way out, and its other end.
pub(crate) fn connection() -> (Outgoing, super::link::Frames) {
    super::link::outgoing()
}

/// A commitment to a file and its key: the same for the same file under the same grant, and nothing to anybody
/// who lacks the node's key.
pub(super) fn input_commitment(
    keys: &crate::identity::NodeKeys,
    grant: &windvane_protocols::audit::grant::GrantId,
    digest: &[u8; 32],
    key: &str,
) -> [u8; 32] {
    let salt = commit(
        keys.lookup.secret().expose(),
        windvane_protocols::transcript::Transcript::new("windvane/psi-input-salt/v1")
            .bytes("grant", grant.as_bytes())
            .as_bytes(),
    );
    let item = windvane_protocols::transcript::Transcript::new("windvane/psi-input/v1")
        .bytes("file", digest)
        .text("key", key);
    commit(&salt, item.as_bytes())
}

impl List {
    /// What the list's last scan told, if the file is as it was then, or a new scan.
    async fn scan(&self, input: &InputFile) -> Result<Scan, PsiError> {
        let file = std::fs::metadata(&input.path).map_err(PsiError::io(&input.path))?;
        let (modified, length) = (file.modified().ok(), file.len());
        let known = self.scans().get(&input.payload_columns).cloned();
        if let Some(known) = known.filter(|k| k.modified == modified && k.length == length) {
            return Ok(known.scan);
        }
        let reading = input.clone();
        let scan = blocking(move || reading.scan(&())).await?;
        self.scans().insert(input.payload_columns.clone(), Scanned { scan, modified, length });
        Ok(scan)
    }

    fn scans(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<String>, Scanned>> {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.provider.running().remove(&self.job);
    }
}
