//! Recorded bytes as messages, of which every field is named: one that is not known here does not compile, or is found.

use bytes::Bytes;
use prost::Message;
use windvane_proto::audit::v1::{CountersignRequest, CountersignResponse};
use windvane_proto::train::v1 as wire;
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::limits::MAX_TRAIN_CHUNK_BYTES;
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::train::elgamal::Statistic;
use windvane_protocols::train::histogram::{Child, Groups};
use windvane_protocols::train::partition::Proposal;
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainReceipt, TrainRequest};
use windvane_protocols::train::step::Place;
use windvane_protocols::train::tree::{Decision, Split};
use windvane_protocols::transcript::{Hash, Record, Signed};

use crate::recorder::{Call, Direction};

/// What a provider received in one call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Open(Signed<TrainRequest>),
    Begin(Vec<Signed<TrainAnnouncement>>),
    List(Vec<u8>),
    Statistic(Statistic, Vec<u8>),
    Grow(Place, Vec<Decision>),
    Sum(Place, Vec<Proposal>),
    Contributions(u16, Vec<Decision>),
    Parts(wire::Scale),
    Finish(wire::Scale, ModelCard, Hash),
    Countersign(Signed<Countersignature>),
}

/// What the bank received in one call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answered {
    Nothing,
    Accepted(Signed<TrainAcceptance>),
    Kept(Hash),
    Level(Vec<Proposal>, Vec<u8>),
    Ciphertexts(Vec<u8>),
    Receipt(Signed<TrainReceipt>),
}

/// A call whose every byte is accounted for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// The session that it names; nothing where its record does.
    pub(super) session: Option<Vec<u8>>,
    pub(super) asked: Asked,
    pub(super) answered: Answered,
}

/// All calls, and what is wrong with those that are none.
pub(super) fn seen(calls: &[Call]) -> (Vec<Seen>, Vec<String>) {
    let (mut all, mut findings) = (Vec::new(), Vec::new());
    for (at, call) in calls.iter().enumerate() {
        findings.extend(headers(call).map(|what| format!("call {at}, {}: {what}", call.path)));
        match Seen::of(call) {
            Ok(seen) => all.push(seen),
            Err(what) => findings.push(format!("call {at}, {}: {what}", call.path)),
        }
    }
    (all, findings)
}

/// Headers that no such call has, or that say something of their own.
fn headers(call: &Call) -> impl Iterator<Item = String> {
    let content = ("content-type", Some("application/grpc"));
    // Countersignatures have one time-out, always the same.
    let timeout = ("grpc-timeout", Some("10000000u"));
    let asked = [("te", Some("trailers")), content, ("user-agent", None), timeout];
    let answered = [content, ("grpc-status", Some("0")), ("date", None)];
    let strange = |direction: &Direction, known: &[(&str, Option<&str>)]| {
        let is_known = |(name, value): &&(String, String)| {
            let of = known.iter().find(|(known, _)| known == name);
            of.is_some_and(|(_, expected)| match expected {
                Some(expected) => expected == value,
                None => value.starts_with("tonic/") || name == "date",
            })
        };
        let strange = direction.headers.iter().filter(|header| !is_known(header));
        strange.map(|(name, value)| format!("header {name}: {value}")).collect::<Vec<_>>()
    };
    let all = [strange(&call.asked, &asked), strange(&call.answered, &answered)];
    all.into_iter().flatten()
}

impl Seen {
    fn of(call: &Call) -> Result<Self, String> {
        let (asked, answered) = (&call.asked, &call.answered);
        let (session, asked, answered) = match call.path.as_str() {
            "/windvane.train.v1.Train/Open" => (None, open(asked)?, accepted(answered)?),
            "/windvane.train.v1.Train/Begin" => with(begin(asked)?, begun(answered)?),
            "/windvane.train.v1.Train/Upload" => with(upload(asked)?, kept(answered)?),
            "/windvane.train.v1.Train/Grow" => with(grow(asked)?, grown(answered)?),
            "/windvane.train.v1.Train/Sum" => with(sum(asked)?, sums(answered)?),
            "/windvane.train.v1.Train/Contributions" => with(contributions(asked)?, rows(answered)?),
            "/windvane.train.v1.Train/Parts" => with(parts(asked)?, told(answered)?),
            "/windvane.train.v1.Train/Finish" => with(finish(asked)?, receipt(answered)?),
            "/windvane.audit.v1.Audit/Countersign" => (None, countersign(asked)?, countersigned(answered)?),
            _ => return Err("a call that nobody knows".to_owned()),
        };
        Ok(Self { session, asked, answered })
    }
}

