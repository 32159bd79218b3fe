//! Connections in their handshake, of which nobody knows yet whose they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handshakes of one address at a time: a bank's processes come from one, and a stranger that opens connections and
/// says nothing does too.
const HANDSHAKES_PER_ADDRESS: usize = 64;

/// So many at a time, and so many from one address.
#[derive(Debug, Clone)]
pub(super) struct Handshakes {
    places: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A handshake's place, until it is through.
#[derive(Debug)]
pub(super) struct Handshake {
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
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
        let count = addresses.entry(address).or_default();
        if *count >= HANDSHAKES_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Handshake { addresses: self.addresses.clone(), address, _place: place })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
