//! Which trainings a provider takes part in, and how often a session is opened.

use std::sync::Arc;

use windvane_keys::enrolment::Partner;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::Grant;
use windvane_protocols::limits::MAX_TRAIN_ATTEMPTS;
use windvane_protocols::train::elgamal::PublicKey;
use windvane_protocols::train::mask::MaskingKey;
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainRequest};
use windvane_protocols::transcript::Signed;

use super::finish::check_name;
use super::session::Session;
use super::table::unusable;
use super::{Desk, TrainProvider, internal};
use crate::error::Refusal;
use crate::train::folder::{Document, Fact, Secret, SessionFolder};
use crate::train::{Stage, TrainRefusal, grant};

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
        let grant = self.desk.provider.policy().grant(&body.grant).ok_or(Refusal::GrantUnknown)?;
        grant::permit(&grant, body, self.desk.provider.now_ms())?;
        let this = self.clone();
        let opened = tokio::spawn(async move { this.admit(request, grant).await });
        opened.await.map_err(|_| Refusal::Internal)?
    }

    async fn admit(
        &self,
        request: Signed<TrainRequest>,
        grant: Grant,
    ) -> Result<Signed<TrainAcceptance>, Refusal> {
        let (desk, asked, named) = (self.desk.clone(), request.clone(), grant.train.named_features);
        // Counted before anything is read or kept and before another session makes room, so that a refused request
        // costs nobody anything.
        let _one = self.counting.lock().await;
        self.count(&grant, request.body())?;
        let mut claim = self.claim_new(request.body().session)?;
        let in_memory = claim.take();
        let accepted = self.compute(move || desk.accept(in_memory, &asked, named)).await?;
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

    fn count(&self, grant: &Grant, request: &TrainRequest) -> Result<(), Refusal> {
        let runs = self.desk.provider.shared().store.train_runs(request.grant.as_bytes());
        let runs = runs.map_err(|error| internal(&error.into()))?;
        Ok(grant::count(grant, request, &runs)?)
    }
}

impl Desk {
    /// The session of a request: the one that is known, or a new one.
    fn accept(
        &self,
        in_memory: Option<Session>,
        request: &Signed<TrainRequest>,
        named: bool,
    ) -> Result<Accepted, Refusal> {
        let root = self.provider.shared().layout.root();
        let session = match in_memory {
            Some(session) => Some(session),
            None if SessionFolder::path_of(root, request.body().session).exists() => {
                match Session::load(self, request.body().session) {
                    Ok(session) => Some(session),
                    // It died before there was an acceptance.
                    Err(Refusal::Train(TrainRefusal::SessionUnknown)) => None,
                    Err(error) => return Err(error),
                }
            }
            None => None,
        };
        let Some(session) = session else {
            return Ok(Accepted { session: self.accept_new(request, named)?, known: false });
        };
        if session.acceptance().body().request != *request {
            return Err(TrainRefusal::SessionDiffers.into());
        }
        self.check_open(session.state())?;
        if session.state().opened >= MAX_TRAIN_ATTEMPTS {
            return Err(TrainRefusal::Attempts.into());
        }
        let known = session.state().opened > 0;
        Ok(Accepted { session, known })
    }

    fn accept_new(&self, request: &Signed<TrainRequest>, named: bool) -> Result<Session, Refusal> {
        let (shared, now_ms) = (self.provider.shared(), self.provider.now_ms());
        let (body, charter) = (request.body(), &request.body().charter);
        let off_ms = now_ms.abs_diff(body.requested_at_ms);
        if off_ms > self.provider.config().clock_tolerance_ms {
            return Err(TrainRefusal::Clock { off_ms }.into());
        }
        let table = self.table(&body.data_set)?;
        check_name(self, &table.group(), &charter.model)?;
        charter.hold_against(&table.pins()).map_err(TrainRefusal::from)?;
        PublicKey::from_bytes(charter.public_key).map_err(|_| TrainRefusal::PublicKey)?;
        let (_, unit) = charter.unit_of(&body.provider).ok_or(Refusal::Parties)?;
        let alone = unit.members.len() == 1;
        if !alone && table.config.schema.is_none() {
            return Err(TrainRefusal::SchemaMissing.into());
        }
        let contents = table.read(alone).map_err(|error| unusable(&error))?;
        if *contents.universe.digest() != charter.universe {
            return Err(TrainRefusal::Universe.into());
        }
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
            accepted_at_ms: now_ms,
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
