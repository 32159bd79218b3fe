//! Sessions that are too old are given up while the node runs; see `train/lapse.rs`.

use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::SessionId;
use windvane_protocols::train::record::TrainReceipt;
use windvane_protocols::transcript::Signed;

use super::{Claim, Desk, Slot, TrainProvider, internal};
use crate::error::{NodeError, Refusal};
use crate::train::folder::Due;
use crate::train::lapse::{End, Giving};

impl TrainProvider {
    /// Gives up the sessions that are too old, and finishes what a kill left half-way; each is in the log then. What fails
    /// is told in the node's own log, and tried again the next time.
    pub async fn lapse(&self) {
        let desk = self.desk.clone();
        let before_ms = desk.provider.now_ms().saturating_sub(desk.provider.config().train_keep_ms);
        let due = on_disk(move || desk.giving().due(before_ms)).await;
        let Due { sessions, damaged } = due.unwrap_or_default();
        for (session, error) in damaged {
            tracing::error!(code = error.code(), %session, %error, "a training's folder cannot be read");
        }
        for session in sessions {
            let Some(mut claim) = self.claim_idle(session) else { continue };
            // What is in memory holds the folder.
            drop(claim.take());
            // What failed was told, and is due again.
            _ = self.give_up(session).await;
            self.release(session, claim);
        }
    }

    /// Gives a session up whose place is held, or finds it through.
    async fn give_up(&self, session: SessionId) -> Result<(), Refusal> {
        let (desk, provider) = (self.desk.clone(), &self.desk.provider);
        let given = on_disk(move || desk.giving().give_up(session, |receipt| Ok(desk.is_logged(receipt))));
        let Some(given) = given.await? else { return Ok(()) };
        match given.end() {
            End::Lapsed(lapse) => {
                provider.log(Event::TrainLapsed(lapse.clone())).await?;
                provider.shared().observer.metrics.job_ended("train", false);
                tracing::warn!(code = "TRAIN_EXPIRED", %session, "a training was given up");
            }
            End::Through(finished) => self.log_finished(finished).await?,
        }
        let now_ms = provider.now_ms();
        on_disk(move || given.logged(now_ms)).await
    }

    /// A session's place, unless a call has it. No other session makes room.
    fn claim_idle(&self, session: SessionId) -> Option<Claim> {
        let now_ms = self.desk.provider.now_ms();
        let mut slots = self.slots();
        let slot = slots.entry(session).or_insert_with(|| Slot::new(now_ms));
        slot.session.clone().try_lock_owned().ok()
    }

    /// Has nobody wait for a place that is gone: it is taken off the list before it is free.
    fn release(&self, session: SessionId, claim: Claim) {
        self.slots().remove(&session);
        drop(claim);
    }
}

impl Desk {
    fn giving(&self) -> Giving<'_> {
        let shared = self.provider.shared();
        Giving {
            layout: &shared.layout,
            keys: &shared.keys,
            software: shared.software,
            configuration: shared.configuration,
            now_ms: self.provider.now_ms(),
        }
    }

    /// Whether a receipt that its bank never got is in the log: it waits to be countersigned then.
    fn is_logged(&self, receipt: &Signed<TrainReceipt>) -> bool {
        self.provider.waits_for(&receipt.digest(), &receipt.body().request().charter.requester)
    }
}

/// Works on a thread that may block, beside what computes.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Internal)?;
    done.map_err(|error| internal(&error))
}
