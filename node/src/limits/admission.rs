//! Who is worked for: so many at a time, of each peer and of all; peers that wait take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use windvane_protocols::party::PartyId;

use crate::error::Refusal;

/// A caller that was turned away should wait so long for each call that waits before it would.
const WAIT_PER_CALL_MS: u64 = 2;

/// And this long at least.
const LEAST_WAIT_MS: u64 = 50;

/// The door.
#[derive(Debug)]
pub(super) struct Admission(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    at_a_time: usize,
    per_peer: usize,
    may_wait: usize,
    running: usize,
    peers: HashMap<PartyId, Peer>,
    /// Peers with calls that wait, each once, in the order in which they are served.
    turns: VecDeque<PartyId>,
}

#[derive(Debug, Default)]
struct Peer {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place among those that are worked for. When it is dropped, whoever waits gets it.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Mutex<State>>,
    party: PartyId,
}

impl Admission {
    pub(super) fn new(at_a_time: usize, per_peer: usize, may_wait: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            at_a_time,
            per_peer,
            may_wait,
            running: 0,
            peers: HashMap::new(),
            turns: VecDeque::new(),
        })))
    }

    /// A place, once it is the peer's turn. Whoever stops waiting leaves the queue.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] where nobody else of the peer may wait.
    pub(super) async fn enter(&self, party: &PartyId) -> Result<Place, Refusal> {
        let arrived = {
            let mut state = lock(&self.0);
            let (at_a_time, per_peer, may_wait) = (state.at_a_time, state.per_peer, state.may_wait);
            let running = state.running;
            let peer = state.peers.entry(party.clone()).or_default();
            if running < at_a_time && peer.running < per_peer && peer.waiting.is_empty() {
                peer.running += 1;
                state.running += 1;
                return Ok(Place { door: self.0.clone(), party: party.clone() });
            }
            // Whoever gave up keeps its peer's turn until that comes.
            let has_turn = !peer.waiting.is_empty();
            if peer.waiting.len() >= may_wait {
                // Those that gave up make room.
                peer.waiting.retain(|waiting| !waiting.is_closed());
            }
            if peer.waiting.len() >= may_wait {
                let wait = (peer.waiting.len() as u64 * WAIT_PER_CALL_MS).max(LEAST_WAIT_MS);
                state.forget(party);
                return Err(Refusal::Overloaded { what: "calls at a time", retry_after_ms: wait });
            }
            let (sender, arrived) = oneshot::channel();
            if !has_turn {
                state.turns.push_back(party.clone());
            }
            if let Some(peer) = state.peers.get_mut(party) {
                peer.waiting.push_back(sender);
            }
            arrived
        };
        arrived.await.map_err(|_| Refusal::Internal)
    }

    /// How many are worked for.
    pub(super) fn running(&self) -> usize {
        lock(&self.0).running
    }

    /// How many of a peer are worked for, and how many wait.
    pub(super) fn of(&self, party: &PartyId) -> (usize, usize) {
        let state = lock(&self.0);
        state.peers.get(party).map_or((0, 0), |peer| (peer.running, peer.waiting.len()))
    }
}

impl State {
    /// Gives free places to those that wait, peer after peer; gives back places whose takers have gone, which the
    /// caller drops once the lock is free.
    fn serve(&mut self, door: &Arc<Mutex<Self>>) -> Vec<Place> {
        let mut orphaned = Vec::new();
        let mut passed_over = 0;
        while self.running < self.at_a_time && passed_over < self.turns.len() {
            let Some(party) = self.turns.pop_front() else { break };
            let per_peer = self.per_peer;
            let Some(peer) = self.peers.get_mut(&party) else { continue };
            if peer.running >= per_peer {
                passed_over += 1;
                self.turns.push_back(party);
                continue;
            }
            let next = std::iter::from_fn(|| peer.waiting.pop_front()).find(|waiting| !waiting.is_closed());
            if let Some(next) = next {
                peer.running += 1;
                self.running += 1;
                passed_over = 0;
                orphaned.extend(next.send(Place { door: door.clone(), party: party.clone() }).err());
            }
            match self.peers.get(&party) {
                Some(peer) if !peer.waiting.is_empty() => self.turns.push_back(party),
                _ => self.forget(&party),
            }
        }
        orphaned
    }

