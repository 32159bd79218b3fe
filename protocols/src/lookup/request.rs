//! What the bank signs before it asks, and the elements and answers that travel beside it.

use super::manifest::read_any_families;
use super::{DataSet, KeyGroup};
use crate::audit::grant::GrantId;
use crate::identity::Family;
use crate::limits::{MAX_CUSTOMERS_PER_SESSION, MAX_PURPOSE_BYTES};
use crate::oprf::{Elements, KeyId, Proof};
use crate::party::{PartyId, SessionId};
use crate::score::query;
use crate::transcript::{Hash, Reader, Record, Transcript, TranscriptError};

/// One session of 1 to 4,096 customers with one provider: a lookup, a score, or both in one round trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Fresh for every provider.
    pub session: SessionId,
    /// Who asks.
    pub requester: PartyId,
    /// Who is asked.
    pub provider: PartyId,
    /// Under which grant.
    pub grant: GrantId,
    /// For which of the grant's purposes.
    pub purpose: String,
    /// In which data set; the scoring group where only a score is asked for.
    pub data_set: DataSet,
    /// Under which epoch's keys; the group's epoch where only a score is asked for.
    pub epoch: u64,
    /// By which identity rules.
    pub identity_version: String,
    /// Families asked, ascending: one element each per customer. None where only a score is asked for.
    pub families: Vec<Family>,
    /// Customers in the session.
    pub customers: u64,
    /// RFC 6962 root over the customers' commitments to ticket and consent.
    pub commitments: [u8; 32],
    /// [`digest_elements`] of the blinded elements.
    pub elements: Hash,
    /// The score that is asked for.
    pub score: Option<ScoreAsked>,
    /// Milliseconds of Unix time.
    pub requested_at_ms: u64,
}

impl Request {
    /// Elements that each key group must have.
    pub fn expected(&self) -> Vec<(KeyGroup, usize)> {
        let customers = self.customers as usize;
        let count = |(group, families): (KeyGroup, Vec<Family>)| (group, families.len() * customers);
        KeyGroup::partition(&self.families).into_iter().map(count).collect()
    }
}

impl Record for Request {
    const DOMAIN: &'static str = "windvane/lookup-request/v1";

    fn write(&self, t: Transcript) -> Transcript {
        let families: Vec<u8> = self.families.iter().map(|f| *f as u8).collect();
        t.bytes("session", self.session.as_bytes())
            .text("requester", self.requester.as_str())
            .text("provider", self.provider.as_str())
            .bytes("grant", self.grant.as_bytes())
            .text("purpose", &self.purpose)
            .text("data set", self.data_set.as_str())
            .u64("epoch", self.epoch)
            .text("identity version", &self.identity_version)
            .bytes("families", &families)
            .u64("customers", self.customers)
            .bytes("commitments", &self.commitments)
            .bytes("elements", &self.elements)
            .list("score", self.score.iter().map(|score| score.encode().into_bytes()))
            .u64("requested at", self.requested_at_ms)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let request = Self {
            session: SessionId::from_bytes(r.array("session")?),
            requester: r.parse("requester")?,
            provider: r.parse("provider")?,
            grant: GrantId::from_bytes(r.array("grant")?),
            purpose: r.text("purpose")?.to_owned(),
            data_set: r.parse("data set")?,
            epoch: r.u64("epoch")?,
            identity_version: r.text("identity version")?.to_owned(),
            families: read_any_families(r)?,
            customers: r.u64("customers")?,
            commitments: r.array("commitments")?,
            elements: r.array("elements")?,
            score: r.list("score", 1)?.first().map(|score| ScoreAsked::decode(score)).transpose()?,
            requested_at_ms: r.u64("requested at")?,
        };
        if request.purpose.len() > MAX_PURPOSE_BYTES {
            return Err(TranscriptError::Form { label: "purpose", expected: "a short code" });
        }
        if !(1..=MAX_CUSTOMERS_PER_SESSION as u64).contains(&request.customers) {
            return Err(TranscriptError::Form { label: "customers", expected: "1 to 4,096" });
        }
        if request.families.is_empty() {
            let form =
                TranscriptError::Form { label: "families", expected: "a family, or a score's own place" };
            let score = request.score.as_ref().ok_or_else(|| form.clone())?;
            if (&score.group, score.epoch) != (&request.data_set, request.epoch) {
                return Err(form);
            }
        }
        Ok(request)
    }
}

impl Record for ScoreAsked {
    const DOMAIN: &'static str = "windvane/lookup-score/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.text("group", self.group.as_str()).u64("epoch", self.epoch).bytes("question", &self.question)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        Ok(Self { group: r.parse("group")?, epoch: r.u64("epoch")?, question: r.array("question")? })
    }
}

/// A score that is asked for in a session, about the same customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreAsked {
    /// The scoring group, which the grant names among its data sets.
    pub group: DataSet,
    /// Its epoch.
    pub epoch: u64,
    /// [`query::Question::digest`], one element a customer.
    pub question: Hash,
}

/// What became of a score that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoreReply {
    /// The provider's answer; its proof is checked with those of the other providers.
    Answered(query::Answer),
    /// The provider gave none, by the stable code of its reason. The rest of the session is not touched by it.
    Refused(String),
}

impl ScoreReply {
    /// Elements that were answered: what the receipt counts.
    pub fn answered(&self) -> u64 {
        match self {
            Self::Answered(answer) => answer.elements.len() as u64,
            Self::Refused(_) => 0,
        }
    }
}

/// Blinded elements of one key group: customer after customer, each with the group's families ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupElements {
    /// The key group.
    pub group: KeyGroup,
    /// The elements.
    pub elements: Elements,
}

/// Evaluated elements of one key group, in the order of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAnswer {
    /// The key group.
    pub group: KeyGroup,
    /// The key that answered.
    pub key: KeyId,
    /// The elements.
    pub elements: Elements,
    /// One proof for all of them.
    pub proof: Proof,
}

/// Digest of all blinded elements, as the request names it.
pub fn digest_elements(groups: &[GroupElements]) -> Hash {
    let t = Transcript::new("windvane/lookup-elements/v1").u64("groups", groups.len() as u64);
    groups
        .iter()
        .fold(t, |t, g| t.u64("group", g.group.code().into()).bytes("elements", g.elements.as_bytes()))
        .digest()
}

/// Digest of the whole answer to a request, as the receipt names it: the transcript hash of the run.
pub fn digest_answer(request: &Hash, groups: &[GroupAnswer], score: Option<&ScoreReply>) -> Hash {
    let t = Transcript::new("windvane/lookup-answer/v1")
        .bytes("request", request)
        .u64("groups", groups.len() as u64);
    let add = |t: Transcript, g: &GroupAnswer| {
        t.u64("group", g.group.code().into())
            .bytes("key", &g.key.0)
            .bytes("elements", g.elements.as_bytes())
            .bytes("proof", &g.proof.to_bytes())
    };
    let t = groups.iter().fold(t, add);
    match score {
        None => t.bytes("score", &[]),
        Some(ScoreReply::Answered(answer)) => t.bytes("score", &answer.digest(request)),
        Some(ScoreReply::Refused(code)) => t.text("score", code),
    }
    .digest()
}
