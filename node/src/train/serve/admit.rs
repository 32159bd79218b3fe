//! Which trainings a provider takes part in, and how often a session is opened.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use windvane_keys::enrolment::Partner;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::limits::MAX_TRAIN_ATTEMPTS;
use windvane_protocols::party::PartyId;
use windvane_protocols::train::elgamal::PublicKey;
use windvane_protocols::train::mask::MaskingKey;
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainRequest};
use windvane_protocols::transcript::Signed;

use super::finish::check_name;
use super::session::Session;
use super::table::unusable;
use super::{Desk, TrainProvider, internal};
use crate::error::Refusal;
use crate::train::folder::{Document, Fact, Secret, SessionFolder, SessionState};
use crate::train::{Stage, TrainRefusal, grant};

/// A bank's place to open a session, until this is dropped.
struct Opening {
    provider: Arc<TrainProvider>,
    bank: PartyId,
}

impl Opening {
    /// # Errors
    /// [`TrainRefusal::Busy`] while a session of the bank is being opened.
    fn begin(provider: &Arc<TrainProvider>, bank: &PartyId) -> Result<Self, TrainRefusal> {
        let is_first = provider.opening().insert(bank.clone());
        is_first.then(|| Self { provider: provider.clone(), bank: bank.clone() }).ok_or(TrainRefusal::Busy)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.provider.opening().remove(&self.bank);
    }
}

/// A session that is new, or whose acceptance may not be in the log.
struct Accepted {
    session: Session,
    /// Whether it was opened before, so that its acceptance is surely in the log.
    known: bool,
}

impl TrainProvider {
    /// Holds a request against its grant; gives the acceptance, which is logged and kept by then. The same request gets
    /// the same acceptance.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn open(
        self: &Arc<Self>,
        partner: &Partner,
        request: Signed<TrainRequest>,
    ) -> Result<Signed<TrainAcceptance>, Refusal> {
        let body = request.body();
        if body.charter.requester != partner.party || body.provider != *self.desk.party() {
            return Err(Refusal::Parties);
        }
        if !request.verify(&partner.receipt_key) {
            return Err(TrainRefusal::Signature.into());
        }
        Stage::Opened.reached();
        let arrived_at_ms = self.desk.provider.now_ms();
        self.desk.permit(body, arrived_at_ms)?;
        let opening = Opening::begin(self, &partner.party)?;
        let opened = tokio::spawn(async move {
            let admitted = opening.provider.admit(request, arrived_at_ms).await;
            drop(opening);
            admitted
        });
        opened.await.map_err(|_| Refusal::Internal)?
    }

    async fn admit(
        &self,
        request: Signed<TrainRequest>,
        arrived_at_ms: u64,
    ) -> Result<Signed<TrainAcceptance>, Refusal> {
        let (desk, asked) = (self.desk.clone(), request.clone());
        // Counted before anything is read or kept and before another session makes room, so that a refused request
        // costs nobody anything.
        self.count(request.body())?;
        let mut claim = self.claim_new(request.body().session, &request.body().charter.requester)?;
        if let Some(session) = claim.as_ref() {
            desk.may_open(&request, session.acceptance(), session.state())?;
        }
        let in_memory = claim.take();
        let accepted = self.compute(move || desk.accept(in_memory, &asked, arrived_at_ms)).await?;
        let Accepted { mut session, known } = accepted;
        let (provider, body) = (&self.desk.provider, request.body());
        let acceptance = session.acceptance().clone();
        if !known {
            provider.log(Event::TrainAccepted(Box::new(acceptance.clone()))).await?;
        }
        Stage::Accepted.reached();
        let (number, at_ms) = (session.state().opened + 1, provider.now_ms());
        session.folder().note(&Fact::opened(number, at_ms)).map_err(|error| internal(&error))?;
        let (peer, id) = (body.charter.requester.clone(), body.session);
        provider.log(Event::TrainAttempted { session: id, peer, number }).await?;
        tracing::info!(code = "TRAIN_OPENED", session = %id, number, "a training's session was opened");
        *claim = Some(session);
        Ok(acceptance)
    }

    fn opening(&self) -> MutexGuard<'_, BTreeSet<PartyId>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, request: &TrainRequest) -> Result<(), Refusal> {
        let grant = self.desk.provider.policy().grant(&request.grant).ok_or(Refusal::GrantUnknown)?;
        let runs = self.desk.provider.shared().store.train_runs(request.grant.as_bytes());
        let runs = runs.map_err(|error| internal(&error.into()))?;
        Ok(grant::count(&grant, request, &runs)?)
    }
}

