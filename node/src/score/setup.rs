//! The bank's side of a setup: it relays three rounds between providers, checks everything itself, and confirms.
//!
//! **Promised.** The epoch is noted durably before anything is sent; what providers said is kept after each round,
//! so that a bank that was killed goes on with the same epoch where all providers still can, and otherwise says
//! who cannot and begins the next. The evidence appears when every provider has finished.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;
use windvane_proto::convert::{ScoreRound, WireError};
use windvane_proto::score::v1::score_client::ScoreClient;
use windvane_proto::score::v1::{AnnounceRequest, ConfirmRequest, DealRequest, FinishRequest};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::group::{Charter, Fingerprint, GroupError, GroupTerms, Identity};
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing, FromParty};
use windvane_protocols::score::shares::{Evidence, PublicSharing, SetupError};
use windvane_protocols::transcript::{Hash, Record, Signed};

use super::Stage;
use super::folder::{GroupFolder, ScoreFolder};
use super::plan::GroupPlan;
use crate::error::{NodeError, PeerError};
use crate::identity::NodeKeys;

/// A provider answers a round within milliseconds; this long it may take on a busy machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a provider says that cannot go on with an epoch, whatever happens.
const LOST: [&str; 3] = ["SCORE_SETUP_UNKNOWN", "SCORE_EPOCH_USED", "SCORE_ROUND_REPEATED"];

/// What a provider says when somebody's message is wrong.
const INVALID: &str = "SCORE_SETUP_INVALID";

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

/// Why a setup does not begin, or does not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupFailure {
    /// This node is not the group's bank, or none of its providers.
    #[error("this node, {party} with the fingerprint {found}, is not {role} of the group")]
    NotMember {
        /// The node.
        party: PartyId,
        /// Fingerprint of its key.
        found: Fingerprint,
        /// What it would be.
        role: &'static str,
    },
    /// The configuration has no address of a provider.
    #[error(
        "the configuration has no address of {party}; add a [[provider]] section with party = \"{party}\""
    )]
    NoAddress {
        /// The provider.
        party: PartyId,
    },
    /// A partner is enrolled with another key than the pinned one.
    #[error(
        "{party} is enrolled here with a key of the fingerprint {found}, and {pinned} is pinned in the group file; \
         compare it with what `score identity` says at {party}"
    )]
    Fingerprint {
        /// The partner.
        party: PartyId,
        /// Fingerprint of its enrolled key.
        found: Fingerprint,
        /// The pinned one.
        pinned: Fingerprint,
    },
    /// A provider refused, or cannot be reached.
    #[error("{party}: {}", .error.message)]
    Provider {
        /// The provider.
        party: PartyId,
        /// What it said.
        error: PeerError,
    },
    /// The terms do not hold.
    #[error(transparent)]
    Terms(#[from] GroupError),
    /// A party's message is wrong.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl SetupFailure {
    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::NotMember { .. } => "SCORE_NOT_MEMBER",
            Self::NoAddress { .. } => "PROVIDER_UNKNOWN",
            Self::Fingerprint { .. } => "SCORE_FINGERPRINT",
            Self::Provider { error, .. } => &error.code,
            Self::Terms(_) => "SCORE_TERMS_INVALID",
            Self::Setup(_) => INVALID,
        }
    }

    /// Whether the epoch cannot be finished any more.
    fn is_final(&self) -> bool {
        match self {
            Self::Provider { error, .. } => error.code == INVALID || LOST.contains(&error.code.as_str()),
            Self::Terms(_) | Self::Setup(_) => true,
            _ => false,
        }
    }

    /// Whose fault it is, where it is somebody's.
    fn party(&self) -> Option<&PartyId> {
        match self {
            Self::Provider { party, .. } => Some(party),
            Self::Setup(error) => accused(error),
            _ => None,
        }
    }
}

