//! Connections in their handshake, of which nobody knows yet whose they are.
//!
//! A stranger that opens connections and says nothing is kept from holding all places in two ways: one network has only
//! so many, where an IPv6 network is what one subscriber gets (a /64); and where no place is left, the oldest handshake
//! that had its time gives up its own.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limits::Pace;

/// Handshakes of one network at a time: a bank's processes come from one address, and a stranger that opens connections
/// and says nothing does too.
const HANDSHAKES_PER_NETWORK: usize = 64;

/// Handshakes of one network a second, and at once: each costs a millisecond of a processor before anybody is known.
const PER_SECOND: u64 = 50;
const AT_ONCE: u64 = 200;

/// Networks from where on those are forgotten of which nothing is to be remembered.
const MAX_NETWORKS: usize = 1_024;

/// What a handshake takes at most that others wait for: a few round trips, and more than a busy node needs.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bits of an IPv6 address that name its network.
const NETWORK: u128 = u128::MAX << 64;

/// So many at a time, and so many from one network.
#[derive(Debug, Clone)]
pub(super) struct Handshakes {
    places: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    networks: HashMap<IpAddr, Network>,
    /// Those under way, the oldest first: since when, and how each is told to give its place up.
    running: BTreeMap<u64, (Instant, Arc<Notify>)>,
    next: u64,
}

/// What one network does.
#[derive(Debug)]
struct Network {
    running: usize,
    pace: Pace,
}

/// A handshake's place, until it is through.
#[derive(Debug)]
pub(super) struct Handshake {
    known: Arc<Mutex<Known>>,
    id: u64,
    network: IpAddr,
    given_up: Arc<Notify>,
    _place: OwnedSemaphorePermit,
}

impl Handshakes {
    pub(super) fn new(at_a_time: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(at_a_time)), known: Arc::default() }
    }

    /// Waits for a place; none where the network has too many. One connection is accepted after the other, so this is
    /// not called beside itself.
    pub(super) async fn begin(&self, address: IpAddr) -> Option<Handshake> {
        let network = network_of(address);
        if !lock(&self.known).admits(network, Instant::now()) {
            return None;
        }
        let place = self.place().await?;
        let given_up = Arc::new(Notify::new());
        let id = lock(&self.known).add(network, given_up.clone());
        Some(Handshake { known: self.known.clone(), id, network, given_up, _place: place })
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.places.clone().acquire_owned();
        let since = lock(&self.known).running.first_key_value().map(|(_, (since, _))| *since);
        let due = since.unwrap_or_else(Instant::now) + PATIENCE;
        tokio::pin!(place);
        tokio::select! {
            biased;
            place = &mut place => return place.ok(),
            () = tokio::time::sleep_until(due) => {}
        }
        if let Some((_, (_, oldest))) = lock(&self.known).running.pop_first() {
            oldest.notify_one();
        }
        place.await.ok()
    }
}

impl Handshake {
    /// When its place is needed for another.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        known.running.remove(&self.id);
        if let Some(network) = known.networks.get_mut(&self.network) {
            network.running -= 1;
        }
    }
}

impl Known {
    fn admits(&mut self, network: IpAddr, now: Instant) -> bool {
        if self.networks.len() > MAX_NETWORKS {
            self.networks.retain(|_, known| known.running > 0 || !known.pace.is_full(now));
        }
        let known = self.network(network);
        known.running < HANDSHAKES_PER_NETWORK && known.pace.take(now).is_none()
    }

    fn add(&mut self, network: IpAddr, given_up: Arc<Notify>) -> u64 {
        self.network(network).running += 1;
        self.next += 1;
        self.running.insert(self.next, (Instant::now(), given_up));
        self.next
    }

    fn network(&mut self, network: IpAddr) -> &mut Network {
        let new = || Network { running: 0, pace: Pace::new(PER_SECOND, AT_ONCE) };
        self.networks.entry(network).or_insert_with(new)
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is counted as one: an IPv4 address, or an IPv6 network.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

    #[tokio::test]
    async fn one_address_that_comes_again_and_again_has_to_wait() {
        let handshakes = Handshakes::new(1);
        let mut begun = 0;
        for _ in 0..2 * AT_ONCE {
            begun += u64::from(handshakes.begin(ONE).await.is_some());
        }
        assert!((AT_ONCE..2 * AT_ONCE).contains(&begun), "{begun}");
    }

    #[tokio::test]
    async fn one_network_leaves_places_for_others() {
        let handshakes = Handshakes::new(HANDSHAKES_PER_NETWORK + 1);
        // Another address of the same /64 each time.
        let one = |i: usize| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, i as u16]);
        let mut begun = Vec::new();
        for i in 0..HANDSHAKES_PER_NETWORK {
            begun.push(handshakes.begin(one(i)).await.unwrap());
        }
        assert!(handshakes.begin(one(9_999)).await.is_none());
        let next = handshakes.begin(IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1])).await;
        assert!(next.is_some());
        drop((begun, next));
        assert!(handshakes.begin(one(0)).await.is_some());
    }

    #[test]
    fn an_ipv4_address_is_one_however_it_is_written() {
        assert_eq!(network_of("::ffff:127.0.0.1".parse().unwrap()), ONE);
        assert_eq!(network_of(OTHER), OTHER);
    }

    #[tokio::test]
    async fn where_no_place_is_left_the_oldest_that_had_its_time_gives_up_its_own() {
        let handshakes = Handshakes::new(2);
        let silent = handshakes.begin(ONE).await.unwrap();
        let later = handshakes.begin(ONE).await.unwrap();
        let silent = tokio::spawn(async move { silent.given_up().await });
        let before = Instant::now();
        let begun = handshakes.begin(OTHER).await;
        assert!(begun.is_some() && before.elapsed() >= PATIENCE);
        silent.await.unwrap();
        // The next in age has not been told.
        assert!(tokio::time::timeout(PATIENCE / 2, later.given_up()).await.is_err());
    }

    #[test]
    fn a_network_that_came_too_often_is_not_forgotten_among_many() {
        let (mut known, now) = (Known::default(), Instant::now());
        while known.admits(ONE, now) {}
        let other = |i: usize| IpAddr::from((10 << 24 | i as u32).to_be_bytes());
        for i in 0..2 * MAX_NETWORKS {
            known.admits(other(i), now);
        }
        assert!(!known.admits(ONE, now));
        // One that has not come for a while is.
        known.admits(OTHER, now + PATIENCE);
        assert!(known.networks.len() < 3);
    }
}
