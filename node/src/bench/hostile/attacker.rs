//! A partner that is enrolled and has a grant, and does not keep to anything.

use std::net::SocketAddr;
use std::sync::Arc;

use prost::Message as _;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;
use windvane_proto::lookup::v1::lookup_client::LookupClient;
use windvane_proto::lookup::v1::{EvaluateRequest, FetchManifestRequest, FetchPagesRequest};
use windvane_protocols::audit::grant::{Grant, Operation};
use windvane_protocols::identity::{Document, DocumentKind, Name, Person, Phone};
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::client::{Customer, LookupTerms, Question, Terms, ask};
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::secret::Secret;
use windvane_protocols::transcript::Signed;

use crate::admin::Admin;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::error::{NodeError, PeerError};
use crate::identity::Certificate;
use crate::peer::transport::Stream;
use crate::peer::{channel, connect};

/// The attacker.
#[derive(Debug)]
pub(super) struct Attacker {
    admin: Admin,
    certificate: Certificate,
    provider: PartyId,
    address: String,
    grant: Grant,
    manifest: Signed<Manifest>,
}

impl Attacker {
    /// Opens a partner's files, and fetches the manifest of what its grant is about.
    pub(super) async fn open(
        config: &Config,
        provider: &PartyId,
        address: SocketAddr,
    ) -> Result<Self, NodeError> {
        let address = address.to_string();
        let (admin, certificate, grant) = tokio::task::block_in_place(|| {
            let admin = Admin::open(config, Arc::new(SystemClock))?;
            let certificate = admin.certificate()?;
            let permits = |(grant, _): &(Grant, Option<u64>)| {
                grant.provider == *provider && grant.operations.contains(&Operation::Verify)
            };
            let grant = admin.grants()?.into_iter().find(permits).map(|(grant, _)| grant);
            Ok::<_, NodeError>((admin, certificate, grant))
        })?;
        let grant = grant.ok_or_else(|| NodeError::Given {
            code: "GRANT_MISSING",
            message: format!("the attacker has no grant of {provider}'s"),
        })?;
        let data_set = grant.data_sets.first().map(DataSet::to_string).unwrap_or_default();
        let mut client = LookupClient::new(channel(&certificate, provider, &address)?);
        let fetched = client.fetch_manifest(FetchManifestRequest { data_set }).await;
        let fetched = fetched.map_err(|status| PeerError::from(&status))?.into_inner();
        let manifest = Signed::from_bytes_unverified(fetched.manifest.to_vec())?;
        Ok(Self { admin, certificate, provider: provider.clone(), address, grant, manifest })
    }

    /// A channel of its own connection, as an honest client has.
    pub(super) fn channel(&self) -> Result<Channel, NodeError> {
        channel(&self.certificate, &self.provider, &self.address)
    }

    /// A connection on which anything can be written.
    pub(super) async fn connect(&self) -> Result<TlsStream<Box<dyn Stream>>, NodeError> {
        connect(&self.certificate, &self.provider, &self.address).await
    }

    /// Where the provider listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What the provider published.
    pub(super) fn manifest(&self) -> &Manifest {
        self.manifest.body()
    }

    /// The request of a download of everything.
    pub(super) fn download(&self) -> Vec<u8> {
        let manifest = self.manifest();
        let publication = manifest.publications.first().map(|publication| publication.id.to_vec());
        let wanted = FetchPagesRequest {
            data_set: manifest.data_set.to_string(),
            epoch: manifest.epoch,
            publication: publication.unwrap_or_default().into(),
            from: 0,
        };
        wanted.encode_to_vec()
    }

    /// A good question under a fresh session.
    pub(super) fn question(&self, customers: usize) -> Question {
        let families: Vec<_> = self.manifest().families.clone();
        let person = nobody();
        let customer = Customer { person: &person, ticket: b"T", consent: b"C" };
        let purpose = self.grant.purposes.first().cloned().unwrap_or_default();
        let now_ms = SystemClock.now_ms();
        let terms = Terms {
            requester: &self.grant.requester,
            grant: self.grant.id,
            purpose: &purpose,
            provider: &self.provider,
            lookup: Some(LookupTerms { manifest: self.manifest(), families: &families }),
            score: None,
            session: SessionId::dated(now_ms, &mut rand::rng()),
            seed: &Secret::new(rand::random()),
        };
        let key = self.admin.keys().signing_key();
        let asked = ask(&[terms], &vec![customer; customers], now_ms, key, &mut rand::rng()).pop();
        asked.and_then(Result::ok).expect("good terms and a good customer make a question").1
    }

    /// Two questions of one session: the one that comes first, and another with the same session.
    pub(super) fn replayed(&self) -> (EvaluateRequest, EvaluateRequest) {
        let (first, mut second) = (self.question(1), self.question(1));
        let mut body = second.request.body().clone();
        (body.session, body.requested_at_ms) =
            (first.request.body().session, first.request.body().requested_at_ms);
        second.request = Signed::sign(body, self.admin.keys().signing_key());
        (EvaluateRequest::from(&first), EvaluateRequest::from(&second))
    }

    /// Questions whose counts are not what they carry: more elements than customers, more customers than elements,
    /// and more than a message may have.
    pub(super) fn miscounted(&self) -> Vec<EvaluateRequest> {
        let mut more = EvaluateRequest::from(&self.question(1));
        more.groups[0].elements = more.groups[0].elements.repeat(2).into();
        let (mut fewer, large) = (self.question(1), self.question(64));
        fewer.request = large.request;
        let mut beyond = EvaluateRequest::from(&self.question(1));
        beyond.groups[0].elements = vec![7; 32 * 20_000].into();
        vec![more, EvaluateRequest::from(&fewer), beyond]
    }
}

/// The person that all of the attacker's questions are about.
fn nobody() -> Person {
    let good = "a constant that follows the rules";
    Person {
        phone: Some(Phone::parse("13800138000").expect(good)),
        document: Some(Document::parse(DocumentKind::ResidentId, "11010519491231002X").expect(good)),
        name: Some(Name::parse("张三").expect(good)),
        other: None,
    }
}
