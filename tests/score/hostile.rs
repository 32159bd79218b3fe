//! A bank or a provider that does not keep to the setup gets its own error, and an entry in the log.

use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use windvane::error::PeerError;
use windvane::peer::{Incoming, channel};
use windvane_proto::convert::ScoreRound;
use windvane_proto::score::v1::score_client::ScoreClient;
use windvane_proto::score::v1::score_server::{Score, ScoreServer};
use windvane_proto::score::v1::{
    AnnounceRequest, AnnounceResponse, ConfirmRequest, ConfirmResponse, DealRequest, DealResponse,
    FetchTableManifestRequest, FetchTableManifestResponse, FetchTableRequest, FetchTableResponse,
    FinishRequest, FinishResponse,
};
use windvane_protocols::audit::entry::Event;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::group::{Charter, GroupTerms, Identity};
use windvane_protocols::score::shares::announce;
use windvane_protocols::score::shares::record::{Announcement, Confirmation, Dealing};
use windvane_protocols::transcript::{Record as _, Signed};

use super::{Group, epoch_dir, failures_of_bank, member, states, terms};
use crate::lab::{Party, events, failures};

/// A key that nobody pins.
fn other_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// A provider with a real certificate that announces in its own name under a key that is not pinned.
struct Impostor {
    party: PartyId,
}

impl Impostor {
    async fn serve(party: &Party) -> SocketAddr {
        let impostor = Self { party: party.config.party() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = Incoming::new(listener, &party.certificate(), 8).unwrap();
        tokio::spawn(Server::builder().add_service(ScoreServer::new(impostor)).serve_with_incoming(incoming));
        address
    }
}

fn forged(terms: &GroupTerms, party: PartyId) -> Signed<Announcement> {
    let sealing = *windvane_protocols::oprf::PrivateKey::random(&mut rand::rng()).public().as_bytes();
    let announcement = Announcement { charter: terms.encode().digest(), party, sealing };
    Signed::sign(announcement, &other_key())
}

#[tonic::async_trait]
impl Score for Impostor {
    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        let terms = GroupTerms::try_from(request.into_inner()).unwrap();
        Ok(Response::new(AnnounceResponse::from(&forged(&terms, self.party.clone()))))
    }

