//! Encoded messages of every kind: what the pass before decoding lets through is decoded within its bound.

use bytes::Bytes;
use windvane_proto::decode::MESSAGES;

use crate::limit;

/// What may be allocated besides: what several parts share of one buffer, an error's words, and whatever else this process
/// does meanwhile.
const BESIDE: usize = 64 << 10;

pub(super) fn decoding(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let kind = &MESSAGES[usize::from(*first) % MESSAGES.len()];
    let message = Bytes::copy_from_slice(rest);
    // It is encoded again in no more bytes than it came in.
    let most = kind.shape.most_bytes() + rest.len() + BESIDE;
    if let Ok(again) = limit::further(most, || (kind.again)(message)) {
        assert!(again.len() <= rest.len(), "{} grows when it is encoded again", kind.name);
        assert_eq!(kind.shape.check(&again), Ok(()), "{} is refused once it is encoded again", kind.name);
        assert_eq!((kind.again)(Bytes::from(again.clone())), Ok(again), "{} is another", kind.name);
    }
}
