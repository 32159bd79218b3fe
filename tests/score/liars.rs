//! A provider with real keys whose answers about scores are wrong is named, with what is wrong, and nothing else fails.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_stream::Empty;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use windvane::Node;
use windvane::clock::{Clock as _, ShiftedClock};
use windvane::peer::Incoming;
use windvane::verification::{ScoreReport, ScoreStatus};
use windvane_keys::enrolment::Partner;
use windvane_proto::lookup::v1::lookup_server::{Lookup, LookupServer};
use windvane_proto::lookup::v1::{
    EvaluateRequest, EvaluateResponse, FetchDeltasRequest, FetchDeltasResponse, FetchManifestRequest,
    FetchManifestResponse, FetchPagesRequest, FetchPagesResponse,
};
use windvane_protocols::lookup::client::{Answer, Question};
use windvane_protocols::lookup::provider::{Circumstances, EpochKeys};
use windvane_protocols::lookup::request::{ScoreReply, digest_answer};
use windvane_protocols::score::epoch::Member;
use windvane_protocols::transcript::Signed;

use super::calls::{Scored, inquiry, number, sum};
use super::{failures_of_bank, member as member_of};
use crate::lab::{Lab, Party, bank_of};

/// What the liar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Gives back what it was asked.
    Unchanged,
    /// Exchanges two elements under the right proof.
    Exchanged,
    /// Leaves the last element out.
    Short,
    /// Names another context.
    Context,
    /// Gives no answer about the score.
    Nothing,
    /// Answers rightly and signs for one element more.
    Miscounted,
    /// Answers rightly under the share of another member.
    OtherShare,
    /// Does not answer in time.
    Late,
}

impl Lie {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Unchanged, "SCORE_PROOF_INVALID"),
        (Self::Exchanged, "SCORE_PROOF_INVALID"),
        (Self::Short, "SCORE_COUNT"),
        (Self::Context, "SCORE_CONTEXT"),
        (Self::Nothing, "ANSWER_MALFORMED"),
        (Self::Miscounted, "RECEIPT_INVALID"),
        (Self::OtherShare, "SCORE_PROOF_INVALID"),
        (Self::Late, "DEADLINE_EXCEEDED"),
    ];
}

/// The dishonest service, in place of a provider's.
struct Liar {
    lie: Lie,
    bank: Partner,
    key: ed25519_dalek::SigningKey,
    clock: ShiftedClock,
    own: Arc<Member>,
    other: Arc<Member>,
}

