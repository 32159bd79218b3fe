//! `windvane.train.v1`.

use bytes::Bytes;
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, MAX_TRAIN_CHUNK_BYTES, MAX_TRAIN_RECEIPT_BYTES};
use windvane_protocols::party::SessionId;
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::train::elgamal::Statistic;
use windvane_protocols::train::record::{TrainAcceptance, TrainAnnouncement, TrainReceipt, TrainRequest};
use windvane_protocols::train::scale::{Scaling, Span, Values};
use windvane_protocols::transcript::{Hash, Record as _, Signed};

use super::{WireError, array, signed, within};
use crate::train::v1 as wire;

mod steps;

pub use steps::{
    TrainGrown, TrainStep, contributions_request, grow_request, parts_request, sum_request, train_parts,
    train_rows, train_sums,
};

/// What all providers announced, as the bank relays it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainBegin {
    /// The session.
    pub session: SessionId,
    /// One of every provider; their signatures are not checked yet.
    pub announcements: Vec<Signed<TrainAnnouncement>>,
}

/// What is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrainUploaded {
    /// The listed positions.
    List,
    /// An encrypted statistic of all listed rows.
    Statistic(Statistic),
}

/// A message of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrainUpload {
    /// The first one: what follows, and of which session.
    Header(SessionId, TrainUploaded),
    /// The next bytes.
    Chunk(Bytes),
}

/// The end of a training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainFinish {
    /// The session.
    pub session: SessionId,
    /// How the provider's contributions become parts.
    pub scaling: Scaling,
    /// What everybody knows of the model.
    pub card: ModelCard,
    /// The hash over all steps.
    pub steps: Hash,
}

impl TryFrom<wire::OpenRequest> for Signed<TrainRequest> {
    type Error = WireError;

    fn try_from(message: wire::OpenRequest) -> Result<Self, WireError> {
        signed("request", &message.request)
    }
}

impl From<&Signed<TrainRequest>> for wire::OpenRequest {
    fn from(request: &Signed<TrainRequest>) -> Self {
        Self { request: copied(request.as_bytes()) }
    }
}

impl TryFrom<wire::OpenResponse> for Signed<TrainAcceptance> {
    type Error = WireError;

    fn try_from(message: wire::OpenResponse) -> Result<Self, WireError> {
        signed("acceptance", &message.acceptance)
    }
}

impl From<Signed<TrainAcceptance>> for wire::OpenResponse {
    fn from(acceptance: Signed<TrainAcceptance>) -> Self {
        Self { acceptance: copied(acceptance.as_bytes()) }
    }
}

impl TryFrom<wire::BeginRequest> for TrainBegin {
    type Error = WireError;