const fn accused(error: &SetupError) -> Option<&PartyId> {
    match error {
        SetupError::NotMember { party }
        | SetupError::Messages { party, .. }
        | SetupError::Stranger { party }
        | SetupError::Signature { party }
        | SetupError::Disagreement { party }
        | SetupError::Form { party }
        | SetupError::Possession { party }
        | SetupError::WrongShare { party } => Some(party),
        _ => None,
    }
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
        ledger.begin(&self.plan.group, epoch)?;
        for earlier in self.folder.epochs()? {
            if let Some(messages) = self.folder.epoch(earlier).read_setup()? {
                self.give_up(&messages.terms)?;
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
        let (dir, terms) = (self.folder.epoch(epoch.number()), epoch.charter().terms());
        dir.keep_evidence(epoch.evidence())?;
        self.tell(terms, "finished", epoch.context())?;
        // Last: as long as it is there, the entry above may be missing.
        dir.remove_setup()?;
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

    async fn announcements(&self, charter: &Charter) -> Result<Vec<Signed<Announcement>>, NodeError> {
        let request = AnnounceRequest::from(charter.terms());
        let messages = self.ask(charter, Round::Announce, |mut client| {
            let request = request.clone();
            async move { Ok(Signed::<Announcement>::try_from(client.announce(request).await?.into_inner())?) }
        });
        authored(charter, messages.await?)
    }

    async fn dealings(
        &self,
        charter: &Charter,
        announcements: &[Signed<Announcement>],
    ) -> Result<Vec<Signed<Dealing>>, NodeError> {
        let request = DealRequest::from(&round(charter, announcements));
        let messages = self.ask(charter, Round::Deal, |mut client| {
            let request = request.clone();
            async move { Ok(Signed::<Dealing>::try_from(client.deal(request).await?.into_inner())?) }
        });
        authored(charter, messages.await?)
    }

    async fn confirmations(
        &self,
        charter: &Charter,
        dealings: &[Signed<Dealing>],
    ) -> Result<Vec<Signed<Confirmation>>, NodeError> {
        let request = ConfirmRequest::from(&round(charter, dealings));
        let messages = self.ask(charter, Round::Confirm, |mut client| {
            let request = request.clone();
            async move { Ok(Signed::<Confirmation>::try_from(client.confirm(request).await?.into_inner())?) }
        });
        authored(charter, messages.await?)
    }

    async fn finish(
        &self,
        charter: &Charter,
        confirmations: &[Signed<Confirmation>],
    ) -> Result<(), NodeError> {
        let request = FinishRequest::from(&round(charter, confirmations));
        let finished = self.ask(charter, Round::Finish, |mut client| {
            let request = request.clone();
            async move {
                client.finish(request).await?;
                Ok(())
            }
        });
        finished.await.map(drop)
    }

    /// Asks all providers at once; gives their answers in the providers' order. Everybody has answered, or had its
    /// time, when the first error by that order is given.
    async fn ask<T, F>(
        &self,
        charter: &Charter,
        round: Round,
        call: impl Fn(ScoreClient<Channel>) -> F,
    ) -> Result<Vec<T>, NodeError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CallError>> + Send + 'static,
    {
        let (epoch, total) = (charter.terms().epoch, self.providers.len());
        self.progress.round(epoch, round, 0, total);
        let mut calls = JoinSet::new();
        for (index, reached) in self.providers.iter().enumerate() {
            let answer = call(ScoreClient::new(reached.channel.clone()));
            calls.spawn(async move { (index, tokio::time::timeout(CALL_TIMEOUT, answer).await) });
        }
        let mut answers: Vec<Option<Result<T, PeerError>>> = (0..total).map(|_| None).collect();
        let mut done = 0;
        while let Some(ended) = calls.join_next().await {
            let stopped = |_| NodeError::Given { code: "INTERNAL", message: "a worker stopped".into() };
            let (index, answer) = ended.map_err(stopped)?;
            let answer =
                answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time").into()));
            answers[index] = Some(answer.map_err(PeerError::from));
            done += 1;
            self.progress.round(epoch, round, done, total);
        }
        let named = |(reached, answer): (&Reached, Option<Result<T, PeerError>>)| {
            let party = reached.identity.party.clone();
            let answer = answer.expect("every call has ended");
            answer.map_err(|error| SetupFailure::Provider { party, error }.into())
        };
        self.providers.iter().zip(answers).map(named).collect()
    }

    fn keep(&self, messages: &Evidence) -> Result<(), NodeError> {
        Ok(self.folder.epoch(messages.terms.epoch).keep_setup(messages)?)
    }

    /// Notes that an epoch will not be finished.
    fn give_up(&self, terms: &GroupTerms) -> Result<(), NodeError> {
        self.tell(terms, "failed", &terms.encode().digest())?;
        Ok(self.folder.epoch(terms.epoch).remove_setup()?)
    }

    fn tell(&self, terms: &GroupTerms, state: &str, digest: &Hash) -> Result<(), NodeError> {
        let (group, state) = (terms.group.clone(), state.to_owned());
        (self.record)(Event::ScoreEpoch { group, epoch: terms.epoch, state, digest: *digest })
    }
}

/// Checks that each message is of the provider that it came from, and of this setup, before it is relayed.
fn authored<T: Record + FromParty>(
    charter: &Charter,
    messages: Vec<Signed<T>>,
) -> Result<Vec<Signed<T>>, NodeError> {
    for (identity, message) in charter.providers().iter().zip(&messages) {
        let party = identity.party.clone();
        if *message.body().party() != party || !message.verify(&identity.key) {
            return Err(SetupFailure::Setup(SetupError::Signature { party }).into());
        }
        if message.body().charter() != charter.digest() {
            return Err(SetupFailure::Setup(SetupError::Disagreement { party }).into());
        }
    }
    Ok(messages)
}

fn round<T>(charter: &Charter, messages: &[Signed<T>]) -> ScoreRound<T> {
    ScoreRound { charter: *charter.digest(), messages: messages.to_vec() }
}

/// Why a call has no answer.
enum CallError {
    Status(Box<Status>),
    Wire(WireError),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<WireError> for CallError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<CallError> for PeerError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Status(status) => Self::from(&*status),
            CallError::Wire(error) => Self {
                code: "MESSAGE_MALFORMED".to_owned(),
                message: error.to_string(),
                retry_after_ms: None,
            },
        }
    }
}
