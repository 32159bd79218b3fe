//! The network between simulated machines: connections in memory, under virtual time, and what goes wrong with them.
//!
//! A connection is two pipes. A machine may die: what it had sent still arrives, then its connections are reset,
//! it is reached no more and reaches nobody. Two machines may be cut off from each other for a while.
//!
//! What happens to a connection's segments is drawn from a generator of its own, which the seed, its two ends and its
//! number among theirs determine. So the order in which tasks happen to run does not move faults from one connection to
//! another.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use windvane::peer::transport::{Awaited, Listener, Stream, Transport};

mod pipe;

use pipe::{End, Link, Pipe};

/// How long a connection attempt waits for a machine that it cannot reach.
const UNREACHABLE: Duration = Duration::from_secs(2);

/// A way through the network takes this long at least and at most, milliseconds; each connection has its own.
const LATENCY_MS: (u64, u64) = (1, 9);

/// Of 10,000 segments, how many meet each fault.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// Arrives late, by up to a second.
    pub delayed: u32,
    /// Never arrives, though what follows does.
    pub dropped: u32,
    /// Arrives twice.
    pub duplicated: u32,
    /// Arrives before the one that was sent before it.
    pub reordered: u32,
    /// Arrives with a changed bit.
    pub corrupted: u32,
    /// Is the connection's last.
    pub cut: u32,
}

impl Rates {
    /// A bad day: a segment in fifty is late, one in about seven hundred ends its connection.
    pub const ROUGH: Self =
        Self { delayed: 200, dropped: 2, duplicated: 2, reordered: 2, corrupted: 4, cut: 4 };
}

/// Faults as they were injected.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) connections: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) delayed: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) duplicated: AtomicU64,
    pub(super) reordered: AtomicU64,
    pub(super) corrupted: AtomicU64,
    pub(super) cut: AtomicU64,
}

/// Adds one.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

type Arrival = (End, SocketAddr);

#[derive(Debug, Default)]
struct State {
    /// Where connections to an address arrive.
    listeners: HashMap<SocketAddr, (Life, mpsc::UnboundedSender<Arrival>)>,
    /// Connections between two machines so far, by their names.
    numbers: HashMap<(&'static str, SocketAddr), u64>,
    open: Vec<Connection>,
    /// Pairs that do not reach each other, and until when.
    cuts: Vec<(&'static str, SocketAddr, Instant)>,
}

#[derive(Debug)]
struct Connection {
    from: Life,
    to: Life,
    address: SocketAddr,
    pipes: [Weak<Pipe>; 2],
}

/// The network.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    rates: Rates,
    counts: Arc<Counts>,
    state: Mutex<State>,
}

/// One run of a machine, from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The machine.
    pub machine: &'static str,
    /// Which of its runs.
    pub number: u32,
}

