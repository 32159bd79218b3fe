//! Buckets under way on one connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use windvane_proto::convert::PsiPart;

use super::PsiError;
use super::engine::{Connection, SharedFolder, WINDOW};
use super::input::Buckets;
use super::link::Assembly;
use crate::error::NodeError;

/// A bucket under way: its next message, and where whole ones go. There is room for all of them, which the parameters
/// bound: a driver never waits for a bucket, or one whose messages came ahead of its turn would keep the driver from its
/// clocks, and from the bucket whose turn it is.
struct Flight {
    assembly: Assembly,
    inbox: mpsc::Sender<Bytes>,
}

/// All buckets under way, and their conversations.
pub(super) struct Flights<T> {
    open: BTreeMap<u32, Flight>,
    tasks: JoinSet<Result<T, PsiError>>,
}

/// What every bucket's conversation is made of.
pub(super) struct Task<S> {
    pub(super) side: Arc<S>,
    pub(super) input: Arc<dyn Buckets>,
    pub(super) folder: SharedFolder,
    pub(super) connection: Connection,
    pub(super) bucket: u32,
}

impl<T: Send + 'static> Flights<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { open: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Whether as many buckets are under way as may be.
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= WINDOW
    }

    /// Whether a bucket is under way.
    pub(super) fn contains(&self, bucket: u32) -> bool {
        self.open.contains_key(&bucket)
    }

    /// Whether no conversation goes on.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// A bucket begins, for which the peer sends messages of these lengths; `converse` is given them.
    pub(super) fn begin<F>(
        &mut self,
        bucket: u32,
        lengths: &[usize],
        converse: impl FnOnce(mpsc::Receiver<Bytes>) -> F,
    ) where
        F: Future<Output = Result<T, PsiError>> + Send + 'static,
    {
        let (inbox, messages) = mpsc::channel(lengths.len().max(1));
        self.open.insert(bucket, Flight { assembly: Assembly::new(bucket, lengths), inbox });
        self.tasks.spawn(converse(messages));
    }

    /// Takes a part of a bucket's message; a whole one goes to the conversation.
    pub(super) fn take(&mut self, part: &PsiPart) -> Result<(), PsiError> {
        let bucket = part.bucket;
        let flight = self.open.get_mut(&bucket).ok_or(PsiError::Bucket { bucket })?;
        if let Some(message) = flight.assembly.take(part)? {
            // A bucket that failed says so itself.
            let _ = flight.inbox.try_send(message);
        }
        Ok(())
    }

    /// What the next conversation that ends gave; `None` when there is none.
    pub(super) async fn ended(&mut self) -> Option<Result<T, PsiError>> {
        let stopped = |_| NodeError::Given { code: "INTERNAL", message: "a bucket stopped".into() };
        Some(self.tasks.join_next().await?.map_err(stopped).map_err(PsiError::from).flatten())
    }

    /// A bucket is through; whether it was under way.
    pub(super) fn land(&mut self, bucket: u32) -> bool {
        self.open.remove(&bucket).is_some()
    }

    /// Gives up all conversations; none holds anything afterwards.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_ahead_of_their_turn_wait_in_their_bucket_and_not_in_the_driver() {
        let mut flights = Flights::new();
        flights.begin(3, &[1, 1], |mut inbox| async move {
            let mut whole = Vec::new();
            while let Some(message) = inbox.recv().await {
                whole.push(message);
            }
            Ok(whole)
        });
        // The conversation runs when this task waits, and not before.
        for message in [0, 2] {
            flights.take(&PsiPart { bucket: 3, message, data: Bytes::from_static(b"m") }).unwrap();
        }
        assert!(flights.land(3));
        assert_eq!(flights.ended().await.unwrap().unwrap(), ["m", "m"]);
    }
}