    async fn deal(&self, _: Request<DealRequest>) -> Result<Response<DealResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn confirm(&self, _: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn finish(&self, _: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fetch_table_manifest(
        &self,
        _: Request<FetchTableManifestRequest>,
    ) -> Result<Response<FetchTableManifestResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type FetchTableStream = ReceiverStream<Result<FetchTableResponse, Status>>;

    async fn fetch_table(
        &self,
        _: Request<FetchTableRequest>,
    ) -> Result<Response<Self::FetchTableStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// The bank's way to a provider, to be misused.
struct Misuse(ScoreClient<Channel>);

impl Misuse {
    fn of(group: &Group, party: &Party, index: usize) -> Self {
        let (provider, address) = (&group.providers[index], group.node(index).grpc_address().unwrap());
        let way = channel(&party.certificate(), &provider.config.party(), &address.to_string());
        Self(ScoreClient::new(way.unwrap()))
    }

    async fn announce(&mut self, terms: &GroupTerms) -> Result<Signed<Announcement>, String> {
        let reply = self.0.announce(AnnounceRequest::from(terms)).await.map_err(|status| code(&status))?;
        Ok(Signed::<Announcement>::try_from(reply.into_inner()).unwrap())
    }

    async fn deal(
        &mut self,
        terms: &GroupTerms,
        messages: Vec<Signed<Announcement>>,
    ) -> Result<Signed<Dealing>, String> {
        let round = ScoreRound { charter: terms.encode().digest(), messages };
        let reply = self.0.deal(DealRequest::from(&round)).await.map_err(|status| code(&status))?;
        Ok(Signed::<Dealing>::try_from(reply.into_inner()).unwrap())
    }

    async fn confirm(
        &mut self,
        terms: &GroupTerms,
        messages: Vec<Signed<Dealing>>,
    ) -> Result<Signed<Confirmation>, String> {
        let round = ScoreRound { charter: terms.encode().digest(), messages };
        let reply = self.0.confirm(ConfirmRequest::from(&round)).await.map_err(|status| code(&status))?;
        Ok(Signed::<Confirmation>::try_from(reply.into_inner()).unwrap())
    }

    async fn finish(
        &mut self,
        terms: &GroupTerms,
        messages: Vec<Signed<Confirmation>>,
    ) -> Result<(), String> {
        let round = ScoreRound { charter: terms.encode().digest(), messages };
        self.0.finish(FinishRequest::from(&round)).await.map(drop).map_err(|status| code(&status))
    }
}

fn code(status: &Status) -> String {
    PeerError::from(status).code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_speaks_under_another_key_than_the_pinned_one_ends_the_setup() {
    let mut group = Group::joined().await;
    let address = Impostor::serve(&group.providers[2]).await;
    group.bank.config.providers[2].address = address.to_string();
    let clock = std::sync::Arc::new(group.lab.clock.clone());
    group.bank.admin = windvane::admin::Admin::open(&group.bank.config, clock).unwrap();
    let error = group.setup().await.unwrap_err();
    assert_eq!(error.code(), "SCORE_SETUP_INVALID");
    assert!(error.to_string().contains("in the name of police"), "{error}");
    assert_eq!(failures_of_bank(&group.bank), [("police".to_owned(), "SCORE_SETUP_INVALID".to_owned())]);
    assert_eq!(states(&group.bank), ["begun 1", "failed 1"]);
    group.stop().await;
}

/// The next epoch's terms after one that went well.
async fn after_one_epoch() -> (Group, GroupTerms) {
    let group = Group::joined().await;
    group.setup().await.unwrap();
    let terms = GroupTerms { epoch: 2, ..terms(&group.bank, 1) };
    (group, terms)
}

async fn all_announce(group: &Group, terms: &GroupTerms) -> Vec<Signed<Announcement>> {
    let mut messages = Vec::new();
    for index in 0..group.providers.len() {
        messages.push(Misuse::of(group, &group.bank, index).announce(terms).await.unwrap());
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_swaps_a_message_is_told_by_the_provider_and_stands_in_its_log() {
    let (mut group, terms) = after_one_epoch().await;
    let mut messages = all_announce(&group, &terms).await;
    messages[1] = forged(&terms, "carrier-b".parse().unwrap());
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    assert_eq!(misuse.deal(&terms, messages.clone()).await.unwrap_err(), "SCORE_SETUP_INVALID");
    // The setup is over, also for the right messages.
    assert_eq!(misuse.deal(&terms, messages).await.unwrap_err(), "SCORE_SETUP_UNKNOWN");
    let codes = failures(&group.providers[0], group.node(0)).await;
    assert_eq!(codes, ["SCORE_SETUP_INVALID", "SCORE_SETUP_UNKNOWN"]);
    group.stop().await;
    assert_eq!(states(&group.providers[0])[4..], ["begun 2", "failed 2"]);
}

async fn all_deal(
    group: &Group,
    terms: &GroupTerms,
    announcements: &[Signed<Announcement>],
) -> Vec<Signed<Dealing>> {
    let mut messages = Vec::new();
    for index in 0..group.providers.len() {
        let mut misuse = Misuse::of(group, &group.bank, index);
        messages.push(misuse.deal(terms, announcements.to_vec()).await.unwrap());
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_share_is_told_by_its_recipient_with_its_dealers_name_and_ends_the_setup() {
    let (mut group, terms) = after_one_epoch().await;
    let (police, key) = (&group.providers[2], group.providers[2].admin.keys().signing_key().clone());
    let charter = Charter::accept(terms.clone(), &group.plan(2).pins()).unwrap();
    // The third provider is played here, with its real key.
    let own = announce(charter, &police.config.party(), &key, &mut rand::rng()).unwrap();
    let mut announcements = Vec::new();
    for index in [0, 1] {
        announcements.push(Misuse::of(&group, &group.bank, index).announce(&terms).await.unwrap());
    }
    announcements.push(own.message);
    let mut dealings = Vec::new();
    for index in [0, 1] {
        let mut misuse = Misuse::of(&group, &group.bank, index);
        dealings.push(misuse.deal(&terms, announcements.clone()).await.unwrap());
    }
    let dealt = own.state.on_announcements(&announcements, &key, &mut rand::rng()).unwrap();
    let mut body = dealt.message.body().clone();
    body.shares[0][40] ^= 1;
    dealings.push(Signed::sign(body, &key));
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    let round = ScoreRound { charter: terms.encode().digest(), messages: dealings.clone() };
    let refusal = misuse.0.confirm(ConfirmRequest::from(&round)).await.unwrap_err();
    assert_eq!(refusal.message(), "the share from police does not fit its commitments");
    assert_eq!(code(&refusal), "SCORE_SETUP_INVALID");
    // The other's share is right, but without everybody's word there is no epoch.
    let word = Misuse::of(&group, &group.bank, 1).confirm(&terms, dealings).await.unwrap();
    assert_eq!(
        Misuse::of(&group, &group.bank, 1).finish(&terms, vec![word]).await.unwrap_err(),
        "SCORE_SETUP_INVALID"
    );
    assert_eq!(failures(&group.providers[0], group.node(0)).await, ["SCORE_SETUP_INVALID"]);
    let none = |index: usize| member(&group.providers[index], group.node(index), 2).is_none();
    assert!(none(0) && none(1));
    group.stop().await;
    assert_eq!(states(&group.providers[0])[4..], ["begun 2", "failed 2"]);
}

/// The bank's too.
async fn all_confirm(
    group: &Group,
    terms: &GroupTerms,
    dealings: &[Signed<Dealing>],
) -> Vec<Signed<Confirmation>> {
    let mut messages = Vec::new();
    for index in 0..group.providers.len() {
        let mut misuse = Misuse::of(group, &group.bank, index);
        messages.push(misuse.confirm(terms, dealings.to_vec()).await.unwrap());
    }
    let body = Confirmation { party: "bank".parse().unwrap(), ..messages[0].body().clone() };
    messages.push(Signed::sign(body, group.bank.admin.keys().signing_key()));
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_given_again_and_other_messages_in_its_round_are_refused() {
    let (mut group, terms) = after_one_epoch().await;
    let announcements = all_announce(&group, &terms).await;
    assert_eq!(all_announce(&group, &terms).await, announcements);
    let dealings = all_deal(&group, &terms, &announcements).await;
    assert_eq!(all_deal(&group, &terms, &announcements).await, dealings);
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    let fewer = announcements[1..].to_vec();
    assert_eq!(misuse.deal(&terms, fewer).await.unwrap_err(), "SCORE_ROUND_REPEATED");
    let confirmations = all_confirm(&group, &terms, &dealings).await;
    assert_eq!(all_confirm(&group, &terms, &dealings).await, confirmations);
    let own = confirmations[0].clone();
    assert_eq!(misuse.confirm(&terms, dealings[1..].to_vec()).await.unwrap_err(), "SCORE_ROUND_REPEATED");
    // Without the bank's it is not everybody's; the setup waits for that.
    let fewer = confirmations[..3].to_vec();
    assert_eq!(misuse.finish(&terms, fewer).await.unwrap_err(), "SCORE_SETUP_INVALID");
    misuse.finish(&terms, confirmations.clone()).await.unwrap();
    misuse.finish(&terms, confirmations).await.unwrap();
    assert_eq!(misuse.confirm(&terms, dealings).await.unwrap(), own);
    group.stop().await;
    // However often the bank asks, the log is told once.
    assert_eq!(states(&group.providers[0])[4..], ["begun 2", "confirmed 2", "finished 2"]);
    let keys = events(&group.providers[0])
        .into_iter()
        .filter(|event| matches!(event, Event::Key { purpose, .. } if purpose == "score/joint-risk/2"));
    assert_eq!(keys.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_begins_one_setup_after_the_other_is_told_to_wait_and_fills_no_disk() {
    let (mut group, terms) = after_one_epoch().await;
    let of = |epoch| GroupTerms { epoch, ..terms.clone() };
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    // As a kill leaves it, between the plan and the messages.
    let left = epoch_dir(&group.providers[0], 2);
    std::fs::create_dir(&left).unwrap();
    std::fs::copy(epoch_dir(&group.providers[0], 1).join("plan"), left.join("plan")).unwrap();
    let mut begun = 0;
    let refused = loop {
        match misuse.announce(&of(3 + begun)).await {
            Ok(_) => begun += 1,
            Err(code) => break code,
        }
    };
    assert_eq!((refused.as_str(), begun), ("OVERLOADED", 15));
    // What runs goes on, and what ended is not begun again for that.
    misuse.announce(&of(17)).await.unwrap();
    let kept = std::fs::read_dir(left.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(kept.collect::<Vec<_>>(), ["1"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_so_many_epochs_that_are_not_retired_and_no_more() {
    let (mut group, terms) = after_one_epoch().await;
    let dir = |epoch| epoch_dir(&group.providers[0], epoch);
    for epoch in 2..=64 {
        std::fs::create_dir(dir(epoch)).unwrap();
        std::fs::copy(dir(1).join("evidence"), dir(epoch).join("evidence")).unwrap();
    }
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    let next = GroupTerms { epoch: 65, ..terms };
    assert_eq!(misuse.announce(&next).await.unwrap_err(), "SCORE_EPOCHS_STAND");
    std::fs::write(dir(64).join("retired"), b"{}").unwrap();
    misuse.announce(&next).await.unwrap();
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_after_its_confirmation_gives_it_again_and_finishes() {
    let (mut group, terms) = after_one_epoch().await;
    let announcements = all_announce(&group, &terms).await;
    let dealings = all_deal(&group, &terms, &announcements).await;
    let confirmations = all_confirm(&group, &terms, &dealings).await;
    group.nodes[0].take().unwrap().abandon().await;
    group.restart(0).await;
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    assert_eq!(misuse.confirm(&terms, dealings).await.unwrap(), confirmations[0]);
    misuse.finish(&terms, confirmations).await.unwrap();
    let member = member(&group.providers[0], group.node(0), 2);
    assert_eq!(member.unwrap().epoch().charter().terms(), &terms);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_setup_ends_with_its_secrets_when_the_next_begins() {
    let (mut group, terms) = after_one_epoch().await;
    let announcements = all_announce(&group, &terms).await;
    let dealings = all_deal(&group, &terms, &announcements).await;
    let confirmations = all_confirm(&group, &terms, &dealings).await;
    assert!(epoch_dir(&group.providers[0], 2).join("setup").exists());
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    misuse.announce(&GroupTerms { epoch: 3, ..terms.clone() }).await.unwrap();
    assert!(!epoch_dir(&group.providers[0], 2).exists());
    assert!(epoch_dir(&group.providers[0], 1).join("evidence").exists());
    assert_eq!(misuse.finish(&terms, confirmations).await.unwrap_err(), "SCORE_SETUP_UNKNOWN");
    group.stop().await;
    let key = |event| match event {
        Event::Key { purpose, state, .. } => Some(format!("{purpose} {state}")),
        _ => None,
    };
    let keys: Vec<_> = events(&group.providers[0]).into_iter().filter_map(key).collect();
    let of =
        |epoch: u64| keys.iter().filter(move |key| key.starts_with(&format!("score/joint-risk/{epoch} ")));
    assert_eq!(of(1).collect::<Vec<_>>(), ["score/joint-risk/1 active"]);
    assert_eq!(of(2).collect::<Vec<_>>(), ["score/joint-risk/2 active", "score/joint-risk/2 destroyed"]);
    assert_eq!(states(&group.providers[0])[4..], ["begun 2", "confirmed 2", "failed 2", "begun 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_killed_before_its_confirmation_knows_no_such_setup() {
    let (mut group, terms) = after_one_epoch().await;
    let announcements = all_announce(&group, &terms).await;
    let dealings = all_deal(&group, &terms, &announcements).await;
    group.nodes[0].take().unwrap().abandon().await;
    group.restart(0).await;
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    assert_eq!(misuse.announce(&terms).await.unwrap_err(), "SCORE_EPOCH_USED");
    assert_eq!(misuse.deal(&terms, announcements).await.unwrap_err(), "SCORE_SETUP_UNKNOWN");
    assert_eq!(misuse.confirm(&terms, dealings).await.unwrap_err(), "SCORE_SETUP_UNKNOWN");
    assert_eq!(misuse.finish(&terms, vec![]).await.unwrap_err(), "SCORE_SETUP_UNKNOWN");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_the_groups_bank_gets_nothing_and_terms_must_be_those_that_were_joined() {
    let (mut group, terms) = after_one_epoch().await;
    // A partner that is enrolled, and no bank of the group.
    let other = group.lab.party("other-bank", "[http]\nlisten = \"127.0.0.1:0\"\n");
    group.providers[0].admin.import_enrolment(&other.enrolment).unwrap();
    group.providers[0].taken_over_by(group.node(0)).await;
    let mut stranger = Misuse::of(&group, &other, 0);
    assert_eq!(stranger.announce(&terms).await.unwrap_err(), "SCORE_GROUP_UNKNOWN");
    let mut misuse = Misuse::of(&group, &group.bank, 0);
    let announcement = misuse.announce(&terms).await.unwrap();
    assert_eq!(stranger.deal(&terms, vec![announcement]).await.unwrap_err(), "SCORE_SETUP_UNKNOWN");
    assert_eq!(stranger.finish(&terms, vec![]).await.unwrap_err(), "SCORE_SETUP_UNKNOWN");
    let mut changed = GroupTerms { epoch: 3, ..terms.clone() };
    changed.providers[1] = Identity { key: other_key().verifying_key(), ..changed.providers[1].clone() };
    assert_eq!(misuse.announce(&changed).await.unwrap_err(), "SCORE_TERMS_DIFFER");
    let last = GroupTerms { epoch: u64::MAX, ..terms.clone() };
    assert_eq!(misuse.announce(&last).await.unwrap_err(), "SCORE_EPOCH_TOO_LARGE");
    let earlier = GroupTerms { epoch: 1, ..terms };
    assert_eq!(misuse.announce(&earlier).await.unwrap_err(), "SCORE_EPOCH_USED");
    group.stop().await;
}
