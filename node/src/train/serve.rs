//! The provider's side of trainings: tables, grants, one call at a time of a session, and the receipt.
//!
//! Every call is carried out whole even when its caller hangs up, and what it needs is on the disk, so a session that
//! nobody asks about makes room for another at any moment. One that its bank does not bring to its end is given up when it
//! is too old, with a signed record of what it answered (`train/lapse.rs`). Computing happens one call at a time, on two
//! threads at most, off the runtime's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, Semaphore};
use windvane_keys::enrolment::Partner;
use windvane_proto::convert::TrainBegin;
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::train::record::{TrainAcceptance, TrainRequest};
use windvane_protocols::train::step::Step;
use windvane_protocols::transcript::{Hash, Signed};

use super::folder::{SessionFolder, SessionState, Upload};
use super::work::Returned;
use super::{TrainRefusal, grant};
use crate::config::TrainConfig;
use crate::error::{NodeError, Refusal};
use crate::provider::Provider;

mod admit;
mod finish;
mod lapse;
mod parts;
mod session;
mod table;
mod upload;

use session::Session;
use table::Table;
pub use table::check_table;

/// Threads that compute, at most.
const THREADS: usize = 2;

/// The provider's trainings.
#[derive(Debug)]
pub struct TrainProvider {
    desk: Desk,
    slots: Mutex<BTreeMap<SessionId, Slot>>,
    /// One call computes at a time.
    computing: Arc<Semaphore>,
    /// Banks of whom a session is being opened, one of each: two do not both take the last run of its grant, and none
    /// lines up any number of them.
    opening: Mutex<BTreeSet<PartyId>>,
}

/// What every session works with. Clones share it.
#[derive(Debug, Clone)]
struct Desk {
    provider: Arc<Provider>,
    tables: Arc<BTreeMap<DataSet, TrainConfig>>,
    threads: usize,
}

/// A session in memory, if it was needed since the start.
#[derive(Debug)]
struct Slot {
    session: Arc<tokio::sync::Mutex<Option<Session>>>,
    /// Whose call had it last.
    whose: Option<PartyId>,
    used_ms: u64,
}

impl Slot {
    fn new(used_ms: u64) -> Self {
        Self { session: Arc::default(), whose: None, used_ms }
    }

    /// Whether a call has it: what is held elsewhere has another owner than the map of slots.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.session) > 1
    }

    fn is_of(&self, peer: &PartyId) -> bool {
        self.whose.as_ref() == Some(peer)
    }
}

/// A session's place, held for one call.
type Claim = OwnedMutexGuard<Option<Session>>;

/// A session's place while its answer is read, so that nobody has several answers of one session wait in memory.
#[derive(Debug)]
pub(crate) struct Held {
    _claim: Claim,
}

#[cfg(test)]
impl Held {
    /// The place of no session, and whether it is held.
    pub(crate) fn nobodys() -> (Self, impl Fn() -> bool) {
        let place = Arc::new(tokio::sync::Mutex::new(None));
        let held = Self { _claim: place.clone().try_lock_owned().expect("nobody else has it") };
        (held, move || place.try_lock().is_err())
    }
}

impl TrainProvider {
    /// The tables of a configuration.
    pub fn new(provider: Arc<Provider>, tables: &[TrainConfig]) -> Self {
        let table = |config: &TrainConfig| {
            let name = config.name.parse().expect("checked when the configuration was read");
            (name, config.clone())
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let tables = Arc::new(tables.iter().map(table).collect());
        Self {
            desk: Desk { provider, tables, threads },
            slots: Mutex::default(),
            computing: Arc::new(Semaphore::new(1)),
            opening: Mutex::default(),
        }
    }

    /// How many sessions have a call under way, and how many are in memory.
    pub fn sessions(&self) -> (usize, usize) {
        let slots = self.slots();
        (slots.values().filter(|slot| slot.is_held()).count(), slots.len())
    }

    /// The tables that are offered.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&DataSet, &TrainConfig)> {
        self.desk.tables.iter()
    }

    /// Who answers.
    pub(crate) const fn provider(&self) -> &Arc<Provider> {
        &self.desk.provider
    }

