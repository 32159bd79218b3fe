//! What a peer's answer says that is none: its refusal, or what is wrong with what it sent.

use tonic::{Code, Status};
use windvane_proto::convert::{CODE_KEY, WireError};

use super::RETRY_KEY;

/// What a peer answered instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct PeerError {
    /// The peer's stable code, or one of ours when it gave none.
    pub code: String,
    /// The peer's words, for people; never parsed.
    pub message: String,
    /// When another attempt may succeed, milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Longest text that is taken over from a peer.
const MAX_PEER_TEXT_BYTES: usize = 256;

/// What it answered is not what it should be.
impl From<WireError> for PeerError {
    fn from(error: WireError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string(), retry_after_ms: None }
    }
}

impl From<&Status> for PeerError {
    fn from(status: &Status) -> Self {
        // Headers that came with an answer that was not decoded stand in its status as well.
        if let Some(error) = WireError::of(status) {
            return error.clone().into();
        }
        let text = |key| status.metadata().get(key).and_then(|value| value.to_str().ok());
        let ours = match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => "DEADLINE_EXCEEDED",
            Code::Unavailable => "PEER_UNAVAILABLE",
            _ => "PEER_ERROR",
        };
        let code = text(CODE_KEY).filter(|code| is_code(code)).unwrap_or(ours);
        let printable = status.message().chars().filter(|c| !c.is_control());
        Self {
            code: code.to_owned(),
            message: printable.take(MAX_PEER_TEXT_BYTES).collect(),
            retry_after_ms: text(RETRY_KEY).and_then(|ms| ms.parse().ok()),
        }
    }
}

/// A peer's code reaches logs and reports, so it must look like one.
fn is_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;
    use crate::error::Refusal;

    #[test]
    fn a_refusal_keeps_its_code_over_the_wire() {
        let refusal = Refusal::QuotaExhausted { quota: "per day", retry_after_ms: Some(1_500) };
        let error = PeerError::from(&Status::from(refusal));
        assert_eq!(error.code, "GRANT_EXHAUSTED");
        assert_eq!(error.retry_after_ms, Some(1_500));
    }

    #[test]
    fn a_peers_text_that_is_no_code_is_not_taken_over() {
        let mut status = Status::new(Code::Unknown, "line\nbreak");
        status.metadata_mut().insert(CODE_KEY, MetadataValue::from_static("drop table"));
        let error = PeerError::from(&status);
        assert_eq!(error.code, "PEER_ERROR");
        assert_eq!(error.message, "linebreak");
    }

    #[test]
    fn an_answer_that_was_not_decoded_is_malformed_whatever_headers_came_with_it() {
        let malformed = WireError::Size { field: "groups", found: 11, limit: 10 };
        let mut status = Status::from(malformed.clone());
        status.metadata_mut().insert(CODE_KEY, MetadataValue::from_static("EPOCH_UNKNOWN"));
        let error = PeerError::from(&status);
        assert_eq!((error.code.as_str(), error.message), ("MESSAGE_TOO_LARGE", malformed.to_string()));
    }
}
