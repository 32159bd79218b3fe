//! The bank's side of a job, from its plan to the result file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_stream::Stream;
use tonic::Status;
use windvane_keys::enrolment::Partner;
use windvane_proto::psi::v1::Frame;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::psi::{Parameters, Protocol, PsiAcceptance, PsiReceipt, PsiRequest};
use windvane_protocols::transcript::{Hash, Signed};

use super::ecdh::EcdhReceiver;
use super::engine::{Connection, SharedFolder, Watch, blocking, lock, while_alive};
use super::evidence::JobLog;
use super::folder::{Document, Fact, JobFolder};
use super::input::{Buckets, PartitionedTable, Scan, input_commitment};
use super::link::Outgoing;
use super::output::write_duplicates;
use super::plan::{Checked, JobPlan, given};
use super::receive::Receiving;
use super::result::{JobReport, JobResult, Summary};
use super::scans::Scans;
use super::side::Common;
use super::vole::{self, VoleReceiver};
use super::{JobProgress, PsiError, Stage};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::NodeError;
use crate::functions::{Function, check_job};
use crate::identity::{Certificate, Layout, NodeKeys};
use crate::peer::{Accepted, Partners};
use crate::store::Store;

mod connect;
mod receipt;
mod request;

use connect::Open;
use receipt::countersign_later;
pub(super) use receipt::release_bytes;