    /// Takes what all providers announced.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn begin(&self, partner: &Partner, begin: TrainBegin) -> Result<(), Refusal> {
        let claim = self.claim(begin.session, partner)?;
        self.run(claim, partner, move |session, desk| session.begin(desk, &begin.announcements)).await
    }

    /// A step of a session, and what it returns; the session's place is held until that is read.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn step(
        &self,
        partner: &Partner,
        session: SessionId,
        step: Step,
    ) -> Result<(Held, Returned), Refusal> {
        let claim = self.claim(session, partner)?;
        let work = move |session: &mut Session, desk: &Desk| session.step(desk, &step);
        let done = self.run_with(claim, partner, |_| false, work).await;
        done.map(|(claim, returned)| (Held { _claim: claim }, returned))
    }

    /// How many bytes an upload must have, if it is due; the session's place is held until they are here.
    async fn expect(
        &self,
        partner: &Partner,
        session: SessionId,
        upload: Upload,
    ) -> Result<(Claim, usize), Refusal> {
        let claim = self.claim(session, partner)?;
        self.run_with(claim, partner, |_| false, move |session, _| session.expect(upload)).await
    }

    async fn take(
        &self,
        claim: Claim,
        partner: &Partner,
        upload: Upload,
        bytes: Vec<u8>,
    ) -> Result<Hash, Refusal> {
        self.run(claim, partner, move |session, desk| session.take(desk, upload, &bytes)).await
    }

    /// A place for a session that has a folder. A call that finds another one running is refused: the bank sends one
    /// after the other.
    fn claim(&self, session: SessionId, partner: &Partner) -> Result<Claim, Refusal> {
        if !SessionFolder::path_of(self.desk.provider.shared().layout.root(), session).exists() {
            return Err(TrainRefusal::SessionUnknown.into());
        }
        self.claim_new(session, &partner.party)
    }

    /// A place for any session: of those that one peer may have calls in, and an idle one's where there is no other. A
    /// peer that has its share in memory makes room among its own.
    fn claim_new(&self, session: SessionId, peer: &PartyId) -> Result<Claim, Refusal> {
        if self.desk.provider.is_stopping() {
            return Err(Refusal::Stopping);
        }
        let (now_ms, config) = (self.desk.provider.now_ms(), self.desk.provider.config());
        let mut slots = self.slots();
        let theirs = || slots.iter().filter(|(id, slot)| **id != session && slot.is_of(peer));
        if theirs().filter(|(_, slot)| slot.is_held()).count() >= config.train_sessions_per_peer {
            return Err(TrainRefusal::Busy.into());
        }
        if !slots.contains_key(&session) && slots.len() >= config.train_sessions.max(1) {
            let has_share = theirs().count() >= config.train_sessions_per_peer;
            let idle = slots.iter().filter(|(_, slot)| !slot.is_held() && (!has_share || slot.is_of(peer)));
            let oldest = idle.min_by_key(|(_, slot)| slot.used_ms).map(|(id, _)| *id);
            slots.remove(&oldest.ok_or(TrainRefusal::Busy)?);
        }
        let slot = slots.entry(session).or_insert_with(|| Slot::new(now_ms));
        let claim = slot.session.clone().try_lock_owned().map_err(|_| TrainRefusal::Busy)?;
        (slot.whose, slot.used_ms) = (Some(peer.clone()), now_ms);
        Ok(claim)
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<SessionId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run<T: Send + 'static>(
        &self,
        claim: Claim,
        partner: &Partner,
        work: impl FnOnce(&mut Session, &Desk) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run_with(claim, partner, |_| false, work).await.map(|(_, done)| done)
    }

    /// Does a session's work where it may block and compute; a session that is not in memory is read first, and one
    /// that failed is forgotten there. A grant that was ended meanwhile ends its sessions, but for one that `had_all`.
    async fn run_with<T: Send + 'static>(
        &self,
        mut claim: Claim,
        partner: &Partner,
        had_all: impl FnOnce(&SessionState) -> bool + Send + 'static,
        work: impl FnOnce(&mut Session, &Desk) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<(Claim, T), Refusal> {
        let id = self.session_of(&claim);
        let (desk, party) = (self.desk.clone(), partner.party.clone());
        self.compute(move || {
            let may_go_on = |acceptance: &Signed<TrainAcceptance>, state: &SessionState| {
                let request = acceptance.body().request.body();
                if request.charter.requester != party {
                    return Err(TrainRefusal::SessionUnknown.into());
                }
                desk.check_open(state)?;
                if had_all(state) { Ok(()) } else { desk.permit(request, desk.provider.now_ms()).map(drop) }
            };
            match claim.as_ref() {
                Some(session) => may_go_on(session.acceptance(), session.state())?,
                None => *claim = Some(Session::load(&desk, id.ok_or(Refusal::Internal)?, may_go_on)?),
            }
            // It goes back only once its work is done: one that failed, or broke, is read from the disk next time.
            let mut session = claim.take().ok_or(Refusal::Internal)?;
            let done = work(&mut session, &desk);
            *claim = Some(session).filter(|session| !session.has_failed());
            done.map(|done| (claim, done))
        })
        .await
    }

    /// Which session's place is held.
    fn session_of(&self, claim: &Claim) -> Option<SessionId> {
        let mutex = OwnedMutexGuard::mutex(claim);
        self.slots().iter().find(|(_, slot)| Arc::ptr_eq(&slot.session, mutex)).map(|(id, _)| *id)
    }

    /// Works on a thread that may block, after what computes already.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = self.computing.clone().acquire_owned().await.map_err(|_| Refusal::Internal)?;
        let work = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Internal)?
    }
}

impl Desk {
    fn party(&self) -> &PartyId {
        self.provider.party()
    }

    /// The grant of a request, which permits it at this moment.
    fn permit(&self, request: &TrainRequest, at_ms: u64) -> Result<Grant, Refusal> {
        let grant = self.provider.policy().grant(&request.grant).ok_or(Refusal::GrantUnknown)?;
        grant::permit(&grant, request, at_ms)?;
        Ok(grant)
    }

    /// Whether a session may go on.
    fn check_open(&self, state: &SessionState) -> Result<(), TrainRefusal> {
        let keep_ms = self.provider.config().train_keep_ms;
        let begun_at_ms = state.begun_at_ms.unwrap_or(u64::MAX);
        if state.completed_at_ms.is_some() {
            Err(TrainRefusal::Ended)
        } else if state.expired_at_ms.is_some()
            || begun_at_ms.saturating_add(keep_ms) < self.provider.now_ms()
        {
            Err(TrainRefusal::Expired)
        } else {
            Ok(())
        }
    }

    /// A table as it is configured.
    fn table(&self, name: &DataSet) -> Result<Table<'_>, Refusal> {
        let config = self.tables.get(name).ok_or(TrainRefusal::TableUnknown)?;
        Ok(Table { config, keys: &self.provider.shared().keys })
    }
}

/// Says in the node's own log what failed here.
fn internal(error: &NodeError) -> Refusal {
    tracing::error!(code = error.code(), %error, "a training failed here");
    Refusal::Internal
}