impl Liar {
    async fn serve(world: &World, index: usize, lie: Lie) -> SocketAddr {
        let member = |i: usize| {
            let (party, node) = &world.providers[i];
            member_of(party, node, 1).unwrap()
        };
        let party = &world.providers[index].0;
        let liar = Self {
            lie,
            bank: party.admin.partners().unwrap().remove(0),
            key: party.admin.keys().signing_key().clone(),
            clock: world.lab.clock.clone(),
            own: member(index),
            other: member((index + 1) % world.providers.len()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = Incoming::new(listener, &party.certificate(), 8).unwrap();
        tokio::spawn(Server::builder().add_service(LookupServer::new(liar)).serve_with_incoming(incoming));
        address
    }

    fn answer(&self, question: Question) -> Answer {
        let asked = question.score.clone().unwrap().elements;
        let checked = question.check(&self.bank.receipt_key, self.clock.now_ms(), 60_000).unwrap();
        let circumstances =
            Circumstances { software: [0; 64], configuration: [0; 64], received_at_ms: 1, answered_at_ms: 1 };
        let member = if self.lie == Lie::OtherShare { &self.other } else { &self.own };
        let evaluated = checked.evaluate(&EpochKeys::new(), Ok(member), &mut rand::rng()).unwrap();
        let mut answer = evaluated.sign(circumstances, &self.key);
        let Some(ScoreReply::Answered(score)) = &mut answer.score else { panic!("it has a member") };
        score.provider = self.own.party().clone();
        match self.lie {
            Lie::Unchanged => score.elements = asked,
            Lie::Exchanged => score.elements = score.elements.gather(&[1, 0]),
            Lie::Short => score.elements = score.elements.slice(0..1),
            Lie::Context => score.context = [9; 64],
            Lie::Nothing => answer.score = None,
            Lie::Miscounted | Lie::OtherShare | Lie::Late => {}
        }
        // A receipt over what was changed, so that only the lie itself can be found.
        let mut receipt = answer.receipt.body().clone();
        receipt.scored =
            answer.score.as_ref().map_or(0, ScoreReply::answered) + u64::from(self.lie == Lie::Miscounted);
        receipt.transcript = digest_answer(&receipt.request.digest(), &answer.groups, answer.score.as_ref());
        answer.receipt = Signed::sign(receipt, &self.key);
        answer
    }
}

#[tonic::async_trait]
impl Lookup for Liar {
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        if self.lie == Lie::Late {
            std::future::pending::<()>().await;
        }
        let answer = self.answer(Question::try_from(request.into_inner()).unwrap());
        Ok(Response::new(EvaluateResponse::from(&answer)))
    }

    async fn fetch_manifest(
        &self,
        _: Request<FetchManifestRequest>,
    ) -> Result<Response<FetchManifestResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fetch_deltas(
        &self,
        _: Request<FetchDeltasRequest>,
    ) -> Result<Response<FetchDeltasResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type FetchPagesStream = Empty<Result<FetchPagesResponse, Status>>;

    async fn fetch_pages(
        &self,
        _: Request<FetchPagesRequest>,
    ) -> Result<Response<Self::FetchPagesStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Providers with an active epoch, and a bank that does not run.
struct World {
    lab: Lab,
    providers: Vec<(Party, Node)>,
    bank: Party,
}

impl World {
    async fn new(threshold: usize) -> Self {
        let Scored { lab, providers, bank, bank_node, .. } = Scored::new(3, threshold, 1).await;
        bank_node.stop().await.unwrap();
        Self { lab, providers, bank }
    }

    /// The bank with a liar in place of a provider.
    async fn facing(&mut self, index: usize, lie: Lie) -> Node {
        let address = Liar::serve(self, index, lie).await.to_string();
        let honest = std::mem::replace(&mut self.bank.config.providers[index].address, address);
        self.bank.config.verification.deadline_ms = if lie == Lie::Late { 1_000 } else { 5_000 };
        let node = self.lab.start(&self.bank).await;
        self.bank.config.providers[index].address = honest;
        node
    }
}

/// The scores of two customers.
async fn scores(node: &Node) -> Vec<ScoreReport> {
    let inquiries = [5, 6].map(|position| inquiry(&number(position)));
    let reports = bank_of(node).score_batch(inquiries.to_vec()).await.unwrap();
    reports.into_iter().map(|report| report.score.unwrap()).collect()
}

fn missing(score: &ScoreReport) -> Vec<(&str, &str)> {
    score.missing.iter().map(|source| (source.provider.as_str(), source.error.as_str())).collect()
}

/// The liar stands in the bank's log once more.
fn newest_failure(party: &Party) -> (String, String) {
    failures_of_bank(party).pop().unwrap()
}

async fn each_lie_is_named(index: usize, threshold: usize) {
    let mut world = World::new(threshold).await;
    let name = format!("provider-{index}");
    for (count, (lie, code)) in (1..).zip(Lie::ALL) {
        let node = world.facing(index, lie).await;
        for (score, position) in scores(&node).await.iter().zip([5, 6]) {
            assert_eq!(missing(score), [(name.as_str(), code)], "{lie:?}");
            if threshold < 3 {
                assert_eq!(
                    (score.status, score.sum),
                    (ScoreStatus::Scored, Some(sum(3, position))),
                    "{lie:?}"
                );
            } else {
                let found = (score.status, score.error.as_deref(), score.sum);
                assert_eq!(found, (ScoreStatus::Unavailable, Some("SCORE_UNAVAILABLE"), None), "{lie:?}");
            }
        }
        node.stop().await.unwrap();
        assert_eq!(newest_failure(&world.bank), (name.clone(), code.to_owned()), "{lie:?}");
        assert_eq!(failures_of_bank(&world.bank).len(), count, "{lie:?}");
    }
    for (_, node) in world.providers {
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_is_set_aside_and_named_where_others_suffice() {
    each_lie_is_named(0, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_of_the_last_provider_is_named_although_the_others_suffice_without_it() {
    each_lie_is_named(2, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_leaves_no_score_where_all_are_needed_and_is_named() {
    each_lie_is_named(1, 3).await;
}
