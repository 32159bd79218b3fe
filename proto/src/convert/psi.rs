//! `windvane.psi.v1`.

use bytes::Bytes;
use windvane_protocols::audit::receipt::Countersignature;
use windvane_protocols::limits::{
    MAX_PSI_ATTEMPTS, MAX_PSI_BUCKETS, MAX_PSI_CHUNK_BYTES, MAX_PSI_SETUP_BYTES,
};
use windvane_protocols::psi::{PsiAcceptance, PsiReceipt, PsiRequest};
use windvane_protocols::transcript::{Hash, Signed};

use super::{WireError, array, signed, within};
use crate::psi::v1::{
    Accept, Chunk, Countersign, Done, Finish, Frame, Open, Progress, Receipt, Setup, frame::Body,
};

/// A finished bucket in an opening: its number, big-endian, and its hash.
const FINISHED_BYTES: usize = 4 + 32;

/// A part of a bucket's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsiPart {
    /// The bucket.
    pub bucket: u32,
    /// Which of its messages, from 0.
    pub message: u32,
    /// The part.
    pub data: Bytes,
}

/// How a connection opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsiOpen {
    /// The request; its signature is not checked yet.
    pub request: Signed<PsiRequest>,
    /// Connections of the job so far, this one included.
    pub attempt: u64,
    /// Buckets whose results the requester keeps, with their hashes.
    pub finished: Vec<(u32, [u8; 32])>,
}

/// Anything that travels in a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PsiFrame {
    /// The requester opens.
    Open(Box<PsiOpen>),
    /// The provider accepts; its signature is not checked yet.
    Accept(Box<Signed<PsiAcceptance>>),
    /// What a protocol needs for the whole connection.
    Setup(Bytes),
    /// A part of a bucket's message.
    Part(PsiPart),
    /// The requester keeps a bucket's result.
    Done(u32),
    /// The sender is alive: so many buckets are finished.
    Progress(u32),
    /// The requester is through.
    Finish(Hash),
    /// The provider's receipt; its signature is not checked yet.
    Receipt(Box<Signed<PsiReceipt>>),
    /// The requester's countersignature; it is not checked yet.
    Countersign(Signed<Countersignature>),
}

impl PsiFrame {
    /// The frame's name, for errors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Accept(_) => "accept",
            Self::Setup(_) => "setup",
            Self::Part(_) => "chunk",
            Self::Done(_) => "done",
            Self::Progress(_) => "progress",
            Self::Finish(_) => "finish",
            Self::Receipt(_) => "receipt",
            Self::Countersign(_) => "countersign",
        }
    }
}

impl TryFrom<Frame> for PsiFrame {
    type Error = WireError;

    fn try_from(frame: Frame) -> Result<Self, WireError> {
        let body = frame.body.ok_or(WireError::Form { field: "frame", expected: "of a known kind" })?;
        Ok(match body {
            Body::Open(open) => Self::Open(Box::new(open.try_into()?)),
            Body::Accept(accept) => Self::Accept(Box::new(signed("acceptance", &accept.acceptance)?)),
            Body::Setup(setup) => {
                within("setup", setup.data.len(), MAX_PSI_SETUP_BYTES)?;
                Self::Setup(setup.data)
            }
            Body::Chunk(Chunk { bucket, message, data }) => {
                within("chunk", data.len(), MAX_PSI_CHUNK_BYTES)?;
                Self::Part(PsiPart { bucket, message, data })
            }
            Body::Done(done) => Self::Done(done.bucket),
            Body::Progress(progress) => Self::Progress(progress.finished),
            Body::Finish(finish) => Self::Finish(array("transcript", &finish.transcript)?),
            Body::Receipt(receipt) => Self::Receipt(Box::new(signed("receipt", &receipt.receipt)?)),
            Body::Countersign(c) => Self::Countersign(signed("countersignature", &c.countersignature)?),
        })
    }
}

impl TryFrom<Open> for PsiOpen {
    type Error = WireError;

