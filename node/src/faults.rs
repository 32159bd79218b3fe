//! Deliberate bugs of a provider's node or of its operator's commands, which simulations must find. Never in a release.

use std::sync::Arc;
use std::time::Duration;

use windvane_protocols::audit::entry::{Entry, Event};
use windvane_protocols::lookup::client::Answer;
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::transcript::Record as _;

use crate::provider::Provider;
use crate::store::{KnownIds, StoreError};

/// The reply is on its way by then.
const AFTER_THE_REPLY: Duration = Duration::from_millis(1);

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Bug {
    /// A question's elements are counted after the reply.
    QuotaAfterReply,
    /// An answer's entry is written to the log after the reply.
    LogAfterReply,
    /// A delta is published under an id that an earlier epoch's publication has.
    PublicationIdReused,
    /// A task of the node panics after the reply.
    PanicAfterReply,
}

/// The publication ids of a provider that draws one of them again.
#[derive(Debug)]
pub(crate) struct Repeating(pub(crate) PublicationId);

impl KnownIds for Repeating {
    fn is_known(&self, _: &PublicationId) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn repeated(&self) -> Option<PublicationId> {
        Some(self.0)
    }
}

/// Does what should have been done before the reply.
pub(crate) fn after_the_reply(provider: Arc<Provider>, answer: &Answer) {
    let Some(bug) = provider.shared().bug else { return };
    let receipt = answer.receipt.clone();
    tokio::spawn(async move {
        tokio::time::sleep(AFTER_THE_REPLY).await;
        let body = receipt.body();
        match bug {
            Bug::QuotaAfterReply => {
                provider.policy().recount(body.request.body(), body.scored, body.received_at_ms);
            }
            Bug::PublicationIdReused => {}
            Bug::PanicAfterReply => panic!("a deliberate bug"),
            Bug::LogAfterReply => {
                let entry = Entry::new(body.answered_at_ms, Event::Answered(Box::new(receipt.clone())));
                let requester = body.request.body().requester.clone();
                // Nobody is left to be told.
                let _ = provider.logged(receipt.digest(), entry.encode().into_bytes(), requester).await;
            }
        }
    });
}
