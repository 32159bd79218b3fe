//! The provider's side of a job: lists, grants, one connection at a time per job, and the receipt.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::Status;
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::{PsiFrame, PsiOpen};
use windvane_proto::psi::v1::Frame;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::psi::{Protocol, PsiAcceptance};
use windvane_protocols::transcript::{Hash, Signed};

use super::ecdh::EcdhSender;
use super::engine::{Connection, Patience, SharedFolder, Watch, blocking, lock};
use super::folder::{Fact, JobFolder};
use super::input::{InputFile, PartitionedTable, Scan};
use super::link::Outgoing;
use super::receive::await_frame;
use super::scans::Scans;
use super::send::Sending;
use super::side::Common;
use super::vole::{self, VoleSender};
use super::{PsiError, PsiRefusal, Stage};
use crate::config::ListConfig;
use crate::error::Refusal;
use crate::provider::Provider;

mod admit;
mod receipt;

/// A requester that opened a connection says what it wants within this time.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// The provider's set intersections.
#[derive(Debug)]
pub struct PsiProvider {
    provider: Arc<Provider>,
    lists: BTreeMap<DataSet, ListConfig>,
    scans: Arc<Scans>,
    /// Jobs with an open connection, and whose they are.
    running: Mutex<HashMap<SessionId, PartyId>>,
    places: Arc<Semaphore>,
    /// Held while a job is counted against its grant, so that two do not both take the last run.
    counting: tokio::sync::Mutex<()>,
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
    /// The list, unless nothing but the receipt is missing.
    list: Option<(InputFile, Scan)>,
    attempt: u64,
}

impl PsiProvider {
    /// The lists of a configuration.
    pub fn new(provider: Arc<Provider>, lists: &[ListConfig]) -> Self {
        let list = |config: &ListConfig| {
            let name = config.list.parse().expect("checked when the configuration was read");
            (name, config.clone())
        };
        let places = Arc::new(Semaphore::new(provider.config().psi_jobs));
        Self {
            lists: lists.iter().map(list).collect(),
            scans: Arc::default(),
            provider,
            running: Mutex::default(),
            places,
            counting: tokio::sync::Mutex::default(),
        }
    }

    /// How many jobs have an open connection.
    pub fn jobs(&self) -> usize {
        self.running().len()
    }

    /// The lists that are offered.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (&DataSet, &ListConfig)> {
        self.lists.iter()
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
        let _claim = self.claim(request.session, &partner.party)?;
        let admitted = self.admit(&open).await?;
        let run = self.run(partner, frames, out, admitted).await;
        self.provider.shared().observer.metrics.job_ended("psi", run.is_ok());
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

    /// A place for a job: of all, and of those that one requester may have, so that the others find one too.
    fn claim(&self, job: SessionId, requester: &PartyId) -> Result<Claim<'_>, PsiError> {
        if self.provider.is_stopping() {
            return Err(PsiError::Stopping);
        }
        let place = self.places.clone().try_acquire_owned().map_err(|_| PsiRefusal::Busy)?;
        let mut running = self.running();
        if running.contains_key(&job) {
            return Err(PsiRefusal::Running.into());
        }
        if running.values().filter(|whose| *whose == requester).count()
            >= self.provider.config().psi_jobs_per_peer
        {
            return Err(PsiRefusal::Busy.into());
        }
        running.insert(job, requester.clone());
        Ok(Claim { provider: self, job, _place: place })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, PartyId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(
        &self,
        partner: &Partner,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        out: &Outgoing,
        admitted: Admitted,
    ) -> Result<(), PsiError> {
        let Admitted { folder, acceptance, list, attempt } = admitted;
        let mut watch = Watch::new(self.patience(), lock(&folder).path());
        out.send(PsiFrame::Accept(Box::new(acceptance.clone()))).await?;
        let body = acceptance.body();
        let connection = Connection {
            session: body.request.body().session,
            attempt,
            parameters: body.parameters,
            out: out.clone(),
        };
        let hash = if let Some((input, scan)) = list {
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
        let scans = self.scans.clone();
        let table = blocking(move || scans.partition(&input, &scan, &salt, &path));
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

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.provider.running().remove(&self.job);
    }
}
