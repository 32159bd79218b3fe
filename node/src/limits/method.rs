//! What each method is for, and how large its messages may be: a field of 32 bytes needs no megabytes.

use windvane_proto::decode::{self, Shape};
use windvane_protocols::limits::{MAX_DOCUMENT_BYTES, MAX_MESSAGE_BYTES};

use crate::functions::Function;

/// How a method's calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Short: one message, one answer, in seconds.
    Call,
    /// Long: streams, and steps of trainings and setups.
    Transfer,
}

/// What the node knows of a method before it reads a message of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) class: Class,
    /// The largest message.
    pub(super) max_bytes: usize,
    /// What decoding one allocates beside its own bytes, at most.
    pub(super) decoded_bytes: usize,
    /// Whether there is one message only.
    pub(super) single: bool,
    /// What must be switched on; lookups are looked at more closely once they are read.
    pub(super) function: Option<Function>,
}

/// Names, numbers and times.
const SMALL: usize = 4 << 10;

/// A chunk of 512 KiB with its frame, or what a job of many buckets opens with.
const CHUNK: usize = 1 << 20;

/// A signed document, with its frame.
const DOCUMENT: usize = 2 * MAX_DOCUMENT_BYTES;

const fn single(class: Class, max_bytes: usize, function: Option<Function>) -> Method {
    Method { class, max_bytes, decoded_bytes: 0, single: true, function }
}

const fn stream(max_bytes: usize, function: Function) -> Method {
    Method { class: Class::Transfer, max_bytes, decoded_bytes: 0, single: false, function: Some(function) }
}

impl Method {
    /// By the path of its request.
    pub(super) fn of(path: &str) -> Self {
        let method = Self::sized(path);
        // A message that is not ours has texts and numbers alone, which are copied.
        let decoded_bytes = decode::request(path).map_or(method.max_bytes, Shape::most_bytes);
        Self { decoded_bytes, ..method }
    }

    fn sized(path: &str) -> Self {
        use Class::{Call, Transfer};
        let (scoring, training) = (Some(Function::Scoring), Some(Function::Training));
        match path {
            "/windvane.lookup.v1.Lookup/Evaluate" => single(Call, MAX_MESSAGE_BYTES, None),
            "/windvane.lookup.v1.Lookup/FetchPages" => single(Transfer, SMALL, None),
            "/windvane.audit.v1.Audit/Countersign" => single(Call, DOCUMENT, None),
            "/windvane.score.v1.Score/FetchTableManifest" => single(Call, SMALL, scoring),
            "/windvane.score.v1.Score/FetchTable" => single(Transfer, SMALL, scoring),
            "/windvane.psi.v1.Psi/Run" => stream(CHUNK, Function::Screening),
            "/windvane.train.v1.Train/Upload" => stream(CHUNK, Function::Training),
            _ if path.starts_with("/windvane.score.v1.") => single(Transfer, MAX_MESSAGE_BYTES, scoring),
            _ if path.starts_with("/windvane.train.v1.") => single(Transfer, MAX_MESSAGE_BYTES, training),
            // A watch of the health lasts.
            "/grpc.health.v1.Health/Watch" => single(Transfer, SMALL, None),
            _ => single(Call, SMALL, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitsConfig;

    #[test]
    fn only_what_carries_many_elements_may_be_large() {
        assert_eq!(Method::of("/windvane.lookup.v1.Lookup/Evaluate").max_bytes, MAX_MESSAGE_BYTES);
        for small in ["/windvane.lookup.v1.Lookup/FetchManifest", "/windvane.common.v1.Peer/Hello", "/x/Y"] {
            let method = Method::of(small);
            assert_eq!(Method { decoded_bytes: 0, ..method }, single(Class::Call, SMALL, None), "{small}");
            assert!((1..=SMALL).contains(&method.decoded_bytes), "{small}");
        }
        assert_eq!(Method::of("/windvane.train.v1.Train/Grow").function, Some(Function::Training));
    }

    #[test]
    fn two_of_the_largest_messages_fit_a_peers_memory_with_what_they_are_decoded_to() {
        let least = LimitsConfig { memory_per_peer_mb: 8, ..LimitsConfig::default() };
        for path in ["/windvane.lookup.v1.Lookup/Evaluate", "/windvane.train.v1.Train/Sum"] {
            let method = Method::of(path);
            assert!(2 * (method.max_bytes + method.decoded_bytes) < least.memory_per_peer_mb << 20, "{path}");
        }
        let streamed = Method::of("/windvane.psi.v1.Psi/Run");
        assert_eq!(streamed.decoded_bytes, 0, "a frame has many messages, for each of which it would count");
    }
}
