//! Work of a command with other nodes, for as long as these are accepted here.
//!
//! A set intersection or training reads certificate, trust, partners and what is switched off once, and may then run for
//! hours. What other commands change meanwhile ends it, as it ends the connections and the work of a node. Downloads and
//! set-ups are held against it as they begin.

use std::sync::Arc;
use std::time::Duration;

use windvane_keys::enrolment::{Enrolment, Partner};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::NodeError;
use crate::functions::{Function, Functions};
use crate::identity::{Certificate, Layout, NodeKeys};
use crate::store::Store;

/// How often it is looked whether everybody is still accepted. A revoked peer is gone within five seconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells who is accepted: what a command has read so far, and where it looks again.
pub(crate) struct Accepted<'a> {
    pub(crate) config: &'a Config,
    pub(crate) certificate: &'a Certificate,
    pub(crate) layout: &'a Layout,
    pub(crate) keys: &'a NodeKeys,
    pub(crate) store: &'a Store,
    pub(crate) clock: &'a dyn Clock,
    /// What the work is part of.
    pub(crate) function: Function,
}

impl Accepted<'_> {
    /// Does work that may be given up at any time, until a partner is accepted no longer.
    ///
    /// # Errors
    /// Those of the work; [`NodeError`] with `PARTNER_ENDED`, `PARTNER_SUSPENDED`, or the code of a function that is off.
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
                Ok(Some(ended)) => return ended,
                // Whoever changes the files is perhaps not through; the next look tells.
                Err(error) => tracing::warn!(code = error.code(), %error, "partners could not be read again"),
            }
        }
    }

    /// Why the work is over: a switch, or a partner that no enrolment speaks for.
    fn ended(
        &self,
        certificate: &mut Certificate,
        partners: &[Arc<Partner>],
    ) -> Result<Option<NodeError>, NodeError> {
        let functions = Functions::open(self.config.functions.clone(), self.store)?;
        let mut asked = partners.iter().map(|partner| functions.check_asking(self.function, &partner.party));
        if let Some(off) = asked.find_map(Result::err) {
            return Ok(Some(off));
        }
        if let Some(renewed) = certificate.renewed(self.layout, self.keys, self.store)? {
            *certificate = renewed;
        }
        let now_ms = self.clock.now_ms();
        let enrolments = self.store.partners()?.into_iter().chain(self.store.partners_before()?);
        let held = |pem: String| certificate.trust.partner(&Enrolment::from_pem(&pem).ok()?, now_ms).ok();
        let held: Vec<_> =
            enrolments.filter_map(held).map(|partner| (partner.party, partner.keys_digest)).collect();
        let ended = |partner: &&Arc<Partner>| !held.contains(&(partner.party.clone(), partner.keys_digest));
        Ok(partners.iter().find(ended).map(|partner| {
            let message = format!(
                "{} is not accepted here any more: it was ended, or its certificate was revoked or has run out; import \
                 its next enrolment, then run this again",
                partner.party
            );
            NodeError::Given { code: "PARTNER_ENDED", message }
        }))
    }
}