    fn try_from(open: Open) -> Result<Self, WireError> {
        let (finished, rest) = open.finished.as_chunks::<FINISHED_BYTES>();
        within("finished", finished.len(), MAX_PSI_BUCKETS as usize)?;
        if !rest.is_empty() {
            return Err(WireError::Form { field: "finished", expected: "of 36 bytes for each bucket" });
        }
        let attempt = u64::from(open.attempt);
        if !(1..=MAX_PSI_ATTEMPTS).contains(&attempt) {
            return Err(WireError::Form { field: "attempt", expected: "within the limit of attempts" });
        }
        let finished =
            finished.iter().map(|[a, b, c, d, hash @ ..]| (u32::from_be_bytes([*a, *b, *c, *d]), *hash));
        let finished: Vec<_> = finished.collect();
        if finished.iter().any(|(bucket, _)| u64::from(*bucket) >= MAX_PSI_BUCKETS) {
            return Err(WireError::Form { field: "finished", expected: "of buckets that there can be" });
        }
        Ok(Self { request: signed("request", &open.request)?, attempt, finished })
    }
}

impl From<PsiFrame> for Frame {
    fn from(frame: PsiFrame) -> Self {
        let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let body = match frame {
            PsiFrame::Open(open) => Body::Open(Open {
                request: bytes(open.request.as_bytes()),
                attempt: open.attempt as u32,
                finished: finished(&open.finished),
            }),
            PsiFrame::Accept(acceptance) => Body::Accept(Accept { acceptance: bytes(acceptance.as_bytes()) }),
            PsiFrame::Setup(data) => Body::Setup(Setup { data }),
            PsiFrame::Part(PsiPart { bucket, message, data }) => Body::Chunk(Chunk { bucket, message, data }),
            PsiFrame::Done(bucket) => Body::Done(Done { bucket }),
            PsiFrame::Progress(finished) => Body::Progress(Progress { finished }),
            PsiFrame::Finish(transcript) => Body::Finish(Finish { transcript: bytes(&transcript) }),
            PsiFrame::Receipt(receipt) => Body::Receipt(Receipt { receipt: bytes(receipt.as_bytes()) }),
            PsiFrame::Countersign(signed) => {
                Body::Countersign(Countersign { countersignature: bytes(signed.as_bytes()) })
            }
        };
        Self { body: Some(body) }
    }
}

fn finished(buckets: &[(u32, [u8; 32])]) -> Bytes {
    let record = |(bucket, hash): &(u32, [u8; 32])| bucket.to_be_bytes().into_iter().chain(*hash);
    buckets.iter().flat_map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_the_wire_and_oversized_ones_do_not() {
        let part = |len| PsiFrame::Part(PsiPart { bucket: 1, message: 2, data: vec![7; len].into() });
        assert_eq!(PsiFrame::try_from(Frame::from(part(9))), Ok(part(9)));
        let found = MAX_PSI_CHUNK_BYTES + 1;
        let error = PsiFrame::try_from(Frame::from(part(found))).unwrap_err();
        assert_eq!(error, WireError::Size { field: "chunk", found, limit: MAX_PSI_CHUNK_BYTES });
    }

    #[test]
    fn frames_without_a_body_or_with_a_short_hash_are_refused() {
        assert!(PsiFrame::try_from(Frame { body: None }).is_err());
        let finish = Finish { transcript: vec![0; 63].into() };
        assert!(PsiFrame::try_from(Frame { body: Some(Body::Finish(finish)) }).is_err());
    }

    #[test]
    fn an_opening_names_an_attempt_and_not_too_many_buckets() {
        let open = |attempt, buckets: u64| Open {
            attempt,
            finished: finished(&(0..buckets).map(|b| (b as u32, [0; 32])).collect::<Vec<_>>()),
            ..Open::default()
        };
        let field = |open| match PsiOpen::try_from(open) {
            Err(WireError::Size { field, .. } | WireError::Form { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(open(0, 0)), "attempt");
        assert_eq!(field(open(MAX_PSI_ATTEMPTS as u32 + 1, 0)), "attempt");
        assert_eq!(field(open(1, MAX_PSI_BUCKETS + 1)), "finished");
        assert_eq!(field(open(1, 1)), "request");
        assert_eq!(field(Open { finished: vec![0; 35].into(), ..open(1, 0) }), "finished");
        assert_eq!(field(Open { finished: vec![1; 36].into(), ..open(1, 0) }), "finished");
    }
}