fn with((session, asked): (Bytes, Asked), answered: Answered) -> (Option<Vec<u8>>, Asked, Answered) {
    (Some(session.to_vec()), asked, answered)
}

/// A message of which nothing is left over.
fn exact<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    let message = M::decode(bytes).map_err(|error| error.to_string())?;
    if message.encode_to_vec() == bytes { Ok(message) } else { Err("bytes that are no field".to_owned()) }
}

fn one<M: Message + Default>(direction: &Direction) -> Result<M, String> {
    match &direction.messages[..] {
        [message] => exact(message),
        several => Err(format!("{} messages instead of one", several.len())),
    }
}

fn many<M: Message + Default>(direction: &Direction) -> Result<Vec<M>, String> {
    direction.messages.iter().map(|message| exact(message)).collect()
}

/// A record and its signature, and nothing else.
fn signed<T: Record>(bytes: &Bytes) -> Result<Signed<T>, String> {
    let signed = Signed::<T>::from_bytes_unverified(bytes.to_vec()).map_err(|error| error.to_string())?;
    let body = signed.body().encode();
    let whole = bytes.starts_with(body.as_bytes()) && bytes.len() == body.as_bytes().len() + 64;
    if whole { Ok(signed) } else { Err("bytes that are no field of the record".to_owned()) }
}

/// Chunks of one upload or answer: all are full but the last.
fn joined(chunks: &[Bytes]) -> Result<Vec<u8>, String> {
    let full = |chunk: &Bytes| chunk.len() == MAX_TRAIN_CHUNK_BYTES;
    let whole = chunks.split_last().is_none_or(|(last, rest)| !last.is_empty() && rest.iter().all(full));
    if whole { Ok(chunks.concat()) } else { Err("chunks of other sizes than they have".to_owned()) }
}

fn narrow<T: TryFrom<u32>>(number: u32) -> Result<T, String> {
    number.try_into().map_err(|_| "a number beyond its range".to_owned())
}

fn open(direction: &Direction) -> Result<Asked, String> {
    let wire::OpenRequest { request } = one(direction)?;
    Ok(Asked::Open(signed(&request)?))
}

fn accepted(direction: &Direction) -> Result<Answered, String> {
    let wire::OpenResponse { acceptance } = one(direction)?;
    Ok(Answered::Accepted(signed(&acceptance)?))
}

fn begin(direction: &Direction) -> Result<(Bytes, Asked), String> {
    let wire::BeginRequest { session, announcements } = one(direction)?;
    Ok((session, Asked::Begin(announcements.iter().map(signed).collect::<Result<_, _>>()?)))
}

fn begun(direction: &Direction) -> Result<Answered, String> {
    let wire::BeginResponse {} = one(direction)?;
    Ok(Answered::Nothing)
}

fn upload(direction: &Direction) -> Result<(Bytes, Asked), String> {
    use wire::upload_header::Statistic as Named;
    use wire::upload_request::Body;
    let mut messages = many::<wire::UploadRequest>(direction)?.into_iter();
    let Some(wire::UploadRequest { body: Some(Body::Header(header)) }) = messages.next() else {
        return Err("an upload without a header".to_owned());
    };
    let chunk = |wire::UploadRequest { body }| match body {
        Some(Body::Chunk(chunk)) => Ok(chunk),
        Some(Body::Header(_)) | None => Err("no chunk".to_owned()),
    };
    let bytes = joined(&messages.map(chunk).collect::<Result<Vec<_>, _>>()?)?;
    let wire::UploadHeader { session, statistic } = header;
    let asked = match statistic.ok_or("an upload of nothing")? {
        Named::List(wire::Nothing {}) => Asked::List(bytes),
        Named::Indicator(wire::Nothing {}) => Asked::Statistic(Statistic::Indicator, bytes),
        Named::HeldOut(wire::Nothing {}) => Asked::Statistic(Statistic::HeldOut, bytes),
        Named::Residuals(block) => Asked::Statistic(Statistic::Residual { block: narrow(block)? }, bytes),
    };
    Ok((session, asked))
}

fn kept(direction: &Direction) -> Result<Answered, String> {
    let wire::UploadResponse { digest } = one(direction)?;
    Ok(Answered::Kept(digest.as_ref().try_into().map_err(|_| "no digest")?))
}

fn place(place: Option<wire::Place>) -> Result<(Bytes, Place), String> {
    let wire::Place { session, block, tree, level } = place.ok_or("no place")?;
    Ok((session, Place { block: narrow(block)?, tree: narrow(tree)?, level: narrow(level)? }))
}

