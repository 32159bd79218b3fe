//! A machine with a real node on it: started, stopped, and fallen.
//!
//! A fall is what a kill at that moment would leave. The node's files are copied as they stand, its connections are
//! reset once what it had sent has arrived, and the next run begins on the copy. What is left of the fallen node may
//! still run for a moment, on files that nobody looks at any more; it reaches nobody, and its log writes nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use windvane::admin::Admin;
use windvane::bank::Bank;
use windvane::config::Config;
use windvane::error::NodeError;
use windvane::evidence::{EvidenceLog, LogError};
use windvane::{Node, Surroundings};
use windvane_protocols::audit::checkpoint::Checkpoint;

use super::clock::MachineClock;
use super::disk::{Health, MachineDisk, Mode};
use super::net::{Attached, Life, Network, Sent};
use super::time::Outside;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    name: &'static str,
    config: Config,
    root: PathBuf,
    network: Arc<Network>,
    outside: Arc<Outside>,
    #[cfg(feature = "bugs")]
    bug: Option<windvane::faults::Bug>,
    clock: Arc<MachineClock>,
    health: Health,
    ailing: AtomicBool,
    disturbances: AtomicU32,
    /// Segments until the machine falls; zero or less for never.
    fuse: AtomicI64,
    state: Mutex<State>,
    /// Held by who stops or starts the machine or works on its files, so that it does not fall meanwhile.
    pub(super) operator: tokio::sync::Mutex<()>,
    /// Told of a fall.
    pub(super) fallen: Notify,
}

#[derive(Debug, Default)]
struct State {
    life: u32,
    running: Option<Running>,
    /// What fell and was not buried.
    remains: Vec<Node>,
    admin: Option<Arc<Admin>>,
}

#[derive(Debug)]
struct Running {
    node: Node,
    attached: Arc<Attached>,
}

/// Where machines stand.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The directory of all their files.
    pub root: &'a Path,
    /// The network.
    pub network: &'a Arc<Network>,
    /// Threads that the virtual time waits for.
    pub outside: &'a Arc<Outside>,
    /// A deliberate bug of every node.
    #[cfg(feature = "bugs")]
    pub bug: Option<windvane::faults::Bug>,
}

/// A running node.
#[derive(Debug, Clone)]
pub struct Up {
    /// Which run of the machine it is.
    pub life: u32,
    /// The bank's side, where there is one.
    pub bank: Option<Arc<Bank>>,
    /// Its log.
    pub log: EvidenceLog,
}

/// Counts what a machine sends.
#[derive(Debug)]
struct Ear(Weak<Machine>);

impl Sent for Ear {
    fn sent(&self) {
        if let Some(machine) = self.0.upgrade()
            && machine.fuse.fetch_sub(1, Ordering::SeqCst) == 1
            && let Ok(_nobody_else) = machine.operator.try_lock()
        {
            machine.fall();
        }
    }
}

