//! A bucket's conversation, protocol by protocol: what the engine drives without knowing which it is.
//!
//! A conversation is messages in turn, the receiver's first. Each side is a function from the peer's last
//! message to its own next one and what comes after it. Where a protocol's buckets depend on one another (a
//! vector OLE bootstraps from the one before), a *chain* passes from bucket to bucket in their order; a bucket
//! gives it on as soon as it can, and what follows overlaps with the next buckets.

use bytes::Bytes;
use windvane_protocols::psi::{ItemKey, PSI_SALT_BYTES, Parameters};

use super::PsiError;

/// A bucket's items, all different.
#[derive(Debug, Default)]
pub(super) struct BucketItems {
    /// Keys within the bucket.
    pub(super) keys: Vec<ItemKey>,
    /// For every item, the number of its row in the file.
    pub(super) rows: Vec<u64>,
    /// For every item of a sender what travels with a match; empty where nothing does.
    pub(super) payloads: Vec<Vec<u8>>,
}

/// What a bucket gave the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Row numbers, ascending, with the payloads where they travel.
    Matches(Vec<(u64, Vec<u8>)>),
    /// The number of matches only.
    Count(u64),
    /// Fewer matches than the minimum: how many. They stay unknown.
    Below(u64),
}

/// The rest of a conversation.
pub(super) type Then<T, C> = Box<dyn FnOnce(Bytes) -> Result<Turn<T, C>, PsiError> + Send>;

/// What a sender does with a bucket's first message, and the chain if it is free already.
pub(super) type Begun<C> = (Then<(), C>, Option<C>);

/// A side's next move.
pub(super) enum Turn<T, C> {
    /// Send this and wait for the peer's next message.
    Ask {
        /// The message.
        message: Vec<u8>,
        /// The chain, once this bucket no longer needs it.
        chain: Option<C>,
        /// What to do with the peer's next message.
        then: Then<T, C>,
        /// At a sender: what the bucket gave if the receiver says instead that it is done.
        or_done: Option<T>,
    },
    /// Work goes on with nothing to send yet: the chain is free, so that later buckets can begin meanwhile.
    Work {
        /// The chain.
        chain: C,
        /// The work.
        then: Box<dyn FnOnce() -> Result<Turn<T, C>, PsiError> + Send>,
    },
    /// The conversation is over, after this message where there is one.
    End {
        /// The last message.
        message: Option<Vec<u8>>,
        /// The chain, unless it was given on before.
        chain: Option<C>,
        /// What the bucket gave.
        result: T,
    },
}

/// The receiver's side of a protocol, for one connection.
pub(super) trait ReceiverSide: Send + Sync + 'static {
    /// What passes from bucket to bucket.
    type Chain: Send + 'static;

    /// Lengths of the sender's messages about a bucket, in order.
    fn incoming(&self) -> &[usize];

    /// Begins a bucket.
    ///
    /// # Errors
    /// [`PsiError`].
    fn start(
        &self,
        bucket: u32,
        items: BucketItems,
        chain: Self::Chain,
    ) -> Result<Turn<Outcome, Self::Chain>, PsiError>;
}

/// The sender's side of a protocol, for one connection.
pub(super) trait SenderSide: Send + Sync + 'static {
    /// What passes from bucket to bucket.
    type Chain: Send + 'static;

    /// Lengths of the receiver's messages about a bucket, in order; the longest where one varies.
    fn incoming(&self) -> &[usize];

    /// Begins a bucket: what to do with the receiver's first message, and the chain if it is free already.
    ///
    /// # Errors
    /// [`PsiError`].
    fn start(
        &self,
        bucket: u32,
        items: BucketItems,
        chain: Self::Chain,
    ) -> Result<Begun<Self::Chain>, PsiError>;
}

/// What both sides of a connection know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common {
    /// What both computed alike.
    pub(super) parameters: Parameters,
    /// The salt of both nonces.
    pub(super) salt: [u8; PSI_SALT_BYTES],
    /// Threads for one bucket.
    pub(super) threads: usize,
}

/// Buckets from which on each gets one thread, because several are under way.
const MANY_BUCKETS: u32 = 4;

impl Common {
    /// Many buckets share the cores by running beside each other, few by running on several threads each.
    pub(super) fn new(parameters: Parameters, salt: [u8; PSI_SALT_BYTES]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if parameters.buckets() < MANY_BUCKETS { cores } else { 1 };
        Self { parameters, salt, threads }
    }
}
