//! Work of a command with other nodes, for as long as these are accepted here.
//!
//! A command reads certificate, trust and partners once, and may then run for hours. What other commands change meanwhile
//! ends it, as it ends the connections of a node.

use std::sync::Arc;
use std::time::Duration;

use windvane_keys::enrolment::{Enrolment, Partner};

use crate::clock::Clock;
use crate::error::NodeError;
use crate::identity::{Certificate, Layout, NodeKeys};
use crate::store::Store;

/// How often it is looked whether everybody is still accepted. A revoked peer is gone within five seconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells who is accepted.
pub(crate) struct Accepted<'a> {
    certificate: &'a Certificate,
    layout: &'a Layout,
    keys: &'a NodeKeys,
    store: &'a Store,
    clock: &'a dyn Clock,
}

impl<'a> Accepted<'a> {
    /// What a command has read so far, and where it looks again.
    pub(crate) const fn new(
        certificate: &'a Certificate,
        layout: &'a Layout,
        keys: &'a NodeKeys,
        store: &'a Store,
        clock: &'a dyn Clock,
    ) -> Self {
        Self { certificate, layout, keys, store, clock }
    }

    /// Does work that may be given up at any time, until a partner is accepted no longer.
    ///
    /// # Errors
    /// Those of the work; [`NodeError`] with `PARTNER_ENDED`.
    pub(crate) async fn during<T, E: From<NodeError>>(
        &self,
        partners: &[Arc<Partner>],
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            done = work => done,
            ended = self.until_ended(partners) => Err(ended.into()),
        }
    }

    async fn until_ended(&self, partners: &[Arc<Partner>]) -> NodeError {
        let mut certificate = self.certificate.clone();
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.ended(&mut certificate, partners) {
                Ok(None) => {}
                Ok(Some(partner)) => {
                    let message = format!(
                        "{} is not accepted here any more: it was ended, or its certificate was revoked or has run out; \
                         import its next enrolment, then run this again",
                        partner.party
                    );
                    return NodeError::Given { code: "PARTNER_ENDED", message };
                }
                // Whoever changes the files is perhaps not through; the next look tells.
                Err(error) => tracing::warn!(code = error.code(), %error, "partners could not be read again"),
            }
        }
    }

    /// A partner that no enrolment speaks for.
    fn ended<'p>(
        &self,
        certificate: &mut Certificate,
        partners: &'p [Arc<Partner>],
    ) -> Result<Option<&'p Partner>, NodeError> {
        if let Some(renewed) = certificate.renewed(self.layout, self.keys, self.store)? {
            *certificate = renewed;
        }
        let now_ms = self.clock.now_ms();
        let enrolments = self.store.partners()?.into_iter().chain(self.store.partners_before()?);
        let held = |pem: String| certificate.trust.partner(&Enrolment::from_pem(&pem).ok()?, now_ms).ok();
        let held: Vec<_> =
            enrolments.filter_map(held).map(|partner| (partner.party, partner.keys_digest)).collect();
        let ended = |partner: &&Arc<Partner>| !held.contains(&(partner.party.clone(), partner.keys_digest));
        Ok(partners.iter().find(ended).map(AsRef::as_ref))
    }
}
