//! A running node: its listeners, its background work, and its stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest as _, Sha512};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic_health::server::HealthReporter;
use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::transcript::{Hash, Record as _};

use crate::bank::Bank;
use crate::clock::Clock;
use crate::config::{Config, GrpcConfig, RetentionConfig};
use crate::error::NodeError;
use crate::evidence::disk::{Disk, SystemDisk};
use crate::evidence::{EvidenceLog, LogStats};
use crate::functions::Functions;
use crate::http;
use crate::identity::{Certificate, Layout, NodeKeys};
use crate::limits::Limits;
use crate::observe::{self, Observer};
use crate::outbox;
use crate::peer::transport::{Tcp, Transport};
use crate::peer::{Incoming, Tls};
use crate::provider::{Provider, Shared};
use crate::psi::serve::PsiProvider;
use crate::retention::{Outcome, Retention};
use crate::store::Store;
use crate::train::serve::TrainProvider;

mod certificates;
mod reload;
mod serving;

pub(crate) use reload::TakingOver;

use reload::{When, reload};
use serving::{Services, serve_grpc, serve_http};

/// The code of the line in which a node that stops tells what its log did: entries and syncs.
pub(crate) const LOG_STATS: &str = "LOG_STATS";

/// How often changes that commands made are taken over.
const RELOAD_INTERVAL: Duration = Duration::from_millis(250);

/// The same at a bank, whose jobs are commands that wait for it at every entry. A look costs a tenth of a
/// millisecond.
const BANK_RELOAD_INTERVAL: Duration = Duration::from_millis(25);

/// How often counters are written to the state file.
const PERSIST_INTERVAL: Duration = Duration::from_secs(10);

/// How often trainings that are too old, by days, are given up.
const LAPSE_INTERVAL: Duration = Duration::from_secs(600);

/// What a node takes from outside of itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How other nodes are reached, and reach it.
    pub transport: Arc<dyn Transport>,
    /// What the log is written to.
    pub disk: Arc<dyn Disk>,
    /// A deliberate bug.
    #[cfg(feature = "faults")]
    pub bug: Option<crate::faults::Bug>,
}

impl Surroundings {
    /// These.
    pub fn new(clock: Arc<dyn Clock>, transport: Arc<dyn Transport>, disk: Arc<dyn Disk>) -> Self {
        Self {
            clock,
            transport,
            disk,
            #[cfg(feature = "faults")]
            bug: None,
        }
    }
}

/// A running node. Dropping it without [`Node::stop`] leaves recovery to the next start.
#[derive(Debug)]
pub struct Node {
    shared: Shared,
    provider: Option<Arc<Provider>>,
    bank: Option<Arc<Bank>>,
    trainings: Option<Arc<TrainProvider>>,
    limits: Option<Arc<Limits>>,
    grpc: Option<SocketAddr>,
    http: Option<SocketAddr>,
    observability: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    grace: Duration,
}

