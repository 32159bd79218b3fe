//! The bank's side of a setup: it relays three rounds between providers, checks everything itself, and confirms.
//!
//! **Promised.** The epoch is noted durably before anything is sent; what providers said is kept after each round,
//! so that a bank that was killed goes on with the same epoch where all providers still can, and otherwise says
//! who cannot and begins the next. The evidence appears when every provider has finished.

use serde::Serialize;
use tonic::transport::Channel;
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::group::{Charter, GroupTerms, Identity};
use windvane_protocols::score::shares::{Evidence, PublicSharing};
use windvane_protocols::transcript::{Hash, Record as _};

use super::Stage;
use super::activation::installed::evidence;
use super::folder::{GroupFolder, ScoreFolder};
use super::plan::GroupPlan;
use crate::error::NodeError;
use crate::identity::NodeKeys;

mod ask;
mod failure;

pub use failure::SetupFailure;

use failure::LOST;

/// A round of a setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Round {
    /// Sealing keys.
    Announce,
    /// Commitments and shares.
    Deal,
    /// Confirmations.
    Confirm,
    /// The end.
    Finish,
}

impl Round {
    /// The round's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announce => "announcing",
            Self::Deal => "dealing",
            Self::Confirm => "confirming",
            Self::Finish => "finishing",
        }
    }
}

/// How far a setup is, for whoever watches.
pub trait SetupProgress: Sync {
    /// So many providers of so many have answered a round.
    fn round(&self, epoch: u64, round: Round, done: usize, total: usize);

    /// A provider cannot go on with an epoch; the next one begins.
    fn lost(&self, epoch: u64, provider: &PartyId, code: &str);
}

impl SetupProgress for () {
    fn round(&self, _epoch: u64, _round: Round, _done: usize, _total: usize) {}

    fn lost(&self, _epoch: u64, _provider: &PartyId, _code: &str) {}
}

/// A setup that is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetupReport {
    /// The group.
    pub group: String,
    /// The epoch.
    pub epoch: u64,
    /// ctx, in hex.
    pub context: String,
    /// Digest of all messages, in hex: what people may compare with every provider's.
    pub transcript: String,
    /// The providers, ascending.
    pub providers: Vec<String>,
    /// Answers that a call needs.
    pub threshold: usize,
    /// Epochs that were given up on the way.
    pub lost: Vec<LostEpoch>,
}

/// An epoch that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostEpoch {
    /// The epoch.
    pub epoch: u64,
    /// Who could not go on.
    pub provider: String,
    /// Its code.
    pub code: String,
}

/// A provider, by the key that is pinned for it, and the way there.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) identity: Identity,
    pub(crate) channel: Channel,
}

/// What relays a group's setup. Whoever makes it holds the group's folder.
pub(crate) struct Relay<'a> {
    pub(crate) plan: &'a GroupPlan,
    pub(crate) score: &'a ScoreFolder,
    pub(crate) folder: &'a GroupFolder,
    pub(crate) keys: &'a NodeKeys,
    /// In the plan's order.
    pub(crate) providers: Vec<Reached>,
    /// Makes an event durable.
    pub(crate) record: &'a (dyn Fn(Event) -> Result<(), NodeError> + Sync),
    pub(crate) progress: &'a dyn SetupProgress,
}