    fn try_from(message: wire::BeginRequest) -> Result<Self, WireError> {
        let announcements = message.announcements.iter().map(|bytes| signed("announcement", bytes));
        Ok(Self {
            session: session(&message.session)?,
            announcements: announcements.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&TrainBegin> for wire::BeginRequest {
    fn from(begin: &TrainBegin) -> Self {
        let announcements = begin.announcements.iter().map(|announced| copied(announced.as_bytes()));
        Self { session: copied(begin.session.as_bytes()), announcements: announcements.collect() }
    }
}

impl From<()> for wire::BeginResponse {
    fn from((): ()) -> Self {
        Self {}
    }
}

impl TryFrom<wire::UploadRequest> for TrainUpload {
    type Error = WireError;

    fn try_from(message: wire::UploadRequest) -> Result<Self, WireError> {
        use wire::upload_header::Statistic as Named;
        let form = |expected| WireError::Form { field: "upload", expected };
        match message.body.ok_or(form("of a known kind"))? {
            wire::upload_request::Body::Chunk(chunk) => {
                within("chunk", chunk.len(), MAX_TRAIN_CHUNK_BYTES)?;
                Ok(Self::Chunk(chunk))
            }
            wire::upload_request::Body::Header(header) => {
                let uploaded = match header.statistic.ok_or(form("of a known statistic"))? {
                    Named::List(_) => TrainUploaded::List,
                    Named::Indicator(_) => TrainUploaded::Statistic(Statistic::Indicator),
                    Named::HeldOut(_) => TrainUploaded::Statistic(Statistic::HeldOut),
                    Named::Residuals(block) => {
                        let block = block.try_into().map_err(|_| form("of a block within its limit"))?;
                        TrainUploaded::Statistic(Statistic::Residual { block })
                    }
                };
                Ok(Self::Header(session(&header.session)?, uploaded))
            }
        }
    }
}

impl From<TrainUpload> for wire::UploadRequest {
    fn from(upload: TrainUpload) -> Self {
        use wire::upload_header::Statistic as Named;
        let body = match upload {
            TrainUpload::Chunk(chunk) => wire::upload_request::Body::Chunk(chunk),
            TrainUpload::Header(session, uploaded) => {
                let statistic = match uploaded {
                    TrainUploaded::List => Named::List(wire::Nothing {}),
                    TrainUploaded::Statistic(Statistic::Indicator) => Named::Indicator(wire::Nothing {}),
                    TrainUploaded::Statistic(Statistic::HeldOut) => Named::HeldOut(wire::Nothing {}),
                    TrainUploaded::Statistic(Statistic::Residual { block }) => Named::Residuals(block.into()),
                };
                let header =
                    wire::UploadHeader { session: copied(session.as_bytes()), statistic: Some(statistic) };
                wire::upload_request::Body::Header(header)
            }
        };
        Self { body: Some(body) }
    }
}

/// The digest of what a provider keeps of an upload.
///
/// # Errors
/// [`WireError`].
pub fn train_upload_digest(message: &wire::UploadResponse) -> Result<Hash, WireError> {
    array("digest", &message.digest)
}

impl From<Hash> for wire::UploadResponse {
    fn from(digest: Hash) -> Self {
        Self { digest: copied(&digest) }
    }
}

impl TryFrom<wire::FinishRequest> for TrainFinish {
    type Error = WireError;

    fn try_from(message: wire::FinishRequest) -> Result<Self, WireError> {
        let form = |field, expected| WireError::Form { field, expected };
        within("card", message.card.len(), MAX_DOCUMENT_BYTES)?;
        let scaling = scaling(message.scale)?;
        Ok(Self {
            session: session(&message.session)?,
            scaling,
            card: ModelCard::decode(&message.card).map_err(|_| form("card", "a model's card"))?,
            steps: array("steps", &message.steps)?,
        })
    }
}

impl From<&TrainFinish> for wire::FinishRequest {
    fn from(finish: &TrainFinish) -> Self {
        Self {
            session: copied(finish.session.as_bytes()),
            scale: Some(to_scale(finish.scaling)),
            card: finish.card.encode().into_bytes().into(),
            steps: copied(&finish.steps),
        }
    }
}

impl TryFrom<wire::FinishResponse> for Signed<TrainReceipt> {
    type Error = WireError;

    fn try_from(message: wire::FinishResponse) -> Result<Self, WireError> {
        within("receipt", message.receipt.len(), MAX_TRAIN_RECEIPT_BYTES)?;
        Self::from_bytes_unverified(message.receipt.to_vec())
            .map_err(|_| WireError::Form { field: "receipt", expected: "a well-formed signed record" })
    }
}

impl From<Signed<TrainReceipt>> for wire::FinishResponse {
    fn from(receipt: Signed<TrainReceipt>) -> Self {
        Self { receipt: copied(receipt.as_bytes()) }
    }
}

fn scaling(scale: Option<wire::Scale>) -> Result<Scaling, WireError> {
    let form = |expected| WireError::Form { field: "scale", expected };
    let scale = scale.ok_or(form("given"))?;
    let span = Span::new(scale.minimum, scale.maximum);
    let span = span.map_err(|_| form("a span that holds 0 and is within its limit"))?;
    let values = if scale.coarse { Values::Coarse } else { Values::Fine };
    Scaling::new(scale.widest, span, values).map_err(|_| form("as wide as the span, and within its limit"))
}

fn to_scale(scaling: Scaling) -> wire::Scale {
    wire::Scale {
        widest: scaling.scale().widest(),
        minimum: scaling.span().minimum(),
        maximum: scaling.span().maximum(),
        coarse: scaling.values() == Values::Coarse,
    }
}

fn session(bytes: &[u8]) -> Result<SessionId, WireError> {
    Ok(SessionId::from_bytes(array("session", bytes)?))
}

fn copied(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId::from_bytes([7; 16]);

    #[test]
    fn uploads_survive_the_wire_and_oversized_chunks_do_not() {
        let residuals = TrainUploaded::Statistic(Statistic::Residual { block: 9 });
        for upload in [
            TrainUpload::Header(SESSION, TrainUploaded::List),
            TrainUpload::Header(SESSION, TrainUploaded::Statistic(Statistic::Indicator)),
            TrainUpload::Header(SESSION, TrainUploaded::Statistic(Statistic::HeldOut)),
            TrainUpload::Header(SESSION, residuals),
            TrainUpload::Chunk(vec![3; MAX_TRAIN_CHUNK_BYTES].into()),
        ] {
            assert_eq!(TrainUpload::try_from(wire::UploadRequest::from(upload.clone())), Ok(upload));
        }
        let (found, limit) = (MAX_TRAIN_CHUNK_BYTES + 1, MAX_TRAIN_CHUNK_BYTES);
        let long = wire::UploadRequest::from(TrainUpload::Chunk(vec![3; found].into()));
        assert_eq!(TrainUpload::try_from(long), Err(WireError::Size { field: "chunk", found, limit }));
    }

    #[test]
    fn uploads_of_nothing_known_are_refused() {
        use wire::upload_header::Statistic as Named;
        let header = |session: &[u8], statistic| wire::UploadRequest {
            body: Some(wire::upload_request::Body::Header(wire::UploadHeader {
                session: copied(session),
                statistic,
            })),
        };
        assert!(TrainUpload::try_from(wire::UploadRequest { body: None }).is_err());
        assert!(TrainUpload::try_from(header(&[7; 16], None)).is_err());
        assert!(TrainUpload::try_from(header(&[7; 15], Some(Named::List(wire::Nothing {})))).is_err());
        assert!(TrainUpload::try_from(header(&[7; 16], Some(Named::Residuals(1 << 16)))).is_err());
    }

    #[test]
    fn a_finish_without_a_scale_or_with_one_that_cannot_be_is_refused() {
        let with = |scale| wire::FinishRequest { scale, ..Default::default() };
        let field = |message| match TrainFinish::try_from(message) {
            Err(WireError::Form { field, .. } | WireError::Size { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(with(None)), "scale");
        let scale = |minimum, maximum| Some(wire::Scale { widest: 3, minimum, maximum, coarse: false });
        for (minimum, maximum) in [(1, 2), (-2, 2)] {
            let wrong = with(scale(minimum, maximum));
            assert_eq!(field(wire::FinishRequest { session: copied(&[7; 16]), ..wrong }), "scale");
        }
        assert_eq!(field(wire::FinishRequest { session: copied(&[7; 16]), ..with(scale(-1, 2)) }), "card");
        let card = vec![0; MAX_DOCUMENT_BYTES + 1].into();
        assert_eq!(field(wire::FinishRequest { card, ..with(scale(0, 0)) }), "card");
    }
}
