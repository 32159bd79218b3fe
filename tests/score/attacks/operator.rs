//! The bank's operator: its folder, its tables, its keys and its certificate, and nothing that keeps it to the protocol.

use curve25519_dalek::{RistrettoPoint, Scalar};
use tonic::transport::Channel;
use windvane::Node;
use windvane::clock::Clock as _;
use windvane::error::PeerError;
use windvane::peer::channel;
use windvane::score::plan::GroupPlan;
use windvane_proto::convert::TableWanted;
use windvane_proto::lookup::v1::EvaluateRequest;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::score::v1::FetchTableRequest;
use windvane_proto::score::v1::score_client::ScoreClient;
use windvane_protocols::audit::grant::GrantId;
use windvane_protocols::identity::IDENTITY_VERSION;
use windvane_protocols::lookup::client::{Answer, Question};
use windvane_protocols::lookup::request::{Request, ScoreAsked, ScoreReply, digest_elements};
use windvane_protocols::oprf::Elements;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::query;
use windvane_protocols::score::shares::Evidence;
use windvane_protocols::transcript::{Record as _, Signed};

use super::attacker::{Target, hash, point};
use crate::lab::Party;
use crate::score::calls::{Scored, group};

const ROW: usize = 32;

/// The attacker.
pub(super) struct Operator<'a> {
    scored: &'a Scored,
    /// In whose name, and with whose certificate and key.
    pub(super) party: &'a Party,
    pub(super) epoch: Epoch,
    grants: Vec<GrantId>,
    /// One connection to each provider: nodes slow an address down that opens many.
    channels: Vec<Channel>,
    /// Every provider's table as it is served.
    pub(super) tables: Vec<Vec<u8>>,
    /// The sum as it stands in the bank's folder.
    pub(super) sum: Vec<u8>,
}

fn dial(party: &Party, (provider, node): &(Party, Node)) -> Channel {
    let address = node.grpc_address().unwrap().to_string();
    channel(&party.certificate(), &provider.config.party(), &address).unwrap()
}

impl<'a> Operator<'a> {
    /// Takes the bank over, and downloads each table by itself.
    pub(super) async fn new(scored: &'a Scored) -> Self {
        let dir = scored.bank.config.node.data_dir.join("score/joint-risk/epochs/1");
        let evidence = Evidence::decode(&std::fs::read(dir.join("evidence")).unwrap()).unwrap();
        let plan = GroupPlan::load(&scored.lab.dir.path().join("group.toml")).unwrap();
        let epoch = evidence.check(&plan.pins()).unwrap();
        let known = scored.bank.admin.grants().unwrap();
        let grant = |name: PartyId| known.iter().find(|(grant, _)| grant.provider == name).unwrap().0.id;
        let grants = scored.providers.iter().map(|(party, _)| grant(party.config.party())).collect();
        let sum = std::fs::read(dir.join("table")).unwrap();
        let party = &scored.bank;
        let channels = scored.providers.iter().map(|provider| dial(party, provider)).collect();
        let mut operator = Self { scored, party, epoch, grants, channels, tables: Vec::new(), sum };
        for provider in 0..scored.providers.len() {
            operator.tables.push(operator.download(provider).await);
        }
        operator
    }

    fn channel(&self, provider: usize) -> Channel {
        if std::ptr::eq(self.party, &self.scored.bank) {
            return self.channels[provider].clone();
        }
        dial(self.party, &self.scored.providers[provider])
    }

    async fn download(&self, provider: usize) -> Vec<u8> {
        let wanted = TableWanted { group: group(), epoch: 1, context: *self.epoch.context(), from: 0 };
        let mut client = ScoreClient::new(self.channel(provider));
        let asked = client.fetch_table(FetchTableRequest::from(&wanted)).await;
        let (mut stream, mut rows) = (asked.unwrap().into_inner(), Vec::new());
        while let Some(segment) = stream.message().await.unwrap() {
            rows.extend_from_slice(&segment.rows);
        }
        rows
    }

    /// The code with which a provider refuses its table.
    pub(super) async fn refused_table(&self, provider: usize) -> String {
        let wanted = TableWanted { group: group(), epoch: 1, context: *self.epoch.context(), from: 0 };
        let mut client = ScoreClient::new(self.channel(provider));
        PeerError::from(&client.fetch_table(FetchTableRequest::from(&wanted)).await.unwrap_err()).code
    }