impl Machine {
    /// A machine that is off, with a copy of the template's files.
    ///
    /// # Errors
    /// The system's.
    pub fn new(name: &'static str, config: &Config, place: &Place<'_>, now_ms: u64) -> io::Result<Arc<Self>> {
        let machine = Self {
            name,
            config: config.clone(),
            root: place.root.to_owned(),
            network: place.network.clone(),
            outside: place.outside.clone(),
            #[cfg(feature = "bugs")]
            bug: place.bug,
            clock: Arc::new(MachineClock::new(now_ms)),
            health: Health::default(),
            ailing: AtomicBool::new(false),
            disturbances: AtomicU32::new(0),
            fuse: AtomicI64::new(0),
            state: Mutex::default(),
            operator: tokio::sync::Mutex::default(),
            fallen: Notify::new(),
        };
        copy(&config.node.data_dir, &machine.dir(0))?;
        Ok(Arc::new(machine))
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its clock.
    pub fn clock(&self) -> &MachineClock {
        &self.clock
    }

    /// Its disk.
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Lets its disk fail, until the machine is started anew after a fall.
    pub fn ail(&self, mode: Mode) {
        self.ailing.store(true, Ordering::SeqCst);
        self.health.set(mode);
    }

    /// Whether something may be wrong with its disk.
    pub fn is_ailing(&self) -> bool {
        self.ailing.load(Ordering::SeqCst)
    }

    /// How often its disk was mended, and it began or ended to stop.
    pub fn disturbances(&self) -> u32 {
        self.disturbances.load(Ordering::SeqCst)
    }

    /// Mends its disk.
    pub fn mend(&self) {
        self.health.set(Mode::Sound);
        if self.ailing.swap(false, Ordering::SeqCst) {
            self.disturbances.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Lets the machine fall when it has sent so many segments more.
    pub fn light(&self, segments: u32) {
        self.fuse.store(segments.into(), Ordering::SeqCst);
    }

    /// The node, while it runs.
    pub fn up(&self) -> Option<Up> {
        let state = self.lock();
        let node = &state.running.as_ref()?.node;
        Some(Up { life: state.life, bank: node.bank().cloned(), log: node.log().clone() })
    }

    /// Whether this very run goes on.
    pub fn is_up(&self, life: u32) -> bool {
        let state = self.lock();
        // The log is opened before there is a node.
        state.life == life
    }

    /// Where the present run's files are.
    pub fn data_dir(&self) -> PathBuf {
        self.dir(self.lock().life)
    }

    /// Work on the node's files, as the operator's commands do it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn admin(&self) -> Result<Arc<Admin>, NodeError> {
        let mut state = self.lock();
        if let Some(admin) = &state.admin {
            return Ok(admin.clone());
        }
        let life = Life { machine: self.name, number: state.life };
        let transport = self.network.attach(life, None);
        let admin = Admin::open(&self.config_of(state.life), self.clock.clone())?.over(transport);
        #[cfg(feature = "bugs")]
        let admin = admin.with_bug(self.bug);
        Ok(state.admin.insert(Arc::new(admin)).clone())
    }

    /// Starts the node.
    ///
    /// # Errors
    /// [`NodeError`]: it does not start.
    pub async fn start(self: &Arc<Self>) -> Result<(), NodeError> {
        let number = self.lock().life;
        let life = Life { machine: self.name, number };
        let attached = self.network.attach(life, Some(Arc::new(Ear(Arc::downgrade(self)))));
        let disk = Arc::new(MachineDisk { machine: Arc::downgrade(self), life: number });
        #[cfg_attr(not(feature = "bugs"), expect(unused_mut, reason = "only a bug changes them"))]
        let mut surroundings = Surroundings::new(self.clock.clone(), attached.clone(), disk);
        #[cfg(feature = "bugs")]
        {
            surroundings.bug = self.bug;
        }
        let node = Node::start_in(&self.config_of(number), surroundings).await?;
        if let Some(bank) = node.bank() {
            self.outside.add(bank);
        }
        self.lock().running = Some(Running { node, attached });
        Ok(())
    }

    /// Stops the node in order; it can be started again on the same files.
    ///
    /// # Errors
    /// [`NodeError`]: it does not stop in order.
    pub async fn stop(&self) -> Result<(), NodeError> {
        let Some(Running { node, attached }) = self.lock().running.take() else { return Ok(()) };
        self.disturbances.fetch_add(1, Ordering::SeqCst);
        let stopped = node.stop().await;
        self.disturbances.fetch_add(1, Ordering::SeqCst);
        attached.kill();
        stopped
    }

    /// Ends the node at this very moment. What was not durable in its log is lost or not, as it stands in the files.
    pub fn fall(&self) {
        let Some(Running { node, attached }) = self.lock().running.take() else { return };
        if let Some(bank) = node.bank() {
            // Its thread commits what it began; that costs no virtual time.
            while bank.records_waiting() > 0 {
                std::thread::yield_now();
            }
        }
        let mut state = self.lock();
        let (from, to) = (self.dir(state.life), self.dir(state.life + 1));
        if let Err(error) = copy(&from, &to) {
            // Without its files the next start fails, and that is told.
            tracing::error!(%error, machine = self.name, "files of a fallen machine could not be copied");
        }
        state.life += 1;
        state.admin = None;
        state.remains.push(node);
        drop(state);
        self.fuse.store(0, Ordering::SeqCst);
        attached.kill();
        self.fallen.notify_one();
    }

    /// Ends what is left of nodes that fell.
    pub async fn bury(&self) {
        let remains = std::mem::take(&mut self.lock().remains);
        for node in remains {
            node.abandon().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, life: u32) -> PathBuf {
        self.root.join(format!("{}-{life}", self.name))
    }

    fn config_of(&self, life: u32) -> Config {
        let mut config = self.config.clone();
        config.node.data_dir = self.dir(life);
        config
    }
}

/// Publishes a log's checkpoint while the virtual time stands.
///
/// # Errors
/// [`LogError`].
pub fn checkpoint(log: &EvidenceLog) -> Result<Checkpoint, LogError> {
    let ended = || LogError::Failed { reason: "a worker stopped".into() };
    std::thread::scope(|scope| scope.spawn(|| log.publish_blocking()).join().unwrap_or_else(|_| Err(ended())))
}

/// Copies a node's files as a kill would leave them. Nobody commits to the state file meanwhile; what was committed
/// and not yet moved from its journal into it is copied with the journal.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let state = from.join("state.db");
    let guard = rusqlite::Connection::open(&state).map_err(io::Error::other)?;
    guard.busy_timeout(Duration::from_secs(10)).map_err(io::Error::other)?;
    guard.execute_batch("BEGIN IMMEDIATE").map_err(io::Error::other)?;
    let copied = copy_all(from, to);
    guard.execute_batch("ROLLBACK").map_err(io::Error::other)?;
    copied
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    let mut entries = fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    // The state file before its journal: what moves from the one into the other meanwhile is in both.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_all(&source, &target)?;
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