impl Node {
    /// Opens keys, state and log, brings them up to date, and begins to serve.
    ///
    /// # Errors
    /// [`NodeError`]: what is missing or damaged, and what to do.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, NodeError> {
        Self::start_in(config, Surroundings::new(clock, Arc::new(Tcp), Arc::new(SystemDisk))).await
    }

    /// [`Node::start`] in other surroundings than this machine's network.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_in(config: &Config, surroundings: Surroundings) -> Result<Self, NodeError> {
        let shared = open(config, surroundings).await?;
        let trust = shared.tls.certificate().trust;
        shared.partners.reload(&shared.store, &trust, shared.clock.now_ms())?;
        let (stop, stopped) = watch::channel(false);
        let mut node = Self {
            provider: None,
            bank: None,
            trainings: None,
            limits: None,
            grpc: None,
            http: None,
            observability: None,
            stop,
            tasks: Vec::new(),
            grace: Duration::from_millis(config.service.stop_grace_ms),
            shared,
        };
        if let Some(grpc) = &config.grpc {
            node.start_provider(config, grpc, stopped.clone()).await?;
        }
        if let Some(http) = &config.http {
            node.start_bank(config, http.listen, stopped.clone()).await?;
        }
        node.start_retention(&config.retention, stopped.clone());
        if let Some(address) = config.observability.listen {
            node.start_observing(address, stopped.clone()).await?;
        }
        node.start_upkeep(stopped);
        tracing::info!(party = %node.shared.keys.party, grpc = ?node.grpc, http = ?node.http, "the node serves");
        Ok(node)
    }

    /// Where other nodes reach it.
    pub const fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// Where the organisation's own systems reach it.
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where health and metrics are.
    pub const fn observability_address(&self) -> Option<SocketAddr> {
        self.observability
    }

    /// The bank's side, where there is one.
    pub const fn bank(&self) -> Option<&Arc<Bank>> {
        self.bank.as_ref()
    }

    /// The provider's side, where there is one.
    pub const fn provider(&self) -> Option<&Arc<Provider>> {
        self.provider.as_ref()
    }

    /// The trainings that it takes part in, where it is a provider.
    pub const fn trainings(&self) -> Option<&Arc<TrainProvider>> {
        self.trainings.as_ref()
    }

    /// What its peers take of it, where it has any.
    pub const fn limits(&self) -> Option<&Arc<Limits>> {
        self.limits.as_ref()
    }

    /// Open connections with other nodes, accepted and dialled.
    pub fn connections(&self) -> usize {
        self.shared.tls.open().len()
    }

    /// The log.
    pub const fn log(&self) -> &EvidenceLog {
        &self.shared.log
    }

    /// Takes over now what commands changed, and what could not be taken over before, instead of a moment later.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn reload(&self) -> Result<(), NodeError> {
        reload(&self.shared, self.provider.clone(), self.bank.clone(), When::Now).await
    }

    /// Refuses new calls, finishes those that run within the grace, countersigns, and seals the log.
    ///
    /// # Errors
    /// [`NodeError`] when state or log cannot be closed cleanly; the next start recovers.
    pub async fn stop(self) -> Result<(), NodeError> {
        if let Some(provider) = &self.provider {
            provider.stop();
        }
        self.stop.send_replace(true);
        for mut task in self.tasks {
            if tokio::time::timeout(self.grace, &mut task).await.is_err() {
                task.abort();
                // The next step must not begin while the task still holds what it shares.
                let _ = task.await;
            }
        }
        if let Some(bank) = &self.bank {
            let _ = tokio::time::timeout(self.grace, bank.countersign()).await;
            bank.persist()?;
        }
        if let Some(provider) = &self.provider {
            provider.persist()?;
        }
        let observer = self.shared.observer.clone();
        // What a collector does not take in time is lost.
        let _ = tokio::time::timeout(self.grace, blocking(move || observer.flush())).await;
        let log = self.shared.log.clone();
        log.clone().seal().await?;
        let LogStats { entries, fsyncs, fsync_p50_us } = log.stats();
        tracing::info!(code = LOG_STATS, entries, fsyncs, fsync_p50_us, "the log is sealed");
        tracing::info!(party = %self.shared.keys.party, "the node has stopped");
        Ok(())
    }

    /// Ends at once, as a kill would: nothing that is not durable becomes so, and the log is not sealed. For
    /// rehearsing recovery.
    pub async fn abandon(self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            // Aborted on purpose.
            let _ = task.await;
        }
    }

    async fn start_provider(
        &mut self,
        config: &Config,
        grpc: &GrpcConfig,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        let (service, elements_per_s) = (config.service.clone(), config.limits.elements_per_s);
        let provider = blocking(move || Provider::start(shared, service, elements_per_s)).await??;
        let provider = Arc::new(provider);
        let psi = Arc::new(PsiProvider::new(provider.clone(), &config.lists));
        let train = Arc::new(TrainProvider::new(provider.clone(), &config.tables));
        let listener = self.shared.transport.listen(grpc.listen).await;
        let listener = listener.map_err(NodeError::io(format!("listening on {}", grpc.listen)))?;
        self.grpc = listener.address().ok();
        let incoming = Incoming::live(listener, self.shared.tls.clone(), config.limits.handshakes);
        let limits = Arc::new(Limits::new(config.limits.clone(), grpc.max_connections));
        self.limits = Some(limits.clone());
        self.shared.observer.watch_limits(&limits);
        self.shared.observer.watch_provider(&provider, &psi, &train);
        let health = HealthReporter::new();
        observe::grpc::refresh(&health, &self.shared).await;
        self.tasks.push(tokio::spawn(serve_grpc(
            Services { provider: provider.clone(), psi, train: train.clone(), health: health.clone() },
            incoming,
            limits,
            stopped.clone(),
        )));
        let (shared, trainings) = (self.shared.clone(), train.clone());
        self.tasks.push(now_and_every(LAPSE_INTERVAL, stopped.clone(), move || {
            let trainings = trainings.clone();
            async move { trainings.lapse().await }
        }));
        self.tasks.push(every(observe::grpc::INTERVAL, stopped, move || {
            let (health, shared) = (health.clone(), shared.clone());
            async move { observe::grpc::refresh(&health, &shared).await }
        }));
        (self.provider, self.trainings) = (Some(provider), Some(train));
        Ok(())
    }

    async fn start_bank(
        &mut self,
        config: &Config,
        address: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let (shared, config) = (self.shared.clone(), config.clone());
        let interval = Duration::from_millis(config.verification.countersign_interval_ms);
        let bank = Arc::new(blocking(move || Bank::start(shared, &config)).await??);
        let listener = listen(address).await?;
        self.http = listener.local_addr().ok();
        self.shared.observer.watch_bank(&bank);
        self.tasks.push(tokio::spawn(serve_http(
            bank.clone(),
            self.shared.clone(),
            listener,
            stopped.clone(),
        )));
        let countersigner = bank.clone();
        self.tasks.push(every(interval, stopped, move || {
            let bank = countersigner.clone();
            async move { bank.countersign().await }
        }));
        self.bank = Some(bank);
        Ok(())
    }

    fn start_retention(&mut self, config: &RetentionConfig, stopped: watch::Receiver<bool>) {
        if config.every_minutes == 0 {
            return;
        }
        let interval = Duration::from_secs(60 * u64::from(config.every_minutes));
        let (shared, config) = (self.shared.clone(), config.clone());
        self.tasks.push(every(interval, stopped, move || {
            let (shared, config) = (shared.clone(), config.clone());
            async move {
                // What cannot be destroyed is told by the run itself.
                let _ = blocking(move || retain(&shared, &config)).await;
            }
        }));
    }

    async fn start_observing(
        &mut self,
        address: SocketAddr,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), NodeError> {
        let listener = listen(address).await?;
        self.observability = listener.local_addr().ok();
        let router = observe::listener::router(self.shared.clone());
        self.tasks.push(tokio::spawn(async move {
            let stop = async move {
                // The sender lives as long as the node; either way it is time to stop.
                let _ = stopped.changed().await;
            };
            http::serve(listener, router, stop).await;
        }));
        Ok(())
    }

    fn start_upkeep(&mut self, stopped: watch::Receiver<bool>) {
        self.tasks.extend(certificates::watch(&self.shared, self.bank.as_ref(), &stopped));
        let (shared, provider, bank) = (self.shared.clone(), self.provider.clone(), self.bank.clone());
        let interval = if bank.is_some() { BANK_RELOAD_INTERVAL } else { RELOAD_INTERVAL };
        self.tasks.push(every(interval, stopped.clone(), move || {
            let (shared, provider, bank) = (shared.clone(), provider.clone(), bank.clone());
            async move {
                // What fails is told, and tried again.
                let _ = reload(&shared, provider, bank, When::Due).await;
            }
        }));
        let (provider, bank) = (self.provider.clone(), self.bank.clone());
        self.tasks.push(every(PERSIST_INTERVAL, stopped, move || {
            let (provider, bank) = (provider.clone(), bank.clone());
            async move {
                let keep = move || {
                    let provider = provider.as_ref();
                    let kept = provider.map_or(Ok(()), |provider| provider.persist());
                    let ended = provider.map_or(Ok(()), |provider| provider.end_due());
                    // What failed while the state could not be written is explained once it can be.
                    let explained =
                        bank.map_or(Ok(()), |bank| bank.persist().and_then(|()| bank.explain_failed()));
                    kept.and(ended).and(explained)
                };
                let kept = blocking(keep).await;
                if let Err(error) = kept.and_then(|kept| kept) {
                    tracing::error!(code = error.code(), %error, "counters or epochs could not be kept up");
                }
            }
        }));
    }
}

