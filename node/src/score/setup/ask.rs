//! The calls of a setup, to all providers at once.

use std::time::Duration;

use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;
use windvane_proto::convert::{ScoreRound, WireError};
use windvane_proto::score::v1::score_client::ScoreClient;
use windvane_proto::score::v1::{AnnounceRequest, ConfirmRequest, DealRequest, FinishRequest};
use windvane_protocols::score::group::Charter;
use windvane_protocols::score::shares::SetupError;
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing, FromParty};
use windvane_protocols::transcript::{Record, Signed};

use super::{Reached, Relay, Round, SetupFailure};
use crate::error::{NodeError, PeerError};

/// A provider answers a round within milliseconds; this long it may take on a busy machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Relay<'_> {
    pub(super) async fn announcements(
        &self,
        charter: &Charter,
    ) -> Result<Vec<Signed<Announcement>>, NodeError> {
        let request = AnnounceRequest::from(charter.terms());
        let messages = self.ask(charter, Round::Announce, |mut client| {
            let request = request.clone();
            async move { Ok(Signed::<Announcement>::try_from(client.announce(request).await?.into_inner())?) }
        });
        authored(charter, messages.await?)
    }

    pub(super) async fn dealings(
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

    pub(super) async fn confirmations(
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

    pub(super) async fn finish(
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
            answer.map_err(|error| NodeError::from(SetupFailure::Provider { party, error }))
        };
        self.providers.iter().zip(answers).map(named).collect()
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
            CallError::Wire(error) => error.into(),
        }
    }
}