impl Relay<'_> {
    /// Goes on with an epoch that is not finished, or sets the wanted or the next one up.
    pub(crate) async fn run(&self, wanted: Option<u64>) -> Result<SetupReport, NodeError> {
        let mut lost = Vec::new();
        if let Some(messages) = self.unfinished(wanted)? {
            let epoch = messages.terms.epoch;
            match self.rounds(messages).await {
                Err(NodeError::ScoreSetup(SetupFailure::Provider { party, error }))
                    if wanted.is_none() && LOST.contains(&error.code.as_str()) =>
                {
                    self.progress.lost(epoch, &party, &error.code);
                    lost.push(LostEpoch { epoch, provider: party.to_string(), code: error.code });
                }
                other => return other,
            }
        }
        let report = self.rounds(self.begin(wanted)?).await?;
        Ok(SetupReport { lost, ..report })
    }

    /// The newest setup that is under way, if it is the wanted one and under the plan's terms.
    fn unfinished(&self, wanted: Option<u64>) -> Result<Option<Evidence>, NodeError> {
        for epoch in self.folder.epochs()?.into_iter().rev() {
            if let Some(messages) = self.folder.epoch(epoch).read_setup()? {
                let same = messages.terms == self.terms(epoch) && wanted.is_none_or(|wanted| wanted == epoch);
                return Ok(same.then_some(messages));
            }
        }
        Ok(None)
    }

    /// Notes the epoch; what was under way before is given up.
    fn begin(&self, wanted: Option<u64>) -> Result<Evidence, NodeError> {
        let mut ledger = self.score.ledger()?;
        let last = ledger.ledger().last_epoch(&self.plan.group).unwrap_or(0);
        let epoch = wanted.unwrap_or(last.saturating_add(1));
        ledger.choose(&self.plan.group, epoch)?;
        for earlier in self.folder.epochs()? {
            let dir = self.folder.epoch(earlier);
            match dir.read_setup()? {
                Some(messages) => self.give_up(&messages.terms)?,
                None if !dir.is_finished() => dir.give_up()?,
                None => {}
            }
        }
        let terms = self.terms(epoch);
        let messages = Evidence { terms, announcements: vec![], dealings: vec![], confirmations: vec![] };
        self.plan.store_for(self.folder, epoch)?;
        self.folder.epoch(epoch).keep_setup(&messages)?;
        self.tell(&messages.terms, "begun", &messages.terms.encode().digest())?;
        Stage::Announce.reached();
        Ok(messages)
    }

    fn terms(&self, epoch: u64) -> GroupTerms {
        let requester = Identity { party: self.keys.party.clone(), key: self.keys.receipt.verifying_key() };
        let providers = self.providers.iter().map(|reached| reached.identity.clone()).collect();
        self.plan.terms(requester, providers, epoch)
    }

    /// Carries an epoch to its end, from where its messages are.
    async fn rounds(&self, messages: Evidence) -> Result<SetupReport, NodeError> {
        let terms = messages.terms.clone();
        let run = self.go_on(messages).await;
        if let Err(NodeError::ScoreSetup(failure)) = &run {
            if let Some(peer) = failure.party() {
                let (peer, code) = (peer.clone(), failure.code().to_owned());
                (self.record)(Event::Failed { session: None, peer, code })?;
            }
            if failure.is_final() {
                self.give_up(&terms)?;
            }
        }
        run
    }

    async fn go_on(&self, mut messages: Evidence) -> Result<SetupReport, NodeError> {
        let charter =
            Charter::accept(messages.terms.clone(), &self.plan.pins()).map_err(SetupFailure::from)?;
        if messages.announcements.is_empty() {
            messages.announcements = self.announcements(&charter).await?;
            self.keep(&messages)?;
        }
        Stage::Begun.reached();
        if messages.dealings.is_empty() {
            messages.dealings = self.dealings(&charter, &messages.announcements).await?;
            self.keep(&messages)?;
        }
        Stage::Dealt.reached();
        let sharing = PublicSharing::check(charter.clone(), &messages.announcements, &messages.dealings);
        let sharing = sharing.map_err(SetupFailure::from)?;
        if messages.confirmations.is_empty() {
            self.tell(&messages.terms, "confirmed", sharing.transcript())?;
            messages.confirmations = self.confirmations(&charter, &messages.dealings).await?;
            messages.confirmations.push(sharing.confirm(self.keys.party.clone(), self.keys.signing_key()));
            self.keep(&messages)?;
        }
        Stage::Confirmed.reached();
        let transcript = *sharing.transcript();
        let epoch = sharing.agree(&messages.confirmations).map_err(SetupFailure::from)?;
        Stage::Agreed.reached();
        self.finish(&charter, &messages.confirmations).await?;
        self.conclude(&epoch, &transcript)
    }

    /// Keeps the evidence of an epoch that everybody has finished.
    fn conclude(&self, epoch: &Epoch, transcript: &Hash) -> Result<SetupReport, NodeError> {
        let terms = epoch.charter().terms();
        self.folder.epoch(terms.epoch).keep_evidence(epoch.evidence())?;
        self.settle(epoch)?;
        Stage::Finished.reached();
        Ok(SetupReport {
            group: terms.group.to_string(),
            epoch: epoch.number(),
            context: hex::encode(epoch.context()),
            transcript: hex::encode(transcript),
            providers: terms.providers.iter().map(|provider| provider.party.to_string()).collect(),
            threshold: epoch.charter().threshold(),
            lost: Vec::new(),
        })
    }

    /// Tells of an epoch whose evidence is kept.
    fn settle(&self, epoch: &Epoch) -> Result<(), NodeError> {
        let terms = epoch.charter().terms();
        self.tell(terms, "finished", epoch.context())?;
        // Last: as long as it is there, the entry above may be missing.
        Ok(self.folder.epoch(terms.epoch).remove_setup()?)
    }

    fn keep(&self, messages: &Evidence) -> Result<(), NodeError> {
        Ok(self.folder.epoch(messages.terms.epoch).keep_setup(messages)?)
    }

    /// Notes that an epoch will not be finished; one whose evidence is kept is.
    fn give_up(&self, terms: &GroupTerms) -> Result<(), NodeError> {
        if self.folder.epoch(terms.epoch).is_finished() {
            return self.settle(&evidence(self.folder, terms.epoch)?);
        }
        self.tell(terms, "failed", &terms.encode().digest())?;
        Ok(self.folder.epoch(terms.epoch).give_up()?)
    }

    fn tell(&self, terms: &GroupTerms, state: &str, digest: &Hash) -> Result<(), NodeError> {
        let (group, state) = (terms.group.clone(), state.to_owned());
        (self.record)(Event::ScoreEpoch { group, epoch: terms.epoch, state, digest: *digest })
    }
}