async fn open(config: &Config, surroundings: Surroundings) -> Result<Shared, NodeError> {
    let (disk, now_ms) = (surroundings.disk.clone(), surroundings.clock.now_ms());
    let owned = config.clone();
    let (keys, store, functions, log, certificate) = blocking(move || {
        let keys = NodeKeys::open(&owned)?;
        let store = Store::open(&Layout::new(owned.node.data_dir.clone()).state())?;
        let functions = Functions::open(owned.functions.clone(), &store)?;
        let certificate = Certificate::load(&owned, &keys, &store)?;
        let log = keys.open_log_in_service(&owned, &disk, &store, now_ms)?;
        outbox::forget_logged(&store, &log)?;
        Ok::<_, NodeError>((keys, store, functions, log, certificate))
    })
    .await??;
    let (software, configuration) = digests(config)?;
    let observer = Arc::new(Observer::new(config, &log)?);
    let partners = Arc::default();
    let (clock, transport) = (surroundings.clock.clone(), surroundings.transport.clone());
    let tls = Arc::new(Tls::new(certificate, Arc::clone(&partners), clock, transport)?);
    let shared = Shared {
        tls,
        certificates: config.certificates,
        keys: Arc::new(keys),
        store: Arc::new(store),
        log,
        partners,
        functions: Arc::new(functions),
        clock: surroundings.clock,
        transport: surroundings.transport,
        #[cfg(feature = "faults")]
        bug: surroundings.bug,
        layout: Layout::new(config.node.data_dir.clone()),
        software,
        configuration,
        taking_over: Arc::default(),
        observer,
    };
    // What commands did before comes before in the log, too.
    let mut taking_over = shared.taking_over.lock().await;
    outbox::drain(&shared.store, &shared.log, &mut taking_over.logged).await?;
    drop(taking_over);
    let started = Event::Started { software: shared.software, configuration: shared.configuration };
    let entry = Entry::new(shared.clock.now_ms(), started).encode().into_bytes();
    shared.log.append(vec![entry]).await?;
    Ok(shared)
}