    fn forget(&mut self, party: &PartyId) {
        if self.peers.get(party).is_some_and(|peer| peer.running == 0 && peer.waiting.is_empty()) {
            self.peers.remove(party);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let orphaned = {
            let mut state = lock(&self.door);
            state.running -= 1;
            if let Some(peer) = state.peers.get_mut(&self.party) {
                peer.running -= 1;
            }
            let orphaned = state.serve(&self.door);
            state.forget(&self.party);
            orphaned
        };
        // Each gives its place on in turn.
        drop(orphaned);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    fn party(name: &str) -> PartyId {
        name.parse().unwrap()
    }

    /// Polls once: whether there is a result already.
    async fn now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut future = future;
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn peers_that_wait_take_turns_however_many_calls_one_of_them_has() {
        let door = Admission::new(1, 1, 8);
        let (greedy, modest) = (party("greedy"), party("modest"));
        let running = door.enter(&greedy).await.unwrap();
        let (mut first, mut second) = (pin!(door.enter(&greedy)), pin!(door.enter(&greedy)));
        let mut other = pin!(door.enter(&modest));
        assert!(now(first.as_mut()).await.is_none() && now(second.as_mut()).await.is_none());
        assert!(now(other.as_mut()).await.is_none());
        drop(running);
        let place = now(first.as_mut()).await.unwrap().unwrap();
        assert!(now(second.as_mut()).await.is_none());
        drop(place);
        let place = now(other.as_mut()).await.expect("the other peer is next").unwrap();
        drop(place);
        assert!(now(second.as_mut()).await.is_some());
        assert_eq!((door.running(), door.of(&greedy), door.of(&modest)), (0, (0, 0), (0, 0)));
    }

    #[tokio::test]
    async fn one_peer_never_takes_the_places_of_others() {
        let door = Admission::new(4, 2, 1);
        let (greedy, modest) = (party("greedy"), party("modest"));
        let _held = [door.enter(&greedy).await.unwrap(), door.enter(&greedy).await.unwrap()];
        let mut waits = pin!(door.enter(&greedy));
        assert!(now(waits.as_mut()).await.is_none());
        let refused = door.enter(&greedy).await.unwrap_err();
        assert!(matches!(refused, Refusal::Overloaded { retry_after_ms: 50.., .. }), "{refused:?}");
        assert!(door.enter(&modest).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_gives_up_makes_room_and_loses_no_place() {
        let door = Admission::new(1, 1, 1);
        let greedy = party("greedy");
        let running = door.enter(&greedy).await.unwrap();
        {
            let mut gone = pin!(door.enter(&greedy));
            assert!(now(gone.as_mut()).await.is_none());
        }
        let mut waits = pin!(door.enter(&greedy));
        assert!(now(waits.as_mut()).await.is_none(), "the one that gave up made room");
        drop(running);
        assert!(now(waits.as_mut()).await.is_some());
        assert_eq!(door.running(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_gives_up_again_and_again_has_one_turn() {
        let door = Admission::new(1, 1, 2);
        let (greedy, modest) = (party("greedy"), party("modest"));
        let running = door.enter(&greedy).await.unwrap();
        for _ in 0..10 {
            let mut gone = pin!(door.enter(&greedy));
            assert!(now(gone.as_mut()).await.is_none());
        }
        let mut waits = pin!(door.enter(&greedy));
        let mut other = pin!(door.enter(&modest));
        assert!(now(waits.as_mut()).await.is_none() && now(other.as_mut()).await.is_none());
        assert_eq!(lock(&door.0).turns, [greedy.clone(), modest.clone()]);
        drop(running);
        let place = now(waits.as_mut()).await.expect("the greedy peer is first").unwrap();
        drop(place);
        assert!(now(other.as_mut()).await.is_some());
        assert!(lock(&door.0).turns.is_empty());
    }
}
