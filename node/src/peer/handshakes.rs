//! Connections in their handshake, of which nobody knows yet whose they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::limits::Pace;

/// Handshakes of one address at a time: a bank's processes come from one, and a stranger that opens connections and
/// says nothing does too.
const HANDSHAKES_PER_ADDRESS: usize = 64;

/// Handshakes of one address a second, and at once: each costs a millisecond of a processor before anybody is known.
const PER_SECOND: u64 = 50;
const AT_ONCE: u64 = 200;

/// Addresses that are remembered beside those with handshakes under way.
const MAX_ADDRESSES: usize = 1_024;

/// So many at a time, and so many from one address.
#[derive(Debug, Clone)]
pub(super) struct Handshakes {
    places: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, Address>>>,
}

/// What one address does.
#[derive(Debug)]
struct Address {
    running: usize,
    pace: Pace,
}

/// A handshake's place, until it is through.
#[derive(Debug)]
pub(super) struct Handshake {
    addresses: Arc<Mutex<HashMap<IpAddr, Address>>>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Handshakes {
    pub(super) fn new(at_a_time: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(at_a_time)), addresses: Arc::default() }
    }

    /// A place for a connection that is yet to come.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// None where the address has too many.
    pub(super) fn begin(&self, address: IpAddr, place: OwnedSemaphorePermit) -> Option<Handshake> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() > MAX_ADDRESSES {
            addresses.retain(|_, known| known.running > 0);
        }
        let new = || Address { running: 0, pace: Pace::new(PER_SECOND, AT_ONCE) };
        let known = addresses.entry(address).or_insert_with(new);
        if known.running >= HANDSHAKES_PER_ADDRESS || known.pace.take(Instant::now()).is_some() {
            return None;
        }
        known.running += 1;
        Some(Handshake { addresses: self.addresses.clone(), address, _place: place })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = addresses.get_mut(&self.address) {
            known.running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_that_comes_again_and_again_has_to_wait() {
        let handshakes = Handshakes::new(1);
        let address = IpAddr::from([127, 0, 0, 1]);
        let mut begun = 0;
        for _ in 0..2 * AT_ONCE {
            let place = handshakes.place().await.unwrap();
            begun += u64::from(handshakes.begin(address, place).is_some());
        }
        assert!((AT_ONCE..2 * AT_ONCE).contains(&begun), "{begun}");
    }

    #[tokio::test]
    async fn one_address_leaves_places_for_others() {
        let handshakes = Handshakes::new(HANDSHAKES_PER_ADDRESS + 1);
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let mut begun = Vec::new();
        for _ in 0..HANDSHAKES_PER_ADDRESS {
            begun.push(handshakes.begin(one, handshakes.place().await.unwrap()).unwrap());
        }
        assert!(handshakes.begin(one, handshakes.place().await.unwrap()).is_none());
        assert!(handshakes.begin(other, handshakes.place().await.unwrap()).is_some());
        drop(begun);
        assert!(handshakes.begin(one, handshakes.place().await.unwrap()).is_some());
    }
}
