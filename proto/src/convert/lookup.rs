//! `windvane.lookup.v1`.

use bytes::Bytes;
use windvane_protocols::audit::receipt::Receipt;
use windvane_protocols::limits::{
    MAX_CUSTOMERS_PER_SESSION, MAX_ELEMENTS_PER_PROOF, MAX_PAGES, MAX_PAGES_PER_CHUNK, PAGE_BYTES,
};
use windvane_protocols::lookup::client::{Answer, Question};
use windvane_protocols::lookup::delta::Delta;
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::request::{GroupAnswer, GroupElements, ScoreReply};
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::lookup::{DataSet, KeyGroup};
use windvane_protocols::oprf::{ELEMENT_BYTES, Elements, KeyId, Proof};
use windvane_protocols::party::PartyId;
use windvane_protocols::score::query;
use windvane_protocols::transcript::Signed;

use super::{WireError, array, signed, within};
use crate::lookup::v1 as wire;
use crate::lookup::v1::score_reply::Reply;

impl TryFrom<wire::EvaluateRequest> for Question {
    type Error = WireError;

    fn try_from(message: wire::EvaluateRequest) -> Result<Self, WireError> {
        let scored = message.score.iter().map(|score| &score.elements);
        let mut elements = elements(message.groups.iter().map(|group| &group.elements).chain(scored))?;
        let score = message.score.as_ref().zip(elements.split_off(message.groups.len()).pop());
        let read = |(message, elements): (&wire::GroupElements, Elements)| {
            Ok(GroupElements { group: group(message.group)?, elements })
        };
        let groups = message.groups.iter().zip(elements).map(read).collect::<Result<_, WireError>>()?;
        let ask = |(score, elements): (&wire::ScoreQuestion, Elements)| {
            Ok::<_, WireError>(query::Question { context: array("context", &score.context)?, elements })
        };
        Ok(Self { request: signed("request", &message.request)?, groups, score: score.map(ask).transpose()? })
    }
}

impl From<&Question> for wire::EvaluateRequest {
    fn from(question: &Question) -> Self {
        let group = |g: &GroupElements| wire::GroupElements {
            group: g.group.code().into(),
            elements: g.elements.as_bytes().to_vec().into(),
        };
        Self {
            request: question.request.as_bytes().to_vec().into(),
            groups: question.groups.iter().map(group).collect(),
            score: question.score.as_ref().map(|score| wire::ScoreQuestion {
                context: score.context.to_vec().into(),
                elements: score.elements.as_bytes().to_vec().into(),
            }),
        }
    }
}

impl TryFrom<wire::EvaluateResponse> for Answer {
    type Error = WireError;

    fn try_from(message: wire::EvaluateResponse) -> Result<Self, WireError> {
        let receipt: Signed<Receipt> = signed("receipt", &message.receipt)?;
        let scored = match message.score.as_ref().and_then(|score| score.reply.as_ref()) {
            Some(Reply::Answer(answer)) => Some(&answer.elements),
            _ => None,
        };
        let mut elements = elements(message.groups.iter().map(|group| &group.elements).chain(scored))?;
        let scored = elements.split_off(message.groups.len()).pop();
        let groups = message.groups.iter().zip(elements).map(answer).collect::<Result<_, _>>()?;
        let provider = &receipt.body().request.body().provider;
        let score = message.score.map(|score| reply(score, scored, provider)).transpose()?;
        Ok(Self { groups, score, receipt })
    }
}

impl From<&Answer> for wire::EvaluateResponse {
    fn from(answer: &Answer) -> Self {
        let group = |g: &GroupAnswer| wire::GroupAnswer {
            group: g.group.code().into(),
            key_id: g.key.0.to_vec().into(),
            elements: g.elements.as_bytes().to_vec().into(),
            proof: g.proof.to_bytes().to_vec().into(),
        };
        Self {
            groups: answer.groups.iter().map(group).collect(),
            receipt: answer.receipt.as_bytes().to_vec().into(),
            score: answer.score.as_ref().map(|score| wire::ScoreReply { reply: Some(score.into()) }),
        }
    }
}

impl From<&ScoreReply> for Reply {
    fn from(reply: &ScoreReply) -> Self {
        match reply {
            ScoreReply::Answered(answer) => Self::Answer(wire::ScoreAnswer {
                context: answer.context.to_vec().into(),
                elements: answer.elements.as_bytes().to_vec().into(),
                proof: answer.proof.to_bytes().to_vec().into(),
            }),
            ScoreReply::Refused(code) => Self::Refused(code.clone()),
        }
    }
}

/// What became of a score, with its decoded elements where there are any.
fn reply(
    score: wire::ScoreReply,
    elements: Option<Elements>,
    provider: &PartyId,
) -> Result<ScoreReply, WireError> {
    match (score.reply, elements) {
        (Some(Reply::Answer(answer)), Some(elements)) => Ok(ScoreReply::Answered(query::Answer {
            provider: provider.clone(),
            context: array("context", &answer.context)?,
            elements,
            proof: proof(&answer.proof)?,
        })),
        (Some(Reply::Refused(code)), _) => {
            let plain = !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            let form = WireError::Form { field: "refused", expected: "a stable code" };
            if plain { Ok(ScoreReply::Refused(code)) } else { Err(form) }
        }
        _ => Err(WireError::Form { field: "score", expected: "an answer or a refusal" }),
    }
}