impl Network {
    /// A network without machines.
    pub fn new(seed: u64, rates: Rates, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { seed, rates, counts, state: Mutex::default() })
    }

    /// The transport of one run of a machine.
    pub fn attach(self: &Arc<Self>, life: Life, sent: Option<Arc<dyn Sent>>) -> Arc<Attached> {
        Arc::new(Attached { network: self.clone(), life, sent, dead: Mutex::new(false) })
    }

    /// Cuts a machine off from an address for a while, and resets what is open between them.
    pub fn cut(&self, machine: &'static str, address: SocketAddr, lasting: Duration) {
        let mut state = self.lock();
        state.cuts.push((machine, address, Instant::now() + lasting));
        let (broken, open): (Vec<_>, Vec<_>) = std::mem::take(&mut state.open)
            .into_iter()
            .partition(|c| c.from.machine == machine && c.address == address);
        state.open = open;
        drop(state);
        broken.iter().flat_map(|c| &c.pipes).filter_map(Weak::upgrade).for_each(|pipe| pipe.reset());
    }

    /// Ends every connection of a run; it is not reached any more.
    fn kill(&self, life: Life) {
        let mut state = self.lock();
        state.listeners.retain(|_, (whose, _)| *whose != life);
        let (broken, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.open).into_iter().partition(|c| c.from == life || c.to == life);
        state.open = open;
        drop(state);
        broken.iter().flat_map(|c| &c.pipes).filter_map(Weak::upgrade).for_each(|pipe| pipe.reset());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generator of one connection.
    fn generator(&self, from: &'static str, to: SocketAddr) -> ChaCha8Rng {
        let mut state = self.lock();
        let number = state.numbers.entry((from, to)).or_default();
        *number += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        seed[8..16].copy_from_slice(&number.to_be_bytes());
        seed[16..18].copy_from_slice(&to.port().to_be_bytes());
        let name = from.bytes().rev().take(12);
        seed[20..].iter_mut().zip(name).for_each(|(place, byte)| *place = byte);
        ChaCha8Rng::from_seed(seed)
    }

    async fn connect(&self, from: &Attached, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let mut rng = self.generator(from.life.machine, address);
        let latency = Duration::from_millis(rng.random_range(LATENCY_MS.0..=LATENCY_MS.1));
        sleep(2 * latency).await;
        if self.is_cut(from.life.machine, address) {
            sleep(UNREACHABLE).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let link = |rng: &mut ChaCha8Rng| Link {
            rates: self.rates,
            counts: self.counts.clone(),
            latency,
            rng: ChaCha8Rng::from_seed(rng.random()),
        };
        let (out, back) = (Pipe::new(link(&mut rng)), Pipe::new(link(&mut rng)));
        let mut state = self.lock();
        if from.is_dead() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let Some((to, arrivals)) = state.listeners.get(&address) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let to = *to;
        let there = End::new(out.clone(), back.clone());
        if arrivals.send((there, address)).is_err() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        count(&self.counts.connections);
        let pipes = [Arc::downgrade(&out), Arc::downgrade(&back)];
        state.open.retain(|c| c.pipes.iter().any(|pipe| pipe.strong_count() > 0));
        state.open.push(Connection { from: from.life, to, address, pipes });
        Ok(Box::new(End::new(back, out).heard_by(from.sent.clone())))
    }

    fn is_cut(&self, machine: &'static str, address: SocketAddr) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        state.cuts.retain(|(.., until)| *until > now);
        state.cuts.iter().any(|(from, to, _)| (*from, *to) == (machine, address))
    }
}

/// Hears of every segment that a machine has sent.
pub trait Sent: std::fmt::Debug + Send + Sync {
    /// A segment is on its way.
    fn sent(&self);
}

/// The network as one run of a machine sees it.
#[derive(Debug)]
pub struct Attached {
    network: Arc<Network>,
    life: Life,
    sent: Option<Arc<dyn Sent>>,
    dead: Mutex<bool>,
}

impl Attached {
    /// Ends the run, as far as anybody else can see.
    pub fn kill(&self) {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.network.kill(self.life);
    }

    fn is_dead(&self) -> bool {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Attached {
    fn listen(&self, address: SocketAddr) -> Awaited<'_, Box<dyn Listener>> {
        let (sender, arrivals) = mpsc::unbounded_channel();
        self.network.lock().listeners.insert(address, (self.life, sender));
        let listener = Listening { address, arrivals, sent: self.sent.clone() };
        Box::pin(async move { Ok(Box::new(listener) as Box<dyn Listener>) })
    }

    fn connect<'a>(&'a self, address: &'a str) -> Awaited<'a, Box<dyn Stream>> {
        Box::pin(async move {
            let address = address.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            if self.is_dead() {
                return Err(io::ErrorKind::NotConnected.into());
            }
            self.network.connect(self, address).await
        })
    }
}

#[derive(Debug)]
struct Listening {
    address: SocketAddr,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    sent: Option<Arc<dyn Sent>>,
}

impl Listener for Listening {
    fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn accept(&mut self) -> Awaited<'_, (Box<dyn Stream>, SocketAddr)> {
        Box::pin(async move {
            match self.arrivals.recv().await {
                Some((end, from)) => Ok((Box::new(end.heard_by(self.sent.clone())) as Box<dyn Stream>, from)),
                // The machine is dead; its node is about to be.
                None => std::future::pending().await,
            }
        })
    }
}