/// What runs a bank's jobs.
#[derive(Debug)]
pub struct JobRunner {
    config: Config,
    keys: Arc<NodeKeys>,
    store: Arc<Store>,
    layout: Layout,
    clock: Arc<dyn Clock>,
    certificate: Certificate,
    partners: Partners,
    log: JobLog,
    scans: Arc<Scans>,
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
        let keys = Arc::new(NodeKeys::open(config)?);
        let layout = Layout::new(config.node.data_dir.clone());
        let store = Arc::new(Store::open(&layout.state())?);
        let certificate = Certificate::load(config, &keys, &store)?;
        let partners = Partners::default();
        partners.reload(&store, &certificate.trust, clock.now_ms())?;
        let log = JobLog::open(&keys, config, &store, clock.now_ms())?;
        let (software, configuration) = crate::server::digests(config)?;
        let later = |receipt: &Signed<PsiReceipt>| countersign_later(&store, receipt);
        if let Err(error) = JobFolder::expire(layout.root(), clock.now_ms(), later) {
            tracing::warn!(code = error.code(), %error, "old jobs could not be given up");
        }
        Ok(Self {
            config: config.clone(),
            keys,
            store,
            layout,
            clock,
            certificate,
            partners,
            log,
            scans: Arc::default(),
            software,
            configuration,
        })
    }

    /// Begins a job: gives its name, under which [`Self::run`] runs it, as often as it takes.
    ///
    /// # Errors
    /// [`PsiError`]: the plan does not hold, or its table has not the columns that it names. Nobody was asked then.
    pub fn begin(&self, plan: &JobPlan) -> Result<SessionId, PsiError> {
        plan.check()?;
        plan.check_columns()?;
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
        if folder.state().expired_at_ms.is_some() {
            return Err(given("JOB_EXPIRED", format!("job {id} was given up long ago; begin a new one")));
        }
        // Running it again is the opposite of cancelling it.
        crate::snapshot::disk::remove_file(&JobFolder::cancel_path(&path)).map_err(NodeError::from)?;
        let partner = self
            .partners
            .find(&checked.provider)
            .ok_or_else(|| given("PARTNER_MISSING", format!("{} is not enrolled here", checked.provider)))?;
        check_job(&self.config, &self.store, Function::Screening, &checked.provider)?;
        self.countersign_waiting(&checked.provider).await;
        let job = Job { id, checked, partner, folder: Arc::new(Mutex::new(folder)) };
        let partners = [job.partner.clone()];
        let accepted = Accepted {
            config: &self.config,
            certificate: &self.certificate,
            layout: &self.layout,
            keys: &self.keys,
            store: &self.store,
            clock: &*self.clock,
            function: Function::Screening,
        };
        let run = accepted.during(&partners, self.go_on(&job, progress)).await;
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
        Ok(self.log.close().await?)
    }

    async fn go_on(&self, job: &Job, progress: &dyn JobProgress) -> Result<JobReport, PsiError> {
        if let Some(report) = lock(&job.folder).report()? {
            return Ok(report);
        }
        let known = lock(&job.folder).read::<PsiReceipt>(Document::Receipt)?;
        let receipt = match known {
            Some(receipt) => {
                // Whatever ended the job between its receipt and here may have kept the countersignature back;
                // once more changes nothing.
                countersign_later(&self.store, &receipt)?;
                self.countersign_waiting(&job.checked.provider).await;
                receipt
            }
            None => self.connect(job, progress).await?,
        };
        self.conclude(job, &receipt, progress)
    }

    /// Notes an early end in folder and log, of the request if it had a connection; the error itself goes to the caller.
    async fn failed(&self, job: &Job, error: &PsiError) {
        let (code, at_ms) = (error.code().to_owned(), self.clock.now_ms());
        let noted = lock(&job.folder).note(&Fact::Ended { code: code.clone(), at_ms });
        let session = {
            let folder = lock(&job.folder);
            let asked = folder.read::<PsiRequest>(Document::Request).ok().flatten();
            asked.filter(|_| folder.state().attempts > 0).map(|request| request.body().session)
        };
        let event = Event::Failed { session, peer: job.checked.provider.clone(), code };
        let logged = self.log.append(at_ms, vec![event]).await.map_err(PsiError::from);
        if let Err(error) = noted.and(logged) {
            tracing::error!(code = error.code(), %error, "a job's early end could not be noted");
        }
    }

    async fn connect(&self, job: &Job, progress: &dyn JobProgress) -> Result<Signed<PsiReceipt>, PsiError> {
        let scan = self.scan(job, progress)?;
        let Open { acceptance, attempt, out, mut frames, mut watch } =
            self.open_job(job, &scan, progress).await?;
        let (body, parameters) = (acceptance.body(), acceptance.body().parameters);
        let connection =
            Connection { session: body.request.body().session, attempt, parameters, out: out.clone() };
        let before: Vec<u32> = lock(&job.folder).state().finished.keys().copied().collect();
        let duplicates = lock(&job.folder).path().join("duplicates.csv");
        if before.len() < parameters.buckets() as usize {
            let chain = match parameters.sizes().protocol {
                Protocol::Vole => {
                    Some(vole::set_up_receiver(&acceptance, attempt, &out, &mut frames, &mut watch).await?)
                }
                _ => None,
            };
            let table = self.partition(job, scan, body, &out, &mut watch, progress).await?;
            let input = table.clone();
            self.receive(job, input, connection, body, chain, &mut frames, &mut watch, progress).await?;
            report_duplicates(table, before, parameters, duplicates, &out, &mut watch).await?;
        } else if !duplicates.exists() {
            // The job was killed between its last bucket and this report.
            let table = self.partition(job, scan, body, &out, &mut watch, progress).await?;
            report_duplicates(table, before, parameters, duplicates, &out, &mut watch).await?;
        }
        self.finish(job, &acceptance, &out, &mut frames, &mut watch).await
    }

    async fn partition(
        &self,
        job: &Job,
        scan: Scan,
        acceptance: &PsiAcceptance,
        out: &Outgoing,
        watch: &mut Watch,
        progress: &dyn JobProgress,
    ) -> Result<Arc<PartitionedTable>, PsiError> {
        let (input, salt, path) =
            (job.checked.input(), acceptance.salt(), lock(&job.folder).path().to_owned());
        let scans = self.scans.clone();
        let work = blocking(move || scans.partition(&input, &scan, &salt, &path));
        let table = while_alive(work, out, watch).await?;
        Stage::Partitioned.reached();
        progress.stage(Stage::Partitioned);
        Ok(Arc::new(table))
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different part of one connection")]
    async fn receive(
        &self,
        job: &Job,
        input: Arc<dyn Buckets>,
        connection: Connection,
        acceptance: &PsiAcceptance,
        chain: Option<windvane_protocols::psi::vole::Receiver>,
        frames: &mut (impl Stream<Item = Result<Frame, Status>> + Unpin),
        watch: &mut Watch,
        progress: &dyn JobProgress,
    ) -> Result<(), PsiError> {
        let common = Common::new(connection.parameters, acceptance.salt());
        let (folder, keys) = (job.folder.clone(), self.keys.clone());
        match chain {
            None => {
                let side = EcdhReceiver::new(common, self.decide(job, acceptance.request.body()));
                Receiving::new(side, (), input, folder, keys, connection).run(frames, watch, progress).await
            }
            Some(chain) => {
                let side = VoleReceiver::new(&common)?;
                Receiving::new(side, chain, input, folder, keys, connection)
                    .run(frames, watch, progress)
                    .await
            }
        }
    }

    /// Writes the result and ends the job.
    fn conclude(
        &self,
        job: &Job,
        receipt: &Signed<PsiReceipt>,
        progress: &dyn JobProgress,
    ) -> Result<JobReport, PsiError> {
        // As for the request, the table is read where it is.
        let summary = tokio::task::block_in_place(|| self.write(job, receipt.body()))?;
        Stage::Output.reached();
        progress.stage(Stage::Output);
        let report = JobReport::new(job.id, receipt.body(), &summary);
        lock(&job.folder).conclude(&report, self.clock.now_ms())?;
        Ok(report)
    }

    /// Writes the result, from the table that the request was signed for.
    fn write(&self, job: &Job, receipt: &PsiReceipt) -> Result<Summary, PsiError> {
        let (request, parameters) = (receipt.request(), receipt.acceptance.body().parameters);
        let folder = lock(&job.folder);
        let summary = Summary::of(&folder, &parameters, &self.keys.storage)?;
        if summary.result == JobResult::Released {
            let plan = &job.checked.plan;
            let is_input = |digest: &_| {
                let (grant, key) = (&request.grant, &request.key);
                input_commitment(&self.keys, grant, digest, key, &plan.key_columns) == request.input
            };
            super::result::write(plan, &folder, &parameters, &self.keys.storage, is_input)?;
        }
        Ok(summary)
    }

    /// The bank's name.
    pub fn party(&self) -> &PartyId {
        &self.keys.party
    }
}

/// Writes the report of repeated rows, of a table of which all buckets were loaded but those in `more`.
async fn report_duplicates(
    table: Arc<PartitionedTable>,
    more: Vec<u32>,
    parameters: Parameters,
    report: PathBuf,
    out: &Outgoing,
    watch: &mut Watch,
) -> Result<(), PsiError> {
    let work = blocking(move || Ok(write_duplicates(&table.duplicates(&more, &parameters)?, &report)?));
    while_alive(work, out, watch).await
}