fn proof(bytes: &[u8]) -> Result<Proof, WireError> {
    let form = WireError::Form { field: "proof", expected: "two canonical scalars" };
    Proof::from_bytes(&array("proof", bytes)?).ok_or(form)
}

fn answer((message, elements): (&wire::GroupAnswer, Elements)) -> Result<GroupAnswer, WireError> {
    let proof = proof(&message.proof)?;
    let key = KeyId(array("key_id", &message.key_id)?);
    Ok(GroupAnswer { group: group(message.group)?, key, elements, proof })
}

impl TryFrom<wire::FetchManifestResponse> for Signed<Manifest> {
    type Error = WireError;

    fn try_from(message: wire::FetchManifestResponse) -> Result<Self, WireError> {
        signed("manifest", &message.manifest)
    }
}

impl TryFrom<&wire::FetchManifestRequest> for DataSet {
    type Error = WireError;

    fn try_from(message: &wire::FetchManifestRequest) -> Result<Self, WireError> {
        data_set(&message.data_set)
    }
}

/// Whose deltas a peer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltasWanted {
    /// Of which data set.
    pub data_set: DataSet,
    /// Of which epoch.
    pub epoch: u64,
}

impl TryFrom<&wire::FetchDeltasRequest> for DeltasWanted {
    type Error = WireError;

    fn try_from(message: &wire::FetchDeltasRequest) -> Result<Self, WireError> {
        Ok(Self { data_set: data_set(&message.data_set)?, epoch: message.epoch })
    }
}

/// An epoch's deltas, read but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deltas(pub Vec<Signed<Delta>>);

impl TryFrom<wire::FetchDeltasResponse> for Deltas {
    type Error = WireError;

    fn try_from(message: wire::FetchDeltasResponse) -> Result<Self, WireError> {
        message.deltas.iter().map(|bytes| signed("deltas", bytes)).collect::<Result<_, _>>().map(Self)
    }
}

impl From<&[Signed<Delta>]> for wire::FetchDeltasResponse {
    fn from(deltas: &[Signed<Delta>]) -> Self {
        Self { deltas: deltas.iter().map(|delta| delta.as_bytes().to_vec().into()).collect() }
    }
}

/// Which pages a peer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagesWanted {
    /// Of which data set.
    pub data_set: DataSet,
    /// Of which epoch.
    pub epoch: u64,
    /// Of which publication.
    pub publication: PublicationId,
    /// From which page on.
    pub from: u64,
}

impl TryFrom<&wire::FetchPagesRequest> for PagesWanted {
    type Error = WireError;

    fn try_from(message: &wire::FetchPagesRequest) -> Result<Self, WireError> {
        if message.from > MAX_PAGES {
            return Err(WireError::Form { field: "from", expected: "the number of a page" });
        }
        Ok(Self {
            data_set: data_set(&message.data_set)?,
            epoch: message.epoch,
            publication: array("publication", &message.publication)?,
            from: message.from,
        })
    }
}

/// 1 to 64 whole pages of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages(Bytes);

impl Pages {
    /// The pages.
    pub fn as_slice(&self) -> &[[u8; PAGE_BYTES]] {
        self.0.as_chunks().0
    }
}

impl TryFrom<wire::FetchPagesResponse> for Pages {
    type Error = WireError;

    fn try_from(message: wire::FetchPagesResponse) -> Result<Self, WireError> {
        within("pages", message.pages.len(), MAX_PAGES_PER_CHUNK * PAGE_BYTES)?;
        if message.pages.is_empty() || !message.pages.len().is_multiple_of(PAGE_BYTES) {
            return Err(WireError::Form { field: "pages", expected: "whole pages of 4,096 bytes" });
        }
        Ok(Self(message.pages))
    }
}

fn group(code: u32) -> Result<KeyGroup, WireError> {
    u8::try_from(code)
        .ok()
        .and_then(KeyGroup::from_code)
        .ok_or(WireError::Form { field: "group", expected: "the first family of a key group" })
}

/// The elements of all groups, decoded together.
fn elements<'a>(groups: impl Iterator<Item = &'a Bytes>) -> Result<Vec<Elements>, WireError> {
    let field = "elements";
    let malformed =
        || WireError::Form { field, expected: "canonical ristretto255 encodings other than the identity" };
    let (mut all, mut lengths) = (Vec::new(), Vec::new());
    for bytes in groups {
        // A batch proof covers at most 16,384; a group of f families has at most f × 4,096.
        within(field, bytes.len(), ELEMENT_BYTES * MAX_ELEMENTS_PER_PROOF.max(MAX_CUSTOMERS_PER_SESSION))?;
        if bytes.len() % ELEMENT_BYTES != 0 {
            return Err(malformed());
        }
        all.extend_from_slice(bytes);
        lengths.push(bytes.len() / ELEMENT_BYTES);
    }
    Ok(Elements::from_bytes(&all).map_err(|_| malformed())?.split(lengths))
}

fn data_set(text: &str) -> Result<DataSet, WireError> {
    text.parse().map_err(|_| WireError::Form { field: "data_set", expected: "a data set's name" })
}