/// The software and configuration that ran stand in every receipt by their digests.
pub(crate) fn digests(config: &Config) -> Result<(Hash, Hash), NodeError> {
    Ok((digest_of_software()?, Sha512::digest(format!("{config:?}")).into()))
}

fn digest_of_software() -> Result<Hash, NodeError> {
    // What runs stays what it is while it runs.
    static DIGEST: OnceLock<Hash> = OnceLock::new();
    if let Some(digest) = DIGEST.get() {
        return Ok(*digest);
    }
    let path = Path::new("/proc/self/exe");
    let bytes = std::fs::read(path).map_err(NodeError::io("reading the running program"))?;
    Ok(*DIGEST.get_or_init(|| Sha512::digest(bytes).into()))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(NodeError::io(format!("listening on {address}")))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| NodeError::Given { code: "INTERNAL", message: "a worker stopped".into() })
}

/// Runs `work` again and again until the node stops.
fn every<F, W>(interval: Duration, stopped: watch::Receiver<bool>, work: F) -> JoinHandle<()>
where
    F: Fn() -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(repeat(interval, stopped, work))
}

/// The same, beginning at once.
fn now_and_every<F, W>(interval: Duration, stopped: watch::Receiver<bool>, work: F) -> JoinHandle<()>
where
    F: Fn() -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        work().await;
        repeat(interval, stopped, work).await;
    })
}

async fn repeat<F, W>(interval: Duration, mut stopped: watch::Receiver<bool>, work: F)
where
    F: Fn() -> W,
    W: Future<Output = ()>,
{
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => work().await,
            _ = stopped.changed() => return,
        }
    }
}

/// Destroys what is due; the entries reach the log as those of commands do.
fn retain(shared: &Shared, config: &RetentionConfig) {
    let (keys, store, layout) = (&shared.keys, &shared.store, &shared.layout);
    let retention = Retention { config, keys, store, layout, now_ms: shared.clock.now_ms() };
    for outcome in retention.run().into_iter().filter(|outcome| outcome.items > 0) {
        let Outcome { class, items, bytes, .. } = outcome;
        tracing::info!(code = "RETENTION", class, items, bytes, "destroyed what was due");
    }
}