    /// A request that carries nothing but a score, to be bent.
    pub(super) fn request(&self, provider: usize, question: &query::Question) -> Request {
        let now_ms = self.scored.lab.clock.now_ms();
        Request {
            session: SessionId::dated(now_ms, &mut rand::rng()),
            requester: self.party.config.party(),
            provider: self.scored.providers[provider].0.config.party(),
            grant: self.grants[provider],
            purpose: "account_opening".into(),
            data_set: group(),
            epoch: 1,
            identity_version: IDENTITY_VERSION.to_owned(),
            families: Vec::new(),
            customers: question.elements.len() as u64,
            commitments: rand::random(),
            elements: digest_elements(&[]),
            score: Some(ScoreAsked { group: group(), epoch: 1, question: question.digest() }),
            requested_at_ms: now_ms,
        }
    }

    /// What is asked about these elements.
    pub(super) fn question(&self, elements: &[RistrettoPoint]) -> query::Question {
        let bytes: Vec<_> = elements.iter().map(|element| element.compress().to_bytes()).collect();
        let elements = Elements::from_bytes(bytes.as_flattened()).unwrap();
        query::Question { context: *self.epoch.context(), elements }
    }

    /// Signed with the key that is the party's.
    pub(super) fn signed(&self, request: Request, question: query::Question) -> EvaluateRequest {
        let request = Signed::sign(request, self.party.admin.keys().signing_key());
        EvaluateRequest::from(&Question { request, groups: Vec::new(), score: Some(question) })
    }

    /// Sends a message as it is; gives what became of the score, or the code of the refusal.
    pub(super) async fn send(&self, provider: usize, message: EvaluateRequest) -> Result<ScoreReply, String> {
        let mut client = LookupClient::new(self.channel(provider));
        let answered = client.evaluate(message).await.map_err(|status| PeerError::from(&status).code)?;
        Ok(Answer::try_from(answered.into_inner()).unwrap().score.unwrap())
    }

    /// One provider's answer about some elements.
    pub(super) async fn share(&self, provider: usize, elements: &[RistrettoPoint]) -> Vec<RistrettoPoint> {
        let question = self.question(elements);
        let message = self.signed(self.request(provider, &question), question);
        match self.send(provider, message).await.unwrap() {
            ScoreReply::Answered(answer) => points(answer.elements.as_bytes()),
            ScoreReply::Refused(code) => panic!("{code}"),
        }
    }

    /// A position's hash.
    pub(super) fn hash(&self, position: usize) -> RistrettoPoint {
        hash(self.epoch.context(), position)
    }

    /// A position's row of the sum.
    pub(super) fn summed(&self, position: usize) -> RistrettoPoint {
        point(&self.sum[position * ROW..][..ROW])
    }
}

impl Target for Operator<'_> {
    fn row(&self, provider: usize, position: usize) -> Vec<RistrettoPoint> {
        vec![point(&self.tables[provider][position * ROW..][..ROW])]
    }

    fn public(&self, position: usize) -> Vec<RistrettoPoint> {
        let shares = (0..self.tables.len()).map(|i| point(self.epoch.share_key(i).unwrap().as_bytes()));
        let joint = point(self.epoch.joint_key().as_bytes());
        let position = [self.hash(position), self.hash(position + 1), joint, self.summed(position)];
        position.into_iter().chain(shares).collect()
    }

    /// Asks the first two providers, which suffice.
    async fn ask(&self, elements: &[RistrettoPoint]) -> Vec<RistrettoPoint> {
        let (one, two) = (self.share(0, elements).await, self.share(1, elements).await);
        combine(&[0, 1], &[one, two])
    }
}

pub(super) fn points(bytes: &[u8]) -> Vec<RistrettoPoint> {
    bytes.chunks_exact(ROW).map(point).collect()
}

/// Lagrange's interpolation at zero of some providers' answers.
pub(super) fn combine(quorum: &[usize], answers: &[Vec<RistrettoPoint>]) -> Vec<RistrettoPoint> {
    let mut sums = vec![RistrettoPoint::default(); answers[0].len()];
    for (i, answer) in quorum.iter().zip(answers) {
        let weight = lagrange(quorum, *i);
        sums.iter_mut().zip(answer).for_each(|(sum, element)| *sum += weight * element);
    }
    sums
}

fn lagrange(quorum: &[usize], i: usize) -> Scalar {
    let place = |i: usize| Scalar::from(i as u64 + 1);
    let others = quorum.iter().filter(|j| **j != i);
    others.map(|j| place(*j) * (place(*j) - place(i)).invert()).product()
}