fn decisions(made: &[wire::Decision]) -> Result<Vec<Decision>, String> {
    let decision = |wire::Decision { decision }: &wire::Decision| match decision.ok_or("no decision")? {
        wire::decision::Decision::Split(wire::Split { feature, bin }) => {
            Ok(Decision::Split(Split { feature: narrow(feature)?, bin: narrow(bin)? }))
        }
        wire::decision::Decision::Leaf(value) => Ok(Decision::Leaf(value)),
    };
    made.iter().map(decision).collect()
}

fn proposals(pairs: &[wire::Proposal]) -> Result<Vec<Proposal>, String> {
    let proposal = |wire::Proposal { right, groups }: &wire::Proposal| {
        let child = if *right { Child::Right } else { Child::Left };
        let groups = groups.iter().map(|lasts| Groups::new(lasts.to_vec()).map_err(|e| e.to_string()));
        Ok(Proposal { child, groups: groups.collect::<Result<_, String>>()? })
    };
    pairs.iter().map(proposal).collect()
}

fn grow(direction: &Direction) -> Result<(Bytes, Asked), String> {
    let wire::GrowRequest { place: at, decisions: made } = one(direction)?;
    let (session, at) = place(at)?;
    Ok((session, Asked::Grow(at, decisions(&made)?)))
}

fn grown(direction: &Direction) -> Result<Answered, String> {
    use wire::grow_response::Body;
    let mut messages = many::<wire::GrowResponse>(direction)?.into_iter();
    let Some(wire::GrowResponse { body: Some(Body::Proposals(wire::Proposals { pairs })) }) = messages.next()
    else {
        return Err("a level without proposals".to_owned());
    };
    let sums = |wire::GrowResponse { body }| match body {
        Some(Body::Sums(sums)) => Ok(sums),
        Some(Body::Proposals(_)) | None => Err("no sums".to_owned()),
    };
    let sums = joined(&messages.map(sums).collect::<Result<Vec<_>, _>>()?)?;
    Ok(Answered::Level(proposals(&pairs)?, sums))
}

fn sum(direction: &Direction) -> Result<(Bytes, Asked), String> {
    let wire::SumRequest { place: at, pairs } = one(direction)?;
    let (session, at) = place(at)?;
    Ok((session, Asked::Sum(at, proposals(&pairs)?)))
}

fn sums(direction: &Direction) -> Result<Answered, String> {
    let sums = |wire::SumResponse { sums }| sums;
    let chunks: Vec<_> = many(direction)?.into_iter().map(sums).collect();
    Ok(Answered::Ciphertexts(joined(&chunks)?))
}

fn contributions(direction: &Direction) -> Result<(Bytes, Asked), String> {
    let wire::ContributionsRequest { session, block, decisions: made } = one(direction)?;
    Ok((session, Asked::Contributions(narrow(block)?, decisions(&made)?)))
}

fn rows(direction: &Direction) -> Result<Answered, String> {
    let rows = |wire::ContributionsResponse { rows }| rows;
    let chunks: Vec<_> = many(direction)?.into_iter().map(rows).collect();
    Ok(Answered::Ciphertexts(joined(&chunks)?))
}

fn parts(direction: &Direction) -> Result<(Bytes, Asked), String> {
    let wire::PartsRequest { session, scale } = one(direction)?;
    Ok((session, Asked::Parts(scale.ok_or("no scale")?)))
}

fn told(direction: &Direction) -> Result<Answered, String> {
    let rows = |wire::PartsResponse { rows }| rows;
    let chunks: Vec<_> = many(direction)?.into_iter().map(rows).collect();
    Ok(Answered::Ciphertexts(joined(&chunks)?))
}

fn finish(direction: &Direction) -> Result<(Bytes, Asked), String> {
    let wire::FinishRequest { session, scale, card, steps } = one(direction)?;
    let decoded = ModelCard::decode(&card).map_err(|error| error.to_string())?;
    if decoded.encode().as_bytes() != card.as_ref() {
        return Err("bytes that are no field of the card".to_owned());
    }
    let steps = steps.as_ref().try_into().map_err(|_| "no hash")?;
    Ok((session, Asked::Finish(scale.ok_or("no scale")?, decoded, steps)))
}

fn receipt(direction: &Direction) -> Result<Answered, String> {
    let wire::FinishResponse { receipt } = one(direction)?;
    Ok(Answered::Receipt(signed(&receipt)?))
}

fn countersign(direction: &Direction) -> Result<Asked, String> {
    let CountersignRequest { countersignature } = one(direction)?;
    Ok(Asked::Countersign(signed(&countersignature)?))
}

fn countersigned(direction: &Direction) -> Result<Answered, String> {
    let CountersignResponse {} = one(direction)?;
    Ok(Answered::Nothing)
}