impl Desk {
    /// The session of a request: the one that is known, or a new one.
    fn accept(
        &self,
        in_memory: Option<Session>,
        request: &Signed<TrainRequest>,
        arrived_at_ms: u64,
    ) -> Result<Accepted, Refusal> {
        let (root, id) = (self.provider.shared().layout.root(), request.body().session);
        let session = match in_memory {
            Some(session) => Some(session),
            None if SessionFolder::path_of(root, id).exists() => {
                let may_open = |known: &_, state: &_| self.may_open(request, known, state);
                match Session::load(self, id, may_open) {
                    Ok(session) => Some(session),
                    // It died before there was an acceptance.
                    Err(Refusal::Train(TrainRefusal::SessionUnknown)) => None,
                    Err(error) => return Err(error),
                }
            }
            None => None,
        };
        let Some(session) = session else {
            return Ok(Accepted { session: self.accept_new(request, arrived_at_ms)?, known: false });
        };
        let known = session.state().opened > 0;
        Ok(Accepted { session, known })
    }

    /// Whether a session that was accepted may be opened once more with a request.
    fn may_open(
        &self,
        request: &Signed<TrainRequest>,
        known: &Signed<TrainAcceptance>,
        state: &SessionState,
    ) -> Result<(), Refusal> {
        if known.body().request != *request {
            return Err(TrainRefusal::SessionDiffers.into());
        }
        self.check_open(state)?;
        if state.opened >= MAX_TRAIN_ATTEMPTS {
            return Err(TrainRefusal::Attempts.into());
        }
        Ok(())
    }

    /// Whether a session that has no acceptance here was not counted either: it would not be counted again, and what was
    /// answered in it, before a restore, cannot be known. A kill between the two leaves its folder, and it goes on under
    /// the grant that it was counted under.
    fn check_unused(&self, request: &TrainRequest) -> Result<(), Refusal> {
        let shared = self.provider.shared();
        let counted = shared.store.train_run(request.session.as_bytes());
        let counted = counted.map_err(|error| internal(&error.into()))?;
        let has_folder = SessionFolder::path_of(shared.layout.root(), request.session).exists();
        match counted {
            Some(grant) if !has_folder || grant != *request.grant.as_bytes() => {
                Err(TrainRefusal::SessionDiffers.into())
            }
            _ => Ok(()),
        }
    }

    fn accept_new(&self, request: &Signed<TrainRequest>, arrived_at_ms: u64) -> Result<Session, Refusal> {
        let (shared, body, charter) = (self.provider.shared(), request.body(), &request.body().charter);
        let off_ms = arrived_at_ms.abs_diff(body.requested_at_ms);
        if off_ms > self.provider.config().clock_tolerance_ms {
            return Err(TrainRefusal::Clock { off_ms }.into());
        }
        self.check_unused(body)?;
        let table = self.table(&body.data_set)?;
        check_name(self, &table.group(), &charter.model)?;
        charter.hold_against(&table.pins()).map_err(TrainRefusal::from)?;
        PublicKey::from_bytes(charter.public_key).map_err(|_| TrainRefusal::PublicKey)?;
        let (_, unit) = charter.unit_of(&body.provider).ok_or(Refusal::Parties)?;
        let alone = unit.members.len() == 1;
        if !alone && table.config.schema.is_none() {
            return Err(TrainRefusal::SchemaMissing.into());
        }
        // A charter may name any list of segments: the table is read for none but the provider's own.
        let universe = table.universe().map_err(|error| unusable(&error))?;
        if *universe.digest() != charter.universe {
            return Err(TrainRefusal::Universe.into());
        }
        let contents = table.contents(universe, alone).map_err(|error| unusable(&error))?;
        // Others were computed for first, and the table may be large: the grant is asked about the moment that the
        // acceptance names.
        let accepted_at_ms = self.provider.now_ms();
        let named = self.permit(body, accepted_at_ms)?.train.named_features;
        // Not a generator that lives longer: the node's is of this thread.
        let mask = MaskingKey::random(&mut rand::rng());
        let announcement = TrainAnnouncement {
            charter: charter.digest(),
            party: body.provider.clone(),
            schema: contents.schema_digest(),
            mask_key: *mask.public(),
        };
        let key = shared.keys.signing_key();
        let features = &contents.features;
        let names = features.names().filter(|_| named).map(str::to_owned).collect();
        let acceptance = TrainAcceptance {
            request: request.clone(),
            announcement: Signed::sign(announcement, key),
            bins: features.bins().to_vec(),
            names,
            input: table.commitment(&body.grant, features),
            accepted_at_ms,
        };
        let acceptance = Signed::sign(acceptance, key);
        let keep = || {
            let folder = SessionFolder::open(shared.layout.root(), body.session)?;
            // The secret first: an acceptance without it could never go on.
            folder.seal(Secret::Mask, mask.expose().as_slice(), &shared.keys.storage)?;
            // Counted before it is kept: what is kept is logged at some time, if only as a lapse. And before it is logged,
            // since the log is read from where the counters were kept, which may be later.
            self.provider.put_train_run(body)?;
            folder.keep(Document::Acceptance, &acceptance)?;
            Ok(folder)
        };
        let folder = keep().map_err(|error| internal(&error))?;
        Ok(Session::new(folder, acceptance, contents, mask, self.threads))
    }
}
